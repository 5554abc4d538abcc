"""Applies a plan: subscribes in batches, finds out what iContact really did, records each person's outcome."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from icontact_assets.audiences.consent import Evidence, Permit, Subscription, decide
from icontact_assets.audiences.plan import Plan, PlanError, contact_statuses_by_id, make_plan, subscriber
from icontact_assets.audiences.record import Outcome, Record, naive
from icontact_assets.icontact.errors import IContactError, Rejected, UnknownOutcome
from icontact_assets.icontact.folder import Folder, SubscribeReply
from icontact_assets.icontact.values import as_id, as_text
from icontact_assets.settings import Export
from icontact_assets.warehouse.warehouse import Warehouse

BATCH = 100
"""People in one POST. iContact names no limit (API reference, 6.2)."""

SETTLE_SECONDS = 3.0
"""How long to wait before a list is read again that does not show what was written (API reference, unknown 28)."""

_WORDS_LENGTH = 500


@dataclass(frozen=True)
class ExportReport:
    """What an export did. `skipped`: people who may not be mailed, by reason; `refused`: by iContact, by its words
    (numbers replaced by N, so that equal refusals count together); `remaining`: planned, but not done. List sizes
    count `normal` subscriptions; `list_size_after` is None if the list could not be read again."""

    list_id: str
    list_name: str
    mode: str
    audience_version: str
    plan_hash: str
    members: int
    planned: int
    added: int
    already: int
    skipped: dict[str, int]
    refused: dict[str, int]
    remaining: int
    list_size_before: int
    list_size_after: int | None
    requests: int


class ExportError(Exception):
    """An export stopped. One paragraph: why, what was done, what happens next. `report` is None if nothing was
    written because there was no plan; the error behind it is `__cause__`."""

    def __init__(self, text: str, report: ExportReport | None) -> None:
        super().__init__(text)
        self.report = report


def run_export(
    warehouse: Warehouse,
    schema: str,
    folder: Folder,
    export: Export,
    *,
    audience_storage_id: str,
    run_id: str,
    clock: Callable[[], datetime],
) -> ExportReport:
    """Subscribe the members of an audience to a list, as far as they may be mailed and are not on it yet.

    Statuses of the contacts and of the list are read live before anything is written, and a contact's again right
    before its batch when that reading is older than ten minutes. A mode of `dry_run` does all but write. Each
    person's outcome is stored after each batch, nothing is open while iContact is asked, and a run after a kill goes
    on from the live list. `audience_storage_id` is recorded; `clock` gives aware times. Raises ExportError, and
    WarehouseError when the database cannot be used.
    """
    record = Record(warehouse, schema, export, run_id)
    requests_before = folder.session.requests
    record.run(audience_storage_id=audience_storage_id, began_at=naive(clock()), ended_at=None, verdict="running")
    try:
        plan = make_plan(warehouse, schema, folder, audience=export.audience, wanted_list=export.list, clock=clock)
    except (IContactError, PlanError) as error:
        requests = folder.session.requests - requests_before
        record.run(ended_at=naive(clock()), verdict="failed", reason=str(error), requests=requests)
        raise ExportError(f"The export {export.name} made no plan and wrote nothing: {error}", None) from error
    size_before = plan.live.size
    record.run(
        audience_version=plan.audience_version,
        list_id=plan.list_id,
        plan_hash=plan.hash,
        planned=len(plan.additions),
        list_size_before=size_before,
    )
    applied = _Application(folder, plan, record, clock)
    failure: IContactError | PlanError | None = None
    try:
        applied.note_plan()
        if export.mode == "add":
            applied.write()
        else:
            applied.pretend()
    except (IContactError, PlanError) as error:
        failure = error
    report = applied.report(export.mode, size_before, folder.session.requests - requests_before)
    record.run(
        ended_at=naive(clock()),
        verdict="done" if failure is None else "failed",
        reason=None if failure is None else str(failure),
        added=report.added,
        already=report.already,
        skipped=sum(report.skipped.values()),
        refused=sum(report.refused.values()),
        remaining=report.remaining,
        list_size_after=report.list_size_after,
        requests=report.requests,
    )
    if failure is not None:
        raise ExportError(
            f"The export {export.name} stopped: {failure} Of {report.planned} people to be subscribed, {report.added} "
            f"were and {report.remaining} remain; what was done is recorded. The next run starts from the list as it "
            "is then.",
            report,
        ) from failure
    return report


def _subscribe(folder: Folder, list_id: str, permits: Sequence[Permit]) -> SubscribeReply:
    """The one place where people are put on a list."""
    for permit in permits:
        if not isinstance(permit, Permit) or permit.list_id != list_id:
            raise TypeError(f"without a permit for the list {list_id} nobody is subscribed to it")
    return folder.subscribe(list_id, [permit.contact_id for permit in permits])


class _Application:
    """A plan while it is applied: what became of whom so far."""

    def __init__(self, folder: Folder, plan: Plan, record: Record, clock: Callable[[], datetime]) -> None:
        self._folder = folder
        self._plan = plan
        self._record = record
        self._clock = clock
        self._live = plan.live
        self._outcomes: dict[str, Outcome] = {}
        self._unsaved: list[Outcome] = []
        self._size_after: int | None = None

    def note_plan(self) -> None:
        """Record those who are on the list already and those who may not be mailed."""
        for contact_id in self._plan.already:
            self._note(Outcome(contact_id, "already"))
        for denial in self._plan.denials:
            self._note(Outcome(denial.contact_id, "skipped", denial.reason))
        self._save()

    def pretend(self) -> None:
        """Record whom a run that writes would subscribe."""
        for permit in self._plan.additions:
            self._note(Outcome(permit.contact_id, "planned"))
        self._save()
        self._size_after = self._live.size

    def write(self) -> None:
        """Subscribe everybody with a permit, batch by batch, and compare with the list afterwards."""
        for start in range(0, len(self._plan.additions), BATCH):
            batch = self._plan.additions[start : start + BATCH]
            try:
                rejections = self._send(batch)
            finally:
                self._save()
            if len(batch) > 1 and len(rejections) == len(batch):
                # Not one person of many: the request itself is at fault, and further batches would fare no better.
                raise rejections[-1]
        self._prove()

    def _send(self, batch: Sequence[Permit], *, lost_before: bool = False) -> list[Rejected]:
        """Subscribe up to 100 people and note what became of each; returns the rejections of single people."""
        permits = self._fresh(batch)
        if not permits:
            return []
        try:
            reply = _subscribe(self._folder, self._plan.list_id, permits)
        except Rejected as error:
            if len(permits) > 1:
                # One bad row may fail a whole batch: halve it until the row is found.
                middle = len(permits) // 2
                return [*self._send(permits[:middle]), *self._send(permits[middle:])]
            self._note(Outcome(permits[0].contact_id, "refused", "iContact rejected the request", _cut(str(error))))
            return [error]
        except UnknownOutcome:
            missing = self._found_missing(permits)
            if lost_before and missing:
                raise
            return self._send(missing, lost_before=True)
        self._note_reply(permits, reply)
        return []

    def _fresh(self, permits: Sequence[Permit]) -> list[Permit]:
        """The permits, those based on old contact statuses given anew or withdrawn."""
        now = self._clock()
        old = [permit.contact_id for permit in permits if not permit.fresh(now)]
        if not old:
            return list(permits)
        statuses = contact_statuses_by_id(self._folder, old)
        again = set(old)
        return self._decided(
            (permit, replace(permit.evidence, contact_status=statuses.get(permit.contact_id), read_at=now))
            if permit.contact_id in again
            else (permit, permit.evidence)
            for permit in permits
        )

    def _found_missing(self, permits: Sequence[Permit]) -> list[Permit]:
        """After a lost answer: note who is on the list; returns the others, as far as they may still go there."""
        time.sleep(SETTLE_SECONDS)
        self._live.read(self._folder, whole=False)
        missing = []
        for permit in permits:
            status = self._live.statuses.get(permit.contact_id, Subscription.ABSENT)
            if status == "normal":
                self._note(Outcome(permit.contact_id, "added", "iContact's answer was lost; the list holds it"))
            else:
                missing.append((permit, replace(permit.evidence, subscription_status=status)))
        return self._decided(missing)

    def _decided(self, evidence: Iterable[tuple[Permit, Evidence]]) -> list[Permit]:
        permits = []
        for permit, now_known in evidence:
            decision = decide(permit.contact_id, permit.list_id, now_known)
            if isinstance(decision, Permit):
                permits.append(decision)
            else:
                self._note(Outcome(decision.contact_id, "skipped", decision.reason))
        return permits

    def _note_reply(self, permits: Sequence[Permit], reply: SubscribeReply) -> None:
        """A 200 may hold refusals: only a row of this list that came back as `normal` is a success."""
        rows = {subscriber(row): row for row in reply.rows if as_id(row.get("listId")) in (None, self._plan.list_id)}
        for permit in permits:
            row = rows.get(permit.contact_id)
            if row is None:
                about = [text for text in reply.warnings if re.search(rf"\b{re.escape(permit.contact_id)}\b", text)]
                words = _cut(" ".join(about or reply.warnings))
                self._note(Outcome(permit.contact_id, "refused", "iContact did not confirm it", words))
            elif row.get("status") == "normal":
                self._note(Outcome(permit.contact_id, "added"))
            else:
                words = _cut(as_text(row.get("status")) or "")
                self._note(Outcome(permit.contact_id, "refused", "iContact gave another status than normal", words))

    def _prove(self) -> None:
        """Compare what iContact said with what the list holds now, of the rows that were added to it."""
        said = [item for item in self._outcomes.values() if item.outcome in ("added", "refused")]
        if said:
            self._live.read(self._folder, whole=False)
            if any(item.outcome == "added" and not self._holds(item) for item in said):
                time.sleep(SETTLE_SECONDS)
                self._live.read(self._folder)
        for item in said:
            if item.outcome == "added" and not self._holds(item):
                self._note(Outcome(item.contact_id, "refused", "iContact confirmed it, but the list does not hold it"))
            elif item.outcome == "refused" and self._holds(item):
                reason = "the list holds it, though iContact did not confirm it"
                self._note(Outcome(item.contact_id, "already", reason, item.words))
        self._save()
        self._size_after = self._live.size

    def _holds(self, item: Outcome) -> bool:
        return self._live.statuses.get(item.contact_id) == "normal"

    def _note(self, outcome: Outcome) -> None:
        self._outcomes[outcome.contact_id] = outcome
        self._unsaved.append(outcome)

    def _save(self) -> None:
        self._record.outcomes(self._unsaved, self._clock())
        self._unsaved.clear()

    def report(self, mode: str, size_before: int, requests: int) -> ExportReport:
        """The counts of what was noted so far."""
        by_outcome = Counter(item.outcome for item in self._outcomes.values())
        skipped = Counter(item.reason or "" for item in self._outcomes.values() if item.outcome == "skipped")
        refused = Counter(
            re.sub(r"\d+", "N", item.words or item.reason or "")
            for item in self._outcomes.values()
            if item.outcome == "refused"
        )
        plan = self._plan
        return ExportReport(
            list_id=plan.list_id,
            list_name=plan.list_name,
            mode=mode,
            audience_version=plan.audience_version,
            plan_hash=plan.hash,
            members=len(plan.additions) + len(plan.already) + len(plan.denials),
            planned=len(plan.additions),
            added=by_outcome["added"],
            already=by_outcome["already"],
            skipped=dict(skipped),
            refused=dict(refused),
            remaining=sum(permit.contact_id not in self._outcomes for permit in plan.additions),
            list_size_before=size_before,
            list_size_after=self._size_after,
            requests=requests,
        )


def _cut(words: str) -> str | None:
    return words[:_WORDS_LENGTH] or None
