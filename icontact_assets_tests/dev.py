"""`dagster dev` with its daemon, on a home of its own and the `dagster.yaml` that we ship: started, asked, killed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import requests

from icontact_assets.demo import DAGSTER

_LAUNCH = """
mutation($job: String!, $tags: [ExecutionTag!]!) { launchRun(executionParams: {
  selector: {repositoryLocationName: "icontact_assets.definitions", repositoryName: "__repository__", jobName: $job}
  executionMetadata: {tags: $tags}
}) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
_TERMINATE = "mutation($run: String!) { terminateRun(runId: $run) { __typename ... on PythonError { message } } }"


class Dev:
    """A process group of `dagster dev` in `folder`, whose records survive it below `folder`/dagster."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.home = folder, folder / "dagster"
        self.home.mkdir(exist_ok=True)
        shutil.copy(DAGSTER, self.home / "dagster.yaml")
        self.environment = {**os.environ, **environment, "DAGSTER_HOME": str(self.home)}
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it takes runs."""
        command = [sys.executable, "-m", "dagster", "dev", "-m", "icontact_assets.definitions", "-p", str(self.port)]
        with (self.folder / "dev.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self.environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(self._ready, 120)

    def _ready(self) -> bool:
        query = '{ repositoryOrError(repositorySelector: {repositoryLocationName: "icontact_assets.definitions", repositoryName: "__repository__"}) { __typename } }'
        try:
            return self._ask(query)["repositoryOrError"]["__typename"] == "Repository"
        except requests.RequestException:
            return False

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        address = f"http://127.0.0.1:{self.port}/graphql"
        answer = requests.post(address, json={"query": query, "variables": variables}, timeout=60).json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def launch(self, job: str, tags: Mapping[str, str]) -> str:
        """Start a run as the UI does; returns its id."""
        listed = [{"key": key, "value": value} for key, value in tags.items()]
        launched = self._ask(_LAUNCH, job=job, tags=listed)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id: str = launched["run"]["runId"]
        return run_id

    def terminate(self, run_id: str) -> None:
        """Stop a run as the UI does."""
        answer = self._ask(_TERMINATE, run=run_id)["terminateRun"]
        assert answer["__typename"] == "TerminateRunSuccess", answer

    @contextmanager
    def records(self) -> Iterator[dg.DagsterInstance]:
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            yield instance

    def status(self, run_id: str) -> dg.DagsterRunStatus:
        with self.records() as instance:
            run = instance.get_run_by_id(run_id)
        assert run is not None
        return run.status

    def worker(self, run_id: str) -> int:
        """The process id of a run's worker."""
        found: list[int] = []

        def started() -> bool:
            with self.records() as instance:
                texts = [entry.message for entry in instance.all_logs(run_id)]
            found.extend(
                int(pid) for text in texts for pid in re.findall(r"Executing steps in process \(pid: (\d+)", text)
            )
            return bool(found)

        wait_for(started, 60)
        return found[0]

    def command_lines(self) -> list[bytes]:
        """The command line of each of its processes, as `ps` shows it."""
        assert self._process is not None
        found = []
        for pid in [self._process.pid, *_below(self._process.pid)]:
            with contextlib.suppress(OSError):
                found.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" "))
        return found

    def kill(self, signal_: signal.Signals = signal.SIGKILL) -> None:
        """End webserver, daemon, code servers and workers: every process of the group and of the sessions below it."""
        if self._process is None:
            return
        for pid in [*_below(self._process.pid), self._process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal_)
        self._process.wait()
        self._process = None


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _below(pid: int) -> list[int]:
    """All descendants of a process, the deepest first."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children: dict[int, list[int]] = {}
    for line in listed.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)

    def walk(parent: int) -> list[int]:
        return [each for child in children.get(parent, []) for each in (*walk(child), child)]

    return walk(pid)


def wait_for(condition: Callable[[], bool], seconds: float) -> float:
    """Wait until it holds; returns the seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds:.0f} s"
        time.sleep(0.2)
    return time.monotonic() - began
