"""What doctor says about files that cannot be used: one paragraph with the remedy, and no traceback."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icontact_assets.cli import app
from icontact_assets.doctor import database, published
from icontact_assets.icontact.errors import BudgetUnusable
from icontact_assets.ingest.staging import Staging, StagingError, check_staging
from icontact_assets.resources import budget_of, open_import, open_warehouse, staging_path
from icontact_assets.settings.models import Settings
from icontact_assets.warehouse.storage import WarehouseError
from icontact_assets_tests.harness import Project


def doctor(project: Project, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.chdir(project.home)
    done = CliRunner().invoke(app, ["doctor"], env={**project.environment, "COLUMNS": "400"})
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, " ".join(done.output.replace("│", " ").split())


def sqlite(path: Path) -> None:
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE a (x)")
    connection.close()


def text(path: Path) -> None:
    path.write_text("something else" * 500)


@pytest.mark.parametrize(
    ("name", "spoil", "says"),
    [
        ("warehouse.duckdb", sqlite, "not a valid DuckDB database file. Name another file"),
        ("warehouse.duckdb.icontact.staging", text, "Move it away: what waits in it is read again."),
        ("budget/{}.sqlite", text, "was damaged and is now"),
        ("budget", text, "The request budget"),
        ("../icontact.yaml", text, "Write sections"),
    ],
)
def test_doctor_says_what_cannot_be_used(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str, spoil: Callable[[Path], None], says: str
) -> None:
    project.environment["ICONTACT_REQUESTS_PER_DAY"] = "100"
    settings = project.settings
    (import_,) = settings.imports
    if name.startswith("budget/"):
        budget_of(settings, import_).take()
        (path,) = (settings.home / "budget").glob("*.sqlite")
    else:
        open_import(settings, import_).prepare()
        path = settings.home / name
    spoil(path)
    code, said = doctor(project, monkeypatch)
    assert says in said
    assert "Traceback" not in said
    assert code == 1


@pytest.fixture
def closed(project: Project) -> Iterator[Settings]:
    """Settings whose home belongs to somebody else, and lets nobody in."""
    project.environment["ICONTACT_REQUESTS_PER_DAY"] = "100"
    settings = project.settings
    (import_,) = settings.imports
    open_import(settings, import_).prepare()
    budget_of(settings, import_).take()
    with Staging(staging_path(settings, import_)):
        pass
    settings.home.chmod(0)
    if os.geteuid() != 0:
        yield settings
    else:
        os.seteuid(65534)
        try:
            yield settings
        finally:
            os.seteuid(0)
    settings.home.chmod(0o700)


def test_files_of_another_owner_are_named(closed: Settings) -> None:
    (import_,) = closed.imports
    with pytest.raises(WarehouseError, match="Permission denied"):
        database(closed)
    with pytest.raises(WarehouseError, match="Permission denied"):
        open_import(closed, import_).prepare()
    with pytest.raises(BudgetUnusable, match="Permission denied"):
        budget_of(closed, import_)
    for use in (Staging, check_staging):
        with pytest.raises(StagingError, match="Permission denied"):
            use(staging_path(closed, import_))


def test_doctor_says_how_old_the_published_copy_is(imported: Project) -> None:
    settings = imported.settings
    assert settings.published_path is not None
    assert "has what the database has" in published(settings)[1]
    with open_warehouse(settings).write("a test") as connection:
        connection.execute("CREATE TABLE news (x INTEGER)")
    mark, text = published(settings)
    assert str(mark) == "warning"
    assert "the database has changed since" in text
    settings.published_path.unlink()
    assert "the next run that changes a table makes" in published(settings)[1]
    imported.environment["ICONTACT_ASSETS_PUBLISH"] = "false"
    assert "none is made" in published(imported.settings)[1]
