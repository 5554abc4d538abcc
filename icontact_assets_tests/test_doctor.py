"""What doctor says about files that cannot be used: one paragraph with the remedy, and no traceback."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icontact_assets.cli import app
from icontact_assets.connect import budget_of, open_import
from icontact_assets_tests.conftest import Project


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
        open_import(settings, import_)
        path = settings.home / name
    spoil(path)
    code, said = doctor(project, monkeypatch)
    assert says in said
    assert "Traceback" not in said
    assert code == 1
