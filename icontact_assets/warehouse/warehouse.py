"""The DuckDB file: opened late, closed soon, under one lock; writers in one transaction, readers read-only."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from filelock import FileLock, Timeout

from icontact_assets.warehouse.tables import TABLES, audience_on

# The file is attached under a name of its own: DuckDB would call it by its file's name, which may be an import's too.
_CATALOG = "warehouse_file"

# A program that has the file open without our lock is a person's, who is told soon.
_FOREIGN_WAIT_SECONDS = 60.0

# Files are created so that DuckDB 1.5 opens what 2.0 wrote.
_STORAGE = "STORAGE_VERSION 'v1.5.0'"


class WarehouseError(Exception):
    """The database file cannot be used; the text names it and the remedy."""


class WarehouseBusy(WarehouseError):
    """Another process has the database file longer than we wait; the text names the holder."""


class Warehouse:
    """The DuckDB file at `path`. Holds no connection: each `write()` and `read()` opens and closes its own.

    DuckDB admits one read-write process and no reader beside it, so both take an operating-system file lock
    beside the database (released by a kill) and wait for it up to `wait_seconds`.
    """

    def __init__(self, path: Path, *, wait_seconds: float = 300.0) -> None:
        self.path = path
        self._wait = wait_seconds
        self._lock_path = path.with_name(path.name + ".lock")
        self._holder_path = path.with_name(path.name + ".holder")

    @contextmanager
    def write(self, purpose: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection inside one transaction: committed at the end of the block, rolled back if it raises.

        `purpose` is what a process that waits is told. Raises WarehouseBusy, WarehouseError.
        """
        with self._locked(purpose):
            connection = self._open(read_only=False)
            try:
                connection.execute("BEGIN")
                yield connection
                connection.execute("COMMIT")
            except (duckdb.IOException, duckdb.TransactionException) as error:
                # A disk that is full at the end shows as a commit that failed.
                raise WarehouseError(self._unwritable(error)) from error
            finally:
                connection.close()

    @contextmanager
    def read(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection. Raises WarehouseError if there is no database yet, WarehouseBusy."""
        if not self.path.exists():
            raise WarehouseError(f"There is no database at {self.path} yet: materialize the raw assets first.")
        with self._locked("reading"):
            connection = self._open(read_only=True)
            try:
                yield connection
            finally:
                connection.close()

    def prepare(self, schema: str) -> None:
        """Create the schema, its tables, their columns (NULL in older rows) and `audience_on` where they are missing.
        Idempotent."""
        with self.write("preparing the schema") as connection:
            connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
            found: dict[str, set[str]] = {}
            for table_name, column_name in connection.execute(
                "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = ? AND schema_name = ?",
                [_CATALOG, schema],
            ).fetchall():
                found.setdefault(table_name, set()).add(column_name)
            for table in TABLES:
                if table.name not in found:
                    connection.execute(table.ddl(schema))
                for column in table.columns:
                    if column.name not in found.get(table.name, table.column_names):
                        connection.execute(
                            f'ALTER TABLE "{schema}"."{table.name}" ADD COLUMN "{column.name}" {column.type}'
                        )
            connection.execute(audience_on(schema))

    @contextmanager
    def _locked(self, purpose: str) -> Iterator[None]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._lock_path)
            lock.acquire(timeout=self._wait, poll_interval=random.uniform(0.01, 0.05))  # noqa: S311
        except Timeout as error:
            raise WarehouseBusy(
                f"{self.path} is in use by {self._holder()} for more than {self._wait:.0f} s. "
                "Wait for it to end, or stop it, and run again."
            ) from error
        except OSError as error:
            raise WarehouseError(self._unwritable(error)) from error
        try:
            try:
                self._holder_path.write_text(f"process {os.getpid()} ({purpose})")
            except OSError as error:
                raise WarehouseError(self._unwritable(error)) from error
            yield
        finally:
            lock.release()

    def _open(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        wait = min(self._wait, _FOREIGN_WAIT_SECONDS)
        deadline = time.monotonic() + wait
        path = str(self.path).replace("'", "''")
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        while True:
            try:
                connection.execute(f"ATTACH '{path}' AS {_CATALOG} ({'READ_ONLY' if read_only else _STORAGE})")
                connection.execute(f"USE {_CATALOG}")
                return connection
            except duckdb.IOException as error:
                # A program that does not know our lock (a notebook, the duckdb shell) may have the file.
                if "lock" not in str(error).lower():
                    connection.close()
                    raise WarehouseError(self._unwritable(error)) from error
                if time.monotonic() > deadline:
                    connection.close()
                    raise WarehouseBusy(
                        f"{self.path} is open in another program for more than {wait:.0f} s: "
                        f"{_first_line(error)} Close it there and run again."
                    ) from error
                time.sleep(random.uniform(0.05, 0.2))  # noqa: S311

    def _holder(self) -> str:
        try:
            return self._holder_path.read_text()
        except OSError:
            return "another process"

    def _unwritable(self, error: Exception) -> str:
        return (
            f"The database {self.path} cannot be used: {_first_line(error)} "
            "Check that the folder exists, that this user may write to it, and that the disk has space "
            "(ICONTACT_ASSETS_DUCKDB names another place)."
        )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") + "."
