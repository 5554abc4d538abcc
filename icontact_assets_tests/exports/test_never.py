"""What an export must never do, in whole runs: mail who left, write twice, lose what took effect, block everybody."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from icontact_assets.audiences.audience import AudienceError, compute
from icontact_assets.exports import apply
from icontact_assets.exports.approvals import show_plan
from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.facts import make_plan
from icontact_assets.exports.report import ExportReport
from icontact_assets.exports.run import ExportError, run_export
from icontact_assets.exports.undo import Undo, plan_undo
from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.session import Credentials, Session
from icontact_assets.settings.models import (
    Audience,
    Authorization,
    ClientFolder,
    ExportLimits,
    Pace,
    Remove,
    Suppression,
)
from icontact_assets_tests.harness import FREE, HOLDING, LIST, SCHEMA, House

LISTING = {"path": "/subscriptions$", "method": "GET"}
ON_LIST = {**LISTING, "query": f"listId={LIST}"}
LATER = 3600


def people(house: House, *ids: int) -> None:
    for id_ in ids:
        house.contact(id_)
    house.imported()
    house.store.audience(*ids)


def leaves(contact_id: int, list_id: int = LIST) -> dict[str, Any]:
    return {
        "path": "subscriptions/set",
        "list_id": list_id,
        "contact_id": contact_id,
        "status": "unsubscribed",
    }


def objects(contact_id: int) -> dict[str, Any]:
    return {"path": "contacts/update", "contact_id": contact_id, "status": "donotcontact"}


def edit(*edits: dict[str, Any], when: str = "before") -> dict[str, Any]:
    return {"kind": "edit", "when": when, "edits": list(edits)}


def gone(house: House, contact_id: int, list_id: int = LIST) -> None:
    """Somebody's row is taken off a list: nothing there tells any more that they left it."""
    house.sandbox.control("subscriptions/delete", list_id=list_id, contact_id=contact_id)


def whatever(house: House, mode: str = "add", **options: Any) -> ExportReport | None:
    """A run that may stop with an error of its own."""
    try:
        return house.export(mode, **options)
    except ExportError as error:
        return error.report


def posted(house: House) -> list[int]:
    return [id_ for post in house.posts() for id_ in post]


def outcome(house: House, contact_id: int, action: str = "subscribe") -> str:
    """What the first run that wrote about somebody says became of it."""
    [row, *_] = house.store.rows(
        f"SELECT outcome FROM export_outcomes WHERE contact_id = '{contact_id}' AND action = '{action}' "
        "AND outcome NOT IN ('already_subscribed', 'skipped') ORDER BY run_id"
    )
    return str(row[0])


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


@pytest.mark.parametrize(
    "reading", ["a plan that is only shown", "a run without a plan", "a dry run", "a stopped run", "an undo"]
)
def test_what_any_reading_showed_counts_for_ever(house, reading):
    people(house, 1, 2)
    house.export("mirror")
    people(house, 3)
    house.store.audience(1, 2, 3)
    house.sandbox.control("subscriptions/set", list_id=LIST, contact_id=1, status="unsubscribed")
    if reading == "a plan that is only shown":
        settings = house.settings("mirror")
        plan = make_plan(house.place(), settings)
        show_plan(house.place().warehouse, plan, house.clock())
    elif reading == "a run without a plan":
        house.fault(path="/contacts", do={"kind": "reply", "status": 402})
        whatever(house, "mirror")
        house.sandbox.control("faults/clear")
    elif reading == "a dry run":
        house.export("dry_run")
    elif reading == "a stopped run":
        assert whatever(house, "mirror", limits=ExportLimits(**{**FREE, "adds": 0})) is not None
    else:
        plan_undo(house.place(), house.settings("mirror"), Undo("run1", Remove()))
    gone(house, 1)
    house.export("mirror", external_changes="repair")
    assert house.on_list() == {2: "normal", 3: "normal"}


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

UNKNOWN = [
    {"kind": "reply", "status": 503},
    {"kind": "reply", "status": 503, "headers": {"Retry-After": "0"}},
    {"kind": "reply", "status": 500, "body": {"errors": ["Internal error"]}},
    {"kind": "reply", "status": 502, "text": "<html>Bad Gateway</html>"},
    {"kind": "reset"},
]


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


@pytest.mark.parametrize("how", [UNKNOWN[0], UNKNOWN[-1]], ids=lambda how: f"{how['kind']}{how.get('status', '')}")
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
            Budget(house.home / str(number), "a", per_second=0, per_minute=0, per_day=0),
            tries=5,
        )
        place = ExportContext(house.store.warehouse, Folder(session, "1300001", "7601"), SCHEMA, house.clock)
        try:
            run_export(place, house.settings(), run_id=f"long{number}")
        except ExportError:
            house.clock.now += timedelta(minutes=15)
    assert house.on_list() == {2: "normal"}


@pytest.mark.parametrize(("answer", "rounds"), [("silent", 0), ("silent", 1), ("503", 0), ("503", 1), ("reset", 1)])
def test_what_shows_late_is_found_and_is_ours(house, answer, rounds):
    people(house, *range(1, 5))
    house.store.audience(*range(1, 5))
    how = {"silent": {"kind": "omit"}, "503": {"kind": "reply", "status": 503, "apply": True}}
    house.fault(method="POST", nth=1, do=how.get(answer, {"kind": "reset", "apply": True}))
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


@pytest.mark.parametrize("answer", ["503", "reset", "empty"])
def test_a_move_that_shows_late_is_found_and_is_ours(house, answer):
    people(house, 1, 2)
    house.export("mirror")
    house.store.audience(1)
    how = {
        "503": {"kind": "reply", "status": 503, "apply": True},
        "reset": {"kind": "reset", "apply": True},
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


@pytest.mark.parametrize("switch", ["carry", "subscribe"])
def test_who_left_behind_a_lost_answer_is_not_moved(house, switch):
    people(house, 1)
    house.export("mirror", external_changes="repair")
    house.store.audience()
    house.sandbox.control("switches", move_unsubscribed=switch)
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
    people(house, *range(11, 26))
    house.sandbox.control("switches", resubscribe="success", move_unsubscribed="subscribe")
    if action == "move":
        house.export("mirror")
        house.store.audience()
    house.sandbox.control("log/clear")
    house.fault(method="PUT" if action == "move" else "POST", nth=1, do=edit(leaves(25), when="after"))
    name = "move_subscription" if action == "move" else "subscribe"
    write = getattr(Folder, name)

    def takes_a_minute(*arguments: Any, **options: Any) -> Any:
        house.clock.now += timedelta(minutes=1)
        return write(*arguments, **options)

    monkeypatch.setattr(Folder, name, takes_a_minute)
    house.export("mirror")
    assert house.on_list()[25] == "unsubscribed"
    written = [id_ for _, id_ in house.removals()] if action == "move" else posted(house)
    assert sorted(written) == list(range(11, 25))


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


# Refusals


@pytest.mark.parametrize(("how", "names"), [("skip", "id"), ("skip", "address"), ("400", "address"), ("409", "both")])
def test_a_refusal_for_consent_is_known_by_its_words_whoever_it_names(house, how, names):
    house.contact(1, email="ada@shop.example")
    house.contact(2, email="bob@shop.example")
    house.contact(3, email="cy@shop.example")
    people(house)
    house.store.audience(1, 2, 3)
    house.sandbox.control("switches", resubscribe=how, refusal_names=names)
    house.fault(method="POST", nth=1, do=edit(leaves(1), leaves(3)))
    house.export()
    # A 409 says nothing about its effect: the list is read, which shows that they left.
    left = "skipped" if how == "409" else "refused"
    assert house.outcomes() == {1: left, 2: "added", 3: left}
    for id_ in (1, 3):
        gone(house, id_)
    house.export(external_changes="repair")
    assert house.on_list() == {2: "normal"}
    assert "@" not in str(house.store.rows("SELECT response, reason FROM export_outcomes"))


@pytest.mark.parametrize("how", ["skip", "refuse"])
def test_words_in_an_address_are_no_refusal_for_consent(house, how):
    words = [
        "unsubscribe@news.example met an unexpected condition",
        "The contact <opt-out@news.example> is being changed, try again",
        "Mail to pat@donotcontact.example is slow",
        "pat@suppress.example: temporarily locked",
    ]
    people(house, *range(1, 6))
    house.sandbox.control("switches", bulk_failure=how)
    for id_, text in enumerate(words, start=1):
        house.sandbox.control("contacts/update", contact_id=id_, refused=text)
    house.export()
    assert house.outcomes() == {**dict.fromkeys(range(1, 5), "failed"), 5: "added"}
    assert "@" not in str(house.store.rows("SELECT response FROM export_outcomes"))
    for id_ in range(1, 5):
        house.sandbox.control("contacts/update", contact_id=id_, refused=None)
    house.export()
    assert house.on_list() == dict.fromkeys(range(1, 6), "normal")


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_rows_beside_errors_are_done(house, method):
    people(house, 1, 2, 3)
    beside = {"kind": "envelope", "set": {"errors": ["One of the rows met an unexpected condition"]}}
    if method == "POST":
        house.fault(method="POST", nth=1, do=beside)
        house.export("mirror")
        assert house.posts() == [[1, 2, 3]]
        assert house.outcomes() == {1: "added", 2: "added", 3: "added"}
    else:
        house.export("mirror")
        house.store.audience()
        house.fault(method="PUT", nth=1, do=beside)
        house.export("mirror")
        assert house.removals() == [("PUT", 1), ("PUT", 2), ("PUT", 3)]
        assert house.outcomes() == {1: "moved", 2: "moved", 3: "moved"}


@pytest.mark.parametrize("how", ["refused", "refused one by one", "pretended"])
def test_those_who_cannot_be_added_take_nobodys_place(house, how):
    people(house, *range(1, 7))
    for id_ in (1, 2, 3):
        house.sandbox.control("contacts/update", contact_id=id_, refused=f"Contact {id_} met an unexpected condition")
    if how == "refused one by one":
        house.sandbox.control("switches", bulk_failure="refuse")
    if how == "pretended":
        house.sandbox.control("switches", resubscribe="pretend")
    for _ in range(3):
        whatever(house, pace=Pace(adds_per_day=2))
        house.clock.now += timedelta(days=1)
    assert house.on_list() == {4: "normal", 5: "normal", 6: "normal"}


def test_those_refused_for_consent_take_nobodys_place_on_the_same_day(house):
    people(house, *range(1, 6))
    for id_ in (1, 2):
        house.sandbox.control("contacts/update", contact_id=id_, refused=f"Contact {id_} has opted out")
    whatever(house, pace=Pace(adds_per_day=2))
    whatever(house, pace=Pace(adds_per_day=2))
    assert house.on_list() == {3: "normal", 4: "normal"}


# Approvals


def stopped(house: House, **options: Any) -> str:
    """A plan that exceeds its limits, shown by a run that stopped; its hash."""
    report = whatever(house, limits=ExportLimits(**{**FREE, "adds": 0}), **options)
    assert report is not None
    return report.plan_hash


def test_quiet_hours_do_not_use_up_an_approval(house):
    people(house, 1, 2)
    limits, quiet = ExportLimits(**{**FREE, "adds": 0}), Pace(quiet_hours="12:00-13:30")
    approved = stopped(house, pace=quiet)
    for _ in range(2):
        assert house.export(limits=limits, pace=quiet, approve=approved).remaining == 2
    assert house.writes() == []
    house.clock.now += timedelta(minutes=90)
    assert house.export(limits=limits, pace=quiet, approve=approved).added == 2


@pytest.mark.parametrize("how", ["lost", "applied", "killed"])
def test_an_approval_is_used_by_the_first_write(house, monkeypatch, how):
    people(house, 1, 2)
    limits = ExportLimits(**{**FREE, "adds": 0})
    approved = stopped(house)
    if how == "killed":

        def die(*_: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(Folder, "subscribe", die)
            with pytest.raises(KeyboardInterrupt):
                house.export(limits=limits, approve=approved)
    elif how == "lost":
        house.fault(method="POST", do={"kind": "reset"})
        with pytest.raises(ExportError):
            house.export(limits=limits, approve=approved)
    else:
        house.fault(method="POST", do={"kind": "reset", "apply": True})
        whatever(house, limits=limits, approve=approved)
        for id_ in (1, 2):
            gone(house, id_)
    house.sandbox.control("faults/clear")
    before = len(house.posts())
    whatever(house, limits=limits, approve=approved, external_changes="repair")
    assert len(house.posts()) == before


def test_a_plan_of_which_nothing_could_be_written_keeps_its_approval(house):
    people(house, 1, 2)
    limits = ExportLimits(**{**FREE, "adds": 0})
    approved = stopped(house)
    house.clock.now += timedelta(minutes=1)
    house.fault(path="/contacts", do={"kind": "reply", "status": 402})
    whatever(house, limits=limits, approve=approved)
    house.sandbox.control("faults/clear")
    assert house.export(limits=limits, approve=approved).added == 2


# Lists that vanish


@pytest.mark.parametrize("which", [LIST, HOLDING])
def test_another_list_that_took_the_name_is_not_written_to(house, which):
    names = {row["list_id"]: row["name"] for row in house.sandbox.control("truth?resource=lists")}
    options = {"wanted": names[str(LIST)], "remove": Remove(move_to=names[str(HOLDING)])}
    people(house, 1, 2, 3)
    house.export("mirror", **options)
    house.store.audience(1, 2)
    house.export("mirror", **options)
    house.sandbox.control("lists/delete", list_id=which)
    new = house.sandbox.control("lists/add", name=names[str(which)])["list_id"]
    house.sandbox.control("log/clear")
    house.store.audience(1)
    with pytest.raises(ExportError, match=str(new)):
        house.export("mirror", **options)
    assert house.writes() == []
    assert house.on(new) == {}
    # Named by its id, the new list is meant.
    options["wanted" if which == LIST else "remove"] = str(new) if which == LIST else Remove(move_to=str(new))
    house.export("mirror", **options)


@pytest.mark.parametrize("answer", ["no result", "empty"])
def test_a_list_that_is_gone_does_not_hold_the_export_after_a_kill(house, monkeypatch, answer):
    people(house, 1, 2)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Folder, "subscribe", die)
        with pytest.raises(KeyboardInterrupt):
            house.export()
    assert house.outcomes() == {1: "intended", 2: "intended"}
    house.sandbox.control("lists/delete", list_id=LIST)
    if answer == "no result":
        body = {"errors": [f"No result for ({LIST})."]}
        house.fault(**ON_LIST, do={"kind": "reply", "status": 500, "body": body})
    report = house.export(wanted="5003")
    assert report.added == 2
    assert house.on(5003) == {1: "normal", 2: "normal"}


# Persons, not spellings

SPELLINGS = [
    ("Pat@Shop.example", "pat@shop.example"),
    ("pat@b\u00fccher.example", "pat@xn--bcher-kva.example"),
    ("jos\u00e9@shop.example", "jose\u0301@shop.example"),
    ("pat@shop.example", "Pat Example <PAT@SHOP.EXAMPLE>"),
]


def anew(house: House, old: str, new: str) -> None:
    """Contact 1 is deleted, and made anew as 101 with another spelling of the address."""
    house.sandbox.control("contacts/delete", contact_id=1)
    house.contact(101, email=new)
    house.imported()
    house.store.audience(2, 101)
    assert old != new


@pytest.mark.parametrize(
    ("how", "spelling"),
    [
        ("imported", 0),
        ("imported", 1),
        ("imported", 2),
        ("imported", 3),
        ("seen by an export", 0),
        ("donotcontact", 1),
        ("donotcontact seen by an export", 2),
        ("message", 3),
        ("refused", 0),
    ],
)
def test_who_left_is_not_added_under_another_contact(house, how, spelling):
    old, new = SPELLINGS[spelling]
    house.contact(1, email=old)
    house.contact(2, email="nobody.else@shop.example")
    house.imported()
    house.store.audience(1)
    if how in ("imported", "seen by an export"):
        house.sandbox.control("subscriptions/set", list_id=LIST, contact_id=1, status="unsubscribed")
    elif how.startswith("donotcontact"):
        house.sandbox.control("contacts/update", contact_id=1, status="donotcontact")
    elif how == "refused":
        house.sandbox.control("contacts/update", contact_id=1, refused="Contact 1 has opted out")
    else:
        house.store.insert("raw_activity", contact_id="1", event_type="unsubscribe", message_id="1")
    if how in ("imported", "donotcontact"):
        house.imported()
    elif how != "message":
        assert house.export().added == 0
    anew(house, old, new)
    house.export(external_changes="repair")
    assert house.on_list() == {2: "normal"}


def test_strict_consent_is_the_persons(house):
    old, new = SPELLINGS[1]
    house.contact(1, email=old)
    house.contact(2, email="nobody.else@shop.example")
    house.sandbox.control("subscriptions/set", list_id=5003, contact_id=1, status="unsubscribed")
    house.imported()
    anew(house, old, new)
    house.export(consent="strict")
    assert house.on_list() == {2: "normal"}


@pytest.mark.parametrize(("old", "new"), SPELLINGS[:2])
def test_who_has_two_contacts_is_one_person(house, tmp_path, old, new):
    house.contact(1, email=old)
    house.contact(2, email="nobody.else@shop.example")
    house.contact(101, email=new)
    house.imported()
    house.store.audience(2, 101)
    (tmp_path / "never.csv").write_text("contact_id\n1\n")
    house.export(suppression=Suppression(file=tmp_path / "never.csv"))
    assert house.on_list() == {2: "normal"}
    house.sandbox.control("contacts/update", contact_id=1, status="donotcontact")
    house.sandbox.control("subscriptions/delete", list_id=LIST, contact_id=2)
    house.imported()
    house.export(external_changes="repair")
    assert house.on_list() == {2: "normal"}


def spelled(house: House, id_: str) -> None:
    """The audience is a query that yields this id, and 2."""
    query = f"SELECT '{id_}' AS ic_contact_id UNION ALL SELECT '2'"
    audience = Audience(name="everybody", label="Everybody", import_name=SCHEMA, query=query)
    compute(house.store.warehouse, audience, now=house.clock(), missing=None)


@pytest.mark.parametrize(
    ("how", "spelling"),
    [("excluded", "0000001"), ("left", "0000001"), ("wanted", "0000001"), ("wanted", " 1 "), ("left", "1.0")],
)
def test_an_id_has_one_form_however_an_audience_spells_it(house, tmp_path, how, spelling):
    people(house, 1, 2)
    if how == "left":
        house.sandbox.control("subscriptions/set", list_id=LIST, contact_id=1, status="unsubscribed")
        house.sandbox.control("switches", resubscribe="success")
    suppression = Suppression(file=tmp_path / "never.csv")
    (tmp_path / "never.csv").write_text("contact_id\n1\n" if how == "excluded" else "contact_id\n77\n")
    spelled(house, spelling)
    for _ in range(2):
        house.export("mirror", suppression=suppression)
    there = {"excluded": {2: "normal"}, "left": {1: "unsubscribed", 2: "normal"}, "wanted": {1: "normal", 2: "normal"}}
    assert house.on_list() == there[how]
    assert sorted(posted(house)) == ([1, 2] if how == "wanted" else [2])


def test_what_is_no_id_stops_the_audience(house):
    people(house, 1, 2)
    for spelling in ("-1", "1.5", "1e0", "pat@shop.example", "0x1"):
        with pytest.raises((AudienceError, ExportError)) as caught:  # noqa: PT012 (either of the two may say it)
            spelled(house, spelling)
            house.export()
        assert "shop.example" not in str(caught.value)
    assert house.writes() == []


OTHER = ClientFolder(
    authorization=Authorization(name="other", label="Other"), account_id="1300001", client_folder_id="7602"
)


@pytest.mark.parametrize("how", ["excluded", "donotcontact here", "left there", "donotcontact there"])
def test_in_another_folder_two_contacts_of_one_address_are_one_person(house, tmp_path, how):
    house.contact(1, email="Pat@shop.example")
    house.contact(101, email="pat@shop.example")
    house.contact(2, email="bob@shop.example")
    if how == "donotcontact here":
        house.sandbox.control("contacts/update", contact_id=1, status="donotcontact")
    house.imported()
    house.store.audience(101, 2)
    target = house.sandbox.control("truth?folder=7602")["lists"][0]["list_id"]
    house.sandbox.control("contacts/add", folder=7602, contact_id=70, email="pat@shop.example")
    house.sandbox.control("contacts/add", folder=7602, contact_id=72, email="bob@shop.example")
    if how.endswith("there"):
        status = "donotcontact" if how.startswith("do") else "normal"
        house.sandbox.control("contacts/add", folder=7602, contact_id=71, email="PAT@shop.example", status=status)
    if how == "left there":
        house.sandbox.control(
            "subscriptions/set", folder=7602, list_id=int(target), contact_id=71, status="unsubscribed"
        )
    (tmp_path / "never.csv").write_text("contact_id\n1\n" if how == "excluded" else "contact_id\n77\n")
    session = house.folder().session
    place = ExportContext(house.store.warehouse, Folder(session, "1300001", "7602"), None, house.clock)
    settings = house.settings(wanted=target, folder=OTHER, suppression=Suppression(file=tmp_path / "never.csv"))
    run_export(place, settings, run_id="one")
    rows = house.sandbox.control("truth?folder=7602")["subscriptions"]
    normal = {row["contact_id"] for row in rows if row["list_id"] == target and row["status"] == "normal"}
    assert normal == {"72"}


# What errors say


@pytest.mark.parametrize("content", ["pat@shop.example\n", "\ufeffpat@shop.example,bob@shop.example"])
def test_an_error_about_a_suppression_file_shows_no_address(house, tmp_path, content):
    people(house, 1)
    (tmp_path / "never.csv").write_text(content)
    with pytest.raises(ExportError) as caught:
        house.export(suppression=Suppression(file=tmp_path / "never.csv"))
    assert "never.csv" in str(caught.value)
    assert "shop.example" not in str(caught.value)
