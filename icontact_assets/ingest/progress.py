"""What a run over the activity of a window did: message by message while it is under way, and day by day at its end."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import date

from icontact_assets.icontact.errors import BudgetSpent, IContactError, Transient
from icontact_assets.ingest.drift import Finding
from icontact_assets.ingest.due import DayState

_FAILURES_IN_A_ROW = 10
"""So many messages without an answer, one after the other, say that iContact fails, not they: the rest waits."""


@dataclass(frozen=True)
class Day:
    """One partition after a run."""

    state: DayState
    rows: int
    """Its rows."""
    new: int
    """Those of them that this run stored."""


@dataclass
class ActivityRead:
    """What a run did."""

    messages: int = 0
    """Messages that were due."""
    ended: int = 0
    """Those of them that nothing more is done for."""
    verified_rows: int = 0
    """New rows of the listings that were verified."""
    listings: int = 0
    requests: int = 0
    new_by_day: dict[date, int] = field(default_factory=dict)
    quarantined: int = 0
    failed: dict[tuple[str, str], IContactError] = field(default_factory=dict)
    """Message id and kind to the error."""
    recorded: set[tuple[str, str]] = field(default_factory=set)
    """Those of them that the coverage has."""
    findings: list[Finding] = field(default_factory=list)
    """Fields that are new, missing or retyped, each once."""
    stopped: BudgetSpent | None = None
    """The budget that ended the run."""
    in_a_row: int = 0
    """So many messages got no usable answer last, one after the other."""
    left: int = 0
    """Messages that were not polled because of the budget, or of so many failures."""
    days: list[Day] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    """Of what several threads count."""

    @property
    def must_stop(self) -> bool:
        """Whether nothing more is to be asked for."""
        return self.stopped is not None or self.in_a_row >= _FAILURES_IN_A_ROW


@dataclass
class Reading:
    """A due message in work: its statistics, then its listings, each in any thread."""

    message_id: str
    done: ActivityRead
    """The run."""
    parts: int = 1
    """How many parts of the work have not ended."""
    failed: dict[str, IContactError] = field(default_factory=dict)
    """What could not be read, and why: kinds, and `statistics` for the poll."""
    left: bool = False
    """Something was not asked for, because the run was to stop."""

    def verified(self, rows: int) -> None:
        """A listing of it is verified, with so many new rows."""
        with self.done.lock:
            self.done.verified_rows += rows

    def part_ended(self, following: int) -> None:
        """A part of the work ended. So many follow from it."""
        with self.done.lock:
            self.parts += following - 1
            if not self.parts:
                self._end()

    def _end(self) -> None:
        done = self.done
        done.ended += 1
        if self.left:
            done.left += 1
        elif not self.failed:
            done.in_a_row = 0
        else:
            unanswered = all(isinstance(failure, Transient) for failure in self.failed.values())
            done.in_a_row = done.in_a_row + 1 if unanswered else 0
            done.failed.update({(self.message_id, kind): error for kind, error in self.failed.items()})
