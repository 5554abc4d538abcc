"""The normal forms of addresses and domains: whether two spellings are one person.

Two addresses with one normal form are one mailbox, and what one of them refused holds for the other. The rules:

- The address is the one that the mapping's `email` finds. Where `email` finds none, what is wrapped around an address
  is taken off first: quotation marks, brackets with or without a display name, `mailto:` with its query, comments,
  blanks around the `@`, separators at the ends.
- Characters that nobody sees count for nothing. Every kind of blank is a blank. Typographic quotation marks,
  apostrophes, dashes, full stops and full-width characters are their plain counterparts.
- The local part is compared without case and in compatibility form (NFKC), without quotation marks around it.
- The domain is compared in ASCII form (IDNA 2008 after UTS 46), in lower case, without a full stop at its end.

Nothing else makes two mailboxes one: `ann+news@`, `an.n@` and `ann@` are three people.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import lru_cache
from urllib.parse import unquote

import idna

from icontact_assets.mapping.functions import email

_AT_MOST = 1_000
"""Characters of a text that may be one address or domain; a longer one is none."""

PLAIN = re.compile(
    r"[a-z0-9][a-z0-9_+-]*(?:\.[a-z0-9_+-]+)*"
    r"@(?:(?!xn--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?!xn--)[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?",
)
"""Addresses in lower case that are their own normal form: nearly all there are."""

_QUOTES = "\"'"
_SINGLE_QUOTES = frozenset("\u2018\u2019\u201a\u201b\u2032\u2035\u00b4\u02b9\u02bb\u02bc\u02bd\u02c8\u2039\u203a")
_DOUBLE_QUOTES = frozenset("\u201c\u201d\u201e\u201f\u2033\u2036\u00ab\u00bb\u301d\u301e\u301f")
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\ufe00-\ufe0f\U000e0000-\U000e0fff]")
"""Characters without a shape of their own (Unicode: default ignorable), beside those of the category Cf."""

_MAILTO = re.compile(r"mailto:/*([^?]*)(?:\?.*)?", re.IGNORECASE)
_BRACKETS = re.compile(r"[^<>]*<([^<>]+)>")
_AROUND_AT = re.compile(r" ?@ ?")
_WORD_WITH_AT = re.compile(r"[^ <>()\[\]:;,\"?]*@[^ <>()\[\]:;,\"?]*")
_DOT_ATOM = re.compile(r"[^ ()<>\[\]:;@\\,\".]+(?:\.[^ ()<>\[\]:;@\\,\".]+)*")

_SCHEME = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?[/\\]+", re.IGNORECASE)
_PATH = re.compile(r"[/\\?#]")
_LEADING = re.compile(r"(?:\*?[@.])+")
_PORT = re.compile(r":[0-9]+\Z")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_LABEL_AT_MOST, _DOMAIN_AT_MOST = 63, 253


def normal_address(text: str) -> str | None:
    """The one normal form of an address. None: the text is not exactly one address.

    A local part that is no dot-atom is in quotation marks, so that the result is an address too. The text is no address
    if it holds another one beside, for example in a display name or a comment. Nor is it one if the local part holds a
    `*` (a pattern), no letter or digit, or punctuation and symbols beyond ASCII, or if the domain is no domain.
    """
    if len(text) <= _DOMAIN_AT_MOST and PLAIN.fullmatch(lower := text.lower()):
        return lower
    if len(text) > _AT_MOST:
        return None
    text = _visible(text)
    if "mailto:" in text.lower():
        while (decoded := _visible(unquote(text))) != text:
            text = decoded
    found = _found(text)
    if found is None:
        return None
    local, _, domain = found.rpartition("@")
    normal_local, normal_domain = _local(local), _domain(domain)
    if normal_local is None or normal_domain is None:
        return None
    address = f"{normal_local}@{normal_domain}"
    if text.count("@") > found.count("@"):
        words = [word for word in _WORD_WITH_AT.findall(_AROUND_AT.sub("@", text)) if word != text]
        if not words or any(normal_address(word) != address for word in words):
            return None
    return address


def normal_domain(text: str) -> str | None:
    """The one normal form of a domain. None: the text is not exactly one domain.

    It may have around it what an address, a pattern or a URL has there: an `@`, a `*.` or a full stop, a scheme, a
    `www.`, a port, a path. An IP address is in brackets. A domain of one label is one.
    """
    if len(text) > _AT_MOST:
        return None
    text = _without_comments(_visible(text)).strip(f" ,;<>{_QUOTES}")
    while found := _SCHEME.match(text):
        text = text[found.end() :]
    text = _PATH.split(text)[0]
    if found := _LEADING.match(text):
        text = text[found.end() :]
    if _ip(text) is None:
        text = _PORT.sub("", text)
    domain = _domain(text)
    while domain is not None and domain.startswith("www.") and domain.count(".") > 1:
        domain = domain.removeprefix("www.")
    return domain


def _visible(text: str) -> str:
    """The text as a reader sees it, in plain characters: composed, and with single blanks only."""
    return " ".join(unicodedata.normalize("NFC", "".join(map(_spelling, text))).split())


@lru_cache(maxsize=4096)
def _spelling(char: str) -> str:
    """The plain counterpart of a character. Nothing for one that cannot be seen."""
    if char.isspace():
        return " "
    category = unicodedata.category(char)
    if category in ("Cc", "Cf") or _UNSEEN.match(char):
        return ""
    if category == "Pd" or char == "\u2212":
        return "-"
    if char in _SINGLE_QUOTES:
        return "'"
    if char in _DOUBLE_QUOTES:
        return '"'
    if char in "\u3002\uff61":
        return "."
    if "\uff01" <= char <= "\uff5e" or "\ufe50" <= char <= "\ufe6b":
        return unicodedata.normalize("NFKC", char)
    return char


def _found(text: str) -> str | None:
    """The address that `email` finds in a text, or in what is left of it without its wrappings."""
    while True:
        found = email(text)
        if found is not None:
            return found
        shorter = _unwrapped(text)
        if len(shorter) == len(text):
            return None
        text = shorter


def _unwrapped(text: str) -> str:
    """The text without one of the things that may be wrapped around an address. Itself if there is none."""
    if mailto := _MAILTO.fullmatch(text):
        return mailto[1]
    inner = text.lstrip(" ,;").rstrip(" ,;.")
    if len(inner) == len(text) > 1 and text[0] in _QUOTES and text[-1] == text[0]:
        inner = text[1:-1]
    if len(inner) == len(text):
        inner = _without_comments(text)
    if len(inner) == len(text) and (brackets := _BRACKETS.fullmatch(text)):
        inner = brackets[1]
    return inner if len(inner) < len(text) else _AROUND_AT.sub("@", text)


def _without_comments(text: str) -> str:
    """The text without what is in parentheses outside of quotation marks. Itself if they are not paired."""
    kept, depth, quoted, escaped = [], 0, False, False
    for char in text:
        if escaped or char == "\\":
            escaped = not escaped
        elif char == '"' and not depth:
            quoted = not quoted
        elif char == "(" and not quoted:
            depth += 1
        elif char == ")" and depth:
            depth -= 1
            continue
        if not depth:
            kept.append(char)
    return text if depth else "".join(kept).strip()


def _local(text: str) -> str | None:
    folded = ""
    while folded != text:
        folded = text
        text = unicodedata.normalize("NFKC", text).casefold()
        # What an upper-case dotted I becomes in lower case: `email` makes it a plain i.
        text = _visible(text).replace("i\u0307", "i").strip(f" {_QUOTES}")
    if not any(map(str.isalnum, text)) or "*" in text or "mailto:" in text:
        return None
    if any(unicodedata.category(char)[0] in "PSC" for char in text if not char.isascii()):
        return None
    if _DOT_ATOM.fullmatch(text):
        return text
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _domain(text: str) -> str | None:
    text = text.strip(f" {_QUOTES}").rstrip(f".{_QUOTES}")
    address = _ip(text)
    if address is not None:
        return address
    try:
        text = ".".join(map(_unicode_label, _mapped(text).split(".")))
        labels = [_ascii_label(label) for label in _mapped(text).split(".")]
    except UnicodeError:
        return None
    domain = ".".join(labels)
    if len(domain) > _DOMAIN_AT_MOST or labels[-1].isdecimal() or not all(map(_LABEL.fullmatch, labels)):
        return None
    return domain


def _ip(text: str) -> str | None:
    try:
        found = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return None if "%" in text else f"[{found.compressed}]"


def _mapped(text: str) -> str:
    """The domain as UTS 46 maps it. Raises UnicodeError if it holds a character that no domain may hold."""
    return _visible(idna.uts46_remap(text, std3_rules=False)).replace("i\u0307", "i")


def _unicode_label(label: str) -> str:
    """A Punycode label as Unicode, any other as it is. Raises UnicodeError."""
    if not label.startswith("xn--"):
        return label
    if len(label) > _LABEL_AT_MOST:
        raise UnicodeError
    return idna.ulabel(label)


def _ascii_label(label: str) -> str:
    """A label in ASCII. Raises UnicodeError."""
    if label.isascii():
        return label
    if len(label) > _LABEL_AT_MOST:
        raise UnicodeError
    return idna.alabel(label).decode()
