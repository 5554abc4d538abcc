"""Applies a plan: writes in batches, finds out what iContact really did, records each person's outcome."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from icontact_assets.audiences.consent import (
    Evidence,
    Permit,
    RemovalPermit,
    Subscription,
    decide,
    decide_removal,
    is_fresh,
    speaks_of_consent,
)
from icontact_assets.audiences.history import History, read_history, read_memory
from icontact_assets.audiences.live import Contact, LiveList, PlanError, pause, subscriber
from icontact_assets.audiences.pace import next_allowance, quiet_until
from icontact_assets.audiences.plan import Place, Plan, make_plan
from icontact_assets.audiences.record import DONE, WITHDRAWN, Outcome, Record, naive
from icontact_assets.icontact.errors import (
    IContactError,
    NotFound,
    Rejected,
    Unconfirmed,
    UnknownOutcome,
)
from icontact_assets.icontact.folder import Folder, SubscribeReply
from icontact_assets.icontact.listing import Row
from icontact_assets.icontact.values import as_id, as_text
from icontact_assets.settings import Export
from icontact_assets.warehouse.lock import Lock, LockTaken

BATCH = 100
"""People in one POST. iContact names no limit (API reference, 6.2)."""

_Item = TypeVar("_Item")
_WORDS_LENGTH = 500
_PREVIEWED = 20
_PREVIEW_ORDER = ("failed", "unconfirmed", "refused", "planned", *DONE, "skipped", "already")
_LOCK_SECONDS = 3600.0
_NOT_CONFIRMED = "iContact did not confirm it"
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
    already: int
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


class ExportError(Exception):
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

    What is guaranteed of each write: the list was read whole in this run; the contact's status was read within the last
    ten minutes, or it is read again first (50 contacts a request, or all of them where that costs less); the intent
    stands in export_outcomes before the request goes out, and after a lost answer, or a kill, the list is read before
    anything is repeated. What other lists say (`consent: strict`) and who is on the exclusion list is as old as the
    plan. Afterwards the list is read back and compared.

    Requests: those of the plan (see `make_plan`), one per 100 people added, one per person removed, and the pages of
    the list to read it back. 100,000 people onto an empty list, in a folder of 115,000 contacts: 1,429, which are 1,000
    batches, 202 pages of the list, 226 pages of contacts and 1 of the lists; without fresh statuses it would be 1,203.

    `planner` makes the plan; `undoes`: the run that it takes back; `exactly`: apply the plan only if this is its hash,
    which counts as its approval. `audience_storage_id` is recorded. One export of a schema runs at a time: `waiting` is
    told while another does. Raises ExportError, and WarehouseError when the database cannot be used.
    """
    with _alone(place, f"run {run_id} of the export {export.name}", waiting):
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
        self._record = Record(place.warehouse, place.schema, export, run_id)
        self._clock = place.clock
        self._requests_before = place.folder.session.requests

    def run(self, audience_storage_id: str | None, planner: Callable[[Place, Export], Plan]) -> ExportReport:
        self._record.run(
            audience_storage_id=audience_storage_id,
            mode="undo" if self._undoes else self._export.mode,
            undoes=self._undoes,
            began_at=naive(self._clock()),
            ended_at=None,
            verdict="running",
        )
        try:
            plan = planner(self._place, self._export)
        except (IContactError, PlanError) as error:
            self._end("failed", str(error))
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
                self._record.applied(plan, self._clock())
        except (IContactError, PlanError) as error:
            failure = error
        report = self._report(applied)
        self._end("done" if failure is None else "failed", None if failure is None else str(failure), report)
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
        self._end("failed", "somebody stopped it")

    def _stopped(self, applied: _Application, why: str) -> ExportError:
        report = self._report(applied)
        self._end("stopped", why, report)
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

    def _end(self, verdict: str, reason: str | None, report: ExportReport | None = None) -> None:
        counts = (
            {"requests": self._place.folder.session.requests - self._requests_before}
            if report is None
            else {
                "added": report.added,
                "removed": report.removed,
                "already": report.already,
                "skipped": sum(report.skipped.values()),
                "refused": sum(report.refused.values()),
                "failed": sum(report.failed.values()),
                "remaining": report.remaining,
                "list_size_after": report.list_size_after,
                "requests": report.requests,
            }
        )
        self._record.run(ended_at=naive(self._clock()), verdict=verdict, reason=reason, **counts)


def _subscribe(folder: Folder, list_id: str, permits: Sequence[Permit], now: datetime) -> SubscribeReply:
    """The one place where people are subscribed to a list."""
    for permit in permits:
        if not isinstance(permit, Permit) or permit.list_id != list_id or not permit.fresh(now):
            raise TypeError(f"without a fresh permit for the list {list_id} nobody is subscribed to it")
    return folder.subscribe(list_id, [permit.contact_id for permit in permits])


def _take_off(folder: Folder, permit: RemovalPermit, now: datetime) -> Row:
    """The one place where people are taken off a list: moved to another, or unsubscribed."""
    if not isinstance(permit, RemovalPermit) or not permit.fresh(now):
        raise TypeError("without a fresh permit nobody is taken off a list")
    if permit.onto is None:
        return folder.unsubscribe(permit.list_id, permit.contact_id)
    return folder.move_subscription(permit.list_id, permit.contact_id, permit.onto.list_id)


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
        self._not_normal = {id_ for id_, status in plan.live.statuses.items() if status != "normal"}
        self._size_before = plan.live.size
        self._size_after: int | None = None
        self._outcomes: dict[tuple[str | None, str | None, str], Outcome] = {}
        self._unsaved: list[Outcome] = []
        self._intended: set[tuple[str, str]] = set()
        self._doubtful: set[tuple[str, str]] = set()
        self._silent: list[Permit] = []
        self._again: dict[str, Contact | None] = {}
        self._quiet_until = plan.quiet_until

    def note_plan(self) -> None:
        """Record the plan: those who are on the list already, those who may not be written to, those left out."""
        plan, list_id = self.plan, self._live.list_id
        for contact_id in plan.already:
            self._note(Outcome(contact_id, "subscribe", list_id, "already"))
        for denial in plan.denials:
            item = Outcome(denial.contact_id, "subscribe", list_id, "skipped", reason=denial.reason)
            self._note(replace(item, evidence=denial.evidence))
        for member_id, reason in {**plan.unmatched, **plan.left_out}.items():
            there = member_id if self._export.folder is None else None
            self._note(Outcome(there, "subscribe", list_id, "skipped", reason=reason, member_id=member_id))
        for denied in plan.denied_removals:
            self._note(
                Outcome(
                    denied.denial.contact_id,
                    "unsubscribe" if denied.to_list_id is None else "move",
                    denied.list_id,
                    "skipped",
                    to_list_id=denied.to_list_id,
                    reason=denied.denial.reason,
                    evidence=denied.denial.evidence,
                )
            )
        self._record.plan(plan, self._unsaved, self._compared_at)
        self._unsaved.clear()

    def pretend(self) -> None:
        """Record whom a run that writes would subscribe."""
        for item in _planned(self.plan):
            self._note(item)
        self._save()
        self._size_after = self._live.size

    def write(self) -> None:
        """Subscribe and remove everybody with a permit, batch by batch, and compare with the list afterwards."""
        try:
            for permits in _batches(self.plan.additions):
                if self._quiet():
                    break
                self._intended.clear()
                self._add(permits)
            for removals in _batches(self.plan.removals):
                if self._quiet():
                    break
                self._intended.clear()
                self._remove(removals)
        finally:
            self._withdraw()
            self._save()
        self._prove()

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
                item = self._outcomes[_key(Outcome(permit.contact_id, "subscribe", permit.list_id, ""))]
                self._note(replace(item, outcome="failed"))
            raise rejections[-1]

    def _post(self, batch: Sequence[Permit], *, lost_before: bool = False) -> list[Rejected]:
        """Subscribe up to 100 people and note what became of each; returns the rejections of single people."""
        self._intend(Outcome(permit.contact_id, "subscribe", permit.list_id, "intended") for permit in batch)
        # Right before the request: recording may have had to wait for the database.
        permits = self._fresh(batch)
        if not permits:
            return []
        try:
            with self._request((permit.contact_id, "subscribe") for permit in permits):
                reply = _subscribe(self._folder, self._live.list_id, permits, self._clock())
        except Rejected as error:
            if len(permits) > 1:
                # One bad row may fail a whole batch: halve it until the row is found.
                middle = len(permits) // 2
                return [*self._post(permits[:middle]), *self._post(permits[middle:])]
            self._note(self._rejected(Outcome(permits[0].contact_id, "subscribe", permits[0].list_id, ""), error))
            return [error]
        except UnknownOutcome:
            missing = self._found_missing(permits)
            if lost_before and missing:
                raise
            return self._post(missing, lost_before=True)
        self._note_reply(permits, reply)
        return []

    def _fresh(self, permits: Sequence[Permit]) -> list[Permit]:
        """The permits, those based on old contact statuses given anew or withdrawn."""
        now = self._clock()
        contacts = self._fresh_contacts([permit for permit in permits if not permit.fresh(now)], now)
        return self._decided(
            (permit, _anew(permit.evidence, contacts[permit.contact_id], now))
            if permit.contact_id in contacts
            else (permit, permit.evidence)
            for permit in permits
        )

    def _fresh_contacts(self, old: Sequence[Permit], now: datetime) -> dict[str, Contact | None]:
        """The contacts of permits that are too old, read within the last ten minutes; None: there is no such one."""
        ids = [permit.contact_id for permit in old]
        stale = [id_ for id_ in ids if (known := self._again.get(id_)) is None or not is_fresh(known.read_at, now)]
        if stale:
            self._again |= dict.fromkeys(stale) | self.plan.reader.read_again(stale, self._not_done())
        return {contact_id: self._again[contact_id] for contact_id in ids}

    def _not_done(self) -> list[str]:
        done = {(item.contact_id, item.action) for item in self._outcomes.values()}
        to_do = [(permit.contact_id, "subscribe") for permit in self.plan.additions]
        to_do += [(permit.contact_id, "move") for permit in self.plan.removals if permit.onto is not None]
        return [contact_id for contact_id, action in to_do if (contact_id, action) not in done]

    def _found_missing(self, permits: Sequence[Permit]) -> list[Permit]:
        """After a lost answer: note who is on the list; returns the others, as far as they may still go there."""
        pause()
        # Whole: in a list that is not shown in the order of its growth, new people may stand anywhere.
        self._live.read(self._folder)
        missing = []
        for permit in permits:
            status = self._live.statuses.get(permit.contact_id, Subscription.ABSENT)
            if status == "normal":
                reason = "iContact's answer was lost; the list holds it"
                self._note(Outcome(permit.contact_id, "subscribe", permit.list_id, "added", reason=reason))
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
                item = Outcome(permit.contact_id, "subscribe", permit.list_id, "skipped", reason=decision.reason)
                self._note(replace(item, evidence=decision.evidence))
        return permits

    def _note_reply(self, permits: Sequence[Permit], reply: SubscribeReply) -> None:
        """A 200 may hold refusals: only a row of this list that came back as `normal` is a success."""
        rows = {subscriber(row): row for row in reply.rows if as_id(row.get("listId")) in (None, self._live.list_id)}
        alone = sum(permit.contact_id not in rows for permit in permits) == 1
        for permit in permits:
            row, item = rows.get(permit.contact_id), Outcome(permit.contact_id, "subscribe", permit.list_id, "failed")
            if row is None:
                about = [text for text in reply.warnings if re.search(rf"\b{re.escape(permit.contact_id)}\b", text)]
                words = " ".join(about or reply.warnings)
                if not words:
                    # Nothing was said of this person, as if the answer was lost: the list will tell.
                    self._silent.append(permit)
                    continue
                refused = bool(about or alone) and speaks_of_consent(words)
                self._note(
                    replace(
                        item,
                        outcome="refused" if refused else "failed",
                        reason=_NOT_CONFIRMED,
                        words=_cut(words),
                    )
                )
            elif row.get("status") == "normal":
                self._note(replace(item, outcome="added"))
            else:
                words = as_text(row.get("status")) or ""
                self._note(replace(item, reason="iContact gave another status than normal", words=_cut(words)))

    # Removing

    def _remove(self, batch: Sequence[RemovalPermit]) -> None:
        self._intend(_removal(permit, "intended") for permit in batch)
        rejected: list[Rejected] = []
        for number, permit in enumerate(batch, start=1):
            error = self._take_off(permit)
            rejected += [] if error is None else [error]
            if len(rejected) == number == _SINGLY_REJECTED:
                raise rejected[-1]

    def _fresh_removals(self, permits: Sequence[RemovalPermit]) -> list[RemovalPermit]:
        """The permits, those that move somebody by an old contact status given anew or withdrawn."""
        now = self._clock()
        contacts = self._fresh_contacts(
            [permit.onto for permit in permits if permit.onto is not None and not permit.fresh(now)], now
        )
        fresh = []
        for permit in permits:
            if permit.onto is None or permit.contact_id not in contacts:
                fresh.append(permit)
                continue
            now_known = _anew(permit.onto.evidence, contacts[permit.contact_id], now)
            onto = decide(permit.contact_id, permit.onto.list_id, now_known)
            decision = decide_removal(permit.contact_id, permit.list_id, replace(permit.evidence, onto=onto))
            if isinstance(decision, RemovalPermit):
                fresh.append(decision)
            else:
                item = _removal(permit, "skipped")
                self._note(replace(item, reason=decision.reason, evidence=decision.evidence))
        return fresh

    def _take_off(self, permit: RemovalPermit, *, lost_before: bool = False) -> Rejected | None:
        """Take one person off a list and note what became of it; returns the rejection, if it was one."""
        done = "unsubscribed" if permit.onto is None else "moved"
        # A batch of removals is many requests: the last of them may be late.
        fresh = self._fresh_removals([permit])
        if not fresh:
            return None
        [permit] = fresh
        try:
            with self._request([(permit.contact_id, _removal(permit, "").action)]):
                row = _take_off(self._folder, permit, self._clock())
        except Unconfirmed as error:
            pause()
            if self._is_off(permit):
                self._note(
                    replace(_removal(permit, done), reason="the list shows it, though iContact did not confirm it")
                )
                return None
            self._note(replace(_removal(permit, "failed"), reason=_NOT_CONFIRMED))
            return error
        except Rejected as error:
            self._note(self._rejected(_removal(permit, ""), error))
            return error
        except NotFound as error:
            self._note(replace(_removal(permit, "failed"), reason="is no longer on the list", words=_cut(str(error))))
            return None
        except UnknownOutcome:
            pause()
            if self._is_off(permit):
                reason = "iContact's answer was lost; the list no longer holds it"
                self._note(replace(_removal(permit, done), reason=reason))
                return None
            if lost_before:
                raise
            return self._take_off(permit, lost_before=True)
        there = as_text(row.get("status")) if permit.onto is None else as_id(row.get("listId"))
        if there == ("unsubscribed" if permit.onto is None else permit.onto.list_id):
            self._note(_removal(permit, done))
        else:
            self._note(replace(_removal(permit, "failed"), reason=_NOT_CONFIRMED, words=_cut(there or "")))
        return None

    def _is_off(self, permit: RemovalPermit) -> bool:
        """Whether a removal had its effect, by the single subscriptions."""
        row = self._folder.subscription(permit.list_id, permit.contact_id)
        status = as_text(row.get("status")) if row is not None else None
        if permit.onto is None:
            return status == "unsubscribed"
        there = self._folder.subscription(permit.onto.list_id, permit.contact_id)
        return status != "normal" and there is not None and there.get("status") == "normal"

    @staticmethod
    def _rejected(item: Outcome, error: Rejected) -> Outcome:
        words = _cut(str(error))
        outcome = "refused" if speaks_of_consent(str(error)) else "failed"
        return replace(item, outcome=outcome, reason="iContact rejected the request", words=words)

    # Proving

    def _prove(self) -> None:
        """Compare what iContact said with what the lists hold now."""
        for permit in self._silent:
            item = Outcome(permit.contact_id, "subscribe", permit.list_id, "failed", reason=_NOT_CONFIRMED)
            self._note(item)
        said = [item for item in self._outcomes.values() if item.outcome in (*DONE, "refused", "failed")]
        removed = [item for item in said if item.action != "subscribe"]
        if said:
            lists = {self._live.list_id: self._live, **self.plan.others}
            for on in lists.values():
                # What is added stands at the end of a list; what is removed may have stood anywhere.
                on.read(self._folder, whole=bool(removed))
            if any(item.outcome in DONE and not _shows(item, lists) for item in said):
                pause()
                for on in lists.values():
                    on.read(self._folder)
            for item in said:
                self._compare(item, lists)
        self._save()
        self._size_after = self._live.size

    def _compare(self, item: Outcome, lists: Mapping[str, LiveList]) -> None:
        shows = _shows(item, lists)
        if item.outcome in DONE and not shows:
            on = lists[item.list_id]
            status = on.statuses.get(item.contact_id or "", Subscription.ABSENT)
            if item.action == "subscribe" and status is not Subscription.ABSENT:
                reason = "iContact confirmed it, but the list shows another status than normal"
                self._note(replace(item, outcome="failed", reason=reason, words=_cut(str(status))))
            else:
                reason = "iContact confirmed it, but the list does not show it"
                self._note(replace(item, outcome="unconfirmed", reason=reason))
        elif item.action == "subscribe" and item.outcome in ("refused", "failed") and shows:
            reason = "the list holds it, though iContact did not confirm it"
            self._note(replace(item, outcome="already" if item.words else "added", reason=reason))

    # Recording

    def _note(self, outcome: Outcome) -> None:
        self._outcomes[_key(outcome)] = outcome
        self._unsaved.append(outcome)

    def _intend(self, outcomes: Iterable[Outcome]) -> None:
        """Record what is about to be written, together with what is known so far, before the request goes out."""
        new = [item for item in outcomes if (item.contact_id or "", item.action) not in self._intended]
        self._intended |= {(item.contact_id or "", item.action) for item in new}
        if new:
            self._record.outcomes(self.plan, [*self._unsaved, *new], self._clock())
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
        except (UnknownOutcome, Unconfirmed):
            raise
        except IContactError:
            self._doubtful -= doubtful
            raise

    def _withdraw(self) -> None:
        """Take back the intents of which it is certain that nothing was written."""
        for contact_id, action in sorted(self._intended - self._doubtful):
            if (contact_id, None, action) in self._outcomes:
                continue
            self._unsaved.append(Outcome(contact_id, action, self._live.list_id, WITHDRAWN))

    def _save(self) -> None:
        self._record.outcomes(self.plan, self._unsaved, self._clock())
        self._unsaved.clear()

    # Reporting

    def report(self, requests: int) -> ExportReport:
        """The counts of what was noted so far."""
        plan, items = self.plan, list(self._outcomes.values())
        by_outcome = Counter(item.outcome for item in items)
        moved_back = sum(item.outcome == "moved" and item.to_list_id == self._live.list_id for item in items)
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
            added=by_outcome["added"] + moved_back,
            removed=by_outcome["moved"] + by_outcome["unsubscribed"] - moved_back,
            already=by_outcome["already"],
            skipped=dict(Counter(item.reason or "" for item in items if item.outcome == "skipped")),
            refused=_by_words(items, "refused"),
            failed=_by_words(items, "failed", "unconfirmed"),
            remaining=len(undone) + len(plan.waiting),
            next_at=self._next_at(bool(undone)),
            exceeded=tuple(item.text for item in plan.exceeded),
            approved=self._approved,
            foreign=plan.foreign.text(),
            standing=0
            if self._export.foreign_changes == "keep"
            else len(plan.foreign.standing_on) + len(plan.foreign.standing_off),
            missing=missing,
            surplus=surplus,
            violations=self._violations(),
            list_size_before=self._size_before,
            list_size_after=self._size_after,
            compared_at=self._compared_at,
            requests=requests,
            preview=self._preview(items, undone),
        )

    @staticmethod
    def _preview(items: Sequence[Outcome], undone: Sequence[Outcome]) -> tuple[tuple[str, str, str, str], ...]:
        """The people whom it is worth looking at first."""
        chosen = sorted([*items, *undone], key=lambda item: _PREVIEW_ORDER.index(item.outcome))[:_PREVIEWED]
        return tuple(
            (item.contact_id or f"member {item.member_id}", item.action, item.outcome, item.reason or "")
            for item in chosen
        )

    def _mismatch(self) -> tuple[int, int]:
        """How many should be on the list and are not, and should not be and are, leaving out whom iContact refused."""
        refused = {
            (item.contact_id, item.action) for item in self._outcomes.values() if item.outcome in ("refused", "skipped")
        }
        wanted = [*(permit.contact_id for permit in self.plan.additions), *self.plan.waiting]
        missing = sum(not self._live.holds(id_) for id_ in wanted if (id_, "subscribe") not in refused)
        unwanted = [_removal(permit, "") for permit in self.plan.removals if permit.list_id == self._live.list_id]
        surplus = [item.contact_id or "" for item in unwanted if (item.contact_id, item.action) not in refused]
        return missing, sum(self._live.holds(id_) for id_ in surplus)

    def _next_at(self, undone: bool) -> datetime | None:
        """When what remains goes on; None: nothing remains, or with the next run."""
        waits = [self._quiet_until] if undone and self._quiet_until is not None else []
        if self.plan.waiting:
            now = self._clock()
            with self._place.warehouse.read() as connection:
                memory = read_memory(connection, self._place.schema, self._export.name, self._live.list_id, now)
            waits += [at for at in [next_allowance(self._export.pace, memory.added_at, now)] if at is not None]
        return max(waits, default=None)

    def _violations(self) -> tuple[str, ...]:
        """Those put on the list by this run against whom the list as it was, or the stored history, speaks."""
        added = {item.contact_id for item in self._outcomes.values() if item.outcome == "added" and item.contact_id}
        with self._place.warehouse.read() as connection:
            schema = self._place.folder_schema
            history = read_history(connection, schema, added, self._live.list_id) if schema else History()
        denied = {denial.contact_id for denial in self.plan.denials}
        against = history.seen_unsubscribed | history.unsubscribed_by_message | history.erased | denied
        against |= self._not_normal
        return tuple(sorted(id_ for id_ in added if id_ in against))


def _anew(evidence: Evidence, contact: Contact | None, now: datetime) -> Evidence:
    """The evidence with what was read of the contact just now."""
    if contact is None:
        return replace(evidence, contact_status=None, read_at=now, exclusion=None)
    return replace(evidence, contact_status=contact.status, read_at=contact.read_at, exclusion=contact.exclusion)


def _removal(permit: RemovalPermit, outcome: str) -> Outcome:
    if permit.onto is None:
        return Outcome(permit.contact_id, "unsubscribe", permit.list_id, outcome)
    return Outcome(permit.contact_id, "move", permit.list_id, outcome, to_list_id=permit.onto.list_id)


def _planned(plan: Plan) -> Iterator[Outcome]:
    """What a plan is to do, in its order."""
    for permit in plan.additions:
        yield Outcome(permit.contact_id, "subscribe", permit.list_id, "planned")
    for removal in plan.removals:
        yield _removal(removal, "planned")


def _shows(item: Outcome, lists: Mapping[str, LiveList]) -> bool:
    """Whether the lists show that an action had its effect."""
    contact_id = item.contact_id or ""
    if item.action == "subscribe":
        return lists[item.list_id].holds(contact_id)
    if item.action == "unsubscribe":
        return lists[item.list_id].statuses.get(contact_id) == "unsubscribed"
    return not lists[item.list_id].holds(contact_id) and lists[item.to_list_id or ""].holds(contact_id)


def _key(outcome: Outcome) -> tuple[str | None, str | None, str]:
    return (outcome.contact_id, outcome.member_id, outcome.action)


def _by_words(items: Iterable[Outcome], *outcomes: str) -> dict[str, int]:
    return dict(
        Counter(re.sub(r"\d+", "N", item.words or item.reason or "") for item in items if item.outcome in outcomes)
    )


def _batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _cut(words: str) -> str | None:
    return words[:_WORDS_LENGTH] or None
