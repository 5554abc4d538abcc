"""Real kills of real runs, on the `dagster.yaml` that we ship; prints what became of each. About six minutes.

python -m benchmarks.kills [the first letters of the cases, by default all]

The cases `file` and `lake` kill what reads and maps at 30 random moments each, and take minutes each. They are left out
if no case is named. `lake` needs the extra `lake`, and starts a PostgreSQL of its own.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from filelock import FileLock, Timeout

from icontact_assets.ingest.window import Window
from icontact_assets.partitions import range_tags
from icontact_assets.sandbox.process import Sandbox
from icontact_assets_tests.dev import Dev, wait_for
from icontact_assets_tests.harness import Project, days_ago
from icontact_assets_tests.harness.kills import finished, killed, orphans_removed, outcome
from icontact_assets_tests.harness.postgres import started

DAYS = Window(days_ago(3), days_ago(1))
SLOW = {"path": "/messages/", "do": {"kind": "delay", "seconds": 0.3}}
STUCK = {"path": "/messages/.*/(opens|clicks)", "do": {"kind": "delay", "seconds": 100}}
FAILED, STARTED = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED


@dataclass
class Case:
    """A sandbox, a folder, and ways to start runs in it."""

    sandbox: Sandbox
    folder: Path
    environment: dict[str, str]
    said: list[str] = field(default_factory=list)
    log: Path = Path()

    def begin(self, *command: str, **environ: str) -> subprocess.Popen[bytes]:
        """A command line in a process group of its own."""
        self.log = self.folder / f"{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *command],
                env={**os.environ, **self.environment, "DAGSTER_HOME": str(self.folder / "dagster"), **environ},
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def materialize(self, **environ: str) -> subprocess.Popen[bytes]:
        return self.begin(
            *("dagster", "asset", "materialize", "-m", "icontact_assets.definitions"),
            *("--select", 'key:"icontact/raw_*"', "--partition-range", f"{DAYS.first}...{DAYS.last}"),
            **environ,
        )

    def asked(self) -> int:
        return len(self.sandbox.control("log"))

    def asks(self, more: int, seconds: float = 120) -> float:
        """The seconds until so many more requests have come."""
        before = self.asked()
        return wait_for(lambda: self.asked() >= before + more, seconds)

    def reads(self, path: str) -> None:
        """Wait until that is asked for."""
        wait_for(lambda: any(path in row["path"] for row in self.sandbox.control("log")), 120)

    def say(self, what: str, value: Any) -> None:
        shown = f"{value:.1f} s" if isinstance(value, float) else str(value)
        print(f"| {what} | {shown} |", flush=True)


@contextmanager
def case(**environ: str) -> Iterator[Case]:
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        Sandbox(seed=5, contacts=300, messages=10, days=20) as sandbox,
    ):
        home = {"ICONTACT_ASSETS_HOME": f"{name}/home", "ICONTACT_START_DATE": days_ago(40).isoformat()}
        yield Case(sandbox, Path(name), {**sandbox.environment(), **home, **environ})


def status_of_newest(dev: Dev) -> tuple[str, dg.DagsterRunStatus]:
    with dev.records() as instance:
        [run] = instance.get_runs(limit=1)
    return run.run_id, run.status


def worker() -> None:
    """The worker of a run is killed under `dagster dev`."""
    with case() as it:
        it.sandbox.control("faults", faults=[SLOW])
        dev = Dev(it.folder, it.environment)
        try:
            dev.start()
            first = dev.launch("icontact_import", range_tags(DAYS))
            it.asks(12)
            os.kill(dev.worker(first), signal.SIGKILL)
            it.say(
                "worker killed: its run is shown as failed after", wait_for(lambda: dev.status(first) == FAILED, 120)
            )
            second = dev.launch("icontact_import", range_tags(DAYS))
            it.say("worker killed: the next run asks iContact after", it.asks(1))
            it.asks(5)
            dev.kill()
            it.say("everything killed: status of the run", dev.status(second).value)
            dev.start()
            began = time.monotonic()
            third = dev.launch("icontact_import", range_tags(DAYS))
            it.say("everything killed, `dagster dev` started again: the next run asks after", it.asks(1))
            wait_for(lambda: dev.status(second) == FAILED, 180)
            it.say("... the old run is shown as failed after", time.monotonic() - began)
            wait_for(lambda: dev.status(third) == dg.DagsterRunStatus.SUCCESS, 180)
            it.sandbox.control("faults", faults=[STUCK])
            it.sandbox.control("log/clear")
            last = dev.launch("icontact_import", {**range_tags(DAYS), "icontact_assets/reread": "true"})
            it.reads("/opens")
            began = time.monotonic()
            dev.terminate(last)
            wait_for(lambda: dev.status(last) == dg.DagsterRunStatus.CANCELED, 120)
            it.say("terminated in the UI: cancelled after", time.monotonic() - began)
        finally:
            dev.kill()


def command_line() -> None:
    """A run of the command line is killed."""
    with case() as it:
        dev = Dev(it.folder, it.environment)
        it.sandbox.control("faults", faults=[SLOW])
        process = it.materialize()
        it.asks(12)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        first, status = status_of_newest(dev)
        it.say("command line killed: status of the run", status.value)
        it.sandbox.control("faults/clear")
        began = time.monotonic()
        code = it.materialize().wait()
        it.say(f"command line killed: the next one ends with {code} after", time.monotonic() - began)
        try:
            dev.start()
            seconds = wait_for(lambda: dev.status(first) == FAILED, 180)
            it.say("... with `dagster dev`, the killed run is shown as failed after", seconds)
        finally:
            dev.kill()


def together() -> None:
    """Two runs of one import at once."""
    with case(ICONTACT_REQUESTS_PER_SECOND="10") as it:
        it.sandbox.control("faults", faults=[SLOW])
        dev = Dev(it.folder, it.environment)
        with dev.records():
            pass
        began = time.monotonic()
        processes = [it.materialize(), it.materialize()]
        codes = [process.wait() for process in processes]
        seconds, asked = time.monotonic() - began, it.asked()
        it.say(f"two at once: exit codes {codes}, {asked} requests in", seconds)
        both = Project(it.sandbox, it.folder, it.environment)
        alone = Project(it.sandbox, it.folder, {**it.environment, "ICONTACT_ASSETS_HOME": f"{it.folder}/alone"})
        for _ in range(2):
            assert alone.run(window=DAYS).success
        it.say("one after the other: requests", it.asked() - asked)
        it.say("two at once: the events are iContact's", both.stored_events() == both.true_events())
        sql = "SELECT id FROM icontact.raw_contacts ORDER BY ALL"
        it.say("two at once: the contacts are those of one after the other", both.rows(sql) == alone.rows(sql))
        logs = "".join(log.read_text() for log in it.folder.glob("*.log"))
        it.say("two at once: one says that it waits", "Waits for process" in logs)


def _interrupted(
    name: str, how: signal.Signals, until: Callable[[Case], None], fault: Any = None, **environ: str
) -> None:
    with case(**environ) as it:
        dev = Dev(it.folder, it.environment)
        if fault:
            it.sandbox.control("faults", faults=[fault])
        holder = None
        if name == "lock":
            holder = FileLock(it.folder / "home" / "warehouse.duckdb.icontact.staging.lock")
            Path(holder.lock_file).parent.mkdir(parents=True)
            holder.acquire()
        process = it.materialize()
        until(it)
        began = time.monotonic()
        os.kill(process.pid, how)
        try:
            code: Any = process.wait(timeout=150)
        except subprocess.TimeoutExpired:
            code = "never"
            os.killpg(process.pid, signal.SIGKILL)
        seconds = time.monotonic() - began
        if holder:
            holder.release()
        _, status = status_of_newest(dev)
        free = []
        for lock in (it.folder / "home").rglob("*.lock"):
            try:
                with FileLock(lock, timeout=0):
                    pass
            except Timeout:
                free.append(lock.name)
        it.say(f"{how.name} during {name}: {status.value}, exit code {code}, locks held {free}, after", seconds)


def interrupts() -> None:
    """SIGTERM and Ctrl-C, at each place where a run may wait."""
    for workers in ("1", "3"):
        _interrupted(
            f"a request, {workers} workers",
            signal.SIGTERM,
            lambda it: it.reads("/opens"),
            STUCK,
            ICONTACT_WORKERS=workers,
        )
        _interrupted(
            f"the wait for the budget, {workers} workers",
            signal.SIGTERM,
            lambda it: (it.asks(10), time.sleep(3)),
            ICONTACT_REQUESTS_PER_MINUTE="10",
            ICONTACT_WORKERS=workers,
        )
    contacts = {"path": "/contacts", "do": {"kind": "delay", "seconds": 100}}
    _interrupted("a request for contacts", signal.SIGINT, lambda it: it.reads("/contacts"), contacts)
    _interrupted("lock", signal.SIGTERM, lambda it: wait_for(lambda: "Waits for" in it.log.read_text(), 60))


def _moments(
    prepare: Callable[[Project, int], None], tidy: Callable[[Project], str], kills: int = 30, seed: int = 5
) -> None:
    """Kill what reads and maps at random moments, each in a folder of its own, and let the next run end."""
    chance = random.Random(seed)
    window = Window(days_ago(1), days_ago(1))
    with Sandbox(seed=5, contacts=300, messages=10, days=20) as sandbox, tempfile.TemporaryDirectory() as name:

        def project(number: int) -> Project:
            folder = Path(name) / str(number)
            folder.mkdir()
            made = Project.in_folder(sandbox, folder).quick()
            prepare(made, number)
            return made

        undisturbed = project(0)
        well, seconds = finished(undisturbed, window)
        assert well
        wanted, cut_off, right, slowest, left = outcome(undisturbed), 0, 0, 0.0, Counter[str]()
        for number in range(1, kills + 1):
            it = project(number)
            cut_off += killed(it, window, chance.uniform(0, seconds))
            well, took = finished(it, window)
            slowest = max(slowest, took)
            left[tidy(it)] += 1
            found = outcome(it)
            differing = [table for table in wanted if found.get(table) != wanted[table]]
            right += well and not differing
            print(f"{number} of {kills} kills", file=sys.stderr)
            if not well or differing:
                print(f"kill {number}: the next run ended {'well' if well else 'badly'}, differing: {differing}")
        print(f"| kills of a run that was going on, of an undisturbed run of {seconds:.0f} s | {cut_off} of {kills} |")
        print(f"| the next run ended well, with the tables of an undisturbed run | {right} of {kills} |")
        print(f"| the longest next run | {slowest:.0f} s |")
        for what, times in sorted(left.items()):
            print(f"| {what} | {times} times |")


def file() -> None:
    """Kills at random moments, with the tables in a file."""
    _moments(lambda *_: None, lambda _: "nothing to tidy up")


def lake(kills: int = 30, seed: int = 5) -> None:
    """Kills at random moments, with the tables in a lake. Maintenance removes what they left."""
    with started() as server:

        def prepare(it: Project, _: int) -> None:
            it.environment |= {
                "ICONTACT_ASSETS_WAREHOUSE": f"ducklake:postgres:{server.conninfo(server.database())}",
                "ICONTACT_ASSETS_DATA": str(it.home / "data"),
            }

        _moments(prepare, orphans_removed, kills, seed)


def main() -> None:
    chosen = sys.argv[1:] or ["worker", "command", "together", "interrupts"]
    print("| What | |\n| --- | --- |")
    for run in (worker, command_line, together, interrupts, file, lake):
        if any(run.__name__.startswith(name) for name in chosen):
            run()


if __name__ == "__main__":
    main()
