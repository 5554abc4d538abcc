"""What counts the requests of an account, and its place on one machine: an SQLite file, and a file with the pause that
iContact asked for."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from filelock import FileLock
from pyrate_limiter import Rate, RateItem, SQLiteBucket

from icontact_assets.icontact.errors import BudgetSpent, BudgetUnusable
from icontact_assets.private import OWNER

LONGEST_PAUSE = timedelta(days=1)
"""What asks for more is asked again after that time."""

_NEVER = datetime.min.replace(tzinfo=UTC)

# What another program, the disk or the permissions are at fault for. Everything else is the content of the file.
_SURROUNDINGS = ("BUSY", "LOCKED", "READONLY", "CANTOPEN", "FULL", "IOERR", "PERM", "AUTH", "NOMEM", "INTERRUPT")


@dataclass(frozen=True)
class Denied:
    """Why no request may be sent now."""

    seconds: float
    """After which to try again."""
    rate: Rate | None
    """The rate that is used up. None: iContact asked for a pause."""


@dataclass(frozen=True)
class Counted:
    """What was counted of an account, in milliseconds since 1970."""

    requests: Sequence[int]
    """When each was sent that still counts."""
    paused_until: int
    """The end of the pause that iContact asked for last. 0: it never did."""


class Count(Protocol):
    """Counts the requests of one account, for all who send some. Each method raises BudgetUnusable."""

    @property
    def pause_kept(self) -> str:
        """Where a pause is kept, in words."""

    def open(self, rates: Sequence[Rate]) -> None:
        """Count by these rates, which are in the order of `rates`. Called once, and first."""

    def take(self) -> Denied | None:
        """Count a request, unless a pause or a rate denies it. Raises BudgetSpent if what was counted is not known."""

    def hold(self, pause: timedelta) -> None:
        """Deny every request for so long from now. A pause that lasts longer stays as it is."""

    def left(self, limit: int) -> int:
        """The requests that are left of so many in the interval of the last rate."""

    def counted(self) -> Counted:
        """What counts now."""

    def count_also(self, counted: Counted) -> int:
        """Count what another place has counted, but nothing twice. How many requests were not counted here."""


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


class CountFile:
    """The count of an account in `directory`, shared by the threads and processes of a machine."""

    def __init__(self, directory: Path, account_key: str) -> None:
        self._threads = threading.Lock()
        self._bucket: SQLiteBucket | None = None
        self._spent: Spent | None = None
        path = self._path = directory / (re.sub(r"[^A-Za-z0-9.-]+", "_", account_key) + ".sqlite")
        self._not_before = path.with_suffix(".not-before")
        self.pause_kept = str(self._not_before)
        with guarded(path):
            OWNER.folder(directory)
            OWNER.create(path.with_suffix(".lock"))
            self._processes = FileLock(path.with_suffix(".lock"), thread_local=False)

    def open(self, rates: Sequence[Rate]) -> None:
        """Count by these rates. Without any, nothing is counted."""
        if rates:
            with guarded(self._path), self._processes:
                self._bucket, self._spent = open_count(self._path, list(rates))

    def take(self) -> Denied | None:
        """Count a request, unless a pause or a rate denies it."""
        if (seconds := self._pause()) > 0:
            return Denied(seconds, None)
        bucket = self._bucket
        if bucket is None:
            return None
        with self._threads, guarded(self._path), self._processes:
            if self._spent is not None and datetime.now(UTC) < self._spent.until:
                raise BudgetSpent(
                    f"The file of the request budget was damaged and is now {self._spent.aside}, beside {self._path}. "
                    "What it had counted is not known, so all requests count as sent: the next one is free at "
                    f"{self._spent.until:%Y-%m-%d %H:%M} UTC.",
                    self._spent.until,
                )
            now: int = bucket.now()  # type: ignore[no-untyped-call]
            item = RateItem("request", now)
            if bucket.put(item):
                bucket.leak(now)
                return None
            return Denied(max(int(bucket.waiting(item)), 1) / 1000, bucket.failing_rate)  # type: ignore[arg-type]

    def hold(self, pause: timedelta) -> None:
        """Deny every request for so long from now."""
        self._hold_until(datetime.now(UTC) + pause)

    def _hold_until(self, until: datetime) -> None:
        with self._threads, guarded(self._not_before), self._processes:
            if until > self._paused_until():
                fresh = self._not_before.with_suffix(".new")
                OWNER.create(fresh)
                fresh.write_text(until.isoformat())
                os.replace(fresh, self._not_before)

    def left(self, limit: int) -> int:
        """The requests that are left of so many. None are if what was counted is not known."""
        if self._bucket is None:
            return limit
        if self._spent is not None and datetime.now(UTC) < self._spent.until:
            return 0
        with self._threads, guarded(self._path), self._processes:
            self._bucket.leak(self._bucket.now())  # type: ignore[no-untyped-call]
            return max(0, limit - self._bucket.count())

    def counted(self) -> Counted:
        """What counts now. If it is not known, as many requests as are allowed."""
        paused = self._paused_until()
        return Counted(self._requests(), 0 if paused == _NEVER else _milliseconds(paused))

    def count_also(self, counted: Counted) -> int:
        """Count what another place has counted."""
        if counted.paused_until:
            self._hold_until(datetime.fromtimestamp(counted.paused_until / 1000, UTC))
        bucket = self._bucket
        if bucket is None:
            return 0
        missing = sorted((Counter(counted.requests) - Counter(self._requests())).elements())
        with self._threads, guarded(self._path), self._processes, bucket.conn:
            bucket.conn.executemany("INSERT INTO rate_bucket VALUES ('request', ?)", [(at,) for at in missing])
        return len(missing)

    def _requests(self) -> list[int]:
        bucket = self._bucket
        if bucket is None:
            return []
        with self._threads, guarded(self._path), self._processes:
            bucket.leak(bucket.now())  # type: ignore[no-untyped-call]
            found = [at for (at,) in bucket.conn.execute("SELECT item_timestamp FROM rate_bucket").fetchall()]
        if self._spent is not None and datetime.now(UTC) < self._spent.until:
            day = bucket.rates[-1]
            found += [_milliseconds(self._spent.until) - day.interval] * day.limit
        return found

    def _paused_until(self) -> datetime:
        with guarded(self._not_before):
            try:
                return datetime.fromisoformat(self._not_before.read_text()).astimezone(UTC)
            except FileNotFoundError:
                return _NEVER
            except (ValueError, OverflowError):
                # What it held is not known: it counts as the longest pause.
                return datetime.fromtimestamp(self._not_before.stat().st_mtime, UTC) + LONGEST_PAUSE

    def _pause(self) -> float:
        """Seconds that a pause still lasts."""
        return max(0.0, (self._paused_until() - datetime.now(UTC)).total_seconds())


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


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def is_surroundings(error: sqlite3.Error) -> bool:
    """Whether what is around an SQLite file is at fault, and not what is in it."""
    name = getattr(error, "sqlite_errorname", "")
    return any(name.startswith(f"SQLITE_{kind}") for kind in _SURROUNDINGS)
