"""Days in a time zone, and when they begin and end in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa


def begin_of(day: date, time_zone: str) -> datetime:
    """When a day begins in a time zone (UTC, without a zone). Where clocks skip midnight, it begins when they do."""
    zone = ZoneInfo(time_zone)
    midnight = datetime.combine(day, time(), zone)
    # Midnight that a clock skips is the same instant as the time that it shows then, by the offset before.
    return midnight.astimezone(UTC).replace(tzinfo=None)


def day_of(instant: datetime, time_zone: str) -> date:
    """The day that an instant (aware) is on in a time zone."""
    return instant.astimezone(ZoneInfo(time_zone)).date()


def register_days(connection: duckdb.DuckDBPyConnection, first: date, last: date, time_zone: str) -> None:
    """Make the relation `days` (day, begins_at): each day from `first` to `last` in a time zone, and when it begins
    (UTC). A day has 23, 24 or 25 hours."""
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    begins = [begin_of(day, time_zone) for day in days]
    connection.register("days", pa.table({"day": pa.array(days), "begins_at": pa.array(begins, pa.timestamp("us"))}))
