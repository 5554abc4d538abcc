"""Plans and reads what happened: statistics as the probe, then the listings that moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from time import monotonic

import duckdb
import pyarrow as pa

from icontact_assets.icontact.errors import BudgetSpent, IContactError, Incomplete, NotFound, Refused
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.listing import Known
from icontact_assets.ingest.changes import Window, end_of, quarantine
from icontact_assets.ingest.coverage import (
    Entry,
    aware,
    entries,
    naive,
    record_complete,
    record_failure,
    record_probe,
)
from icontact_assets.ingest.rows import EVENT_TYPES, activity_reader
from icontact_assets.ingest.staging import Listing, Probe, ProvenReading, Rejected, Staging
from icontact_assets.warehouse.tables import FIGURES
from icontact_assets.warehouse.warehouse import Warehouse

KINDS = tuple(EVENT_TYPES)

_FIGURE_OF = {
    "opens": "opens_total",
    "clicks": "clicks_total",
    "bounces": "bounces",
    "unsubscribes": "unsubscribes",
}

_LAND_SECONDS = 20.0
"""Proven listings wait in staging at most this long while a run goes on."""


_BATCH_ROWS = 100_000

_LINE = ("message_id", "event_type", "contact_id", "event_time", "event_url")
"""What makes two lines of a listing identical; `ordinal` tells them apart."""


class MessageFailed(Exception):
    """Listings of one message could not be read; `kinds` says which and why ('statistics': the probe)."""

    def __init__(self, kinds: dict[str, IContactError]) -> None:
        super().__init__(", ".join(kinds))
        self.kinds = kinds


class NothingToRead(Exception):
    """Activity was asked for before any message was read; the text says the remedy."""


@dataclass(frozen=True)
class Step:
    """One rung of the ladder: messages up to `age_days` old are looked at every `probe_days` (0: each run) and read
    from the first row on every `verify_days`, whatever the statistics say."""

    age_days: float
    probe_days: int
    verify_days: int


LADDER = (Step(3, 0, 7), Step(30, 1, 7), Step(180, 7, 30), Step(float("inf"), 30, 180))


@dataclass(frozen=True)
class Message:
    """What is known of a message: its releases, the last probe, the ledger of its four listings. Aware UTC."""

    id: str
    first_released: datetime | None
    last_released: datetime | None
    probed_at: datetime | None
    moved_at: datetime | None
    figures: dict[str, int | None]
    kinds: dict[str, Entry]

    @property
    def covered_until(self) -> datetime | None:
        """Everything that happened before this instant is stored; None if some listing was never read whole."""
        through = [self._through(kind) for kind in KINDS]
        known = [instant for instant in through if instant is not None]
        return min(known) if len(known) == len(KINDS) else None

    def _through(self, kind: str) -> datetime | None:
        entry = self.kinds.get(kind)
        if entry is None or entry.read_through is None:
            return None
        figure = self.figures.get(_FIGURE_OF[kind])
        if self.probed_at and figure is not None and figure == entry.figure and entry.verdict == "complete":
            return max(entry.read_through, self.probed_at)
        return entry.read_through

    @property
    def has_moved(self) -> bool:
        """Whether the last probe says that there is something to read: never read, or another figure than then."""
        for kind in KINDS:
            entry, figure = self.kinds.get(kind), self.figures.get(_FIGURE_OF[kind])
            if entry is None or entry.read_through is None:
                if self.first_released or figure:
                    return True
            elif figure is not None and figure != entry.figure:
                return True
        return False

    @property
    def unproven(self) -> list[str]:
        """The kinds whose last attempt did not end complete."""
        return [kind for kind, entry in self.kinds.items() if entry.verdict != "complete"]

    def step(self, now: datetime) -> Step:
        """The rung this message stands on. One without a send counts from the last time its figures moved."""
        since = self.last_released or self.moved_at
        age = (now - since) / timedelta(days=1) if since else float("inf")
        return next(step for step in LADDER if age <= step.age_days)

    def is_due(self, now: datetime, fresh_since: datetime) -> bool:
        """Whether the ladder says to look at this message now. A probe since `fresh_since` counts as this run's."""
        if self.probed_at is None or self.unproven or self.has_moved:
            return True
        step = self.step(now)
        if step.probe_days == 0:
            return self.probed_at < fresh_since
        return (now.date() - self.probed_at.date()).days >= step.probe_days

    def to_read(self, now: datetime) -> list[tuple[str, Known | None]]:
        """The kinds to read, with the known end to go on from (None: from the first row)."""
        verify_before = now.date() - timedelta(days=self.step(now).verify_days)
        plan: list[tuple[str, Known | None]] = []
        for kind in KINDS:
            entry, figure = self.kinds.get(kind), self.figures.get(_FIGURE_OF[kind])
            if entry is None or entry.read_through is None:
                if self.first_released or figure:
                    plan.append((kind, None))
            elif entry.verdict != "complete" or (entry.verified_at and entry.verified_at.date() <= verify_before):
                plan.append((kind, None))
            elif figure is None or figure != entry.figure:
                plan.append((kind, Known(entry.stored or 0, entry.tail, ()) if entry.stored else None))
        return plan


@dataclass(frozen=True)
class Day:
    """One partition after a run. `open_messages`: released before its end and not looked at since."""

    day: date
    rows: int
    new: int
    read: bool
    settled: bool
    open_messages: int


@dataclass
class ActivityRead:
    """What a run did. `failed`: message id and kind to the error. `stopped`: the budget that ended it, with `left`
    messages not looked at. `recorded`: the failures that stand in the ledger."""

    messages: int = 0
    probed: int = 0
    listings: int = 0
    requests: int = 0
    new_by_day: dict[date, int] = field(default_factory=dict)
    quarantined: int = 0
    failed: dict[tuple[str, str], IContactError] = field(default_factory=dict)
    recorded: set[tuple[str, str]] = field(default_factory=set)
    stopped: BudgetSpent | None = None
    left: int = 0
    days: list[Day] = field(default_factory=list)


def load_messages(connection: duckdb.DuckDBPyConnection, schema: str, aid: str | None) -> list[Message]:
    """Every message that could have been sent, newest release first, then those never released.

    With an `aid`, only those whose HTML body holds its comment.
    """
    ledger = entries(connection, schema, "activity", "statistics")
    kinds: dict[str, dict[str, Entry]] = {}
    probes: dict[str, Entry] = {}
    for listing, entry in ledger.items():
        if listing.resource == "statistics":
            probes[listing.message_id] = entry
        else:
            kinds.setdefault(listing.message_id, {})[listing.kind] = entry
    figures = {
        row[0]: dict(zip(FIGURES, row[1:], strict=True))
        for row in connection.execute(
            f'SELECT message_id, {", ".join(FIGURES)} FROM "{schema}".raw_statistics '
            "QUALIFY row_number() OVER (PARTITION BY message_id ORDER BY observed_at DESC) = 1"
        ).fetchall()
    }
    rows = connection.execute(
        f"""
        WITH message AS (
            SELECT message_id, aids, deleted_at FROM "{schema}".raw_messages
            QUALIFY row_number() OVER (PARTITION BY message_id ORDER BY observed_at DESC) = 1
        ), send AS (
            SELECT * FROM "{schema}".raw_sends
            QUALIFY row_number() OVER (PARTITION BY send_id ORDER BY observed_at DESC) = 1
        ), release AS (
            SELECT message_id, coalesce(released_at, CASE WHEN scheduled_at <= now() THEN scheduled_at END) AS released
            FROM send WHERE lower(status) NOT IN ('cancelled', 'canceled')
        )
        SELECT message_id, min(released), max(released)
        FROM (SELECT message_id, NULL::TIMESTAMP AS released FROM message UNION ALL SELECT * FROM release)
        WHERE message_id NOT IN (SELECT message_id FROM message WHERE deleted_at IS NOT NULL)
            AND ($aid IS NULL OR message_id IN (SELECT message_id FROM message WHERE list_contains(aids, $aid)))
        GROUP BY message_id ORDER BY max(released) DESC NULLS LAST, message_id DESC
        """,
        {"aid": aid},
    ).fetchall()
    return [
        Message(
            id=id_,
            first_released=aware(first),
            last_released=aware(last),
            probed_at=probes[id_].read_through if id_ in probes else None,
            moved_at=probes[id_].moved_at if id_ in probes else None,
            figures=figures.get(id_, {}),
            kinds=kinds.get(id_, {}),
        )
        for id_, first, last in rows
    ]


def due_messages(messages: Sequence[Message], window: Window, now: datetime, fresh_since: datetime) -> list[Message]:
    """Those a run over the window must look at: released before its end (or never), not covered since, and due."""
    return [
        message
        for message in messages
        if (message.first_released is None or message.first_released < window.end)
        and not (message.covered_until and message.covered_until >= window.end)
        and message.is_due(now, fresh_since)
    ]


@dataclass(frozen=True)
class ActivityReader:
    """Reads the statistics and the activity of one client folder into one schema, for the window of a run.

    With an `aid`, messages that do not carry it cost nothing. `run_began` (aware UTC): what was looked at since then
    counts as looked at by this run.
    `progress` is told messages done and messages due.
    """

    folder: Folder
    warehouse: Warehouse
    staging: Staging
    schema: str
    aid: str | None
    window: Window
    workers: int
    run_began: datetime
    clock: Callable[[], datetime]
    progress: Callable[[int, int], None]

    @property
    def _fresh_since(self) -> datetime:
        return min(self.window.end, self.run_began)

    def probe(self) -> ActivityRead:
        """Ask for the statistics of the due messages and store the figures that moved."""
        return self._over_due_messages(lambda message: _discard(self._probed(message)))

    def read(self) -> ActivityRead:
        """Read the activity of the due messages and say, day by day, what is read.

        One message that fails does not stop the others: it is in `failed`. The day's budget ends a run early: it is
        in `stopped`. Raises NothingToRead, Refused, and what the warehouse raises.
        """
        done = self._over_due_messages(self._read)
        done.days = self._days(done)
        return done

    def _messages(self) -> list[Message]:
        with self.warehouse.read() as connection:
            unread = [r for r in ("messages", "sends") if _read_through(connection, self.schema, r) is None]
            if unread:
                names = " and ".join(f"raw_{resource}" for resource in unread)
                raise NothingToRead(
                    f"{names} of {self.schema} was never read, so no activity can be asked for. "
                    f"Materialize {names} first, or all raw assets together."
                )
            return load_messages(connection, self.schema, self.aid)

    def _over_due_messages(self, work: Callable[[Message], None]) -> ActivityRead:
        done = ActivityRead()
        self._land(done)
        messages = due_messages(self._messages(), self.window, self.clock(), self._fresh_since)
        done.messages = len(messages)
        before = self.folder.session.requests
        landed, finished = monotonic(), 0
        with ThreadPoolExecutor(self.workers) as pool:
            waiting = {pool.submit(self._guarded, work, message, done) for message in messages}
            try:
                while waiting:
                    ended, waiting = wait(waiting, timeout=_LAND_SECONDS, return_when=FIRST_COMPLETED)
                    for future in ended:
                        future.result()
                    finished += len(ended)
                    self.progress(finished, len(messages))
                    if monotonic() - landed > _LAND_SECONDS:
                        self._land(done)
                        landed = monotonic()
            finally:
                pool.shutdown(cancel_futures=True)
                self._land(done)
        done.requests = self.folder.session.requests - before
        return done

    def _guarded(self, work: Callable[[Message], None], message: Message, done: ActivityRead) -> None:
        if done.stopped is not None:
            done.left += 1
            return
        try:
            work(message)
        except BudgetSpent as error:
            done.stopped = error
            done.left += 1
        except MessageFailed as error:
            done.failed.update({(message.id, kind): failure for kind, failure in error.kinds.items()})

    def _probed(self, message: Message) -> Message:
        """The message with figures of this run."""
        if message.probed_at is not None and message.probed_at >= self._fresh_since:
            return message
        at = self.clock()
        try:
            figures = asdict(self.folder.statistics(message.id))
        except NotFound:
            # A message without statistics is read by its listings alone.
            figures = dict.fromkeys(FIGURES)
        except (BudgetSpent, Refused):
            raise
        except IContactError as error:
            raise MessageFailed({"statistics": error}) from error
        self.staging.keep_probe(message.id, at, figures)
        return replace(message, probed_at=at, figures=figures)

    def _read(self, message: Message) -> None:
        message = self._probed(message)
        failed: dict[str, IContactError] = {}
        for kind, known in message.to_read(self.clock()):
            listing = Listing("activity", message.id, kind)
            sink, held = self.staging.open(listing, activity_reader(kind), known)
            try:
                proof = self.folder.activity(message.id, kind, sink, held)
            except (BudgetSpent, Refused):
                raise
            except Incomplete as error:
                self.staging.drop(listing)
                failed[kind] = error
            except IContactError as error:
                failed[kind] = error
            else:
                sink.prove(proof, message.figures.get(_FIGURE_OF[kind]))
        if failed:
            raise MessageFailed(failed)

    def _land(self, done: ActivityRead) -> None:
        """Move what is proven from staging into the tables, with the ledger and the touched contacts, at once."""
        probes = self.staging.probes()
        readings = [reading for reading in self.staging.proven() if reading.listing.resource == "activity"]
        failed = {key: error for key, error in done.failed.items() if key not in done.recorded}
        if not (probes or readings or failed):
            return
        now = self.clock()
        with self.warehouse.write("storing activity") as connection:
            self._land_probes(connection, probes)
            ledger = entries(connection, self.schema, "activity")
            # A kill between this commit and the clearing of staging must not land a tail twice.
            fresh = [r for r in readings if not (e := ledger.get(r.listing)) or e.reading != r.id]
            new_by_day = self._land_events(connection, fresh, now, done)
            record_complete(connection, self.schema, fresh)
            for (message_id, kind), error in failed.items():
                listing = Listing("statistics", message_id) if kind == "statistics" else None
                verdict = "incomplete" if isinstance(error, Incomplete) else "failed"
                record_failure(
                    connection,
                    self.schema,
                    listing or Listing("activity", message_id, kind),
                    verdict,
                    str(error),
                )
        self.staging.landed(readings)
        self.staging.forget_probes(probes)
        done.recorded |= failed.keys()
        done.probed += len(probes)
        done.listings += len(fresh)
        for day, rows in new_by_day.items():
            done.new_by_day[day] = done.new_by_day.get(day, 0) + rows

    def _land_probes(self, connection: duckdb.DuckDBPyConnection, probes: Sequence[Probe]) -> None:
        known = {message.id: message for message in load_messages(connection, self.schema, self.aid)} if probes else {}
        for probe in probes:
            message = known.get(probe.message_id)
            previous = message.figures if message else {}
            moved = probe.figures != previous
            if moved:
                day = probe.at.date()
                if message and message.probed_at:
                    day = min(max(self.window.last, message.probed_at.date()), day)
                key = {"message_id": probe.message_id, "day": day}
                connection.execute(
                    f'DELETE FROM "{self.schema}".raw_statistics WHERE message_id=$message_id AND partition_date=$day',
                    key,
                )
                connection.execute(
                    f'INSERT INTO "{self.schema}".raw_statistics (message_id, {", ".join(FIGURES)}, observed_at, '
                    f"partition_date) VALUES ($message_id, {', '.join('$' + name for name in FIGURES)}, $at, $day)",
                    {**key, **probe.figures, "at": naive(probe.at)},
                )
            record_probe(connection, self.schema, probe.message_id, probe.at, moved=moved)

    def _land_events(
        self,
        connection: duckdb.DuckDBPyConnection,
        readings: Sequence[ProvenReading],
        now: datetime,
        done: ActivityRead,
    ) -> dict[date, int]:
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE landing (contact_id VARCHAR, event_time TIMESTAMP, event_url VARCHAR, "
            "message_id VARCHAR, event_type VARCHAR, whole BOOLEAN)"
        )
        waiting: list[pa.Table] = []

        def write() -> None:
            if waiting:
                connection.register("batch", pa.concat_tables(waiting))
                connection.execute("INSERT INTO landing BY NAME FROM batch")
                connection.unregister("batch")
                waiting.clear()

        for reading in readings:
            rejected: list[Rejected] = []
            for page, bad in self.staging.pages(reading):
                rejected += bad
                for name, value in (
                    ("message_id", reading.listing.message_id),
                    ("event_type", EVENT_TYPES[reading.listing.kind]),
                    ("whole", reading.base == 0),
                ):
                    page = page.append_column(name, pa.repeat(value, page.num_rows))
                waiting.append(page)
            done.quarantined += quarantine(
                connection, self.schema, reading.listing.kind, reading.listing.message_id, rejected, now
            )
            if sum(page.num_rows for page in waiting) > _BATCH_ROWS:
                write()
        write()
        activity = f'"{self.schema}".raw_activity'
        same = " AND ".join(f"a.{name} IS NOT DISTINCT FROM b.{name}" for name in _LINE)
        line = ", ".join(_LINE)
        connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE fresh AS
            WITH stored AS (
                SELECT {line}, count(*) AS lines FROM {activity}
                WHERE event_time BETWEEN (SELECT min(event_time) FROM landing) AND (SELECT max(event_time) FROM landing)
                    AND message_id IN (SELECT DISTINCT message_id FROM landing)
                GROUP BY ALL
            ), numbered AS (
                SELECT *, row_number() OVER (PARTITION BY {line}) - 1 AS n FROM landing
            )
            SELECT {", ".join(f"a.{name}" for name in _LINE)},
                CASE WHEN a.whole THEN a.n ELSE a.n + coalesce(b.lines, 0) END AS ordinal
            FROM numbered a LEFT JOIN stored b ON {same}
            WHERE NOT a.whole OR a.n >= coalesce(b.lines, 0)
            """
        )
        connection.execute(
            f"INSERT INTO {activity} ({line}, ordinal, extracted_at, partition_date) "
            f"SELECT {line}, ordinal, $now, event_time::DATE FROM fresh ORDER BY event_time, {line}, ordinal",
            {"now": naive(now)},
        )
        connection.execute(
            f'INSERT INTO "{self.schema}".touched_contacts SELECT DISTINCT contact_id, $now FROM fresh',
            {"now": naive(now)},
        )
        return dict(
            connection.execute(
                "SELECT event_time::DATE AS day, count(*) FROM fresh GROUP BY day ORDER BY day"
            ).fetchall()
        )

    def _days(self, done: ActivityRead) -> list[Day]:
        now = self.clock()
        with self.warehouse.read() as connection:
            messages = load_messages(connection, self.schema, self.aid)
            through = [_read_through(connection, self.schema, resource) for resource in ("messages", "sends")]
            rows = dict(
                connection.execute(
                    f'SELECT partition_date, count(*) FROM "{self.schema}".raw_activity '
                    "WHERE partition_date BETWEEN $first AND $last GROUP BY partition_date",
                    {"first": self.window.first, "last": self.window.last},
                ).fetchall()
            )
        known_through = min(instant for instant in through if instant is not None)
        released = [(message, message.first_released) for message in messages if message.first_released is not None]
        due = {message.id for message, _ in released if message.is_due(now, self._fresh_since)}
        days = []
        for day in self.window.days:
            end = end_of(day)
            until = min(end, self.run_began)
            uncovered = [
                message.id
                for message, first_released in released
                if first_released < end and not (message.covered_until and message.covered_until >= until)
            ]
            messages_known = known_through >= end or end > now
            days.append(
                Day(
                    day=day,
                    rows=rows.get(day, 0),
                    new=done.new_by_day.get(day, 0),
                    read=messages_known and not due.intersection(uncovered),
                    settled=messages_known and not uncovered,
                    open_messages=len(uncovered),
                )
            )
        return days


def _discard(_: Message) -> None:
    """A probe's result already stands in staging."""


def _read_through(connection: duckdb.DuckDBPyConnection, schema: str, resource: str) -> datetime | None:
    entry = entries(connection, schema, resource).get(Listing(resource))
    return entry.read_through if entry else None


def missing_for_audiences(
    connection: duckdb.DuckDBPyConnection, schema: str, aid: str | None, now: datetime
) -> str | None:
    """What keeps an audience from being computed from complete data, in one sentence; None if nothing does.

    Half-read activity makes everyone look inactive: the last listing of contacts must be complete, and every message
    released before the end of the last ended day (UTC) must have had one complete reading of all four kinds.
    """
    contacts = entries(connection, schema, "contacts").get(Listing("contacts"))
    if contacts is None or contacts.read_through is None or contacts.verdict != "complete":
        return (
            f"the contacts of {schema} were not read completely ({contacts.reason if contacts else 'never asked for'})"
        )
    for resource in ("messages", "sends"):
        if _read_through(connection, schema, resource) is None:
            return f"the {resource} of {schema} were never read completely"
    ended = end_of(now.date() - timedelta(days=1))
    unread = [
        message.id
        for message in load_messages(connection, schema, aid)
        if message.first_released and message.first_released < ended and message.covered_until is None
    ]
    if unread:
        named = ", ".join(unread[:5]) + (f" and {len(unread) - 5} more" if len(unread) > 5 else "")
        return f"the activity of {len(unread)} released messages of {schema} was never read completely: {named}"
    return None
