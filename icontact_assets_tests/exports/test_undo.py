"""The way back for one run."""

from __future__ import annotations

import pytest

from icontact_assets.exports.approvals import show_plan
from icontact_assets.exports.live import PlanError
from icontact_assets.exports.plan import Plan
from icontact_assets.exports.report import ExportReport
from icontact_assets.exports.run import ExportError, run_export
from icontact_assets.exports.undo import Undo, exports_of_run, plan_undo
from icontact_assets.settings.models import ExportLimits, Remove
from icontact_assets_tests.harness import HOLDING, LIST, House

MOVE = Remove(move_to=str(HOLDING))


def people(house: House, *ids: int) -> None:
    house.contacts(*ids)
    house.store.audience(*ids)


def undo(house: House, run_id: str, way: Remove = MOVE, mode: str = "mirror", **options: object) -> ExportReport:
    """Show the way back, and go it."""
    export = house.settings(mode, **options)
    made = plan_undo(house.place(), export, Undo(run_id, way))
    show_plan(house.place().warehouse, made, house.clock())
    house.runs += 1
    return run_export(
        house.place(),
        export,
        run_id=f"run{house.runs}",
        undo=Undo(run_id, way),
        exactly=made.hash,
    )


def planned(house: House, run_id: str, way: Remove = MOVE) -> Plan:
    return plan_undo(house.place(), house.settings("mirror"), Undo(run_id, way))


def test_those_a_run_added_are_moved_away(house):
    people(house, 1, 2)
    house.export("add")
    people(house, *range(3, 6))
    house.store.audience(1, 2, 3, 4, 5)
    house.export("add")
    report = undo(house, "run2", mode="add")
    assert (report.removed, report.added) == (3, 0)
    assert house.on_list() == {1: "normal", 2: "normal"}
    assert house.on(HOLDING) == dict.fromkeys((3, 4, 5), "normal")
    assert house.store.rows("SELECT mode, undoes, status, removed FROM export_runs WHERE run_id = 'run3'") == [
        ("undo", "run2", "done", 3)
    ]
    house.sandbox.control("log/clear")
    assert undo(house, "run2", mode="add").removed == 0
    assert house.writes() == []


def test_what_a_later_run_did_is_not_taken_back(house):
    people(house, 1, 2)
    house.export("mirror")
    house.store.audience(1)
    house.export("mirror")
    house.store.audience(1, 2)
    house.export("mirror")
    assert undo(house, "run1").removed == 1
    assert house.on_list() == {2: "normal"}


def test_those_a_run_moved_away_come_back_as_far_as_they_may(house):
    people(house, 1, 2, 3)
    house.export("mirror")
    house.store.audience(1)
    house.export("mirror")
    house.sandbox.control("contacts/update", contact_id=3, status="donotcontact")
    report = undo(house, "run2")
    assert (report.added, report.removed) == (1, 0)
    assert report.skipped == {"may not be moved: the contact is donotcontact": 1}
    assert house.on_list() == {1: "normal", 2: "normal"}
    assert house.on(HOLDING) == {3: "normal"}


def test_those_a_run_unsubscribed_do_not_come_back(house):
    people(house, 1, 2)
    house.export("mirror", remove=Remove())
    house.store.audience(1)
    house.export("mirror", remove=Remove())
    report = undo(house, "run2")
    assert report.skipped == {"was unsubscribed by the run, which cannot be taken back": 1}
    assert house.on_list() == {1: "normal", 2: "unsubscribed"}


def test_an_undo_can_be_undone(house):
    people(house, 1, 2)
    house.export("mirror")
    undo(house, "run1")
    assert house.on_list() == {}
    report = undo(house, "run2")
    assert report.added == 2
    assert house.on_list() == {1: "normal", 2: "normal"}
    house.store.audience()
    assert house.export("mirror").removed == 2


def test_people_that_somebody_else_put_back_stay(house):
    people(house, 1, 2)
    house.export("mirror")
    house.sandbox.control("subscriptions/delete", list_id=LIST, contact_id=1)
    house.export("mirror")
    house.sandbox.control("subscriptions/set", list_id=LIST, contact_id=1)
    made = planned(house, "run1")
    assert [denied.denial.reason for denied in made.denied_removals] == ["was not put on the list by this export"]
    assert [permit.contact_id for permit in made.removals] == ["2"]


def test_those_who_left_meanwhile_are_not_touched(house):
    people(house, 1, 2)
    house.export("mirror")
    house.sandbox.control("subscriptions/set", list_id=LIST, contact_id=1, status="unsubscribed")
    made = planned(house, "run1")
    assert [denied.denial.reason for denied in made.denied_removals] == ["is not on the list as normal"]
    assert [permit.contact_id for permit in made.removals] == ["2"]


def test_an_undo_is_applied_by_its_hash_only(house):
    people(house, 1, 2, 3)
    house.export("mirror")
    made = planned(house, "run1")
    house.sandbox.control("log/clear")
    with pytest.raises(ExportError, match="was never shown"):
        run_export(
            house.place(),
            house.settings("mirror"),
            run_id="x",
            undo=Undo("run1", MOVE),
            exactly=made.hash,
        )
    assert house.writes() == []
    assert made.hash != planned(house, "run1", Remove()).hash


def test_limits_count_for_an_undo_too(house):
    people(house, 1, 2, 3)
    house.export("mirror")
    export = house.settings("mirror", limits=ExportLimits(removes=2, removed_share=1))
    made = plan_undo(house.place(), export, Undo("run1", MOVE))
    assert [item.text for item in made.exceeded] == ["3 people would be removed, at most 2 may be"]
    assert undo(house, "run1", limits=export.limits).removed == 3


def test_a_run_that_is_not_known_cannot_be_undone(house):
    people(house, 1)
    with pytest.raises(PlanError, match="has no run nothing that made a plan"):
        planned(house, "nothing")
    house.export("mirror")
    assert exports_of_run(house.store.warehouse, "run1") == ["to_list"]
    assert exports_of_run(house.store.warehouse, "nothing") == []
    with pytest.raises(PlanError, match="Name another list"):
        planned(house, "run1", Remove(move_to=str(LIST)))


def test_a_run_that_was_cut_off_is_undone_as_far_as_it_came(house):
    people(house, 1, 2)
    house.fault(method="POST", nth=[1, 2], do={"kind": "reset"})
    with pytest.raises(ExportError):
        house.export("mirror")
    house.sandbox.control("subscriptions/set", list_id=LIST, contact_id=2)
    assert undo(house, "run1").removed == 1
    assert house.on_list() == {}
    assert house.on(HOLDING) == {2: "normal"}
