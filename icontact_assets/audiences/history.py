"""What the warehouse remembers of contacts and of an export: evidence for the guard, former writes, former sights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa


@dataclass(frozen=True)
class History:
    """What the stored readings of a client folder hold against contacts and one list: contact ids.

    `elsewhere`: unsubscribed from any list in any reading of it, or by any message.
    """

    seen_unsubscribed: frozenset[str] = frozenset()
    unsubscribed_by_message: frozenset[str] = frozenset()
    elsewhere: frozenset[str] = frozenset()
    erased: frozenset[str] = frozenset()


def read_history(
    connection: duckdb.DuckDBPyConnection, schema: str, contact_ids: Iterable[str], list_id: str
) -> History:
    """The history of these contacts and a list of their client folder."""
    connection.register("asked", pa.table({"contact_id": pa.array(sorted(contact_ids), pa.string())}))
    asked = "contact_id IN (SELECT contact_id FROM asked)"
    unsubscribed = "lower(trim(status)) = 'unsubscribed'"
    # An unsubscription that could not be stored for want of a readable time is one all the same.
    events = f"""
        SELECT message_id, contact_id FROM "{schema}".raw_activity WHERE event_type = 'unsubscribe'
        UNION ALL
        SELECT message_id, trim(content ->> '$.contactId') FROM "{schema}".quarantine WHERE resource = 'unsubscribes'
    """
    # A message went elsewhere only if that is certain: it has a send that was not cancelled, and no version of
    # any of its sends names this list, a segment (whose list is not known), or no list at all.
    went_elsewhere = rf"""
        SELECT message_id FROM "{schema}".raw_sends
        GROUP BY message_id
        HAVING bool_or(lower(coalesce(status, '')) NOT LIKE 'cancel%')
            AND bool_and(
                trim(coalesce(include_segment_ids, '')) = ''
                AND regexp_full_match(coalesce(include_list_ids, ''), '\s*\d+(\s*,\s*\d+)*\s*')
                AND NOT regexp_matches(coalesce(include_list_ids, ''), '\b' || $list_id || '\b')
            )
    """
    subscriptions = f'SELECT DISTINCT contact_id FROM "{schema}".raw_subscriptions WHERE {unsubscribed} AND {asked}'

    def ids(sql: str, **values: str) -> frozenset[str]:
        return frozenset(id_ for (id_,) in connection.execute(sql, values).fetchall())

    found = History(
        seen_unsubscribed=ids(f"{subscriptions} AND list_id = $list_id", list_id=list_id),
        unsubscribed_by_message=ids(
            f"SELECT DISTINCT contact_id FROM ({events}) ANTI JOIN ({went_elsewhere}) USING (message_id) WHERE {asked}",
            list_id=list_id,
        ),
        elsewhere=ids(subscriptions) | ids(f"SELECT DISTINCT contact_id FROM ({events}) WHERE {asked}"),
        erased=ids(
            f"""
            SELECT id FROM "{schema}".raw_contacts WHERE id IN (SELECT contact_id FROM asked)
            QUALIFY row_number() OVER (PARTITION BY id ORDER BY observed_at DESC) = 1
                AND (deleted_at IS NOT NULL OR lower(trim(status)) = 'deleted')
            """
        ),
    )
    connection.unregister("asked")
    return found


def addresses(connection: duckdb.DuckDBPyConnection, schema: str, contact_ids: Iterable[str]) -> dict[str, str]:
    """The last known address of each contact that has one. To be shown nowhere."""
    connection.register("asked", pa.table({"contact_id": pa.array(sorted(contact_ids), pa.string())}))
    rows = connection.execute(
        f"""
        SELECT id, trim(email) FROM "{schema}".raw_contacts WHERE id IN (SELECT contact_id FROM asked)
        QUALIFY row_number() OVER (PARTITION BY id ORDER BY observed_at DESC) = 1
        """
    ).fetchall()
    connection.unregister("asked")
    return {contact_id: email for contact_id, email in rows if email}


def contacts_stored(connection: duckdb.DuckDBPyConnection, schema: str) -> int:
    """How many contacts the client folder of a schema had, roughly."""
    [(count,)] = connection.execute(f'SELECT count(DISTINCT id) FROM "{schema}".raw_contacts').fetchall()
    return int(count)


@dataclass(frozen=True, slots=True)
class Sight:
    """How an export last saw or left one contact on its list; see the columns of export_members."""

    status: str | None
    changed_by: str
    member_id: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """A row of export_outcomes that says what was, or may have been, written."""

    run_id: str
    contact_id: str
    member_id: str | None
    action: str
    list_id: str
    to_list_id: str | None
    outcome: str
    plan_hash: str | None


@dataclass(frozen=True)
class Memory:
    """What an export remembers of itself and its list. Times are aware.

    `compared_at`: when the list was last read and compared, None if never; `unsettled`: what a run that was cut off, or
    was not shown the effect of, may have written; `added_at`: the times of the last 24 hours' adds.
    """

    sights: dict[str, Sight]
    compared_at: datetime | None
    last_chosen: int | None
    unsettled: tuple[Written, ...]
    added_at: tuple[datetime, ...]


def read_memory(connection: duckdb.DuckDBPyConnection, schema: str, export: str, list_id: str, now: datetime) -> Memory:
    """What an export remembers at `now` (aware)."""
    values = {"export": export, "list_id": list_id}
    sights = connection.execute(
        f'SELECT contact_id, status, changed_by, member_id FROM "{schema}".export_members '
        "WHERE export = $export AND list_id = $list_id",
        values,
    ).fetchall()
    [(compared_at,)] = connection.execute(
        f'SELECT max(compared_at) FROM "{schema}".export_runs WHERE export = $export AND list_id = $list_id', values
    ).fetchall()
    last = connection.execute(
        f"""
        SELECT chosen FROM "{schema}".export_runs
        WHERE export = $export AND list_id = $list_id AND verdict = 'done' AND mode IN ('add', 'mirror')
        ORDER BY ended_at DESC LIMIT 1
        """,
        values,
    ).fetchall()
    added = connection.execute(
        f"""
        SELECT recorded_at FROM "{schema}".export_outcomes
        WHERE export = ? AND recorded_at > ?
            AND action = 'subscribe' AND outcome IN ('added', 'intended', 'unconfirmed')
        """,
        [export, (now - timedelta(hours=24)).astimezone(UTC).replace(tzinfo=None)],
    ).fetchall()
    return Memory(
        sights={contact_id: Sight(*rest) for contact_id, *rest in sights},
        compared_at=compared_at.replace(tzinfo=UTC) if compared_at else None,
        last_chosen=last[0][0] if last else None,
        unsettled=written(connection, schema, export, "outcome IN ('intended', 'unconfirmed')"),
        added_at=tuple(at.replace(tzinfo=UTC) for (at,) in added),
    )


def refused(connection: duckdb.DuckDBPyConnection, schema: str, list_id: str) -> frozenset[str]:
    """The contacts that iContact ever refused to put on a list because they may not be mailed, by whatever export."""
    rows = connection.execute(
        f"""
        SELECT DISTINCT contact_id FROM "{schema}".export_outcomes
        WHERE coalesce(to_list_id, list_id) = ? AND outcome = 'refused' AND contact_id IS NOT NULL
        """,
        [list_id],
    ).fetchall()
    return frozenset(contact_id for (contact_id,) in rows)


def last_writers(connection: duckdb.DuckDBPyConnection, schema: str, export: str) -> dict[str, str]:
    """Contact id to the run of an export that last wrote to it with effect."""
    rows = connection.execute(
        f"""
        SELECT contact_id, run_id FROM "{schema}".export_outcomes
        WHERE export = ? AND outcome IN ('added', 'moved', 'unsubscribed') AND contact_id IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY contact_id ORDER BY recorded_at DESC, rowid DESC) = 1
        """,
        [export],
    ).fetchall()
    return dict(rows)


def seen_unsubscribed(connection: duckdb.DuckDBPyConnection, schema: str, list_ids: Iterable[str]) -> frozenset[str]:
    """The contacts that any export, when it read one of these lists, ever saw unsubscribed from it."""
    rows = connection.execute(
        f"""
        SELECT DISTINCT contact_id FROM "{schema}".export_members
        WHERE status = 'unsubscribed' AND list_id IN (SELECT unnest(?::VARCHAR[]))
        """,
        [sorted(list_ids)],
    ).fetchall()
    return frozenset(contact_id for (contact_id,) in rows)


def written(
    connection: duckdb.DuckDBPyConnection, schema: str, export: str, condition: str, values: Sequence[str] = ()
) -> tuple[Written, ...]:
    """The rows of an export's outcomes that satisfy a condition, oldest first."""
    rows = connection.execute(
        f"""
        SELECT run_id, contact_id, member_id, action, list_id, to_list_id, outcome, plan_hash
        FROM "{schema}".export_outcomes WHERE export = ? AND contact_id IS NOT NULL AND {condition}
        ORDER BY recorded_at, contact_id
        """,
        [export, *values],
    ).fetchall()
    return tuple(Written(*row) for row in rows)
