"""What the service may do with writes beyond doing them: late, silently, in part, or otherwise than asked."""

from __future__ import annotations

from typing import Any

import pytest

from icontact_assets.sandbox.process import Sandbox
from icontact_assets_tests.sandbox.test_fidelity import FOLDER, ask

LIST, OTHER = 5001, 5002


@pytest.fixture
def people(sandbox: Sandbox) -> Sandbox:
    """A sandbox with two people of our own."""
    for contact_id, email in ((1, "unsubscribe@news.example"), (2, "two@news.example")):
        sandbox.control("contacts/add", contact_id=contact_id, email=email)
    return sandbox


def on(sandbox: Sandbox, list_id: int) -> dict[int, str]:
    rows = sandbox.control("truth?resource=subscriptions")
    return {
        int(row["contact_id"]): row["status"]
        for row in rows
        if row["list_id"] == str(list_id) and int(row["contact_id"]) < 10
    }


def subscribe(sandbox: Sandbox, *ids: int) -> tuple[int, Any]:
    body = [{"contactId": str(id_), "listId": str(LIST), "status": "normal"} for id_ in ids]
    return ask(sandbox, f"{FOLDER}/subscriptions", "POST", body)


def move(sandbox: Sandbox, contact_id: int) -> tuple[int, Any]:
    return ask(sandbox, f"{FOLDER}/subscriptions/{LIST}_{contact_id}", "PUT", {"listId": str(OTHER)})


def test_a_write_shows_after_so_many_more_requests(people: Sandbox) -> None:
    people.control("faults", faults=[{"method": "POST", "do": {"kind": "late", "requests": 1}}])
    assert subscribe(people, 1)[0] == 200
    assert ask(people, f"{FOLDER}/subscriptions/{LIST}_1")[0] == 404
    assert ask(people, f"{FOLDER}/subscriptions/{LIST}_1")[0] == 200


def test_an_answer_may_say_nothing_of_rows_that_were_written(people: Sandbox) -> None:
    people.control("faults", faults=[{"method": "POST", "do": {"kind": "omit", "every": 2}}])
    _, answer = subscribe(people, 1, 2)
    assert [row["contactId"] for row in answer["subscriptions"]] == ["1"]
    assert on(people, LIST) == {1: "normal", 2: "normal"}


def test_errors_may_come_beside_rows_and_another_status_than_the_true_one(people: Sandbox) -> None:
    people.control(
        "faults",
        faults=[
            {"method": "POST", "do": {"kind": "envelope", "set": {"errors": ["odd"]}}},
            {"method": "PUT", "do": {"kind": "fields", "set": {"status": "unsubscribed"}}},
        ],
    )
    status, answer = subscribe(people, 1)
    assert (status, len(answer["subscriptions"]), answer["errors"]) == (200, 1, ["odd"])
    assert move(people, 1)[1]["subscription"]["status"] == "unsubscribed"


@pytest.mark.parametrize(
    ("switch", "there"), [("carry", {1: "unsubscribed"}), ("subscribe", {1: "normal"}), ("400", {})]
)
def test_moving_someone_who_left(people: Sandbox, switch: str, there: dict[int, str]) -> None:
    people.control("switches", move_unsubscribed=switch)
    people.control("subscriptions/set", list_id=LIST, contact_id=1, status="unsubscribed")
    assert move(people, 1)[0] == (400 if switch == "400" else 200)
    assert on(people, OTHER) == there
    assert on(people, LIST) == ({1: "unsubscribed"} if switch == "400" else {})


@pytest.mark.parametrize("switch", ["merge", "400", "409"])
def test_moving_someone_onto_a_list_that_they_are_on(people: Sandbox, switch: str) -> None:
    people.control("switches", move_existing=switch, refusal_names="both")
    for list_id in (LIST, OTHER):
        people.control("subscriptions/set", list_id=list_id, contact_id=1)
    status, answer = move(people, 1)
    assert status == (200 if switch == "merge" else int(switch))
    if switch != "merge":
        assert answer == {"errors": [f"Contact 1 (unsubscribe@news.example) is already subscribed to list {OTHER}"]}
    assert on(people, LIST) == ({} if switch == "merge" else {1: "normal"})


def test_two_contacts_of_one_address_both_come(people: Sandbox) -> None:
    people.control("contacts/add", contact_id=3, email="TWO@news.example")
    answer = ask(people, f"{FOLDER}/contacts?status=total&email=two@news.example")[1]
    assert [row["contactId"] for row in answer["contacts"]] == ["2", "3"]


def test_the_id_of_a_list_that_is_gone_is_not_given_to_another(sandbox: Sandbox) -> None:
    last = max(int(row["list_id"]) for row in sandbox.control("truth?resource=lists"))
    sandbox.control("lists/delete", list_id=last)
    assert sandbox.control("lists/add", name="Another")["list_id"] > last


def test_several_edits_are_made_in_their_order_or_none_is(sandbox: Sandbox) -> None:
    here = {"list_id": 99, "contact_id": 1}
    edits = [
        {"path": "lists/add", "list_id": 99, "name": "News"},
        {"path": "contacts/add", "contact_id": 1, "email": "1@x.example"},
        {"path": "subscriptions/set", **here},
    ]
    sandbox.control("edits", edits=edits)
    assert on(sandbox, 99) == {1: "normal"}
    for wrong, says in (({"path": "lists/nothing"}, "there is no edit"), ({"path": "subscriptions/set"}, "list_id")):
        with pytest.raises(ValueError, match=says):
            sandbox.control("edits", edits=[{"path": "subscriptions/delete", **here}, wrong])
    assert on(sandbox, 99) == {1: "normal"}
