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


def rows_elsewhere(window: Window, start_date: date, rows_by_day: Mapping[date, int]) -> dict[str, int]:
    """Metadata of the rows that went to days outside the run's window: to other partitions, or to days that have none.

    Which days these are is in the table. An event for each would cost more than to store its rows.
    """
    other, outside = 0, 0
    for day, rows in rows_by_day.items():
        if not window.first <= day <= window.last:
            if day < start_date or (is_open(day) and not _is_today(day)):
                outside += rows
            else:
                other += rows
    return {"rows_of_other_days": other, "rows_outside_partitions": outside}


def _is_today(day: date) -> bool:
    return is_open(day) and not is_open(date.fromordinal(day.toordinal() - 1))
