"""The DuckDB file that keeps the tables: its lock, others who have it open, modes, spill folder, published copy."""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
from filelock import FileLock, Timeout

from icontact_assets.private import OWNER, Readers, created_for_the_owner
from icontact_assets.warehouse.copies import is_copy, publish, replace_by_copy
from icontact_assets.warehouse.engine import CATALOG, close_to_users, engine
from icontact_assets.warehouse.foreign import Patience, holder
from icontact_assets.warehouse.lock import Lock
from icontact_assets.warehouse.published import read_published
from icontact_assets.warehouse.remedies import first_line, is_of_the_place, remedy
from icontact_assets.warehouse.signals import interrupted_by_signals
from icontact_assets.warehouse.storage import (
    Tenure,
    Version,
    WarehouseBusy,
    WarehouseError,
    free_below,
    nothing_kept,
)

# Files are created so that DuckDB 1.5 opens what 2.0 wrote. A file that exists keeps the version it has.
_STORAGE = "STORAGE_VERSION 'v1.5.0'"

# What DuckDB keeps: the database, and beside it what a killed process leaves.
_FILES = ("", ".wal", ".wal.checkpoint", ".wal.recovery")


class DatabaseFile:
    """The DuckDB file at `path`, as the storage of a warehouse.

    DuckDB admits one read-write process and no reader beside it, so reading and writing both take an operating-system
    file lock beside the database (released by a kill) and wait for it up to `wait_seconds`. They wait as long for a
    program that has the file and does not know the lock, unless it only reads: then a writer goes on with a copy in the
    file's place. `waiting` is called with what somebody who waits should know.

    DuckDB uses `memory_limit` MB at most, if that is given. What does not fit is put beside the file.
    `readers` are those who may read the file. `published` is where its copy for reading is, if there is to be one.
    """

    setting = "ICONTACT_ASSETS_DUCKDB"
    maintenance = None

    def __init__(
        self,
        path: Path,
        *,
        readers: Readers = OWNER,
        published: Path | None = None,
        wait_seconds: float = 300.0,
        memory_limit: int | None = None,
        waiting: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.path = path
        self.where = str(path)
        self._readers = readers
        self._published = published
        self._wait = wait_seconds
        self._memory_limit = memory_limit
        self._waiting = waiting
        self._lock_path = self.on_this_machine("lock")
        self._holder_path = self.on_this_machine("holder")

    def exists(self) -> bool:
        """Whether there is a file. Raises WarehouseError if what is there cannot be a database."""
        try:
            mode = self.path.stat().st_mode
        except FileNotFoundError:
            return False
        except OSError as error:
            raise WarehouseError(self._unusable(error)) from error
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
            raise WarehouseError(
                f"The database {self.path} is {what}, not a file. Name a file with ICONTACT_ASSETS_DUCKDB."
            )
        return True

    def version(self) -> Version:
        """The number, size and time of change of the file and of what DuckDB has beside it."""
        found = []
        for path in (self.path, self.on_this_machine("wal")):
            try:
                stat_ = path.stat()
            except OSError:
                found.append((0, 0, 0, 0))
            else:
                found.append((stat_.st_dev, stat_.st_ino, stat_.st_size, stat_.st_mtime_ns))
        return tuple(found)

    @contextmanager
    def turn(self, purpose: str | None, schemas: Collection[str] | None = None) -> Iterator[None]:  # noqa: ARG002
        """The lock beside the file, which keeps readers away too, and writers of whatever schema."""
        # What cannot be a database gets no lock beside it.
        self.exists()
        try:
            for kept in (self._lock_path, self._holder_path):
                self._readers.create(kept, locks=True)
            lock = FileLock(self._lock_path)
            lock.acquire(timeout=self._wait, poll_interval=random.uniform(0.01, 0.05))  # noqa: S311
        except Timeout as error:
            raise WarehouseBusy(
                f"{self.path} is in use by {self._holder()} for more than {self._wait:.0f} s. "
                "Wait for it to end, or stop it, and run again."
            ) from error
        except OSError as error:
            raise WarehouseError(self._unusable(error)) from error
        try:
            try:
                self._holder_path.write_text(f"process {os.getpid()} ({purpose or 'reading'})")
            except OSError as error:
                raise WarehouseError(self._unusable(error)) from error
            yield
        finally:
            lock.release()

    def check_turn(self) -> None:
        """Nothing: the lock is kept as long as this process lives."""

    @contextmanager
    def attached(self, *, read_only: bool, users_sql: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the file, which is made where it is missing."""
        options = "READ_ONLY" if read_only else "" if self.exists() else _STORAGE
        with self._closed_to_others(), self._spill_folder() as spill:
            try:
                with self._opened(spill, options) as connection, interrupted_by_signals(connection):
                    if users_sql is not None:
                        close_to_users(connection)
                    yield connection
            except duckdb.Error as error:
                if not is_of_the_place(error):
                    raise
                raise WarehouseError(self._unusable(error)) from error

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the published copy. Where none is made, to the file."""
        if self._published is None:
            if not self.exists():
                raise nothing_kept(self.where)
            with self.turn(None), self.attached(read_only=True) as connection:
                yield connection
            return
        if not self._published.exists() and self.publish() is None:
            raise nothing_kept(self.where)
        with read_published(self._published) as connection:
            yield connection

    def changed_at(self) -> datetime:
        """When the published copy, or the file, was last changed (aware UTC)."""
        return _changed_at(self._published or self.path)

    def publish(self) -> str | None:
        """Renew the copy for reading, if there is to be one and the file has changed since. Where the new one is.

        It holds all tables as they are at one moment, between two transactions. The former copy lives on for those who
        have it open. Raises WarehouseError, WarehouseBusy: then the former copy stays.
        """
        if self._published is None or not self.exists():
            return None
        beside = [self.path.with_name(self.path.name + end) for end in _FILES[1:]]
        if any(path.exists() for path in beside):
            # A killed process left what it had committed. Opening the file brings that into it.
            with self.turn("tidying up"), self.attached(read_only=False) as connection:
                connection.execute(f"CHECKPOINT {CATALOG}")
        with self.turn("making the copy for reading"):
            if any(path.exists() for path in beside):
                raise WarehouseError(f"{self.path} cannot be copied: some of what it holds is still beside it.")
            try:
                return str(self._published) if publish(self.path, self._published, self._readers) else None
            except BlockingIOError as error:
                raise WarehouseBusy(f"{self.path} cannot be copied while another program writes to it.") from error
            except OSError as error:
                raise WarehouseError(
                    f"The copy {self._published} could not be made: {error.strerror}. Check that this user may write "
                    "to its folder and that the disk has space for it."
                ) from error

    def shown(self) -> tuple[bool, str]:
        """Whether those who read the published copy see what the file holds, and a text that says so."""
        path = self._published
        if path is None:
            return True, "none is made, as ICONTACT_ASSETS_PUBLISH says"
        if not path.exists():
            return True, f"the next run that changes a table makes {path}"
        at = f"{_changed_at(path):%Y-%m-%d %H:%M} UTC"
        if is_copy(self.path, path):
            return True, f"{path} has what the database has, last changed {at}"
        return False, (
            f"{path} has the tables of {at}, and the database has changed since. A run renews it at its end. If none "
            "is under way, the log of the last one says why it could not."
        )

    @contextmanager
    def lock(self, name: str, purpose: str, *, wait_seconds: float, waiting: Callable[[str], None]) -> Iterator[Tenure]:
        """An operating-system lock on a file of that name beside the database."""
        lock = Lock(self.on_this_machine(f"{name}.lock"))
        try:
            lock.acquire(purpose, wait_seconds=wait_seconds, waiting=waiting)
        except OSError as error:
            raise WarehouseError(
                f"The lock beside {self.path} cannot be used: {error}. Check that this user may write to its folder."
            ) from error
        try:
            yield Tenure()
        finally:
            lock.release()

    def rights_too_many(self) -> str | None:
        """None: what this user may do beside the file is nobody's who asks it."""
        return None

    def on_this_machine(self, name: str) -> Path:
        """The file that has that name beside the database."""
        return self.path.with_name(f"{self.path.name}.{name}")

    def size(self) -> int:
        """The bytes of the file."""
        return self.path.stat().st_size if self.exists() else 0

    def room(self) -> int:
        """The bytes that are free on its disk."""
        return free_below(self.path)

    @contextmanager
    def _closed_to_others(self) -> Iterator[None]:
        """The file, and what DuckDB puts beside it, is read by those who may only: before, during and after."""
        self._restrict()
        try:
            with created_for_the_owner():
                yield
        finally:
            self._restrict()

    def _restrict(self) -> None:
        try:
            self._readers.restrict(*(self.path.with_name(self.path.name + end) for end in _FILES))
        except OSError as error:
            raise WarehouseError(self._unusable(error)) from error

    @contextmanager
    def _spill_folder(self) -> Iterator[Path]:
        """Where DuckDB puts what does not fit in memory: beside the database, whatever the working folder is."""
        folder = self.on_this_machine("spill")
        # A killed process may have left some. Whoever has the lock is alone.
        shutil.rmtree(folder, ignore_errors=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _opened(self, spill: Path, options: str) -> Iterator[duckdb.DuckDBPyConnection]:
        with engine(spill, self._memory_limit) as connection:
            self._attach(connection, spill, options)
            yield connection

    def _attach(self, connection: duckdb.DuckDBPyConnection, spill: Path, options: str) -> None:
        path = str(self.path).replace("'", "''")
        attach = f"ATTACH '{path}' AS {CATALOG} ({', '.join(filter(None, ('TYPE duckdb', options)))})"

        def step_aside() -> None:
            # What lies in this folder is gone when the connection is closed, and after a kill with the next one.
            spill.mkdir(mode=0o700, exist_ok=True)
            replace_by_copy(self.path, spill / "copy")

        patience = Patience(self.path, self._wait, self._waiting, None if options == "READ_ONLY" else step_aside)
        while True:
            try:
                connection.execute(attach)
                connection.execute(f"USE {CATALOG}")
                return
            except duckdb.Error as error:
                who = holder(error)
                if who is None:
                    raise WarehouseError(self._unusable(error)) from error
                if not patience.wait(who):
                    raise WarehouseBusy(self._held(who)) from error

    def _held(self, who: str) -> str:
        instead = f" To read, open {self._published} instead: no run waits for it." if self._published else ""
        return (
            f"{self.path} is open in another program for more than {self._wait:.0f} s: {who}. Close it there and run "
            f"again.{instead}"
        )

    def _holder(self) -> str:
        try:
            return self._holder_path.read_text()
        except OSError:
            return "another process"

    def _unusable(self, error: Exception) -> str:
        return f"The database {self.path} cannot be used: {first_line(error)} {remedy(error)}"


def _changed_at(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
