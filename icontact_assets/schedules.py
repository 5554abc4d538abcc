"""The schedules of an import: daily for the days that ended, hourly for the running day if a user asked for it, and
hourly again for days that failed. And the one of the storage."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import dagster as dg

from icontact_assets.errors import UserError
from icontact_assets.ingest.window import TRAILING_DAYS, Window
from icontact_assets.partitions import range_tags
from icontact_assets.records import REREAD_SINCE_TAG, REREAD_TAG, RETRY_AT_TAG, partitions_of, table_key, under_way
from icontact_assets.resources import budget_of
from icontact_assets.retries import SOON, Failed, next_retry
from icontact_assets.settings.models import Import, Schedule, Settings
from icontact_assets.warehouse.tables import RAW_ACTIVITY, RAW_TABLES


def daily_schedule(import_: Import, job: dg.UnresolvedAssetJobDefinition, schedule: Schedule) -> dg.ScheduleDefinition:
    """One range run a day over the trailing ended days, and over those before that were missed since the newest day
    that was ever asked for: while the machine was off, or the schedule."""
    hour, minute = schedule.daily_at.split(":")

    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return daily_request(context.instance, import_, context.scheduled_execution_time)

    return dg.ScheduleDefinition(
        name=f"{import_.name}_daily",
        job=job,
        cron_schedule=f"{int(minute)} {int(hour)} * * *",
        execution_timezone=schedule.time_zone,
        execution_fn=evaluate,
        description=f"The last ended day of {import_.label}, with the {TRAILING_DAYS} trailing days, in one run.",
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )


def daily_request(instance: dg.DagsterInstance, import_: Import, at: datetime) -> dg.RunRequest | dg.SkipReason:
    """The run of the daily schedule at `at` (aware), or why there is none. Reads Dagster's own records alone."""
    window = Window.trailing(import_.start_date, at)
    if window.last < window.first:
        return dg.SkipReason(f"The first partition of {import_.name}, {import_.start_date}, has not ended yet.")
    asked = partitions_of(instance, table_key(import_.name, RAW_ACTIVITY.name)).asked
    # Whoever asked for nothing yet chooses how far back to begin.
    missed = date.fromisoformat(max(asked)) + timedelta(days=1) if asked else window.first
    first = max(import_.start_date, min(window.first, missed))
    return dg.RunRequest(run_key=window.last.isoformat(), tags=range_tags(Window(first, window.last)))


def maintenance_schedule(job: dg.UnresolvedAssetJobDefinition, schedule: Schedule) -> dg.ScheduleDefinition:
    """The maintenance of the storage, once a day, at the time that is farthest from the daily runs.

    On from the start, because without it the storage becomes slower each day.
    """
    hour, minute = schedule.daily_at.split(":")
    return dg.ScheduleDefinition(
        name=f"{job.name}_daily",
        job=job,
        cron_schedule=f"{int(minute)} {(int(hour) + 12) % 24} * * *",
        execution_timezone=schedule.time_zone,
        description="Keeps the lake small and quick. Runs go on beside it.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def hourly_schedule(import_: Import, job: dg.UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """One run an hour on the day that is running."""

    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        at = context.scheduled_execution_time.astimezone(UTC)
        today = at.date()
        return dg.RunRequest(run_key=at.isoformat(), tags=range_tags(Window(today, today)))

    return dg.ScheduleDefinition(
        name=f"{import_.name}_hourly",
        job=job,
        cron_schedule="15 * * * *",
        execution_timezone="UTC",
        execution_fn=evaluate,
        description=f"The running day of {import_.label}, every hour.",
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )


def retry_schedule(settings: Settings, import_: Import, job: dg.UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Each hour, one range run over ended days that failed (see `retries`).

    On from the start, because it only asks for what somebody asked for before.
    """

    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return retry_request(context.instance, settings, import_, context.scheduled_execution_time.astimezone(UTC))

    return dg.ScheduleDefinition(
        name=f"{import_.name}_retry",
        job=job,
        cron_schedule="45 * * * *",
        execution_timezone="UTC",
        execution_fn=evaluate,
        description=f"Asks again for days of {import_.label} whose last run failed: when the budget has the next "
        "request, else after an hour or a day. It never asks for a day that nobody asked for.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def retry_request(
    instance: dg.DagsterInstance, settings: Settings, import_: Import, now: datetime
) -> dg.RunRequest | dg.SkipReason:
    """The run that retries the newest failed days of an import whose time has come at `now` (aware UTC), or why there
    is none. Reads Dagster's own records and the file of the account's budget, nothing else."""
    name = import_.name
    for run in under_way(instance, now):
        if run.job_name == f"{name}_import" or any(key.path[0] == name for key in run.asset_selection or ()):
            return dg.SkipReason(f"Run {run.run_id} of {name} is queued or running.")
    failed, asked = _failed_days(instance, import_, now.date())
    if not failed:
        return dg.SkipReason(f"No ended day of {name} failed when it was last asked for.")
    found = next_retry(failed, asked, now)
    if found is None:
        at = f"{min(failure.not_before for failure in failed.values()):%Y-%m-%d %H:%M} UTC"
        return dg.SkipReason(f"{len(failed)} days of {name} failed; they are asked for again from {at} on.")
    try:
        import_.ready()
        left = budget_of(settings, import_).left_today()
    except UserError as error:
        return dg.SkipReason(str(error))
    if left == 0:
        return dg.SkipReason(f"{len(failed)} days of {name} failed; no request of the day's budget is left.")
    tags = range_tags(found.window)
    if found.reread_since is not None:
        tags |= {REREAD_TAG: "true", REREAD_SINCE_TAG: found.reread_since.isoformat()}
    return dg.RunRequest(run_key=now.isoformat(), tags=tags)


def _failed_days(
    instance: dg.DagsterInstance, import_: Import, today: date
) -> tuple[dict[date, Failed], frozenset[date]]:
    """The ended days of the raw assets whose last run failed, and all days whose activity was ever asked for.

    Whoever asked for another listing alone did not ask for an import.
    """
    tables = {table: partitions_of(instance, table_key(import_.name, table.name)) for table in RAW_TABLES}
    asked = {date.fromisoformat(partition) for partition in tables[RAW_ACTIVITY].asked}
    failed: dict[date, Failed] = {}
    for found in tables.values():
        runs = {record.dagster_run.run_id: record for record in found.failed.values()}
        facts = {run_id: _failure(instance, record) for run_id, record in runs.items()}
        for partition, record in found.failed.items():
            day, failure = date.fromisoformat(partition), facts[record.dagster_run.run_id]
            known = failed.get(day)
            if (
                day in asked
                and import_.start_date <= day < today
                and (known is None or known.not_before < failure.not_before)
            ):
                failed[day] = failure
    return failed, frozenset(asked)


def _failure(instance: dg.DagsterInstance, record: dg.RunRecord) -> Failed:
    run = record.dagster_run
    named = run.tags.get(RETRY_AT_TAG)
    ended = datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), UTC)
    since = None
    if run.tags.get(REREAD_TAG) == "true":
        root = instance.get_run_record_by_id(run.root_run_id or run.run_id) or record
        began = root.create_timestamp.astimezone(UTC)
        since = datetime.fromisoformat(run.tags[REREAD_SINCE_TAG]) if REREAD_SINCE_TAG in run.tags else began
    return Failed(datetime.fromisoformat(named) if named else ended + SOON, since)
