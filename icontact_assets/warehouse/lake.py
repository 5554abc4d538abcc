"""The DuckLake that keeps the tables: a catalog in PostgreSQL, and Parquet files on a disk or in S3."""

from __future__ import annotations

import hashlib
import importlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from icontact_assets.catalog import Catalog, CatalogError, Held, Session, acquire
from icontact_assets.private import OWNER, Readers, created_for_the_owner
from icontact_assets.warehouse.engine import CATALOG, new_engine
from icontact_assets.warehouse.lake_tenure import LakeTenure
from icontact_assets.warehouse.lock import LockTaken
from icontact_assets.warehouse.remedies import first_line
from icontact_assets.warehouse.signals import interrupted_by_signals
from icontact_assets.warehouse.storage import (
    Tenure,
    Version,
    WarehouseBusy,
    WarehouseError,
    free_below,
    nothing_kept,
)

_EXTENSIONS = ("postgres_scanner", "ducklake")
_S3_EXTENSIONS = ("httpfs", "aws")

_SECRET = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "DATABASE"}
"""How DuckDB's secrets call what libpq connects with."""

# What catalog, data or memory are at fault for. Anything else is wrong SQL, and the caller's.
_AT_FAULT = (
    duckdb.IOException,
    duckdb.HTTPException,
    duckdb.TransactionException,
    duckdb.OutOfMemoryException,
    duckdb.SerializationException,
    duckdb.FatalException,
    duckdb.InternalException,
)

_Key = tuple[str, str, bool]

_idle: dict[_Key, list[duckdb.DuckDBPyConnection]] = {}
"""Engines with the lake attached, to be used again: to attach it takes longer than most of what is then asked."""
_of_parent: list[duckdb.DuckDBPyConnection] = []
_numbers = itertools.count()


def _leave_to_parent() -> None:
    # See `engine.py`. A session with the catalog is the parent's too.
    _of_parent.extend(connection for kept in _idle.values() for connection in kept)
    _idle.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


class DuckLake:
    """A DuckLake, as the storage of a warehouse: its catalog is the PostgreSQL database that `conninfo` names, and its
    Parquet files are in `data`, a folder or an address that begins with s3://.

    Readers see a snapshot, wait for nobody and stop nobody. Writers wait for each other up to `wait_seconds`: DuckLake
    checks conflicts by table, and two replaces of rows that are not there yet are none. Their lock is a PostgreSQL
    advisory lock, which dies with its session. It is taken before the lake is attached, so that the snapshot is the
    latest. `waiting` is called with what somebody who waits should know.

    DuckDB uses `memory_limit` MB at most, if that is given. `work` is a folder of this machine, for what does not fit
    and for what work on these tables keeps. `readers` are those who may read it, and `data` if that is a folder.
    """

    setting = "ICONTACT_ASSETS_WAREHOUSE"

    def __init__(
        self,
        conninfo: str,
        data: str,
        work: Path,
        *,
        readers: Readers = OWNER,
        wait_seconds: float = 300.0,
        memory_limit: int | None = None,
        waiting: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._catalog = Catalog(conninfo)
        self.where = f"{self._catalog.where}, data in {data}"
        self._conninfo = conninfo
        self._data = data
        self._work = work
        self._readers = readers
        self._wait = wait_seconds
        self._memory_limit = memory_limit
        self._waiting = waiting
        # Threads may share a storage, and each has its own turn.
        self._turn = threading.local()

    def exists(self) -> bool:
        """Whether the catalog has a lake's tables."""
        with self._looking() as session:
            return _is_lake(session)

    def version(self) -> Version:
        """The id of the latest snapshot."""
        session = getattr(self._turn, "session", None)
        if session is not None:
            return self._snapshot(session)
        with self._looking() as session:
            return self._snapshot(session)

    @contextmanager
    def turn(self, purpose: str | None) -> Iterator[None]:
        """A session with the catalog. One that writes has the lock of all writers."""
        with self._session(purpose or "reading") as session:
            if purpose is not None:
                try:
                    acquire(session, "write", self._wait)
                except Held as held:
                    raise WarehouseBusy(
                        f"{self.where} is in use by {held} for more than {self._wait:.0f} s. "
                        "Wait for it to end, or stop it, and run again."
                    ) from held
            self._turn.session = session
            try:
                yield
            finally:
                self._turn.session = None

    @contextmanager
    def attached(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the lake, which is made where it is missing. One that reads sees one snapshot."""
        with self._opened(read_only) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the latest snapshot. Snapshots that follow are not seen."""
        if not self.exists():
            raise nothing_kept(self.where)
        with self._opened(read_only=True) as connection:
            yield connection

    def changed_at(self) -> datetime:
        """The time of the latest snapshot (aware UTC)."""
        with self._looking() as session:
            [(at,)] = session.execute("SELECT max(snapshot_time) FROM ducklake_snapshot").fetchall()
        assert isinstance(at, datetime)  # noqa: S101 -- for the type checker
        return at.astimezone(UTC)

    def publish(self) -> str | None:
        """Nothing: readers see each snapshot as soon as it is committed."""
        return None

    def shown(self) -> tuple[bool, str]:
        """That readers need no copy."""
        return True, "none is needed: whoever reads the lake waits for no run"

    @contextmanager
    def lock(self, name: str, purpose: str, *, wait_seconds: float, waiting: Callable[[str], None]) -> Iterator[Tenure]:
        """An advisory lock of the catalog."""
        since = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        with self._session(f"{purpose}, since {since}") as session:
            try:
                acquire(session, name, wait_seconds, waiting)
            except Held as held:
                raise LockTaken(str(held)) from held
            yield LakeTenure(session, name)

    def on_this_machine(self, name: str) -> Path:
        """A file in the folder of this machine. Other lakes have others."""
        return self._work / f"{hashlib.blake2b(self.where.encode(), digest_size=4).hexdigest()}.{name}"

    def size(self) -> int:
        """The bytes of its Parquet files that are in use."""
        with self._looking() as session:
            if not _is_lake(session):
                return 0
            [(size,)] = session.execute(
                "SELECT coalesce(sum(file_size_bytes), 0)::bigint FROM ducklake_data_file WHERE end_snapshot IS NULL"
            ).fetchall()
            return int(size)

    def room(self) -> int | None:
        """The bytes that are free on the disk of the data. S3 has no end."""
        return None if "://" in self._data else free_below(Path(self._data))

    @contextmanager
    def _session(self, purpose: str) -> Iterator[Session]:
        with _named(), self._catalog.session(purpose) as session:
            yield session

    @contextmanager
    def _looking(self) -> Iterator[Session]:
        with _named(), self._catalog.lent() as session:
            yield session

    def _snapshot(self, session: Session) -> int:
        if not _is_lake(session):
            return -1
        [(snapshot,)] = session.execute("SELECT max(snapshot_id) FROM ducklake_snapshot").fetchall()
        return int(snapshot)

    @contextmanager
    def _opened(self, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        unharmed = False
        key = (self._conninfo, self._data, read_only)
        with created_for_the_owner():
            try:
                lent, connection = self._begun(key)
                try:
                    with interrupted_by_signals(connection):
                        yield connection
                    unharmed = True
                finally:
                    connection.close()
                    self._give_back(key, lent, unharmed)
            except duckdb.Error as error:
                if not isinstance(error, _AT_FAULT) and type(error) is not duckdb.Error:
                    raise
                raise WarehouseError(self._unusable(error)) from error

    def _begun(self, key: _Key) -> tuple[duckdb.DuckDBPyConnection, duckdb.DuckDBPyConnection]:
        """An engine with the lake attached, and a connection to it. The catalog answers."""
        _, _, read_only = key
        while True:
            kept = _idle.get(key)
            lent = kept.pop() if kept else None
            try:
                engine = lent or self._attach(read_only)
                connection = engine.cursor()
                connection.execute("SET TimeZone = 'UTC'")
                if self._memory_limit is not None:
                    connection.execute(f"SET memory_limit = '{self._memory_limit}MB'")
                connection.execute(f"USE {CATALOG}")
                if read_only:
                    # All that it reads is of one snapshot.
                    connection.execute("BEGIN")
                    connection.execute(f"FROM ducklake_current_snapshot('{CATALOG}')").fetchall()
                return engine, connection
            except duckdb.Error:
                if lent is None:
                    raise
                # The catalog may have been started again since.
                lent.close()

    def _attach(self, read_only: bool) -> duckdb.DuckDBPyConnection:
        folder = self.on_this_machine(f"spill.{os.getpid()}.{next(_numbers)}")
        engine = new_engine(folder)
        try:
            in_s3 = self._data.startswith("s3://")
            for name in _EXTENSIONS + _S3_EXTENSIONS * in_s3:
                engine.execute(f"LOAD '{_quoted(_extension(name))}'")
            if in_s3:
                # As every program of AWS finds them: in variables, files, or from the machine that it runs on.
                engine.execute("CREATE SECRET data (TYPE s3, PROVIDER credential_chain)")
            # Any query sees how a lake was attached. What is in a secret is shown as "redacted".
            named = conninfo_to_dict(self._conninfo)
            hidden = {_SECRET[name]: str(named.pop(name)) for name in _SECRET if name in named}
            secret = "".join(f", {name} '{_quoted(value)}'" for name, value in hidden.items())
            engine.execute(f"CREATE SECRET catalog (TYPE postgres{secret})")
            options = f"DATA_PATH '{_quoted(self._data)}', META_SECRET catalog" + ", READ_ONLY" * read_only
            catalog = _quoted(
                f"ducklake:postgres:{make_conninfo(**{name: str(value) for name, value in named.items()})}"
            )
            engine.execute(f"ATTACH '{catalog}' AS {CATALOG} ({options})")
            # Where SQL of a user may see no files, the tables are seen: they are files here.
            engine.execute(f"SET allowed_directories = ['{_quoted(self._data)}']")
        except duckdb.Error:
            engine.close()
            raise
        return engine

    def _give_back(self, key: _Key, lent: duckdb.DuckDBPyConnection, unharmed: bool) -> None:
        try:
            if unharmed:
                lent.execute("RESET threads")
                lent.execute("RESET memory_limit")
                _idle.setdefault(key, []).append(lent)
                return
        except duckdb.Error:
            pass
        lent.close()

    def _unusable(self, error: Exception) -> str:
        return (
            f"The database {self.where} cannot be used: {first_line(error)} Check that PostgreSQL runs and that this "
            f"user may connect to it, as {self.setting} says."
        )


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except CatalogError as error:
        raise WarehouseError(str(error)) from error


def _is_lake(session: Session) -> bool:
    return bool(session.execute("SELECT to_regclass('ducklake_snapshot') IS NOT NULL").fetchall() == [(True,)])


def _extension(name: str) -> str:
    """The file of an extension, which a package brings."""
    package = Path(str(importlib.import_module(f"duckdb_extension_{name}").__file__)).parent
    return str(next(package.rglob("*.duckdb_extension")))


def _quoted(text: str) -> str:
    return text.replace("'", "''")
