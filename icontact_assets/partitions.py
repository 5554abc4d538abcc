"""The daily partitions of an import, and the window of days a run was asked for."""

from __future__ import annotations

from datetime import UTC, date, datetime

import dagster as dg

from icontact_assets.ingest.window import Window
from icontact_assets.settings.models import Import


def daily_partitions(import_: Import) -> dg.DailyPartitionsDefinition:
    """UTC days from the import's start date to today; today is a partition that is still open."""
    return dg.DailyPartitionsDefinition(start_date=import_.start_date.isoformat(), timezone="UTC", end_offset=1)


def window_of(context: dg.AssetExecutionContext) -> Window:
    """The days this run is for."""
    days = context.partition_key_range
    return Window(date.fromisoformat(days.start), date.fromisoformat(days.end))


REREAD_TAG = "icontact_assets/reread"
"""A run tagged so with `true` reads again what it would otherwise find read."""

REREAD_SINCE_TAG = "icontact_assets/reread_since"
"""On a run that goes on with a re-reading: when that was first asked for (ISO 8601 with an offset)."""

GOES_ON_TAG = "icontact_assets/goes_on_at"
"""On a run that failed: when what is missing is to be asked for again (ISO 8601 with an offset)."""


def wants_reread(context: dg.AssetExecutionContext) -> bool:
    """Whether the run's tags ask to read everything again. Raises Failure for a value other than true or false."""
    value = context.run.tags.get(REREAD_TAG, "false")
    if value not in ("true", "false"):
        raise dg.Failure(f"The tag {REREAD_TAG} is {value!r}: write true or false.", allow_retries=False)
    return value == "true"


def is_open(day: date) -> bool:
    """Whether a partition's day has not ended yet (UTC)."""
    return day >= datetime.now(UTC).date()


def range_tags(window: Window) -> dict[str, str]:
    """Run tags that ask for all days of a window in one run."""
    return {
        "dagster/asset_partition_range_start": window.first.isoformat(),
        "dagster/asset_partition_range_end": window.last.isoformat(),
    }
