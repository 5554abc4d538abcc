"""Applies a plan: writes in batches, finds out what iContact really did, records each person's outcome."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import TypeVar

from icontact_assets.errors import UserError
from icontact_assets.exports.consent import (
    Denial,
    Permit,
    RemovalPermit,
    Subscription,
    decide,
    decide_removal,
    is_fresh,
    speaks_of_consent,
    speaks_of_presence,
)
from icontact_assets.exports.history import read_memory
from icontact_assets.exports.knowledge import read_opt_outs
from icontact_assets.exports.live import Clock, LiveList, PlanError, pause, subscriber
from icontact_assets.exports.outcomes import DONE, Outcome, RunStatus
from icontact_assets.exports.pace import next_allowance, quiet_until
from icontact_assets.exports.person import normal_address
from icontact_assets.exports.plan import Place, Plan, make_plan, read_other_lists
from icontact_assets.exports.record import JournalEntry, Record, naive
from icontact_assets.icontact.errors import (
    IContactError,
    NotFound,
    Rejected,
    Unconfirmed,
    UnknownOutcome,
)
from icontact_assets.icontact.folder import Folder, Remark, SubscribeReply
from icontact_assets.icontact.listing import Row
from icontact_assets.icontact.values import as_id, as_text
from icontact_assets.settings.models import Export
from icontact_assets.warehouse.lock import Lock, LockTaken

BATCH = 100
"""People in one POST. iContact names no limit (API reference, 6.2)."""

_Item = TypeVar("_Item")
_RESPONSE_LENGTH = 500
_PREVIEWED = 20
_PREVIEW_ORDER = (
    Outcome.FAILED,
    Outcome.UNCONFIRMED,
    Outcome.REFUSED,
    Outcome.PLANNED,
    *DONE,
    Outcome.SKIPPED,
    Outcome.ALREADY_SUBSCRIBED,
)
_LOCK_SECONDS = 3600.0
_NOT_CONFIRMED = "iContact did not confirm it"
_NOT_ADDED = (Outcome.FAILED, Outcome.REFUSED, Outcome.SKIPPED)
_SAID = (*DONE, Outcome.UNCONFIRMED, Outcome.FAILED, Outcome.REFUSED)
_DONE_BY = {"subscribe": Outcome.ADDED, "move": Outcome.MOVED, "unsubscribe": Outcome.UNSUBSCRIBED}
_TRIES = 3
"""How often statuses are read again for one write before its request is ready to be sent."""
_SINGLY_REJECTED = 5
"""So many removals rejected one after the other, and none done: the request itself is at fault."""


@dataclass(frozen=True)
class ExportReport:
    """What an export did. Numbers count people.

    `skipped`: may not be written to, or left out, by reason; `refused` and `failed`: by iContact's words (numbers
    replaced by N, so that equal refusals count together); `remaining`: planned but not done, or waiting for the pace,
    which goes on at `next_at` (aware; None: with the next run). `exceeded`: limits; `approved`: the plan may exceed
    them. `foreign` says what others changed, `standing` how many such changes stand. `missing` should be on the list
    and are not, `surplus` should not be and are. `violations`: people put on the list by this run although what was
    read back or stored speaks against it. List sizes count `normal` subscriptions; `list_size_after` is None if the
    list was not read again. `preview`: contact id, action, outcome, reason.
    """

    list_id: str
    list_name: str
    mode: str
    audience_version: str
    plan_hash: str
    members: int
    planned: int
    added: int
    removed: int
    already_subscribed: int
    skipped: dict[str, int]
    refused: dict[str, int]
    failed: dict[str, int]
    remaining: int
    next_at: datetime | None
    exceeded: tuple[str, ...]
    approved: bool
    foreign: str
    standing: int
    missing: int
    surplus: int
    violations: tuple[str, ...]
    list_size_before: int
    list_size_after: int | None
    compared_at: datetime
    requests: int
    preview: tuple[tuple[str, str, str, str], ...]


class ExportError(UserError):
    """An export stopped. One paragraph: why, what was done, what happens next. `report` is None if nothing was
    written because there was no plan; the error behind it, if any, is `__cause__`."""

    def __init__(self, text: str, report: ExportReport | None) -> None:
        super().__init__(text)
        self.report = report


def run_export(
    place: Place,
    export: Export,
    *,
    run_id: str,
    audience_storage_id: str | None = None,
    undoes: str | None = None,
    planner: Callable[[Place, Export], Plan] = make_plan,
    exactly: str | None = None,
    waiting: Callable[[str], None] = lambda _: None,
) -> ExportReport:
    """Plan an export from facts read now, and apply the plan as far as guard, limits and pace allow.

    What is guaranteed of each write: the list was read whole in this run. The statuses of contact and list were read
    within the ten minutes before each try, or they are read again first (50 contacts a request, or all of them where
    that costs less; of a list what is new, of a list that somebody is moved off the one subscription or all; for
    `consent: strict` every list). Whatever any answer showed counts from then on, in this run and all later ones. The
    intent is in export_outcomes before the request goes out, and after a lost answer, or a kill, the list is read
    before anything is repeated. Who is on the exclusion list is as old as the plan. Afterwards the list is read back
    and compared.

    Requests: those of the plan (see `make_plan`), one per 100 people added, one per person removed, and the pages of
    the list to read it back. 100,000 people onto an empty list, in a folder of 115,000 contacts: 1,429, which are 1,000
    batches, 202 pages of the list, 226 pages of contacts and 1 of the lists; without fresh statuses it would be 1,203.

    `planner` makes the plan; `undoes`: the run that it takes back; `exactly`: apply the plan only if this is its hash,
    which counts as its approval. `audience_storage_id` is recorded. One export of a schema runs at a time: `waiting` is
    told while another does. Raises ExportError, and WarehouseError when the database cannot be used.
    """
    with _alone(place, f"run {run_id} of the export {export.name}", waiting), place.remembering():
        run = _Run(place, export, run_id, undoes, exactly)
        try:
            return run.run(audience_storage_id, planner)
        except BaseException as error:
            # A signal, by whatever class of exception it is told.
            if not isinstance(error, Exception):
                run.interrupted()
            raise


@contextmanager
def _alone(place: Place, purpose: str, waiting: Callable[[str], None]) -> Iterator[None]:
    path = place.warehouse.path
    lock = Lock(path.with_name(f"{path.name}.{place.schema}.exports.lock"))
    try:
        lock.acquire(purpose, wait_seconds=_LOCK_SECONDS, waiting=waiting)
    except LockTaken as error:
        raise ExportError(
            f"Another export of {place.schema} is running: {error}. Nothing was written; run again when it has ended.",
            None,
        ) from error
    except OSError as error:
        raise ExportError(
            f"The lock beside {path} cannot be used: {error}. Nothing was written. Check that this user may write to "
            "its folder.",
            None,
        ) from error
    try:
        yield
    finally:
        lock.release()


class _Run:
    """One run of an export, from plan to report."""

    def __init__(self, place: Place, export: Export, run_id: str, undoes: str | None, exactly: str | None) -> None:
        self._place = place
        self._export = export
        self._undoes = undoes
        self._exactly = exactly
        self._record = Record(place, export, run_id)
        self._clock = place.clock
        self._requests_before = place.folder.session.requests

    def run(self, audience_storage_id: str | None, planner: Callable[[Place, Export], Plan]) -> ExportReport:
        self._record.run(
            audience_storage_id=audience_storage_id,
            mode="undo" if self._undoes else self._export.mode,
            undoes=self._undoes,
            began_at=naive(self._clock()),
            ended_at=None,
            status=RunStatus.RUNNING,
        )
        try:
            plan = planner(self._place, self._export)
        except (IContactError, PlanError) as error:
            self._end(RunStatus.FAILED, str(error))
            raise ExportError(
                f"The export {self._export.name} made no plan and wrote nothing: {error}", None
            ) from error
        # Whether a plan was shown before is asked before it is stored as shown.
        approved = self._exactly or self._export.approve
        against = self._record.against_approval(plan, approved, self._clock())
        applied = _Application(self._place, self._export, plan, self._record, approved=against is None)
        applied.note_plan()
        if self._exactly is not None and plan.mode == "dry_run":
            raise self._stopped(applied, "its mode is dry_run, which writes nothing")
        if self._exactly is not None and against is not None:
            raise self._stopped(applied, f"the plan {plan.hash} is not applied: {against}")
        if plan.exceeded and against is not None and plan.mode != "dry_run":
            figures = "; ".join(item.text for item in plan.exceeded)
            raise self._stopped(applied, f"{figures}; and {against}")
        failure: IContactError | PlanError | None = None
        try:
            if plan.mode == "dry_run":
                applied.pretend()
            else:
                applied.write()
        except (IContactError, PlanError) as error:
            failure = error
        report = self._report(applied)
        status = RunStatus.DONE if failure is None else RunStatus.FAILED
        self._end(status, None if failure is None else str(failure), report)
        if failure is not None:
            done = report.added + report.removed
            raise ExportError(
                f"The export {self._export.name} stopped: {failure} Of {report.planned} people to be added or removed, "
                f"{done} were and {report.remaining} remain; what was done is recorded. The next run starts from the "
                "list as it is then.",
                report,
            ) from failure
        return report

    def interrupted(self) -> None:
        """Record that somebody stopped the run. What it may have written stays open for the next run."""
        self._end(RunStatus.FAILED, "somebody stopped it")

    def _stopped(self, applied: _Application, why: str) -> ExportError:
        report = self._report(applied)
        self._end(RunStatus.STOPPED, why, report)
        name, code = self._export.name, applied.plan.hash
        undo = applied.plan.undoes
        command = f"icontact-assets undo {undo}" if undo else f"icontact-assets plan {name}"
        apply = f"icontact-assets undo {undo}" if undo else f"icontact-assets apply {name}"
        also = "" if undo else f", or write `approve: {code}` at the export"
        return ExportError(
            f"The export {name} stopped before it wrote anything: {why}. The plan is {code}. Look at it with "
            f"`{command}`; if it is right, run `{apply} --plan {code}` within 24 hours{also}.",
            report,
        )

    def _report(self, applied: _Application) -> ExportReport:
        return applied.report(self._place.folder.session.requests - self._requests_before)

    def _end(self, status: RunStatus, reason: str | None, report: ExportReport | None = None) -> None:
        counts = (
            {"requests": self._place.folder.session.requests - self._requests_before}
            if report is None
            else {
                "added": report.added,
                "removed": report.removed,
                "already_subscribed": report.already_subscribed,
                "skipped": sum(report.skipped.values()),
                "refused": sum(report.refused.values()),
                "failed": sum(report.failed.values()),
                "remaining": report.remaining,
                "list_size_after": report.list_size_after,
                "requests": report.requests,
            }
        )
        self._record.run(ended_at=naive(self._clock()), status=status, reason=reason, **counts)


class _Stale(Exception):
    """A permit grew too old while its request waited to be sent."""


def _subscribe(folder: Folder, list_id: str, permits: Sequence[Permit], clock: Clock) -> SubscribeReply:
    """The one place where people are subscribed to a list. Raises _Stale, unsent, unless every permit is fresh at each
    try."""

    def check() -> None:
        now = clock()
        if not all(permit.fresh(now) for permit in permits):
            raise _Stale

    for permit in permits:
        if not isinstance(permit, Permit) or permit.list_id != list_id:
            raise TypeError(f"without a permit for the list {list_id} nobody is subscribed to it")
    return folder.subscribe(list_id, [permit.contact_id for permit in permits], check)


def _take_off(folder: Folder, permit: RemovalPermit, clock: Clock) -> Row:
    """The one place where people are taken off a list: moved to another, or unsubscribed. Raises _Stale as above."""

    def check() -> None:
        if not permit.fresh(clock()):
            raise _Stale

    if not isinstance(permit, RemovalPermit):
        raise TypeError("without a permit nobody is taken off a list")
    if permit.onto is None:
        return folder.unsubscribe(permit.list_id, permit.contact_id, check)
    return folder.move_subscription(permit.list_id, permit.contact_id, permit.onto.list_id, check)


_Key = str | tuple[str | None, str | None, str]


class _Application:
    """A plan while it is applied: what became of whom so far."""

    def __init__(self, place: Place, export: Export, plan: Plan, record: Record, *, approved: bool) -> None:
        self.plan = plan
        self._approved = approved
        self._place = place
        self._export = export
        self._folder = place.folder
        self._record = record
        self._clock = place.clock
        self._compared_at = place.clock()
        self._live = plan.live
        self._lists = {plan.live.list_id: plan.live, **plan.others}
        self._contacts = plan.contacts
        self._not_normal = {id_ for id_, status in plan.live.statuses.items() if status != "normal"}
        self._size_before = plan.live.size
        self._size_after: int | None = None
        self._outcomes: dict[_Key, JournalEntry] = {}
        self._unsaved: list[JournalEntry] = []
        self._intended: set[tuple[str, str]] = set()
        self._doubtful: set[tuple[str, str]] = set()
        self._begun = False
        self._quiet_until = plan.quiet_until

    def note_plan(self) -> None:
        """Record the plan: those who are on the list already, those who may not be written to, those left out."""
        plan, list_id = self.plan, self._live.list_id
        for denial in plan.denials:
            item = JournalEntry(denial.contact_id, "subscribe", list_id, Outcome.SKIPPED, reason=denial.reason)
            self._note(replace(item, evidence=denial.evidence))
        for member_id, reason in {**plan.unmatched, **plan.left_out}.items():
            there = member_id if self._export.folder is None else None
            self._note(JournalEntry(there, "subscribe", list_id, Outcome.SKIPPED, reason=reason, member_id=member_id))
        for denied in plan.denied_removals:
            self._note(
                JournalEntry(
                    denied.denial.contact_id,
                    "unsubscribe" if denied.to_list_id is None else "move",
                    denied.list_id,
                    Outcome.SKIPPED,
                    to_list_id=denied.to_list_id,
                    reason=denied.denial.reason,
                    evidence=denied.denial.evidence,
                )
            )
        # Of those who are on the list nothing more is noted: there may be very many.
        self._record.plan(plan, chain(self._already(plan.already), self._unsaved), self._compared_at)
        self._unsaved.clear()

    def _already(self, contact_ids: Iterable[str]) -> Iterator[JournalEntry]:
        for contact_id in contact_ids:
            yield JournalEntry(contact_id, "subscribe", self._live.list_id, Outcome.ALREADY_SUBSCRIBED)

    def pretend(self) -> None:
        """Record whom a run that writes would subscribe."""
        for item in _planned(self.plan):
            self._note(item)
        self._save()
        self._size_after = self._live.size

    def write(self) -> None:
        """Subscribe and remove everybody with a permit, batch by batch, and compare with the list afterwards."""
        try:
            for permits in self._places():
                if self._quiet():
                    break
                self._next_batch()
                self._add(permits)
            for removals in _batches(self.plan.removals):
                if self._quiet():
                    break
                self._next_batch()
                self._remove(removals)
        finally:
            self._withdraw()
            self._save()
        self._prove()

    def _places(self) -> Iterator[Sequence[Permit]]:
        """Batches of those to be added. Who could not be added costs no pace: the next in line takes the place."""
        line = [*self.plan.additions, *self.plan.waiting]
        tried, places = 0, len(self.plan.additions)
        while batch := line[tried : tried + min(BATCH, places)]:
            yield batch
            tried += len(batch)
            outcomes = (self._outcomes.get(permit.contact_id) for permit in batch)
            places -= sum(item is None or item.outcome not in _NOT_ADDED for item in outcomes)

    def _quiet(self) -> bool:
        """Whether quiet hours have begun. An undo does not wait for them to end."""
        if self.plan.undoes is None:
            self._quiet_until = quiet_until(self._export.pace, self._clock())
        return self._quiet_until is not None

    # Adding

    def _add(self, batch: Sequence[Permit]) -> None:
        rejections = self._post(batch)
        if len(batch) > 1 and len(rejections) == len(batch):
            # Not one person of many: the request itself is at fault, and further batches would fare no better.
            for permit in batch:
                item = self._outcomes[permit.contact_id]
                self._note(replace(item, outcome=Outcome.FAILED))
            raise rejections[-1]

    def _post(self, batch: Sequence[Permit], *, lost_before: bool = False) -> list[Rejected]:
        """Subscribe up to 100 people and note what became of each; returns the rejections of single people, but for
        refusals for consent that name the person."""
        self._intend(JournalEntry(permit.contact_id, "subscribe", permit.list_id, Outcome.INTENDED) for permit in batch)
        for _ in range(_TRIES):
            # Right before the request: recording may have had to wait for the database.
            permits = self._fresh(batch)
            if not permits:
                return []
            try:
                with self._request((permit.contact_id, "subscribe") for permit in permits):
                    reply = _subscribe(self._folder, self._live.list_id, permits, self._clock)
            except _Stale:
                continue
            except Rejected as error:
                return self._post_apart(permits, error)
            except UnknownOutcome:
                missing = self._found_missing(permits)
                if lost_before and missing:
                    raise
                return self._post(missing, lost_before=True) if missing else []
            self._note_reply(permits, reply)
            return []
        raise _too_slow()

    def _post_apart(self, permits: Sequence[Permit], error: Rejected) -> list[Rejected]:
        """After a rejection of a whole batch: halve it, for one bad row may fail it, until the row is found."""
        if not error.without_effect:
            permits = self._found_missing(permits)
        if len(permits) > 1:
            middle = len(permits) // 2
            return [*self._post(permits[:middle]), *self._post(permits[middle:])]
        for permit in permits:
            item = self._rejected(JournalEntry(permit.contact_id, "subscribe", permit.list_id, Outcome.FAILED), error)
            self._note(item)
            return [] if item.outcome == Outcome.REFUSED and _names(str(error), permit.contact_id) else [error]
        return []

    def _fresh(self, permits: Sequence[Permit]) -> list[Permit]:
        """The permits given anew, or withdrawn, by statuses of the last ten minutes and all that is known by now."""
        self._read_lists()
        self.plan.knowledge.learn(self._place.warehouse, self._folder)
        self._read_contacts([permit.contact_id for permit in permits])
        fresh = []
        for permit in permits:
            decision = self._decide(permit.contact_id, self._live)
            if isinstance(decision, Permit):
                fresh.append(decision)
            else:
                item = JournalEntry(
                    permit.contact_id, "subscribe", permit.list_id, Outcome.SKIPPED, reason=decision.reason
                )
                self._note(replace(item, evidence=decision.evidence))
        return fresh

    def _decide(self, contact_id: str, on: LiveList) -> Permit | Denial:
        evidence = self.plan.knowledge.evidence(contact_id, self._contacts.get(contact_id), on, self._clock())
        return decide(contact_id, on.list_id, evidence)

    def _read_contacts(self, contact_ids: Sequence[str]) -> None:
        """Read the contacts again whose status is older than ten minutes."""
        now = self._clock()
        stale = [id_ for id_ in contact_ids if (c := self._contacts.get(id_)) is None or not is_fresh(c.read_at, now)]
        if stale:
            read = self.plan.reader.read_again(stale, self._not_done())
            for contact_id, contact in {**dict.fromkeys(stale), **read}.items():
                before = self._contacts.get(contact_id)
                if before is not None and (contact is None or contact.address != before.address):
                    self.plan.knowledge.had(contact_id, before.address, candidate=True)
                self._contacts[contact_id] = contact

    def _read_lists(self) -> None:
        """Read what is new on the list, and for `consent: strict` every list, if that was more than ten minutes ago."""
        if not is_fresh(self._live.grown_at, self._clock()):
            self._live.read(self._folder, self._clock, whole=False)
        at = self.plan.knowledge.elsewhere_at
        if at is not None and not is_fresh(at, self._clock()):
            read_other_lists(self._place, self.plan.knowledge, self.plan.elsewhere, [self._live])

    def _not_done(self) -> list[str]:
        done = {(item.contact_id, item.action) for item in self._outcomes.values()}
        to_do = [(permit.contact_id, "subscribe") for permit in self.plan.additions]
        to_do += [(permit.contact_id, "move") for permit in self.plan.removals if permit.onto is not None]
        return [contact_id for contact_id, action in to_do if (contact_id, action) not in done]

    def _found_missing(self, permits: Sequence[Permit]) -> list[Permit]:
        """After a lost answer: note who is on the list; returns the others."""
        pause()
        # Whole: in a list that is not shown in the order of its growth, new people may stand anywhere.
        self._live.read(self._folder, self._clock)
        missing = []
        for permit in permits:
            if self._live.holds(permit.contact_id):
                reason = "iContact's answer was lost; the list holds it"
                self._note(JournalEntry(permit.contact_id, "subscribe", permit.list_id, Outcome.ADDED, reason=reason))
            else:
                missing.append(permit)
        return missing

    def _note_reply(self, permits: Sequence[Permit], reply: SubscribeReply) -> None:
        """A 200 may hold refusals: only a row of this list that came back as `normal` is a success."""
        rows = {subscriber(row): row for row in reply.rows if as_id(row.get("listId")) in (None, self._live.list_id)}
        missing = [permit for permit in permits if permit.contact_id not in rows]
        spoken = self._spoken_of(missing, reply.remarks)
        for permit in permits:
            row, item = (
                rows.get(permit.contact_id),
                JournalEntry(permit.contact_id, "subscribe", permit.list_id, Outcome.FAILED),
            )
            if row is not None and row.get("status") == "normal":
                self._note(replace(item, outcome=Outcome.ADDED))
            elif row is not None:
                words = as_text(row.get("status")) or ""
                self._note(replace(item, reason="iContact gave another status than normal", response=_cut(words)))
            elif permit.contact_id in spoken:
                about = spoken[permit.contact_id]
                outcome = (
                    Outcome.REFUSED if all(speaks_of_consent(remark.words) for remark in about) else Outcome.FAILED
                )
                words = " ".join(remark.words for remark in about)
                self._note(replace(item, outcome=outcome, reason=_NOT_CONFIRMED, response=_cut(words)))
            else:
                # Nothing was said of this person, as if the answer was lost: the list will tell.
                words = " ".join(remark.words for remark in reply.remarks)
                self._note(replace(item, outcome=Outcome.UNCONFIRMED, reason=_NOT_CONFIRMED, response=_cut(words)))

    def _spoken_of(self, missing: Sequence[Permit], remarks: Sequence[Remark]) -> dict[str, list[Remark]]:
        """The remarks about each person: those that name it by contact id or address; where there are as many others
        as people that none names, each of these people is spoken of by them all."""
        by_id: dict[str, list[Remark]] = {}
        by_address = {
            contact.address: permit.contact_id
            for permit in missing
            if (contact := self._contacts.get(permit.contact_id)) is not None and contact.address is not None
        }
        ids = {permit.contact_id for permit in missing}
        others = []
        for remark in remarks:
            named = {by_address.get(normal_address(address) or "") for address in remark.addresses} | (ids & remark.ids)
            for contact_id in named - {None}:
                by_id.setdefault(str(contact_id), []).append(remark)
            if not named - {None}:
                others.append(remark)
        unnamed = ids - by_id.keys()
        if unnamed and len(others) >= len(unnamed):
            by_id |= dict.fromkeys(unnamed, others)
        return by_id

    # Removing

    def _remove(self, batch: Sequence[RemovalPermit]) -> None:
        self._intend(_removal(permit, Outcome.INTENDED) for permit in batch)
        in_a_row = 0
        for permit in batch:
            error = self._take_off(permit)
            held = permit.onto is not None and self._lists[permit.onto.list_id].holds(permit.contact_id)
            in_a_row = in_a_row + 1 if error is not None and not held else 0
            if error is not None and in_a_row == _SINGLY_REJECTED:
                raise error

    def _fresh_removal(self, permit: RemovalPermit) -> RemovalPermit | None:
        """The permit, or for a move the one given anew by statuses of the last ten minutes; None if it is withdrawn."""
        if permit.onto is None:
            return permit
        off, onto = self._lists[permit.list_id], self._lists[permit.onto.list_id]
        self._read_lists()
        for on in (off, onto):
            if not is_fresh(on.status(permit.contact_id)[1], self._clock()):
                self._read_subscription(on, permit.contact_id)
        self.plan.knowledge.learn(self._place.warehouse, self._folder)
        self._read_contacts([permit.contact_id])
        status, read_at = off.status(permit.contact_id)
        evidence = replace(
            permit.evidence,
            subscription_status=status,
            list_read_at=read_at,
            onto=self._decide(permit.contact_id, onto),
        )
        decision = decide_removal(permit.contact_id, permit.list_id, evidence)
        if isinstance(decision, RemovalPermit):
            return decision
        self._note(replace(_removal(permit, Outcome.SKIPPED), reason=decision.reason, evidence=decision.evidence))
        return None

    def _read_subscription(self, on: LiveList, contact_id: str) -> None:
        """Read a contact's status on a list again: the whole list, where that costs fewer requests than those to do."""
        left = sum(_key(_removal(permit, Outcome.PLANNED)) not in self._outcomes for permit in self.plan.removals)
        if on.requests < left:
            on.read(self._folder, self._clock)
        else:
            on.read_alone(self._folder, contact_id, self._clock)

    def _take_off(self, permit: RemovalPermit, *, lost_before: bool = False) -> Rejected | None:
        """Take one person off a list and note what became of it; returns the rejection, if it was one."""
        for _ in range(_TRIES):
            # A batch of removals is many requests: the last of them may be late.
            fresh = self._fresh_removal(permit)
            if fresh is None:
                return None
            permit = fresh
            try:
                with self._request([(permit.contact_id, _removal(permit, Outcome.PLANNED).action)]):
                    row = _take_off(self._folder, permit, self._clock)
            except _Stale:
                continue
            except Rejected as error:
                if not error.without_effect and self._found_off(permit, "iContact did not confirm it"):
                    return None
                unsaid = isinstance(error, Unconfirmed)
                item = _removal(permit, Outcome.UNCONFIRMED)
                self._note(replace(item, reason=_NOT_CONFIRMED) if unsaid else self._rejected(item, error))
                return error
            except NotFound as error:
                item = _removal(permit, Outcome.UNCONFIRMED if lost_before else Outcome.FAILED)
                self._note(replace(item, reason="is no longer on the list", response=_cut(str(error))))
                return None
            except UnknownOutcome:
                if self._found_off(permit, "iContact's answer was lost"):
                    return None
                if lost_before:
                    raise
                return self._take_off(permit, lost_before=True)
            self._note_removal(permit, row)
            return None
        raise _too_slow()

    def _found_off(self, permit: RemovalPermit, why: str) -> bool:
        """After an answer that does not tell: read the subscriptions, and note what became of the person; False if it
        is still on the list."""
        pause()
        contact_id, off = permit.contact_id, self._lists[permit.list_id]
        off.read_alone(self._folder, contact_id, self._clock)
        status, _ = off.status(contact_id)
        if status == "normal":
            return False
        if permit.onto is None:
            done = Outcome.UNSUBSCRIBED if status == "unsubscribed" else Outcome.UNCONFIRMED
            self._note(replace(_removal(permit, done), reason=f"{why}; the list no longer holds it as normal"))
            return True
        if status is not Subscription.ABSENT:
            reason = f"{why}; it was not done, and the person has left the list"
            self._note(replace(_removal(permit, Outcome.SKIPPED), reason=reason))
            return True
        onto = self._lists[permit.onto.list_id]
        onto.read_alone(self._folder, contact_id, self._clock)
        there, _ = onto.status(contact_id)
        if there is Subscription.ABSENT:
            item, reason = _removal(permit, Outcome.UNCONFIRMED), f"{why}; neither list holds it"
        else:
            item, reason = _removal(permit, Outcome.MOVED), f"{why}; the lists show it"
        self._note(replace(item, reason=reason))
        return True

    def _note_removal(self, permit: RemovalPermit, row: Row) -> None:
        """What the subscription in an answer says of a removal."""
        status = as_text(row.get("status"))
        if permit.onto is None:
            done, there = status == "unsubscribed", status
        else:
            there = as_id(row.get("listId"))
            done = there == permit.onto.list_id
        if not done:
            self._note(
                replace(_removal(permit, Outcome.UNCONFIRMED), reason=_NOT_CONFIRMED, response=_cut(there or ""))
            )
        elif permit.onto is None:
            self._note(_removal(permit, Outcome.UNSUBSCRIBED))
        else:
            item = _removal(permit, Outcome.MOVED)
            if status != "normal":
                # Who left the list while the move was under way carries that along.
                item = replace(item, reason="it came there in another status than normal", response=_cut(status or ""))
                self._place.watch.opted_out(permit.list_id, permit.contact_id)
            self._note(item)

    @staticmethod
    def _rejected(item: JournalEntry, error: Rejected) -> JournalEntry:
        words = _cut(str(error))
        outcome = Outcome.REFUSED if speaks_of_consent(str(error)) else Outcome.FAILED
        return replace(item, outcome=outcome, reason="iContact rejected the request", response=words)

    # Proving

    def _prove(self) -> None:
        """Compare what iContact said with what the lists hold now."""
        said = [item for item in self._outcomes.values() if item.outcome in _SAID]
        removed = any(item.action != "subscribe" for item in said)
        if said:
            for on in self._lists.values():
                # What is added stands at the end of a list; what is removed may have stood anywhere.
                on.read(self._folder, self._clock, whole=removed)
            if any(item.outcome in (*DONE, Outcome.UNCONFIRMED) and not _shows(item, self._lists) for item in said):
                pause()
                for on in self._lists.values():
                    on.read(self._folder, self._clock)
            for item in said:
                self._compare(item)
        self._save()
        self._size_after = self._live.size

    def _compare(self, item: JournalEntry) -> None:
        shows = _shows(item, self._lists)
        if item.outcome in DONE and not shows:
            status = self._lists[item.list_id].statuses.get(item.contact_id or "", Subscription.ABSENT)
            if item.action == "subscribe" and status is not Subscription.ABSENT:
                reason = "iContact confirmed it, but the list shows another status than normal"
                self._note(replace(item, outcome=Outcome.FAILED, reason=reason, response=_cut(str(status))))
            else:
                reason = "iContact confirmed it, but the list does not show it"
                self._note(replace(item, outcome=Outcome.UNCONFIRMED, reason=reason))
        elif item.outcome not in DONE and shows:
            reason = "the list shows it, though iContact did not confirm it"
            there_before = item.action == "subscribe" and speaks_of_presence(item.response or "")
            self._note(
                replace(
                    item, outcome=Outcome.ALREADY_SUBSCRIBED if there_before else _DONE_BY[item.action], reason=reason
                )
            )

    # Recording

    def _note(self, outcome: JournalEntry) -> None:
        self._outcomes[_key(outcome)] = outcome
        self._unsaved.append(outcome)

    def _next_batch(self) -> None:
        """What was intended or doubtful before has an outcome by now."""
        self._intended.clear()
        self._doubtful.clear()

    def _intend(self, outcomes: Iterable[JournalEntry]) -> None:
        """Record what is about to be written, together with what is known so far, before the request goes out."""
        new = [item for item in outcomes if (item.contact_id or "", item.action) not in self._intended]
        self._intended |= {(item.contact_id or "", item.action) for item in new}
        if new:
            self._record.outcomes(self.plan, [*self._unsaved, *new], self._clock(), first=not self._begun)
            self._begun = True
            self._unsaved.clear()

    @contextmanager
    def _request(self, keys: Iterable[tuple[str, str]]) -> Iterator[None]:
        """Around a write: unless there is an answer, or an error that says that nothing was written, it is doubtful
        from then on."""
        # What was doubtful before this request stays so, whatever becomes of it.
        doubtful = set(keys) - self._doubtful
        self._doubtful |= doubtful
        try:
            yield
        except (IContactError, _Stale) as error:
            told = not isinstance(error, UnknownOutcome) and not (
                isinstance(error, Rejected) and not error.without_effect
            )
            if told:
                self._doubtful -= doubtful
            raise

    def _withdraw(self) -> None:
        """Take back the intents of which it is certain that nothing was written."""
        for contact_id, action in sorted(self._intended - self._doubtful):
            if _key(JournalEntry(contact_id, action, self._live.list_id, Outcome.WITHDRAWN)) in self._outcomes:
                continue
            self._unsaved.append(JournalEntry(contact_id, action, self._live.list_id, Outcome.WITHDRAWN))

    def _save(self) -> None:
        self._record.outcomes(self.plan, self._unsaved, self._clock())
        self._unsaved.clear()

    # Reporting

    def report(self, requests: int) -> ExportReport:
        """The counts of what was noted so far."""
        plan, items = self.plan, list(self._outcomes.values())
        by_outcome = Counter(item.outcome for item in items)
        moved_back = sum(item.outcome == Outcome.MOVED and item.to_list_id == self._live.list_id for item in items)
        undone = [item for item in _planned(plan) if _key(item) not in self._outcomes]
        missing, surplus = self._mismatch()
        return ExportReport(
            list_id=self._live.list_id,
            list_name=self._live.name,
            mode=plan.mode,
            audience_version=plan.audience_version,
            plan_hash=plan.hash,
            members=plan.members,
            planned=len(plan.additions) + len(plan.removals),
            added=by_outcome[Outcome.ADDED] + moved_back,
            removed=by_outcome[Outcome.MOVED] + by_outcome[Outcome.UNSUBSCRIBED] - moved_back,
            already_subscribed=len(plan.already) + by_outcome[Outcome.ALREADY_SUBSCRIBED],
            skipped=dict(Counter(item.reason or "" for item in items if item.outcome == Outcome.SKIPPED)),
            refused=_by_words(items, Outcome.REFUSED),
            failed=_by_words(items, Outcome.FAILED, Outcome.UNCONFIRMED),
            remaining=len(undone) + len(self._waiting()),
            next_at=self._next_at(bool(undone)),
            exceeded=tuple(item.text for item in plan.exceeded),
            approved=self._approved,
            foreign=plan.foreign.text(),
            standing=0
            if self._export.external_changes == "keep"
            else len(plan.foreign.standing_on) + len(plan.foreign.standing_off),
            missing=missing,
            surplus=surplus,
            violations=self._violations(),
            list_size_before=self._size_before,
            list_size_after=self._size_after,
            compared_at=self._compared_at,
            requests=requests,
            preview=self._preview([*items, *self._already(plan.already[:_PREVIEWED])], undone),
        )

    @staticmethod
    def _preview(
        items: Sequence[JournalEntry], undone: Sequence[JournalEntry]
    ) -> tuple[tuple[str, str, str, str], ...]:
        """The people whom it is worth looking at first."""
        chosen = sorted([*items, *undone], key=lambda item: _PREVIEW_ORDER.index(item.outcome))[:_PREVIEWED]
        return tuple(
            (item.contact_id or f"member {item.member_id}", item.action, item.outcome, item.reason or "")
            for item in chosen
        )

    def _mismatch(self) -> tuple[int, int]:
        """How many should be on the list and are not, and should not be and are, leaving out whom iContact refused."""
        refused = {
            (item.contact_id, item.action)
            for item in self._outcomes.values()
            if item.outcome in (Outcome.REFUSED, Outcome.SKIPPED)
        }
        wanted = [permit.contact_id for permit in (*self.plan.additions, *self.plan.waiting)]
        missing = sum(not self._live.holds(id_) for id_ in wanted if (id_, "subscribe") not in refused)
        unwanted = [
            _removal(permit, Outcome.PLANNED) for permit in self.plan.removals if permit.list_id == self._live.list_id
        ]
        surplus = [item.contact_id or "" for item in unwanted if (item.contact_id, item.action) not in refused]
        return missing, sum(self._live.holds(id_) for id_ in surplus)

    def _next_at(self, undone: bool) -> datetime | None:
        """When what remains goes on; None: nothing remains, or with the next run."""
        waits = [self._quiet_until] if undone and self._quiet_until is not None else []
        if self._waiting():
            now = self._clock()
            with self._place.warehouse.read() as connection:
                memory = read_memory(connection, self._place.schema, self._export.name, self._live.list_id, now)
            waits += [at for at in [next_allowance(self._export.pace, memory.added_at, now)] if at is not None]
        return max(waits, default=None)

    def _waiting(self) -> list[Permit]:
        """Those who wait for the pace."""
        return [permit for permit in self.plan.waiting if permit.contact_id not in self._outcomes]

    def _violations(self) -> tuple[str, ...]:
        """Those put on the list by this run against whom the list as it was, or the stored history, speaks."""
        added = {
            item.contact_id for item in self._outcomes.values() if item.outcome == Outcome.ADDED and item.contact_id
        }
        knowledge, place = self.plan.knowledge, self._place
        if added:
            with place.warehouse.read() as connection:
                knowledge.add(read_opt_outs(connection, place.shelf, place.records, [self._live.list_id]))
        denied = {denial.contact_id for denial in self.plan.denials} | self._not_normal
        now = self._clock()

        def against(contact_id: str) -> bool:
            known = knowledge.evidence(contact_id, self._contacts.get(contact_id), self._live, now)
            return (
                known.seen_unsubscribed is not False
                or known.unsubscribed_by_message is not False
                or known.do_not_contact_before is not False
                or known.erased is not False
            )

        return tuple(sorted(id_ for id_ in added if id_ in denied or against(id_)))


def _names(text: str, contact_id: str) -> bool:
    """Whether a text of the service, addresses masked, names somebody: a refusal that does not may be the account's."""
    return "<address>" in text or re.search(rf"(?<!\d)0*{contact_id}(?!\d)", text.partition("It said:")[2]) is not None


def _too_slow() -> PlanError:
    return PlanError(
        "Statuses grow older than ten minutes before a request that rests on them may be sent: the limits of requests "
        "are too low for this export. Raise them, or make its pace slower."
    )


def _removal(permit: RemovalPermit, outcome: Outcome) -> JournalEntry:
    if permit.onto is None:
        return JournalEntry(permit.contact_id, "unsubscribe", permit.list_id, outcome)
    return JournalEntry(permit.contact_id, "move", permit.list_id, outcome, to_list_id=permit.onto.list_id)


def _planned(plan: Plan) -> Iterator[JournalEntry]:
    """What a plan is to do, in its order."""
    for permit in plan.additions:
        yield JournalEntry(permit.contact_id, "subscribe", permit.list_id, Outcome.PLANNED)
    for removal in plan.removals:
        yield _removal(removal, Outcome.PLANNED)


def _shows(item: JournalEntry, lists: Mapping[str, LiveList]) -> bool:
    """Whether the lists show that an action had its effect."""
    contact_id = item.contact_id or ""
    if item.action == "subscribe":
        return lists[item.list_id].holds(contact_id)
    if item.action == "unsubscribe":
        return lists[item.list_id].statuses.get(contact_id) == "unsubscribed"
    return not lists[item.list_id].holds(contact_id) and contact_id in lists[item.to_list_id or ""].statuses


def _key(outcome: JournalEntry) -> _Key:
    """What an outcome is kept under. Of those who are subscribed there may be very many: it is the contact id alone."""
    if outcome.action == "subscribe" and outcome.contact_id is not None and outcome.member_id is None:
        return outcome.contact_id
    return (outcome.contact_id, outcome.member_id, outcome.action)


def _by_words(items: Iterable[JournalEntry], *outcomes: Outcome) -> dict[str, int]:
    return dict(
        Counter(re.sub(r"\d+", "N", item.response or item.reason or "") for item in items if item.outcome in outcomes)
    )


def _batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _cut(words: str) -> str | None:
    return words[:_RESPONSE_LENGTH] or None
