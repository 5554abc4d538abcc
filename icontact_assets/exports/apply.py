"""Applies a plan: writes in batches, and finds out what iContact really did. Nothing else writes to lists
that hold people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from icontact_assets.exports import reply as said
from icontact_assets.exports.consent import Permit, RemovalPermit, Subscription, speaks_of_presence
from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.live import Clock, LiveList, PlanError, pause
from icontact_assets.exports.outcomes import DONE, JournalEntry, Outcome, removal_entry
from icontact_assets.exports.pace import quiet_until
from icontact_assets.exports.plan import Plan
from icontact_assets.exports.progress import Progress, Stale, planned
from icontact_assets.exports.recheck import Recheck
from icontact_assets.icontact.errors import NotFound, Rejected, Unconfirmed, UnknownOutcome
from icontact_assets.icontact.folder import Folder, SubscribeReply
from icontact_assets.icontact.listing import Row
from icontact_assets.icontact.values import as_text
from icontact_assets.settings.models import Pace

BATCH = 100
"""People in one POST. iContact names no limit (API reference, 6.2)."""

_Item = TypeVar("_Item")
_NOT_ADDED = (Outcome.FAILED, Outcome.REFUSED, Outcome.SKIPPED)
_SENT = (*DONE, Outcome.UNCONFIRMED, Outcome.FAILED, Outcome.REFUSED)
_DONE_BY = {"subscribe": Outcome.ADDED, "move": Outcome.MOVED, "unsubscribe": Outcome.UNSUBSCRIBED}
_TRIES = 3
"""How often statuses are read again for one write before its request is ready to be sent."""
_SINGLY_REJECTED = 5
"""So many removals rejected one after the other, and none done: the request itself is at fault."""


def _subscribe(folder: Folder, list_id: str, permits: Sequence[Permit], clock: Clock) -> SubscribeReply:
    """The one place where people are subscribed to a list. Raises Stale, unsent, unless every permit is fresh at each
    try."""

    def check() -> None:
        now = clock()
        if not all(permit.fresh(now) for permit in permits):
            raise Stale

    for permit in permits:
        if not isinstance(permit, Permit) or permit.list_id != list_id:
            raise TypeError(f"without a permit for the list {list_id} nobody is subscribed to it")
    return folder.subscribe(list_id, [permit.contact_id for permit in permits], check)


def _remove(folder: Folder, permit: RemovalPermit, clock: Clock) -> Row:
    """The one place where people are removed from a list: moved to another, or unsubscribed. Raises Stale as above."""

    def check() -> None:
        if not permit.fresh(clock()):
            raise Stale

    if not isinstance(permit, RemovalPermit):
        raise TypeError("without a permit nobody is removed from a list")
    if permit.onto is None:
        return folder.unsubscribe(permit.list_id, permit.contact_id, check)
    return folder.move_subscription(permit.list_id, permit.contact_id, permit.onto.list_id, check)


class Application:
    """A plan while it is applied."""

    def __init__(self, context: ExportContext, pace: Pace, plan: Plan, progress: Progress) -> None:
        self.size_after: int | None = None
        """`normal` subscriptions on the list after the writes. None: it was not read again."""
        self.quiet_until = plan.quiet_until
        """The end of the quiet hours that the run came upon."""
        self._context = context
        self._pace = pace
        self._plan = plan
        self._progress = progress
        self._folder = context.folder
        self._clock = context.clock
        self._live = plan.live
        self._lists = {plan.live.list_id: plan.live, **plan.others}
        self._recheck = Recheck(context, plan, self._lists, progress)

    def pretend(self) -> None:
        """Note what a run that writes would send."""
        for entry in planned(self._plan):
            self._progress.note(entry)
        self._progress.save()
        self.size_after = self._live.size

    def write(self) -> None:
        """Subscribe and remove everybody with a permit, batch by batch, and compare with the list afterwards."""
        try:
            for permits in self._next_in_line():
                if self._quiet():
                    break
                self._progress.next_batch()
                self._add_batch(permits)
            for removals in _batches(self._plan.removals):
                if self._quiet():
                    break
                self._progress.next_batch()
                self._remove_batch(removals)
        finally:
            self._progress.withdraw()
            self._progress.save()
        self._verify()

    def _next_in_line(self) -> Iterator[Sequence[Permit]]:
        """Batches of those to be added. Who could not be added costs no pace: the next in line takes the place."""
        line = [*self._plan.additions, *self._plan.waiting]
        tried, places = 0, len(self._plan.additions)
        while batch := line[tried : tried + min(BATCH, places)]:
            yield batch
            tried += len(batch)
            entries = (self._progress.of(permit.contact_id) for permit in batch)
            places -= sum(entry is None or entry.outcome not in _NOT_ADDED for entry in entries)

    def _quiet(self) -> bool:
        """Whether quiet hours have begun. An undo does not wait for them to end."""
        if self._plan.undoes is None:
            self.quiet_until = quiet_until(self._pace, self._clock())
        return self.quiet_until is not None

    # Adding

    def _add_batch(self, batch: Sequence[Permit]) -> None:
        rejections = self._post(batch)
        if len(batch) > 1 and len(rejections) == len(batch):
            # Not one person of many: the request itself is at fault, and further batches would fare no better.
            for permit in batch:
                entry = self._progress.of(permit.contact_id)
                if entry is not None:
                    self._progress.note(replace(entry, outcome=Outcome.FAILED))
            raise rejections[-1]

    def _post(self, batch: Sequence[Permit], *, lost_before: bool = False) -> list[Rejected]:
        """Subscribe up to 100 people and note what became of each. Returns the rejections of single people, but for
        refusals for consent that name the person."""
        self._progress.intend(
            JournalEntry(permit.contact_id, "subscribe", permit.list_id, Outcome.INTENDED) for permit in batch
        )
        for _ in range(_TRIES):
            # Right before the request: recording may have had to wait for the database.
            permits = self._recheck.additions(batch)
            if not permits:
                return []
            try:
                with self._progress.request((permit.contact_id, "subscribe") for permit in permits):
                    reply = _subscribe(self._folder, self._live.list_id, permits, self._clock)
            except Stale:
                continue
            except Rejected as error:
                return self._post_apart(permits, error)
            except UnknownOutcome:
                missing = self._found_missing(permits)
                if lost_before and missing:
                    raise
                return self._post(missing, lost_before=True) if missing else []
            for entry in said.added(permits, reply, self._live.list_id, self._plan.contacts):
                self._progress.note(entry)
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
            entry = JournalEntry(permit.contact_id, "subscribe", permit.list_id, Outcome.FAILED)
            entry = said.rejected(entry, error)
            self._progress.note(entry)
            about_the_person = entry.outcome == Outcome.REFUSED and said.names(str(error), permit.contact_id)
            return [] if about_the_person else [error]
        return []

    def _found_missing(self, permits: Sequence[Permit]) -> list[Permit]:
        """After a lost answer: note who is on the list. Returns the others."""
        pause()
        # Whole: in a list that is not shown in the order of its growth, new people may be anywhere.
        self._live.read(self._folder, self._clock)
        missing = []
        for permit in permits:
            if self._live.holds(permit.contact_id):
                reason = "iContact's answer was lost, but the list shows it"
                entry = JournalEntry(permit.contact_id, "subscribe", permit.list_id, Outcome.ADDED, reason=reason)
                self._progress.note(entry)
            else:
                missing.append(permit)
        return missing

    # Removing

    def _remove_batch(self, batch: Sequence[RemovalPermit]) -> None:
        self._progress.intend(removal_entry(permit, Outcome.INTENDED) for permit in batch)
        in_a_row = 0
        for permit in batch:
            error = self._remove_one(permit)
            # iContact may refuse to move somebody who is on the other list already: that is the person's own case.
            held = permit.onto is not None and self._lists[permit.onto.list_id].holds(permit.contact_id)
            in_a_row = in_a_row + 1 if error is not None and not held else 0
            if error is not None and in_a_row == _SINGLY_REJECTED:
                raise error

    def _remove_one(self, permit: RemovalPermit, *, lost_before: bool = False) -> Rejected | None:
        """Remove one person from a list and note what became of it. Returns the rejection, if it was one."""
        note = self._progress.note
        for _ in range(_TRIES):
            # A batch of removals is many requests: the last of them may be late.
            fresh = self._recheck.removal(permit)
            if fresh is None:
                return None
            permit = fresh
            try:
                with self._progress.request([(permit.contact_id, removal_entry(permit, Outcome.INTENDED).action)]):
                    row = _remove(self._folder, permit, self._clock)
            except Stale:
                continue
            except Rejected as error:
                if not error.without_effect and self._found_removed(permit, said.NOT_CONFIRMED):
                    return None
                entry = removal_entry(permit, Outcome.UNCONFIRMED)
                unsaid = isinstance(error, Unconfirmed)
                note(replace(entry, reason=said.NOT_CONFIRMED) if unsaid else said.rejected(entry, error))
                return error
            except NotFound as error:
                # The first of two requests may have done it.
                entry = removal_entry(permit, Outcome.UNCONFIRMED if lost_before else Outcome.FAILED)
                note(replace(entry, reason="is no longer on the list", response=said.cut(str(error))))
                return None
            except UnknownOutcome:
                if self._found_removed(permit, "iContact's answer was lost"):
                    return None
                if lost_before:
                    raise
                return self._remove_one(permit, lost_before=True)
            entry = said.removed(permit, row)
            if entry.outcome == Outcome.MOVED and as_text(row.get("status")) != "normal":
                # Who left the list while the move was under way carries that along.
                self._context.watch.opted_out(permit.list_id, permit.contact_id)
            note(entry)
            return None
        raise _too_slow()

    def _found_removed(self, permit: RemovalPermit, why: str) -> bool:
        """After an answer that does not tell: read the subscriptions, and note what became of the person. False: it is
        still on the list."""
        pause()
        contact_id, off = permit.contact_id, self._lists[permit.list_id]
        off.read_alone(self._folder, contact_id, self._clock)
        status, _ = off.status(contact_id)
        if status == "normal":
            return False
        if permit.onto is None:
            done = Outcome.UNSUBSCRIBED if status == "unsubscribed" else Outcome.UNCONFIRMED
            entry, reason = removal_entry(permit, done), f"{why}, but the list no longer shows the person as normal"
        elif status is not Subscription.ABSENT:
            entry = removal_entry(permit, Outcome.SKIPPED)
            reason = f"{why}, it was not done, and the person has left the list"
        else:
            onto = self._lists[permit.onto.list_id]
            onto.read_alone(self._folder, contact_id, self._clock)
            there, _ = onto.status(contact_id)
            if there is Subscription.ABSENT:
                entry, reason = removal_entry(permit, Outcome.UNCONFIRMED), f"{why}, and neither list shows the person"
            else:
                entry, reason = removal_entry(permit, Outcome.MOVED), f"{why}, but the lists show it"
        self._progress.note(replace(entry, reason=reason))
        return True

    # Verifying

    def _verify(self) -> None:
        """Compare what iContact said with what the lists hold now."""
        sent = [entry for entry in self._progress.entries if entry.outcome in _SENT]
        removed = any(entry.action != "subscribe" for entry in sent)
        if sent:
            for on in self._lists.values():
                # What is added is at the end of a list. What is removed may have been anywhere.
                on.read(self._folder, self._clock, whole=removed)
            if any(entry.outcome in (*DONE, Outcome.UNCONFIRMED) and not _shows(entry, self._lists) for entry in sent):
                # iContact may show what was written a few seconds later.
                pause()
                for on in self._lists.values():
                    on.read(self._folder, self._clock)
            for entry in sent:
                self._compare(entry)
        self._progress.save()
        self.size_after = self._live.size

    def _compare(self, entry: JournalEntry) -> None:
        shows = _shows(entry, self._lists)
        if entry.outcome in DONE and not shows:
            status = self._lists[entry.list_id].statuses.get(entry.contact_id or "", Subscription.ABSENT)
            if entry.action == "subscribe" and status is not Subscription.ABSENT:
                reason = "iContact confirmed it, but the list shows another status than normal"
                response = said.cut(str(status))
                self._progress.note(replace(entry, outcome=Outcome.FAILED, reason=reason, response=response))
            else:
                reason = "iContact confirmed it, but the list does not show it"
                self._progress.note(replace(entry, outcome=Outcome.UNCONFIRMED, reason=reason))
        elif entry.outcome not in DONE and shows:
            reason = "the list shows it, though iContact did not confirm it"
            there_before = entry.action == "subscribe" and speaks_of_presence(entry.response or "")
            outcome = Outcome.ALREADY_SUBSCRIBED if there_before else _DONE_BY[entry.action]
            self._progress.note(replace(entry, outcome=outcome, reason=reason))


def _shows(entry: JournalEntry, lists: Mapping[str, LiveList]) -> bool:
    """Whether the lists show that an action had its effect."""
    contact_id = entry.contact_id or ""
    if entry.action == "subscribe":
        return lists[entry.list_id].holds(contact_id)
    if entry.action == "unsubscribe":
        return lists[entry.list_id].statuses.get(contact_id) == "unsubscribed"
    return not lists[entry.list_id].holds(contact_id) and contact_id in lists[entry.to_list_id or ""].statuses


def _batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _too_slow() -> PlanError:
    return PlanError(
        "Statuses become older than ten minutes before the request that needs them may be sent: the request limits are "
        "too low for this export. Raise them, or slow down its pace."
    )
