"""What may sign a request, and where to it may be sent. Says what is wrong without showing any of the value."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")

# A host and a port, and nothing that two parsers could read in two ways.
_NETLOC = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_ID = re.compile(r"[0-9]{1,20}")


def header_fault(value: str) -> str | None:
    """Why a value cannot be sent as an HTTP header, to follow its name. None if it can."""
    if value[:1].isspace() or value[-1:].isspace():
        return "begins or ends with white space (a line end, for instance)"
    if "\n" in value or "\r" in value:
        return "holds a line end"
    if not value.isascii():
        return "holds a character that is not ASCII, which an HTTP header cannot carry"
    if not value.isprintable():
        return "holds a control character"
    return None


def id_fault(value: str) -> str | None:
    """Why a value is not the id of an account or a client folder, to follow its name. None if it is."""
    if value[:1].isspace() or value[-1:].isspace():
        return "begins or ends with white space (a line end, for instance)"
    return None if _ID.fullmatch(value) else "is not a number of at most 20 digits"


def address_fault(url: str) -> str | None:
    """Why credentials are not sent to an address, to follow its name. None if they are."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "holds white space, a control character or a character that is not ASCII"
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port != 0
        (parts.hostname or "").encode("idna")
    except ValueError:
        return "is not an address"
    if parts.scheme not in ("https", "http") or not parts.hostname:
        return "does not begin with https:// and a host"
    if "@" in url:
        return "holds a user name or a password"
    if "?" in url or "#" in url:
        return "holds a query or a fragment"
    if "\\" in url or not _NETLOC.fullmatch(parts.netloc) or not port_is_valid:
        return "does not name a host and a port"
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        return "is plain http to another machine, and credentials travel only over https (http is for loopback)"
    return None
