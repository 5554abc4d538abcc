"""The storage of Dagster's records that we ship, beside Dagster's own: the same rows, and either reads the other's."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from icontact_assets.event_log import BatchedEventLog
from icontact_assets.init import DAGSTER

_DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-01-05")
_RANGE = {"dagster/asset_partition_range_start": "2026-01-01", "dagster/asset_partition_range_end": "2026-01-04"}
_FIRST, _SECOND = dg.AssetKey("first"), dg.AssetKey(["a", "second"])


@dg.asset(partitions_def=_DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def first(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
    context.log.info("a line")
    for day in context.partition_keys:
        context.add_asset_metadata({"rows": int(day[-2:])}, partition_key=day)
    return dg.MaterializeResult(tags={"a": "tag"})


@dg.asset(
    key=_SECOND,
    deps=[first],
    partitions_def=_DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[dg.AssetCheckSpec("holds", asset=_SECOND)],
)
def second(context: dg.AssetExecutionContext) -> Iterator[dg.AssetMaterialization | dg.AssetCheckResult]:
    for day in context.partition_keys[:2]:
        yield dg.AssetMaterialization(context.asset_key, partition=day)
    yield dg.AssetCheckResult(check_name="holds", passed=False)
    raise dg.Failure("the other days are not there")


def _run(home: Path) -> dg.DagsterInstance:
    instance = dg.DagsterInstance.from_config(str(home))
    job = dg.Definitions([first, second], jobs=[dg.define_asset_job("both", executor_def=dg.in_process_executor)])
    assert (
        not job.resolve_job_def("both").execute_in_process(instance=instance, tags=_RANGE, raise_on_error=False).success
    )
    return instance


def _home(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "dagster.yaml").write_text(text)
    return folder


def _rows(path: Path, table: str, columns: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT {columns} FROM {table} ORDER BY id").fetchall()


_EVENTS = "id, dagster_event_type, step_key, asset_key, partition, timestamp IS NULL, run_id IS NULL"


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """DAGSTER_HOME with our storage and with Dagster's own, after the same run."""
    folder = tmp_path_factory.mktemp("event_log")
    ours, theirs = _home(folder / "ours", DAGSTER.read_text()), _home(folder / "theirs", "telemetry: {enabled: false}")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_EVENT_BATCH_SIZE", raising=False)
        with _run(theirs):
            pass
        with _run(ours) as instance:
            assert isinstance(instance.event_log_storage, BatchedEventLog)
        yield ours, theirs
        patch.delenv("DAGSTER_EVENT_BATCH_SIZE", raising=False)


def test_events_are_stored_as_dagster_stores_them(homes: tuple[Path, Path]) -> None:
    ours, theirs = (home / "history" / "runs" for home in homes)
    for table, columns in (
        ("event_logs", _EVENTS),
        ("asset_event_tags", "asset_key, key, iif(key LIKE '%version', '', value), event_id"),
        ("asset_keys", "asset_key, json_extract(last_materialization, '$.storage_id'), last_run_id IS NULL"),
        ("asset_check_executions", "asset_key, check_name, execution_status, partition, evaluation_event_storage_id"),
    ):
        wanted = _rows(theirs / "index.db", table, columns)
        # Check events are planned among the others, and Dagster numbers them by their turn.
        assert sorted(_rows(ours / "index.db", table, columns), key=repr) == sorted(wanted, key=repr), table
        assert wanted
    [mine], [dagsters] = ([p for p in folder.glob("*.db") if p.stem != "index"] for folder in (ours, theirs))
    assert _rows(mine, "event_logs", _EVENTS) == _rows(dagsters, "event_logs", _EVENTS)


def test_dagster_reads_what_we_wrote_and_we_read_what_it_wrote(homes: tuple[Path, Path], tmp_path: Path) -> None:
    said = []
    for home, text in ((homes[0], "telemetry: {enabled: false}"), (homes[1], DAGSTER.read_text())):
        other = shutil.copytree(home, tmp_path / home.name)
        (other / "dagster.yaml").write_text(text)
        with dg.DagsterInstance.from_config(str(other)) as instance:
            [run] = instance.get_runs()
            before = len(instance.all_logs(run.run_id))
            said.append(
                (
                    instance.get_materialized_partitions(first.key),
                    instance.get_materialized_partitions(_SECOND),
                    [
                        record.asset_materialization.metadata["rows"].value
                        for record in instance.fetch_materializations(first.key, limit=10).records
                        if record.asset_materialization
                    ],
                    run.status,
                )
            )
            with _run(other):
                assert len(instance.get_runs()) == 2
                assert len(instance.all_logs(run.run_id)) == before
    days = {f"2026-01-0{day}" for day in range(1, 5)}
    assert said == [(days, {"2026-01-01", "2026-01-02"}, [4, 3, 2, 1], dg.DagsterRunStatus.FAILURE)] * 2
