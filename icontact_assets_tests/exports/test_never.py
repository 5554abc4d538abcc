"""What an export must never do, in whole runs: mail who left, write twice, lose what took effect."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from icontact_assets.exports import apply
from icontact_assets.exports.approvals import show_plan
from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.facts import make_plan
from icontact_assets.exports.run import ExportError, run_export
from icontact_assets.exports.undo import Undo, plan_undo
from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.session import Credentials, Session
from icontact_assets.settings.models import (
    ExportLimits,
    Remove,
)
from icontact_assets_tests.exports.steps import (
    LATER,
    LISTING,
    ON_LIST,
    edit,
    gone,
    leaves,
    objects,
    outcome,
    people,
    posted,
    whatever,
)
from icontact_assets_tests.harness import FREE, HOLDING, LIST, SCHEMA

# Who left while a run read


@pytest.mark.parametrize("who", [1, 2], ids=["added_before", "added_by_this_run"])
def test_who_left_while_the_list_was_read_back_never_comes_back(house, who):
    people(house, 1)
    house.export(external_changes="repair")
    people(house, 2)
    house.fault(**ON_LIST, nth=2, do=edit(leaves(who)))
    house.export(external_changes="repair")
    assert house.on_list()[who] == "unsubscribed"
    gone(house, who)
    house.export(external_changes="repair")
    assert who not in house.on_list()


def test_who_left_while_a_list_to_move_to_was_read_back_is_not_moved_there(house):
    people(house, 1, 2)
    house.export("mirror")
    house.store.audience(1)
    house.fault(**LISTING, query=f"listId={HOLDING}", nth=2, do=edit(leaves(1, HOLDING)))
    house.export("mirror")
    assert house.on(HOLDING)[1] == "unsubscribed"
    gone(house, 1, HOLDING)
    house.store.audience()
    house.export("mirror")
    assert 1 not in house.on(HOLDING)


def test_who_left_before_a_list_was_read_after_a_lost_answer_is_not_added_by_a_later_batch(house, monkeypatch):
    monkeypatch.setattr(apply, "BATCH", 1)
    people(house, 1, 2)
    house.sandbox.control("switches", resubscribe="success")
    house.fault(method="POST", nth=1, do={"kind": "reset"})
    house.fault(method="POST", nth=1, do=edit(leaves(2), when="after"))
    house.export()
    assert house.on_list() == {1: "normal", 2: "unsubscribed"}
    assert 2 not in posted(house)


def test_who_left_before_a_list_was_read_after_a_lost_answer_is_not_moved(house):
    people(house, 1, 2)
    house.export("mirror")
    house.store.audience(1)
    people(house, 3)
    house.store.audience(1, 3)
    house.fault(method="POST", nth=1, do={"kind": "reset"})
    house.fault(method="POST", nth=1, do=edit(leaves(2), when="after"))
    house.export("mirror")
    assert house.on_list() == {1: "normal", 2: "unsubscribed", 3: "normal"}
    assert house.removals() == []


def test_what_any_reading_showed_counts_for_ever(house):
    plan_shown, no_plan, dry_run, stopped, undo, stays = range(1, 7)
    people(house, *range(1, 7))
    house.export("mirror")
    people(house, 7)
    house.store.audience(*range(1, 8))

    def has_left_when(contact_id: int, reads: Callable[[], object]) -> None:
        """Only this reading shows that they left: their row is taken off the list right after it."""
        house.sandbox.control("subscriptions/set", list_id=LIST, contact_id=contact_id, status="unsubscribed")
        reads()
        gone(house, contact_id)

    def show() -> None:
        plan = make_plan(house.place(), house.settings("mirror"))
        show_plan(house.place().warehouse, plan, house.clock())

    has_left_when(plan_shown, show)
    house.fault(path="/contacts", do={"kind": "reply", "status": 402})
    has_left_when(no_plan, lambda: whatever(house, "mirror"))
    house.sandbox.control("faults/clear")
    has_left_when(dry_run, lambda: house.export("dry_run"))
    has_left_when(stopped, lambda: whatever(house, "mirror", limits=ExportLimits(**{**FREE, "adds": 0})))
    has_left_when(undo, lambda: plan_undo(house.place(), house.settings("mirror"), Undo("run1", Remove())))
    assert set(house.on_list()) == {stays}
    house.export("mirror", external_changes="repair")
    assert house.on_list() == {stays: "normal", 7: "normal"}


def test_what_a_reading_of_another_list_showed_counts_for_strict_consent(house):
    people(house, 1)
    house.sandbox.control("subscriptions/set", list_id=5003, contact_id=1, status="unsubscribed")
    assert house.export(consent="strict").added == 0
    gone(house, 1, 5003)
    assert house.export(consent="strict").added == 0


def test_who_came_back_from_a_write_as_unsubscribed_has_left(house):
    people(house, 1, 2)
    house.fault(method="POST", nth=1, do={"kind": "fields", "set": {"status": "unsubscribed"}})
    house.fault(method="POST", nth=1, do=edit(leaves(1), leaves(2), when="after"))
    house.export()
    for id_ in (1, 2):
        gone(house, id_)
    house.export(external_changes="repair")
    assert house.on_list() == {}
    assert posted(house) == [1, 2]


# A write whose effect is not known

UNKNOWN = [{"kind": "reply", "status": 503, "headers": {"Retry-After": "0"}}, {"kind": "reset"}]


@pytest.mark.parametrize("how", UNKNOWN, ids=lambda how: f"{how['kind']}{how.get('status', '')}")
def test_a_post_that_may_have_been_applied_is_not_sent_again(house, how):
    people(house, 1, 2, 3)
    house.sandbox.control("switches", resubscribe="success")
    house.fault(method="POST", nth=1, do={**how, "apply": True})
    house.fault(method="POST", nth=1, do=edit(leaves(2), when="after"))
    whatever(house)
    whatever(house)
    assert house.on_list() == {1: "normal", 2: "unsubscribed", 3: "normal"}
    assert house.posts() == [[1, 2, 3]]
    assert (outcome(house, 1), outcome(house, 3)) == ("added", "added")


@pytest.mark.parametrize("how", UNKNOWN, ids=lambda how: f"{how['kind']}{how.get('status', '')}")
def test_a_post_that_was_not_applied_is_sent_again_when_the_list_was_read(house, how):
    people(house, 1, 2, 3)
    house.fault(method="POST", nth=1, do=how)
    house.fault(method="POST", nth=1, do=edit(objects(2), when="after"))
    whatever(house)
    whatever(house)
    assert house.on_list()[1] == house.on_list()[3] == "normal"
    log = house.sandbox.control("log")
    first, second = [n for n, entry in enumerate(log) if entry["method"] == "POST"]
    between = [
        entry for entry in log[first:second] if f"listId={LIST}" in entry["query"] and "offset=0" in entry["query"]
    ]
    assert between


def test_a_permit_is_as_old_as_it_is_however_long_one_has_to_wait(house, monkeypatch):
    people(house, 1, 2)
    monkeypatch.setattr(
        "time.sleep", lambda seconds: setattr(house.clock, "now", house.clock.now + timedelta(seconds=seconds))
    )
    house.fault(method="POST", times=3, do={"kind": "reply", "status": 503, "headers": {"Retry-After": "300"}})
    house.fault(method="POST", nth=1, do=edit(objects(1), when="after"))
    house.sandbox.control("switches", resubscribe="success")
    for number in range(4):
        # iContact's wish to wait is kept with the budget, by the clock of the machine: each run has one of its own.
        session = Session(
            house.sandbox.url,
            Credentials("sandbox-app", "sandbox-user", "sandbox-pass"),
            Budget(CountFile(house.home / str(number), "a"), per_second=0, per_minute=0, per_day=0),
            tries=5,
        )
        place = ExportContext(house.store.warehouse, Folder(session, "1300001", "7601"), SCHEMA, house.clock)
        try:
            run_export(place, house.settings(), run_id=f"long{number}")
        except ExportError:
            house.clock.now += timedelta(minutes=15)
    assert house.on_list() == {2: "normal"}


@pytest.mark.parametrize(("answer", "rounds"), [("silent", 0), ("reset", 1)])
def test_what_shows_late_is_found_and_is_ours(house, answer, rounds):
    people(house, *range(1, 5))
    house.store.audience(*range(1, 5))
    how = {"silent": {"kind": "omit"}, "reset": {"kind": "reset", "apply": True}}
    house.fault(method="POST", nth=1, do=how[answer])
    house.fault(method="POST", nth=1, do={"kind": "late", "seconds": LATER})
    # Whatever else it may do, it cannot write again.
    house.fault(method="POST", after=1, do={"kind": "reply", "status": 402})
    whatever(house, "mirror")
    house.sandbox.control("faults/clear")
    house.store.audience(1)
    house.fault(method="POST", do={"kind": "reply", "status": 402})
    for _ in range(rounds):
        whatever(house, "mirror")
    house.sandbox.control("faults/clear")
    house.sandbox.control("clock", advance=LATER)
    house.clock.now += timedelta(seconds=LATER)
    house.export("mirror")
    house.export("mirror")
    assert house.on_list() == {1: "normal"}
    assert house.on(HOLDING) == {2: "normal", 3: "normal", 4: "normal"}
    assert {outcome(house, id_) for id_ in (2, 3, 4)} == {"added"}


@pytest.mark.parametrize("answer", ["503", "empty"])
def test_a_move_that_shows_late_is_found_and_is_ours(house, answer):
    people(house, 1, 2)
    house.export("mirror")
    house.store.audience(1)
    how = {
        "503": {"kind": "reply", "status": 503, "apply": True},
        "empty": {"kind": "reply", "status": 200, "body": {}, "apply": True},
    }[answer]
    house.fault(method="PUT", nth=1, do=how)
    house.fault(method="PUT", nth=1, do={"kind": "late", "seconds": LATER})
    house.fault(method="PUT", after=1, do={"kind": "reply", "status": 402})
    whatever(house, "mirror")
    assert outcome(house, 2, "move") in ("intended", "unconfirmed")
    house.sandbox.control("faults/clear")
    house.sandbox.control("clock", advance=LATER)
    house.clock.now += timedelta(seconds=LATER)
    house.export("mirror")
    assert outcome(house, 2, "move") == "moved"
    # Whom the export moved away comes back with the audience. Had others done it, they would not.
    house.store.audience(1, 2)
    house.export("mirror")
    assert house.on_list() == {1: "normal", 2: "normal"}


def test_an_undo_takes_back_what_showed_late(house):
    people(house, 1, 2)
    house.fault(method="POST", nth=1, do={"kind": "omit"})
    house.fault(method="POST", nth=1, do={"kind": "late", "seconds": LATER})
    whatever(house, "mirror")
    house.sandbox.control("clock", advance=LATER)
    plan = plan_undo(house.place(), house.settings("mirror"), Undo("run1", Remove()))
    assert sorted(permit.contact_id for permit in plan.removals) == ["1", "2"]


# Moves


def test_who_left_behind_a_lost_answer_is_not_moved(house):
    people(house, 1)
    house.export("mirror", external_changes="repair")
    house.store.audience()
    house.sandbox.control("switches", move_unsubscribed="subscribe")
    house.fault(method="PUT", nth=1, do={"kind": "reset"})
    house.fault(method="PUT", nth=1, do=edit(leaves(1), when="after"))
    whatever(house, "mirror", external_changes="repair")
    whatever(house, "mirror", external_changes="repair")
    assert house.removals() == [("PUT", 1)]
    assert (house.on_list(), house.on(HOLDING)) == ({1: "unsubscribed"}, {})
    house.store.audience(1)
    gone(house, 1)
    house.export("mirror", external_changes="repair")
    assert house.on_list() == {}


def test_who_left_before_they_were_moved_is_not_put_back(house):
    people(house, 1)
    house.export("mirror", external_changes="repair")
    house.store.audience()
    house.fault(method="PUT", nth=1, do=edit(leaves(1)))
    house.export("mirror", external_changes="repair")
    assert (house.on_list(), house.on(HOLDING)) == ({}, {1: "unsubscribed"})
    house.store.audience(1)
    house.export("mirror", external_changes="repair")
    assert house.on_list() == {}
    gone(house, 1, HOLDING)
    house.export("mirror", external_changes="repair")
    assert house.on_list() == {}


@pytest.mark.parametrize("action", ["move", "subscribe"])
def test_a_status_on_the_list_is_not_older_than_ten_minutes(house, monkeypatch, action):
    monkeypatch.setattr(apply, "BATCH", 1)
    people(house, *range(11, 16))
    house.sandbox.control("switches", resubscribe="success", move_unsubscribed="subscribe")
    if action == "move":
        house.export("mirror")
        house.store.audience()
    house.sandbox.control("log/clear")
    house.fault(method="PUT" if action == "move" else "POST", nth=1, do=edit(leaves(15), when="after"))
    name = "move_subscription" if action == "move" else "subscribe"
    write = getattr(Folder, name)

    def takes_three_minutes(*arguments: Any, **options: Any) -> Any:
        house.clock.now += timedelta(minutes=3)
        return write(*arguments, **options)

    monkeypatch.setattr(Folder, name, takes_three_minutes)
    house.export("mirror")
    assert house.on_list()[15] == "unsubscribed"
    written = [id_ for _, id_ in house.removals()] if action == "move" else posted(house)
    assert sorted(written) == list(range(11, 15))


def test_a_permit_that_ages_while_one_waits_for_the_database_or_the_budget_is_no_crash(house):
    people(house, 1, 2, 3)
    house.clock.step = timedelta(minutes=2)
    whatever(house, "mirror")
    house.store.audience()
    whatever(house, "mirror")
    house.clock.step = timedelta(0)
    house.export("mirror")
    assert house.on_list() == {}


@pytest.mark.parametrize("refusal", ["400", "409"])
def test_those_who_are_on_the_other_list_already_do_not_hold_up_the_others(house, refusal):
    ids = range(1, 9)
    people(house, *ids)
    house.export("mirror")
    for id_ in range(1, 6):
        house.sandbox.control("subscriptions/set", list_id=HOLDING, contact_id=id_)
    house.sandbox.control("switches", move_existing=refusal)
    house.store.audience()
    house.export("mirror")
    assert {6, 7, 8} & set(house.on_list()) == set()
    assert {6, 7, 8} <= set(house.on(HOLDING))
    house.export("mirror")
