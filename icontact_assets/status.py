"""How far imports and exports are: what `icontact-assets status` and `coverage` say. It only reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import duckdb

from icontact_assets.errors import UserError
from icontact_assets.ingest.due import DayState, messages
from icontact_assets.resources import budget_of, never_run, reading, scope_of, storage_of
from icontact_assets.settings.models import Export, Import, Schedule, Settings
from icontact_assets.warehouse.times import aware

if TYPE_CHECKING:
    import dagster as dg

_RUNS_SHOWN = 3
_RUNS_READ = 100


@dataclass(frozen=True)
class Listing:
    """A listing of the whole folder, as it was last read."""

    resource: str
    read_through: datetime | None
    """When the last complete read began (aware UTC)."""
    status: str
    reason: str | None


@dataclass(frozen=True)
class Run:
    """A run by Dagster's records. Instants are aware UTC."""

    run_id: str
    job: str
    status: str
    began: datetime
    ended: datetime | None
    first: str | None
    """The first day that was asked for, YYYY-MM-DD."""
    last: str | None


@dataclass(frozen=True)
class ImportStatus:
    """How far an import is. What only Dagster's records say is None without them."""

    name: str
    label: str
    days: dict[str, int]
    """The ended days: how many are read, settled and missing. `read` counts settled ones too."""
    first_missing: date | None
    listings: list[Listing]
    messages_due: int
    requests_left: int | None
    """Of the day's budget. None: no limit."""
    runs: list[Run] | None
    """The last ones, newest first."""
    next_daily: datetime | None
    """When the daily schedule runs next (aware UTC). None: it is off, or that is not known."""
    retry: str | None
    """What the retry schedule will do, in a sentence."""


@dataclass(frozen=True)
class ExportStatus:
    """How an export last ended by its own records, and what comes next by Dagster's."""

    name: str
    mode: str
    run_id: str | None
    status: str | None
    reason: str | None
    began: datetime | None
    added: int | None
    removed: int | None
    remaining: int | None
    next: str | None


@dataclass(frozen=True)
class Status:
    """Of everything in the settings."""

    as_of: datetime
    """When the tables that were read last changed (aware UTC)."""
    imports: list[ImportStatus]
    exports: list[ExportStatus]


def coverage(settings: Settings, import_: Import, first: date | None, last: date | None) -> list[DayState]:
    """The days of an import from its start date to today, or those from `first` to `last`. Raises UserError if it was
    never run."""
    with reading(settings) as connection:
        return _coverage(connection, import_, first, last)


def status(settings: Settings, instance: dg.DagsterInstance | None) -> Status:
    """How far everything is now, by the published copy, and by Dagster's records if there is an `instance`. Raises
    WarehouseError."""
    now = datetime.now(UTC)
    storage = storage_of(settings)
    with storage.reading() as connection:
        as_of = storage.changed_at()
        imports = [_import_status(connection, settings, import_, instance, now) for import_ in settings.imports]
        exports = [_export_status(connection, settings, export, instance, now) for export in settings.exports]
    return Status(as_of, imports, exports)


def _coverage(
    connection: duckdb.DuckDBPyConnection, import_: Import, first: date | None, last: date | None
) -> list[DayState]:
    try:
        rows = connection.execute(
            "SELECT day, read, settled, open_messages, due_messages, reason "  # noqa: S608
            f'FROM "{import_.name}".coverage WHERE day >= coalesce($first, day) AND day <= coalesce($last, day) '
            "ORDER BY day",
            {"first": first, "last": last},
        ).fetchall()
    except duckdb.CatalogException as error:
        raise never_run(import_) from error
    return [DayState(*row) for row in rows]


def _import_status(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    import_: Import,
    instance: dg.DagsterInstance | None,
    now: datetime,
) -> ImportStatus:
    try:
        days = _coverage(connection, import_, None, now.date() - timedelta(days=1))
    except UserError:
        # An import beside others that was never run.
        return ImportStatus(
            import_.name, import_.label, {}, None, [], 0, budget_of(settings, import_).left_today(), None, None, None
        )
    due = [message for message in messages(connection, scope_of(settings, import_), now) if message.due]
    listings = connection.execute(
        f'SELECT resource, max(read_through), max(status), max(reason) FROM "{import_.name}".import_coverage '  # noqa: S608
        "WHERE message_id = '' GROUP BY resource ORDER BY resource"
    ).fetchall()
    return ImportStatus(
        name=import_.name,
        label=import_.label,
        days={
            "ended": len(days),
            "read": sum(day.read for day in days),
            "settled": sum(day.settled for day in days),
            "missing": sum(not day.read for day in days),
        },
        first_missing=next((day.day for day in days if not day.read), None),
        listings=[Listing(resource, aware(through), how, why) for resource, through, how, why in listings],
        messages_due=len(due),
        requests_left=budget_of(settings, import_).left_today(),
        runs=_runs(instance, import_) if instance else None,
        next_daily=_next_daily(instance, import_, settings.schedule, now) if instance else None,
        retry=_retry(instance, settings, import_, now) if instance else None,
    )


def _runs(instance: dg.DagsterInstance, import_: Import) -> list[Run]:
    found = []
    for record in instance.get_run_records(limit=_RUNS_READ):
        run = record.dagster_run
        if _is_of(run, import_):
            began = record.start_time or record.create_timestamp.timestamp()
            one = run.tags.get("dagster/partition")
            found.append(
                Run(
                    run.run_id,
                    run.job_name,
                    run.status.value.lower(),
                    datetime.fromtimestamp(began, UTC),
                    datetime.fromtimestamp(record.end_time, UTC) if record.end_time else None,
                    run.tags.get("dagster/asset_partition_range_start", one),
                    run.tags.get("dagster/asset_partition_range_end", one),
                )
            )
    return found[:_RUNS_SHOWN]


def _is_of(run: dg.DagsterRun, import_: Import) -> bool:
    """Whether a run is about tables of an import, whoever started it."""
    return (
        run.job_name == f"{import_.name}_import"
        or any(key.path[0] == import_.name for key in run.asset_selection or ())
        or any(step.startswith(f"{import_.name}__") for step in run.step_keys_to_execute or ())
    )


def _next_daily(instance: dg.DagsterInstance, import_: Import, schedule: Schedule, now: datetime) -> datetime | None:
    """When the daily schedule of an import runs next. None while it is off."""
    if not any(
        state.instigator_name == f"{import_.name}_daily" and state.is_running
        for state in instance.all_instigator_state()
    ):
        return None
    zone = ZoneInfo(schedule.time_zone)
    hour, minute = map(int, schedule.daily_at.split(":"))
    today = now.astimezone(zone).replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (today if today > now else today + timedelta(days=1)).astimezone(UTC)


def _retry(instance: dg.DagsterInstance, settings: Settings, import_: Import, now: datetime) -> str:
    from icontact_assets.schedules import retry_request

    found = retry_request(instance, settings, import_, now)
    tags = getattr(found, "tags", {})
    if not tags:
        return str(getattr(found, "skip_message", ""))
    first, last = (tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))
    return f"The days {first} to {last} failed. They are asked for again with the next tick of {import_.name}_retry."


def _export_status(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    export: Export,
    instance: dg.DagsterInstance | None,
    now: datetime,
) -> ExportStatus:
    schema = settings.import_of(export).name
    try:
        rows: Sequence[tuple[Any, ...]] = connection.execute(
            f'SELECT run_id, status, reason, began_at, added, removed, remaining FROM "{schema}".export_runs '  # noqa: S608
            "WHERE export = $name ORDER BY began_at DESC LIMIT 1",
            {"name": export.name},
        ).fetchall()
    except duckdb.CatalogException:
        rows = []
    run_id, how, why, began, added, removed, remaining = rows[0] if rows else (None,) * 7
    return ExportStatus(
        name=export.name,
        mode=export.mode,
        run_id=run_id,
        status=how,
        reason=why,
        began=aware(began),
        added=added,
        removed=removed,
        remaining=remaining,
        next=_next_export(instance, settings, export, now) if instance else None,
    )


def _next_export(instance: dg.DagsterInstance, settings: Settings, export: Export, now: datetime) -> str:
    from icontact_assets.exports.trigger import Skip
    from icontact_assets.records import under_way
    from icontact_assets.sensors import decide_export

    decision = decide_export(instance, settings, export, under_way(instance, now))
    return (
        decision.reason if isinstance(decision, Skip) else "It is due: the sensor `exports` starts it while it is on."
    )
