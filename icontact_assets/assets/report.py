"""What a run of a raw asset tells Dagster about the days it worked on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg

from icontact_assets.icontact.errors import AskedToWait, BudgetSpent
from icontact_assets.ingest.progress import ActivityRead, Day
from icontact_assets.ingest.window import Window
from icontact_assets.partitions import is_open
from icontact_assets.records import REREAD_SINCE_TAG, RETRY_AT_TAG
from icontact_assets.settings.models import Import


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


def clock_is_behind(behind: timedelta) -> str:
    """Why days that have ended by our clock are not read, and the remedy. Empty if iContact's clock is not behind."""
    minutes = round(behind / timedelta(minutes=1))
    return (
        f"iContact's clock is {minutes // 60} h {minutes % 60} min behind this machine's, so it has not lived through "
        "the other days. If this machine's clock is wrong, set it right: `icontact-assets doctor` compares them. Else "
        "the days are read when iContact's clock has passed their end."
        if minutes
        else ""
    )


def _stopped_by(error: BudgetSpent) -> str:
    return (
        "Stopped by a pause that iContact asked for"
        if isinstance(error, AskedToWait)
        else "Stopped by the request budget"
    )


def why_not_all_read(import_: Import, done: ActivityRead, unread: list[Day], behind: timedelta) -> str:
    """What is in the way of a run that leaves these days unread or whose messages failed, and the remedies."""
    sentences = []
    if done.stopped:
        sentences.append(
            f"{_stopped_by(done.stopped)}: {done.left} of {done.messages} due messages were not polled. "
            f"The schedule `{import_.name}_retry` resumes at {done.stopped.resumes_at:%Y-%m-%d %H:%M} UTC. "
            "You can also materialize the same partitions again then."
        )
    elif done.left:
        sentences.append(
            f"{done.in_a_row} messages in a row got no usable response, so the other {done.left} were not asked for. "
            "Materialize the same partitions again when iContact responds."
        )
    if done.failed:
        listed = sorted({f"{message_id} ({kind}: {error})" for (message_id, kind), error in done.failed.items()})
        more = f" and {len(listed) - 10} more" if len(listed) > 10 else ""
        sentences.append(
            f"{len({message_id for message_id, _ in done.failed})} messages could not be read and are due again: "
            f"{'; '.join(listed[:10])}{more}."
        )
    if done.days:
        sentences.append(f"{len(done.days) - len(unread)} of {len(done.days)} days are read.")
    if unread and not (done.stopped or done.failed):
        sentences.append(
            clock_is_behind(behind)
            or "Messages and sends were last read before these days ended: materialize raw_messages and raw_sends too."
        )
    return " ".join(sentences)
