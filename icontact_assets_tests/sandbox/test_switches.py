"""Each switch changes what it says. In this process, without HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from icontact_assets.sandbox.control import Control, State
from icontact_assets.sandbox.reading import Answer, Tweaks
from icontact_assets.sandbox.seed import Plan
from icontact_assets.sandbox.switches import Switches
from icontact_assets.sandbox.times import instant_of

BASE = "/a/1300001/c/7601"
SIGNED = {
    "api-version": "2.2", "api-appid": "sandbox-app", "api-username": "sandbox-user", "api-password": "sandbox-pass",
    "accept": "application/json", "content-type": "application/json",
}  # fmt: skip
WINTER, SUMMER = instant_of("2026-02-01T12:00:00Z"), instant_of("2026-07-01T12:00:01Z")


class House:
    """A sandbox in this process, and how it is asked."""

    def __init__(self, state: State) -> None:
        self.state = state

    def set(self, **values: Any) -> House:
        self.state.service.change_switches(values)
        return self

    def ask(self, path: str, headers: dict[str, str] = SIGNED, **query: Any) -> Answer:
        """The answer to a GET below the client folder."""
        texts = {name: str(value) for name, value in query.items()}
        return self.state.service.answer("GET", BASE + path, texts, headers, b"", Tweaks())

    def body(self, path: str, **query: Any) -> Any:
        answer = self.ask(path, **query)
        assert answer.status == 200, answer.body
        return orjson.loads(answer.body)

    def edit(self, path: str, **values: Any) -> Any:
        return Control(self.state).edit(path, values)


@pytest.fixture(scope="module")
def built() -> State:
    state = State(
        Plan(seed=3, contacts=30, messages=5, days=10),
        Switches(requests_per_minute=0, requests_per_day=0),
        instant_of("2026-11-20T12:00:00Z"),
        frozen=True,
    )
    control = Control(state)
    for contact_id in (1, 2, 3, 12):
        control.edit("contacts/add", {"contact_id": contact_id, "email": f"{contact_id}@x.example", "created": SUMMER})
    control.edit("contacts/delete", {"contact_id": 2, "hard": False})
    control.edit("contacts/delete", {"contact_id": 3})
    control.edit("messages/add", {"message_id": 1, "created": WINTER, "released": WINTER, "recipients": 5})
    for contact_id, at in ((1, WINTER), (1, SUMMER), (2, SUMMER), (3, SUMMER)):
        control.edit("events/add", {"message_id": 1, "kind": "opens", "contact_id": contact_id, "at": at})
    return state


@pytest.fixture
def house(built: State) -> Iterator[House]:
    before = built.world.switches.model_dump()
    yield House(built)
    built.service.change_switches(before)


OPENS = "/messages/1/opens"


@pytest.mark.parametrize(
    ("style", "written"),
    [
        ("iso", ["2026-02-01T07:00:00-05:00", "2026-07-01T08:00:01-04:00"]),
        ("utc", ["2026-02-01T12:00:00Z", "2026-07-01T12:00:01Z"]),
        ("no_offset", ["2026-02-01T07:00:00", "2026-07-01T08:00:01"]),
        ("no_colon", ["2026-02-01T07:00:00-0500", "2026-07-01T08:00:01-0400"]),
        ("blank", ["2026-02-01 07:00:00", "2026-07-01 08:00:01"]),
        ("compact", ["20260201 07:00:00", "20260701 08:00:01"]),
        ("fixed", ["2026-02-01T07:00:00-05:00", "2026-07-01T07:00:01-05:00"]),
        ("mixed", ["2026-02-01T07:00:00-05:00", "2026-07-01T12:00:01Z"]),
        ("other", ["2026-02-01T07:00:00.000-05:00", "2026-07-01T08:00:01.000-04:00"]),
        ("unreadable", ["02/01/2026 07:00:00", "07/01/2026 08:00:01"]),
    ],
)
def test_times_of_activity_have_the_form_that_the_switch_says(house: House, style: str, written: list[str]) -> None:
    rows = house.set(activity_time=style).body(OPENS)["opens"]
    assert [row["openTime"] for row in rows][:2] == written


@pytest.mark.parametrize(
    ("switch", "path", "name", "field"),
    [
        ("contact_date", "/contacts", "contacts", "createDate"),
        ("message_date", "/messages", "messages", "createDate"),
        ("send_date", "/sends", "sends", "scheduledTime"),
        ("subscription_date", "/subscriptions", "subscriptions", "addDate"),
        ("action_time", "/contacts/1/actions", "actions", "actionTime"),
    ],
)
def test_each_resource_has_a_form_of_times_of_its_own(
    house: House, switch: str, path: str, name: str, field: str
) -> None:
    before = [instant_of(row[field]) for row in house.body(path, limit=500)[name]]
    after = [row[field] for row in house.set(**{switch: "utc"}).body(path, limit=500)[name]]
    assert before
    assert all(re.fullmatch(r"[-0-9]{10}T[0-9:]{8}Z", text) for text in after)
    assert [instant_of(text) for text in after] == before
    if switch == "contact_date":
        written = [row[field] for row in house.set(contact_date="blank_utc").body(path, limit=500)[name]]
        assert [text.replace("T", " ").rstrip("Z") for text in after] == written
    house.set(**{switch: "compact"})
    assert all(row[field][8] == " " for row in house.body(path)[name])


@pytest.mark.parametrize("mode", ["warn", "silent", "empty", "refuse"])
def test_unknown_search_terms(house: House, mode: str) -> None:
    everybody = house.body("/contacts", status="total")["total"]
    answer = house.set(unknown_term=mode).ask("/contacts", status="total", unheard="1")
    body = orjson.loads(answer.body)
    assert answer.status == (400 if mode == "refuse" else 200)
    assert body.get("total") == {"refuse": None, "empty": 0}.get(mode, everybody)
    assert ("warnings" in body) == (mode == "warn")
    assert house.body("/contacts", status="total", createDate="2026-01-01", createDateSearchType="gt")["total"] > 1


@pytest.mark.parametrize("status", ["500", "200"])
def test_one_message_spoils_its_page(house: House, status: str) -> None:
    house.set(page_errors=status)
    good = [orjson.loads(house.ask("/messages", limit=1, offset=offset).body) for offset in range(5)]
    assert [offset for offset, body in enumerate(good) if "errors" in body] == [2]
    page = house.ask("/messages", limit=5)
    assert (page.status, "messages" in orjson.loads(page.body)) == (int(status), False)


def test_the_largest_page_may_differ_by_resource(house: House) -> None:
    house.set(messages_limit_rows=2, activity_limit_rows=1, page_limit_rows=3)
    for path, name, rows in (("/messages", "messages", 2), (OPENS, "opens", 1), ("/contacts", "contacts", 3)):
        body = house.body(path, limit=500)
        assert (len(body[name]), body["limit"]) == (rows, rows)


def test_a_limit_of_0_may_bring_no_rows(house: House) -> None:
    assert len(house.body("/contacts", limit=0)["contacts"]) == 20
    house.set(bad_limit="empty")
    assert (house.body("/contacts", limit=0)["contacts"], house.body("/contacts", limit=0)["total"] > 0) == ([], True)
    assert len(house.body("/contacts", limit=-1)["contacts"]) == 20


@pytest.mark.parametrize(("mode", "warned", "total"), [("ignore", 1, 4), ("silent", 0, 4), ("apply", 0, 2)])
def test_search_terms_on_activity(house: House, mode: str, warned: int, total: int) -> None:
    body = house.set(activity_filters=mode).body(OPENS, contactId=1)
    assert (len(body.get("warnings", [])), body["total"]) == (warned, total)


def test_rows_of_contacts_that_are_gone_may_go_with_them_while_the_statistics_stay(house: House) -> None:
    house.set(activity_of_deleted="drop")
    assert {row["contactId"] for row in house.body(OPENS)["opens"]} == {"1"}
    assert house.body("/messages/1/statistics")["statistics"]["opens"] == {"unique": 1, "total": 2}
    house.set(statistics="ever")
    assert house.body(OPENS)["total"] == 2
    assert house.body("/messages/1/statistics")["statistics"]["opens"] == {"unique": 3, "total": 4}


def test_a_deleted_contact_may_be_gone_with_its_history(house: House) -> None:
    for path in ("/contacts/2", "/contacts/2/actions"):
        assert house.set(deleted_contact="readable").ask(path).status == 200
        assert house.set(deleted_contact="not_found").ask(path).status == 404


@pytest.mark.parametrize("status", ["501", "404"])
def test_unknown_paths(house: House, status: str) -> None:
    house.set(unknown_path=status)
    assert {house.ask(path).status for path in ("/unheard", "/messages/1/unheard")} == {int(status)}


@pytest.mark.parametrize(("mode", "status"), [("404", 404), ("500", 500), ("empty", 200)])
def test_unknown_messages(house: House, mode: str, status: int) -> None:
    house.set(unknown_message=mode)
    for path in ("/messages/999/opens", "/messages/999/statistics"):
        answer = house.ask(path)
        assert answer.status == status
        assert (b"No result" in answer.body) == (mode == "500")
    if mode == "empty":
        assert house.body("/messages/999/opens")["opens"] == []


def test_refused_credentials_may_be_told_apart_or_not(house: House) -> None:
    def said(**wrong: str) -> bytes:
        return house.ask("/lists", {**SIGNED, **wrong}).body

    assert said(**{"api-password": "no"}) != said(**{"api-username": "no"})
    house.set(auth_body="one")
    assert said(**{"api-password": "no"}) == said(**{"api-username": "no"}) == b'{"errors":["Api username invalid"]}'
    assert house.set(auth_body="html").ask("/lists", {}).status == 501
    assert said(**{"api-password": "no"}).startswith(b"<html>")


def test_headers_may_speak_of_limits(house: House) -> None:
    assert house.ask("/lists").headers == {}
    house.set(limit_headers="some", requests_per_minute=1000)
    left = [int(house.ask("/lists").headers["X-RateLimit-Remaining"]) for _ in range(2)]
    assert left[0] - left[1] == 1
    assert house.ask("/lists").headers["X-RateLimit-Limit"] == "1000"


def test_a_page_may_say_less_of_itself(house: House) -> None:
    house.set(page_limit_rows=2)
    assert house.body("/contacts", limit=9)["limit"] == 2
    house.set(page_limit_echo="missing", totals="missing")
    assert {"limit", "total"} & house.body("/contacts", limit=9).keys() == set()
    assert house.body("/contacts", limit=1)["limit"] == 1


def test_a_page_behind_the_end_may_be_refused(house: House) -> None:
    total = house.set(past_end="refuse").body("/messages")["total"]
    assert [house.ask("/messages", offset=total + more).status for more in (0, 1)] == [200, 400]


def test_a_stable_order_is_none_that_was_asked_for(house: House) -> None:
    def ids() -> list[str]:
        return [row["contactId"] for row in house.body("/contacts", status="total")["contacts"]]

    first = house.set(listing_order="stable") and ids()
    assert first == ids()
    assert first not in (sorted(first, key=int), sorted(first, key=int, reverse=True))


def test_each_listing_may_have_an_order_of_its_own(house: House) -> None:
    for contact_id in (1, 2):
        house.edit("events/add", message_id=1, kind="bounces", contact_id=contact_id, at=WINTER + contact_id)
    house.set(activity_order="mixed")
    assert [row["contactId"] for row in house.body("/messages/1/bounces")["bounces"]] == ["2", "1"]
    assert house.body(OPENS)["opens"][0]["openTime"].startswith("2026-02-01")


@pytest.mark.parametrize(
    ("mode", "found"), [("apply", {"1"}), ("equals", set()), ("text", {"1", "12"}), ("refuse", None)]
)
def test_comparisons_of_ids(house: House, mode: str, found: set[str] | None) -> None:
    answer = house.set(contact_id_comparison=mode).ask(
        "/contacts", status="total", contactId="5", contactIdSearchType="lt"
    )
    rows = orjson.loads(answer.body).get("contacts")
    assert (None if rows is None else {row["contactId"] for row in rows} & {"1", "12"}) == found


def test_what_rows_leave_out(house: House) -> None:
    assert "htmlBody" in house.body("/messages")["messages"][0]
    assert house.body("/contacts", status="total", contactId="1")["contacts"][0]["phone"] is None
    house.set(nulls="blank", message_bodies="left_out", statistics="missing")
    assert house.body("/contacts", status="total", contactId="1")["contacts"][0]["phone"] == ""
    assert {"htmlBody", "textBody"} & house.body("/messages")["messages"][0].keys() == set()
    assert "htmlBody" in house.body("/messages/1")["message"]
    assert house.body("/messages/1/statistics") == {"statistics": []}
