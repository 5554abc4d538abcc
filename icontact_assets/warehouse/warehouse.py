"""The DuckDB file: opened late, closed soon, under one lock. Writers have one transaction, readers only read."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import duckdb
from filelock import FileLock, Timeout

from icontact_assets.errors import UserError
from icontact_assets.private import OWNER, Readers, created_for_the_owner
from icontact_assets.warehouse.copies import publish, replace_by_copy
from icontact_assets.warehouse.engine import CATALOG, engine
from icontact_assets.warehouse.foreign import Patience, holder
from icontact_assets.warehouse.remedies import first_line, remedy
from icontact_assets.warehouse.signals import interrupted_by_signals
from icontact_assets.warehouse.tables import IMPORT_SOURCE, TABLES, VIEWS, audience_on
from icontact_assets.warehouse.upgrade import pending

# Files are created so that DuckDB 1.5 opens what 2.0 wrote. A file that exists keeps the version it has.
_STORAGE = "STORAGE_VERSION 'v1.5.0'"

# What the file, the disk or the memory is at fault for. Anything else is wrong SQL, and the caller's.
_AT_FAULT = (
    duckdb.IOException,
    duckdb.TransactionException,
    duckdb.OutOfMemoryException,
    duckdb.SerializationException,
    duckdb.FatalException,
    duckdb.InternalException,
)

# What DuckDB keeps: the database, and beside it what a killed process leaves.
_FILES = ("", ".wal", ".wal.checkpoint", ".wal.recovery")

_SAME_SERVICE = " If it is the same service under another address, delete the row of {schema}.import_source."

Version = tuple[tuple[int, ...], ...]
"""Of a database file and what lies beside it."""

_ready: dict[tuple[Path, str | None, Source | None], Version] = {}
"""The schemas that are as this version wants them, and the file as this process left it: others may replace it."""


class WarehouseError(UserError):
    """The database file cannot be used. The text names it and the remedy."""


class WarehouseBusy(WarehouseError):
    """Another process has the database file longer than we wait. The text names the holder."""


class OtherSource(WarehouseError):
    """The schema holds the data of another account, client folder or service. The text names both and the remedies."""


@dataclass(frozen=True)
class Source:
    """Whose data it is."""

    service: str
    account_id: str
    client_folder_id: str

    def __str__(self) -> str:
        return f"account {self.account_id}, client folder {self.client_folder_id} of {self.service}"

    def is_same(self, other: Source) -> bool:
        """Whether both are one, zeros before an id set aside."""
        return self._normal() == other._normal()

    def _normal(self) -> tuple[str, ...]:
        return (self.service, self.account_id.lstrip("0"), self.client_folder_id.lstrip("0"))


class Warehouse:
    """The DuckDB file at `path`. Holds no connection: each `write()` and `read()` opens and closes its own.

    With a `schema`, that of an import, its connections find the tables there without its name, and the schema is
    prepared whenever it is not yet as this version wants it: made, upgraded, and compared with `source`, whose data it
    must hold. Without one, tables are named with their schema.

    DuckDB admits one read-write process and no reader beside it, so both take an operating-system file lock
    beside the database (released by a kill) and wait for it up to `wait_seconds`. They wait as long for a program that
    has the file and does not know the lock, unless it only reads: then a writer goes on with a copy in the file's
    place. `waiting` is called with what somebody who waits should know.

    DuckDB uses `memory_limit` MB at most, if that is given. What does not fit is put beside the file.
    `readers` are those who may read the file. `published` is where its copy for reading is, if there is to be one.
    """

    def __init__(  # noqa: PLR0913 -- what the settings say of one file
        self,
        path: Path,
        schema: str | None = None,
        *,
        source: Source | None = None,
        readers: Readers = OWNER,
        published: Path | None = None,
        wait_seconds: float = 300.0,
        memory_limit: int | None = None,
        waiting: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.path = path
        self.schema = schema
        self.source = source
        self._readers = readers
        self._published = published
        self._wait = wait_seconds
        self._memory_limit = memory_limit
        self._waiting = waiting
        self._lock_path = path.with_name(path.name + ".lock")
        self._holder_path = path.with_name(path.name + ".holder")
        self.left: Version | None = None
        """The file as the last connection left it. Taken under the lock, so that nobody wrote in between."""
        self._is_known = False  # Whether the schema is ready in the file of the connection that is open.

    @contextmanager
    def write(self, purpose: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection inside one transaction: committed at the end of the block, rolled back if it raises.

        `purpose` is shown to a process that waits. Raises WarehouseBusy, WarehouseError, OtherSource.
        """
        with self._connected(purpose, read_only=False) as connection:
            connection.execute("BEGIN")
            if self.schema is not None:
                self._prepare(connection, self.schema)
            self._use(connection)
            yield connection
            # A disk that is full at the end shows as a commit that failed.
            connection.execute("COMMIT")
            self._is_known = True

    @contextmanager
    def read(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection. Raises WarehouseError if there is no database yet, WarehouseBusy, OtherSource."""
        if not self.exists():
            raise WarehouseError(f"There is no database at {self.path} yet: materialize the raw assets first.")
        if self.schema is not None:
            with self._connected("reading", read_only=True) as connection:
                self._is_known = self._is_known or self._is_ready(connection, self.schema)
                if self._is_known:
                    self._use(connection)
                    yield connection
                    return
            self.prepare()
        with self._connected("reading", read_only=True) as connection:
            self._use(connection)
            yield connection

    def prepare(self) -> None:
        """Make the file, the schema, its tables, columns (NULL in older rows), views and macros where they are missing.
        Raises OtherSource if the schema holds the data of another than `source`, WarehouseError, WarehouseBusy."""
        with self.write("preparing the schema"):
            pass

    def publish(self) -> bool:
        """Renew the copy for reading, if there is to be one and the file has changed since. Whether a copy was made.

        It holds all tables as they are at one moment, between two transactions. The former copy lives on for those who
        have it open. Raises WarehouseError, WarehouseBusy: then the former copy stays.
        """
        if self._published is None or not self.exists():
            return False
        beside = [self.path.with_name(self.path.name + end) for end in _FILES[1:]]
        if any(path.exists() for path in beside):
            # A killed process left what it had committed. Opening the file brings that into it.
            with self._connected("tidying up", read_only=False) as connection:
                connection.execute(f"CHECKPOINT {CATALOG}")
        with self._locked("making the copy for reading"):
            if any(path.exists() for path in beside):
                raise WarehouseError(f"{self.path} cannot be copied: some of what it holds is still beside it.")
            try:
                return publish(self.path, self._published, self._readers)
            except BlockingIOError as error:
                raise WarehouseBusy(f"{self.path} cannot be copied while another program writes to it.") from error
            except OSError as error:
                raise WarehouseError(
                    f"The copy {self._published} could not be made: {error.strerror}. Check that this user may write "
                    "to its folder and that the disk has space for it."
                ) from error

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

    def claim(self, connection: duckdb.DuckDBPyConnection) -> tuple[str, bool]:
        """Record whose data the schema holds, where that is not recorded yet: the id of the schema in this database,
        and whether it held rows of which nothing said whose they are. Raises OtherSource."""
        if self.source is None:
            raise ValueError("only the schema of an import holds the data of a source")
        if (id_ := self.claimed(connection)) is not None:
            return id_, False
        id_ = uuid.uuid4().hex
        now = datetime.now(UTC).replace(tzinfo=None)
        connection.execute(
            "INSERT INTO import_source VALUES (?, ?, ?, ?, ?)",
            [id_, self.source.service, self.source.account_id, self.source.client_folder_id, now],
        )
        [(rows,)] = connection.execute("SELECT count(*) FROM import_coverage").fetchall()
        return id_, rows > 0

    def claimed(self, connection: duckdb.DuckDBPyConnection) -> str | None:
        """The id of the schema in this database. None if it is not recorded whose data it holds. Raises OtherSource."""
        if self.schema is None or self.source is None:
            raise ValueError("only the schema of an import holds the data of a source")
        return self._check_source(connection, self.schema, self.source)

    def version(self) -> Version:
        """What changes whenever anybody writes to the file, whatever program it is."""
        found = []
        for path in (self.path, self.path.with_name(self.path.name + ".wal")):
            try:
                stat_ = path.stat()
            except OSError:
                found.append((0, 0, 0, 0))
            else:
                found.append((stat_.st_dev, stat_.st_ino, stat_.st_size, stat_.st_mtime_ns))
        return tuple(found)

    def is_claimed(self) -> bool:
        """Whether it is recorded that the schema holds the data of `source`. Reads only, and prepares nothing. Raises
        OtherSource."""
        if self.schema is None or self.source is None:
            raise ValueError("only the schema of an import holds the data of a source")
        if not self.exists():
            return False
        with self._connected("reading", read_only=True) as connection:
            found = _columns(connection, self.schema)
            return IMPORT_SOURCE.name in found and self._check_source(connection, self.schema, self.source) is not None

    def _prepare(self, connection: duckdb.DuckDBPyConnection, schema: str) -> None:
        if self._is_known or self._is_ready(connection, schema):
            return
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        self._use(connection)
        found = _columns(connection, schema)
        for table in TABLES:
            if table.name not in found:
                connection.execute(table.ddl(schema))
        for statement in pending(found):
            connection.execute(statement)
        found = _columns(connection, schema)
        for table in TABLES:
            for column in table.columns:
                if column.name not in found[table.name]:
                    connection.execute(f'ALTER TABLE "{table.name}" ADD COLUMN "{column.name}" {column.type}')
        for statement in _definitions(schema):
            connection.execute(statement)
        connection.execute(f"COMMENT ON TABLE {IMPORT_SOURCE.name} IS '{_layout(schema)}'")
        if self.source is not None:
            self._check_source(connection, schema, self.source)

    def _is_ready(self, connection: duckdb.DuckDBPyConnection, schema: str) -> bool:
        """Whether the schema has every table, column, view and macro already. Raises OtherSource."""
        found = _columns(connection, schema)
        if any(not found.get(table.name, set()).issuperset(table.column_names) for table in TABLES):
            return False
        if any(view.name not in found for view in VIEWS):
            return False
        comments = connection.execute(
            "SELECT comment FROM duckdb_tables() WHERE database_name = ? AND schema_name = ? AND table_name = ?",
            [CATALOG, schema, IMPORT_SOURCE.name],
        ).fetchall()
        if comments != [(_layout(schema),)]:
            return False
        if self.source is not None:
            self._check_source(connection, schema, self.source)
        return True

    def _use(self, connection: duckdb.DuckDBPyConnection) -> None:
        if self.schema is not None:
            connection.execute(f'USE {CATALOG}."{self.schema}"')

    def _check_source(self, connection: duckdb.DuckDBPyConnection, schema: str, source: Source) -> str | None:
        """The recorded id of a schema. None if nothing is recorded."""
        rows = connection.execute(
            f'SELECT database_id, service, account_id, client_folder_id FROM "{schema}".{IMPORT_SOURCE.name}'  # noqa: S608
        ).fetchall()
        for id_, *recorded in rows:
            found = Source(*recorded)
            if not found.is_same(source):
                raise OtherSource(
                    f"The database {self.path} holds, as {schema}, {found}. The settings of the import {schema} name "
                    f"{source}. Nothing was asked for or stored. Give the import another name in icontact.yaml, or "
                    "name another file with ICONTACT_ASSETS_DUCKDB, or set the former ids again."
                    + (found.service != source.service)
                    * _SAME_SERVICE.format(schema=schema)
                )
            return str(id_)
        return None

    @contextmanager
    def _connected(self, purpose: str, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        exists = self.exists()
        key = (self.path, self.schema, self.source)
        with self._locked(purpose), self._closed_to_others(), self._spill_folder() as spill:
            self._is_known = _ready.get(key) == self.version()
            try:
                options = "READ_ONLY" if read_only else "" if exists else _STORAGE
                with self._opened(spill, options) as connection, interrupted_by_signals(connection):
                    yield connection
            except duckdb.Error as error:
                # DuckDB 2.0 has no class of its own for a damaged file.
                if not isinstance(error, _AT_FAULT) and type(error) is not duckdb.Error:
                    raise
                raise WarehouseError(self._unusable(error)) from error
            finally:
                self.left = self.version()
                if self._is_known:
                    _ready[key] = self.left

    @contextmanager
    def _locked(self, purpose: str) -> Iterator[None]:
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
                self._holder_path.write_text(f"process {os.getpid()} ({purpose})")
            except OSError as error:
                raise WarehouseError(self._unusable(error)) from error
            yield
        finally:
            lock.release()

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
        folder = self.path.with_name(self.path.name + ".spill")
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
        instead = f" To read, open {self._published} instead: it stands in nobody's way." if self._published else ""
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


def _columns(connection: duckdb.DuckDBPyConnection, schema: str) -> dict[str, set[str]]:
    """The columns of each table and view of a schema."""
    found: dict[str, set[str]] = {}
    for table_name, column_name in connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = ? AND schema_name = ?",
        [CATALOG, schema],
    ).fetchall():
        found.setdefault(table_name, set()).add(column_name)
    return found


def _definitions(schema: str) -> list[str]:
    """The DDL of what holds no rows, made anew by each version."""
    return [*(view.ddl(schema) for view in VIEWS), audience_on(schema)]


@cache
def _layout(schema: str) -> str:
    """What a prepared schema is marked with: another version of these definitions has another mark."""
    text = "\n".join([*(table.ddl(schema) for table in TABLES), *_definitions(schema)])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
