"""Databases that others made: opened as they are, beside what is in them. What cannot be opened: a sentence, a remedy."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.storage import WarehouseError
from icontact_assets.warehouse.warehouse import Warehouse


def own(path: Path) -> None:
    """A database as the installed DuckDB makes it, with a table that is not ours."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 42 AS answer")


def copied(path: Path) -> None:
    """A database compacted by a copy into a new file."""
    own(path.with_name("before"))
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path.with_name('before')}' AS before")
        connection.execute(f"ATTACH '{path}' AS after")
        connection.execute("COPY FROM DATABASE before TO after")


def restored(path: Path) -> None:
    """A database of ours, exported to a folder and read back."""
    with Warehouse(DatabaseFile(path.with_name("ours"))).write("test") as connection:
        connection.execute("CREATE TABLE mine AS SELECT 42 AS answer")
    Warehouse(DatabaseFile(path.with_name("ours")), "icontact").prepare()
    with duckdb.connect(str(path.with_name("ours"))) as connection:
        connection.execute(f"EXPORT DATABASE '{path.with_name('folder')}'")
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"IMPORT DATABASE '{path.with_name('folder')}'")


@pytest.mark.parametrize("make", [own, copied, restored])
def test_a_database_is_opened_as_it_is(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "own.duckdb"
    make(path)
    warehouse = Warehouse(DatabaseFile(path), "icontact")
    with warehouse.write("test") as connection:
        connection.execute("INSERT INTO icontact.hashed_links VALUES ('a', NULL)")
    with warehouse.read() as connection:
        assert connection.execute("FROM warehouse_file.main.mine").fetchall() == [(42,)]
        assert connection.execute("SELECT event_url FROM icontact.hashed_links").fetchall() == [("a",)]


def damaged(path: Path) -> None:
    own(path)
    content = bytearray(path.read_bytes())
    for header in (4096, 8192):
        content[header + 900 : header + 1300] = b"\xff" * 400
    path.write_bytes(content)


def cut(path: Path) -> None:
    own(path)
    path.write_bytes(path.read_bytes()[:100_000])


def sqlite(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE a (x)")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (damaged, "is damaged. Put a backup in its place"),
        (cut, "is damaged. Put a backup in its place"),
        (sqlite, "not a valid DuckDB database file. Name another file"),
        (lambda path: path.write_text("no database" * 1000), "not a valid DuckDB database file. Name another file"),
        (lambda path: path.write_bytes(b"PAR1 PAR1"), "not a valid DuckDB database file. Name another file"),
        (lambda path: path.touch(), "not a valid DuckDB database file. Name another file"),
        (lambda path: path.mkdir(), "is a folder, not a file"),
        (os.mkfifo, "is a pipe or a device, not a file"),
        (lambda path: path.symlink_to("nowhere/x"), "Check that the folder exists"),
        (lambda path: path.with_name(path.name + ".lock").mkdir(), "Check that the folder exists"),
    ],
)
def test_what_is_no_database_is_named_with_the_remedy(tmp_path: Path, make: Callable[[Path], None], says: str) -> None:
    # The name would make DuckDB fetch an extension, or read a file that is no database as if it were one.
    path = tmp_path / "x.parquet"
    make(path)
    with pytest.raises(WarehouseError) as caught:
        Warehouse(DatabaseFile(path, wait_seconds=0.1), "icontact").prepare()
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_block_that_turns_out_to_be_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE mine AS SELECT hash(range) AS x FROM range(200000)")
    content = bytearray(path.read_bytes())
    for offset in range(300_000, len(content) - 100_000, 262_144):
        content[offset : offset + 50] = b"\xff" * 50
    path.write_bytes(content)
    with (
        pytest.raises(WarehouseError, match="is damaged"),
        Warehouse(DatabaseFile(path)).read() as connection,
    ):
        connection.execute("SELECT max(x) FROM mine").fetchall()


def test_wrong_sql_is_not_taken_for_a_damaged_file(tmp_path: Path) -> None:
    own(tmp_path / "own.duckdb")
    with pytest.raises(duckdb.BinderException), Warehouse(DatabaseFile(tmp_path / "own.duckdb")).read() as connection:
        connection.execute("SELECT nothing FROM mine")
