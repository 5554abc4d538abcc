"""The file that counts the requests of an account: opened, and if it is damaged put aside and taken for spent."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pyrate_limiter import Rate, SQLiteBucket

from icontact_assets.icontact.errors import BudgetUnusable
from icontact_assets.private import OWNER

# What another program, the disk or the permissions are at fault for. Everything else is the content of the file.
_SURROUNDINGS = ("BUSY", "LOCKED", "READONLY", "CANTOPEN", "FULL", "IOERR", "PERM", "AUTH", "NOMEM", "INTERRUPT")


@dataclass(frozen=True)
class Spent:
    """A budget that counts as spent `until` then (aware UTC), because the file `aside` counted it and is damaged."""

    until: datetime
    aside: str


def rates(wanted: Iterable[tuple[int, int]]) -> list[Rate]:
    """The rates that hold together all wanted ones, each a limit and an interval in milliseconds.

    The bucket takes them only in a row of rising intervals and limits and of falling limits per time, so one that
    another one implies is left out, and one that could never be reached is lowered to what could.
    """
    found: list[Rate] = []
    for interval, limit in sorted((interval, limit) for limit, interval in wanted):
        if found:
            limit = min(limit, found[-1].limit * interval // found[-1].interval)
        while found and (limit <= found[-1].limit or interval == found[-1].interval):
            limit = min(limit, found.pop().limit)
        found.append(Rate(limit, interval))
    return found


def open_count(path: Path, rates: list[Rate]) -> tuple[SQLiteBucket, Spent | None]:
    """The bucket in the file at `path`, which only one process at a time opens so. Raises BudgetUnusable.

    A damaged file, or one of another program, is put aside: until the longest interval has passed, all counts as sent.
    """
    with guarded(path):
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise OSError("it is not a file")
        if path.exists() and not _is_sound(path):
            until = datetime.now(UTC) + timedelta(milliseconds=rates[-1].interval)
            aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
            OWNER.restrict(path)
            path.replace(aside)
            # A journal would be played into the file that takes the place.
            for end in ("-journal", "-wal", "-shm"):
                path.with_name(path.name + end).unlink(missing_ok=True)
            _create(path, rates, Spent(until, aside.name))
        elif not path.exists():
            _create(path, rates, None)
        OWNER.sqlite(path)
        bucket = SQLiteBucket.init_from_file(rates, db_path=str(path))
        return bucket, _spent(bucket)


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turns what goes wrong with the file into BudgetUnusable."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        remedy = (
            "Check that this user may write to its folder, that no other program has it open, and that the disk has "
            "space (ICONTACT_ASSETS_HOME names another folder)."
        )
        if isinstance(error, sqlite3.Error) and not is_surroundings(error):
            remedy = "Run again: a damaged file is put aside then."
        raise BudgetUnusable(
            f"The request budget {path} cannot be used, so nothing is sent: {error}. {remedy}"
        ) from error


def _create(path: Path, rates: list[Rate], spent: Spent | None) -> None:
    """A new file, whole or not at all: an empty one is a damaged one."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    OWNER.sqlite(fresh)
    SQLiteBucket.init_from_file(rates, db_path=str(fresh)).close()  # type: ignore[no-untyped-call]
    if spent is not None:
        with closing(sqlite3.connect(fresh)) as connection, connection:
            connection.execute("CREATE TABLE spent (until TEXT, aside TEXT)")
            connection.execute("INSERT INTO spent VALUES (?, ?)", (spent.until.isoformat(), spent.aside))
    os.replace(fresh, path)


def _is_sound(path: Path) -> bool:
    if path.stat().st_size == 0:
        return False
    try:
        with closing(sqlite3.connect(path)) as connection:
            checked = connection.execute("PRAGMA quick_check").fetchall()
            connection.execute("SELECT name, item_timestamp FROM rate_bucket LIMIT 1").fetchall()
    except sqlite3.Error as error:
        if is_surroundings(error):
            raise
        return False
    return checked == [("ok",)]


def _spent(bucket: SQLiteBucket) -> Spent | None:
    if not bucket.conn.execute("SELECT name FROM sqlite_schema WHERE name = 'spent'").fetchall():
        return None
    [(until, aside)] = bucket.conn.execute("SELECT until, aside FROM spent").fetchall()
    return Spent(datetime.fromisoformat(until), aside)


def is_surroundings(error: sqlite3.Error) -> bool:
    """Whether what is around an SQLite file is at fault, and not what is in it."""
    name = getattr(error, "sqlite_errorname", "")
    return any(name.startswith(f"SQLITE_{kind}") for kind in _SURROUNDINGS)
