"""Readers that stop no run and wait for none: the published copy, and programs that have the database itself open."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from icontact_assets.private import Readers
from icontact_assets.warehouse import foreign
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.published import read_published
from icontact_assets.warehouse.storage import WarehouseBusy, WarehouseError
from icontact_assets.warehouse.warehouse import Warehouse

# DuckDB's own lock, without what it costs to start DuckDB: shared for those who read, exclusive for one who writes.
_HOLD = """
import fcntl, sys
file = open(sys.argv[1], "r+")
fcntl.lockf(file, fcntl.LOCK_SH if sys.argv[2] == "reading" else fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


class Shop:
    """A database with its published copy, and what was said to those who waited."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.copy = folder / "published" / "own.duckdb"
        self.path = folder / "own.duckdb"
        self.warehouse = self.open(self.path)
        self.add("a")

    def open(self, path: Path, wait_seconds: float = 0.3) -> Warehouse:
        return Warehouse(DatabaseFile(path, published=self.copy, wait_seconds=wait_seconds, waiting=self.said.append))

    def add(self, word: str) -> None:
        with self.warehouse.write("a test") as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS words (word VARCHAR)")
            connection.execute("INSERT INTO words VALUES (?)", [word])

    def published(self) -> str:
        with read_published(self.copy) as connection:
            return words(connection)


def words(connection: duckdb.DuckDBPyConnection) -> str:
    [(found,)] = connection.execute("SELECT string_agg(word, '' ORDER BY word) FROM words").fetchall()
    return str(found)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(foreign, "_READER_SECONDS", 0.1)
    return Shop(tmp_path)


@contextmanager
def held(path: Path, how: str) -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-S", "-c", _HOLD, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        try:
            yield other.pid
        finally:
            other.kill()


def test_the_copy_is_renewed_when_the_database_changed(shop: Shop) -> None:
    assert shop.warehouse.storage.publish()
    assert shop.published() == "a"
    inode = shop.copy.stat().st_ino
    assert not shop.warehouse.storage.publish()
    with shop.warehouse.write("nothing"):
        pass
    assert not shop.warehouse.storage.publish()
    assert shop.copy.stat().st_ino == inode
    shop.add("b")
    assert shop.published() == "a"
    assert shop.warehouse.storage.publish()
    assert shop.published() == "ab"
    assert [path.name for path in shop.copy.parent.iterdir()] == ["own.duckdb"]


def test_whoever_has_the_copy_open_stays_at_its_moment_and_waits_for_nobody(shop: Shop) -> None:
    shop.warehouse.storage.publish()
    with read_published(shop.copy) as early:
        shop.add("b")
        shop.warehouse.storage.publish()
        with shop.warehouse.write("a test") as writing, read_published(shop.copy) as later:
            writing.execute("INSERT INTO words VALUES ('c')")
            assert (words(early), words(later), words(writing)) == ("a", "ab", "abc")
        shop.warehouse.storage.publish()
        assert (words(early), shop.published()) == ("a", "abc")
        with pytest.raises(duckdb.InvalidInputException, match="read-only"):
            early.execute("INSERT INTO words VALUES ('d')")


def test_what_a_killed_process_committed_is_in_the_copy(shop: Shop, tmp_path: Path) -> None:
    killed = tmp_path / "killed.duckdb"
    with shop.warehouse.write("a test") as connection:
        connection.execute("INSERT INTO words VALUES ('b')")
        connection.execute("COMMIT")
        for end in ("", ".wal"):
            shutil.copy(shop.path.with_name(shop.path.name + end), killed.with_name(killed.name + end))
        connection.execute("BEGIN")
    assert shop.open(killed).storage.publish()
    assert shop.published() == "ab"


def test_what_a_killed_publication_and_a_writer_left_goes(shop: Shop) -> None:
    shop.warehouse.storage.publish()
    half, log = (shop.copy.with_name(name) for name in (".own.duckdb.new", "own.duckdb.wal"))
    half.write_bytes(b"half")
    assert not shop.warehouse.storage.publish()
    assert not half.exists()
    half.write_bytes(b"half")
    log.write_bytes(b"of somebody who wrote to the copy")
    shop.add("b")
    assert shop.warehouse.storage.publish()
    assert [path.name for path in shop.copy.parent.iterdir()] == ["own.duckdb"]
    assert shop.published() == "ab"


def test_readers_may_read_the_copy_and_nobody_may_write_to_it(tmp_path: Path) -> None:
    gid = os.getgroups()[0] if os.getgroups() else os.getegid()
    for readers, modes in ((Readers(), (0o700, 0o400)), (Readers(gid), (0o750, 0o440))):
        warehouse = Warehouse(
            DatabaseFile(tmp_path / "own.duckdb", readers=readers, published=tmp_path / f"{modes[0]}" / "own.duckdb")
        )
        warehouse.prepare()
        warehouse.storage.publish()
        copy = tmp_path / f"{modes[0]}" / "own.duckdb"
        assert tuple(stat.S_IMODE(path.stat().st_mode) for path in (copy.parent, copy)) == modes


def test_a_copy_that_cannot_be_made_leaves_the_former_one(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.warehouse.storage.publish()
    shop.add("b")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "copy_file_range", full)
        with pytest.raises(WarehouseError, match=r"No space left on device.*has space"):
            shop.warehouse.storage.publish()
    assert [path.name for path in shop.copy.parent.iterdir()] == ["own.duckdb"]
    assert shop.published() == "a"
    with held(shop.path, "writing"), pytest.raises(WarehouseBusy, match="while another program writes"):
        shop.warehouse.storage.publish()
    assert shop.warehouse.storage.publish()


@pytest.mark.parametrize("error", [AttributeError(), OSError(18, "Invalid cross-device link")])
def test_a_system_that_cannot_copy_by_itself_is_helped(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, "copy_file_range", refuse)
    shop.warehouse.storage.publish()
    assert shop.copy.read_bytes() == shop.path.read_bytes()


def test_a_copy_that_cannot_be_read_is_a_clear_error(shop: Shop) -> None:
    shop.warehouse.storage.publish()
    with held(shop.copy, "writing") as process, pytest.raises(WarehouseError, match=rf"process {process}\). Close it"):
        shop.published()
    shop.copy.unlink()
    shop.copy.write_bytes(b"no database" * 1000)
    with pytest.raises(WarehouseError, match=r"cannot be read.*Or delete it"):
        shop.published()


def test_a_writer_is_waited_for_and_named(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "_NEXT_WORD_SECONDS", 0.15)
    with held(shop.path, "writing") as process:
        for use in (lambda: shop.add("b"), lambda: shop.warehouse.read().__enter__()):
            with pytest.raises(WarehouseBusy) as error:
                use()
            assert f"(process {process}). Close it there and run again. To read, open {shop.copy}" in str(error.value)
    # At once, and again while it lasts.
    assert len(shop.said) >= 4
    assert all(f"(process {process}). Waits for it until" in text for text in shop.said)
    shop.add("c")
    shop.warehouse.storage.publish()
    assert shop.published() == "ac"


def test_a_reader_of_the_database_itself_keeps_it_and_the_run_goes_on(shop: Shop) -> None:
    shop.path.chmod(0o640)
    with held(shop.path, "reading") as process:
        before = shop.path.stat()
        shop.add("b")
        after = shop.path.stat()
        assert (after.st_ino != before.st_ino, after.st_uid, after.st_gid) == (True, before.st_uid, before.st_gid)
        assert f"(process {process}) only reads" in shop.said[-1]
        spoken = len(shop.said)
        shop.add("c")
        assert len(shop.said) == spoken
        assert not shop.path.with_name("own.duckdb.spill").exists()
        assert shop.warehouse.storage.publish()
    assert shop.published() == "abc"


@pytest.mark.parametrize(
    ("hinder", "says"),
    [
        (lambda shop, _: os.link(shop.path, shop.path.with_name("second")), "a hard link"),
        (lambda _, patch: patch.setattr(os, "replace", _refuse), "Device or resource busy"),
    ],
    ids=["a-second-name", "mounted-alone"],
)
def test_where_no_copy_can_take_its_place_a_reader_is_waited_for(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, hinder: Callable[[Shop, pytest.MonkeyPatch], None], says: str
) -> None:
    hinder(shop, monkeypatch)
    with held(shop.path, "reading"), pytest.raises(WarehouseBusy, match="is open in another program"):
        shop.add("b")
    assert [says in text for text in shop.said] == [False, True]
    shop.add("c")
    with shop.warehouse.read() as connection:
        assert words(connection) == "ac"


def _refuse(*_: object) -> None:
    raise OSError(16, "Device or resource busy")


def test_a_link_to_the_database_stays_one(shop: Shop, tmp_path: Path) -> None:
    link = tmp_path / "link.duckdb"
    link.symlink_to(shop.path)
    shop.warehouse = shop.open(link)
    with held(shop.path, "reading"):
        shop.add("b")
    assert link.is_symlink()
    with shop.open(shop.path).read() as connection:
        assert words(connection) == "ab"
