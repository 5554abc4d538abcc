"""Which messages are due, which days are read and settled, and what audiences and exports still miss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import duckdb

from icontact_assets.ingest.coverage import entries
from icontact_assets.ingest.staging import Listing
from icontact_assets.ingest.window import ReadRequest
from icontact_assets.settings.requests import AgeStep
from icontact_assets.warehouse.times import aware, naive

STATISTIC_OF = {
    "opens": "opens_total",
    "clicks": "clicks_total",
    "bounces": "bounces",
    "unsubscribes": "unsubscribes",
}
"""The four listings of a message, and which of iContact's own statistics counts their rows."""

OPT_OUTS = "unsubscribes"
"""The listing of those who left."""

RELEASED = "coalesce(released_at, CASE WHEN scheduled_at <= {now} THEN scheduled_at END)"
"""SQL expression over sends for when one was released (UTC). NULL: not yet. `{now}` is to be filled in."""

NOT_CANCELLED = "coalesce(lower(status), '') NOT IN ('cancelled', 'canceled')"
"""SQL condition over sends."""

COVERAGE = "coverage"
"""The view that says which days are read."""

_NAMED = 5
"""Messages that a reason names at most."""


@dataclass(frozen=True)
class Scope:
    """Which messages of an import count, and how often they are polled."""

    schema: str
    """The import's name, which is that of its schema."""
    aid: str | None
    """Only messages whose HTML body has the comment of this AID count. None: all count."""
    by_age: tuple[AgeStep, ...]
    """How often a message is polled and verified at which age."""
    opt_outs: bool = False
    """Of the other messages the opt-outs are read too, because an export needs to know who left."""


@dataclass(frozen=True)
class MessageState:
    """A message that could have been sent, as the coverage has it. Instants are aware UTC."""

    id: str
    kinds: tuple[str, ...]
    """Its listings that count."""
    first_released: datetime | None
    """When it was first sent. None: never."""
    polled_at: datetime | None
    """When its statistics were last asked for."""
    covered_until: datetime | None
    """All that happened before is stored. None: one of its listings was never read completely."""
    poll_days: int
    """It is polled again after so many days. 0: in every run."""
    verify_days: int
    """Its listings are read again from the first row on after so many days."""
    due: bool
    """To be polled now. A message with `poll_days` 0 that was polled in an earlier run is not: see `due_for`."""


@dataclass(frozen=True)
class DayState:
    """How far a UTC day is read."""

    day: date
    read: bool
    """Every due message was polled: a run over the day succeeds."""
    settled: bool
    """No message is open."""
    open_messages: int
    """Messages released before its end of which something since may be missing."""
    due_messages: int
    """Those of them that must be polled now."""
    reason: str | None
    """Why it is not read, or not settled."""

    @property
    def state(self) -> str:
        """`settled`, `read` (but not settled) or `missing`."""
        return "settled" if self.settled else "read" if self.read else "missing"


def messages(connection: duckdb.DuckDBPyConnection, scope: Scope, now: datetime) -> list[MessageState]:
    """Every message that could have been sent, newest release first, then those never released. `now` is aware."""
    return _messages(connection, f"WITH {_message_states(scope, '$now')}", {"now": naive(now)})


def _messages(connection: duckdb.DuckDBPyConnection, states: str, values: dict[str, Any]) -> list[MessageState]:
    rows = connection.execute(
        f"{states} SELECT message_id, kinds, first_released, polled_at, covered_until, poll_days, verify_days, due "  # noqa: S608
        "FROM state ORDER BY last_released DESC NULLS LAST, message_id DESC",
        values,
    ).fetchall()
    return [
        MessageState(id_, tuple(kinds), aware(released), aware(polled), aware(covered), poll_days, verify_days, due)
        for id_, kinds, released, polled, covered, poll_days, verify_days, due in rows
    ]


def due_for(request: ReadRequest, states: Sequence[MessageState]) -> list[MessageState]:
    """The messages that a run polls: released before its window's end (or never), not covered since, and due."""
    return [
        state
        for state in states
        if (state.first_released is None or state.first_released < request.window.end) and _is_due(request, state)
    ]


def _is_due(request: ReadRequest, state: MessageState) -> bool:
    if request.reread:
        return state.first_released is not None
    if state.covered_until and state.covered_until >= request.window.end:
        return False
    hot = state.poll_days == 0
    return state.due or (hot and state.polled_at is not None and state.polled_at < request.fresh_since)


def days(
    connection: duckdb.DuckDBPyConnection, scope: Scope, first: date, last: date, now: datetime, read_until: datetime
) -> list[DayState]:
    """The days from `first` to `last`. A day that has not ended counts up to `read_until`. Instants are aware."""
    values = {"now": naive(now), "first": first, "last": last, "read_until": naive(read_until)}
    return _days(connection, scope, f"{_message_states(scope, '$now')}, ", values)


def _days(connection: duckdb.DuckDBPyConnection, scope: Scope, states: str, values: dict[str, Any]) -> list[DayState]:
    rows = connection.execute(
        f"WITH {states}{_day_states(scope, '$first', '$last', '$now', '$read_until')} "  # noqa: S608
        "SELECT day, read, settled, open_messages, due_messages, reason FROM day_state ORDER BY day",
        values,
    ).fetchall()
    return [DayState(*row) for row in rows]


def messages_and_days(
    connection: duckdb.DuckDBPyConnection, scope: Scope, first: date, last: date, now: datetime
) -> tuple[list[MessageState], list[DayState]]:
    """`messages` and `days`, read up to `now`. What both are made of is computed once: DuckDB takes longer to plan
    their SQL than to run it."""
    at = naive(now)
    connection.execute(
        f"CREATE TEMP TABLE state AS WITH {_message_states(scope, '$now')} FROM state",
        {"now": at},
    )
    values = {"now": at, "first": first, "last": last, "read_until": at}
    found = _messages(connection, "", {}), _days(connection, scope, "", values)
    connection.execute("DROP TABLE temp.state")
    return found


def view_of(scope: Scope, start: date) -> str:
    """DDL of the view `coverage`: is day D read, is it settled, and if not, why. From `start` (UTC day) to today."""
    now = "make_timestamp(epoch_us(now()))"
    first, last = f"DATE '{start}'", f"{now}::DATE"
    return (
        f'CREATE OR REPLACE VIEW "{scope.schema}".{COVERAGE} AS '  # noqa: S608
        f"WITH {_message_states(scope, now)}, {_day_states(scope, first, last, now, now)} "
        f"SELECT day, read AND day < {last} AS read, settled AND day < {last} AS settled, open_messages, due_messages, "
        f"CASE WHEN day < {last} THEN reason ELSE 'the day has not ended' END AS reason FROM day_state ORDER BY day"
    )


def missing_for_audiences(connection: duckdb.DuckDBPyConnection, scope: Scope, now: datetime) -> str | None:
    """What keeps an audience from being computed from complete data, in one sentence. None if nothing does.

    Half-read activity makes everyone look inactive. So the last read of the contacts must be complete, and so must one
    read of each listing that counts, of every message released before the end of the last ended day (UTC).
    """
    found = entries(connection, "contacts", "messages", "sends")
    contacts = found.get(Listing("contacts"))
    if contacts is None or contacts.read_through is None or contacts.status != "complete":
        why = contacts.reason if contacts else "never asked for"
        return f"the contacts of {scope.schema} were not read completely ({why})"
    for resource in ("messages", "sends"):
        entry = found.get(Listing(resource))
        if entry is None or entry.read_through is None:
            return f"the {resource} of {scope.schema} were never read completely"
    unread = [message.id for message in _released(connection, scope, now) if message.covered_until is None]
    if unread:
        return (
            f"the activity of {len(unread)} released messages of {scope.schema} was never read completely: "
            f"{_named(unread)}"
        )
    return None


def missing_opt_outs(connection: duckdb.DuckDBPyConnection, scope: Scope, now: datetime) -> str | None:
    """Of which messages it was never read who left, in one sentence. None if there is none among those released before
    the end of the last day (UTC) that had ended at `now` (aware).

    The connection may be bound to another import: an export asks this of every folder that its people may be in.
    """
    read = {
        message_id
        for (message_id,) in connection.execute(
            f'SELECT message_id FROM "{scope.schema}".import_coverage '  # noqa: S608
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


def _message_states(scope: Scope, now: str) -> str:
    """Common table expressions that end in `state`, the columns of MessageState. `now` is an SQL expression."""
    schema = scope.schema
    tagged = "true"
    if scope.aid is not None:
        tagged = f"coalesce(list_contains(aids, '{scope.aid.replace(chr(39), chr(39) * 2)}'), false)"
    statistic = " ".join(f"WHEN '{kind}' THEN s.{column}" for kind, column in STATISTIC_OF.items())
    # A listing covers all that happened before its last complete read began. Where its statistic as last polled is
    # still the one of that read, nothing was added since, and it covers all that happened before the poll. A message
    # covers what all its listings cover. It is due when it was never polled, when a read of it was not verified, when
    # a statistic shows that there is something to read, and when its age says so.
    return f"""
    ledger AS MATERIALIZED (
        SELECT resource, message_id, kind, read_through, changed_at, status, reason, statistic
        FROM "{schema}".import_coverage
    ), message AS (
        SELECT message_id, deleted_at, aids FROM "{schema}".current_messages
    ), release AS (
        SELECT message_id, {RELEASED.format(now=now)} AS released
        FROM "{schema}".current_sends WHERE {NOT_CANCELLED}
    ), candidate AS (
        SELECT message_id, kinds, min(released) AS first_released, max(released) AS last_released
        FROM (
            SELECT message_id, released,
                CASE WHEN {tagged} THEN {list(STATISTIC_OF)} ELSE {[OPT_OUTS] * scope.opt_outs}::VARCHAR[] END AS kinds
            FROM (SELECT message_id, NULL::TIMESTAMP AS released FROM message UNION ALL FROM release)
            LEFT JOIN message USING (message_id) WHERE deleted_at IS NULL
        ) WHERE len(kinds) > 0 GROUP BY ALL
    ), poll AS (
        SELECT message_id, read_through AS polled_at, changed_at FROM ledger WHERE resource = 'statistics'
    ), listing AS (
        SELECT c.message_id, c.first_released, k.kind, p.polled_at, l.read_through, l.status, l.reason,
            CASE k.kind {statistic} END AS statistic_now, l.statistic
        FROM candidate c CROSS JOIN unnest(c.kinds) k (kind)
        LEFT JOIN poll p USING (message_id) LEFT JOIN "{schema}".current_statistics s USING (message_id)
        LEFT JOIN ledger l
            ON l.resource = 'activity' AND l.message_id = c.message_id AND l.kind = k.kind
    ), listings AS (
        SELECT message_id,
            CASE WHEN count(read_through) = count(*) THEN min(
                CASE WHEN status = 'complete' AND statistic_now = statistic THEN greatest(read_through, polled_at)
                ELSE read_through END) END AS covered_until,
            bool_or(CASE WHEN read_through IS NULL THEN first_released IS NOT NULL OR coalesce(statistic_now, 1) > 0
                ELSE statistic_now <> statistic END) AS changed,
            bool_or(status NOT IN ('complete', 'stale')) AS unverified,
            min(kind || ': ' || reason) FILTER (WHERE status <> 'complete') AS reason
        FROM listing GROUP BY message_id
    ), stepped AS (
        SELECT *, {_by_age([(step.until_days, step.poll_days) for step in scope.by_age], now)} AS poll_days,
            {_by_age([(step.until_days, step.verify_days) for step in scope.by_age], now)} AS verify_days
        FROM candidate LEFT JOIN poll USING (message_id) LEFT JOIN listings USING (message_id)
    ), state AS (
        SELECT *, polled_at IS NULL OR coalesce(unverified, false) OR coalesce(changed, false)
            OR (poll_days > 0 AND date_diff('day', polled_at, {now}) >= poll_days) AS due
        FROM stepped
    )"""  # noqa: S608


def _by_age(steps: Sequence[tuple[float | None, int]], now: str) -> str:
    """A message's own interval by its age. One without a send counts from the last time its statistics changed.

    It is up to half shorter than the step says, and differs by message id: messages of one day are not all due on one.
    """
    cases = []
    for until_days, most in steps:
        own = f"{most} - coalesce(try_cast(message_id AS BIGINT), 0) % {most // 2 + 1}" if most else "0"
        seconds = None if until_days is None else round(until_days * 86_400)
        until = "true" if seconds is None else f"{now} - coalesce(last_released, changed_at) <= to_seconds({seconds})"
        cases.append(f"WHEN {until} THEN {own}")
    return f"CASE {' '.join(cases)} END"


def _day_states(scope: Scope, first: str, last: str, now: str, read_until: str) -> str:
    """Common table expressions that end in `day_state`, on top of `state`. The bounds are SQL expressions."""
    schema = scope.schema
    # A day is about the messages released before its end. What was released is known up to the last complete read of
    # messages and sends: a day that ended later than that is not read, whatever the messages say. Nor is one that goes
    # on and is read up to a time before it began: iContact's clock may be behind ours.
    return f"""
    known AS (
        SELECT CASE WHEN count(read_through) = 2 THEN min(read_through) END AS known_through
        FROM "{schema}".import_coverage WHERE resource IN ('messages', 'sends')
    ), day AS (
        SELECT begins::DATE AS day, begins + INTERVAL 1 DAY AS ends,
            CASE WHEN ends <= {now} THEN ends ELSE least(ends, {read_until}) END AS until,
            coalesce(known_through >= ends, false) OR (ends > {now} AND {read_until} >= begins) AS messages_known
        FROM generate_series({first}::TIMESTAMP, {last}::TIMESTAMP, INTERVAL 1 DAY) series (begins), known
    ), open AS (
        SELECT day, message_id, due OR (poll_days = 0 AND polled_at < until) AS due_now, CASE
            WHEN state.reason IS NOT NULL THEN state.reason
            WHEN covered_until IS NULL THEN 'never read'
            WHEN changed THEN 'its statistics changed'
            ELSE 'next poll by ' || strftime(polled_at + to_days(poll_days), '%Y-%m-%d') END AS why
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
                WHEN due_messages > 0 THEN due_messages || ' messages are due now: ' || named
                WHEN open_messages > 0 THEN open_messages || ' messages are polled again later: ' || named
            END AS reason
        FROM day LEFT JOIN counted USING (day)
    )"""  # noqa: S608
