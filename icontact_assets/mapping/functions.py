"""email, emaildomain, urlmain, hash and todate as the vendor's engine computes them, to the bit, and nothing else."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import siphash24

from icontact_assets.mapping import dates

_ATOM = r"[!#-'*+\-/-9=?A-Z^-~]+"
PLAIN_ADDRESS = rf"{_ATOM}(?:\.{_ATOM})*@{_ATOM}(?:\.{_ATOM})*"
"""Regular expression of addresses that are themselves but for the case of their ASCII letters: nearly all there are."""

NAMED_ADDRESS = rf"(?:[A-Za-z0-9]+ +)*[A-Za-z0-9]+ *<{PLAIN_ADDRESS}>"
"""Regular expression of plain words before such an address. They do not count."""

_SPACE = " \t"
_SURROGATE = re.compile("[\ud800-\udfff]")
_SPECIALS = frozenset('()<>[]:;@\\,"')
_PLAIN = re.compile(PLAIN_ADDRESS, re.ASCII)
_QUOTED_PRINTABLE = re.compile(r"(?:=[0-9A-Fa-f]{2}|[ -<>-~\n\r\t])*")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_LINE_END = re.compile(r"[\r\n]")
_SIP_KEY = (0).to_bytes(8, "little") + (1).to_bytes(8, "little")


class _Refused(Exception):
    """The parser takes this for no address, or no URL."""


def _text(value: Any) -> str | None:
    """The text that a function reads. None if there is none. A list-valued column counts as its first element.

    A lone surrogate has no place in UTF-8. What reads JSON in Go puts U+FFFD there, so that is what the vendor sees.
    """
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    if not isinstance(value, str):
        return None
    return value if value.isascii() else _SURROGATE.sub("\ufffd", value)


def email(text: Any) -> str | None:
    """The bare address in lower case. None for anything that Go's net/mail refuses to take for one address."""
    value = _text(text)
    if value is None or (address := _address(value)) is None:
        return None
    return _lower(address)


def emaildomain(text: Any) -> str | None:
    """What follows the first `@` of the address. None exactly where `email` is None."""
    value = _text(text)
    if value is None or (address := _address(_lower(value))) is None:
        return None
    return _lower(address).partition("@")[2]


def _lower(text: str) -> str:
    """Lower case character by character, as Go does: no look at the context, and U+0130 becomes a plain i."""
    if text.isascii():
        return text.lower()
    return "".join("i" if char == "\u0130" else char.lower() for char in text)


def _address(text: str) -> str | None:
    if _PLAIN.fullmatch(text):
        return text
    try:
        return _AddressParser(text).single()
    except _Refused:
        return None


class _AddressParser:
    """RFC 5322 addresses as Go 1.26's net/mail reads them."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def single(self) -> str:
        addresses = self._parse(groups=True)
        self._skip_comments()
        if self._at < len(self._text) or len(addresses) != 1:
            raise _Refused
        return addresses[0]

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, char: str) -> bool:
        if self._peek() != char:
            return False
        self._at += 1
        return True

    def _skip_space(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in _SPACE:
            self._at += 1

    def _skip_comments(self) -> None:
        self._skip_space()
        while self._take("("):
            self._comment()
            self._skip_space()

    def _comment(self) -> str:
        depth, said = 1, []
        while self._at < len(self._text) and depth:
            char = self._peek()
            if char == "\\" and self._at + 1 < len(self._text):
                self._at += 1
                char = self._peek()
            elif char == "(":
                depth += 1
            elif char == ")":
                depth -= 1
            if depth:
                said.append(char)
            self._at += 1
        if depth:
            raise _Refused
        return "".join(said)

    def _parse(self, *, groups: bool) -> list[str]:
        self._skip_space()
        if self._at == len(self._text):
            raise _Refused
        start = self._at
        try:
            spec = self._spec()
        except _Refused:
            self._at = start
        else:
            self._skip_space()
            if self._take("("):
                for word in re.split(r"[ \t]+", self._comment()):
                    _refuse_unknown_charset(word)
            return [spec]
        if self._peek() != "<":
            self._phrase()
        self._skip_space()
        if groups and self._take(":"):
            return self._group()
        if not self._take("<"):
            raise _Refused
        spec = self._spec()
        if not self._take(">"):
            raise _Refused
        return [spec]

    def _group(self) -> list[str]:
        self._skip_space()
        if self._take(";"):
            self._skip_comments()
            return []
        members: list[str] = []
        while True:
            self._skip_space()
            members += self._parse(groups=False)
            self._skip_comments()
            if self._take(";"):
                self._skip_comments()
                return members
            if not self._take(","):
                raise _Refused

    def _spec(self) -> str:
        self._skip_space()
        if self._peek() == '"':
            local = self._quoted()
            if not local:
                raise _Refused
        else:
            local = self._atom()
        if not self._take("@"):
            raise _Refused
        self._skip_space()
        if self._at == len(self._text):
            raise _Refused
        domain = self._literal() if self._peek() == "[" else self._atom()
        return f"{local}@{domain}"

    def _atom(self, *, permissive: bool = False) -> str:
        start = self._at
        while self._at < len(self._text) and _is_atext(self._text[self._at]):
            self._at += 1
        atom = self._text[start : self._at]
        if not atom:
            raise _Refused
        if not permissive and (atom.startswith(".") or atom.endswith(".") or ".." in atom):
            raise _Refused
        return atom

    def _quoted(self) -> str:
        self._at += 1
        content, escaped = [], False
        while True:
            char = self._peek()
            if not char:
                raise _Refused
            if escaped:
                if not (_is_vchar(char) or char in _SPACE):
                    raise _Refused
                content.append(char)
                escaped = False
            elif char == '"':
                self._at += 1
                return "".join(content)
            elif char == "\\":
                escaped = True
            elif _is_vchar(char) or char in _SPACE:
                content.append(char)
            else:
                raise _Refused
            self._at += 1

    def _literal(self) -> str:
        end = self._text.find("]", self._at)
        inner = self._text[self._at + 1 : end] if end >= 0 else ""
        if end < 0 or "%" in inner or not all(_is_vchar(char) and char not in "[\\" for char in inner):
            raise _Refused
        try:
            ipaddress.ip_address(inner)
        except ValueError as error:
            raise _Refused from error
        self._at = end + 1
        return f"[{inner}]"

    def _phrase(self) -> None:
        words = 0
        while True:
            if words:
                self._skip_comments()
            self._skip_space()
            try:
                if self._at == len(self._text):
                    raise _Refused
                if self._peek() == '"':
                    self._quoted_or_stay()
                else:
                    _refuse_unknown_charset(self._atom_or_stay())
            except _Refused:
                if not words:
                    raise
                return
            words += 1

    def _quoted_or_stay(self) -> None:
        start = self._at
        try:
            self._quoted()
        except _Refused:
            self._at = start
            raise

    def _atom_or_stay(self) -> str:
        start = self._at
        try:
            return self._atom(permissive=True)
        except _Refused:
            self._at = start
            raise


def _is_vchar(char: str) -> bool:
    return "!" <= char <= "~" or char >= "\x80"


def _is_atext(char: str) -> bool:
    return char not in _SPECIALS and _is_vchar(char)


def _refuse_unknown_charset(word: str) -> None:
    """A well-formed encoded word of another character set than UTF-8, ISO-8859-1 or US-ASCII is refused."""
    if len(word) < 8 or not word.startswith("=?") or not word.endswith("?=") or word.count("?") != 4:
        return
    charset, encoding, text = word[2:-2].split("?")
    if not charset or encoding not in ("q", "Q", "b", "B"):
        return
    well_formed = _QUOTED_PRINTABLE.fullmatch(text) if encoding in "qQ" else _BASE64.fullmatch(_LINE_END.sub("", text))
    # Go compares names of character sets by case folding, for which U+017F is an s.
    if well_formed and _lower(charset).replace("\u017f", "s") not in ("utf-8", "iso-8859-1", "us-ascii"):
        raise _Refused


_SCHEME = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*):")
_USERINFO = re.compile(rb"[A-Za-z0-9._:~!$&'()*+,;=%@-]*")
_PORT = re.compile(rb"(?::[0-9]*)?")
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:\[\]<>\"\x80-\xff-]*")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


def urlmain(text: Any) -> bytes | None:
    """Host and decoded path of a URL as Go 1.26's net/url reads it, as bytes. None where it refuses, b"" for a URL
    without either (`mailto:...`)."""
    value = _text(text)
    if not value:
        return None
    try:
        return _main(value.encode())
    except _Refused:
        return None


def _main(url: bytes) -> bytes:
    url, _, fragment = url.partition(b"#")
    result = _host_and_path(url)
    _unescape(fragment)
    return result


def _host_and_path(url: bytes) -> bytes:
    if _CONTROL.search(url):
        raise _Refused
    if url == b"*":
        return url
    if url.startswith(b":"):
        raise _Refused
    found = _SCHEME.match(url)
    scheme = found.group(1).lower() if found else b""
    rest = (url[found.end() :] if found else url).partition(b"?")[0]
    if not rest.startswith(b"/"):
        if scheme:
            return b""
        if b":" in rest.partition(b"/")[0]:
            raise _Refused
        return _unescape(rest)
    if rest.startswith(b"//") and (scheme or not rest.startswith(b"///")):
        authority, slash, path = rest[2:].partition(b"/")
        return _authority(scheme, authority) + _unescape(slash + path)
    return _unescape(rest)


def _authority(scheme: bytes, authority: bytes) -> bytes:
    userinfo, at, host = authority.rpartition(b"@")
    if at:
        if not _USERINFO.fullmatch(userinfo):
            raise _Refused
        _unescape(userinfo)
    return _host(scheme, host)


def _host(scheme: bytes, host: bytes) -> bytes:
    if b"[" in host:
        if host.rfind(b"[") != 0 or b"]" not in host:
            raise _Refused
        inner, _, port = host[1:].rpartition(b"]")
        if not _PORT.fullmatch(port):
            raise _Refused
        address, zoned, zone = inner.partition(b"%25")
        address = _unescape_host(address)
        try:
            ipaddress.IPv6Address(address.decode("ascii"))
        except (ValueError, UnicodeDecodeError) as error:
            raise _Refused from error
        if zoned and not zone:
            raise _Refused
        return b"[" + address + (b"%" + _unescape_zone(zone) if zoned else b"") + b"]" + port
    if b":" in host:
        colon = host.index(b":") if scheme in (b"http", b"https") else host.rindex(b":")
        if not _PORT.fullmatch(host[colon:]):
            raise _Refused
    return _unescape_host(host)


def _unescape(text: bytes) -> bytes:
    """Every escape decoded. Raises _Refused for a malformed one."""
    if b"%" not in text:
        return text
    if text.count(b"%") != len(_ESCAPE.findall(text)):
        raise _Refused
    return _ESCAPE.sub(lambda found: bytes([int(found.group(1), 16)]), text)


def _unescape_host(text: bytes) -> bytes:
    """In a host, only bytes beyond ASCII and the percent sign may be escaped."""
    if any(int(digits, 16) < 0x80 and digits != b"25" for digits in _ESCAPE.findall(text)):
        raise _Refused
    return _unescape_checked(text)


def _unescape_zone(text: bytes) -> bytes:
    """In a zone, an escape may stand for an ASCII character that a host may hold, a space or a percent sign."""
    for digits in _ESCAPE.findall(text):
        byte = bytes.fromhex(digits.decode())
        if byte not in (b" ", b"%") and (byte >= b"\x80" or not _HOST.fullmatch(byte)):
            raise _Refused
    return _unescape_checked(text)


def _unescape_checked(text: bytes) -> bytes:
    if not _HOST.fullmatch(_ESCAPE.sub(b"", text)):
        raise _Refused
    return _unescape(text)


def hash_sip(data: Any) -> int | None:
    """SipHash-2-4 with k0 = 0 and k1 = 1 over the bytes of a text, as a signed 64-bit integer. None if empty."""
    if not isinstance(data, bytes):
        data = (_text(data) or "").encode()
    if not data:
        return None
    return int.from_bytes(siphash24.siphash24(data, key=_SIP_KEY).digest(), "little", signed=True)


def hashedurls_key(url: Any) -> str | None:
    """Key of a link in `hashedurls`: the signed hash of `urlmain` in decimal. None for a link without one."""
    hashed = hash_sip(urlmain(url))
    return None if hashed is None else str(hashed)


def todate_ms(text: Any) -> int | None:
    """A date's milliseconds since 1970-01-01 UTC. An offset is honoured, text without one is UTC. None if no date."""
    value = _text(text)
    return None if value is None else dates.milliseconds(value)
