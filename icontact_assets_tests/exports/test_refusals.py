"""What an export may not be held up by, in whole runs: refusals, approvals that were used, lists that are gone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from icontact_assets.exports.run import ExportError
from icontact_assets.icontact.folder import Folder
from icontact_assets.settings.models import (
    ExportLimits,
    Pace,
    Remove,
    Suppression,
)
from icontact_assets_tests.exports.steps import (
    ON_LIST,
    edit,
    gone,
    leaves,
    people,
    whatever,
)
from icontact_assets_tests.harness import FREE, HOLDING, LIST, House

# Refusals


@pytest.mark.parametrize(("how", "names"), [("skip", "address"), ("409", "both")])
def test_a_refusal_for_consent_is_known_by_its_words_whoever_it_names(house, how, names):
    house.contact(1, email="ada@shop.example")
    house.contact(2, email="bob@shop.example")
    house.contact(3, email="cy@shop.example")
    house.imported()
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


@pytest.mark.parametrize("how", ["refused", "pretended"])
def test_those_who_cannot_be_added_take_nobodys_place(house, how):
    people(house, *range(1, 7))
    for id_ in (1, 2, 3):
        house.sandbox.control("contacts/update", contact_id=id_, refused=f"Contact {id_} met an unexpected condition")
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
    assert house.export(limits=limits, pace=quiet, approve=approved).remaining == 2
    assert house.writes() == []
    house.clock.now += timedelta(minutes=90)
    assert house.export(limits=limits, pace=quiet, approve=approved).added == 2


@pytest.mark.parametrize("how", ["applied", "killed"])
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
    people(house, 1, 2)
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


# What errors say


@pytest.mark.parametrize("content", ["pat@shop.example\n", "\ufeffpat@shop.example,bob@shop.example"])
def test_an_error_about_a_suppression_file_shows_no_address(house, tmp_path, content):
    people(house, 1)
    (tmp_path / "never.csv").write_text(content)
    with pytest.raises(ExportError) as caught:
        house.export(suppression=Suppression(file=tmp_path / "never.csv"))
    assert "never.csv" in str(caught.value)
    assert "shop.example" not in str(caught.value)
