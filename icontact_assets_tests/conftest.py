"""Fixtures: sandboxes, and what the harness acts with, made anew for each test."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from filelock import FileLock

from icontact_assets.exports import live
from icontact_assets.ingest.window import Window
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.warehouse import file
from icontact_assets_tests.harness import (
    AUDIENCE,
    SCHEMA,
    HeldWarehouse,
    House,
    Project,
    Store,
    days_ago,
    resume,
    shared_records,
)
from icontact_assets_tests.harness.postgres import Postgres, started
from icontact_assets_tests.plain_ids import plain_id

# What its modules import is of the extra `lake`.
collect_ignore = [] if find_spec("psycopg") else ["lake"]


def pytest_make_parametrize_id(val: object) -> str | None:
    if isinstance(val, bytes):
        return plain_id(val.decode("latin-1"))
    text = val if isinstance(val, str) else getattr(val, "__name__", None)
    return plain_id(text) if isinstance(text, str) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "lake" in item.path.relative_to(Path(__file__).parent).parts:
            item.add_marker(pytest.mark.lake)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with started() as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def engine() -> Iterator[None]:
    with shared_records():
        yield


@pytest.fixture
def heeds_signals() -> Iterator[None]:
    """SIGINT interrupts this process, as it does outside of pytest-xdist, whose workers ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[Sandbox]:
    with Sandbox(seed=5, contacts=300, messages=10, days=20) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Sandbox:
    shared_sandbox.control("reset")
    return shared_sandbox


@pytest.fixture
def project(sandbox: Sandbox, tmp_path: Path) -> Project:
    return Project.in_folder(sandbox, tmp_path)


@pytest.fixture(scope="session")
def after_the_job(shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The home of a project whose daily job has run, and the time at which its world began. Copying it is much faster
    than running the job for each test. The processes of pytest-xdist share it: their sandboxes have the same world."""
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent
    folder, began = common / "after_the_job", common / "after_the_job.began"
    with FileLock(common / "after_the_job.lock"):
        if not began.exists():
            shared_sandbox.control("reset")
            now = shared_sandbox.control("clock")["now"]
            folder.mkdir()
            project = Project.in_folder(shared_sandbox, folder)
            project.config = AUDIENCE
            project.environment["ICONTACT_ASSETS_PUBLISH"] = "true"
            assert project.job(Window(days_ago(1), days_ago(1))).success
            began.write_text(now)
    return folder / "home", began.read_text()


@pytest.fixture
def imported(after_the_job: tuple[Path, str], project: Project) -> Project:
    """A project whose daily job ran over yesterday, with an audience and its export. Dagster has no records of it."""
    home, began = after_the_job
    resume(project.sandbox, began)
    shutil.copytree(home, project.home / "home")
    project.config = AUDIENCE
    project.environment["ICONTACT_ASSETS_PUBLISH"] = "true"
    return project


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the tables of an import. Copying it is much faster than making one for each test."""
    warehouse = HeldWarehouse(tmp_path_factory.mktemp("prepared") / "warehouse.duckdb", SCHEMA)
    warehouse.prepare()
    Store(warehouse).profiles()
    warehouse.let_go()
    return warehouse.path


@pytest.fixture(scope="session")
def computed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with an audience `everybody` that nobody is in."""
    store = Store(HeldWarehouse(tmp_path_factory.mktemp("computed") / "warehouse.duckdb", SCHEMA))
    shutil.copy(prepared, store.warehouse.path)
    store.audience()
    store.warehouse.let_go()
    return store.warehouse.path


@pytest.fixture
def store(prepared: Path, tmp_path: Path) -> Iterator[Store]:
    warehouse = HeldWarehouse(Path(shutil.copy(prepared, tmp_path)), SCHEMA)
    yield Store(warehouse)
    warehouse.let_go()


@pytest.fixture
def unlocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SQL of audiences is ours: an engine that is locked for it could not be used again."""
    monkeypatch.setattr(file, "close_to_users", lambda _: None)


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[Sandbox]:
    with Sandbox(contacts=0, messages=0, days=1) as sandbox:
        yield sandbox


@pytest.fixture
def house(running_sandbox: Sandbox, computed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    running_sandbox.control("reset")
    monkeypatch.setattr(live, "SETTLE_SECONDS", 0.0)
    warehouse = HeldWarehouse(Path(shutil.copy(computed, tmp_path)), SCHEMA)
    yield House(running_sandbox, Store(warehouse), tmp_path / "home")
    warehouse.let_go()
