"""What a run of an export reports: counts, what the read-back shows, and the people worth looking at."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from icontact_assets.exports.consent import Permit
from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.history import read_opt_outs
from icontact_assets.exports.memory import read_memory
from icontact_assets.exports.outcomes import DONE, JournalEntry, Outcome, removal_entry
from icontact_assets.exports.pace import next_allowance
from icontact_assets.exports.plan import Plan
from icontact_assets.exports.progress import Progress
from icontact_assets.settings.models import Export

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
_ON_PURPOSE = (Outcome.REFUSED, Outcome.SKIPPED)


@dataclass(frozen=True)
class ExportReport:
    """What a run of an export did, or would do. Numbers count people."""

    list_id: str
    list_name: str
    mode: str
    audience_version: str
    plan_hash: str
    members: int
    """Size of the audience."""
    planned: int
    """To be added or removed."""
    added: int
    """Subscribed, or moved back by an undo."""
    removed: int
    """Moved away or unsubscribed."""
    already_subscribed: int
    skipped: dict[str, int]
    """Reason to how many may not be written to for it, or are left out."""
    refused: dict[str, int]
    """What iContact said to how many it refused. Numbers are replaced by N, so that equal refusals count together."""
    failed: dict[str, int]
    """What iContact said, or why it failed, to how many failed or are unconfirmed. Numbers are replaced by N."""
    remaining: int
    """Planned and not done, or waiting for the pace."""
    next_at: datetime | None
    """When what remains is retried (aware). None: with the next run."""
    exceeded: tuple[str, ...]
    """The limits that the plan exceeds."""
    approved: bool
    """Whether the plan may exceed them."""
    external_changes: str
    """What others changed on the list, as a sentence."""
    external_remaining: int
    """How many external changes the list still has. None count if the settings keep them."""
    missing: int
    """Should be on the list and are not."""
    surplus: int
    """Should not be on the list and are."""
    violations: tuple[str, ...]
    """Contacts put on the list by this run although what was read back or stored speaks against it."""
    list_size_before: int
    """`normal` subscriptions before."""
    list_size_after: int | None
    """`normal` subscriptions after. None: the list was not read again."""
    compared_at: datetime
    requests: int
    preview: tuple[tuple[str, str, str, str], ...]
    """Contact id, action, outcome and reason of the people worth looking at first."""

    @property
    def dry(self) -> bool:
        """Whether the run only said what it would do."""
        return self.mode == "dry_run"

    @property
    def result(self) -> str:
        """What was done, in one sentence."""
        if self.dry:
            return f"A dry run: nothing was written. {self.planned} people would be added or removed."
        return f"{self.added} people were added and {self.removed} removed. {self.remaining} remain."


class Reporter:
    """Makes the report of a run. It is made before anything is written, and remembers the list as it was then."""

    def __init__(
        self, context: ExportContext, export: Export, plan: Plan, progress: Progress, *, approved: bool
    ) -> None:
        self.compared_at = context.clock()
        self._context = context
        self._export = export
        self._plan = plan
        self._progress = progress
        self._approved = approved
        self._size_before = plan.live.size
        self._not_normal = {id_ for id_, status in plan.live.statuses.items() if status != "normal"}

    def report(self, *, requests: int, size_after: int | None, quiet_until: datetime | None) -> ExportReport:
        """The report of what is known by now. `quiet_until`: the end of the quiet hours that the run came upon."""
        plan, entries = self._plan, list(self._progress.entries)
        by_outcome = Counter(entry.outcome for entry in entries)
        moved_back = sum(entry.outcome == Outcome.MOVED and entry.to_list_id == plan.live.list_id for entry in entries)
        undone, waiting = self._progress.undone(), self._waiting()
        missing, surplus = self._mismatch(entries)
        already = (
            JournalEntry(contact_id, "subscribe", plan.live.list_id, Outcome.ALREADY_SUBSCRIBED)
            for contact_id in plan.already[:_PREVIEWED]
        )
        keeps = self._export.external_changes == "keep"
        return ExportReport(
            list_id=plan.live.list_id,
            list_name=plan.live.name,
            mode=plan.mode,
            audience_version=plan.audience_version,
            plan_hash=plan.hash,
            members=plan.members,
            planned=len(plan.additions) + len(plan.removals),
            added=by_outcome[Outcome.ADDED] + moved_back,
            removed=by_outcome[Outcome.MOVED] + by_outcome[Outcome.UNSUBSCRIBED] - moved_back,
            already_subscribed=len(plan.already) + by_outcome[Outcome.ALREADY_SUBSCRIBED],
            skipped=dict(Counter(entry.reason or "" for entry in entries if entry.outcome == Outcome.SKIPPED)),
            refused=_by_response(entries, Outcome.REFUSED),
            failed=_by_response(entries, Outcome.FAILED, Outcome.UNCONFIRMED),
            remaining=len(undone) + len(waiting),
            next_at=self._next_at(quiet_until if undone else None, waiting),
            exceeded=tuple(item.text for item in plan.exceeded),
            approved=self._approved,
            external_changes=plan.external.text(),
            external_remaining=0 if keeps else len(plan.external.still_on) + len(plan.external.still_off),
            missing=missing,
            surplus=surplus,
            violations=self._violations(entries),
            list_size_before=self._size_before,
            list_size_after=size_after,
            compared_at=self.compared_at,
            requests=requests,
            preview=_preview([*entries, *already, *undone]),
        )

    def _waiting(self) -> list[Permit]:
        """Those who wait for the pace."""
        return [permit for permit in self._plan.waiting if self._progress.of(permit.contact_id) is None]

    def _mismatch(self, entries: Sequence[JournalEntry]) -> tuple[int, int]:
        """How many should be on the list and are not, and should not be and are. People who were refused or
        skipped are left out."""
        live = self._plan.live
        left_out = {(entry.contact_id, entry.action) for entry in entries if entry.outcome in _ON_PURPOSE}
        wanted = [permit.contact_id for permit in (*self._plan.additions, *self._plan.waiting)]
        missing = sum(not live.holds(id_) for id_ in wanted if (id_, "subscribe") not in left_out)
        unwanted = [
            (permit.contact_id, removal_entry(permit, Outcome.PLANNED).action)
            for permit in self._plan.removals
            if permit.list_id == live.list_id
        ]
        return missing, sum(live.holds(id_) for id_, action in unwanted if (id_, action) not in left_out)

    def _next_at(self, quiet_until: datetime | None, waiting: Sequence[Permit]) -> datetime | None:
        """When what remains is retried. None: nothing remains, or with the next run."""
        waits = [quiet_until] if quiet_until is not None else []
        if waiting:
            now, context = self._context.clock(), self._context
            with context.warehouse.read() as connection:
                memory = read_memory(connection, self._export.name, self._plan.live.list_id, now)
            waits += [at for at in [next_allowance(self._export.pace, memory.added_at, now)] if at is not None]
        return max(waits, default=None)

    def _violations(self, entries: Sequence[JournalEntry]) -> tuple[str, ...]:
        """People put on the list by this run who may not be mailed, by the list as it was or by the stored history."""
        added = {entry.contact_id for entry in entries if entry.outcome == Outcome.ADDED and entry.contact_id}
        plan, context = self._plan, self._context
        if added:
            # The history is read again: what this run saw, or another process stored meanwhile, counts.
            with context.warehouse.read() as connection:
                plan.knowledge.add(read_opt_outs(connection, context.shelf, context.records, [plan.live.list_id]))
        denied = {denial.contact_id for denial in plan.denials} | self._not_normal
        now = context.clock()

        def against(contact_id: str) -> bool:
            known = plan.knowledge.evidence(contact_id, plan.contacts.get(contact_id), plan.live, now)
            return (
                known.seen_unsubscribed is not False
                or known.unsubscribed_by_message is not False
                or known.do_not_contact_before is not False
                or known.erased is not False
            )

        return tuple(sorted(id_ for id_ in added if id_ in denied or against(id_)))


def _preview(entries: Iterable[JournalEntry]) -> tuple[tuple[str, str, str, str], ...]:
    """The people worth looking at first."""
    chosen = sorted(entries, key=lambda entry: _PREVIEW_ORDER.index(entry.outcome))[:_PREVIEWED]
    return tuple(
        (entry.contact_id or f"member {entry.member_id}", entry.action, entry.outcome, entry.reason or "")
        for entry in chosen
    )


def _by_response(entries: Iterable[JournalEntry], *outcomes: Outcome) -> dict[str, int]:
    responses = (entry.response or entry.reason or "" for entry in entries if entry.outcome in outcomes)
    return dict(Counter(re.sub(r"\d+", "N", response) for response in responses))
