"""What a run knows so far of each person: kept in memory for the report, and written to the journal in time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

from icontact_assets.exports.journal import Journal
from icontact_assets.exports.live import Clock
from icontact_assets.exports.outcomes import JournalEntry, Outcome, removal_entry
from icontact_assets.exports.plan import Plan
from icontact_assets.icontact.errors import IContactError, Rejected, UnknownOutcome

_Key = str | tuple[str | None, str | None, str]


class Stale(Exception):
    """A permit grew too old while its request waited to be sent. Nothing was sent."""


class Progress:
    """What became of each person so far in one run."""

    def __init__(self, journal: Journal, plan: Plan, clock: Clock) -> None:
        self._journal = journal
        self._plan = plan
        self._clock = clock
        self._entries: dict[_Key, JournalEntry] = {}
        self._unsaved: list[JournalEntry] = []
        self._intended: set[tuple[str, str]] = set()
        """Contact id and action of the intents of the present batch that are in the journal."""
        self._doubtful: set[tuple[str, str]] = set()
        """Those of them that may have reached iContact."""
        self._begun = False

    @property
    def entries(self) -> Collection[JournalEntry]:
        """The last entry of each person and action, without those who are on the list and need nothing."""
        return self._entries.values()

    def of(self, contact_id: str) -> JournalEntry | None:
        """What became of somebody who is to be subscribed. None: nothing yet."""
        return self._entries.get(contact_id)

    def has(self, entry: JournalEntry) -> bool:
        """Whether something became of this person and action already."""
        return _key(entry) in self._entries

    def note(self, entry: JournalEntry) -> None:
        """Keep an entry. It is written to the journal with the next intents, or by `save`."""
        self._entries[_key(entry)] = entry
        self._unsaved.append(entry)

    def note_plan(self, *, same_folder: bool, at: datetime) -> None:
        """Write the plan to the journal, with the people for whom there is nothing to do. `same_folder`: the audience
        is of the list's client folder."""
        for entry in _not_written(self._plan, same_folder=same_folder):
            self.note(entry)
        # Of those who are on the list no entry is kept: there may be very many.
        self._journal.plan(self._plan, self._unsaved, at)
        self._unsaved.clear()

    def next_batch(self) -> None:
        """Begin a batch. Whatever was intended or doubtful before has an outcome by now."""
        self._intended.clear()
        self._doubtful.clear()

    def intend(self, entries: Iterable[JournalEntry]) -> None:
        """Write intents to the journal before their request is sent, together with what is known so far."""
        new = [entry for entry in entries if (entry.contact_id or "", entry.action) not in self._intended]
        self._intended |= {(entry.contact_id or "", entry.action) for entry in new}
        if new:
            self._journal.entries(self._plan, [*self._unsaved, *new], self._clock(), first=not self._begun)
            self._begun = True
            self._unsaved.clear()

    @contextmanager
    def request(self, keys: Iterable[tuple[str, str]]) -> Iterator[None]:
        """Around a write. It is doubtful from then on, unless there is an answer, or an error that says that nothing
        was written. `keys`: contact id and action of each person in it."""
        # What was doubtful before this request stays so, whatever becomes of it.
        doubtful = set(keys) - self._doubtful
        self._doubtful |= doubtful
        try:
            yield
        except (IContactError, Stale) as error:
            unknown = isinstance(error, UnknownOutcome) or (isinstance(error, Rejected) and not error.without_effect)
            if not unknown:
                self._doubtful -= doubtful
            raise

    def withdraw(self) -> None:
        """Take back the intents of which it is certain that they were not sent."""
        for contact_id, action in sorted(self._intended - self._doubtful):
            entry = JournalEntry(contact_id, action, self._plan.live.list_id, Outcome.WITHDRAWN)
            if not self.has(entry):
                self._unsaved.append(entry)

    def save(self) -> None:
        """Write to the journal what is not there yet."""
        self._journal.entries(self._plan, self._unsaved, self._clock())
        self._unsaved.clear()

    def undone(self) -> list[JournalEntry]:
        """What was planned and nothing became of so far."""
        return [entry for entry in planned(self._plan) if not self.has(entry)]

    def removals_left(self) -> int:
        """How many removals are still to be done."""
        return sum(not self.has(removal_entry(permit, Outcome.PLANNED)) for permit in self._plan.removals)

    def asked_again(self) -> list[str]:
        """The contacts whose status still matters to this run: to be added or moved, and nothing became of it yet."""
        done = {(entry.contact_id, entry.action) for entry in self._entries.values()}
        to_do = [(permit.contact_id, "subscribe") for permit in self._plan.additions]
        to_do += [(permit.contact_id, "move") for permit in self._plan.removals if permit.onto is not None]
        return [contact_id for contact_id, action in to_do if (contact_id, action) not in done]


def planned(plan: Plan) -> Iterator[JournalEntry]:
    """What a plan is to do, in its order."""
    for permit in plan.additions:
        yield JournalEntry(permit.contact_id, "subscribe", permit.list_id, Outcome.PLANNED)
    for removal in plan.removals:
        yield removal_entry(removal, Outcome.PLANNED)


def _not_written(plan: Plan, *, same_folder: bool) -> Iterator[JournalEntry]:
    """The people who may not be written to, and those who are left out."""
    list_id = plan.live.list_id
    for denial in plan.denials:
        yield JournalEntry(
            denial.contact_id,
            "subscribe",
            list_id,
            Outcome.SKIPPED,
            reason=denial.reason,
            evidence=denial.evidence,
        )
    for member_id, reason in {**plan.unmatched, **plan.left_out}.items():
        contact_id = member_id if same_folder else None
        yield JournalEntry(contact_id, "subscribe", list_id, Outcome.SKIPPED, reason=reason, member_id=member_id)
    for denied in plan.denied_removals:
        yield JournalEntry(
            denied.denial.contact_id,
            "unsubscribe" if denied.to_list_id is None else "move",
            denied.list_id,
            Outcome.SKIPPED,
            to_list_id=denied.to_list_id,
            reason=denied.denial.reason,
            evidence=denied.denial.evidence,
        )


def _key(entry: JournalEntry) -> _Key:
    """What an entry is kept under. Of those who are subscribed there may be very many: it is the contact id alone."""
    if entry.action == "subscribe" and entry.contact_id is not None and entry.member_id is None:
        return entry.contact_id
    return (entry.contact_id, entry.member_id, entry.action)
