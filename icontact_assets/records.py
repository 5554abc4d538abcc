"""What Dagster's own records say: partitions asked for, partitions that failed, runs under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_LONGEST = timedelta(days=1)


def under_way(instance: dg.DagsterInstance, now: datetime) -> Sequence[dg.DagsterRun]:
    """The runs that are queued or running at `now` (aware), as far as that is believed.

    A run that was created more than a day before is not waited for: its process may be gone without anybody having
    noticed. If it lives, a second run waits for the import's lock.
    """
    return instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED, created_after=now - _LONGEST))


@dataclass(frozen=True)
class Partitions:
    """Partition keys of an asset that were ever asked for, and those whose last run failed, with that run."""

    asked: frozenset[str]
    failed: Mapping[str, dg.RunRecord]


def partitions_of(instance: dg.DagsterInstance, key: dg.AssetKey, failing: str | None = None) -> Partitions:
    """The partitions of an asset as its runs left them; the run `failing` counts as failed although it has not ended.

    A run that somebody cancelled has not failed. Two queries, however many partitions there are.
    """
    # `get_status_by_partition` says which partitions failed, but neither in which run nor when.
    open_ = instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations(key)
    ids = sorted({run_id for run_id, _ in open_.values()})
    records = instance.get_run_records(dg.RunsFilter(run_ids=ids)) if ids else []
    failed = {
        record.dagster_run.run_id: record
        for record in records
        if record.dagster_run.status == dg.DagsterRunStatus.FAILURE or record.dagster_run.run_id == failing
    }
    return Partitions(
        asked=frozenset({*open_, *instance.get_materialized_partitions(key)}),
        failed={partition: failed[run_id] for partition, (run_id, _) in sorted(open_.items()) if run_id in failed},
    )
