"""Secrets of every odd kind, and the search for them in whatever the project writes or prints."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, quote_plus

UNFIT = {
    "line end": "kX7-line-end-secret\n",
    "carriage return": "kX7-return-secret\r\n",
    "line end in the middle": "kX7-first-half\nkX7-second-half",
    "leading blank": " kX7-leading-secret",
    "trailing tab": "kX7-tab-secret\t",
    "no-break space at the end": "kX7-nbsp-secret\u00a0",
    "latin": "kX7-g\u00fcnther-secret",
    "beyond latin": "kX7-\u5bc6\u7801-secret\U0001f511",
    "control character": "kX7-\x1b[31mred-secret",
    "NUL written out": "kX7-\x01\x7f-secret",
    "bytes that are no UTF-8": "kX7-\udcff-secret",
    "line separator": "kX7-line\u2028separator",
    "only blanks": "   ",
}
"""Values that no HTTP header carries."""

FIT = {
    "quotes": "kX7-\"double\"-'single'-`back`",
    "percent": "kX7-%s-%(password)s-%20-{0}-${HOME}",
    "markup": "kX7-[/red]<script>|*bold*",
    "blanks inside": "kX7 with blanks \\ and \\n",
    "very long": "kX7-" + "long" * 500,
    "an address": "kX7.person@example.com",
}
"""Odd values that one does carry."""


def forms(secret: str) -> set[bytes]:
    """The ways in which a secret may be written: as it is, in parts, quoted, escaped, encoded."""
    parts = {secret, secret.strip(), *secret.split("\n"), *secret.split("\r")}
    written: set[str] = set()
    for part in {part for part in parts if len(part.strip()) > 5}:
        encoded = part.encode("utf-8", "surrogateescape")
        written |= {part, repr(part)[1:-1], json.dumps(part)[1:-1], html.escape(part), ascii(part)[1:-1]}
        written |= {quote(encoded), quote_plus(encoded), encoded.hex()}
        # A secret inside a longer text begins at one of three places of a group of base64.
        for before in range(3):
            text = base64.b64encode(b"\0" * before + encoded).decode()
            written.add(text[4 if before else 0 : len(text) - len(text) % 4 - 4])
    return {form.encode("utf-8", "surrogateescape") for form in written}


def assert_not_in(texts: Iterable[str | bytes], secrets: Iterable[str]) -> None:
    """None of the texts holds a secret in any form."""
    searched = b"\n".join(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text for text in texts)
    found = [form for secret in secrets for form in forms(secret) if form in searched]
    assert not found, found


def assert_no_address_in(texts: Iterable[bytes]) -> None:
    # One character before the @ is enough to find an address.
    address = re.compile(rb"[a-z0-9._-]@[a-z0-9-]+\.[a-z.]+", re.IGNORECASE)
    found = [address.findall(text) for text in texts]
    assert not any(found), found


def files_below(*folders: Path) -> list[bytes]:
    """The names and the contents of all files below the folders."""
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [part for path in paths for part in (str(path).encode(), path.read_bytes())]
