"""The same for workers on several machines: a table beside a lake's catalog, and a lock for each row of it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager

from icontact_assets.catalog import Catalog, CatalogError, Held, Session, acquire, create_once, key_of

_LOOK_SECONDS = 5.0
"""After so long a session that was lost is noticed, and replaced. A run is called dead only if it is found so twice,
half a minute apart."""
_END_SECONDS = 10.0

_TABLE = "CREATE TABLE icontact_runs (run_id text NOT NULL, lock bigint PRIMARY KEY)"

_GONE = """
    FROM icontact_runs WHERE NOT EXISTS (
        SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND ((classid::bigint << 32) | objid::bigint) = icontact_runs.lock
    )
"""


class RunTable:
    """A row for each process that executes steps of a run, and an advisory lock of its session. A kill, or the end of
    its machine, leaves the row without the lock.

    A process that lives keeps the lock, however long it stands still. If the catalog is started again, it takes it
    again. One that does not reach the catalog for longer than about a minute counts as gone: it can neither store nor
    send anything in that time.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    @contextmanager
    def during(self, run_id: str, warn: Callable[[str], None]) -> Iterator[None]:
        """Hold the lock of a new row."""
        presence = _Presence(self._catalog, run_id, warn)
        thread = threading.Thread(target=presence.keep, name=f"presence of {run_id}", daemon=True)
        thread.start()
        presence.begun.wait()
        try:
            yield
        finally:
            presence.ended.set()
            thread.join(_END_SECONDS)

    def left_behind(self) -> Set[str]:
        """The runs of rows whose lock nobody has."""
        with self._table() as session:
            return {run_id for (run_id,) in session.execute(f"SELECT run_id {_GONE}").fetchall()}

    def forget(self, run_id: str) -> None:
        """Remove those rows of a run."""
        with self._table() as session:
            session.execute(f"DELETE {_GONE} AND run_id = %s", [run_id])

    @contextmanager
    def _table(self) -> Iterator[Session]:
        with self._catalog.lent() as session:
            create_once(session, "icontact_runs", _TABLE)
            yield session


class _Presence:
    """What the thread does that keeps the lock of one process."""

    def __init__(self, catalog: Catalog, run_id: str, warn: Callable[[str], None]) -> None:
        self.begun, self.ended = threading.Event(), threading.Event()
        self._catalog = catalog
        self._run_id = run_id
        self._warn = warn
        self._lock = f"run {uuid.uuid4().hex}"

    def keep(self) -> None:
        """Keep the lock until the end, with another session if one is lost."""
        try:
            while not self.ended.is_set():
                try:
                    self._hold()
                except (CatalogError, Held) as error:
                    if not self.begun.is_set():
                        self._warn(f"If this run is killed now, nobody will notice: {error}")
                        self.begun.set()
                    self.ended.wait(_LOOK_SECONDS)
        finally:
            self.begun.set()

    def _hold(self) -> None:
        key = key_of(self._lock)
        with self._catalog.session(f"run {self._run_id}") as session:
            acquire(session, self._lock, 0)
            create_once(session, "icontact_runs", _TABLE)
            session.execute("INSERT INTO icontact_runs VALUES (%s, %s) ON CONFLICT DO NOTHING", [self._run_id, key])
            self.begun.set()
            while not self.ended.wait(_LOOK_SECONDS):
                session.execute("SELECT 1")
            session.execute("DELETE FROM icontact_runs WHERE lock = %s", [key])
