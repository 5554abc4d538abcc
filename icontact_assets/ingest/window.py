"""Which days a run is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

TRAILING_DAYS = 7
"""Each daily run covers this many ended days: late events of them are seen without a backfill."""


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


def end_of(day: date) -> datetime:
    """The first instant after a UTC day."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
