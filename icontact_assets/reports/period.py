"""The days that a report is about, in a time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from icontact_assets.reports.days import begin_of, day_of

DAYS = 7
"""The days that a report is about if nobody names others."""


@dataclass(frozen=True)
class Period:
    """Whole days of a time zone, first and last included."""

    first: date
    last: date
    time_zone: str

    @classmethod
    def ended(cls, now: datetime, time_zone: str, first: date | None = None, last: date | None = None) -> Period:
        """The days from `first` to `last`. Without `last`, up to the last day that had ended at `now` (aware), and
        without `first`, DAYS days."""
        if last is None:
            yesterday = day_of(now, time_zone) - timedelta(days=1)
            last = yesterday if first is None else max(first, yesterday)
        return cls(first or last - timedelta(days=DAYS - 1), last, time_zone)

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def before(self) -> Period:
        """As many days, right before."""
        return Period(self.first - timedelta(days=self.days), self.first - timedelta(days=1), self.time_zone)

    @property
    def begins(self) -> datetime:
        """Its first instant (UTC, without a zone)."""
        return begin_of(self.first, self.time_zone)

    @property
    def ends(self) -> datetime:
        """The first instant after it (UTC, without a zone)."""
        return begin_of(self.last + timedelta(days=1), self.time_zone)
