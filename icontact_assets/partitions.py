"""The daily partitions of an import, and the window of days a run was asked for."""

from __future__ import annotations

from datetime import UTC, date, datetime

import dagster as dg

from icontact_assets.ingest.window import Window
from icontact_assets.records import REREAD_TAG
from icontact_assets.settings.models import Import


def daily_partitions(import_: Import) -> dg.DailyPartitionsDefinition:
    """UTC days from the import's start date to today. Today is a partition that is still open."""
    return dg.DailyPartitionsDefinition(start_date=import_.start_date.isoformat(), timezone="UTC", end_offset=1)


def window_of(context: dg.AssetExecutionContext) -> Window:
    """The days this run is for."""
    days = context.partition_key_range
    return Window(date.fromisoformat(days.start), date.fromisoformat(days.end))


def wants_reread(context: dg.AssetExecutionContext) -> bool:
    """Whether the run's tags ask for a re-read. Raises Failure for a value other than true or false."""
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
