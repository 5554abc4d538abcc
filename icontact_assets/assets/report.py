"""What a run of a raw asset tells Dagster about the days it worked on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from icontact_assets.ingest.window import Window
from icontact_assets.partitions import is_open
from icontact_assets.records import REREAD_SINCE_TAG, RETRY_AT_TAG


def run_began(context: dg.AssetExecutionContext) -> datetime:
    """When the run was created, or the first run that it retries (aware UTC).

    What iContact showed since then, the run has seen.
    """
    since = context.run.tags.get(REREAD_SINCE_TAG)
    if since is not None:
        try:
            return datetime.fromisoformat(since).astimezone(UTC)
        except ValueError as error:
            raise dg.Failure(
                f"The tag {REREAD_SINCE_TAG} is {since!r}: write an instant as ISO 8601 with an offset.",
                allow_retries=False,
            ) from error
    run_id = context.run.root_run_id or context.run.run_id
    record = context.instance.get_run_record_by_id(run_id)
    if record is None:
        raise dg.Failure(f"Dagster's instance has no record of run {run_id}.")
    created: datetime = record.create_timestamp
    return created.astimezone(UTC)


def tag_retry_at(context: dg.AssetExecutionContext, at: datetime) -> None:
    """Tag the run, which fails, with when to retry it (aware): the latest time that one of its steps names."""
    run = context.instance.get_run_by_id(context.run.run_id)
    before = run.tags.get(RETRY_AT_TAG) if run else None
    if before is None or datetime.fromisoformat(before) < at:
        context.instance.add_run_tags(context.run.run_id, {RETRY_AT_TAG: at.astimezone(UTC).isoformat()})


def report_days(
    context: dg.AssetExecutionContext, window: Window, through: datetime, metadata: Callable[[date], Mapping[str, Any]]
) -> None:
    """Give each day of the run's window its own metadata. A day that has not ended also says that it is read up to
    `through` (aware)."""
    still_open = {"open": True, "read_through": dg.MetadataValue.timestamp(through)}
    for day in window.days:
        facts = {**metadata(day), **(still_open if is_open(day) else {})}
        context.add_asset_metadata(facts, partition_key=day.isoformat())


def observe_other_days(
    context: dg.AssetExecutionContext, window: Window, start_date: date, rows_by_day: Mapping[date, int]
) -> int:
    """Log an observation for each valid partition outside the window that got rows. Returns the rows of days that have
    no partition."""
    elsewhere = 0
    for day, rows in sorted(rows_by_day.items()):
        if window.first <= day <= window.last:
            continue
        if day < start_date or (is_open(day) and not _is_today(day)):
            elsewhere += rows
            continue
        context.log_event(
            dg.AssetObservation(asset_key=context.asset_key, partition=day.isoformat(), metadata={"rows_stored": rows})
        )
    return elsewhere


def _is_today(day: date) -> bool:
    return is_open(day) and not is_open(date.fromordinal(day.toordinal() - 1))
