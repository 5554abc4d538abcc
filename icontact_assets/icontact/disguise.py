"""Personal values in, stable false ones of the same shape out. Pure: nothing is read or written here.

Every text is replaced unless `vocabulary.py` says that what its field holds decides how the program behaves. A letter
becomes another letter of the same case and length in UTF-8, a digit another digit. All other characters stay: blanks,
punctuation, control characters, halves of emojis.

A word always becomes the same word, wherever it stands and however it is written: in capitals, composed or decomposed
(NFC, NFD), escaped in JSON or in a link. Two words never become one. So whoever has one address in one answer has one
address in all.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from icontact_assets.icontact import vocabulary

_KEY_BYTES = 32
_CACHED = 200_000
_CACHED_LENGTH = 64

# The local part of an address is one token, of at most 64 characters: a longer run would be scanned again and again.
_TOKEN = re.compile(r"[^\W_][\w.+-]{0,63}+(?=@)|[^\W_]+|[\udc80-\udcff]+")
_KEPT = re.compile(r"(?:https?|mailto)(?=:)|www(?=\.)|lytics(?=-aid:)|(?<=lytics-)aid(?=:)", re.IGNORECASE)
_HOST = re.compile(r"(?:@|//|www\.)(?:[\w-]+\.)+\Z")
_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_ESCAPE = re.compile(r"\\u[0-9a-fA-F]{4}|\\[\"\\/bfnrt]|\\u?|.", re.DOTALL)
_JSON = re.compile(
    r'"(?:[^"\\]++|\\.)*+\\?(?:"|\Z)|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|[\[\]{}:,]|'
    r"\b(?:true|false|null|NaN|Infinity)\b|\s+",
    re.DOTALL,
)
_NUMBER = re.compile(r"(-?)([0-9]+)(.*)", re.DOTALL)
_IDS = re.compile(r"\s*\+?[0-9]{1,20}(?:[,_]\s*[0-9]{1,20})*(?:\.0+)?\s*")
_ID = re.compile(r"(?<![0-9.])[0-9]+")
_MADE_UP = re.compile(r"999999[0-9]{3}|9{4,9}")
_NAMED_ID = re.compile(r"Ids?\W{1,2}\Z")
_DIGITS = "0123456789"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
# Bytes that are in no text of UTF-8, as `surrogateescape` reads them.
_UNDECODABLE = "".join(chr(0xDC00 + byte) for byte in (0xC0, 0xC1, *range(0xF5, 0x100)))
# What takes the place of a letter that no other one is like.
_SPARE = {2: "\u01bb", 3: "\u3007", 4: "\U00010380"}

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

Slot = tuple[str, int, bool]
"""The characters that may take a place, which of them has it, and whether it is in capitals."""


class Disguise:
    """The replacements under one key (32 secret bytes). The same key gives the same ones. Raises ValueError for a key
    of another length."""

    def __init__(self, key: bytes) -> None:
        if len(key) != _KEY_BYTES:
            raise ValueError(f"the key of a recording has {_KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._word = lru_cache(_CACHED)(self._disguised)
        self._ahead = [0]
        for length in range(1, 21):
            # So little that few ids get another digit. It grows with the length, so that the order of ids stays.
            least, room = 10 ** (length - 1) // 100 + 1, max(1, 10 ** (length - 1) * 3 // 100)
            drawn = int.from_bytes(self._stream("id", str(length), b"", 16))
            self._ahead.append(self._ahead[-1] + least + drawn % room)

    def text(self, text: str) -> str:
        """The false text, as long as the true one in characters and in UTF-8."""
        return _of_percent(text, lambda part: self._words(part, lambda _: None))

    def id(self, text: str) -> str:
        """The false id or ids, in a text as `5001_90000005` or `1,2`. A greater id stays greater. 0 stays 0."""
        if not _IDS.fullmatch(text):
            return self.text(text)
        return _ID.sub(lambda found: self._moved(found[0]), text)

    def value(self, name: str, text: str, ids: frozenset[str] = frozenset()) -> str:
        """The false form of what a field of that name holds. `ids` are known to be ids where a remark names them."""
        if vocabulary.stays(name, text):
            return text
        if vocabulary.is_id(name):
            return self.id(text)
        if vocabulary.is_remark(name):
            return self.remark(text, ids)
        return self.text(text)

    def remark(self, text: str, ids: frozenset[str]) -> str:
        """The false form of an error or warning: words of the service stay, and ids and addresses are those of rows."""

        def known(found: re.Match[str]) -> str | None:
            word = found[0]
            if word.isascii() and word.isdigit() and found.string[found.end() : found.end() + 1] != "@":
                named = word.lstrip("0") in ids or _NAMED_ID.search(
                    found.string, max(0, found.start() - 8), found.start()
                )
                return self._moved(word) if named else None
            return word if vocabulary.is_word(word) and "@" not in _around(found) else None

        return _of_percent(text, lambda part: self._words(part, known))

    def name(self, name: str) -> str:
        """The false name of a field or a term. Those of the API stay."""
        return name if vocabulary.is_name(name) else self.text(name)

    def path(self, path: str) -> str:
        """The false path. Names of resources stay."""
        return "/".join(part if vocabulary.is_resource(part) else self._asked(part) for part in path.split("/"))

    def term(self, name: str, value: str) -> str:
        """The false value of a term in a query."""
        if not vocabulary.is_id(name) or vocabulary.stays(name, value):
            return self.value(name, value)
        return ",".join(map(self._asked, value.split(",")))

    def _asked(self, id_: str) -> str:
        """The false form of an id that is asked for. Those that a probe makes up stay: it asks for them again."""
        return id_ if _MADE_UP.fullmatch(id_) else self.id(id_)

    def body(self, content: bytes, ids: frozenset[str] = frozenset()) -> bytes:
        """The false bytes of a body, be it JSON, JSON that is cut, or any text. All but words, numbers and ids is as it
        was, with escapes, spaces, doubled names and the charset. A byte that is no text stays one, as another one."""
        text, charset, errors = _decoded(content)
        whole = "".join(self._json(text, ids)) if text.lstrip("\ufeff \t\r\n")[:1] in ("[", "{") else self.text(text)
        return whole.encode(charset, errors)

    def _json(self, text: str, ids: frozenset[str]) -> Iterator[str]:
        """The parts of JSON, one after the other, whether or not it is well-formed."""
        end, name, awaits_name = 0, "", False
        above: list[tuple[str, bool]] = []
        for found in _JSON.finditer(text):
            if end < found.start():
                yield self.text(text[end : found.start()])
            end, part = found.end(), found[0]
            if part[0] == '"':
                if awaits_name:
                    name = _unescaped(part)
                    yield _of_json(part, self.name)
                    awaits_name = False
                else:
                    yield _of_json(part, lambda value, name=name: self.value(name, value, ids))  # type: ignore[misc]
                continue
            if part[0] in "-0123456789":
                part = self._number(name, part)
            elif part in "[{":
                above.append((name, part == "{"))
                awaits_name = part == "{"
            elif part in "]}" and above:
                name, _ = above.pop()
                awaits_name = False
            elif part == "," and above:
                awaits_name = above[-1][1]
                name = "" if awaits_name else above[-1][0]
            yield part
        yield self.text(text[end:])

    def _number(self, name: str, number: str) -> str:
        """The false form of a number as JSON has it."""
        if vocabulary.stays(name, number):
            return number
        sign, whole, rest = _NUMBER.fullmatch(number).groups()  # type: ignore[union-attr]
        if vocabulary.is_id(name) and not sign:
            return f"{self._moved(whole)}{rest}"
        fraction, power, exponent = rest.partition("e" if "e" in rest else "E")
        slots = [(_DIGITS, int(digit), False) for digit in whole]
        if len(slots) > 1 and whole[0] != "0":
            # A number does not begin with 0.
            slots[0] = (_DIGITS[1:], int(whole[0]) - 1, False)
        return f"{sign}{self._shifted(slots)}{self.text(fraction)}{power}{exponent}"

    def _words(self, text: str, known: Callable[[re.Match[str]], str | None]) -> str:
        """A text without escapes, each word replaced by what `known` says, or else by its false form."""
        composed, lengths = _composed(text)
        kept = {(found.start(), found.end()) for found in _KEPT.finditer(composed)}

        def replaced(found: re.Match[str]) -> str:
            word = found[0]
            if found.span() in kept or _is_top(found):
                return word
            said = known(found)
            if said is not None:
                return said
            return self._word(word) if len(word) <= _CACHED_LENGTH else self._disguised(word)

        changed = _TOKEN.sub(replaced, composed)
        return _decomposed(changed, lengths) if lengths else changed

    def _disguised(self, word: str) -> str:
        places: list[Slot | str] = [_slot(char) or char for char in word]
        slots = [place for place in places if isinstance(place, tuple)]
        shape = "".join(place if isinstance(place, str) else place[0][0] for place in places)
        chars = iter(self._shifted(slots, shape))
        return "".join(place if isinstance(place, str) else next(chars) for place in places)

    def _shifted(self, slots: list[Slot], shape: str = "number") -> str:
        """Another character in each place. Two words of one shape become two: three rounds of a Feistel network, in
        which no character can come back to itself."""
        half = len(slots) // 2
        left, right = [slot[1] for slot in slots[:half]], [slot[1] for slot in slots[half:]]
        sizes = [len(slot[0]) for slot in slots]
        first = self._stream("1", shape, bytes(left), len(right))
        right = [
            (index + 1 + byte % max(1, (size - 1) // 2)) % size
            for index, byte, size in zip(right, first, sizes[half:], strict=True)
        ]
        second = self._stream("2", shape, bytes(right), len(left))
        left = [
            (index + 1 + byte % max(1, size - 1)) % size
            for index, byte, size in zip(left, second, sizes[:half], strict=True)
        ]
        third = self._stream("3", shape, bytes(left), len(right))
        right = [
            (index + 1 + byte % ((size - 1) // 2)) % size if size > 2 else index
            for index, byte, size in zip(right, third, sizes[half:], strict=True)
        ]
        return "".join(
            slot[0][index].upper() if slot[2] else slot[0][index]
            for slot, index in zip(slots, [*left, *right], strict=True)
        )

    def _stream(self, purpose: str, shape: str, data: bytes, count: int) -> bytes:
        parts = (self._key, purpose.encode(), shape.encode("utf-8", "surrogatepass"), b"\xff", data)
        return hashlib.shake_256(b"".join(parts)).digest(count)

    def _moved(self, digits: str) -> str:
        """Another whole number without sign: greater the greater it was, with as many leading zeros' width."""
        number = int(digits[:4000])
        length = min(len(str(number)), len(self._ahead) - 1)
        return str(number + self._ahead[length] if number else 0).zfill(len(digits))


@lru_cache(4096)
def _slot(char: str) -> Slot | None:
    """The place of a character. None for one that stays."""
    if char in _DIGITS:
        return _DIGITS, int(char), False
    if "\udc80" <= char <= "\udcff":
        # Any index does: which byte it was is not to be told.
        return _UNDECODABLE, ord(char) % len(_UNDECODABLE), False
    if not char.isalnum():
        return None
    lower = _lower(char)
    group = _LETTERS if lower in _LETTERS else _group(lower)
    return group, group.index(lower), lower != char


def _lower(char: str) -> str:
    """The small letter of a capital, where each is the other's and both are as long."""
    lower = char.lower()
    return lower if len(lower) == 1 and lower.upper() == char and _length(lower) == _length(char) else char


def _length(char: str) -> int:
    return len(char.encode())


@lru_cache(1024)
def _group(char: str) -> str:
    """The letters that may take the place of a letter beyond ASCII: from its block, of its kind and length. At most 256
    characters."""
    start = ord(char) & ~0xFF
    kind = _kind(char)
    found = "".join(other for other in map(chr, range(start, start + 256)) if other.isalnum() and _kind(other) == kind)
    return found if len(found) > 1 else char + _SPARE[_length(char)]


def _kind(char: str) -> tuple[str, int, int, bool]:
    upper = char.upper()
    paired = len(upper) == 1 and upper != char and upper.lower() == char and _length(upper) == _length(char)
    return unicodedata.category(char), _length(char), len(unicodedata.normalize("NFD", char)), paired


def _is_top(found: re.Match[str]) -> bool:
    """Whether a word is the last label of a domain, and one that is no secret."""
    text, start, end = found.string, found.start(), found.end()
    if text[start - 1 : start] != "." or not vocabulary.is_top_level(found[0]):
        return False
    after = text[end : end + 2]
    goes_on = after[:1].isalnum() or after[:1] in ("-", "_", "@") or (after[:1] == "." and after[1:].isalnum())
    return not goes_on and _HOST.search(text, max(0, start - 100), start) is not None


def _around(found: re.Match[str]) -> str:
    """The characters without a blank around a word, some of them."""
    text, start, end = found.string, found.start(), found.end()
    before, after = text[max(0, start - 100) : start], text[end : end + 100]
    return re.split(r"[\s<>(),;\"]", before)[-1] + re.split(r"[\s<>(),;\"]", after)[0]


def _of_percent(text: str, inner: Callable[[str], str]) -> str:
    """A text with what is escaped as in links, such as %C3%BC, taken for what it means."""
    if not _PERCENT.search(text):
        return inner(text)
    chars: list[str] = []
    sources: list[str] = []
    end = 0
    for found in _PERCENT.finditer(text):
        chars += text[end : found.start()]
        sources += text[end : found.start()]
        meant = bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "surrogateescape")
        at = found.start()
        for char in meant:
            count = 3 * len(char.encode("utf-8", "surrogateescape"))
            chars.append(char)
            sources.append(text[at : at + count])
            at += count
        end = found.end()
    chars += text[end:]
    sources += text[end:]
    changed = inner("".join(chars))
    if len(changed) != len(chars):
        return changed
    return "".join(
        source if new == char else new if len(source) == 1 else _percent(new, source)
        for char, source, new in zip(chars, sources, changed, strict=True)
    )


def _percent(char: str, source: str) -> str:
    escaped = "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))
    return escaped.lower() if source != source.upper() else escaped


def _of_json(part: str, inner: Callable[[str], str]) -> str:
    """A string of JSON, which may be cut, with what is escaped taken for what it means."""
    closed = len(part) > 1 and part[-1] == '"' and (len(part) - len(part[:-1].rstrip("\\"))) % 2 == 1
    raw = part[1:-1] if closed else part[1:]
    quote = '"' if closed else ""
    if "\\" not in raw:
        return f'"{inner(raw)}{quote}'
    pieces = list(_pieces(raw))
    meant = "".join(char for char, _ in pieces)
    changed = inner(meant)
    if len(changed) != len(pieces):
        return f'"{json.dumps(changed)[1:-1]}{quote}'
    again = (
        source if new == char else _escaped(new, source) if source[0] == "\\" else new
        for (char, source), new in zip(pieces, changed, strict=True)
    )
    return f'"{"".join(again)}{quote}'


def _unescaped(part: str) -> str:
    raw = part.strip('"')
    return "".join(char for char, _ in _pieces(raw)) if "\\" in raw else raw


def _pieces(raw: str) -> Iterator[tuple[str, str]]:
    """Each character of a string of JSON, with how it is written."""
    held = ""
    for found in _ESCAPE.finditer(raw):
        source = found[0]
        char = _meant(source)
        if held and "\udc00" <= char <= "\udfff" and len(source) == 6:
            pair = (_meant(held) + char).encode("utf-16", "surrogatepass").decode("utf-16")
            yield pair, held + source
            held = ""
            continue
        if held:
            yield _meant(held), held
            held = ""
        if "\ud800" <= char <= "\udbff" and len(source) == 6:
            held = source
        else:
            yield char, source
    if held:
        yield _meant(held), held


_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "u": "\\"}


def _meant(source: str) -> str:
    """The character that a piece of a string of JSON means. A cut `\\u` means a backslash."""
    if len(source) == 6:
        return chr(int(source[2:], 16))
    return source if len(source) == 1 else _SHORT.get(source[1], source[1])


def _escaped(char: str, source: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    form = "\\u{:04x}" if source == source.lower() else "\\u{:04X}"
    return "".join(form.format(int.from_bytes(units[at : at + 2])) for at in range(0, len(units), 2))


def _composed(text: str) -> tuple[str, list[int]]:
    """A text with each letter and its marks as one character where there is one, and how many each was. [] if none."""
    if text.isascii() or not any(map(unicodedata.combining, text)):
        return text, []
    clusters: list[str] = []
    for char in text:
        if unicodedata.combining(char) and clusters:
            clusters[-1] += char
        else:
            clusters.append(char)
    chars: list[str] = []
    for cluster in clusters:
        one = unicodedata.normalize("NFC", cluster) if len(cluster) > 1 else cluster
        whole = len(one) == 1 and unicodedata.normalize("NFD", one) == cluster
        chars += [one] if whole else cluster
    lengths = [0] * len(chars)
    # A composed one is told by its place: what was one character keeps length 1.
    at = 0
    for index, char in enumerate(chars):
        lengths[index] = 1 if text[at] == char else len(unicodedata.normalize("NFD", char))
        at += lengths[index]
    return "".join(chars), lengths


def _decomposed(text: str, lengths: list[int]) -> str:
    if len(text) != len(lengths):
        return text
    return "".join(
        unicodedata.normalize("NFD", char) if length > 1 else char for char, length in zip(text, lengths, strict=True)
    )


def _decoded(content: bytes) -> tuple[str, str, str]:
    """The text of a body, and how it becomes bytes again."""
    marked = next((charset for bom, charset in _BOMS if content.startswith(bom)), None)
    charset = marked or json.detect_encoding(content).removesuffix("-sig")
    if not charset.startswith("utf-8"):
        try:
            return content.decode(charset, "surrogatepass"), charset, "surrogatepass"
        except UnicodeDecodeError:
            pass
    return content.decode("utf-8", "surrogateescape"), "utf-8", "surrogateescape"


def numbers_in(texts: Iterable[str]) -> frozenset[str]:
    """The numbers of three digits and more in texts, without leading zeros: what a remark about them may name."""
    return frozenset(number.lstrip("0") for text in texts for number in re.findall(r"[0-9]{3,20}", text))
