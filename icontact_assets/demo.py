"""The main job on the sandbox, end to end, and the Dagster UI on the same data."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

import requests
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from icontact_assets.errors import UserError
from icontact_assets.init import DAGSTER
from icontact_assets.private import OWNER
from icontact_assets.sandbox.kept import KeptError, began_at
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.terminal import say, show

if TYPE_CHECKING:
    import dagster as dg

    from icontact_assets.settings.models import Settings

DAYS = 45

_HOST = "127.0.0.1"

EVERY_SECONDS = 15.0
"""Off a terminal, the demo says so often that it goes on."""

_WORLD = "sandbox"
"""The file in the demo's folder that keeps its world."""

_CONFIG = """\
audiences:
  - name: active_readers
    label: Active readers
    description: Opened or clicked in the last 30 days.
    import: icontact
    where: greatest(email_last_open_ts, email_last_click_ts) >= now()::TIMESTAMP - INTERVAL 30 DAY
exports:
  - name: active_readers
    label: Active readers to a list
    audience: active_readers
    list: "{list_id}"
    mode: add
"""


class _Done(NamedTuple):
    """What the main job did."""

    days: int
    members_before: int
    """Members of the list before the export."""
    members_after: int


class DemoFailed(UserError):
    """The demo failed. The text says in which step, and how to see more."""


def run(home: Path, *, contacts: int = 2000, messages: int = 40) -> None:
    """Run the main job against a sandbox of its own and print what was done. Raises DemoFailed.

    `home` is emptied first. Afterwards it holds the database and Dagster's records.
    """
    try:
        if home.exists() and any(home.iterdir()) and not (home / _WORLD).is_file():
            raise DemoFailed(f"{home} holds something other than a demo, and would be emptied. Name another folder.")
        shutil.rmtree(home, ignore_errors=True)
        OWNER.folder(home)
    except OSError as error:
        raise DemoFailed(f"{home} cannot be used: {error}. Name another folder with --home.") from error
    started = time.monotonic()
    with _sandbox(home, contacts, messages) as sandbox, _environment(home, sandbox):
        from icontact_assets.resources import report_path, storage_of
        from icontact_assets.settings.load import load_settings

        settings = load_settings()
        with progress(sandbox) as step:
            done = _main_job(settings, home, sandbox, step)
        show(
            _summary(settings, sandbox, done, time.monotonic() - started),
            headers=("what", "number"),
            title=f"{done.days} days of a sandbox iContact in DuckDB tables",
            numbers=True,
        )
    say(
        f"The database is {storage_of(settings).where}. `make ui` opens Dagster on it.\n"
        f"The report on its last days is {report_path(settings, settings.imports[0])}: open it in a browser."
    )


def ui(home: Path, port: int | None = None) -> None:
    """Open the Dagster UI on the demo's data, its sandbox running, until interrupted. Runs the demo first if needed.

    The sandbox goes on with the demo's own world, at today's time. Without `port` it is 3000, or a free one if that is
    taken. Raises DemoFailed.
    """
    chosen = free_port(port)
    if not (home / _WORLD).is_file():
        run(home)
    with _sandbox(home) as sandbox, _environment(home, sandbox):
        command = [
            *(sys.executable, "-m", "dagster_dg_cli.cli", "dev"),
            *("-m", "icontact_assets.definitions", "-h", _HOST, "-p", str(chosen), "--log-level", "warning"),
        ]
        # Not in the working folder: what its .env says of an account must not take the place of the sandbox. In a
        # process group of its own: Ctrl-C reaches it once, from here.
        server = subprocess.Popen(command, cwd=home, start_new_session=True)  # noqa: S603 (our own interpreter)
        try:
            if _answers(server, chosen):
                say(
                    f"Dagster is at http://{_HOST}:{chosen}. Begin with the asset graph: "
                    f"open http://{_HOST}:{chosen}/asset-groups. Ctrl-C ends it."
                )
            if server.wait():
                raise DemoFailed(f"Dagster ended with exit code {server.returncode}. What it said is above.")
        except KeyboardInterrupt:
            say("Ended.")
        finally:
            _end(server)


def free_port(wanted: int | None) -> int:
    """The port for the UI. Raises DemoFailed if the wanted one is taken."""
    for port in (wanted,) if wanted is not None else (3000, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except (OSError, OverflowError) as error:
                taken = error
            else:
                chosen: int = probe.getsockname()[1]
                return chosen
    raise DemoFailed(
        f"Port {wanted} cannot be used ({taken}). Name another (`make ui PORT=3005`, `--port 3005`), or none: then a "
        "free one is taken."
    )


def _answers(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the UI answers. False if its process ends before."""
    while server.poll() is None:
        with suppress(requests.RequestException):
            if requests.get(f"http://{_HOST}:{port}/server_info", timeout=5).ok:
                return True
        time.sleep(0.5)
    return False


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the UI and all its processes. It ends its own when it is interrupted. What is left then is killed."""
    with suppress(subprocess.TimeoutExpired):
        server.send_signal(signal.SIGINT)
        server.wait(timeout=15)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


@contextmanager
def _sandbox(home: Path, contacts: int = 0, messages: int = 0) -> Iterator[Sandbox]:
    """The demo's world, which goes on where it is kept already. Raises DemoFailed."""
    with ExitStack() as stack:
        sandbox = Sandbox(seed=7, contacts=contacts, messages=messages, days=DAYS, state=home / _WORLD)
        try:
            stack.enter_context(sandbox)
        except RuntimeError as error:
            raise DemoFailed("The sandbox did not start. What it said is above.") from error
        yield sandbox


@contextmanager
def _environment(home: Path, sandbox: Sandbox) -> Iterator[None]:
    """The variables of the demo for this process and those it starts, the former ones afterwards."""
    lists = sandbox.control("truth?resource=lists")
    config = home / "icontact.yaml"
    config.write_text(_CONFIG.format(list_id=lists[-1]["list_id"]))
    dagster_home = home / "dagster"
    dagster_home.mkdir(exist_ok=True)
    shutil.copy(DAGSTER, dagster_home / "dagster.yaml")
    variables = {
        **sandbox.environment(),
        "ICONTACT_ASSETS_HOME": str(home.resolve()),
        "ICONTACT_ASSETS_DUCKDB": str((home / "warehouse.duckdb").resolve()),
        "ICONTACT_ASSETS_CONFIG": str(config.resolve()),
        "ICONTACT_START_DATE": _started(home).isoformat(),
        "ICONTACT_WORKERS": "2",
        "DAGSTER_HOME": str(dagster_home.resolve()),
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _started(home: Path) -> date:
    """The first UTC day of the world's history."""
    try:
        began = datetime.fromtimestamp(began_at(home / _WORLD), UTC)
    except KeptError as error:
        raise DemoFailed(f"{home} holds no demo that can be resumed. {error}") from error
    return (began - timedelta(days=DAYS)).date()


@contextmanager
def progress(sandbox: Sandbox) -> Iterator[Callable[[str], None]]:
    """Show which step begins and that it goes on: a bar in a terminal, a line every 15 seconds elsewhere."""
    with _own_output() as output:
        console = Console(file=output)
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            with Progress(*columns, console=console, transient=True) as bar:
                task = bar.add_task("", total=None)
                yield lambda text: bar.update(task, description=text)
            return
        began, ended = time.monotonic(), threading.Event()

        def tell(text: str) -> None:
            print(text, file=output, flush=True)

        def go_on() -> None:
            while not ended.wait(EVERY_SECONDS):
                requests_sent = len(sandbox.control("log"))
                tell(f"{time.monotonic() - began:.0f} s, {requests_sent:,} requests to iContact so far")

        thread = threading.Thread(target=go_on, daemon=True)
        thread.start()
        try:
            yield tell
        finally:
            ended.set()
            thread.join()


@contextmanager
def _own_output() -> Iterator[TextIO]:
    """Standard output under a descriptor of its own: Dagster redirects the usual one to a file while a step runs."""
    try:
        descriptor = os.dup(sys.stdout.fileno())
    except (OSError, ValueError):
        yield sys.stdout
        return
    with os.fdopen(descriptor, "w", encoding=sys.stdout.encoding) as output:
        yield output


def _main_job(settings: Settings, home: Path, sandbox: Sandbox, step: Callable[[str], None]) -> _Done:
    import dagster as dg

    from icontact_assets.build import build_defs
    from icontact_assets.ingest.window import Window
    from icontact_assets.partitions import range_tags

    defs = build_defs(settings)
    (import_,) = settings.imports
    (export,) = settings.exports
    window = Window(import_.start_date, datetime.now(UTC).date() - timedelta(days=1))
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        step(
            f"Reading {len(window.days)} days of contacts, messages and activity, mapping them, computing the audience"
        )
        _execute(defs.resolve_job_def(f"{import_.name}_import"), instance, range_tags(window))
        before = _members(sandbox, export.list)
        step("Asking the sensor, exporting the audience to the list")
        requested = _ask_sensor(defs, instance, "exports")
        if len(requested) != 1:
            raise DemoFailed(f"The sensor asked for {len(requested)} exports where the audience had changed once.")
        _execute(defs.resolve_job_def(f"export_{export.name}"), instance, dict(requested[0].tags))
        again = _ask_sensor(defs, instance, "exports")
        if again:
            raise DemoFailed("The sensor asked for a second export although nothing had changed.")
    return _Done(len(window.days), before, _members(sandbox, export.list))


def _execute(job: dg.JobDefinition, instance: dg.DagsterInstance, tags: dict[str, str]) -> None:
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    result = job.execute_in_process(instance=instance, tags=tags, run_config=quiet, raise_on_error=False)
    if not result.success:
        failed = [event.step_key for event in result.all_events if event.is_step_failure]
        raise DemoFailed(f"{job.name} failed in {', '.join(map(str, failed))}: `make ui` shows the run and its errors.")


def _ask_sensor(defs: dg.Definitions, instance: dg.DagsterInstance, name: str) -> list[dg.RunRequest]:
    import dagster as dg

    sensor = defs.resolve_sensor_def(name)
    tick = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, sensor_name=name, definitions=defs))
    return list(tick.run_requests or [])


def _members(sandbox: Sandbox, list_id: str) -> int:
    subscriptions = sandbox.control("truth?resource=subscriptions")
    return sum(row["list_id"] == list_id and row["status"] == "normal" and row["visible"] for row in subscriptions)


def _summary(settings: Settings, sandbox: Sandbox, done: _Done, seconds: float) -> list[tuple[str, str]]:
    from icontact_assets.resources import open_warehouse
    from icontact_assets.warehouse.tables import RAW_TABLES

    names = [table.name for table in RAW_TABLES]
    names += ["icontact_users", "icontact_activity", "icontact_profiles", "audience_members", "quarantine"]
    rows = []
    with open_warehouse(settings).read() as connection:
        for name in names:
            [(count,)] = connection.execute(f'SELECT count(*) FROM "icontact"."{name}"').fetchall()  # noqa: S608
            rows.append((f"rows in icontact.{name}", f"{count:,}"))
    return [
        *rows,
        ("members of the list before the export", f"{done.members_before:,}"),
        ("members of the list after the export", f"{done.members_after:,}"),
        ("requests to iContact", f"{len(sandbox.control('log')):,}"),
        ("seconds", f"{seconds:.1f}"),
    ]
