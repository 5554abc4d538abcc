"""Fixtures: sandboxes, and what the harness acts with, made anew for each test."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from filelock import FileLock

from icontact_assets.exports import live
from icontact_assets.ingest.window import Window
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.harness import (
    ALL_RAW,
    AUDIENCE,
    House,
    Project,
    Store,
    days_ago,
    read_trusting,
    resume,
    shared_records,
)
from icontact_assets_tests.harness.held import let_all_go
from icontact_assets_tests.harness.place import InFile, InLake, Place
from icontact_assets_tests.harness.postgres import Postgres, started


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with started() as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def engine() -> Iterator[None]:
    with shared_records():
        yield


@pytest.fixture(autouse=True)
def databases() -> Iterator[None]:
    yield
    let_all_go()


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


@pytest.fixture(scope="session")
def lakes(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> InLake:
    return InLake(postgres, tmp_path_factory.mktemp("lakes"))


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    """Where the tables of a test are: a file, unless it is `on_both`."""
    return request.getfixturevalue("lakes") if getattr(request, "param", "file") == "lake" else InFile()


@pytest.fixture
def beginning(shared_sandbox: Sandbox, place: Place, tmp_path: Path) -> Project:
    """A project for tests that begin with a world of their own: they reset its sandbox."""
    return Project.in_folder(shared_sandbox, tmp_path, place.variables(tmp_path))


@pytest.fixture
def project(sandbox: Sandbox, place: Place, tmp_path: Path) -> Project:
    return Project.in_folder(sandbox, tmp_path, place.variables(tmp_path))


@pytest.fixture(scope="session")
def after_the_job(
    shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Place], tuple[Project, str]]:
    """A project that holds what the daily job makes, and the time at which its world began, which is one for all places.
    Copying it is much faster than making it for each test. The processes of pytest-xdist share the one in a file: their
    sandboxes have the same world."""
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent
    began = common / "after_the_job.began"

    def run(project: Project) -> None:
        if began.exists():
            shared_sandbox.control("reset", now=began.read_text())
        else:
            shared_sandbox.control("reset")
        assert project.run(ALL_RAW, Window(days_ago(1), days_ago(1))).success
        assert project.run('not key:"icontact/raw_*" and not key:"icontact/export_*"').success
        began.write_text(shared_sandbox.control("clock")["now"])

    @cache
    def made(place: Place) -> tuple[Project, str]:
        folder = (common if isinstance(place, InFile) else tmp_path_factory.getbasetemp()) / f"after_{place.name}"
        project = Project.in_folder(shared_sandbox, folder, place.variables(folder))
        project.environment["ICONTACT_ASSETS_PUBLISH"] = "true"
        with FileLock(common / "after_the_job.lock"):
            if not folder.exists():
                folder.mkdir()
                project.config = AUDIENCE
                run(project.quick())
        return project, began.read_text()

    return made


@pytest.fixture
def imported(
    after_the_job: Callable[[Place], tuple[Project, str]], place: Place, shared_sandbox: Sandbox, tmp_path: Path
) -> Project:
    """A project whose daily job ran over yesterday, with an audience and its export. Dagster has no records of it."""
    template, began = after_the_job(place)
    resume(shared_sandbox, began)
    shutil.copytree(template.home / "home", tmp_path / "home")
    environment = place.copied(template.environment) | {"ICONTACT_ASSETS_HOME": str(tmp_path / "home")}
    return Project(shared_sandbox, tmp_path, environment, config=AUDIENCE)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Place], Warehouse]:
    """A database with the tables of an import. Copying it is much faster than making one for each test."""

    @cache
    def made(place: Place) -> Warehouse:
        warehouse = place.warehouse(tmp_path_factory.mktemp("prepared"))
        warehouse.prepare()
        Store(warehouse).profiles()
        warehouse.let_go()
        return warehouse

    return made


@pytest.fixture(scope="session")
def computed(
    prepared: Callable[[Place], Warehouse], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Place], Warehouse]:
    """The same, with an audience `everybody` that nobody is in."""

    @cache
    def made(place: Place) -> Warehouse:
        store = Store(place.warehouse(tmp_path_factory.mktemp("computed"), prepared(place)))
        store.audience()
        store.warehouse.let_go()
        return store.warehouse

    return made


@pytest.fixture
def store(prepared: Callable[[Place], Warehouse], place: Place, tmp_path: Path) -> Iterator[Store]:
    warehouse = place.warehouse(tmp_path, prepared(place))
    yield Store(warehouse)
    warehouse.let_go()


@pytest.fixture
def unlocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SQL of audiences is ours: an engine that is locked for it could not be used again."""
    monkeypatch.setattr(Warehouse, "read", read_trusting)


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[Sandbox]:
    with Sandbox(contacts=0, messages=0, days=1) as sandbox:
        yield sandbox


@pytest.fixture
def house(
    running_sandbox: Sandbox,
    computed: Callable[[Place], Warehouse],
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[House]:
    running_sandbox.control("reset")
    monkeypatch.setattr(live, "SETTLE_SECONDS", 0.0)
    warehouse = place.warehouse(tmp_path, computed(place))
    yield House(running_sandbox, Store(warehouse), tmp_path / "home")
    warehouse.let_go()
