"""A service that is not the sandbox: other caps, forms and refusals, each of its own kind."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from icontact_assets.icontact.looking import Exchange
from icontact_assets.probe.asking import Place, look
from icontact_assets.probe.client import Client
from icontact_assets.probe.findings import Finding
from icontact_assets.probe.report import findings
from icontact_assets.probe.sight import Sight

NOW = datetime.now(UTC)
HEADERS = {"content-type": "application/json;charset=UTF-8", "ratelimit-limit": "100", "server": "apart"}
BY_CHANCE = random.Random(3)

CONTACTS = [
    {"contactId": str(id_), "email": f"{id_ % 97}@example.com", "status": "normal", "createDate": "05/04/2026 18:31"}
    for id_ in range(5, 6005, 10)
]
BY_CHANCE.shuffle(CONTACTS)
MESSAGES = [
    {"messageId": 1000 + n, "subject": "s", "createDate": int((NOW - timedelta(days=n)).timestamp())} for n in range(60)
]


def ago(days: float) -> str:
    return (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


SENDS = [
    {"sendId": n, "messageId": 1000 + n, "status": "complete", "releasedTime": ago(n + 1), "recipientCount": "800"}
    for n in range(58)
]
OPENS = [{"contactId": int(CONTACTS[n // 2]["contactId"]), "openTime": ago(0.5 - n % 7 / 20)} for n in range(300)]


def page(rows: list[Any], key: str, params: Mapping[str, str | int], cap: int) -> dict[str, Any]:
    limit, offset = int(params.get("limit", 20)), int(params.get("offset", 0))
    return {key: rows[offset : offset + min(limit, cap)] if limit > 0 else [], "total": str(len(rows))}


def contacts(params: Mapping[str, str | int]) -> tuple[int, Any]:
    asked = str(params.get("contactId", ""))
    rows = CONTACTS if params.get("status") == "total" else CONTACTS[10:] if "status" not in params else CONTACTS[:10]
    if "assetsProbe" in params:
        return 200, {"contacts": {}, "total": "0"}
    if asked.count(",") > 100:
        return 413, None
    if "," in asked:
        rows = [row for row in rows if row["contactId"] in asked.split(",")]
    elif asked:
        rows = [row for row in rows if row["contactId"] > asked]
    return 200, page(rows, "contacts", params, 250)


def body(path: str, params: Mapping[str, str | int]) -> tuple[int, Any]:
    last = path.rpartition("/")[2]
    listings = {"messages": (MESSAGES, 50), "sends": (SENDS, 500), "opens": (OPENS, 1000), "lists": ([], 500)}
    if last == "contacts":
        return contacts(params)
    if last in listings:
        return 200, page(listings[last][0], last, params, listings[last][1])
    if last == "statistics":
        return 200, {"statistics": {"bounces": "0", "opens": {"unique": "150", "total": "300"}, "clicks": None}}
    if last in ("clicks", "bounces", "unsubscribes", "customfields"):
        return 200, {last: None, "total": 0}
    if last == "actions":
        return 200, {"actions": [{"actionType": "Open", "actionTime": "x", "details": "y"}], "total": 1}
    if re.search(r"contacts/\d+$", path):
        return 200, {"contact": {"status": "normal"}}
    return {"subscriptions": (400, {"errors": ["listId is required"]}), "c": (403, {"errors": ["No."]})}.get(
        last, (404, None)
    )


def get(path: str, params: Mapping[str, str | int]) -> Exchange:
    status, found = (200, {"accounts": [{"accountId": 1, "enabled": True}]}) if path == "/a" else body(path, params)
    errors = tuple(found.get("errors", ())) if isinstance(found, dict) else ()
    return Exchange(status, HEADERS, found, found is not None, 5000, 0.3, errors, ())


def refused(path: str, params: Mapping[str, str | int]) -> Exchange:
    return Exchange(200, HEADERS, {"errors": ["Invalid"]}, True, 20, 0.1, ("Invalid",), ())


def test_each_of_its_ways_is_named() -> None:
    sight = Sight()
    look(Client(get, sleep=lambda _: None), Place("1", "2"), sight, refused)
    found: dict[str, Finding] = {finding.key: finding for finding in findings(sight)}
    expected = {
        "page_limit": "clamp", "page_limit_rows": 250, "messages_limit_rows": 50, "page_limit_echo": "missing",
        "bad_limit": "empty", "listing_order": "stable", "orderby": "silent", "contact_id_comparison": "text",
        "unknown_term": "empty", "contacts_default": "listed", "ids": "mixed", "extra_fields": False,
        "message_bodies": "left_out", "action_details": "other", "activity_order": "appended",
        "activity_filters": "silent", "opens_rows": "every", "statistics": "equal", "unknown_message": "other",
        "activity_time": "other", "contact_date": "unreadable", "message_date": "unreadable", "limit_headers": "some",
        "content_type": "application/json", "gzip": False, "auth_status": "other", "unknown_path": "404",
        "subscription_date": "unknown", "folders": "unknown",
    }  # fmt: skip
    assert {key: found[key].answer for key in expected} == expected
    assert {key for key, finding in found.items() if finding.verdict == "report"} == {
        "message_bodies", "contact_date", "message_date", "auth_status",
    }  # fmt: skip
    assert found["max_url_length"].words == "200 ids are answered 413, 50 are accepted"
    assert sight.stopped is None
