"""The DuckLake that keeps the tables: a catalog in PostgreSQL, and Parquet files on a disk or in S3."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from icontact_assets.catalog import Catalog, CatalogError, Held, Session, acquire
from icontact_assets.private import created_for_the_owner
from icontact_assets.warehouse.closed import check_closed
from icontact_assets.warehouse.engine import close_to_users
from icontact_assets.warehouse.lake_engine import Attachment, lake_engine
from icontact_assets.warehouse.lake_folder import is_lake
from icontact_assets.warehouse.lake_tenure import LakeTenure
from icontact_assets.warehouse.lock import LockTaken
from icontact_assets.warehouse.remedies import first_line, is_of_the_place
from icontact_assets.warehouse.signals import interrupted_by_signals
from icontact_assets.warehouse.storage import (
    Maintained,
    Tenure,
    Version,
    WarehouseBusy,
    WarehouseError,
    free_below,
    nothing_kept,
)
from icontact_assets.warehouse.upkeep import contents, maintain

_RIGHTS = """
    SELECT name FROM pg_roles, unnest(
        ARRAY['SUPERUSER', 'CREATEROLE', 'CREATEDB', 'REPLICATION', 'BYPASSRLS'],
        ARRAY[rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls]
    ) AS attributes (name, has)
    WHERE rolname = current_user AND has
    UNION ALL
    SELECT rolname FROM pg_roles
    WHERE starts_with(rolname, 'pg_') AND rolname <> 'pg_database_owner' AND pg_has_role(current_user, oid, 'MEMBER')
    AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
    ORDER BY 1
"""
"""What a role may do beside using its database. Roles that begin with pg_ are PostgreSQL's own."""


class DuckLake:
    """A DuckLake, as the storage of a warehouse: its catalog is the PostgreSQL database that `conninfo` names, and its
    Parquet files are in `data`, a folder or an address that begins with s3://.

    Readers see a snapshot, wait for nobody and stop nobody. Writers wait for each other up to `wait_seconds`: DuckLake
    checks conflicts by table, and two replaces of rows that are not there yet are none. Their lock is a PostgreSQL
    advisory lock, which dies with its session. It is taken before the lake is attached, so that the snapshot is the
    latest. `waiting` is called with what somebody who waits should know.

    DuckDB uses `memory_limit` MB at most, if that is given. `work` is a folder of this machine, for what does not fit
    and for what work on these tables keeps.
    """

    setting = "ICONTACT_ASSETS_WAREHOUSE"

    def __init__(
        self,
        conninfo: str,
        data: str,
        work: Path,
        *,
        wait_seconds: float = 300.0,
        memory_limit: int | None = None,
        waiting: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._catalog = Catalog(conninfo)
        self.where = f"{self._catalog.where}, data in {data}"
        self._conninfo = conninfo
        self._data = data
        self._work = work
        self._wait = wait_seconds
        self._memory_limit = memory_limit
        self._waiting = waiting
        # Threads may share a storage, and each has its own turn.
        self._turn = threading.local()

    def exists(self) -> bool:
        """Whether the catalog has a lake's tables."""
        with self._looking() as session:
            return is_lake(session)

    def version(self) -> Version:
        """The id of the latest snapshot."""
        session = getattr(self._turn, "session", None)
        # One that was lost is no reason to hide what was lost by it.
        if session is not None and not session.closed:
            return self._snapshot(session)
        with self._looking() as session:
            return self._snapshot(session)

    @contextmanager
    def turn(self, purpose: str | None, schemas: Collection[str] | None = None) -> Iterator[None]:
        """A session with the catalog. One that writes has the locks of its schemas, so that imports write at once."""
        with self._session(purpose or "reading") as session:
            if purpose is not None:
                self._lock_schemas(session, schemas)
            self._turn.session = session
            try:
                yield
            finally:
                self._turn.session = None

    def check_turn(self) -> None:
        """Ask the session that has the locks whether it is alive."""
        LakeTenure(self._turn.session, "the tables").confirm()

    @contextmanager
    def attached(self, *, read_only: bool, users_sql: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the lake, which is made where it is missing. One that reads sees one snapshot."""
        # What is not of users reads with the engine that writes. A second one would load all about the tables again.
        with self._opened(reads=read_only, read_only=users_sql is not None) as connection:
            if users_sql is not None:
                # The engine has to read the data and the catalog, so it cannot be closed to all of them.
                check_closed(connection, users_sql)
                close_to_users(connection)
            yield connection

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the latest snapshot. Snapshots that follow are not seen."""
        if not self.exists():
            raise nothing_kept(self.where)
        with self._opened(reads=True, read_only=True) as connection:
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

    def rights_too_many(self) -> str | None:
        """What the catalog's role may do beside using its database."""
        with self._looking() as session:
            found = [name for (name,) in session.execute(_RIGHTS).fetchall()]
        if not found:
            return None
        return (
            f"the role of the catalog has {', '.join(found)}, and whoever may run SQL on the lake has what it has. "
            f"Name one in {self.setting} that only owns this database"
        )

    def on_this_machine(self, name: str) -> Path:
        """A file in the folder of this machine. Other lakes have others."""
        return self._work / f"{hashlib.blake2b(self.where.encode(), digest_size=4).hexdigest()}.{name}"

    def size(self) -> int:
        """The bytes of its Parquet files that are in use."""
        with self._looking() as session:
            return contents(session).bytes if is_lake(session) else 0

    def room(self) -> int | None:
        """The bytes that are free on the disk of the data. S3 has no end."""
        return None if "://" in self._data else free_below(Path(self._data))

    def maintenance(self, keep: timedelta) -> Maintained:
        """Merge small files, and remove snapshots and files that nobody needs. Writers wait for its short steps."""

        @contextmanager
        def opened(schema: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
            purpose, schemas = (None, ()) if schema is None else ("maintenance", (schema,))
            with self.turn(purpose, schemas), self.attached(read_only=False) as connection:
                yield connection

        if not self.exists():
            raise nothing_kept(self.where)
        with self._session("maintenance") as session:
            return maintain(session, opened, opened, keep)

    @contextmanager
    def _session(self, purpose: str) -> Iterator[Session]:
        with _named(), self._catalog.session(purpose) as session:
            yield session

    @contextmanager
    def _looking(self) -> Iterator[Session]:
        with _named(), self._catalog.lent() as session:
            yield session

    def _snapshot(self, session: Session) -> int:
        if not is_lake(session):
            return -1
        [(snapshot,)] = session.execute("SELECT max(snapshot_id) FROM ducklake_snapshot").fetchall()
        return int(snapshot)

    def _lock_schemas(self, session: Session, schemas: Collection[str] | None) -> None:
        """Wait until nobody else writes to these schemas. None: to any."""
        try:
            # Whoever writes to some shares this one, once there is a lake: of two that make it at once, one would fail.
            # In one order everywhere, so that no two wait for each other.
            shared = schemas is not None and is_lake(session)
            acquire(session, "write", self._wait, self._waiting, shared=shared)
            for schema in sorted(schemas or ()):
                acquire(session, f"write {schema}", self._wait, self._waiting)
        except Held as held:
            raise WarehouseBusy(
                f"{self.where} is in use by {held} for more than {self._wait:.0f} s. "
                "Wait for it to end, or stop it, and run again."
            ) from held

    @contextmanager
    def _opened(self, *, reads: bool, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        attachment = Attachment(self._conninfo, self._data, read_only, self.on_this_machine("spill"))
        with created_for_the_owner():
            try:
                with (
                    _named(),
                    lake_engine(attachment, self._memory_limit, reads=reads) as connection,
                    interrupted_by_signals(connection),
                ):
                    yield connection
            except duckdb.Error as error:
                if not is_of_the_place(error):
                    raise
                raise WarehouseError(self._unusable(error)) from error

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
