"""The bytes of an answer in, JSON values that can be stored out. Nothing here knows what the values mean."""

from __future__ import annotations

import codecs
import json
import math
import re
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson

DEEPEST = 100
"""Values nested deeper become the text that they were: orjson writes 254 levels, Python reads about 1,000."""

_PLAIN = {str, int, bool, type(None)}
_ONE_BYTE = ("iso8859", "cp125", "koi8")
_CHARSET = re.compile(r"charset=[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+\\?(?:"|\Z)|[\[\]{}]', re.DOTALL)
_HALF = re.compile("[\ud800-\udfff]")
_HALF_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True)
class Decoded:
    """What an answer holds. `is_json`: without it the body is None. `repaired`: U+FFFD replaces something in it."""

    body: Any
    is_json: bool
    repaired: bool = False


def decode(content: bytes, content_type: str = "") -> Decoded:
    """Decode an answer. What no table can hold becomes text or U+FFFD, and the rest stays as it was sent.

    Text is UTF-8, UTF-16 or UTF-32, with a byte order mark or without. What is none of them is read by the charset
    of `content_type`, if that names one of one byte a character. Half an emoji (a surrogate alone) becomes U+FFFD.
    Integers beyond 64 bits, numbers beyond a double, NaN, and values nested deeper than DEEPEST become texts.
    """
    try:
        body = orjson.loads(content)
        if _is_plain(body):
            return Decoded(body, True)
    except orjson.JSONDecodeError:
        pass
    try:
        text, damaged = _text(content, content_type)
        # Bodies of old messages may hold control characters (API reference, quirk 22).
        body = json.loads(
            _flattened(text), strict=False, parse_int=_integer, parse_float=_double, parse_constant=lambda name: name
        )
    except ValueError:
        return Decoded(None, False)
    if _HALF_ESCAPE.search(text):
        whole = _whole_characters(body)
        return Decoded(whole, True, damaged or whole != body)
    return Decoded(body, True, damaged)


def _whole_characters(value: Any) -> Any:
    """A value with U+FFFD for each half character, in names too. Names that become equal stay distinct."""
    if isinstance(value, str):
        return _HALF.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for name, item in value.items():
            name = _HALF.sub("\ufffd", name)
            while name in found:
                name += "\ufffd"
            found[name] = _whole_characters(item)
        return found
    return value


def _is_plain(body: Any) -> bool:
    """Whether a body is a listing of rows without fractions and nested values, which orjson reads as they are."""
    if type(body) is not dict:
        return False
    for value in body.values():
        if type(value) is list:
            if not set(map(type, value)) <= {dict}:
                return False
            if not set(map(type, chain.from_iterable(map(dict.values, value)))) <= _PLAIN:
                return False
        elif type(value) not in _PLAIN:
            return False
    return True


def _text(content: bytes, content_type: str) -> tuple[str, bool]:
    """The text of a body, and whether some bytes of it had to be replaced."""
    charset = json.detect_encoding(content)
    try:
        return content.decode(charset).lstrip("\ufeff"), False
    except UnicodeDecodeError:
        pass
    declared = _CHARSET.search(content_type)
    if declared:
        try:
            named = codecs.lookup(declared[1]).name
        except LookupError:
            named = ""
        if named.startswith(_ONE_BYTE):
            text = content.decode(named, "replace")
            return text, "\ufffd" in text
    return content.decode(charset, "replace").lstrip("\ufeff"), True


def _flattened(text: str) -> str:
    """JSON in which each value nested deeper than DEEPEST is a string that holds its JSON."""
    depth = start = end = 0
    parts: list[str] = []
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth == DEEPEST + 1:
                start = token.start()
        elif token[0] in "]}":
            if depth == DEEPEST + 1:
                parts += (text[end:start], json.dumps(text[start : token.end()]))
                end = token.end()
            depth -= 1
    if depth > DEEPEST:
        # It is cut, and no JSON.
        return text[end:start]
    return "".join((*parts, text[end:])) if parts else text


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= 20 and -(2**63) <= int(digits) < 2**63 else digits


def _double(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits
