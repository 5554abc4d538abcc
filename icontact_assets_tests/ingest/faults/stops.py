"""Runs that are stopped or killed, then run again."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence

from filelock import FileLock

from icontact_assets.ingest.window import Window
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.dev import wait_for
from icontact_assets_tests.harness import ALL_RAW, ENDED, Project, Stage, check_equal, contents, materialize
from icontact_assets_tests.ingest.faults.play import SPARE, Play, Row


def whole(stage: Stage, window: Window = ENDED) -> int:
    """Requests that an undisturbed reading takes."""
    before = stage.requests()
    assert stage.run(stage.project(), window).green
    return stage.requests() - before


FEW = {"contacts": 150, "messages": 4, "days": 12}
MORE = {"contacts": 60, "messages": 6, "days": 12}
"""Far more requests before the end than a stop may cost."""


def paged(stage: Stage) -> None:
    """Listings of several pages, of one message read at a time."""
    stage.sandbox.control("switches", page_limit_rows=40)


def stopped(at: Sequence[float] | None = None) -> Callable[[Stage], str]:
    """From request n on iContact refuses (402), for every n or those at these shares; then the run again."""

    def play(stage: Stage) -> str:
        paged(stage)
        needed = whole(stage)
        worst = 0
        numbers = range(1, needed + 1) if at is None else [max(1, round(share * needed)) for share in at]
        for n in numbers:
            stage.clear_log()
            project = stage.project()
            unpaid = {"kind": "reply", "status": 402, "body": {"errors": ["Payment Required"]}}
            stage.plan({"after": n - 1, "do": unpaid})
            ended = stage.run(project, ENDED)
            assert not ended.green
            stage.clear()
            assert stage.run(project, ENDED).green
            check_equal(project)
            worst = max(worst, stage.requests() - needed)
            assert worst <= SPARE, f"n={n}: {stage.requests()} requests, {needed} were needed"
        return f"equal; at most {worst} requests more than the {needed} of a whole run"

    return play


def killed_at_requests(at: Sequence[float] | None = None) -> Callable[[Stage], str]:
    """A process is killed with -9 while request n waits for its answer, for every n or those at these shares."""

    def play(stage: Stage) -> str:
        paged(stage)
        needed = whole(stage)
        worst = 0
        for n in range(1, needed + 1) if at is None else [max(1, round(share * needed)) for share in at]:
            stage.clear_log()
            project = stage.project()
            stage.plan({"nth": n, "do": {"kind": "delay", "seconds": 3600}})
            process = project.fork(ALL_RAW, ENDED)
            wait_for(lambda n=n: len(stage.sandbox.control("log")) >= n, 180)  # type: ignore[misc]
            process.kill()
            process.join()
            stage.clear()
            check_after_kill(stage, project)
            worst = max(worst, stage.requests() - needed)
            assert worst <= SPARE, f"n={n}: {stage.requests()} requests, {needed} were needed"
        return f"equal; at most {worst} requests more than the {needed} of a whole run"

    return play


def check_after_kill(stage: Stage, project: Project) -> None:
    """The database opens, nobody waits for a lock, and another run ends equal."""
    project.let_go()
    if project.settings.duckdb_path.exists():
        with Warehouse(DatabaseFile(project.settings.duckdb_path, wait_seconds=1)).read() as connection:
            connection.execute("SELECT 1").fetchall()
    for path in project.settings.home.rglob("*.lock"):
        with FileLock(path, timeout=1):
            pass
    assert stage.run(project, ENDED).green
    check_equal(project)


def killed_at_moments(kills: int, seed: int) -> Callable[[Stage], str]:
    """Real `dagster asset materialize` processes, killed with -9 at random moments of their run."""

    def play(stage: Stage) -> str:
        paged(stage)
        stage.plan({"do": {"kind": "delay", "seconds": 0.02}})
        project = stage.project()
        began = time.monotonic()
        process = materialize(project, ENDED)
        wait_for(lambda: bool(stage.requests()), 180)
        reading_began = time.monotonic() - began
        _, words = process.communicate()
        assert process.returncode == 0, words[-2000:]
        lasts = time.monotonic() - began
        expected, dice = contents(project), random.Random(seed)
        for _ in range(kills):
            project = stage.project()
            process = materialize(project, ENDED)
            time.sleep(dice.uniform(0.8 * reading_began, lasts))
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            check_after_kill(stage, project)
            assert contents(project) == expected
        return "equal"

    return play


STOPS = Row(
    "stop at each request n of a run, then run again",
    f"total requests at most whole + {SPARE}; tables equal",
    [
        Play("refused from request n on, every n", stopped(), FEW),
        Play("killed while request n waits, every n", killed_at_requests(), FEW),
        Play("killed while request n waits, one n", killed_at_requests([0.9]), MORE, tested="only"),
    ],
)

KILLS = Row(
    "kill -9 at 50 random moments, then run again",
    "database opens; tables equal; no lock left behind",
    [
        Play("50 kills", killed_at_moments(50, 1)),
    ],
)
