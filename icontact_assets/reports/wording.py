"""How a report puts figures into words."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

from icontact_assets.warehouse.times import aware

NOT_KNOWN = "–"


def number(value: float | None) -> str:
    """A count, or an average to one decimal."""
    if value is None:
        return NOT_KNOWN
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def percent(rate: float | None) -> str:
    """A rate from 0 to 1."""
    if rate is None:
        return NOT_KNOWN
    # A rate that is not 0 must not look so.
    decimals = 1 if rate == 0 or rate >= 0.0095 else 2
    return f"{rate * 100:.{decimals}f} %"


def change(now: float | None, before: float | None) -> str:
    """How much a count is above or below that before."""
    if now is None or before is None or (not before and not now):
        return NOT_KNOWN
    return "new" if not before else f"{_signed((now - before) / before * 100, 0)} %"


def points(now: float | None, before: float | None) -> str:
    """How much a rate is above or below that before, in percentage points."""
    if now is None or before is None:
        return NOT_KNOWN
    return f"{_signed((now - before) * 100, 1)} points"


def _signed(value: float, decimals: int) -> str:
    # What is rounded to 0 has no sign.
    rounded = round(value, decimals)
    return f"{rounded:+,.{decimals}f}" if rounded else f"{0:.{decimals}f}"


def day(value: date) -> str:
    """As in `Mon 23 Nov 2026`."""
    return f"{value:%a} {value.day} {value:%b %Y}"


def local(instant: datetime | None, time_zone: str) -> str:
    """An instant (UTC, without a zone) in a time zone, as in `Mon 23 Nov 2026, 10:05`."""
    at = aware(instant)
    if at is None:
        return NOT_KNOWN
    there = at.astimezone(ZoneInfo(time_zone))
    return f"{day(there.date())}, {there:%H:%M}"


def people(count: int) -> str:
    return "1 person" if count == 1 else f"{count:,} people"


def days(count: int) -> str:
    return "day" if count == 1 else f"{count:,} days"
