"""What starts runs by itself: mapped assets that follow raw ones, exports that follow their audience."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from icontact_assets.assets.audiences import COMPLETE, VERSION, audience_key, export_key
from icontact_assets.settings import Export, Settings

EXPORT_TAG = "icontact/export"
SOURCE_TAG = "icontact/audience_storage_id"

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

_FIRST_WAIT, _LONGEST_WAIT = timedelta(minutes=5), timedelta(hours=6)


def follow_raw_sensor(settings: Settings) -> dg.SensorDefinition:
    """Runs the mapped assets after raw partitions were materialized by hand or by a backfill. On from the start."""
    return dg.AutomationConditionSensorDefinition(
        "follow_raw_assets",
        target=dg.AssetSelection.groups(*(f"{import_.name}_mapped" for import_ in settings.imports)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description="Recomputes the mapped tables when raw partitions were materialized by hand or by a backfill.",
    )


def back_off(failures: int) -> timedelta:
    """How long to wait after so many failed runs in a row: 5 minutes, doubling, at most 6 hours."""
    return min(_FIRST_WAIT * pow(2.0, min(failures - 1, 20)), _LONGEST_WAIT)


def export_sensor(settings: Settings, export: Export, job: dg.UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    """Requests an export when its audience differs from the one last exported. Reads only Dagster's own records."""
    source, target = audience_key(settings, export.audience), export_key(settings, export)

    def evaluate(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        instance = context.instance
        newest = instance.fetch_materializations(source, limit=1).records
        if not newest or newest[0].asset_materialization is None:
            yield dg.SkipReason(f"The audience {export.audience} was never materialized.")
            return
        facts = newest[0].asset_materialization.metadata
        if not facts[COMPLETE].value:
            yield dg.SkipReason(f"The audience {export.audience} was kept as it was: its data is not read completely.")
            return
        done = instance.fetch_materializations(target, limit=1).records
        if done and done[0].asset_materialization is not None:
            exported = done[0].asset_materialization.metadata
            if exported[VERSION].value == facts[VERSION].value:
                yield dg.SkipReason("The last export was of these very members.")
                return
        running = instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED))
        if any(run.tags.get(EXPORT_TAG) == export.name or target in (run.asset_selection or ()) for run in running):
            yield dg.SkipReason("An export is queued or running.")
            return
        storage_id = str(newest[0].storage_id)
        tags = {EXPORT_TAG: export.name, SOURCE_TAG: storage_id}
        tried = instance.get_run_records(dg.RunsFilter(tags=tags))
        if tried:
            ended = datetime.fromtimestamp(tried[0].end_time or tried[0].update_timestamp.timestamp(), UTC)
            again = ended + back_off(len(tried))
            if datetime.now(UTC) < again:
                yield dg.SkipReason(f"{len(tried)} runs failed; the next try is at {again:%Y-%m-%d %H:%M} UTC.")
                return
        yield dg.RunRequest(run_key=f"{export.name}:{storage_id}:{len(tried)}", tags=tags)

    return dg.SensorDefinition(
        name=f"export_{export.name}_sensor",
        evaluation_fn=evaluate,
        job=job,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=f"Exports the audience {export.audience} to its list when its members changed.",
    )
