"""When an import runs by itself: daily for the days that ended, hourly on the running day where a user asked for it."""

from __future__ import annotations

from datetime import UTC

import dagster as dg

from icontact_assets.ingest.changes import TRAILING_DAYS, Window
from icontact_assets.partitions import range_tags
from icontact_assets.settings import Import, Schedule


def daily_schedule(import_: Import, job: dg.UnresolvedAssetJobDefinition, schedule: Schedule) -> dg.ScheduleDefinition:
    """One range run a day over the trailing ended days."""
    hour, minute = schedule.daily_at.split(":")

    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        window = Window.trailing(import_.start_date, context.scheduled_execution_time)
        if window.last < window.first:
            return dg.SkipReason(f"The first partition of {import_.name}, {import_.start_date}, has not ended yet.")
        return dg.RunRequest(run_key=window.last.isoformat(), tags=range_tags(window))

    return dg.ScheduleDefinition(
        name=f"{import_.name}_daily",
        job=job,
        cron_schedule=f"{int(minute)} {int(hour)} * * *",
        execution_timezone=schedule.time_zone,
        execution_fn=evaluate,
        description=f"The last ended day of {import_.label}, with the {TRAILING_DAYS} trailing days, in one run.",
        default_status=dg.DefaultScheduleStatus.STOPPED,
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
