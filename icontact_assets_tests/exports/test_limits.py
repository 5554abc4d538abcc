"""Figures that stop an export before it writes, and the approval of exactly one plan."""

from __future__ import annotations

from datetime import timedelta

import pytest

from icontact_assets.exports.approvals import show_plan
from icontact_assets.exports.facts import make_plan
from icontact_assets.exports.limits import Figures, exceeded
from icontact_assets.exports.report import ExportReport
from icontact_assets.exports.run import ExportError
from icontact_assets.settings.models import ExportLimits
from icontact_assets_tests.harness import House

LIMITS = ExportLimits(adds=10, removes=5, removed_share=0.25, empty_audience="stop", shrink=0.5, growth=1.0)
QUIET = {"members": 10, "last_members": 10, "adds": 0, "removes": 0, "list_size": 20}


@pytest.mark.parametrize(
    ("figures", "hit"),
    [
        ({}, []),
        ({"adds": 10}, []),
        ({"adds": 11}, ["adds"]),
        ({"removes": 5}, []),
        ({"removes": 6, "list_size": 100}, ["removes"]),
        ({"removes": 5, "list_size": 19}, ["removed_share"]),
        ({"removes": 1, "list_size": 0}, ["removed_share"]),
        ({"members": 0, "last_members": None}, ["empty_audience"]),
        ({"members": 0}, ["empty_audience", "shrink"]),
        ({"members": 5}, []),
        ({"members": 4}, ["shrink"]),
        ({"members": 20}, []),
        ({"members": 21}, ["growth"]),
        ({"members": 21, "last_members": None}, []),
        ({"members": 21, "last_members": 0}, []),
        ({"members": None, "last_members": 10}, []),
        ({"members": None, "adds": 11, "removes": 6}, ["adds", "removes", "removed_share"]),
    ],
)
def test_a_limit_is_exceeded_by_one_more_than_it_says(figures, hit):
    assert [item.limit for item in exceeded(LIMITS, Figures(**{**QUIET, **figures}))] == hit


def test_a_limit_that_is_exceeded_shows_the_numbers():
    everything = Figures(members=0, last_members=10, adds=11, removes=6, list_size=20)
    assert [item.text for item in exceeded(LIMITS, everything)] == [
        "11 people would be added, at most 10 may be",
        "6 people would be removed, at most 5 may be",
        "6 of 20 people on the list would be removed, at most 25.0% may be",
        "the audience is empty, or all of it is left out",
        "the audience fell from 10 to 0 people (those left out not counted), at most 50.0% may leave it",
    ]
    [grown] = exceeded(LIMITS, Figures(members=21, last_members=10, adds=0, removes=0, list_size=20))
    assert grown.text == (
        "the audience grew from 10 to 21 people (those left out not counted), at most 100.0% may come"
    )


def test_limits_that_are_lifted_stop_nothing():
    lifted = ExportLimits(adds=99, removes=99, removed_share=1, empty_audience="allow", shrink=1, growth=99)
    assert exceeded(lifted, Figures(members=0, last_members=10, adds=99, removes=20, list_size=20)) == ()


def people(house: House, *ids: int) -> None:
    house.contacts(*ids)
    house.store.audience(*ids)


def stopped(house: House, **options: object) -> tuple[str, ExportReport]:
    house.sandbox.control("log/clear")
    with pytest.raises(ExportError) as caught:
        house.export(**options)
    assert house.writes() == []
    assert caught.value.report is not None
    return str(caught.value), caught.value.report


FEW = {"limits": ExportLimits(adds=2)}


def test_a_stopped_export_shows_the_numbers_and_runs_when_it_is_approved(house):
    people(house, 1, 2, 3)
    text, report = stopped(house, **FEW)
    assert "3 people would be added, at most 2 may be, and the plan is not approved" in text
    assert f"apply to_list --plan {report.plan_hash}` within 24 hours" in text
    assert report.remaining == 3
    [row] = house.store.rows("SELECT status, added, remaining FROM export_runs")
    assert row == ("stopped", 0, 3)
    assert house.export(**FEW, approve=report.plan_hash).added == 3


def test_a_changed_plan_needs_a_new_approval(house):
    people(house, 1, 2, 3)
    _, report = stopped(house, **FEW)
    people_now = (1, 2, 3, 4)
    house.contact(4)
    house.store.audience(*people_now)
    text, again = stopped(house, **FEW, approve=report.plan_hash)
    assert f"another plan is approved ({report.plan_hash})" in text
    assert again.plan_hash != report.plan_hash
    assert house.export(**FEW, approve=again.plan_hash).added == 4


def test_an_approval_lasts_24_hours_and_for_one_application(house):
    people(house, 1, 2, 3)
    _, report = stopped(house, **FEW)
    house.clock.now += timedelta(hours=24)
    text, _ = stopped(house, **FEW, approve=report.plan_hash)
    assert "the plan was shown at 2026-09-14 12:00 UTC, more than 24 hours ago" in text
    made = make_plan(house.place(), house.settings(**FEW))
    show_plan(house.place().warehouse, made, house.clock())
    assert house.export(**FEW, approve=report.plan_hash).added == 3
    for id_ in (1, 2, 3):
        house.sandbox.control("subscriptions/delete", list_id=5004, contact_id=id_)
    text, _ = stopped(house, **FEW, approve=report.plan_hash, external_changes="repair")
    assert "its approval was used at 2026-09-15 12:00 UTC" in text


def test_a_plan_is_applied_exactly_or_not_at_all(house):
    people(house, 1, 2, 3)
    made = make_plan(house.place(), house.settings(**FEW))
    text, _ = stopped(house, **FEW, exactly=made.hash)
    assert "the plan was never shown" in text
    assert house.export(**FEW, exactly=made.hash).added == 3
    house.contact(4)
    house.store.audience(1, 2, 3, 4)
    text, _ = stopped(house, **FEW, exactly=made.hash)
    assert f"another plan is approved ({made.hash})" in text


def test_a_dry_run_is_not_stopped_but_shows_what_would_stop(house):
    people(house, 1, 2, 3)
    report = house.export("dry_run", **FEW)
    assert report.exceeded == ("3 people would be added, at most 2 may be",)
    assert house.outcomes() == dict.fromkeys((1, 2, 3), "planned")
    text, _ = stopped(house, mode="dry_run", exactly=report.plan_hash)
    assert "its mode is dry_run, which writes nothing" in text


def test_an_audience_that_is_suddenly_empty_or_small_removes_nobody(house):
    people(house, *range(1, 11))
    house.export("mirror")
    for left in ((), (1, 2, 3, 4)):
        house.store.audience(*left)
        limits = ExportLimits(removes=100, removed_share=1)
        text, _ = stopped(house, mode="mirror", limits=limits)
        assert ("the audience is empty" in text) == (not left)
        assert f"the audience fell from 10 to {len(left)} people" in text
    assert len(house.on_list()) == 10


def test_sizes_are_compared_with_the_last_export_that_wrote(house):
    people(house, 1, 2, 3, 4)
    house.export()
    house.store.audience(1)
    house.export("dry_run", limits=ExportLimits(shrink=1))
    text, _ = stopped(house, limits=ExportLimits())
    assert "the audience fell from 4 to 1 people" in text


@pytest.mark.parametrize(("missing", "says"), [("opens are half read", "not computed from complete data"), (None, "")])
def test_an_audience_of_incomplete_data_makes_no_plan(house, missing, says):
    people(house, 1)
    house.store.incomplete(missing)
    if missing is None:
        assert house.export().added == 1
        return
    with pytest.raises(ExportError, match=says) as caught:
        house.export()
    assert caught.value.report is None
    assert house.writes() == []
