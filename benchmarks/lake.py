"""The tables in a lake against those in the file: `python -m benchmarks.lake [job | mapping] [ROUNDS | EVENTS]`.

`job`: the main job of a small account, and then again with no news, so many times: in this process, without Dagster's
start and records, and as a process of its own, as from the command line. `mapping`: all of so many events are mapped.
CPU is that of the processes that work, which PostgreSQL and S3 are not in. The least of all rounds is shown.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.bench import BIN, ROOT
from benchmarks.jobs.mapping import JOBS, make
from icontact_assets.ingest.window import Window
from icontact_assets.resources import storage_of
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.settings.load import load_settings
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.harness import AUDIENCE, Project, days_ago
from icontact_assets_tests.harness.postgres import Postgres, started
from icontact_assets_tests.harness.s3 import BUCKET

_ASKED = ("--job", "icontact_import", "--partition")

FILE, DISK, S3 = "file", "lake", "lake in S3"

# In a process of its own, so that its CPU is not counted.
_SERVE = """
import json, sys
from icontact_assets_tests.harness.s3 import moto_s3
with moto_s3() as variables:
    print(json.dumps(variables), flush=True)
    sys.stdin.read()
"""


@contextmanager
def _s3() -> Iterator[None]:
    """S3 on loopback, as AWS's programs find it."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as served:
        assert served.stdin
        assert served.stdout
        os.environ.update(json.loads(next(line for line in served.stdout if line.startswith("{"))))
        yield
        served.stdin.close()


def _variables(kind: str, postgres: Postgres, folder: Path) -> dict[str, str]:
    if kind == FILE:
        return {}
    return {
        "ICONTACT_ASSETS_WAREHOUSE": f"ducklake:postgres:{postgres.conninfo(postgres.database())}",
        "ICONTACT_ASSETS_DATA": f"s3://{BUCKET}/{folder.name.replace(' ', '-')}"
        if kind == S3
        else str(folder / "data"),
    }


def _cpu() -> float:
    """CPU seconds of this process, and of those it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Times:
    """The least seconds of each thing, by where the tables are."""

    def __init__(self) -> None:
        self._least: dict[tuple[str, str], tuple[float, float]] = {}

    def take(self, what: str, kind: str, work: Callable[[], object]) -> None:
        wall, cpu = time.perf_counter(), _cpu()
        work()
        took = _cpu() - cpu, time.perf_counter() - wall
        former = self._least.get((what, kind), took)
        self._least[what, kind] = min(former[0], took[0]), min(former[1], took[1])

    def show(self) -> None:
        for (what, kind), (cpu, wall) in self._least.items():
            of_file = self._least[what, FILE]
            print(
                f"{what:20} {kind:10} {cpu:6.1f} CPU s ({cpu / of_file[0]:.2f}) {wall:6.1f} s ({wall / of_file[1]:.2f})"
            )


def jobs(postgres: Postgres, folder: Path, rounds: int, times: Times) -> None:
    """The main job, and so many times again."""
    day = days_ago(1)

    def run(project: Project) -> None:
        assert project.job(Window(day, day)).success

    def launch(project: Project) -> None:
        home = project.home / "dagster"
        home.mkdir(exist_ok=True)
        shutil.copy(ROOT / "dagster.yaml", home)
        subprocess.run(
            [BIN / "dg", "launch", "-m", "icontact_assets.definitions", *_ASKED, str(day)],
            env={**os.environ, **project.environment, "DAGSTER_HOME": str(home)},
            cwd=project.home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )

    with Sandbox() as sandbox, _s3():
        projects: dict[tuple[str, bool], Project] = {}
        for kind in (FILE, DISK, S3):
            for as_process in (False, True):
                home = folder / f"{kind}{' of processes' * as_process}"
                home.mkdir()
                project = Project.in_folder(sandbox, home, _variables(kind, postgres, home)).quick()
                project.config = AUDIENCE
                assert project.settings.exports, "the file of settings is written"
                projects[kind, as_process] = project
        for number in range(rounds + 1):
            for (kind, as_process), project in projects.items():
                what = ("no news" if number else "main job") + ", a process" * as_process
                work = launch if as_process else run
                times.take(what, kind, lambda work=work, project=project: work(project))


def mapping(postgres: Postgres, folder: Path, events: int, times: Times) -> None:
    """All events mapped anew, each place in turn. What is measured is rolled back."""
    _, work = JOBS["full"]
    with _s3():
        for kind in (FILE, DISK, S3):
            home = folder / kind
            home.mkdir()
            warehouse = Warehouse(storage_of(load_settings(_variables(kind, postgres, home), home)), "icontact")
            make(warehouse, events, events // 25)
            for _ in range(2):
                with warehouse.write("measuring") as connection:
                    times.take("mapping", kind, lambda connection=connection: work(connection))
                    connection.execute("ROLLBACK")
                    connection.execute("BEGIN")


def main() -> None:
    what, *rest = sys.argv[1:] or ["job"]
    times = Times()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        postgres = stack.enter_context(started())
        if what == "mapping":
            mapping(postgres, folder, int(rest[0]) if rest else 10_000_000, times)
        else:
            jobs(postgres, folder, int(rest[0]) if rest else 4, times)
    times.show()


if __name__ == "__main__":
    main()
