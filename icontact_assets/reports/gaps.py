"""What a report does not have because it is not complete, in sentences."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb

from icontact_assets.ingest.due import Scope, days
from icontact_assets.plain import mask
from icontact_assets.reports.period import Period

_NAMED = 3
"""Messages that a sentence names at most."""


@dataclass(frozen=True)
class Gap:
    """Something that is not complete."""

    text: str
    """What, in a sentence."""
    since: str | None
    """Since when, as a day or an instant in UTC. None: not known."""
    serious: bool
    """Whether figures of the period may be too low for it."""


def find_gaps(connection: duckdb.DuckDBPyConnection, scope: Scope, period: Period, now: datetime) -> list[Gap]:
    """What is not complete of a period at `now` (aware), the serious first. The connection is bound to the schema of
    the import."""
    found = [
        *_days(connection, scope, period, now),
        *_listings(connection),
        *_campaigns(connection, period),
        *_quarantine(connection),
        *_mails(connection),
    ]
    return sorted(found, key=lambda gap: not gap.serious)


def _days(connection: duckdb.DuckDBPyConnection, scope: Scope, period: Period, now: datetime) -> list[Gap]:
    """iContact is read by UTC days, of which the period may begin and end one in the middle."""
    gaps = []
    if period.ends.replace(tzinfo=UTC) > now:
        gaps.append(Gap(f"The period goes on: it ends with {period.last}.", None, serious=True))
    first, last = period.begins.date(), (period.ends - timedelta(microseconds=1)).date()
    states = days(connection, scope, first, min(last, now.date()), now, now) if first <= now.date() else []
    unread = [state for state in states if not state.read]
    unsettled = [state for state in states if state.read and not state.settled]
    if unread:
        text = f"{len(unread)} of {len(states)} days (UTC) are not read: {unread[0].reason}."
        gaps.append(Gap(mask(text), str(unread[0].day), serious=True))
    if unsettled:
        text = f"{len(unsettled)} of {len(states)} days (UTC) are read and not settled: {unsettled[0].reason}."
        gaps.append(Gap(mask(text), str(unsettled[0].day), serious=False))
    return gaps


def _listings(connection: duckdb.DuckDBPyConnection) -> list[Gap]:
    found = connection.execute(
        "SELECT resource, status, reason, read_through FROM import_coverage "
        "WHERE message_id = '' AND status <> 'complete' ORDER BY resource, list_id"
    ).fetchall()
    return [
        Gap(
            mask(f"The last read of the {resource} is {status}: {reason}."),
            f"{through:%Y-%m-%d %H:%M} UTC" if through else None,
            serious=True,
        )
        for resource, status, reason, through in found
    ]


def _campaigns(connection: duckdb.DuckDBPyConnection, period: Period) -> list[Gap]:
    found = connection.execute(
        "SELECT message_id, differences, read_through FROM campaigns WHERE first_send_at >= ? AND first_send_at < ? "
        "ORDER BY first_send_at, message_id",
        [period.begins, period.ends],
    ).fetchall()
    gaps = []
    never = [message_id for message_id, _, through in found if through is None]
    if never:
        gaps.append(Gap(f"{len(never)} messages were never read: {_named(never)}.", None, serious=True))
    differing = [f"{message_id} ({differences})" for message_id, differences, _ in found if differences]
    if differing:
        text = f"In {len(differing)} messages the stored rows are not what iContact counts: {_named(differing)}."
        gaps.append(Gap(mask(text), None, serious=False))
    return gaps


def _quarantine(connection: duckdb.DuckDBPyConnection) -> list[Gap]:
    [(rows, since)] = connection.execute("SELECT count(*), min(observed_at) FROM quarantine").fetchall()
    text = f"iContact sent {rows:,} rows that cannot be read. They are in the table quarantine."
    return [Gap(text, f"{since:%Y-%m-%d %H:%M} UTC", serious=True)] if rows else []


def _mails(connection: duckdb.DuckDBPyConnection) -> list[Gap]:
    [(unknown,)] = connection.execute("SELECT count(*) FROM engagement WHERE NOT mails_known").fetchall()
    text = (
        f"Of {unknown:,} people it is not known which mails they got in the last 30 days. The counts of their mails "
        "are minimums."
    )
    return [Gap(text, None, serious=False)] if unknown else []


def _named(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
