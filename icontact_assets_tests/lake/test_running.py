"""Which runs have a process that lives, as another machine sees it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkProcess
from pathlib import Path

import dagster as dg
import pytest

from icontact_assets import run_table
from icontact_assets.build import build_defs
from icontact_assets.catalog import Catalog
from icontact_assets.resources import running_of
from icontact_assets.run_table import RunTable
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import Settings
from icontact_assets_tests.dev import wait_for
from icontact_assets_tests.harness.postgres import Postgres


@pytest.fixture
def machines(variables: dict[str, str], tmp_path: Path) -> tuple[Settings, Settings]:
    """The settings of a worker, and of the machine that Dagster's daemon is on."""
    worker, daemon = (
        load_settings({**variables, "ICONTACT_ASSETS_HOME": str(tmp_path / home)}, tmp_path)
        for home in ("worker", "daemon")
    )
    return worker, daemon


def _execute(settings: Settings, run_id: str) -> None:
    with running_of(settings).during(run_id, lambda _: None):
        time.sleep(600)


@contextmanager
def executing(settings: Settings, run_id: str) -> Iterator[ForkProcess]:
    """A process that executes steps of a run, until it is killed."""
    process = multiprocessing.get_context("fork").Process(target=_execute, args=(settings, run_id))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def processes(postgres: Postgres, catalog: str) -> int:
    return int(postgres.execute("SELECT count(*) FROM icontact_runs", catalog)[0][0])


def test_another_machine_sees_that_a_worker_was_killed_and_marks_its_run(
    machines: tuple[Settings, Settings], postgres: Postgres, catalog: str
) -> None:
    worker, daemon = machines
    records = dg.DagsterInstance.ephemeral()
    run = records.create_run_for_job(dg.Definitions(jobs=[_job]).resolve_job_def("job"))
    records.report_engine_event("Executing steps in process (pid: 1)", run)
    sensor, cursor = build_defs(daemon).resolve_sensor_def("dead_runs"), None

    def look() -> str:
        nonlocal cursor
        context = dg.build_sensor_context(instance=records, sensor_name=sensor.name, cursor=cursor)
        tick = sensor.evaluate_tick(context)
        cursor = tick.cursor
        return tick.skip_message or ""

    running_of(daemon).left_behind()
    with executing(worker, run.run_id) as process:
        wait_for(lambda: processes(postgres, catalog) == 1, 30)
        # One that stands still is not dead.
        os.kill(process.pid or 0, signal.SIGSTOP)
        assert [look(), look()] == ["No run is without its process."] * 2
    wait_for(lambda: running_of(daemon).left_behind() == {run.run_id}, 30)
    assert look() == "No run is without its process."
    assert look() == f"Marked as failed, because their processes are gone: {run.run_id}."
    [found] = records.get_runs()
    assert found.status == dg.DagsterRunStatus.FAILURE
    assert processes(postgres, catalog) == 0


@dg.op
def _nothing() -> None: ...


@dg.job(name="job")
def _job() -> None:
    _nothing()


def test_a_worker_that_lives_takes_its_lock_again_when_the_catalog_was_away(
    postgres: Postgres, catalog: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_table, "_LOOK_SECONDS", 0.1)
    running, warned = RunTable(Catalog(postgres.conninfo(catalog))), list[str]()
    with running.during("a", warned.append), running.during("b", warned.append):
        assert running.left_behind() == set()
        for _ in range(2):
            postgres.disconnect(catalog)
            wait_for(lambda: running.left_behind() == set(), 10)
        assert processes(postgres, catalog) == 2
    assert (processes(postgres, catalog), warned) == (0, [])


def test_of_several_processes_of_a_run_one_that_was_killed_is_forgotten_alone(
    machines: tuple[Settings, Settings], postgres: Postgres, catalog: str
) -> None:
    running = running_of(machines[1])
    running.left_behind()
    with executing(machines[0], "run"):
        with executing(machines[0], "run"):
            wait_for(lambda: processes(postgres, catalog) == 2, 30)
        # PostgreSQL takes a moment to see that a session is gone.
        wait_for(lambda: running.left_behind() == {"run"}, 30)
        running.forget("run")
        assert (running.left_behind(), processes(postgres, catalog)) == (set(), 1)


def test_a_run_goes_on_where_nobody_could_see_it_die(postgres: Postgres, catalog: str) -> None:
    warned = list[str]()
    with RunTable(Catalog(f"{postgres.conninfo(catalog)} port=1")).during("a", warned.append):
        pass
    assert len(warned) == 1
    assert warned[0].startswith("If this run is killed now, nobody will notice: The catalog test_")
