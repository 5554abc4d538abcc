"""The database file: one writer at a time, clear errors, nothing half written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import patch

import duckdb
import pytest

from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.lock import LockTaken
from icontact_assets.warehouse.storage import WarehouseBusy, WarehouseError
from icontact_assets.warehouse.tables import TABLES, VIEWS
from icontact_assets.warehouse.warehouse import Warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(DatabaseFile(tmp_path / "icontact.duckdb", wait_seconds=0.3), "icontact")
    warehouse.prepare()
    return warehouse


def links(warehouse: Warehouse) -> list[tuple[str, ...]]:
    with warehouse.read() as connection:
        return connection.execute("SELECT event_url FROM icontact.hashed_links ORDER BY 1").fetchall()


def test_prepare_makes_every_table_and_view_and_may_be_repeated(warehouse: Warehouse) -> None:
    warehouse.prepare()
    with warehouse.read() as connection:
        found = connection.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
        ).fetchall()
    assert {name for name, _, _ in found} == {table.name for table in (*TABLES, *VIEWS)}
    for table in (*TABLES, *VIEWS):
        assert [(column, kind) for name, column, kind in found if name == table.name] == [
            (column.name, column.type) for column in table.columns
        ]


def test_a_block_that_raises_writes_nothing(warehouse: Warehouse) -> None:
    def fail() -> None:
        with warehouse.write("a test") as connection:
            connection.execute("INSERT INTO icontact.hashed_links VALUES ('a', NULL)")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert links(warehouse) == []


def test_writers_wait_for_each_other(warehouse: Warehouse) -> None:
    patient = Warehouse(DatabaseFile(Path(warehouse.storage.where), wait_seconds=30))

    def write(name: str) -> None:
        with patient.write("a test") as connection:
            connection.execute("INSERT INTO icontact.hashed_links VALUES (?, NULL)", [name])

    threads = [threading.Thread(target=write, args=(f"{n:02}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert links(warehouse) == [(f"{n:02}",) for n in range(8)]


def test_who_waits_too_long_is_told_who_has_it(warehouse: Warehouse) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with warehouse.write("holding it"):
            inside.set()
            go_on.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    with pytest.raises(WarehouseBusy, match="holding it"):
        links(warehouse)
    go_on.set()
    thread.join()


def test_a_program_that_does_not_know_the_lock_is_named(warehouse: Warehouse) -> None:
    code = f"import duckdb, sys; c = duckdb.connect({warehouse.storage.where!r}); print('open', flush=True); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    other.stdout.readline()
    with pytest.raises(WarehouseBusy, match="open in another program"):
        links(warehouse)
    other.communicate("")
    assert links(warehouse) == []


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    path.write_text("no database" * 1000)
    with pytest.raises(WarehouseError, match="cannot be used"):
        Warehouse(DatabaseFile(path, wait_seconds=0.1), "icontact").prepare()


def test_a_table_from_before_gets_the_columns_it_lacks(warehouse: Warehouse) -> None:
    with Warehouse(warehouse.storage).write("another version") as connection:
        connection.execute("INSERT INTO icontact.hashed_links VALUES ('a', '1')")
        connection.execute("ALTER TABLE icontact.hashed_links DROP COLUMN hashedurls_key")
    warehouse.prepare()
    with warehouse.read() as connection:
        assert connection.execute("SELECT event_url, hashedurls_key FROM icontact.hashed_links").fetchall() == [
            ("a", None)
        ]


def test_the_views_show_the_latest_version_of_each_row_to_any_program(warehouse: Warehouse) -> None:
    with warehouse.write("test") as connection:
        connection.execute(
            "INSERT INTO raw_lists (list_id, name, observed_at) VALUES "
            "('1', 'a', '2026-01-01'), ('1', 'b', '2026-01-02'), ('2', 'c', '2026-01-01')"
        )
    with warehouse.read() as connection:
        assert connection.execute("SELECT list_id, name FROM current_lists ORDER BY ALL").fetchall() == [
            ("1", "b"),
            ("2", "c"),
        ]
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{warehouse.storage.where}' AS other (READ_ONLY)")
        for view in VIEWS:
            connection.execute(f"FROM other.icontact.{view.name}").fetchall()
        [(name,)] = connection.execute("SELECT name FROM other.icontact.current_lists WHERE list_id = '1'").fetchall()
    assert name == "b"


def test_a_schema_is_prepared_where_a_file_lacks_it(warehouse: Warehouse, tmp_path: Path) -> None:
    def opens(ask: Callable[[], object]) -> int:
        with patch.object(DatabaseFile, "_attach", autospec=True, side_effect=DatabaseFile._attach) as opened:
            ask()
        return opened.call_count

    other = Warehouse(DatabaseFile(tmp_path / "other.duckdb"), "icontact")
    assert opens(other.prepare) == 1
    assert opens(lambda: links(other)) == 1
    copied = Warehouse(DatabaseFile(Path(shutil.copy(other.storage.where, tmp_path / "copied.duckdb"))), "icontact")
    assert opens(lambda: links(copied)) == 1
    earlier = Warehouse(DatabaseFile(tmp_path / "earlier.duckdb"), "icontact")
    with Warehouse(earlier.storage).write("test") as connection:
        connection.execute("CREATE TABLE mine (x INTEGER)")
    assert opens(lambda: links(earlier)) == 3  # one to see what lacks, one to make it
    assert opens(lambda: links(earlier)) == 1
    # A file without the schema takes the place, and the number, of one that had it.
    with duckdb.connect(str(tmp_path / "mine.duckdb")) as connection:
        connection.execute("CREATE TABLE mine (x INTEGER)")
    shutil.copyfile(tmp_path / "mine.duckdb", earlier.storage.where)
    assert opens(lambda: links(earlier)) == 3
    shutil.copyfile(tmp_path / "mine.duckdb", earlier.storage.where)
    with earlier.write("test") as connection:
        connection.execute("INSERT INTO hashed_links VALUES ('a', NULL)")
    assert opens(lambda: links(earlier)) == 1


def test_a_missing_database_names_the_remedy(tmp_path: Path) -> None:
    with (
        pytest.raises(WarehouseError, match="materialize the raw assets first"),
        Warehouse(DatabaseFile(tmp_path / "x")).read(),
    ):
        pass


def test_older_duckdb_opens_what_this_one_wrote(warehouse: Warehouse) -> None:
    with duckdb.connect(warehouse.storage.where, read_only=True) as connection:
        [(tags,)] = connection.execute("SELECT tags FROM duckdb_databases() WHERE path IS NOT NULL").fetchall()
    assert tags["storage_version"].startswith("v1.5")


@pytest.mark.usefixtures("heeds_signals")
def test_a_signal_ends_a_query_and_gives_the_lock_back(warehouse: Warehouse) -> None:
    def count() -> None:
        with warehouse.write("counting") as connection:
            connection.execute("INSERT INTO icontact.hashed_links VALUES ('a', NULL)")
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
            connection.execute("SELECT sum(hash(range)) FROM range(100_000_000_000)").fetchall()

    with pytest.raises(KeyboardInterrupt):
        count()
    assert links(warehouse) == []


def test_one_at_a_time_has_what_a_lock_stands_for(tmp_path: Path) -> None:
    storage, other = (DatabaseFile(tmp_path / "own.duckdb") for _ in range(2))

    def lock(storage: DatabaseFile, name: str) -> AbstractContextManager[None]:
        return storage.lock(name, f"holding {name}", wait_seconds=0, waiting=lambda _: None)

    with lock(storage, "news.exports"), lock(other, "icontact.exports"):
        taken = lock(other, "news.exports")
        with pytest.raises(LockTaken, match=r"holding news\.exports"):
            taken.__enter__()
    with lock(other, "news.exports"):
        pass
    (tmp_path / "own.duckdb.broken.lock").mkdir()
    with pytest.raises(WarehouseError, match=r"The lock beside .*own\.duckdb cannot be used"), lock(storage, "broken"):
        pass
