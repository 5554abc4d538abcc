"""Sessions with the PostgreSQL database that holds a lake's catalog, and its locks. Knows nothing of what is in it."""

from __future__ import annotations

import atexit
import hashlib
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from icontact_assets.errors import UserError

Session: TypeAlias = psycopg.Connection[tuple[Any, ...]]

SETTING = "ICONTACT_ASSETS_WAREHOUSE"
"""The variable that says how to connect."""

_FIRST_WORD_SECONDS = 2.0
_NEXT_WORD_SECONDS = 600.0

_CONNECT_SECONDS = 10

# Either side notices within a minute that the other one's machine is gone. A lock lives no longer than that.
_CLIENT = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3", "tcp_user_timeout": "60000"}
_SERVER = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"

_KEPT_OF_AN_ERROR = 500


class CatalogError(UserError):
    """The catalog cannot be used. The text names it and the remedy, and holds no password."""


_idle: dict[str, list[Session]] = {}
"""Sessions to be used again: to connect takes longer than most of what is then asked."""
_of_parent: list[Session] = []
_idle_lock = threading.Lock()


def _leave_to_parent() -> None:
    # A session that two processes use answers neither.
    global _idle_lock
    _idle_lock = threading.Lock()
    _of_parent.extend(session for kept in _idle.values() for session in kept)
    _idle.clear()


@atexit.register
def _close_idle() -> None:
    for session in [session for kept in _idle.values() for session in kept]:
        session.close()
    _idle.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


class Catalog:
    """The PostgreSQL database that `conninfo` names, in the words of libpq. Every method raises CatalogError."""

    def __init__(self, conninfo: str) -> None:
        named = conninfo_to_dict(conninfo)
        self.where = f"{named.get('dbname', '')} on {named.get('host', 'this machine')}:{named.get('port', 5432)}"
        """What to call it in texts."""
        options = " ".join(filter(None, (_SERVER, str(named.get("options") or ""))))
        self._conninfo = make_conninfo(conninfo, **{**_CLIENT, **named, "options": options})

    @contextmanager
    def session(self, purpose: str) -> Iterator[Session]:
        """A session of its own, closed at the end. Others who wait for its locks are shown the purpose."""
        with self._errors():
            session = self._connect(purpose)
        with session, self._errors():
            yield session

    @contextmanager
    def lent(self) -> Iterator[Session]:
        """A session that others may have had before, for a few statements. It is left as it was found."""
        with self._errors():
            with _idle_lock:
                kept = _idle.get(self._conninfo)
                session = kept.pop() if kept else None
            if session is not None and not _answers(session):
                session.close()
                session = None
            session = session or self._connect("counting")
            unharmed = False
            try:
                yield session
                unharmed = not session.closed
            finally:
                if unharmed:
                    with _idle_lock:
                        _idle.setdefault(self._conninfo, []).append(session)
                else:
                    session.close()

    def _connect(self, purpose: str) -> Session:
        return psycopg.connect(
            self._conninfo,
            autocommit=True,
            # Shown to those who wait. PostgreSQL keeps 63 bytes of it.
            application_name=f"{os.getpid()}@{socket.gethostname()[:12]} {purpose}",
            connect_timeout=_CONNECT_SECONDS,
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise CatalogError(
                f"The catalog {self.where} cannot be used: {_first_line(error)} Check that PostgreSQL runs and that "
                f"this user may connect to it, as {SETTING} says."
            ) from error


class Held(UserError):
    """Another process kept a lock for longer than this one waits. The text names it."""


def key_of(name: str) -> int:
    """The key of the advisory lock of a name. Advisory locks are of one database."""
    return int.from_bytes(hashlib.blake2b(f"icontact_assets {name}".encode(), digest_size=8).digest(), signed=True)


def acquire(
    session: Session,
    name: str,
    wait_seconds: float,
    waiting: Callable[[str], None] = lambda _: None,
    *,
    shared: bool = False,
) -> None:
    """Take the lock of a name for the rest of the session, or share it with others that do. Raises Held after
    `wait_seconds`."""
    key, began, word = key_of(name), time.monotonic(), _FIRST_WORD_SECONDS
    take = "SELECT pg_try_advisory_lock_shared(%s)" if shared else "SELECT pg_try_advisory_lock(%s)"
    while session.execute(take, [key]).fetchall() != [(True,)]:
        waited = time.monotonic() - began
        if waited >= wait_seconds:
            raise Held(_holder(session, key))
        if waited >= word:
            until = datetime.now(UTC) + timedelta(seconds=wait_seconds - waited)
            waiting(f"Waits for {_holder(session, key)}, until {until:%H:%M} UTC at the latest.")
            word = waited + _NEXT_WORD_SECONDS
        time.sleep(random.uniform(0.01, 0.05))  # noqa: S311


def create_once(session: Session, table: str, *statements: LiteralString) -> None:
    """Create a table of ours, and what belongs to it, where it is missing."""
    if session.execute("SELECT to_regclass(%s) IS NULL", [table]).fetchall() == [(True,)]:
        with session.transaction():
            # Of two that create it at once, one would fail.
            session.execute("SELECT pg_advisory_xact_lock(%s)", [key_of("tables")])
            if session.execute("SELECT to_regclass(%s) IS NULL", [table]).fetchall() == [(True,)]:
                for statement in statements:
                    session.execute(statement)


def _holder(session: Session, key: int) -> str:
    rows = session.execute(
        "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' "
        "AND granted AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        "AND ((classid::bigint << 32) | objid::bigint) = %s",
        [key],
    ).fetchall()
    return f"process {rows[0][0]}" if rows else "another process"


def _answers(session: Session) -> bool:
    """Whether a session that was kept still can be used: the catalog may have been started again since."""
    try:
        session.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def _first_line(error: Exception) -> str:
    line = (str(error).splitlines() or [type(error).__name__])[0].strip().rstrip(".!")
    return f"{line[:_KEPT_OF_AN_ERROR]}."
