"""The sandbox answers in the shapes of the API's known examples, and its truth is what it serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from icontact_assets.sandbox.process import Sandbox

EXAMPLES = Path(__file__).parent / "examples"
FOLDER = "/a/1300001/c/7601"
HEADERS = {
    "API-Version": "2.2",
    "API-AppId": "sandbox-app",
    "API-Username": "sandbox-user",
    "API-Password": "sandbox-pass",
    "Accept": "application/json",
    "Content-Type": "application/json",
}


def ask(sandbox: Sandbox, path: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, Any]:
    answer = requests.request(
        method,
        sandbox.url + path,
        headers={**HEADERS, **headers},
        data=None if body is None else json.dumps(body),
        timeout=20,
    )
    return answer.status_code, answer.json()


def shape(value: Any) -> Any:
    """Keys and types of a reply; of a collection, the keys that all its rows have."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        rows = [set(item) for item in value if isinstance(item, dict)]
        return sorted(set.intersection(*rows)) if rows else type(value[0]).__name__ if value else None
    return "text or null" if value is None or isinstance(value, str) else type(value).__name__


def released(sandbox: Sandbox, kind: str) -> str:
    rows = [row for row in sandbox.control("truth")["activity"] if row["kind"] == kind and row["visible"]]
    return str(rows[0]["message_id"])


@pytest.mark.parametrize(
    ("example", "path"),
    [
        ("time", "/time"),
        ("accounts", "/a"),
        ("clientfolders", "/a/1300001/c"),
        ("contacts_page", f"{FOLDER}/contacts?status=total"),
        ("messages_page", f"{FOLDER}/messages"),
        ("sends_page", f"{FOLDER}/sends"),
        ("lists", f"{FOLDER}/lists"),
        ("subscriptions_page", f"{FOLDER}/subscriptions?listId=5001"),
        ("opens", f"{FOLDER}/messages/{{opens}}/opens"),
        ("clicks", f"{FOLDER}/messages/{{clicks}}/clicks"),
        ("bounces", f"{FOLDER}/messages/{{bounces}}/bounces"),
        ("message_statistics", f"{FOLDER}/messages/{{opens}}/statistics"),
    ],
)
def test_replies_have_the_shapes_of_the_examples(sandbox: Sandbox, example: str, path: str) -> None:
    for kind in ("opens", "clicks", "bounces"):
        if f"{{{kind}}}" in path:
            path = path.replace(f"{{{kind}}}", released(sandbox, kind))
    status, body = ask(sandbox, path)
    expected = json.loads((EXAMPLES / f"{example}.json").read_text())
    assert status == 200
    found, wanted = shape(body), shape(expected)
    for key in wanted:
        assert found[key] == wanted[key] or set(wanted[key]) <= set(found[key])


def test_authentication_is_checked(sandbox: Sandbox) -> None:
    status, body = ask(sandbox, "/a", **{"API-Password": "no"})
    assert status == 401
    assert shape(body) == shape(json.loads((EXAMPLES / "errors_401.json").read_text()))


def test_unknown_terms_are_ignored_with_a_warning(sandbox: Sandbox) -> None:
    _, everything = ask(sandbox, f"{FOLDER}/contacts?status=total")
    status, body = ask(sandbox, f"{FOLDER}/contacts?status=total&unheard=1")
    assert status == 200
    assert body["total"] == everything["total"]
    assert "unheard" in body["warnings"][0]


def test_limit_is_20_by_default_and_500_at_most(sandbox: Sandbox) -> None:
    assert len(ask(sandbox, f"{FOLDER}/contacts?status=total")[1]["contacts"]) == 20
    body = ask(sandbox, f"{FOLDER}/contacts?status=total&limit=9999")[1]
    assert body["limit"] == 500


def test_a_missing_list_is_a_500_and_a_missing_subscription_a_404(sandbox: Sandbox) -> None:
    assert ask(sandbox, f"{FOLDER}/lists/1")[0] == 500
    assert ask(sandbox, f"{FOLDER}/subscriptions/1_2")[0] == 404


def test_those_who_left_are_refused_in_a_200(sandbox: Sandbox) -> None:
    truth = sandbox.control("truth")
    left = next(row for row in truth["subscriptions"] if row["status"] == "unsubscribed" and row["visible"])
    body = [{"contactId": left["contact_id"], "listId": left["list_id"], "status": "normal"}]
    status, answer = ask(sandbox, f"{FOLDER}/subscriptions", "POST", body)
    assert status == 200
    assert not answer["subscriptions"]
    assert answer["warnings"]


def test_the_same_seed_makes_the_same_world_and_events_come_as_the_clock_moves(sandbox: Sandbox) -> None:
    world = {"seed": 9, "contacts": 60, "messages": 4, "days": 10, "now": "2026-05-01T12:00:00+00:00"}

    def later(of: Sandbox) -> Any:
        before = sum(row["visible"] for row in of.control("truth")["activity"])
        of.control("clock", advance=30 * 86400)
        truth = of.control("truth")
        assert sum(row["visible"] for row in truth["activity"]) > before
        return truth

    sandbox.control("reset", **world)
    # Another process hashes otherwise.
    with Sandbox(**world) as another:
        assert later(another) == later(sandbox)


def test_what_makes_no_sense_is_refused_with_words(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="unheard"):
        sandbox.control("switches", unheard=True)
    with pytest.raises(ValueError, match="do"):
        sandbox.control("faults", faults=[{"path": "x"}])
