"""Values that fit nowhere, listings that hold each of them in each field, and answers that no service should send."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from icontact_assets.icontact.decoding import decode
from icontact_assets.icontact.errors import IContactError
from icontact_assets.icontact.folder import Account, Folder
from icontact_assets.icontact.listing import Row
from icontact_assets.icontact.values import as_id
from icontact_assets_tests.hostile import Answer, Hostile, http

ODD: tuple[str, ...] = (
    *("null", "true", "false", "0", "-0", "-1", "1.5", "1e400", "-1e400", "1e-400", "NaN", "Infinity", "-Infinity"),
    *(str(2**31), str(2**53), str(2**63), str(2**64), str(-(2**63) - 1), "9" * 5000, f"-{'9' * 5000}.5"),
    *('""', '" "', r'"\ud83c"', r'"x\udc00y"', r'"\ud83d\ude00"', r'"\u0000"', r'"a\u0000b"', r'"\u0001"', r'"\uffff"'),
    *(f'"{"9" * 5000}"', f'"{2**64}"', '"1e400"', '"NaN"', '"-0"', '"\u00b2"', '"\u0663"', '"0090"', '"5.0"', '"\ufeff7"'),
    *('"0000-00-00 00:00:00"', '"9999-12-31T23:59:59-14:00"', '"0001-01-01T00:00:00+14:00"', '"10000-01-01T00:00:00Z"'),
    *('"-0001-01-01"', '"2026-02-30T00:00:00"', '"2026-01-01T25:00:00Z"', '"0001-01-01"', '"9999-12-31T23:59:59Z"'),
    *('"\u202egnp.exe"', "\"'; DROP TABLE x; --\"", f'"{"x" * 100_000}"', '"[1"', '"{\\"a\\":"', '"a@b@c"', '"<b>%s{}"'),
    *("[]", "{}", "[[]]", '[null, "\\ud83c", 1e400]', '{"\\ud83c": "\\udc00", "\\udc00": 1}', '{"a": {"b": [1, {}]}}'),
    *(f"{'[' * 1000}{']' * 1000}", f"{'[' * 100_000}{']' * 100_000}", '{"a":' * 1000 + "1" + "}" * 1000),
)  # fmt: skip

FINE: Mapping[str, dict[str, Any]] = {
    "contacts": {
        **dict.fromkeys(("prefix", "suffix", "fax", "phone", "street2", "business"), None),
        **dict.fromkeys(("firstName", "lastName", "street", "city", "state", "postalCode", "shoeSize"), "x"),
        "email": "ann@shop.example",
        "status": "normal",
        "bounceCount": "0",
        "createDate": "2026-05-04 18:31:07",
    },
    "messages": {
        "campaignId": "7001",
        "messageType": "normal",
        "subject": "x",
        "messageName": "x",
        "htmlBody": "<p>",
        "textBody": "x",
        "createDate": "2026-11-20T10:00:00-05:00",
    },
    "sends": {
        "messageId": "1",
        "status": "released",
        "recipientCount": "5",
        "scheduledTime": "2026-11-20T11:00:00-05:00",
        "releasedTime": "2026-11-20T11:00:00-05:00",
        "includeListIds": "1",
        "excludeListIds": "",
    },
    "lists": {"name": "x", "publicname": "", "description": ""},
    "subscriptions": {"listId": "5", "status": "normal", "addDate": "2026-11-20T10:00:00-05:00"},
    "opens": {"openTime": "2026-11-20T11:00:00-05:00"},
    "clicks": {"clickTime": "2026-11-20T11:00:00-05:00", "clickLink": "https://shop.example"},
    "bounces": {"bounceTime": "2026-11-20T11:00:00-05:00"},
    "unsubscribes": {"unsubscribeTime": "2026-11-20T11:00:00-05:00"},
}
"""A row of each listing, without its id."""

ID_OF = {"contacts": "contactId", "messages": "messageId", "sends": "sendId", "lists": "listId"}
IDS_FROM = 1_000_001


class Listings(Hostile):
    """Answers listings with rows that are given as JSON texts, page by page; everything else is not found."""

    def __init__(self, rows: Mapping[str, Sequence[str]]) -> None:
        self.rows = rows
        super().__init__()

    def answer(self, request: bytes) -> Answer:
        target = urlsplit(request.split(b" ", 2)[1].decode())
        name, query = target.path.rpartition("/")[2], {key: values[0] for key, values in parse_qs(target.query).items()}
        if name == "statistics":
            return http(b'{"statistics": []}')
        if name not in self.rows:
            return http(b'{"errors": ["Not Found"]}', status="404 Not Found")
        if "contactIdSearchType" in query:
            return http(b'{"errors": ["No"]}', status="400 Bad Request")
        offset, limit = int(query["offset"]), int(query["limit"])
        rows = ", ".join(self.rows[name][offset : offset + limit])
        return http(f'{{"{name}": [{rows}], "offset": {offset}, "total": {len(self.rows[name])}}}'.encode())


def row(resource: str, id_: int, name: str | None = None, value: str = "") -> str:
    """The JSON of a row, with one field that has another value, given as JSON."""
    fine = {ID_OF.get(resource, "contactId"): str(id_), **FINE[resource]}
    if resource == "subscriptions":
        fine["subscriptionId"] = f"5_{id_}"
    members = (f"{json.dumps(key)}: {value if key == name else json.dumps(fine[key])}" for key in fine)
    return f"{{{', '.join(members)}}}"


def rows_of(resource: str, odd: Sequence[str] = ODD) -> Iterator[tuple[str | None, str]]:
    """Every row: which field of it is odd, None for a row that is fine, one after each field; and its JSON."""
    number = IDS_FROM
    names = re.findall(r'"(\w+)": ', row(resource, 0))
    # A subscription is asked for by its list: a row of another one is not of this listing.
    for name in [name for name in names if (resource, name) != ("subscriptions", "listId")]:
        taken = set()
        for value in odd:
            id_ = as_id(decode(b"[" + value.encode() + b"]").body[0])
            if name == names[0] and id_ in taken:
                # Two rows that differ have one id: that is no odd value, but a listing that is not whole.
                continue
            taken.add(id_ or value)
            yield name, row(resource, number, name, value)
            number += 1
        yield None, row(resource, number)
        number += 1


class Says(Hostile):
    """Answers everything with `reply`."""

    reply: Answer = b""

    def answer(self, request: bytes) -> Answer:
        return self.reply


BODIES: tuple[bytes, ...] = (
    *(b"", b" ", b"null", b"<html>", b"{", b"[]]", b"\xef\xbb\xbf", b"\xff\xfe{\x00", b"\x00" * 9, b"\xed\xa0\xbd", b"{}{}"),
    *(b'{"a": 1, "a": 2}', b"{'a': 1}", b'{"errors": [[["x"]]]}', b'{"errors": {"a": 1e400}}', b'{"warnings": "\\ud83c"}'),
    *(f'{{"errors": ["{"x" * 100_000}"], "warnings": ["{"y" * 100_000}"]}}'.encode(), b"[" * 50_000, b'"' * 9001),
    *(value.encode() for value in ODD),
    *(f'{{"{name}": {value}}}'.encode() for value in ODD for name in ("time", "contact", "statistics")),
    *(f'{{"lists": [], "contacts": [{{"contactId": {value}}}], "total": {value}}}'.encode() for value in ODD),
    *(f'{{"lists": {value}, "contacts": {value}, "accounts": {value}, "total": 1}}'.encode() for value in ODD),
)  # fmt: skip
"""Bodies that no service should send."""

HEADERS: tuple[str, ...] = (
    *("Retry-After: \xb2", "Retry-After: -1", "Retry-After: soon", "Retry-After: Mon, 99 Foo 99999", "Retry-After: 1e9"),
    *("Content-Encoding: gzip", "Content-Encoding: br", "Content-Encoding: deflate", "Content-Encoding: \xff, gzip"),
    *("Content-Type: \x01", "Content-Type: text/html; charset=\xff", "Content-Type: ;;;charset=utf-7", "Content-Type:"),
    *("Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Content-Length: -1", "Content-Length: \xb2"),
    *("Content-Length: 99999999999999999999", "Content-Length: 5, 6", "Location: http://[", "Location: \xff", "Location:"),
    *("Set-Cookie: \x00=\xff; expires=x; max-age=y", f"Set-Cookie: {'a' * 60_000}", "Connection: upgrade", ": x", "x"),
    *(" folded: x", f"X: {'y' * 70_000}", "Link: <", "Date: \xb2", "Strict-Transport-Security: x", "WWW-Authenticate: ="),
)  # fmt: skip
"""Headers that no service should send."""

STATUSES = (
    "200 OK",
    "200",
    "201 \xff",
    "204 -",
    "206 x",
    "301 x",
    "304 -",
    "400 x",
    "429 x",
    "500 x",
    "503 x",
    "599 x",
    "999 x",
)
"""Status lines, from the code on."""

OPERATIONS: Mapping[str, Callable[[Folder], object]] = {
    "time": lambda folder: Account(folder.session).time(),
    "accounts": lambda folder: Account(folder.session).accounts(),
    "folders": lambda folder: Account(folder.session).client_folders("1"),
    "lists": lambda folder: folder.lists(Forgetful()),
    "contacts": lambda folder: folder.contacts(Forgetful()),
    "messages": lambda folder: folder.messages(Forgetful()),
    "clicks": lambda folder: folder.activity("1", "clicks", Forgetful()),
    "statistics": lambda folder: folder.statistics("1"),
    "count": lambda folder: folder.count("contacts"),
    "contact": lambda folder: folder.contact("1"),
    "contacts by id": lambda folder: folder.contacts_by_id(["1", "2"]),
    "subscription": lambda folder: folder.subscription("5", "1"),
    "POST": lambda folder: folder.session.post("/subscriptions", []),
    "PUT": lambda folder: folder.session.put("/subscriptions/5_1", {}),
}
"""Everything that is asked of a service."""


class Forgetful:
    """A sink that keeps nothing."""

    def start(self) -> None: ...

    def page(self, offset: int, rows: list[Row]) -> None: ...


def play(folder: Folder, server: Says, operation: str, reply: Answer) -> str:
    """The name of the error that an operation ends with under one answer, or `fine`. Anything untyped is raised."""
    server.reply = reply
    try:
        OPERATIONS[operation](folder)
    except IContactError as error:
        return type(error).__name__
    return "fine"
