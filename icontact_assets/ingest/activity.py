"""Plans and reads what happened: the statistics of due messages as a poll, then the listings that changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from time import monotonic
from typing import TypeAlias

import duckdb

from icontact_assets.errors import UserError
from icontact_assets.icontact.errors import BudgetSpent, IContactError, Incomplete, NotFound, Refused
from icontact_assets.icontact.listing import Known
from icontact_assets.ingest.context import ImportContext
from icontact_assets.ingest.coverage import (
    Entry,
    entries,
    read_through,
    record_failure,
    record_polls,
    record_reads,
)
from icontact_assets.ingest.drift import Finding, SchemaDrift
from icontact_assets.ingest.due import STATISTIC_OF, MessageState, Scope, days, due_for, messages
from icontact_assets.ingest.events import land_events
from icontact_assets.ingest.landing import Landing, reader_of, suspicious
from icontact_assets.ingest.progress import ActivityRead, Day, Reading
from icontact_assets.ingest.staging import Listing, Poll, VerifiedRead
from icontact_assets.ingest.statistics import store_statistics, stored_statistics
from icontact_assets.ingest.threads import in_threads
from icontact_assets.ingest.window import ReadRequest
from icontact_assets.warehouse.tables import STATISTICS

_LAND_SECONDS = 20.0
"""Verified reads wait in staging at most this long while a run is under way."""

_LAND_ROWS = 50_000
"""So many verified rows land while several workers read others. Beside one worker, which reads much longer than landing
takes, that would only cost processor time."""

_BATCH_ROWS = 100_000
"""So many rows land in one transaction, unless one listing has more. DuckDB holds them in memory until its end."""


class NothingToRead(UserError):
    """Activity was asked for before any message was read. The text says the remedy."""


@dataclass(frozen=True)
class Held:
    """What is held of a due message."""

    state: MessageState
    statistics: dict[str, int | None]
    """Its last statistics."""
    kinds: dict[str, Entry]
    """The coverage of its listings."""

    def to_read(self, now: datetime, verified_since: datetime | None = None) -> list[tuple[str, Known | None]]:
        """The kinds to read, with the known end to resume from (None: from the first row).

        `verified_since`: what was not read from the first row on since then is read so, whatever the statistics say.
        """
        verify_before = now.date() - timedelta(days=self.state.verify_days)
        plan: list[tuple[str, Known | None]] = []
        for kind in self.state.kinds:
            entry, statistic = self.kinds.get(kind), self.statistics.get(STATISTIC_OF[kind])
            if entry is None or entry.read_through is None:
                if self.state.first_released or statistic is None or statistic > 0:
                    plan.append((kind, None))
            elif (
                entry.status not in ("complete", "stale")
                or entry.verified_at is None
                or entry.verified_at.date() <= verify_before
                or (verified_since and entry.verified_at < verified_since)
            ):
                plan.append((kind, None))
            elif statistic is None or statistic != entry.statistic:
                known = Known(entry.reported or 0, entry.tail, entry.head, landed=True) if entry.reported else None
                plan.append((kind, known))
        return plan


@dataclass(frozen=True)
class Plan:
    """What a run over the activity of a window is going to do."""

    due: list[Held]
    """The messages that it polls, in their order."""
    recipients: dict[str, int]
    """How many people each message was sent to. Empty if none is due."""


def plan(connection: duckdb.DuckDBPyConnection, scope: Scope, request: ReadRequest, now: datetime) -> Plan:
    """What a run asked for at `now` (aware) is going to do."""
    states = due_for(request, messages(connection, scope, now))
    if not states:
        return Plan([], {})
    ids = [state.id for state in states]
    kinds: dict[str, dict[str, Entry]] = {}
    for listing, entry in entries(connection, "activity", message_ids=ids).items():
        kinds.setdefault(listing.message_id, {})[listing.kind] = entry
    statistics = stored_statistics(connection, ids)
    recipients = connection.execute(
        "SELECT message_id, max(recipient_count) FROM raw_sends WHERE recipient_count IS NOT NULL GROUP BY message_id"
    ).fetchall()
    return Plan(
        [Held(state, statistics.get(state.id, {}), kinds.get(state.id, {})) for state in states], dict(recipients)
    )


_Work: TypeAlias = "Callable[[Reading], Sequence[_Work]]"
"""Something that is done for a message. It returns what can be done then."""

_Part: TypeAlias = "Callable[[], Sequence[_Part]]"
"""The same, as a thread does it."""


@dataclass(frozen=True)
class ActivityReader:
    """Reads the statistics and the activity of one client folder, for the window of a run.

    Messages and listings that do not count in the scope cost nothing.
    """

    context: ImportContext
    request: ReadRequest
    progress: Callable[[int, int], None]
    """Called with messages done and messages due."""
    report: Callable[[list[Finding]], None]
    """Called with what was found about fields, once and as soon as that is stored."""

    def poll(self) -> ActivityRead:
        """Ask for the statistics of the due messages and store those that changed."""
        done = ActivityRead()
        self._land(done)
        with self.context.warehouse.read() as connection:
            due = self._plan(connection).due
        self._over(due, self._poll, done)
        self._land(done)
        return done

    def read(self, announce: Callable[[Plan], None]) -> ActivityRead:
        """Read the activity of the due messages and say, day by day, what is read. `announce` is called first.

        One message that fails does not stop the others: it is in `failed`. The day's budget ends a run early: it is
        in `stopped`. Raises NothingToRead, Refused, and what the warehouse raises.
        """
        done = ActivityRead()
        self._land(done)
        with self.context.warehouse.read() as connection:
            planned = self._plan(connection)
            if not planned.due:
                done.days = self._days(connection, done)
        announce(planned)
        self._over(planned.due, self._read, done)
        self._land(done, with_days=True)
        if not done.days:
            with self.context.warehouse.read() as connection:
                done.days = self._days(connection, done)
        return done

    @property
    def read_through(self) -> datetime:
        """What the run has read is read up to this time on iContact's clock (aware UTC)."""
        return self.context.reached(self.request.began)

    def plan(self) -> Plan:
        """What is left to do."""
        with self.context.warehouse.read() as connection:
            return self._plan(connection)

    def _plan(self, connection: duckdb.DuckDBPyConnection) -> Plan:
        unread = [
            resource for resource, through in read_through(connection, "messages", "sends").items() if not through
        ]
        if unread:
            names = " and ".join(f"raw_{resource}" for resource in unread)
            raise NothingToRead(
                f"{names} of {self.context.scope.schema} was never read, so no activity can be asked for. "
                f"Materialize {names} first, or all raw assets together."
            )
        return plan(connection, self.context.scope, self.request, self.context.clock())

    def _over(self, due: Sequence[Held], work: Callable[[Held, Reading], Sequence[_Work]], done: ActivityRead) -> None:
        """Do the work for each due message, and land what is verified every now and then."""
        done.messages = len(due)
        before = self.context.folder.session.requests
        landed, landed_rows = monotonic(), 0

        def ended() -> None:
            nonlocal landed, landed_rows
            self.progress(done.ended, len(due))
            rows = done.verified_rows
            enough = self.context.workers > 1 and rows - landed_rows >= _LAND_ROWS
            if enough or monotonic() - landed > _LAND_SECONDS:
                self._land(done)
                landed, landed_rows = monotonic(), rows

        try:
            parts = [self._guarded(partial(work, held), Reading(held.state.id, done)) for held in due]
            in_threads(self.context.workers, lambda part: part(), parts, ended, tick=_LAND_SECONDS)
        except Exception:
            # After an interruption this does not happen: what is verified is on the disk, and the next run lands it.
            self._land(done)
            raise
        done.requests = self.context.folder.session.requests - before

    def _guarded(self, work: _Work, reading: Reading) -> _Part:
        """The work as a part that is not done if the run is to stop."""

        def part() -> list[_Part]:
            following: Sequence[_Work] = ()
            if reading.done.must_stop:
                reading.left = True
            else:
                try:
                    following = work(reading)
                except BudgetSpent as error:
                    reading.done.stopped = error
                    reading.left = True
            reading.part_ended(len(following))
            return [self._guarded(more, reading) for more in following]

        return part

    def _poll(self, message: Held, reading: Reading) -> Sequence[_Work]:
        try:
            self._polled(message)
        except (BudgetSpent, Refused):
            raise
        except IContactError as error:
            reading.failed["statistics"] = error
        return ()

    def _polled(self, message: Held) -> Held:
        """The message with statistics of this run."""
        state = message.state
        if state.polled_at is not None and state.polled_at >= self.request.fresh_since:
            return message
        at = self.context.clock()
        try:
            statistics = asdict(self.context.folder.statistics(state.id))
        except NotFound:
            # A message without statistics is read by its listings alone.
            statistics = dict.fromkeys(STATISTICS)
        self.context.staging.keep_poll(Poll(state.id, self.context.reached(at), statistics))
        return replace(message, statistics=statistics)

    def _read(self, message: Held, reading: Reading) -> Sequence[_Work]:
        try:
            message = self._polled(message)
        except (BudgetSpent, Refused):
            raise
        except IContactError as error:
            # Statistics are a hint: without them the listings are read all the same.
            reading.failed["statistics"] = error
            message = replace(message, statistics=dict.fromkeys(STATISTICS))
        reread_since = self.request.began if self.request.reread else None
        listings = message.to_read(self.context.clock(), reread_since)
        return [partial(self._read_listing, message, kind, known) for kind, known in listings]

    def _read_listing(self, message: Held, kind: str, known: Known | None, reading: Reading) -> Sequence[_Work]:
        message_id, statistic = message.state.id, message.statistics.get(STATISTIC_OF[kind])
        listing = Listing("activity", message_id, kind)
        not_before = self.request.began if self.request.reread else None
        sink, on_disk = self.context.staging.open(listing, reader_of(listing), known, not_before=not_before)
        try:
            proof = self.context.folder.activity(message_id, kind, sink, on_disk)
            if proof.total == 0 and statistic:
                # An empty 200 is not an empty listing; statistics alone are no proof against it either.
                proof = self.context.folder.activity(message_id, kind, sink)
        except (BudgetSpent, Refused):
            raise
        except Incomplete as error:
            self.context.staging.drop(listing)
            reading.failed[kind] = error
        except IContactError as error:
            reading.failed[kind] = error
        else:
            sink.verify(proof, statistic, behind=self.context.folder.session.clock_behind)
            reading.verified(proof.total - proof.start)
        return ()

    def _land(self, done: ActivityRead, *, with_days: bool = False) -> None:
        """Move what is verified from staging into the tables, with the coverage and the touched contacts.

        A transaction has whole listings.
        """
        polls = self.context.staging.polls()
        reads = [read for read in self.context.staging.verified() if read.listing.resource == "activity"]
        if not (polls or reads or done.failed.keys() - done.recorded):
            return
        *others, last = _batches(reads)
        for batch in others:
            self._land_batch(done, polls, batch)
            polls = []
        self._land_batch(done, polls, last, with_days=with_days)

    def _land_batch(
        self, done: ActivityRead, polls: list[Poll], reads: list[VerifiedRead], *, with_days: bool = False
    ) -> None:
        staging, reported = self.context.staging, len(done.findings)
        with self.context.write("storing activity") as connection:
            landing = Landing(connection, staging, self.context.drift, self.context.clock())
            self._land_polls(connection, polls)
            fresh = self._admit(landing, reads, done)
            failed = {key: error for key, error in list(done.failed.items()) if key not in done.recorded}
            new_by_day = land_events(landing, fresh)
            record_reads(connection, fresh)
            for (message_id, kind), error in failed.items():
                statistics = kind == "statistics"
                listing = Listing(kind, message_id) if statistics else Listing("activity", message_id, kind)
                status = "incomplete" if isinstance(error, Incomplete) else "failed"
                record_failure(connection, listing, status, str(error))
            for day, rows in new_by_day.items():
                done.new_by_day[day] = done.new_by_day.get(day, 0) + rows
            if with_days:
                done.days = self._days(connection, done)
        staging.landed(reads)
        staging.forget_polls(polls)
        done.recorded |= failed.keys()
        self.report(done.findings[reported:])
        done.listings += len(fresh)
        done.quarantined += landing.quarantined

    def _admit(self, landing: Landing, reads: Sequence[VerifiedRead], done: ActivityRead) -> list[VerifiedRead]:
        """The reads that are to be stored. Those that are doubted, or whose fields the policy refuses, have failed."""
        connection = landing.connection
        ids = sorted({read.listing.message_id for read in reads})
        coverage = entries(connection, "activity", message_ids=ids)
        missed = set(connection.execute("SELECT resource, scope FROM missed").fetchall())
        admitted = []
        for read in reads:
            listing, entry = read.listing, coverage.get(read.listing)
            if entry and entry.read_id == read.id:
                # A kill came after it had landed and before staging was cleared: a tail would land twice.
                continue
            key = (listing.message_id, listing.kind)
            try:
                _doubt(landing, read, (entry.stored if entry else None) or 0, missed)
                findings = landing.judge(read)
            except (SchemaDrift, Incomplete) as error:
                done.failed[key] = error
                continue
            admitted.append(read)
            # What a killed run left may have failed when this run began.
            done.failed.pop(key, None)
            done.findings += [finding for finding in findings if finding not in done.findings]
        landing.keep_fields()
        return admitted

    def _land_polls(self, connection: duckdb.DuckDBPyConnection, polls: Sequence[Poll]) -> None:
        first: dict[str, Poll] = {}
        for poll in polls:
            first.setdefault(poll.message_id, poll)
        known = stored_statistics(connection, list(first))
        coverage = entries(connection, "statistics", message_ids=list(first))
        stored: list[tuple[Poll, date]] = []
        recorded: dict[str, tuple[datetime, bool]] = {}
        for message_id, poll in first.items():
            previous = known.get(message_id)
            if poll.statistics != previous:
                day, before = poll.at.date(), coverage.get(Listing("statistics", message_id))
                if before and before.read_through:
                    day = min(max(self.request.window.last, before.read_through.date()), day)
                stored.append((poll, day))
            # First statistics that are all nothing are no change: a draft is polled as rarely as the oldest message.
            changed = any(poll.statistics.values()) if previous is None else poll.statistics != previous
            recorded[message_id] = (poll.at, changed)
        store_statistics(connection, stored)
        record_polls(connection, recorded)
        # A killed run may have left polls of the same messages.
        again = [poll for poll in polls if first[poll.message_id] is not poll]
        if again:
            self._land_polls(connection, again)

    def _days(self, connection: duckdb.DuckDBPyConnection, done: ActivityRead) -> list[Day]:
        window, now = self.request.window, self.context.clock()
        states = days(connection, self.context.scope, window.first, window.last, now, self.read_through)
        rows = dict(
            connection.execute(
                "SELECT partition_date, count(*) FROM raw_activity "
                "WHERE partition_date BETWEEN $first AND $last GROUP BY partition_date",
                {"first": window.first, "last": window.last},
            ).fetchall()
        )
        return [Day(state, rows.get(state.day, 0), done.new_by_day.get(state.day, 0)) for state in states]


def _batches(reads: Sequence[VerifiedRead]) -> list[list[VerifiedRead]]:
    """The reads in their order, and in a last batch what is left: perhaps none."""
    batches: list[list[VerifiedRead]] = [[]]
    rows = 0
    for read in reads:
        rows += read.rows
        if batches[-1] and rows > _BATCH_ROWS:
            batches.append([])
            rows = read.rows
        batches[-1].append(read)
    return batches


def _doubt(landing: Landing, read: VerifiedRead, known: int, missed: set[tuple[str, str]]) -> None:
    """Raise Incomplete if a read lost too much to be believed before a second one, an hour later, agrees."""
    listing = read.listing
    doubted = suspicious(known, known - read.total)
    if not doubted and (listing.kind, listing.message_id) not in missed:
        return
    # Its rows have no ids: what is gone is the listing as it was, remembered under the empty id.
    gone = "SELECT '' AS id" if doubted else "SELECT '' AS id WHERE false"
    if not landing.believes(listing, gone, lambda unconfirmed: unconfirmed == 0):
        raise Incomplete(
            f"it held {read.total} rows where {known} were known. Nothing was changed. If that is true, a "
            "second read an hour or more later agrees"
        )
