"""Runs one command of the suite in a process of its own and measures it. Servers and folders that commands share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
OTHERS = ROOT / ".venv-bench" / "bin"
"""Where dlt is installed, which the project does not need."""

DAYS = 71
_SETTINGS = {
    "ICONTACT_APP_ID": "sandbox-app",
    "ICONTACT_API_USERNAME": "sandbox-user",
    "ICONTACT_API_PASSWORD": "sandbox-pass",
    "ICONTACT_ACCOUNT_ID": "1300001",
    "ICONTACT_CLIENT_FOLDER_ID": "7601",
    "ICONTACT_REQUESTS_PER_SECOND": "0",
    "ICONTACT_REQUESTS_PER_MINUTE": "0",
    "ICONTACT_REQUESTS_PER_DAY": "0",
}


class Failed(Exception):
    """A measured command failed, so there is nothing to report of it."""


@dataclass(frozen=True)
class Measured:
    """What one process took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds in user and system mode, of the process and of all children that it waited for."""
    peak_mb: float
    """Resident memory of the largest of these processes at its largest."""
    rows: int | None = None
    requests: int | None = None


@dataclass(frozen=True)
class Command:
    """What is run and measured. A job may print a line of JSON last: `rows`, `requests`, and `wall` and `cpu` where
    only a part of it counts."""

    argv: Sequence[str | Path]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = ROOT
    server: str | None = None
    """The address of the server that counts its requests."""
    rows: Callable[[], int] | None = None
    """How many rows it left, asked for after it."""


class Bench:
    """Context manager around what is shared by the commands of one run of the suite, in a temporary folder."""

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        self._servers: dict[tuple[str, ...], str] = {}
        self._prepared: dict[str, Path] = {}
        self._passing: list[Path] = []
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @cached_property
    def today(self) -> datetime:
        """The day (UTC) that runs end with, even if they go on past midnight."""
        return datetime.now(UTC)

    def server(self, **options: float) -> str:
        """The address of a server with these options of `benchmarks.server`, started once."""
        arguments = tuple(f"--{name}={value}" for name, value in options.items())
        if arguments not in self._servers:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.server", *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT
            )
            self._stack.callback(process.wait)
            self._stack.callback(process.terminate)
            assert process.stdout is not None
            self._servers[arguments] = process.stdout.readline().split()[1]
        return self._servers[arguments]

    def new_folder(self) -> Path:
        """An empty folder, for the next command."""
        self._passing.append(Path(tempfile.mkdtemp(dir=self.folder)))
        return self._passing[-1]

    def prepared(self, name: str, make: Callable[[Path], None]) -> Path:
        """A folder of that name, filled by `make` when it is first asked for."""
        if name not in self._prepared:
            folder = Path(tempfile.mkdtemp(dir=self.folder))
            make(folder)
            self._prepared[name] = folder
        return self._prepared[name]

    def copied(self, folder: Path) -> Path:
        """A copy of a folder, which the command may change."""
        return Path(shutil.copytree(folder, self.new_folder(), dirs_exist_ok=True))

    def run(self, command: Command) -> Measured:
        """Run a command, measure it and delete its folders. Raises Failed with the end of what it said."""
        try:
            return self._run(command)
        finally:
            for folder in self._passing:
                shutil.rmtree(folder)
            self._passing.clear()

    def _run(self, command: Command) -> Measured:
        if command.server:
            _requests(command.server)
        with tempfile.TemporaryFile("w+") as out:
            began = time.perf_counter()
            process = subprocess.Popen(
                [str(part) for part in command.argv],
                env={**_environment(), **command.environment},
                cwd=command.folder,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
            # Not RUSAGE_CHILDREN: that is the sum, and the largest, of all processes so far.
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            said = out.read()
        if process.returncode != 0:
            raise Failed(f"{' '.join(map(str, command.argv))} ended with {process.returncode}:\n{said[-3000:]}")
        found = _last_line(said)
        if command.server:
            found.setdefault("requests", _requests(command.server))
        if command.rows:
            found.setdefault("rows", command.rows())
        own = {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}
        return Measured(**{**own, **found})

    def first_day(self, days: int) -> str:
        """The first of so many days up to today."""
        return str((self.today - timedelta(days=days - 1)).date())

    def settings(self, home: Path, server: str, days: int = DAYS, **more: str) -> dict[str, str]:
        """The variables by which the project reads from a server into a home, from so many days ago on."""
        (home / "dagster").mkdir(exist_ok=True)
        shutil.copy(ROOT / "icontact_assets" / "dagster.yaml", home / "dagster")
        return {
            **_SETTINGS,
            "DAGSTER_HOME": str(home / "dagster"),
            "ICONTACT_ASSETS_HOME": str(home / "home"),
            "ICONTACT_BASE_URL": server,
            "ICONTACT_PAGE_SIZE": "5000",
            "ICONTACT_START_DATE": self.first_day(days),
            **more,
        }


def job(name: str, *arguments: object) -> list[str | Path]:
    """The command that runs a module of `benchmarks/jobs/`."""
    return [sys.executable, "-m", f"benchmarks.jobs.{name}", *map(str, arguments)]


def materialize(module: str, selection: str, days: tuple[str, str]) -> list[str | Path]:
    """The command by which Dagster materializes a selection of assets over a range of days."""
    asked = ["--select", selection, "--partition-range", "...".join(days)]
    return [BIN / "dagster", "asset", "materialize", "-m", module, *asked]


def _environment() -> dict[str, str]:
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("ICONTACT_", "DAGSTER_"))}
    return {**ours, "PYTHONPATH": str(ROOT)}


def _requests(server: str) -> int:
    with urllib.request.urlopen(server.removesuffix("/icp") + "/requests") as answer:
        return int(answer.read())


def _last_line(said: str) -> dict[str, Any]:
    last = said.strip().rpartition("\n")[2]
    return json.loads(last) if last.startswith("{") else {}
