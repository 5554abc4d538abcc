"""When an export may write, and how many it may add. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from icontact_assets.settings.models import Pace

DAY = timedelta(hours=24)


def quiet_until(pace: Pace, now: datetime) -> datetime | None:
    """The end (aware UTC) of the quiet hours that `now` (aware) falls in. None: it is outside of them."""
    if pace.quiet_hours is None:
        return None
    zone = ZoneInfo(pace.time_zone)
    local = now.astimezone(zone)
    first, last = (time.fromisoformat(part) for part in pace.quiet_hours.split("-"))
    clock = local.time()
    quiet = first <= clock < last if first < last else clock >= first or clock < last
    if not quiet:
        return None
    day = local.date() if clock < last else local.date() + timedelta(days=1)
    return datetime.combine(day, last, zone).astimezone(UTC)


def allowance(pace: Pace, added_at: Sequence[datetime], now: datetime) -> int | None:
    """How many may be added now, given the times (aware) of former adds. None: as many as there are."""
    if pace.adds_per_day is None:
        return None
    return max(0, pace.adds_per_day - sum(at > now - DAY for at in added_at))


def next_allowance(pace: Pace, added_at: Sequence[datetime], now: datetime) -> datetime | None:
    """When (aware) more may be added: when the oldest add of the last day is a day old. None: now."""
    if allowance(pace, added_at, now) != 0:
        return None
    return min(at for at in added_at if at > now - DAY) + DAY
