"""Random histories of two exports: people, others, the service and kills act. What must hold is checked at each request.

Everything is judged by the sandbox's own rows, taken right before and right after each write, and by what the answers
that reached the export showed. Nothing here asks the package who may be mailed, what was written, or what a list should
hold. Who is who is known by construction: the contacts 7, 107 and 207 are one person, however their address is spelled.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from icontact_assets.exports.approvals import show_plan
from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.live import PlanError
from icontact_assets.exports.report import ExportReport
from icontact_assets.exports.run import ExportError, run_export
from icontact_assets.exports.undo import Undo, plan_undo
from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.session import Credentials
from icontact_assets.settings.models import Export, ExportLimits, Pace, Remove, Suppression
from icontact_assets_tests.exports.drawn import (
    CALM,
    HELD_OUT,
    Go,
    Killed,
    Knowledge,
    Side,
    edit_of,
    faulty,
    fuses,
    going,
    removed_edits,
)
from icontact_assets_tests.exports.judge import Judge, WatchedSession, WatchedWarehouse
from icontact_assets_tests.harness import FREE, HOLDING, SCHEMA


class ExportMachine(Judge):
    """The part that runs exports. The class attributes are set by whoever runs it."""

    @rule(go=going)
    def run(self, go: Go) -> None:
        self.follow(go)

    def follow(self, go: Go | None) -> None:
        """Perhaps an export follows at once on what just happened."""
        if go is None:
            return
        side = self.sides[go.second]
        options = dict(self.options)
        if go.limit is not None:
            options["limits"] = ExportLimits(adds=go.limit, **FREE)
        if go.pace is not None:
            options["pace"] = Pace(adds_per_day=go.pace)
        report = self.perform(side, self.export(side, **options), go)
        if isinstance(report, ExportReport) and report.exceeded and go.limit is not None:
            assert not [write for write in self.writes if write.run_id == self.runs[-1][0]]
            again = self.perform(side, self.export(side, **options, approve=report.plan_hash), CALM)
            assert isinstance(again, ExportReport)
            assert again.plan_hash == report.plan_hash or again.exceeded
            if again.plan_hash == report.plan_hash:
                assert [write for write in self.writes if write.run_id == self.runs[-1][0]]
        if go.calm:
            self.calm(side)

    @precondition(lambda self: self.runs)
    @rule(
        data=st.data(),
        fuse=fuses,
        faults=faulty,
        way=st.sampled_from([Remove(move_to=str(HOLDING)), Remove(move_to=str(HOLDING)), Remove()]),
    )
    def undo(self, data: st.DataObject, fuse: int | None, faults: list[dict[str, Any]], way: Remove) -> None:
        undone, side = data.draw(st.sampled_from(self.runs))
        export = self.export(side, **self.options)
        self.start("plan", side, CALM)
        try:
            made = plan_undo(self.place(), export, Undo(undone, way))
        except PlanError as error:
            assert "that made a plan" in str(error)  # noqa: PT017
            return
        assert not self.writes or self.writes[-1].run_id != "plan"
        show_plan(self.place().warehouse, made, self.clock())
        go = Go(False, fuse, faults, [], 0, None, None, None, calm=False)
        self.perform(side, export, go, undone=undone, way=way, exactly=made.hash)
        asked = {write.contact_id for write in self.writes if write.run_id == undone}
        assert {write.contact_id for write in self.writes if write.run_id == self.runs[-1][0]} <= asked

    def calm(self, side: Side) -> None:
        """Nothing goes wrong and nobody acts: the list ends as it should, and then nothing is left to do."""
        self.sandbox.control(
            "switches", resubscribe="skip", bulk_failure="skip", post_existing_subscription="existing", ids="string",
            move_existing="merge", move_unsubscribed="carry", refusal_names="id",
        )  # fmt: skip
        for id_ in self.look().contacts:
            self.edit("contacts/update", contact_id=id_, refused=None)
        # What the list does not show for a day does not stay open.
        self._time_passes(timedelta(hours=25))
        # The first run looks again at what is still open, the second brings the list to what it should be.
        self.perform(side, self.export(side, **self.options), CALM)
        report = self.perform(side, self.export(side, **self.options), CALM, expected=True)
        assert isinstance(report, ExportReport)
        assert report.remaining == 0
        self.check_outcomes(side)
        again = self.perform(side, self.export(side, **self.options), CALM)
        assert isinstance(again, ExportReport)
        assert not [write for write in self.writes if write.run_id == self.runs[-1][0]]
        assert (again.added, again.removed, again.violations) == (0, 0, ())

    def export(self, side: Side, **options: Any) -> Export:
        """One of the two exports."""
        given = {
            "name": side.name,
            "label": side.name,
            "audience": "everybody",
            "list": str(side.list_id),
            "limits": FREE,
            "suppression": Suppression(file=self.home / "never.csv"),
            **options,
        }
        if side is self.sides[0]:
            return Export(**given, exclude=("customers",))
        first = self.export(self.sides[0], **self.options)
        return Export(**given, before=(first,), holdout=HELD_OUT / 100)

    def place(self) -> ExportContext:
        budget = Budget(CountFile(self.home, "a"), per_second=0, per_minute=0, per_day=0)
        session = WatchedSession(
            self.sandbox.url,
            Credentials("sandbox-app", "sandbox-user", "sandbox-pass"),
            budget,
            tries=2,
            first_wait=0.01,
        )
        session.machine = self
        warehouse = WatchedWarehouse(self.home / "warehouse.duckdb", SCHEMA)
        warehouse.machine = self
        return ExportContext(warehouse, Folder(session, "1300001", "7601"), SCHEMA, self.clock)

    def start(self, run_id: str, side: Side, go: Go) -> None:
        self.running, self.side, self.go = run_id, side, go
        self.fuse, self.dead, self.requests = go.fuse, False, 0
        self.now_known = Knowledge()
        self.shown_contacts, self.shown, self.read_at, self.looked_at, self.raced = {}, {}, {}, {}, set()
        planned = [
            {"method": fault["method"], "nth": fault["nth"], "do": do, "path": "" if fault["method"] == "GET" else "subscriptions"}
            for fault in go.faults
            for do in fault["do"]
        ]  # fmt: skip
        self.truth = self.look()
        for method, nth, who, what, when in go.races:
            id_ = self.newest(who)
            if id_ in self.truth.contacts and id_ not in self.raced and self.truth.contacts[id_] != "donotcontact":
                self.raced.add(id_)
                edits = [edit_of(id_, what, side.list_id)] if what != "removed" else removed_edits(id_, side.list_id)
                planned.append({"method": method, "nth": nth, "do": {"kind": "edit", "when": when, "edits": edits}})
        if planned:
            self.sandbox.control("faults", faults=planned)

    def perform(
        self, side: Side, export: Export, go: Go, *, undone: str | None = None, way: Remove | None = None,
        exactly: str | None = None, expected: bool = False,
    ) -> ExportReport | None:  # fmt: skip
        """One run, however it ends; None if it was killed or made no plan."""
        self.count += 1
        run_id = f"run{self.count}"
        self.runs.append((run_id, side))
        remove = way if undone is not None else export.remove
        self.may_unsubscribe = remove is not None and remove.move_to is None
        self.moving_to = (HOLDING,) if remove is not None and remove.move_to is not None else ()
        if undone is not None:
            self.moving_to = (side.list_id, HOLDING)
        self.start(run_id, side, go)
        before, report, killed = self.truth, None, False
        self.removable = self._removable(side, before)
        should = self._should(side, before) if expected else {}
        earlier = self._added_in_a_day(side)
        try:
            if undone is None:
                report = run_export(self.place(), export, run_id=run_id)
            else:
                report = run_export(
                    self.place(), export, run_id=run_id, undo=Undo(undone, way or Remove()), exactly=exactly
                )
        except Killed:
            killed = True
        except ExportError as error:
            assert "@" not in str(error)  # noqa: PT017
            if expected:
                raise
            report = error.report
        self.fuse, self.dead = None, False
        self.clock.now += timedelta(minutes=1)
        self.sandbox.control("faults/clear")
        self.settle(side, run_id, before, killed=killed)
        if go.pace is not None:
            assert self._added_in_a_day(side) <= max(earlier, go.pace)
        if expected:
            after = self.look()
            for (list_id, id_), status in should.items():
                if id_ not in self.blurred:
                    assert after.on(list_id, id_) == status, (id_, list_id, status, after.on(list_id, id_))
        return report
