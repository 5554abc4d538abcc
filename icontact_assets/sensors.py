"""What starts runs by itself: mapped assets that follow raw ones, exports that follow their audience."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from icontact_assets.assets.audiences import COMPLETE, TARGET, VERSION, audience_key, export_key
from icontact_assets.audiences.trigger import (
    ATTEMPT_TAG,
    EXPORT_TAG,
    STORAGE_ID_TAG,
    Attempt,
    Computed,
    Exported,
    Skip,
    decide,
    target,
)
from icontact_assets.settings import Export, Settings

_ATTEMPTS_READ = 100
"""Runs looked back at: more failures than these wait no longer than the longest wait anyhow."""

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def follow_raw_sensor(settings: Settings) -> dg.SensorDefinition:
    """Runs the mapped assets after raw partitions were materialized by hand or by a backfill. On from the start."""
    return dg.AutomationConditionSensorDefinition(
        "follow_raw_assets",
        target=dg.AssetSelection.groups(*(f"{import_.name}_mapped" for import_ in settings.imports)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description="Recomputes the mapped tables when raw partitions were materialized by hand or by a backfill.",
    )


def export_sensor(settings: Settings, export: Export, job: dg.UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    """Requests an export when its audience differs from the one last exported. Reads only Dagster's own records."""
    source, sink = audience_key(settings, export.audience), export_key(settings, export)

    def evaluate(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        instance = context.instance
        facts = _latest(instance, source)
        if facts is not None and not facts.metadata[COMPLETE].value:
            yield dg.SkipReason("The audience was kept as it was: its data is not read completely.")
            return
        exported = _latest(instance, sink)
        running = instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED))
        decision = decide(
            export.name,
            target(export.mode, export.list),
            Computed(facts.storage_id, str(facts.metadata[VERSION].value)) if facts else None,
            Exported(str(exported.metadata[VERSION].value), str(exported.metadata[TARGET].value)) if exported else None,
            _attempts(instance, export),
            under_way=any(
                run.tags.get(EXPORT_TAG) == export.name or sink in (run.asset_selection or ()) for run in running
            ),
            now=datetime.now(UTC),
        )
        if isinstance(decision, Skip):
            yield dg.SkipReason(decision.reason)
        else:
            yield dg.RunRequest(run_key=decision.run_key, tags=decision.tags)

    return dg.SensorDefinition(
        name=f"export_{export.name}_sensor",
        evaluation_fn=evaluate,
        job=job,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=f"Exports the audience {export.audience} to its list when its members changed.",
    )


@dataclass(frozen=True)
class _Materialized:
    storage_id: str
    metadata: Mapping[str, dg.MetadataValue[Any]]


def _latest(instance: dg.DagsterInstance, key: dg.AssetKey) -> _Materialized | None:
    records = instance.fetch_materializations(key, limit=1).records
    if not records or records[0].asset_materialization is None:
        return None
    return _Materialized(str(records[0].storage_id), records[0].asset_materialization.metadata)


def _attempts(instance: dg.DagsterInstance, export: Export) -> list[Attempt]:
    """The finished runs that the sensor requested for an export."""
    finished = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    records = instance.get_run_records(
        dg.RunsFilter(tags={EXPORT_TAG: export.name}, statuses=finished), limit=_ATTEMPTS_READ
    )
    return [
        Attempt(
            storage_id=record.dagster_run.tags[STORAGE_ID_TAG],
            number=int(record.dagster_run.tags[ATTEMPT_TAG]),
            ended_at=datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), UTC),
            succeeded=record.dagster_run.status == dg.DagsterRunStatus.SUCCESS,
        )
        for record in records
    ]
