"""Runs publish what they changed, and go on while others read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from icontact_assets import frames
from icontact_assets.ingest.window import Window
from icontact_assets.resources import open_warehouse, reading
from icontact_assets.warehouse import foreign
from icontact_assets.warehouse.storage import WarehouseError
from icontact_assets_tests.harness import TODAY, Project, days_ago, only

MAPPED = 'key:"icontact/icontact_users"'

_COUNT = "SELECT count(*), count(DISTINCT id), max(observed_at) FROM icontact.raw_contacts"
_READER = """
import duckdb, sys
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    for query in sys.stdin:
        print(connection.execute(query).fetchall(), flush=True)
"""


class Reader:
    """Another program that has a database open read-only, as DuckDB's shell and BI tools do."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, query: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(query, file=self._process.stdin, flush=True)
        return self._process.stdout.readline()


@contextmanager
def reader(path: Path) -> Iterator[Reader]:
    command = [sys.executable, "-c", _READER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Reader(process)
        finally:
            process.kill()


def said(project: Project, done: dg.ExecuteInProcessResult) -> list[str]:
    """What the run's log says, by the run's own page."""
    return [record.user_message for record in project.instance.all_logs(done.run_id)]


def numbers(project: Project, query: str) -> str:
    with reading(project.settings) as connection:
        return f"{connection.execute(query).fetchall()}\n"


def test_a_backfill_is_green_while_others_have_the_copy_and_the_database_open(
    imported: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "_READER_SECONDS", 0.2)
    project = imported
    settings = project.settings
    assert settings.published_path is not None
    window = Window(days_ago(2), days_ago(1))
    with reader(settings.published_path) as of_copy, reader(settings.duckdb_path) as of_database:
        before = of_copy.ask(_COUNT)
        assert of_database.ask(_COUNT) == before
        project.sandbox.control("contacts/add", email="somebody@example.com")
        done = project.run(only("contacts", "activity"), window, **{"icontact_assets/reread": "true"})
        assert done.success
        assert (of_copy.ask(_COUNT), of_database.ask(_COUNT)) == (before, before)
        after = numbers(project, _COUNT)
        assert after != before
        with reader(settings.published_path) as later:
            assert later.ask(_COUNT) == after
    waits = [text for text in said(project, done) if "only reads" in text or "Waits for it" in text]
    assert len(waits) == 2, waits
    assert f"{project.rows(_COUNT)}\n" == after


def test_a_run_publishes_once_and_only_what_changed(imported: Project) -> None:
    settings = imported.settings
    assert settings.published_path is not None
    inode = settings.published_path.stat().st_ino
    imported.sandbox.control("contacts/add", email="somebody@example.com")
    done = imported.run(f"{only('contacts')} or {MAPPED}", Window(TODAY, TODAY))
    assert done.success
    texts = said(imported, done)
    (published,) = [at for at, text in enumerate(texts) if text.startswith("Published the tables in")]
    # Whoever waits for the end of a run finds what it did.
    assert published < next(at for at, text in enumerate(texts) if text.startswith("Finished execution of run"))
    assert settings.published_path.stat().st_ino != inode
    inode = settings.published_path.stat().st_ino
    assert imported.run('key:"icontact/raw_lists"', Window(days_ago(1), days_ago(1))).success
    assert settings.published_path.stat().st_ino == inode


def test_a_copy_that_cannot_be_made_is_told_and_the_run_is_green(imported: Project) -> None:
    settings = imported.settings
    assert settings.published_path is not None
    settings.published_path.unlink()
    settings.published_path.mkdir()
    done = imported.run(MAPPED)
    assert done.success
    (warning,) = [text for text in said(imported, done) if "could not be made" in text]
    assert warning.startswith("Whoever reads the published copy sees the tables of an earlier run.")
    assert [path.name for path in settings.published_path.parent.iterdir()] == ["warehouse.duckdb"]


def test_nothing_is_published_where_that_is_off(imported: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = imported.settings.published_path
    assert copy is not None
    copy.unlink()
    imported.environment["ICONTACT_ASSETS_PUBLISH"] = "false"
    assert imported.run(MAPPED).success
    assert not copy.exists()
    assert numbers(imported, _COUNT) == f"{imported.rows(_COUNT)}\n"


def test_frames_are_read_while_a_run_writes(imported: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in imported.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(imported.home)

    def people(**options: Any) -> int:
        return len(frames.read("icontact_users", columns=["ic_contact_id"], **options))

    with pytest.raises(WarehouseError, match=r"There is no icontact\.icontact_user\. Materialize it, or name another"):
        frames.read("icontact_user")
    with open_warehouse(imported.settings).write("a run") as connection:
        connection.execute("DELETE FROM icontact.icontact_users")
        found = people()
        assert found > 100
        # An installation whose last run published nothing makes the copy when it is first asked for.
        connection.execute("ROLLBACK")
        connection.execute("BEGIN")
    assert imported.settings.published_path is not None
    imported.settings.published_path.unlink()
    assert people() == found
    assert people(database=imported.settings.published_path) == found
