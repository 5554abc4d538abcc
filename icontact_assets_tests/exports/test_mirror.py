"""Exports that also remove, and what others do to the list meanwhile."""

from __future__ import annotations

from datetime import timedelta

import pytest

from icontact_assets.exports.run import ExportError
from icontact_assets.settings.models import Remove
from icontact_assets_tests.harness import HOLDING, LIST, House

UNSUBSCRIBE = Remove()


def people(house: House, *ids: int) -> None:
    house.contacts(*ids)
    house.store.audience(*ids)


def taken_off(house: House, *ids: int) -> None:
    for id_ in ids:
        house.sandbox.control("subscriptions/delete", list_id=LIST, contact_id=id_)


def put_on(house: House, *ids: int, status: str = "normal") -> None:
    for id_ in ids:
        house.sandbox.control("subscriptions/set", list_id=LIST, contact_id=id_, status=status)


def test_who_leaves_the_audience_is_moved_to_the_other_list(house):
    people(house, 1, 2, 3)
    house.contact(9, on="normal")
    house.export("mirror")
    house.store.audience(1)
    house.sandbox.control("log/clear")
    report = house.export("mirror")
    assert house.on_list() == {1: "normal", 9: "normal"}
    assert house.on(HOLDING) == {2: "normal", 3: "normal"}
    assert house.removals() == [("PUT", 2), ("PUT", 3)]
    assert house.posts() == []
    assert (report.added, report.removed, report.remaining, report.surplus) == (0, 2, 0, 0)
    assert house.outcomes() == {1: "already_subscribed", 2: "moved", 3: "moved"}
    assert house.store.rows(
        "SELECT action, list_id, to_list_id, plan_hash FROM export_outcomes WHERE outcome = 'moved' LIMIT 1"
    ) == [("move", str(LIST), str(HOLDING), report.plan_hash)]
    house.sandbox.control("log/clear")
    house.export("mirror")
    assert house.writes() == []


def test_who_leaves_the_audience_is_unsubscribed_where_that_is_wanted(house):
    people(house, 1, 2)
    house.export("mirror", remove=UNSUBSCRIBE)
    house.store.audience(1)
    report = house.export("mirror", remove=UNSUBSCRIBE)
    assert house.on_list() == {1: "normal", 2: "unsubscribed"}
    assert house.removals() == [("POST", 2)]
    assert (report.removed, house.outcomes()) == (1, {1: "already_subscribed", 2: "unsubscribed"})
    house.store.audience(1, 2)
    report = house.export("mirror", remove=UNSUBSCRIBE)
    assert report.skipped == {"the subscription to the list is unsubscribed": 1}
    assert house.on_list()[2] == "unsubscribed"


def test_those_who_were_there_before_stay_unless_they_are_adopted(house):
    people(house, 1, 2)
    for id_ in (2, 3):
        house.contact(id_ + 100, on="normal")
    put_on(house, 2)
    house.export("mirror")
    house.store.audience(1)
    assert house.export("mirror").removed == 0
    assert sorted(house.on_list()) == [1, 2, 102, 103]
    report = house.export("mirror", adopt_existing=True)
    assert (report.removed, house.on_list()) == (3, {1: "normal"})


def test_nobody_is_moved_onto_a_list_where_they_may_not_be(house):
    people(house, 1, 2, 3, 4)
    house.export("mirror")
    house.sandbox.control("contacts/update", contact_id=1, status="bounced")
    house.sandbox.control("contacts/update", contact_id=2, status="donotcontact")
    house.sandbox.control("subscriptions/set", list_id=HOLDING, contact_id=3, status="unsubscribed")
    house.sandbox.control("subscriptions/set", list_id=HOLDING, contact_id=4, status="pending")
    house.store.audience()
    house.export("mirror")
    assert house.removals() == []
    assert house.on_list() == dict.fromkeys((1, 2, 3, 4), "normal")
    assert house.store.rows(
        "SELECT contact_id, reason FROM export_outcomes WHERE outcome = 'skipped' ORDER BY ALL"
    ) == [
        ("1", "may not be moved: the contact is bounced"),
        ("2", "may not be moved: the contact is donotcontact"),
        ("3", "may not be moved: the subscription to the list is unsubscribed"),
        ("4", "may not be moved: the subscription to the list is pending"),
    ]


@pytest.mark.parametrize("policy", ["report", "keep", "repair"])
def test_what_others_did_is_reported_kept_or_repaired(house, policy):
    people(house, 1, 2, 3)
    house.contact(7)
    house.export("mirror", external_changes=policy)
    house.clock.now += timedelta(days=1)
    taken_off(house, 2)
    put_on(house, 7)
    put_on(house, 3, status="unsubscribed")
    report = house.export("mirror", external_changes=policy)
    assert report.external_changes == (
        "since 2026-09-14 12:00 UTC others added 1 people to the list and removed 1, and 1 left it"
    )
    back = {2: "normal"} if policy == "repair" else {}
    assert house.on_list() == {1: "normal", 3: "unsubscribed", 7: "normal"} | back
    assert report.external_remaining == {"report": 2, "keep": 0, "repair": 2}[policy]
    again = house.export("mirror", external_changes=policy)
    assert "others added 0 people to the list and removed 0, and 0 left it" in again.external_changes
    assert house.on_list() == {1: "normal", 3: "unsubscribed", 7: "normal"} | back
    if policy != "repair":
        assert again.skipped["was removed from the list by others"] == 1


def test_repair_removes_whom_others_put_on_only_if_they_are_adopted(house):
    people(house, 1)
    house.contact(7)
    house.export("mirror")
    put_on(house, 7)
    house.export("mirror", external_changes="repair")
    assert sorted(house.on_list()) == [1, 7]
    house.export("mirror", external_changes="repair", adopt_existing=True)
    assert house.on_list() == {1: "normal"}


def test_whom_others_put_back_is_not_ours_any_more(house):
    people(house, 1, 2)
    house.export("mirror")
    taken_off(house, 2)
    house.export("mirror")
    put_on(house, 2)
    house.store.audience(1)
    house.export("mirror")
    assert sorted(house.on_list()) == [1, 2]


def test_the_first_comparison_finds_no_changes(house):
    house.contact(9, on="normal")
    people(house, 1)
    assert house.export().external_changes == "the list is compared for the first time"


@pytest.mark.parametrize("applied", [True, False])
def test_after_a_lost_answer_to_a_move_the_state_is_read_before_it_is_repeated(house, applied):
    people(house, 1, 2)
    house.export("mirror")
    house.store.audience()
    house.sandbox.control("log/clear")
    house.fault(method="PUT", nth=1, do={"kind": "reset", "apply": applied})
    report = house.export("mirror")
    assert house.on(HOLDING) == {1: "normal", 2: "normal"}
    assert house.removals() == ([("PUT", 1), ("PUT", 2)] if applied else [("PUT", 1), ("PUT", 1), ("PUT", 2)])
    assert report.removed == 2


def test_a_move_that_is_rejected_is_tried_next_time(house):
    people(house, 1, 2)
    house.export("mirror")
    house.store.audience()
    house.fault(method="PUT", nth=1, do={"kind": "reply", "status": 400, "body": {"errors": ["Something is odd"]}})
    report = house.export("mirror")
    assert (report.removed, sum(report.failed.values()), report.surplus) == (1, 1, 1)
    assert house.outcomes() == {1: "failed", 2: "moved"}
    assert house.export("mirror").removed == 1
    assert house.on_list() == {}


def test_a_move_that_changed_nothing_is_found(house):
    people(house, 1)
    house.export("mirror")
    house.store.audience()
    row = {"subscriptionId": f"{HOLDING}_1", "listId": HOLDING, "contactId": 1, "status": "normal"}
    house.fault(method="PUT", nth=1, do={"kind": "reply", "status": 200, "body": {"subscription": row}})
    report = house.export("mirror")
    assert (report.removed, report.surplus, house.outcomes()) == (0, 1, {1: "unconfirmed"})
    assert house.export("mirror").removed == 1


@pytest.mark.parametrize(
    ("way", "method", "done"), [({}, "PUT", "moved"), ({"remove": UNSUBSCRIBE}, "POST", "unsubscribed")]
)
def test_a_removal_that_was_done_without_being_confirmed_is_found(house, way, method, done):
    people(house, 1)
    house.export("mirror", **way)
    house.store.audience()
    house.fault(method=method, do={"kind": "reply", "status": 200, "body": {}, "apply": True})
    report = house.export("mirror", **way)
    assert (report.removed, house.outcomes()) == (1, {1: done})
    house.sandbox.control("faults/clear")
    assert "removed 0, and 0 left it" in house.export("mirror", **way).external_changes


def test_removals_that_are_all_rejected_stop_the_run(house):
    people(house, *range(1, 21))
    house.export("mirror")
    house.store.audience()
    house.fault(method="PUT", do={"kind": "reply", "status": 400, "body": {"errors": ["Something is odd"]}})
    with pytest.raises(ExportError) as caught:
        house.export("mirror")
    assert len(house.removals()) == 5
    assert (caught.value.report.removed, caught.value.report.remaining) == (0, 15)
    assert set(house.outcomes().values()) == {"failed"}


def test_a_list_that_is_suddenly_empty_is_read_again(house):
    people(house, *range(1, 101))
    house.export("mirror")
    empty = {"kind": "reply", "status": 200, "body": {"subscriptions": [], "total": 0, "limit": 500, "offset": 0}}
    house.fault(path="subscriptions", query=f"listId={LIST}", method="GET", nth=1, do=empty)
    with pytest.raises(ExportError, match="lost 100 of 100 people at once, and a second read of it differed"):
        house.export("mirror")
    house.store.audience(*range(1, 100))
    assert house.export("mirror").removed == 1
    taken_off(house, 1)
    assert house.export("mirror").external_changes.endswith("removed 1, and 0 left it")


def test_contacts_of_others_people_are_not_even_read(house):
    people(house, 1)
    house.contacts(*range(200, 330), on="normal")
    house.export("mirror")
    house.store.audience()
    house.sandbox.control("log/clear")
    assert house.export("mirror").removed == 1
    [asked] = [row for row in house.sandbox.control("log") if row["path"].endswith("/contacts")]
    assert "contactId=1&" in asked["query"]
