"""The maintenance of a lake: few files, nobody's rows changed, and nothing removed that anybody needs."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from icontact_assets.build import build_defs
from icontact_assets.catalog import Catalog, Session
from icontact_assets.settings.load import load_settings
from icontact_assets.warehouse import upkeep
from icontact_assets.warehouse.lake import DuckLake
from icontact_assets.warehouse.storage import WarehouseError
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.harness.days import a_day_passes
from icontact_assets_tests.harness.postgres import Postgres

KEEP = timedelta(days=2)


@dataclass
class Lake:
    """A lake with a table that grows, one whose rows are replaced, and a small one."""

    storage: DuckLake
    data: Path
    session: Session

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.storage)

    def day(self, number: int) -> None:
        """The writes of a day, and the night after it."""
        with self.warehouse.write(f"day {number}") as connection:
            connection.execute(f"INSERT INTO a.events SELECT {number}, range, MAP {{'n': range}} FROM range(500)")
            connection.execute(f"DELETE FROM a.state WHERE key % 3 = {number % 3}")
            connection.execute(
                f"INSERT INTO a.state SELECT range, {number} FROM range(300) WHERE range % 3 = {number % 3}"
            )
            connection.execute(f"INSERT INTO a.small VALUES ({number})")
        a_day_passes(self.session, self.data)

    def rows(self) -> list[list[tuple[Any, ...]]]:
        """All rows, with the ids by which the mapping knows what is new."""
        with self.warehouse.read() as connection:
            return [
                connection.execute(f"SELECT rowid, * FROM a.{table} ORDER BY ALL").fetchall()
                for table in ("events", "state", "small")
            ]

    def files(self) -> set[str]:
        return {path.name for path in self.data.rglob("*.parquet")}

    def needed(self) -> set[str]:
        """The files of the current state."""
        return {
            path.rpartition("/")[2]
            for table in ("ducklake_data_file", "ducklake_delete_file")
            for (path,) in self.session.execute(f"SELECT path FROM {table} WHERE end_snapshot IS NULL").fetchall()
        }


@pytest.fixture
def lake(postgres: Postgres, catalog: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    monkeypatch.setattr(upkeep, "_MANY", 4)
    storage = DuckLake(postgres.conninfo(catalog), f"{tmp_path / 'data'}/", tmp_path / "work", wait_seconds=20)
    with Warehouse(storage).write("the first day") as connection:
        connection.execute("CREATE SCHEMA a")
        connection.execute("CREATE TABLE a.events (day INTEGER, number BIGINT, found MAP(VARCHAR, BIGINT))")
        connection.execute("CREATE TABLE a.state AS SELECT range AS key, 0 AS day FROM range(300)")
        connection.execute("CREATE TABLE a.small (day INTEGER)")
    with Catalog(postgres.conninfo(catalog)).session("a test") as session:
        yield Lake(storage, tmp_path / "data", session)


def test_files_stay_few_and_rows_as_they_are(lake: Lake) -> None:
    for number in range(1, 7):
        lake.day(number)
        if number < 5:
            continue
        before, without = lake.rows(), len(lake.needed())
        done = lake.storage.maintenance(KEEP)
        assert lake.rows() == before
        if number == 5:
            assert done.before.files == without >= done.after.files + 4
            assert done.after.files == len(lake.needed())
            assert done.rows_flushed == 5
            assert done.files_rewritten >= 5
            assert done.after.snapshots < done.before.snapshots
    assert lake.needed() < lake.files()
    for _ in range(2):
        for _ in range(3):
            a_day_passes(lake.session, lake.data)
        assert lake.storage.maintenance(KEEP).files_removed > 0
    assert lake.rows() == before
    # Now that there is one state alone, what it needs is there and nothing else.
    assert lake.files() == lake.needed()


def test_a_reader_of_a_former_state_finishes(lake: Lake) -> None:
    for number in range(1, 6):
        lake.day(number)
    with lake.warehouse.read() as connection:
        before = connection.execute("SELECT count(*), sum(number) FROM a.events").fetchall()
        lake.day(6)
        lake.storage.maintenance(KEEP)
        a_day_passes(lake.session, lake.data)
        lake.storage.maintenance(KEEP)
        assert connection.execute("SELECT count(*), sum(number) FROM a.events").fetchall() == before
    assert len(lake.rows()[0]) == 3_000


def test_only_old_orphans_are_removed(lake: Lake) -> None:
    lake.day(1)
    folder = lake.data / "a" / "events"
    [some, *_] = folder.glob("ducklake-*.parquet")
    old, namesake, new = folder / "old.parquet", lake.data / some.name, folder / "new.parquet"
    for path in (old, namesake):
        shutil.copy(some, path)
    for _ in range(3):
        a_day_passes(lake.session, lake.data)
    shutil.copy(some, new)
    new.touch()
    before = lake.rows()
    # No file that is needed has such a place. If DuckLake should ever err about places, nothing is lost.
    with pytest.raises(WarehouseError, match="takes 1 files for orphans that its own catalog names"):
        lake.storage.maintenance(KEEP)
    assert old.exists()
    namesake.unlink()
    # A run may write for hours before it commits, whatever the settings are.
    assert lake.storage.maintenance(timedelta(0)).orphans_removed == 1
    assert not old.exists()
    assert new.exists()
    # The file that names the owner of the folder is in no table.
    assert list(lake.data.glob("icontact-lake.*.owns"))
    assert lake.rows() == before


def test_a_run_that_writes_is_waited_for(lake: Lake) -> None:
    for number in range(1, 6):
        lake.day(number)
    wrote, go_on = threading.Event(), threading.Event()

    def run() -> None:
        with lake.warehouse.write("a run") as connection:
            connection.execute("DELETE FROM a.events WHERE day = 3")
            wrote.set()
            go_on.wait(20)

    writer = threading.Thread(target=run)
    writer.start()
    assert wrote.wait(20)
    done: list[object] = []
    maintenance = threading.Thread(target=lambda: done.append(lake.storage.maintenance(KEEP)))
    maintenance.start()
    maintenance.join(0.5)
    assert done == []
    go_on.set()
    writer.join(20)
    maintenance.join(20)
    assert len(done) == 1
    events, _, _ = lake.rows()
    assert {day for _, day, *_ in events} == {1, 2, 4, 5}


def test_in_s3_what_is_needed_stays_and_nothing_else(
    postgres: Postgres, catalog: str, data_in_s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_MANY", 2)
    # Nobody can make a file in S3 older.
    monkeypatch.setattr(upkeep, "_ORPHAN", timedelta(0))
    storage = DuckLake(postgres.conninfo(catalog), data_in_s3, tmp_path)

    def ask(*statements: str) -> list[tuple[Any, ...]]:
        with Warehouse(storage).write("a test") as connection:
            for sql in statements:
                found = connection.execute(sql).fetchall()
            return found

    ask("CREATE TABLE t (n INTEGER)")
    for number in range(3):
        ask(f"DELETE FROM t WHERE n % 5 = {number}", "INSERT INTO t SELECT range FROM range(100)")
    before = ask("SELECT rowid, n FROM t ORDER BY ALL")
    ask(f"COPY t TO '{data_in_s3}/main/t/orphan.parquet'")
    done = [storage.maintenance(timedelta(0)) for _ in range(3)]
    assert sum(one.orphans_removed for one in done) == 1
    assert done[0].files_rewritten >= 3
    assert ask("SELECT rowid, n FROM t ORDER BY ALL") == before
    [(files,)] = ask(f"SELECT count(*) FROM glob('{data_in_s3}/**/*.parquet')")
    assert files == done[2].after.files < done[0].before.files
    assert ask(f"SELECT count(*) FROM glob('{data_in_s3}/icontact-lake.*.owns')") == [(1,)]


def test_settings_that_name_a_lake_have_a_maintenance(lake: Lake, variables: dict[str, str], tmp_path: Path) -> None:
    environment = {"ICONTACT_ASSETS_HOME": str(tmp_path)}
    assert (
        not build_defs(load_settings(environment, tmp_path))
        .resolve_asset_graph()
        .has(dg.AssetKey(["Warehouse", "maintenance"]))
    )
    lake.day(1)
    settings = load_settings({**environment, **variables}, tmp_path)
    definitions = build_defs(settings)
    schedule = definitions.resolve_schedule_def("maintenance_daily")
    assert (schedule.cron_schedule, schedule.default_status) == ("0 14 * * *", dg.DefaultScheduleStatus.RUNNING)
    result = definitions.resolve_job_def("maintenance").execute_in_process(instance=dg.DagsterInstance.ephemeral())
    [event] = result.get_asset_materialization_events()
    facts = {name: value.value for name, value in event.materialization.metadata.items()}
    assert facts.keys() == {
        *(f"{what}_{when}" for what in ("snapshots", "files", "bytes") for when in ("before", "after")),
        *("rows_flushed", "files_rewritten", "files_removed", "orphans_removed"),
    }
    assert facts["rows_flushed"] == 1
