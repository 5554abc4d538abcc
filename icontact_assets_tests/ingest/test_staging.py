"""The staging file: what a full disk and a second run are told, and that its lock is given back."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from icontact_assets.icontact.listing import OVERLAP, Proof, digest
from icontact_assets.ingest.context import staged
from icontact_assets.ingest.rows import activity_reader
from icontact_assets.ingest.staging import Listing, Poll, Staging, StagingError, check_staging
from icontact_assets.warehouse import lock
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.storage import Tenure

OPENS = Listing("activity", "310001", "opens")


def test_a_second_run_waits_and_says_so_then_gives_up_and_names_the_first(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lock, "_FIRST_WORD_SECONDS", 0.05)
    told = list[str]()

    def run(purpose: str, wait_seconds: float) -> AbstractContextManager[tuple[Staging, Tenure]]:
        storage = DatabaseFile(tmp_path / "w.duckdb")
        return staged(storage, "w", "one", purpose=purpose, wait_seconds=wait_seconds, waiting=told.append)

    with run("run 1", 0):
        with pytest.raises(StagingError, match=r"Another run is reading this import: process \d+ \(run 1, since 2"):
            run("run 2", 0.01).__enter__()
        assert told == []
        with pytest.raises(StagingError):
            run("run 2", 0.2).__enter__()
    assert re.fullmatch(r"Waits for process \d+ \(run 1, since .* UTC\), until .* UTC at the latest\.", told[0])
    with run("run 2", 0.1) as (staging, _):
        assert staging.verified() == []


def test_a_file_that_is_none_of_ours_is_named_and_its_lock_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "w.staging.staging"
    path.write_bytes(b"x" * 5000)
    for _ in range(2):
        run = staged(DatabaseFile(tmp_path / "w"), "staging", "one", purpose="a run", wait_seconds=0.1)
        with pytest.raises(StagingError, match=r"w\.staging\.staging cannot be used: file is not a database"):
            run.__enter__()


def test_a_file_of_another_shape_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "w.staging"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE reading (id TEXT PRIMARY KEY)")
        connection.execute("INSERT INTO reading VALUES ('old')")
    with Staging(path) as staging:
        assert staging.verified() == []
        staging.open(OPENS, activity_reader("opens"))


def test_a_read_that_was_interrupted_resumes_behind_the_pages_that_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "w.staging"
    rows = [{"contactId": str(n), "openTime": "2026-01-01T00:00:00-05:00"} for n in range(60)]
    with Staging(path) as staging:
        sink, known = staging.open(OPENS, activity_reader("opens"))
        assert known is None
        sink.start()
        for offset in (0, 20, 40):
            sink.page(offset, rows[offset : offset + 20])
    with Staging(path) as staging:
        sink, known = staging.open(OPENS, activity_reader("opens"))
        assert known is not None
        assert (known.count, known.landed) == (60, False)
        assert known.tail == tuple(digest(row) for row in rows[-OVERLAP:])
        assert known.head == tuple(digest(row) for row in rows[:OVERLAP])
        sink.page(60, rows[:5])
        sink.verify(Proof(65, 1, datetime.now(UTC), 0, (), ()))
        assert [read.rows for read in staging.verified()] == [65]


def test_a_read_that_began_before_a_re_read_was_asked_for_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "w.staging"
    with Staging(path) as staging:
        sink, _ = staging.open(OPENS, activity_reader("opens"))
        sink.start()
        sink.page(0, [{"contactId": "1", "openTime": "2026-01-01T00:00:00-05:00"}])
    with Staging(path) as staging:
        later = datetime.now(UTC) + timedelta(minutes=1)
        assert staging.open(OPENS, activity_reader("opens"), not_before=later)[1] is None


def test_a_full_disk_is_named_when_a_page_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "w.staging"
    with Staging(path) as staging:
        sink, _ = staging.open(OPENS, activity_reader("opens"))
        sink.start()
        # SQLite answers a database that may not grow as it does a full disk.
        [(pages,)] = staging._connection.execute("PRAGMA page_count").fetchall()
        staging._connection.execute(f"PRAGMA max_page_count = {pages}")
        rows = [{"contactId": str(n), "openTime": "2026-01-01T00:00:00-05:00"} for n in range(500)]
        with pytest.raises(StagingError, match=r"disk is full.*has space"):
            sink.page(0, rows)
        staging._connection.execute("PRAGMA max_page_count = 1000000")
        sink.page(0, rows)
        sink.verify(Proof(500, 1, datetime.now(UTC), 0, (), ()))
        assert [read.rows for read in staging.verified()] == [500]
    assert sqlite3.connect(path).execute("SELECT count(*) FROM page").fetchall() == [(1,)]


def other_program(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")
    connection.close()


def cut(path: Path) -> None:
    with Staging(path) as staging:
        for number in range(200):
            staging.keep_poll(Poll(str(number), datetime(2026, 1, 1, tzinfo=UTC), {"opens_total": 1}))
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_text("no pages"), "file is not a database. Move it away"),
        (other_program, "it holds tables of another program (bookmarks). Move it away"),
        (cut, "malformed. Move it away"),
        (lambda path: path.mkdir(), "Is a directory"),
        (os.mkfifo, "it is not a file"),
    ],
)
def test_what_cannot_be_used_is_named_by_a_run_and_by_a_look(
    tmp_path: Path, spoil: Callable[[Path], None], says: str
) -> None:
    path = tmp_path / "w.staging"
    check_staging(path)
    spoil(path)

    def use() -> None:
        with Staging(path) as staging:
            staging.polls()

    with pytest.raises(StagingError) as caught:
        use()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(StagingError, match=r"w\.staging cannot be used"):
        check_staging(path)


def test_a_look_does_not_wait_for_the_run_that_has_the_file(tmp_path: Path) -> None:
    with Staging(tmp_path / "w.staging"):
        check_staging(tmp_path / "w.staging")
