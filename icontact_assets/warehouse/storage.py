"""What the warehouse asks of the place that keeps the tables, whatever they are, and the errors of such a place."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import duckdb

from icontact_assets.errors import UserError

Version = Hashable
"""Of everything that is kept. Two of one storage are equal only if nobody wrote in between."""


class WarehouseError(UserError):
    """The database cannot be used. The text names it and the remedy."""


class WarehouseBusy(WarehouseError):
    """Another process has the database longer than we wait. The text names the holder."""


class Tenure:
    """What somebody has who has a lock. This one is of a lock that only the end of the process takes away, and that
    nobody on another machine can have."""

    def confirm(self) -> None:
        """Raise WarehouseError if the lock is lost: then somebody else may have it."""

    def marks(self) -> tuple[str, str]:
        """The mark that was left under this lock the last time somebody asked for one, and a new one, which is left
        now. Work that bears another mark than the former is outdated: somebody elsewhere went on without it."""
        return "", ""


@dataclass(frozen=True)
class Contents:
    """What a storage holds."""

    snapshots: int
    """Former states that can be read, and the current one."""
    files: int
    """Files that the current state is in."""
    bytes: int
    """Their size."""


@dataclass(frozen=True)
class Maintained:
    """What a maintenance found, did and left."""

    before: Contents
    after: Contents
    rows_flushed: int
    """Rows that were in the catalog, and are in files now."""
    files_rewritten: int
    """Files whose rows are in fewer or smaller ones now."""
    files_removed: int
    """Files that no snapshot needed any more."""
    orphans_removed: int
    """Files that a killed run had left."""


Maintenance = Callable[[timedelta], Maintained]
"""Does what a storage needs, and leaves all states readable that are younger than it is told."""


class Storage(Protocol):
    """Where the tables are kept. Holds no connection.

    Each member raises WarehouseError where the database, the disk or the memory is at fault, and WarehouseBusy where
    somebody else is in the way for too long.
    """

    @property
    def where(self) -> str:
        """What to call it in texts, without secrets. It stands for the storage in this process too."""

    @property
    def setting(self) -> str:
        """The variable that names it."""

    def exists(self) -> bool:
        """Whether anything was ever written."""

    def version(self) -> Version:
        """What changes whenever anybody writes, whatever program it is."""

    def turn(self, purpose: str | None, schemas: Collection[str] | None = None) -> AbstractContextManager[None]:
        """Wait until writing to these schemas is possible, and keep other writers of them away. A kill ends it.

        `purpose` is shown to those who wait. None: it is only to read. `schemas`: None stands for all of them.
        """

    def check_turn(self) -> None:
        """Raise WarehouseError if the turn has ended by itself: then others may write. To be asked before a commit."""

    def attached(
        self, *, read_only: bool, users_sql: str | None = None
    ) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A connection with the tables attached as the engine's CATALOG, which is in use. Only inside a turn.

        `users_sql`: a SELECT of a user that will run on it, or parts of it. It reaches tables, but no files, no network
        and no variables of Python. What of it is wrong SQL is raised as DuckDB raises it.
        """

    def reading(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A read-only connection for whoever looks from outside: it waits for no run and stops none, where that is
        possible. It sees one moment between two transactions."""

    def changed_at(self) -> datetime:
        """When what `reading` shows was last changed (aware UTC). Only while such a connection is open."""

    def publish(self) -> str | None:
        """Bring what `reading` shows up to date. The copy that was made for it, None if none was needed.

        If it raises, the former copy stays.
        """

    def shown(self) -> tuple[bool, str]:
        """Whether `reading` shows what is kept now, or need not yet, and a text that says so."""

    def lock(
        self, name: str, purpose: str, *, wait_seconds: float, waiting: Callable[[str], None]
    ) -> AbstractContextManager[Tenure]:
        """Have alone what `name` stands for, in all processes that use the storage. A kill ends it.

        `purpose` is shown to those who wait, and `waiting` is called with what somebody who waits should know. Raises
        LockTaken after `wait_seconds`.
        """

    def rights_too_many(self) -> str | None:
        """What these settings may do where the tables are kept, and need not, with the remedy. None: nothing."""

    def on_this_machine(self, name: str) -> Path:
        """The file that this machine keeps under that name for work on these tables."""

    def size(self) -> int:
        """The bytes that the tables take."""

    def room(self) -> int | None:
        """The bytes that are free for more. None: as many as somebody pays for."""

    @property
    def maintenance(self) -> Maintenance | None:
        """What is to be done for it once a day, beside runs that go on. None: nothing."""


def free_below(path: Path) -> int:
    """The bytes that are free on the disk of a path, whether it is there yet or not."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def nothing_kept(where: str) -> WarehouseError:
    """The error of reading where nothing was ever written."""
    return WarehouseError(f"There is no database at {where} yet: materialize the raw assets first.")
