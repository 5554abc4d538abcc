"""The ledger `import_coverage`, and what follows from it: which messages are due, which days are read and settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import duckdb

from icontact_assets.ingest.staging import Listing, ProvenReading
from icontact_assets.settings.models import AgeStep
from icontact_assets.warehouse.times import aware, naive

FIGURE_OF = {
    "opens": "opens_total",
    "clicks": "clicks_total",
    "bounces": "bounces",
    "unsubscribes": "unsubscribes",
}
"""The four listings of a message, and which of iContact's own figures counts their rows."""

OPT_OUTS = "unsubscribes"
"""The listing of those who left."""

_NAMED = 5
"""Messages that a reason names at most."""


@dataclass(frozen=True)
class Entry:
    """One row of the ledger. Instants are aware UTC."""

    listing: Listing
    announced: int | None
    stored: int | None
    read_through: datetime | None
    verified_at: datetime | None
    verdict: str
    reason: str | None
    figure: int | None
    moved_at: datetime | None
    head: tuple[str, ...]
    tail: tuple[str, ...]
    reading: str | None


def entries(
    connection: duckdb.DuckDBPyConnection, schema: str, *resources: str, message_ids: Sequence[str] | None = None
) -> dict[Listing, Entry]:
    """The ledger's rows of these resources, of all messages or of some."""
    rows = connection.execute(
        "SELECT resource, message_id, kind, announced, stored, read_through, verified_at, verdict, reason, figure, "
        f'moved_at, head, tail, reading FROM "{schema}".import_coverage '
        "WHERE list_contains($resources, resource) AND ($ids IS NULL OR list_contains($ids, message_id))",
        {"resources": list(resources), "ids": None if message_ids is None else list(message_ids)},
    ).fetchall()
    found = {}
    for (
        resource,
        message_id,
        kind,
        announced,
        stored,
        through,
        verified,
        verdict,
        reason,
        figure,
        moved,
        *rest,
    ) in rows:
        listing = Listing(resource, message_id, kind)
        head, tail, reading = rest
        found[listing] = Entry(
            listing,
            announced,
            stored,
            aware(through),
            aware(verified),
            verdict,
            reason,
            figure,
            aware(moved),
            tuple(head or ()),
            tuple(tail or ()),
            reading,
        )
    return found


def record_reading(
    connection: duckdb.DuckDBPyConnection, schema: str, readings: Sequence[ProvenReading], *, reason: str | None = None
) -> None:
    """The rows of these readings are stored. Call it in the transaction that stores them.

    A listing of which rows are still missing is `late`: what it was read through does not move on.
    """
    for reading in readings:
        _ensure(connection, schema, reading.listing)
        connection.execute(
            f'UPDATE "{schema}".import_coverage SET announced=$total, '
            "stored=CASE WHEN $base=0 THEN $rows ELSE stored + $rows END, "
            "verified_at=CASE WHEN $base=0 THEN $began ELSE verified_at END, "
            "requests=requests+$requests, figure=$figure, head=$head, tail=$tail, reading=$reading "
            "WHERE resource=$resource AND message_id=$message_id AND kind=$kind",
            {
                "total": reading.total,
                "rows": reading.rows,
                "began": naive(reading.began),
                "base": reading.base,
                "requests": reading.requests,
                "figure": reading.figure,
                "head": reading.head,
                "tail": reading.tail,
                "reading": reading.id,
                **_key(reading.listing),
            },
        )
        connection.execute(
            f"""
            UPDATE "{schema}".import_coverage SET
                verdict=CASE WHEN stored=announced THEN 'complete' ELSE 'late' END,
                read_through=CASE WHEN stored=announced THEN $began ELSE read_through END,
                reason=CASE WHEN stored=announced THEN $reason ELSE (announced - stored) || ' rows came in the middle '
                    'of those read before: the next reading from the first row on brings them' END
            WHERE resource=$resource AND message_id=$message_id AND kind=$kind
            """,
            {"began": naive(reading.began), "reason": reason, **_key(reading.listing)},
        )


def record_failure(
    connection: duckdb.DuckDBPyConnection, schema: str, listing: Listing, verdict: str, reason: str
) -> None:
    """The last attempt at a listing ended as `verdict` ('incomplete' or 'failed'); what is stored stands."""
    _ensure(connection, schema, listing)
    connection.execute(
        f'UPDATE "{schema}".import_coverage SET verdict=$verdict, reason=$reason '
        "WHERE resource=$resource AND message_id=$message_id AND kind=$kind",
        {"verdict": verdict, "reason": reason, **_key(listing)},
    )


def record_probe(
    connection: duckdb.DuckDBPyConnection, schema: str, message_id: str, probed_at: datetime, *, moved: bool
) -> None:
    """The statistics of a message were asked for at `probed_at` (aware UTC); `moved`: a figure differed."""
    listing = Listing("statistics", message_id)
    _ensure(connection, schema, listing)
    connection.execute(
        f"UPDATE \"{schema}\".import_coverage SET read_through=$at, verdict='complete', reason=NULL, "
        "requests=requests+1, moved_at=CASE WHEN $moved THEN $at ELSE moved_at END "
        "WHERE resource=$resource AND message_id=$message_id AND kind=$kind",
        {"at": naive(probed_at), "moved": moved, **_key(listing)},
    )


def _key(listing: Listing) -> dict[str, str]:
    return {"resource": listing.resource, "message_id": listing.message_id, "kind": listing.kind}


def _ensure(connection: duckdb.DuckDBPyConnection, schema: str, listing: Listing) -> None:
    connection.execute(
        f'INSERT INTO "{schema}".import_coverage (resource, message_id, kind, verdict, requests) '
        "SELECT $resource, $message_id, $kind, 'incomplete', 0 WHERE NOT EXISTS (SELECT 1 FROM "
        f'"{schema}".import_coverage WHERE resource=$resource AND message_id=$message_id AND kind=$kind)',
        _key(listing),
    )


@dataclass(frozen=True)
class Scope:
    """Which messages of a schema count, and how often they are looked at.

    `aid`: those whose HTML body holds its comment (None: all). `opt_outs`: of the other messages the opt-outs are read
    too, because an export needs to know who left.
    """

    schema: str
    aid: str | None
    ladder: tuple[AgeStep, ...]
    opt_outs: bool = False


@dataclass(frozen=True)
class MessageState:
    """A message that could have been sent, as the ledger has it. Instants are aware UTC.

    `kinds`: the listings of it that count. `covered_until`: all that happened before is stored (None: some of them was
    never read whole). `probe_days` and `verify_days`: its own intervals. `due`: to be looked at now, whatever was
    looked at in the present run (a message with `probe_days` 0 is looked at in each).
    """

    id: str
    kinds: tuple[str, ...]
    first_released: datetime | None
    last_released: datetime | None
    probed_at: datetime | None
    covered_until: datetime | None
    probe_days: int
    verify_days: int
    due: bool


@dataclass(frozen=True)
class DayState:
    """Whether a UTC day is read (a run over it succeeds) and settled (nothing is open), and why not.

    `open_messages`: released before its end and not looked at since; `due_messages`: those of them that must be now.
    """

    day: date
    read: bool
    settled: bool
    open_messages: int
    due_messages: int
    reason: str | None


def messages(connection: duckdb.DuckDBPyConnection, scope: Scope, now: datetime) -> list[MessageState]:
    """Every message that could have been sent, newest release first, then those never released. `now` is aware."""
    rows = connection.execute(
        f"WITH {_message_states(scope, '$now')} SELECT message_id, kinds, first_released, last_released, "
        "probed_at, covered_until, probe_days, verify_days, due FROM state "
        "ORDER BY last_released DESC NULLS LAST, message_id DESC",
        {"now": naive(now)},
    ).fetchall()
    return [
        MessageState(
            id_,
            tuple(kinds),
            aware(first),
            aware(last),
            aware(probed),
            aware(covered),
            probe_days,
            verify_days,
            due,
        )
        for id_, kinds, first, last, probed, covered, probe_days, verify_days, due in rows
    ]


def days(
    connection: duckdb.DuckDBPyConnection, scope: Scope, first: date, last: date, now: datetime, read_until: datetime
) -> list[DayState]:
    """The days from `first` to `last`. A day that has not ended counts up to `read_until`. Instants are aware."""
    rows = connection.execute(
        f"WITH {_message_states(scope, '$now')}, {_day_states(scope, '$first', '$last', '$now', '$read_until')} "
        "SELECT day, read, settled, open_messages, due_messages, reason FROM day_state ORDER BY day",
        {"now": naive(now), "first": first, "last": last, "read_until": naive(read_until)},
    ).fetchall()
    return [DayState(*row) for row in rows]


def create_view(connection: duckdb.DuckDBPyConnection, scope: Scope, start: date) -> None:
    """Create the view `coverage`: is day D read, is it settled, and if not, why; from `start` (UTC day) to today."""
    now = "make_timestamp(epoch_us(now()))"
    first, last = f"DATE '{start}'", f"{now}::DATE"
    connection.execute(
        f'CREATE OR REPLACE VIEW "{scope.schema}".coverage AS '
        f"WITH {_message_states(scope, now)}, {_day_states(scope, first, last, now, now)} "
        f"SELECT day, read AND day < {last} AS read, settled AND day < {last} AS settled, open_messages, due_messages, "
        f"CASE WHEN day < {last} THEN reason ELSE 'the day has not ended' END AS reason FROM day_state ORDER BY day"
    )


def missing_for_audiences(connection: duckdb.DuckDBPyConnection, scope: Scope, now: datetime) -> str | None:
    """What keeps an audience from being computed from complete data, in one sentence; None if nothing does.

    Half-read activity makes everyone look inactive: the last listing of contacts must be complete, and every message
    released before the end of the last ended day (UTC) must have had one complete reading of all kinds that count.
    """
    contacts = entries(connection, scope.schema, "contacts").get(Listing("contacts"))
    if contacts is None or contacts.read_through is None or contacts.verdict != "complete":
        why = contacts.reason if contacts else "never asked for"
        return f"the contacts of {scope.schema} were not read completely ({why})"
    for resource in ("messages", "sends"):
        if read_through(connection, scope.schema, resource) is None:
            return f"the {resource} of {scope.schema} were never read completely"
    unread = [message.id for message in _released(connection, scope, now) if message.covered_until is None]
    if unread:
        return (
            f"the activity of {len(unread)} released messages of {scope.schema} was never read completely: "
            f"{_named(unread)}"
        )
    return None


def missing_opt_outs(connection: duckdb.DuckDBPyConnection, scope: Scope, now: datetime) -> str | None:
    """Of which messages it was never read who left, in one sentence; None if there is none among those released before
    the end of the last day (UTC) that had ended at `now` (aware)."""
    read = {
        message_id
        for (message_id,) in connection.execute(
            f'SELECT message_id FROM "{scope.schema}".import_coverage '
            "WHERE resource = 'activity' AND kind = ? AND read_through IS NOT NULL",
            [OPT_OUTS],
        ).fetchall()
    }
    unread = [message.id for message in _released(connection, scope, now) if message.id not in read]
    if unread:
        return (
            f"who left by {len(unread)} released messages of {scope.schema} was never read completely: {_named(unread)}"
        )
    return None


def _released(connection: duckdb.DuckDBPyConnection, scope: Scope, now: datetime) -> list[MessageState]:
    """The messages released before the end of the last day (UTC) that had ended at `now`."""
    ended = datetime(now.year, now.month, now.day, tzinfo=UTC)
    return [
        message
        for message in messages(connection, scope, now)
        if message.first_released and message.first_released < ended
    ]


def _named(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_NAMED]) + (f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else "")


def read_through(connection: duckdb.DuckDBPyConnection, schema: str, resource: str) -> datetime | None:
    """When the last complete reading of a listing of the whole folder began (aware UTC); None if there was none."""
    entry = entries(connection, schema, resource).get(Listing(resource))
    return entry.read_through if entry else None


def _message_states(scope: Scope, now: str) -> str:
    """Common table expressions that end in `state`, the columns of MessageState; `now` is an SQL expression."""
    schema = scope.schema
    tagged = "true"
    if scope.aid is not None:
        tagged = f"coalesce(list_contains(aids, '{scope.aid.replace(chr(39), chr(39) * 2)}'), false)"
    figure = " ".join(f"WHEN '{kind}' THEN f.{column}" for kind, column in FIGURE_OF.items())
    return f"""
    message AS (
        SELECT message_id, deleted_at, aids FROM "{schema}".raw_messages
        QUALIFY row_number() OVER (PARTITION BY message_id ORDER BY observed_at DESC) = 1
    ), send AS (
        SELECT * FROM "{schema}".raw_sends
        QUALIFY row_number() OVER (PARTITION BY send_id ORDER BY observed_at DESC) = 1
    ), release AS (
        SELECT message_id, coalesce(released_at, CASE WHEN scheduled_at <= {now} THEN scheduled_at END) AS released
        FROM send WHERE lower(status) NOT IN ('cancelled', 'canceled')
    ), candidate AS (
        SELECT message_id, kinds, min(released) AS first_released, max(released) AS last_released
        FROM (
            SELECT message_id, released,
                CASE WHEN {tagged} THEN {list(FIGURE_OF)} ELSE {[OPT_OUTS] * scope.opt_outs}::VARCHAR[] END AS kinds
            FROM (SELECT message_id, NULL::TIMESTAMP AS released FROM message UNION ALL FROM release)
            LEFT JOIN message USING (message_id) WHERE deleted_at IS NULL
        ) WHERE len(kinds) > 0 GROUP BY ALL
    ), figures AS (
        SELECT * FROM "{schema}".raw_statistics
        QUALIFY row_number() OVER (PARTITION BY message_id ORDER BY observed_at DESC) = 1
    ), probe AS (
        SELECT message_id, read_through AS probed_at, moved_at FROM "{schema}".import_coverage
        WHERE resource = 'statistics'
    ), listing AS (
        SELECT c.message_id, c.first_released, k.kind, p.probed_at, l.read_through, l.verdict, l.reason,
            CASE k.kind {figure} END AS now_figure, l.figure
        FROM candidate c CROSS JOIN unnest(c.kinds) k (kind)
        LEFT JOIN probe p USING (message_id) LEFT JOIN figures f USING (message_id)
        LEFT JOIN "{schema}".import_coverage l
            ON l.resource = 'activity' AND l.message_id = c.message_id AND l.kind = k.kind
    ), listings AS (
        SELECT message_id,
            CASE WHEN count(read_through) = count(*) THEN min(
                CASE WHEN verdict = 'complete' AND now_figure = figure THEN greatest(read_through, probed_at)
                ELSE read_through END) END AS covered_until,
            bool_or(CASE WHEN read_through IS NULL THEN first_released IS NOT NULL OR coalesce(now_figure, 1) > 0
                ELSE now_figure <> figure END) AS moved,
            bool_or(verdict NOT IN ('complete', 'late')) AS unproven,
            min(kind || ': ' || reason) FILTER (WHERE verdict <> 'complete') AS reason
        FROM listing GROUP BY message_id
    ), stepped AS (
        SELECT *, {_by_age([(step.until_days, step.poll_days) for step in scope.ladder], now)} AS probe_days,
            {_by_age([(step.until_days, step.verify_days) for step in scope.ladder], now)} AS verify_days
        FROM candidate LEFT JOIN probe USING (message_id) LEFT JOIN listings USING (message_id)
    ), state AS (
        SELECT *, probed_at IS NULL OR coalesce(unproven, false) OR coalesce(moved, false)
            OR (probe_days > 0 AND date_diff('day', probed_at, {now}) >= probe_days) AS due
        FROM stepped
    )"""


def _by_age(steps: Sequence[tuple[float | None, int]], now: str) -> str:
    """A message's own interval by its age: one without a send counts from the last time its figures moved."""
    cases = []
    for until_days, most in steps:
        own = f"{most} - coalesce(try_cast(message_id AS BIGINT), 0) % {most // 2 + 1}" if most else "0"
        seconds = None if until_days is None else round(until_days * 86_400)
        until = "true" if seconds is None else f"{now} - coalesce(last_released, moved_at) <= to_seconds({seconds})"
        cases.append(f"WHEN {until} THEN {own}")
    return f"CASE {' '.join(cases)} END"


def _day_states(scope: Scope, first: str, last: str, now: str, read_until: str) -> str:
    """Common table expressions that end in `day_state`, on top of `state`; the bounds are SQL expressions."""
    schema = scope.schema
    return f"""
    known AS (
        SELECT CASE WHEN count(read_through) = 2 THEN min(read_through) END AS known_through
        FROM "{schema}".import_coverage WHERE resource IN ('messages', 'sends')
    ), day AS (
        SELECT begins::DATE AS day, begins + INTERVAL 1 DAY AS ends,
            CASE WHEN ends <= {now} THEN ends ELSE least(ends, {read_until}) END AS until,
            coalesce(known_through >= ends, false) OR ends > {now} AS messages_known
        FROM generate_series({first}::TIMESTAMP, {last}::TIMESTAMP, INTERVAL 1 DAY) series (begins), known
    ), open AS (
        SELECT day, message_id, due OR (probe_days = 0 AND probed_at < until) AS due_now, CASE
            WHEN state.reason IS NOT NULL THEN state.reason
            WHEN covered_until IS NULL THEN 'never read'
            WHEN moved THEN 'its figures moved'
            ELSE 'looked at by ' || strftime(probed_at + to_days(probe_days), '%Y-%m-%d') END AS why
        FROM day JOIN state
            ON first_released < ends AND (covered_until IS NULL OR covered_until < until)
    ), counted AS (
        SELECT day, count(message_id) AS open_messages, count_if(due_now) AS due_messages,
            string_agg(message_id || ' (' || why || ')', '; ' ORDER BY due_now DESC, message_id)
                FILTER (WHERE place <= {_NAMED}) AS named
        FROM (SELECT *, row_number() OVER (PARTITION BY day ORDER BY due_now DESC, message_id) AS place FROM open)
        GROUP BY day
    ), day_state AS (
        SELECT day, messages_known AND coalesce(due_messages, 0) = 0 AS read,
            messages_known AND coalesce(open_messages, 0) = 0 AS settled,
            coalesce(open_messages, 0) AS open_messages, coalesce(due_messages, 0) AS due_messages, CASE
                WHEN NOT messages_known THEN 'messages and sends were last read before the day ended'
                WHEN due_messages > 0 THEN due_messages || ' messages are to be read now: ' || named
                WHEN open_messages > 0 THEN open_messages || ' messages are looked at again later: ' || named
            END AS reason
        FROM day LEFT JOIN counted USING (day)
    )"""
