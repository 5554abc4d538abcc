"""The sensors: mapped tables, reports and audiences follow raw ones, exports audiences. Runs whose process is gone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from icontact_assets.exports.trigger import (
    ATTEMPT_TAG,
    EXPORT_TAG,
    STORAGE_ID_TAG,
    Attempt,
    Exported,
    Request,
    Skip,
    decide,
)
from icontact_assets.records import (
    COMPARED_AT,
    NEXT_AT,
    REMAINING,
    STATE,
    export_key,
    newest_audiences,
    under_way,
)
from icontact_assets.resources import running_of
from icontact_assets.settings.models import Export, Settings

_DEAD = (
    "The process of this run is gone: it was killed, or the machine was restarted. What it had read is kept, and the "
    "next run resumes from there."
)
_ATTEMPTS_READ = 100
"""Finished runs of an export that are read. More failures than these would not make the wait any longer."""


def follow_raw_sensor(keys: Iterable[dg.AssetKey], prefix: str = "") -> dg.SensorDefinition:
    """Runs these mapped assets, reports and audiences when what they are made of changed and is there. On at first.

    `prefix` comes before the name, here and in the other sensors.
    """
    return dg.AutomationConditionSensorDefinition(
        f"{prefix}follow_raw_assets",
        target=dg.AssetSelection.assets(*keys),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description="Recomputes the mapped tables and the reports when raw data was read by hand or by a backfill. The "
        "audiences follow, as soon as the check complete_data of icontact_profiles passes. What a job computes itself "
        "is not computed again. The automation tab of an asset says what it waits for.",
    )


def dead_runs_sensor(settings: Settings, prefix: str = "") -> dg.SensorDefinition:
    """Marks runs as failed whose process is gone. On from the start.

    Dagster watches only workers that it started itself, and no longer than its code server lives. This sensor looks
    whether the lock of the run is held: the operating system knows, or the catalog of a lake, whatever machine the run
    is on. "Not held" counts only if two ticks in a row find it: a run that was just beginning or ending has done so by
    the second tick.

    Where an executor spreads the steps of a run over processes, each of them has a lock. What becomes of a run that
    lost one of them is up to the executor.
    """

    def evaluate(context: dg.SensorEvaluationContext) -> Iterator[dg.SkipReason]:
        seen_before = set(json.loads(context.cursor or "[]"))
        running = running_of(settings)
        found = set(running.left_behind())
        marked = []
        for run_id in found & seen_before:
            run = context.instance.get_run_by_id(run_id)
            if run is None:
                # It belongs to another Dagster instance.
                continue
            if not run.is_finished and _in_one_process(context.instance, run_id):
                context.instance.report_run_failed(run, _DEAD)
                marked.append(run_id)
            found.discard(run_id)
            running.forget(run_id)
        context.update_cursor(json.dumps(sorted(found)))
        yield dg.SkipReason(
            f"Marked as failed, because their processes are gone: {', '.join(sorted(marked))}."
            if marked
            else "No run is without its process."
        )

    return dg.SensorDefinition(
        name=f"{prefix}dead_runs",
        evaluation_fn=evaluate,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Marks runs as failed whose process was killed, or went down with the machine.",
    )


def _in_one_process(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the steps of a run share the process that held its lock, as they do unless another executor is chosen."""
    logs = instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    return any(entry.message.startswith("Executing steps in process") for entry in logs)


def export_sensor(
    settings: Settings, jobs: Mapping[str, dg.UnresolvedAssetJobDefinition], prefix: str = ""
) -> dg.SensorDefinition:
    """Requests exports that are due. `jobs` by name of the export. Reads only Dagster's own records."""

    def evaluate(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        running = under_way(context.instance, datetime.now(UTC))
        skipped = []
        requested = False
        for export in settings.exports:
            decision = decide_export(context.instance, settings, export, running)
            if isinstance(decision, Skip):
                skipped.append(f"{export.name}: {decision.reason}")
            else:
                requested = True
                yield dg.RunRequest(run_key=decision.run_key, tags=decision.tags, job_name=jobs[export.name].name)
        if requested:
            # A tick has either runs or a reason: what was skipped beside runs is written to its log.
            context.log.info("\n".join(skipped) or "Every export is due.")
        else:
            yield dg.SkipReason("\n".join(skipped))

    return dg.SensorDefinition(
        name=f"{prefix}exports",
        evaluation_fn=evaluate,
        jobs=list(jobs.values()),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Exports audiences whose members changed, resumes what remains, compares lists again.",
    )


def decide_export(
    instance: dg.DagsterInstance, settings: Settings, export: Export, running: Sequence[dg.DagsterRun]
) -> Request | Skip:
    """Whether an export is due, by Dagster's records. `running` are the runs under way."""
    sink = export_key(settings, export)
    records = instance.fetch_materializations(sink, limit=1).records
    exported = records[0].asset_materialization if records else None
    return decide(
        export,
        newest_audiences(instance, settings, export),
        _exported(exported.metadata) if exported else None,
        _attempts(instance, export),
        under_way=any(
            run.tags.get(EXPORT_TAG) == export.name or sink in (run.asset_selection or ()) for run in running
        ),
        now=datetime.now(UTC),
    )


def _exported(metadata: Mapping[str, dg.MetadataValue[Any]]) -> Exported | None:
    """What a materialization says of itself.

    None if it says nothing, as one that was reported by hand: then the audience is exported again.
    """
    if not {STATE, COMPARED_AT, REMAINING, NEXT_AT} <= metadata.keys():
        return None
    next_at = metadata[NEXT_AT].value
    return Exported(
        state=str(metadata[STATE].value),
        compared_at=datetime.fromtimestamp(metadata[COMPARED_AT].value, UTC),
        remaining=int(metadata[REMAINING].value),
        next_at=datetime.fromtimestamp(next_at, UTC) if isinstance(next_at, float) else None,
    )


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
