"""The services of deploy/compose/ as plain processes: with its commands and its environment, on ports of their own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest import mock

import dagster as dg
import yaml
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget

from icontact_assets_tests.harness.postgres import Postgres

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"
BIN = Path(sys.executable).parent
PASSWORDS = {"POSTGRES_PASSWORD": "p", "DAGSTER_PASSWORD": "d", "CATALOG_PASSWORD": "c"}

_LAUNCH = """mutation($job: String!, $assets: [AssetKeyInput!], $tags: [ExecutionTag!]) { launchPipelineExecution(
  executionParams: {selector: {repositoryLocationName: "icontact_assets", repositoryName: "__repository__",
  jobName: $job, assetSelection: $assets}, executionMetadata: {tags: $tags}}) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""


def compose() -> dict[str, Any]:
    """The services of compose.yaml, its anchors resolved."""
    services: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    return services


class Services:
    """Context manager around Redis, the code location, the daemon and so many workers. Each worker has its own home.

    The databases are those of databases.sql, in a server that runs. `environment` stands for the file of credentials.
    """

    def __init__(self, folder: Path, postgres: Postgres, environment: Mapping[str, str], workers: int = 2) -> None:
        self._folder, self._postgres, self._credentials, self._workers = folder, postgres, dict(environment), workers
        self._ports = {name: free_port() for name in ("redis", "code")}
        self._services = compose()
        self._open = ExitStack()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._databases(stack)
            stack.callback(self._stop)
            home = self._folder / "dagster_home"
            home.mkdir()
            shutil.copy(COMPOSE / "dagster.yaml", home)
            workspace = (ROOT / "deploy" / "workspace.yaml").read_text()
            (home / "workspace.yaml").write_text(workspace.replace("4000", str(self._ports["code"])))
            (self._folder / "data").mkdir()
            self._start("redis", "--port", str(self._ports["redis"]), "--bind", "127.0.0.1", "--dir", str(self._folder))
            self._wait("redis", lambda: listens(self._ports["redis"]))
            for number in range(self._workers):
                self._start("worker", "-n", f"worker{number}@%h", home=f"worker{number}")
            self._start("code")
            self._wait("code", lambda: listens(self._ports["code"]))
            self._start("daemon")
            stack.enter_context(mock.patch.dict(os.environ, self.environment("daemon")))
            self.instance = stack.enter_context(dg.DagsterInstance.from_config(str(home)))
            target = GrpcServerTarget("127.0.0.1", self._ports["code"], None, "icontact_assets")
            self._workspace = stack.enter_context(WorkspaceProcessContext(self.instance, target))
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def environment(self, name: str) -> dict[str, str]:
        """What the service has in its environment."""
        places = {
            "@postgres:5432/": f"@127.0.0.1:{self._postgres.port}/",
            "host=postgres ": f"host=127.0.0.1 port={self._postgres.port} ",
            "redis:6379": f"127.0.0.1:{self._ports['redis']}",
            "/opt/dagster/workers": str(self._folder / "dagster_home"),
            "/data/lake": str(self._folder / "data"),
        }
        found = {}
        for key, value in self._services[name].get("environment", {}).items():
            for there, place in places.items():
                value = value.replace(there, place)
            found[key] = re.sub(r"\$\{(\w+):\?\}", lambda match: PASSWORDS[match[1]], value)
        if "env_file" in self._services[name]:
            found |= self._credentials
        here = {"ICONTACT_CODE_HOST": "127.0.0.1", "DAGSTER_STATE": str(self._folder / "state")}
        return {**found, **here, "DAGSTER_WORKERS": str(self._workers)}

    def launch(self, job: str, window: tuple[str, str], *assets: str) -> str:
        """The id of a new run of a job, or of some assets, over the days of a window, as the UI asks for it."""
        from dagster_graphql.schema import create_schema

        tags = dict(zip(("start", "end"), window, strict=True))
        variables = {
            "job": "__ASSET_JOB" if assets else job,
            "assets": [{"path": asset.split("/")} for asset in assets] or None,
            "tags": [{"key": f"dagster/asset_partition_range_{end}", "value": day} for end, day in tags.items()],
        }
        context = self._workspace.create_request_context()
        done = asyncio.run(create_schema().execute_async(_LAUNCH, context_value=context, variable_values=variables))
        assert done.data, done.errors
        launched = done.data["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def wait(self, run_ids: list[str], seconds: float) -> list[dg.RunRecord]:
        """The records of these runs when all have ended."""
        filters = dg.RunsFilter(run_ids=run_ids)

        def ended() -> bool:
            return all(run.is_finished for run in self.instance.get_runs(filters))

        self._wait("the runs", ended, seconds)
        return list(self.instance.get_run_records(filters))

    def logs(self) -> str:
        """The ends of what the services wrote."""
        return "\n".join(f"--- {log.name}\n{log.read_text()[-3000:]}" for log in sorted(self._folder.glob("*.log")))

    def _databases(self, stack: ExitStack) -> None:
        server = ["-h", "127.0.0.1", "-p", str(self._postgres.port), "-U", "postgres"]
        subprocess.run(
            ["psql", "-q", "-v", "ON_ERROR_STOP=1", *server, "-f", COMPOSE / "databases.sql"],
            env={**os.environ, **PASSWORDS},
            check=True,
        )
        for name in ("dagster", "icontact"):
            stack.callback(self._postgres.execute, f"DROP ROLE {name}")
            stack.callback(self._postgres.drop, name)

    def _command(self, name: str) -> list[str]:
        if name != "code":
            found: list[str] = self._services[name]["command"]
            return [part.replace("/opt/dagster/", f"{self._folder / 'dagster_home'}/") for part in found]
        (line,) = re.findall(r"^CMD (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        return [part.replace("4000", str(self._ports["code"])) for part in json.loads(line)]

    def _start(self, name: str, *more: str, home: str | None = None) -> None:
        program, *arguments = self._command(name)
        command = [shutil.which(program, path=f"{BIN}:{os.defpath}") or program, *arguments, *more]
        environment = {
            **os.environ,
            **self.environment(name),
            "ICONTACT_ASSETS_HOME": str(self._folder / (home or name)),
        }
        with (self._folder / f"{home or name}.log").open("wb") as log:
            self.processes[home or name] = subprocess.Popen(
                command, env=environment, cwd=self._folder, stdout=log, stderr=log, start_new_session=True
            )

    def _wait(self, what: str, ready: Callable[[], bool], seconds: float = 120) -> None:
        until = time.monotonic() + seconds
        while not ready():
            gone = [name for name, process in self.processes.items() if process.poll() is not None]
            assert not gone, f"{gone} ended\n{self.logs()}"
            assert time.monotonic() < until, f"{what} took more than {seconds} s\n{self.logs()}"
            time.sleep(0.2)

    def _stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            # With whatever it started and left.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
