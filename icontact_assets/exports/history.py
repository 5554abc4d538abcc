"""What the warehouse remembers of contacts and of an export: evidence for the guard, former writes, former sights."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb

from icontact_assets.exports.outcomes import Outcome
from icontact_assets.warehouse.rows import each, texts


def addresses(connection: duckdb.DuckDBPyConnection, schema: str, contact_ids: Iterable[str]) -> dict[str, str]:
    """The last known address of each contact that has one. To be shown nowhere."""
    connection.register("asked", texts({"contact_id": sorted(contact_ids)}))
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
    outcome: Outcome
    plan_hash: str | None
    recorded_at: datetime
    """Aware."""

    @property
    def lists(self) -> frozenset[str]:
        """The ids of the lists that it is about."""
        return frozenset({self.list_id, self.to_list_id or self.list_id})


@dataclass(frozen=True)
class Memory:
    """What an export remembers of itself and its list. Times are aware.

    `compared_at`: when the list was last read and compared, None if never; `unsettled`: what a run that was cut off, or
    was not shown the effect of, may have written; `added_at`: the times of the last 24 hours' adds; `failed`: contacts
    whose last write failed, or was not shown by the list.
    """

    sights: dict[str, Sight]
    compared_at: datetime | None
    last_chosen: int | None
    unsettled: tuple[Written, ...]
    added_at: tuple[datetime, ...]
    failed: frozenset[str]


def read_memory(connection: duckdb.DuckDBPyConnection, schema: str, export: str, list_id: str, now: datetime) -> Memory:
    """What an export remembers at `now` (aware)."""
    values = {"export": export, "list_id": list_id}
    # Most people are seen alike, and under an id that other readings show too: each text is kept once.
    sights = {
        sys.intern(contact_id): Sight(_once(status), sys.intern(changed_by), _once(member_id))
        for contact_id, status, changed_by, member_id in each(
            connection,
            f'SELECT contact_id, status, changed_by, member_id FROM "{schema}".export_members '
            "WHERE export = $export AND list_id = $list_id",
            values,
        )
    }
    [(compared_at,)] = connection.execute(
        f'SELECT max(compared_at) FROM "{schema}".export_runs WHERE export = $export AND list_id = $list_id', values
    ).fetchall()
    last = connection.execute(
        f"""
        SELECT chosen FROM "{schema}".export_runs
        WHERE export = $export AND list_id = $list_id AND status = 'done' AND mode IN ('add', 'mirror')
        ORDER BY ended_at DESC LIMIT 1
        """,
        values,
    ).fetchall()
    # A hundred people share one time.
    times: dict[datetime, datetime] = {}
    added_at = tuple(
        times.setdefault(at, at.replace(tzinfo=UTC))
        for (at,) in each(
            connection,
            f"""
            SELECT recorded_at FROM "{schema}".export_outcomes
            WHERE export = ? AND recorded_at > ?
                AND action = 'subscribe' AND outcome IN ('added', 'intended', 'unconfirmed')
            """,
            [export, (now - timedelta(hours=24)).astimezone(UTC).replace(tzinfo=None)],
        )
    )
    failed = connection.execute(
        f"""
        SELECT contact_id FROM "{schema}".export_outcomes
        WHERE export = ? AND contact_id IS NOT NULL AND outcome NOT IN ('planned', 'skipped', 'already_subscribed')
        GROUP BY contact_id HAVING arg_max(outcome, recorded_at) IN ('failed', 'unconfirmed')
        """,
        [export],
    ).fetchall()
    return Memory(
        sights=sights,
        compared_at=compared_at.replace(tzinfo=UTC) if compared_at else None,
        last_chosen=last[0][0] if last else None,
        unsettled=written(connection, schema, export, "outcome IN ('intended', 'unconfirmed')"),
        added_at=added_at,
        failed=frozenset(contact_id for (contact_id,) in failed),
    )


def _once(text: str | None) -> str | None:
    return None if text is None else sys.intern(text)


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


def lists_before(connection: duckdb.DuckDBPyConnection, schema: str, export: str) -> dict[str, str]:
    """The lists of the last runs of an export: as the settings named them, to list id."""
    rows = connection.execute(
        f"""
        SELECT setting, arg_max(list_id, began_at) FROM (
            SELECT list_setting AS setting, list_id, began_at FROM "{schema}".export_runs WHERE export = $export
            UNION ALL
            SELECT move_to_setting, move_to_id, began_at FROM "{schema}".export_runs WHERE export = $export
        )
        WHERE setting IS NOT NULL AND list_id IS NOT NULL GROUP BY setting
        """,
        {"export": export},
    ).fetchall()
    return dict(rows)


def written(
    connection: duckdb.DuckDBPyConnection, schema: str, export: str, condition: str, values: Sequence[str] = ()
) -> tuple[Written, ...]:
    """The rows of an export's outcomes that satisfy a condition, oldest first."""
    rows = connection.execute(
        f"""
        SELECT run_id, contact_id, member_id, action, list_id, to_list_id, outcome, plan_hash, recorded_at
        FROM "{schema}".export_outcomes WHERE export = ? AND contact_id IS NOT NULL AND {condition}
        ORDER BY recorded_at, contact_id
        """,
        [export, *values],
    ).fetchall()
    return tuple(
        Written(run_id, contact_id, member_id, action, on, to, Outcome(outcome), plan, at.replace(tzinfo=UTC))
        for run_id, contact_id, member_id, action, on, to, outcome, plan, at in rows
    )
