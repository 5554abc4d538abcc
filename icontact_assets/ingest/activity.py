"""Plans and reads what happened: statistics as the probe, then the listings that moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from time import monotonic

import duckdb
import pyarrow as pa

from icontact_assets.errors import UserError
from icontact_assets.icontact.errors import BudgetSpent, IContactError, Incomplete, NotFound, Refused, Transient
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.listing import Known
from icontact_assets.ingest.changes import SECOND_OPINION, quarantine, suspicious
from icontact_assets.ingest.coverage import (
    FIGURE_OF,
    DayState,
    Entry,
    MessageState,
    Scope,
    days,
    entries,
    messages,
    read_through,
    record_failure,
    record_probe,
    record_reading,
)
from icontact_assets.ingest.drift import Finding, KnownFields, Policy, SchemaDrift
from icontact_assets.ingest.rows import EVENT_TYPES, activity_reader
from icontact_assets.ingest.staging import Listing, Probe, ProvenReading, Rejected, Staging
from icontact_assets.ingest.threads import in_threads
from icontact_assets.ingest.window import Window
from icontact_assets.warehouse.tables import FIGURES
from icontact_assets.warehouse.times import naive
from icontact_assets.warehouse.warehouse import Warehouse

_LAND_SECONDS = 20.0
"""Proven listings wait in staging at most this long while a run goes on."""


_BATCH_ROWS = 100_000

_FAILURES_IN_A_ROW = 10
"""So many messages without an answer, one after the other, say that iContact fails, not they: the rest waits."""

_LINE = ("message_id", "event_type", "contact_id", "event_time", "event_url")
"""What makes two lines of a listing identical; `ordinal` tells them apart."""


class MessageFailed(Exception):
    """Listings of one message could not be read; `kinds` says which and why ('statistics': the probe)."""

    def __init__(self, kinds: dict[str, IContactError]) -> None:
        super().__init__(", ".join(kinds))
        self.kinds = kinds


class NothingToRead(UserError):
    """Activity was asked for before any message was read; the text says the remedy."""


@dataclass(frozen=True)
class Held:
    """What is held of a due message: its last figures, the ledger of its listings."""

    state: MessageState
    figures: dict[str, int | None]
    kinds: dict[str, Entry]

    def to_read(self, now: datetime, verified_since: datetime | None = None) -> list[tuple[str, Known | None]]:
        """The kinds to read, with the known end to go on from (None: from the first row).

        `verified_since`: what was not read from the first row on since then is read so, whatever the figures say.
        """
        verify_before = now.date() - timedelta(days=self.state.verify_days)
        plan: list[tuple[str, Known | None]] = []
        for kind in self.state.kinds:
            entry, figure = self.kinds.get(kind), self.figures.get(FIGURE_OF[kind])
            if entry is None or entry.read_through is None:
                if self.state.first_released or figure is None or figure > 0:
                    plan.append((kind, None))
            elif (
                entry.verdict not in ("complete", "late")
                or entry.verified_at is None
                or entry.verified_at.date() <= verify_before
                or (verified_since and entry.verified_at < verified_since)
            ):
                plan.append((kind, None))
            elif figure is None or figure != entry.figure:
                known = Known(entry.announced or 0, entry.tail, entry.head, landed=True) if entry.announced else None
                plan.append((kind, known))
        return plan


@dataclass(frozen=True)
class Day:
    """One partition after a run: how the ledger has it, its rows, and those that are new."""

    state: DayState
    rows: int
    new: int


@dataclass
class ActivityRead:
    """What a run did. `failed`: message id and kind to the error. `stopped`: the budget that ended it. `in_a_row`: so
    many messages got no usable answer last, one after the other. `left`: messages not looked at, for either of these
    reasons. `recorded`: the failures that stand in the ledger. `findings`: fields that are new, missing or retyped,
    each once."""

    messages: int = 0
    probed: int = 0
    listings: int = 0
    requests: int = 0
    new_by_day: dict[date, int] = field(default_factory=dict)
    quarantined: int = 0
    failed: dict[tuple[str, str], IContactError] = field(default_factory=dict)
    recorded: set[tuple[str, str]] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    stopped: BudgetSpent | None = None
    in_a_row: int = 0
    left: int = 0
    days: list[Day] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """When a run over a window looks at a message. Instants are aware UTC.

    What was looked at since `began` counts as looked at by this run; with `reread`, everything older is read again
    from the first row on.
    """

    window: Window
    began: datetime
    reread: bool = False

    @property
    def fresh_since(self) -> datetime:
        """A probe since then need not be repeated."""
        return self.began if self.reread else min(self.window.end, self.began)

    def due(self, messages: Sequence[MessageState]) -> list[MessageState]:
        """Those to look at: released before the window's end (or never), not covered since, and due."""
        return [
            message
            for message in messages
            if (message.first_released is None or message.first_released < self.window.end) and self._is_due(message)
        ]

    def _is_due(self, message: MessageState) -> bool:
        if self.reread:
            return message.first_released is not None
        if message.covered_until and message.covered_until >= self.window.end:
            return False
        hot = message.probe_days == 0
        return message.due or (hot and message.probed_at is not None and message.probed_at < self.fresh_since)


def held(connection: duckdb.DuckDBPyConnection, schema: str, states: Sequence[MessageState]) -> list[Held]:
    """What is held of these messages, in their order."""
    ids = [state.id for state in states]
    kinds: dict[str, dict[str, Entry]] = {}
    for listing, entry in entries(connection, schema, "activity", message_ids=ids).items():
        kinds.setdefault(listing.message_id, {})[listing.kind] = entry
    figures = _figures(connection, schema, ids)
    return [Held(state, figures.get(state.id, {}), kinds.get(state.id, {})) for state in states]


def _figures(
    connection: duckdb.DuckDBPyConnection, schema: str, ids: Sequence[str]
) -> dict[str, dict[str, int | None]]:
    """iContact's own figures of messages as last stored."""
    rows = connection.execute(
        f'SELECT message_id, {", ".join(FIGURES)} FROM "{schema}".raw_statistics WHERE list_contains(?, message_id) '
        "QUALIFY row_number() OVER (PARTITION BY message_id ORDER BY observed_at DESC) = 1",
        [list(ids)],
    ).fetchall()
    return {row[0]: dict(zip(FIGURES, row[1:], strict=True)) for row in rows}


@dataclass(frozen=True)
class ActivityReader:
    """Reads the statistics and the activity of one client folder, for the window of a run.

    Messages and listings that do not count in the scope cost nothing. `drift` says what a missing or retyped field is.
    `progress` is told messages done and messages due; `tell` what was found about fields, once and as soon as that is
    stored.
    """

    folder: Folder
    warehouse: Warehouse
    staging: Staging
    scope: Scope
    drift: Policy
    run: Run
    workers: int
    clock: Callable[[], datetime]
    progress: Callable[[int, int], None]
    tell: Callable[[list[Finding]], None]

    def probe(self) -> ActivityRead:
        """Ask for the statistics of the due messages and store the figures that moved."""
        return self._over_due_messages(self._probe)

    def read(self) -> ActivityRead:
        """Read the activity of the due messages and say, day by day, what is read.

        One message that fails does not stop the others: it is in `failed`. The day's budget ends a run early: it is
        in `stopped`. Raises NothingToRead, Refused, and what the warehouse raises.
        """
        done = self._over_due_messages(self._read)
        done.days = self._days(done)
        return done

    def _due(self) -> list[Held]:
        schema = self.scope.schema
        with self.warehouse.read() as connection:
            unread = [r for r in ("messages", "sends") if read_through(connection, schema, r) is None]
            if unread:
                names = " and ".join(f"raw_{resource}" for resource in unread)
                raise NothingToRead(
                    f"{names} of {schema} was never read, so no activity can be asked for. "
                    f"Materialize {names} first, or all raw assets together."
                )
            return held(connection, schema, self.run.due(messages(connection, self.scope, self.clock())))

    def _over_due_messages(self, work: Callable[[Held], None]) -> ActivityRead:
        done = ActivityRead()
        self._land(done)
        due = self._due()
        done.messages = len(due)
        before = self.folder.session.requests
        landed = monotonic()

        def ended(finished: int) -> None:
            nonlocal landed
            self.progress(finished, len(due))
            if monotonic() - landed > _LAND_SECONDS:
                self._land(done)
                landed = monotonic()

        try:
            in_threads(self.workers, lambda message: self._guarded(work, message, done), due, ended, tick=_LAND_SECONDS)
        except Exception:
            self._land(done)
            raise
        # After an interruption this does not happen: what is proven is on the disk, and the next run lands it.
        self._land(done)
        done.requests = self.folder.session.requests - before
        return done

    def _guarded(self, work: Callable[[Held], None], message: Held, done: ActivityRead) -> None:
        if done.stopped is not None or done.in_a_row >= _FAILURES_IN_A_ROW:
            done.left += 1
            return
        try:
            work(message)
            done.in_a_row = 0
        except BudgetSpent as error:
            done.stopped = error
            done.left += 1
        except MessageFailed as error:
            unanswered = all(isinstance(failure, Transient) for failure in error.kinds.values())
            done.in_a_row = done.in_a_row + 1 if unanswered else 0
            done.failed.update({(message.state.id, kind): failure for kind, failure in error.kinds.items()})

    def _probe(self, message: Held) -> None:
        try:
            self._probed(message)
        except (BudgetSpent, Refused):
            raise
        except IContactError as error:
            raise MessageFailed({"statistics": error}) from error

    def _probed(self, message: Held) -> Held:
        """The message with figures of this run."""
        state = message.state
        if state.probed_at is not None and state.probed_at >= self.run.fresh_since:
            return message
        at = self.clock()
        try:
            figures = asdict(self.folder.statistics(state.id))
        except NotFound:
            # A message without statistics is read by its listings alone.
            figures = dict.fromkeys(FIGURES)
        self.staging.keep_probe(state.id, at, figures)
        return replace(message, figures=figures)

    def _read(self, message: Held) -> None:
        failed: dict[str, IContactError] = {}
        try:
            message = self._probed(message)
        except (BudgetSpent, Refused):
            raise
        except IContactError as error:
            # Statistics are a hint: without them the listings are read all the same.
            failed["statistics"] = error
            message = replace(message, figures=dict.fromkeys(FIGURES))
        reread_since = self.run.began if self.run.reread else None
        for kind, known in message.to_read(self.clock(), reread_since):
            listing = Listing("activity", message.state.id, kind)
            sink, on_disk = self.staging.open(listing, activity_reader(kind), known, not_before=reread_since)
            figure = message.figures.get(FIGURE_OF[kind])
            try:
                proof = self.folder.activity(message.state.id, kind, sink, on_disk)
                if proof.total == 0 and figure:
                    # An empty 200 is not an empty listing; statistics alone are no proof against it either.
                    proof = self.folder.activity(message.state.id, kind, sink)
            except (BudgetSpent, Refused):
                raise
            except Incomplete as error:
                self.staging.drop(listing)
                failed[kind] = error
            except IContactError as error:
                failed[kind] = error
            else:
                sink.prove(proof, figure)
        if failed:
            raise MessageFailed(failed)

    def _land(self, done: ActivityRead) -> None:
        """Move what is proven from staging into the tables, with the ledger and the touched contacts, at once."""
        probes = self.staging.probes()
        readings = [reading for reading in self.staging.proven() if reading.listing.resource == "activity"]
        told = len(done.findings)
        if not (probes or readings or done.failed.keys() - done.recorded):
            return
        now, schema = self.clock(), self.scope.schema
        with self.warehouse.write("storing activity") as connection:
            self._land_probes(connection, probes)
            ids = sorted({reading.listing.message_id for reading in readings})
            ledger = entries(connection, schema, "activity", message_ids=ids)
            # A kill between this commit and the clearing of staging must not land a tail twice.
            fresh = [r for r in readings if not (e := ledger.get(r.listing)) or e.reading != r.id]
            doubts = self._doubts(connection, fresh, ledger, now)
            fresh = [r for r in fresh if (r.listing.message_id, r.listing.kind) not in doubts]
            done.failed |= doubts
            fresh = self._judge(connection, fresh, now, done)
            failed = {key: error for key, error in list(done.failed.items()) if key not in done.recorded}
            new_by_day = self._land_events(connection, fresh, now, done)
            record_reading(connection, schema, fresh)
            for (message_id, kind), error in failed.items():
                statistics = kind == "statistics"
                listing = Listing(kind, message_id) if statistics else Listing("activity", message_id, kind)
                verdict = "incomplete" if isinstance(error, Incomplete) else "failed"
                record_failure(connection, schema, listing, verdict, str(error))
        self.staging.landed(readings)
        self.staging.forget_probes(probes)
        done.recorded |= failed.keys()
        self.tell(done.findings[told:])
        done.probed += len(probes)
        done.listings += len(fresh)
        for day, rows in new_by_day.items():
            done.new_by_day[day] = done.new_by_day.get(day, 0) + rows

    def _doubts(
        self,
        connection: duckdb.DuckDBPyConnection,
        readings: Sequence[ProvenReading],
        ledger: Mapping[Listing, Entry],
        now: datetime,
    ) -> dict[tuple[str, str], IContactError]:
        """The readings that lost too much to be believed before a second one, an hour later, agrees."""
        missed = f'"{self.scope.schema}".missed'
        doubts: dict[tuple[str, str], IContactError] = {}
        for reading in readings:
            listing, entry = reading.listing, ledger.get(reading.listing)
            known = (entry.stored if entry else None) or 0
            key = {"kind": listing.kind, "message_id": listing.message_id}
            [(first_missed,)] = connection.execute(
                f"SELECT min(missed_at) FROM {missed} WHERE resource=$kind AND scope=$message_id", key
            ).fetchall()
            doubted = suspicious(known, known - reading.total)
            if doubted and first_missed is None:
                connection.execute(
                    f"INSERT INTO {missed} VALUES ($kind, $message_id, '', $now)", {**key, "now": naive(now)}
                )
            if doubted and (first_missed is None or first_missed > naive(now - SECOND_OPINION)):
                doubts[listing.message_id, listing.kind] = Incomplete(
                    f"it held {reading.total} rows where {known} were known. Nothing was changed. If that is true, a "
                    "second reading an hour or more later agrees"
                )
            elif first_missed is not None:
                connection.execute(f"DELETE FROM {missed} WHERE resource=$kind AND scope=$message_id", key)
        return doubts

    def _judge(
        self,
        connection: duckdb.DuckDBPyConnection,
        readings: Sequence[ProvenReading],
        now: datetime,
        done: ActivityRead,
    ) -> list[ProvenReading]:
        """The readings whose fields the policy admits; the others have failed."""
        known = KnownFields.load(connection, self.scope.schema, self.drift, now)
        admitted = []
        for reading in readings:
            message_id, kind = reading.listing.message_id, reading.listing.kind
            try:
                findings = known.judge(kind, activity_reader(kind), self.staging.fields(reading))
            except SchemaDrift as error:
                done.failed[message_id, kind] = error
                rejected = [row for _, bad in self.staging.pages(reading) for row in bad]
                done.quarantined += quarantine(connection, self.scope.schema, kind, message_id, rejected, now)
                continue
            admitted.append(reading)
            # What a killed run left may have failed when this run began.
            done.failed.pop((message_id, kind), None)
            done.findings += [finding for finding in findings if finding not in done.findings]
        known.store(connection, self.scope.schema)
        return admitted

    def _land_probes(self, connection: duckdb.DuckDBPyConnection, probes: Sequence[Probe]) -> None:
        schema, ids = self.scope.schema, [probe.message_id for probe in probes]
        known = _figures(connection, schema, ids)
        ledger = entries(connection, schema, "statistics", message_ids=ids)
        for probe in probes:
            previous = known.get(probe.message_id)
            if probe.figures != previous:
                day, before = probe.at.date(), ledger.get(Listing("statistics", probe.message_id))
                if before and before.read_through:
                    day = min(max(self.run.window.last, before.read_through.date()), day)
                key = {"message_id": probe.message_id, "day": day}
                connection.execute(
                    f'DELETE FROM "{schema}".raw_statistics WHERE message_id=$message_id AND partition_date=$day', key
                )
                connection.execute(
                    f'INSERT INTO "{schema}".raw_statistics (message_id, {", ".join(FIGURES)}, observed_at, '
                    f"partition_date) VALUES ($message_id, {', '.join('$' + name for name in FIGURES)}, $at, $day)",
                    {**key, **probe.figures, "at": naive(probe.at)},
                )
            # First figures that are all nothing are no movement: a draft is looked at as rarely as the oldest message.
            moved = any(probe.figures.values()) if previous is None else probe.figures != previous
            record_probe(connection, schema, probe.message_id, probe.at, moved=moved)

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
                connection, self.scope.schema, reading.listing.kind, reading.listing.message_id, rejected, now
            )
            if sum(page.num_rows for page in waiting) > _BATCH_ROWS:
                write()
        write()
        activity = f'"{self.scope.schema}".raw_activity'
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
            f'INSERT INTO "{self.scope.schema}".touched_contacts SELECT DISTINCT contact_id, $now FROM fresh',
            {"now": naive(now)},
        )
        return dict(
            connection.execute(
                "SELECT event_time::DATE AS day, count(*) FROM fresh GROUP BY day ORDER BY day"
            ).fetchall()
        )

    def _days(self, done: ActivityRead) -> list[Day]:
        window, bounds = self.run.window, {"first": self.run.window.first, "last": self.run.window.last}
        with self.warehouse.read() as connection:
            states = days(connection, self.scope, window.first, window.last, self.clock(), self.run.began)
            rows = dict(
                connection.execute(
                    f'SELECT partition_date, count(*) FROM "{self.scope.schema}".raw_activity '
                    "WHERE partition_date BETWEEN $first AND $last GROUP BY partition_date",
                    bounds,
                ).fetchall()
            )
        return [Day(state, rows.get(state.day, 0), done.new_by_day.get(state.day, 0)) for state in states]
