"""Which days a run is about, and what it asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

TRAILING_DAYS = 7
"""Each daily run covers this many ended days, so that their late events are seen without a backfill."""


_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Window:
    """The daily partitions of a run, first and last day included (UTC days)."""

    first: date
    last: date

    @classmethod
    def trailing(cls, start: date, now: datetime) -> Window:
        """The last TRAILING_DAYS UTC days that have ended at `now` (aware), none of them before `start`."""
        last = now.astimezone(UTC).date() - timedelta(days=1)
        return cls(max(start, last - timedelta(days=TRAILING_DAYS - 1)), last)

    @property
    def end(self) -> datetime:
        """The first instant after the window (aware UTC)."""
        return end_of(self.last)

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]

    def unread(self, through: datetime, now: datetime) -> list[date]:
        """The days that are not read when all before `through` is (both aware).

        A day that has ended at `now` must be read to its end, the one that goes on beyond its beginning.
        """
        return [day for day in self.days if through < (end_of(day) if end_of(day) <= now else end_of(day) - _DAY)]


def end_of(day: date) -> datetime:
    """The first instant after a UTC day."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + _DAY


@dataclass(frozen=True)
class ReadRequest:
    """What one run asks for. What it has read itself it does not read again."""

    window: Window
    """The days that it is about."""
    began: datetime
    """When the run, or the one that it retries, began (aware UTC)."""
    reread: bool = False
    """Everything that was read before `began` is read again from the first row on."""

    @property
    def fresh_since(self) -> datetime:
        """Statistics of then or later need not be asked for again."""
        return self.began if self.reread else min(self.window.end, self.began)
