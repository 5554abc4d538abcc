"""The count of an account's requests for workers on several machines: tables beside a lake's catalog, in PostgreSQL."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import LiteralString

from psycopg import IsolationLevel
from pyrate_limiter import Rate

from icontact_assets.catalog import Catalog, CatalogError, Session, create_once, key_of
from icontact_assets.icontact.count import Counted, Denied
from icontact_assets.icontact.errors import BudgetUnusable

# Milliseconds since 1970, by the one clock that all workers share. Those of the workers may differ, and their time
# zones do.
_NOW = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

_TABLES = (
    "CREATE TABLE icontact_requests (account text NOT NULL, at bigint NOT NULL)",
    "CREATE INDEX icontact_requests_at ON icontact_requests (account, at)",
    "CREATE TABLE icontact_pauses (account text PRIMARY KEY, until bigint NOT NULL)",
)

# A worker that stands still in the middle keeps the others waiting for no longer.
_LIMITS = (
    "SELECT set_config('lock_timeout', '60s', true), set_config('idle_in_transaction_session_timeout', '30s', true)"
)


class CountTable:
    """The count of an account in the catalog of a lake.

    pyrate_limiter's own PostgresBucket is not used: it stores times in the time zone of the session, takes a table that
    is busy for a limit that is used up, and falls back to the clock of the worker.
    """

    def __init__(self, catalog: Catalog, account_key: str) -> None:
        self._catalog = catalog
        self._account = account_key
        self._rates: Sequence[Rate] = ()
        self._threads = threading.Lock()
        self.pause_kept = f"The table icontact_pauses of {catalog.where}"

    def open(self, rates: Sequence[Rate]) -> None:
        """Count by these rates. Nothing is asked yet."""
        self._rates = rates

    def take(self) -> Denied | None:
        """Count a request, unless a pause or a rate denies it."""
        rates = self._rates
        with self._alone() as session:
            # The newest requests, as many as a rate allows: if the first of them is in its interval, it is used up.
            first = "(SELECT at FROM icontact_requests WHERE account = %s ORDER BY at DESC OFFSET %s LIMIT 1)"
            [(now, until, *firsts)] = session.execute(
                f"SELECT {_NOW}, (SELECT until FROM icontact_pauses WHERE account = %s)" + f", {first}" * len(rates),  # noqa: S608
                [self._account, *(value for rate in rates for value in (self._account, rate.limit - 1))],
            ).fetchall()
            if until is not None and until > now:
                return Denied((until - now) / 1000, None)
            for rate, at in zip(rates, firsts, strict=True):
                # Whole milliseconds: a request may be nearly one later than its number says.
                if at is not None and (wait := at + rate.interval + 1 - now) > 0:
                    return Denied(wait / 1000, rate)
            if rates:
                session.execute(
                    "INSERT INTO icontact_requests VALUES (%s, %s)",
                    [self._account, now],
                )
                session.execute(
                    "DELETE FROM icontact_requests WHERE account = %s AND at < %s",
                    [self._account, now - rates[-1].interval],
                )
        return None

    def hold(self, pause: timedelta) -> None:
        """Deny every request for so long from now."""
        with self._alone() as session:
            self._hold_until(session, f"{_NOW} + %s", round(pause.total_seconds() * 1000))

    def left(self, limit: int) -> int:
        """The requests that are left of so many in the interval of the last rate."""
        with self._alone() as session:
            return max(0, limit - len(self._requests(session)))

    def counted(self) -> Counted:
        """What counts now."""
        with self._alone() as session:
            [(until,)] = session.execute(
                "SELECT coalesce(max(until), 0) FROM icontact_pauses WHERE account = %s", [self._account]
            ).fetchall()
            return Counted(self._requests(session), int(until))

    def count_also(self, counted: Counted) -> int:
        """Count what another place has counted."""
        with self._alone() as session:
            if counted.paused_until:
                self._hold_until(session, "%s", counted.paused_until)
            if not self._rates:
                return 0
            missing = sorted((Counter(counted.requests) - Counter(self._requests(session))).elements())
            session.execute(
                "INSERT INTO icontact_requests SELECT %s, unnest(%s::bigint[])",
                [self._account, missing],
            )
            return len(missing)

    def _requests(self, session: Session) -> list[int]:
        if not self._rates:
            return []
        rows = session.execute(
            f"SELECT at FROM icontact_requests WHERE account = %s AND at >= {_NOW} - %s",  # noqa: S608
            [self._account, self._rates[-1].interval],
        ).fetchall()
        return [at for (at,) in rows]

    def _hold_until(self, session: Session, until: LiteralString, milliseconds: int) -> None:
        session.execute(
            f"INSERT INTO icontact_pauses VALUES (%s, {until}) "  # noqa: S608
            "ON CONFLICT (account) DO UPDATE SET until = greatest(icontact_pauses.until, excluded.until)",
            [self._account, milliseconds],
        )

    @contextmanager
    def _alone(self) -> Iterator[Session]:
        """A transaction that no other worker has for this account. What it did is undone if it raises."""
        try:
            # One session for all threads of a run: the catalog has room for few.
            with self._threads, self._catalog.lent() as session:
                # Whoever waited for the lock must see what the one before it did.
                session.isolation_level = IsolationLevel.READ_COMMITTED
                with session.transaction():
                    session.execute(_LIMITS)
                    session.execute("SELECT pg_advisory_xact_lock(%s)", [key_of(f"budget {self._account}")])
                    create_once(session, "icontact_pauses", *_TABLES)
                    yield session
        except CatalogError as error:
            raise BudgetUnusable(f"The request budget cannot be used, so nothing is sent: {error}") from error
