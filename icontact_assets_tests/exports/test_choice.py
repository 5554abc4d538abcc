"""Whom an export is for: exclusions, priorities, splits and hold-outs, on rows."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from icontact_assets.exports.choice import Choice, ChoiceError, chosen, sources
from icontact_assets.exports.report import ExportReport
from icontact_assets.exports.run import ExportError, run_export
from icontact_assets.exports.undo import Undo
from icontact_assets.settings.models import Audience, Export, ExportLimits, Remove, Split
from icontact_assets_tests.harness import FREE, HOLDING, NOW, SCHEMA, House, Store

on_one_database = hypothesis_settings(
    max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def export(name: str, audience: str = "readers", **options: Any) -> Export:
    return Export(name=name, label=name, audience=audience, list="5004", **options)


def split(of: str, start: Any, end: Any) -> Split:
    return Split(**{"of": of, "from": start, "to": end})


def become(store: Store, audience: str, *contact_ids: Any, now: datetime = NOW) -> None:
    """Make these the members of an audience."""
    ids = ", ".join(f"('{id_}')" for id_ in contact_ids)
    query = f"FROM (VALUES {ids}) AS v(ic_contact_id)" if ids else "SELECT '' AS ic_contact_id"
    store.compute(Audience(name=audience, label=audience, import_name=SCHEMA, query=query), now)


def choose(store: Store, wanted: Export) -> Choice:
    with store.warehouse.read() as connection:
        return chosen(connection, wanted)


def place(kind: str, name: str, contact_id: Any) -> int:
    """The documented function, a second time."""
    return int.from_bytes(hashlib.sha256(f"{kind}/{name}/{contact_id}".encode()).digest()[:8]) % 10_000


def test_all_members_those_who_entered_first_come_first(store):
    become(store, "readers", 9)
    become(store, "readers", 9, 2, 1, now=NOW + timedelta(days=1))
    choice = choose(store, export("e"))
    assert choice.members == ["9", "1", "2"]
    assert choice.left_out == {}


def test_members_stored_with_another_form_of_their_id_are_relied_on_by_no_export(store):
    become(store, "readers", 7)
    become(store, "staff", 8)
    store.run("UPDATE audience_members SET contact_id = '00' || contact_id WHERE audience = 'staff'")
    assert set(choose(store, export("e")).members) == {"7"}
    with pytest.raises(ChoiceError, match=r"The audience staff .* holds 1 ids in another form: materialize it"):
        choose(store, export("e", exclude=("staff",)))
    become(store, "staff", 8)
    assert set(choose(store, export("e", exclude=("staff",))).members) == {"7"}


def test_members_of_excluded_audiences_are_left_out(store):
    become(store, "readers", 1, 2, 3, 4)
    become(store, "customers", 2, 7)
    become(store, "staff", 2, 3)
    choice = choose(store, export("e", exclude=("customers", "staff")))
    assert set(choice.members) == {"1", "4"}
    assert choice.left_out == {
        "2": "in the audience customers, which is excluded",
        "3": "in the audience staff, which is excluded",
    }


def test_a_person_lands_in_the_first_export_that_fits(store):
    become(store, "vips", 1, 2)
    become(store, "readers", 2, 3)
    become(store, "everybody", 1, 2, 3, 4)
    first = export("first", "vips")
    second = export("second", "readers", before=(first,))
    third = export("third", "everybody", before=(first, second))
    assert set(choose(store, first).members) == {"1", "2"}
    assert set(choose(store, second).members) == {"3"}
    assert choose(store, second).left_out == {"2": "taken by the export first, which comes first"}
    assert set(choose(store, third).members) == {"4"}
    assert choose(store, third).left_out == {
        "1": "taken by the export first, which comes first",
        "2": "taken by the export first, which comes first",
        "3": "taken by the export second, which comes first",
    }


def test_whom_an_earlier_export_leaves_out_may_land_in_a_later_one(store):
    ids = range(400)
    become(store, "readers", *ids)
    become(store, "customers", *range(100))
    half = split("test", 0, 50)
    first = export("first", exclude=("customers",), split=half, holdout=Decimal(20))
    taken = set(choose(store, first).members)
    second = choose(store, export("second", before=(first,)))
    assert taken == {
        str(id_)
        for id_ in ids
        if id_ >= 100 and place("split", "test", id_) < 5000 and place("hold_out", "first", id_) >= 2000
    }
    assert set(second.members) == {str(id_) for id_ in ids} - taken
    assert set(second.left_out) == taken


def test_of_several_reasons_the_first_is_given_and_those_held_out_would_have_been_chosen(store):
    ids = [str(id_) for id_ in range(300)]
    become(store, "readers", *ids)
    become(store, "customers", *ids[:150])
    become(store, "vips", *ids[100:200])
    everything = {"exclude": ("customers",), "split": split("test", 0, 50), "before": (export("first", "vips"),)}
    without = choose(store, export("e", **everything))
    held = choose(store, export("e", holdout=Decimal(30), **everything))
    assert {id_ for id_, reason in held.left_out.items() if reason == "held out"} == {
        id_ for id_ in without.members if place("hold_out", "e", id_) < 3000
    }
    for id_ in ids:
        if int(id_) < 150:
            reason = "in the audience customers, which is excluded"
        elif int(id_) < 200:
            reason = "taken by the export first, which comes first"
        elif place("split", "test", id_) >= 5000:
            reason = "outside this part of the split test"
        elif place("hold_out", "e", id_) < 3000:
            reason = "held out"
        else:
            assert id_ in held.members
            continue
        assert held.left_out[id_] == reason


def test_places_stay_what_they_were():
    """Were the function changed, people would change sides in tests that run."""
    assert [place("split", "subject_test", id_) for id_ in (1, 1001, 90000001)] == [1238, 4728, 9973]
    assert place("hold_out", "subject_test", 1001) == 8402


PERCENT = st.integers(1, 9_999).map(lambda hundredths: Decimal(hundredths) / 100)


@pytest.fixture
def thousand(store: Store) -> Store:
    become(store, "readers", *range(1000, 2000))
    return store


@on_one_database
@given(st.sets(PERCENT, max_size=4), st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True))
def test_the_parts_of_a_split_are_disjoint_cover_everybody_and_hold_whom_the_function_says(thousand, cuts, name):
    bounds = [Decimal(0), *sorted(cuts), Decimal(100)]
    parts = [
        set(choose(thousand, export("e", split=split(name, start, end))).members) for start, end in pairwise(bounds)
    ]
    assert sum(map(len, parts)) == 1000
    assert set().union(*parts) == {str(id_) for id_ in range(1000, 2000)}
    for part, (start, end) in zip(parts, pairwise(bounds), strict=True):
        assert all(start * 100 <= place("split", name, id_) < end * 100 for id_ in part)


@on_one_database
@given(PERCENT, PERCENT)
def test_a_hold_out_holds_out_whom_the_function_says_and_a_greater_one_the_same_and_more(thousand, one, other):
    held_out = {}
    for percent in (one, other):
        choice = choose(thousand, export("e", holdout=percent))
        held_out[percent] = set(choice.left_out)
        assert held_out[percent] == {
            str(id_) for id_ in range(1000, 2000) if place("hold_out", "e", id_) < percent * 100
        }
        assert len(choice.members) + len(choice.left_out) == 1000
    assert held_out[min(one, other)] <= held_out[max(one, other)]


def test_who_comes_and_goes_moves_nobody_else(store):
    become(store, "readers", *range(500))
    wanted = export("e", split=split("test", 0, 50), holdout=Decimal(10))
    before = choose(store, wanted)
    become(store, "readers", *range(250, 750), now=NOW + timedelta(days=1))
    after = choose(store, wanted)
    both = {str(id_) for id_ in range(250, 500)}
    assert set(before.members) & both == set(after.members) & both


def test_splits_of_other_names_and_hold_outs_are_independent(store):
    become(store, "readers", *range(4000))
    halves = [
        set(choose(store, wanted).members)
        for wanted in (
            export("e", split=split("one", 0, 50)),
            export("e", split=split("two", 0, 50)),
            export("one", holdout=Decimal(50)),
        )
    ]
    for index, half in enumerate(halves):
        # 2,000 and 1,000 are expected; the standard deviations are 32 and 27.
        assert abs(len(half) - 2000) < 160
        for other in halves[index + 1 :]:
            assert abs(len(half & other) - 1000) < 135


def test_an_audience_that_was_never_computed_leaves_nobody_out_unnoticed(store):
    become(store, "readers", 1)
    with pytest.raises(ChoiceError) as caught:
        choose(store, export("e", exclude=("customers",)))
    assert str(caught.value) == (
        "The audience customers was never computed: materialize it first. It decides who is exported by e."
    )
    become(store, "customers")
    assert set(choose(store, export("e", exclude=("customers",))).members) == {"1"}
    with pytest.raises(ChoiceError, match="The audience vips was never computed"):
        choose(store, export("e", before=(export("first", "readers", exclude=("vips",)),)))
    with pytest.raises(ChoiceError, match="The audience nobody was never computed"):
        choose(store, export("e", "nobody"))


def test_an_audience_that_was_kept_for_incomplete_data_is_not_trusted(store):
    become(store, "readers", 1, 2)
    become(store, "customers", 1)
    customers = Audience(name="customers", label="", import_name=SCHEMA, where="true")
    later = NOW + timedelta(hours=1)
    store.compute(customers, later, "message 310001 is half read.")
    with pytest.raises(ChoiceError) as caught:
        choose(store, export("e", exclude=("customers",)))
    assert str(caught.value) == (
        "The audience customers was not computed from complete data: message 310001 is half read. "
        "It decides who is exported by e."
    )
    become(store, "customers", 1, now=later + timedelta(hours=1))
    assert set(choose(store, export("e", exclude=("customers",))).members) == {"2"}


def test_an_audience_that_was_computed_long_before_is_not_trusted(store):
    become(store, "customers", 1)
    become(store, "readers", 1, 2, now=NOW + timedelta(hours=24))
    wanted = export("e", exclude=("customers",))
    assert set(choose(store, wanted).members) == {"2"}
    become(store, "readers", 1, 2, now=NOW + timedelta(hours=25))
    with pytest.raises(ChoiceError) as caught:
        choose(store, wanted)
    assert str(caught.value) == (
        "The audience customers was last computed at 2026-09-14 12:00 UTC, more than 24 hours before readers: "
        "materialize it, and export again. It decides who is exported by e."
    )
    become(store, "customers", 1, now=NOW + timedelta(hours=25))
    assert set(choose(store, wanted).members) == {"2"}


def test_the_sources_of_a_choice_are_named_once_its_own_audience_first():
    first = export("first", "vips", exclude=("customers",))
    assert sources(export("e", exclude=("staff", "customers"), before=(first,))) == (
        "readers",
        "staff",
        "customers",
        "vips",
    )


def run(house: House, wanted: Export) -> ExportReport:
    house.runs += 1
    return run_export(house.place(), wanted, audience_storage_id="77", run_id=f"run{house.runs}")


def test_an_export_writes_to_those_it_is_for_and_records_why_not_to_the_others(house):
    for number in range(1, 10):
        house.contact(number, "bounced" if number == 9 else "normal")
    become(house.store, "vips", 1, 2)
    become(house.store, "readers", 2, 3, 4, 5, 6, 9)
    become(house.store, "customers", 3)
    first = export("first", "vips")
    second = export("second", mode="add", exclude=("customers",), before=(first,), split=split("test", 0, 50))
    inside = {id_ for id_ in (4, 5, 6, 9) if place("split", "test", id_) < 5000}
    assert inside == {4, 5, 9}
    report = run(house, second)
    assert sorted(house.on_list()) == [4, 5]
    assert house.posts() == [[4, 5]]
    assert (report.members, report.planned, report.added) == (6, 2, 2)
    assert report.skipped == {
        "in the audience customers, which is excluded": 1,
        "taken by the export first, which comes first": 1,
        "outside this part of the split test": 1,
        "the contact is bounced": 1,
    }
    assert house.store.rows("SELECT contact_id, outcome, reason FROM export_outcomes ORDER BY contact_id") == [
        ("2", "skipped", "taken by the export first, which comes first"),
        ("3", "skipped", "in the audience customers, which is excluded"),
        ("4", "added", None),
        ("5", "added", None),
        ("6", "skipped", "outside this part of the split test"),
        ("9", "skipped", "the contact is bounced"),
    ]
    assert house.store.rows("SELECT skipped FROM export_runs") == [(4,)]


def test_where_it_is_not_known_whom_an_export_is_for_nothing_is_written(house):
    house.contact(1)
    become(house.store, "readers", 1)
    with pytest.raises(ExportError, match="made no plan and wrote nothing: The audience customers was never computed"):
        run(house, export("e", mode="add", exclude=("customers",)))
    assert house.posts() == []
    assert house.store.rows("SELECT status FROM export_runs") == [("failed",)]


def mirror(**options: Any) -> Export:
    return export("m", **{"mode": "mirror", "remove": Remove(move_to=str(HOLDING)), "limits": FREE, **options})


def people(house: House, *ids: int) -> None:
    house.contacts(*ids)
    become(house.store, "readers", *ids)


def test_a_mirror_removes_those_left_out_if_it_put_them_there_itself(house):
    people(house, *range(1, 9))
    house.sandbox.control("subscriptions/set", list_id=5004, contact_id=3, status="normal")
    become(house.store, "customers", 2, 3)
    assert run(house, mirror()).added == 7
    report = run(house, mirror(exclude=("customers",)))
    assert (report.members, report.removed, report.missing, report.surplus) == (8, 1, 0, 0)
    assert set(house.on_list()) == {1, 3, 4, 5, 6, 7, 8}
    assert house.on(HOLDING) == {2: "normal"}
    assert house.store.rows(
        "SELECT contact_id, action, outcome, reason FROM export_outcomes "
        "WHERE run_id = 'run2' AND outcome <> 'already_subscribed' ORDER BY ALL"
    ) == [
        ("2", "move", "moved", None),
        ("2", "subscribe", "skipped", "in the audience customers, which is excluded"),
        ("3", "subscribe", "skipped", "in the audience customers, which is excluded"),
    ]
    assert house.store.rows("SELECT members, chosen, skipped FROM export_runs ORDER BY run_id") == [
        (8, 8, 0),
        (8, 6, 2),
    ]
    half = mirror(exclude=("customers",), split=split("test", 0, 50))
    inside = {id_ for id_ in range(1, 9) if place("split", "test", id_) < 5000} - {2, 3}
    assert 0 < len(inside) < 6
    assert run(house, half).removed == 6 - len(inside)
    assert set(house.on_list()) == inside | {3}
    house.sandbox.control("log/clear")
    run(house, half)
    assert house.writes() == []
    # Who is left out no longer comes back.
    become(house.store, "customers")
    assert run(house, mirror(exclude=("customers",))).added == 7 - len(inside)
    assert set(house.on_list()) == set(range(1, 9))


def test_those_left_out_are_seen_on_the_list_where_they_could_not_be_moved_away(house):
    people(house, 1, 2)
    become(house.store, "customers", 2)
    run(house, mirror())
    house.fault(path="/subscriptions/5004_2", do={"kind": "reply", "status": 400, "body": {"errors": ["no"]}})
    report = run(house, mirror(exclude=("customers",)))
    assert (report.removed, report.surplus, sum(report.failed.values())) == (0, 1, 1)
    house.sandbox.control("faults/clear")
    assert run(house, mirror(exclude=("customers",))).removed == 1


def test_limits_count_those_whom_an_export_is_for(house):
    people(house, *range(1, 11))
    become(house.store, "customers", *range(1, 7))
    run(house, mirror())
    house.sandbox.control("log/clear")
    for limits, says in (
        ({"removes": 5}, "6 people would be removed, at most 5 may be"),
        ({"removed_share": 0.5}, "6 of 10 people on the list would be removed"),
        ({"shrink": 0.5}, "the audience fell from 10 to 4 people"),
    ):
        with pytest.raises(ExportError, match=says):
            run(house, mirror(exclude=("customers",), limits=ExportLimits(**{**FREE, **limits})))
    become(house.store, "customers", *range(1, 11))
    with pytest.raises(ExportError, match="the audience is empty, or all of it is left out"):
        run(house, mirror(exclude=("customers",), limits=ExportLimits(**{**FREE, "empty_audience": "stop"})))
    assert house.writes() == []
    become(house.store, "customers", *range(1, 7))
    house.clock.now += timedelta(hours=1)
    assert run(house, mirror(exclude=("customers",))).removed == 6
    # The source of the exclusion runs dry.
    house.clock.now += timedelta(hours=1)
    become(house.store, "customers")
    house.sandbox.control("log/clear")
    with pytest.raises(ExportError, match="the audience grew from 4 to 10 people"):
        run(house, mirror(exclude=("customers",), limits=ExportLimits(**{**FREE, "growth": 1})))
    assert house.writes() == []


def test_an_undo_takes_back_what_was_added_whoever_is_left_out_by_now(house):
    people(house, 1, 2, 3)
    become(house.store, "customers", 2)
    first = mirror(exclude=("customers",))
    assert run(house, first).added == 2
    became = export("m", mode="add", exclude=("customers",), holdout=Decimal("99.99"), limits=FREE)

    undo = Undo("run1", Remove(move_to=str(HOLDING)))
    report = run_export(house.place(), became, run_id="undo", undo=undo)
    assert (report.members, report.removed) == (0, 2)
    assert house.on_list() == {}
    assert house.store.rows("SELECT DISTINCT outcome FROM export_outcomes WHERE run_id = 'undo'") == [("moved",)]
