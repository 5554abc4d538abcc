"""What an export remembers of itself: how it last saw or left its list, what it wrote, which lists it named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from typing import Any

import duckdb

from icontact_assets.exports.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class Sight:
    """How an export last saw or left one contact on its list: see the columns of export_members."""

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
class Resolved:
    """What became of a write whose effect was not known. It may still be `unconfirmed`."""

    written: Written
    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class Memory:
    """What an export remembers of itself and its list."""

    normal: int
    """How many were on the list as `normal` when the export last saw or left it."""
    compared_at: datetime | None
    """When the list was last read and compared (aware). None: never."""
    last_chosen: int | None
    """Members of the audience that the last export was for. None: there was none."""
    unconfirmed: tuple[Written, ...]
    """Writes whose effect is not known: their run was cut off, or the list did not show them."""
    added_at: tuple[datetime, ...]
    """When the people of the last 24 hours were added (aware)."""
    failed: frozenset[str]
    """Contacts whose last write failed, or was not shown by the list."""
    resolved: tuple[Resolved, ...] = ()
    """What became of the unconfirmed writes, by the lists as they are now."""
    effects: Mapping[str, Sight] = field(default_factory=dict)
    """How these writes left people on the list, by contact id. It is not stored yet."""

    def with_resolved(self, resolved: tuple[Resolved, ...], list_id: str) -> Memory:
        """The memory with the effects that these writes had on a list."""
        effects = {}
        for item in resolved:
            sight = sight_after(item.outcome, item.written.list_id, item.written.to_list_id, list_id)
            if sight is not None:
                effects[item.written.contact_id] = replace(sight, member_id=item.written.member_id)
        return replace(self, resolved=resolved, effects=effects)


def sight_after(outcome: Outcome, list_id: str, to_list_id: str | None, on: str) -> Sight | None:
    """How a write left a person on the list `on`. None: it changed nothing there."""
    if outcome == Outcome.ADDED and list_id == on:
        return Sight("normal", "export")
    if outcome == Outcome.UNSUBSCRIBED and list_id == on:
        return Sight("unsubscribed", "export")
    if outcome == Outcome.MOVED and list_id == on:
        return Sight("absent", "export")
    if outcome == Outcome.MOVED and to_list_id == on:
        return Sight("normal", "export")
    return None


def read_memory(connection: duckdb.DuckDBPyConnection, export: str, list_id: str, now: datetime) -> Memory:
    """What an export remembers at `now` (aware)."""
    values = {"export": export, "list_id": list_id}
    [(normal,)] = connection.execute(
        "SELECT count(*) FROM export_members WHERE export = $export AND list_id = $list_id AND status = 'normal'",
        values,
    ).fetchall()
    [(compared_at,)] = connection.execute(
        "SELECT max(compared_at) FROM export_runs WHERE export = $export AND list_id = $list_id", values
    ).fetchall()
    last = connection.execute(
        """
        SELECT chosen FROM export_runs
        WHERE export = $export AND list_id = $list_id AND status = 'done' AND mode IN ('add', 'mirror')
        ORDER BY ended_at DESC LIMIT 1
        """,
        values,
    ).fetchall()
    # A hundred people share one time.
    added = connection.execute(
        """
        SELECT recorded_at, count(*) FROM export_outcomes
        WHERE export = ? AND recorded_at > ?
            AND action = 'subscribe' AND outcome IN ('added', 'intended', 'unconfirmed')
        GROUP BY recorded_at
        """,
        [export, (now - timedelta(hours=24)).astimezone(UTC).replace(tzinfo=None)],
    ).fetchall()
    # Few failed at any time, and the last word is asked for of these few alone.
    failed = connection.execute(
        """
        SELECT contact_id FROM export_outcomes
        SEMI JOIN (
            SELECT contact_id FROM export_outcomes WHERE export = $export AND outcome IN ('failed', 'unconfirmed')
        ) USING (contact_id)
        WHERE export = $export AND outcome NOT IN ('planned', 'skipped', 'already_subscribed')
        GROUP BY contact_id HAVING arg_max(outcome, recorded_at) IN ('failed', 'unconfirmed')
        """,
        {"export": export},
    ).fetchall()
    return Memory(
        normal=normal,
        compared_at=compared_at.replace(tzinfo=UTC) if compared_at else None,
        last_chosen=last[0][0] if last else None,
        unconfirmed=_unconfirmed(connection, export),
        added_at=tuple(chain.from_iterable(repeat(at.replace(tzinfo=UTC), count) for at, count in added)),
        failed=frozenset(contact_id for (contact_id,) in failed),
    )


def stored_member_ids(connection: duckdb.DuckDBPyConnection, export: str, list_id: str) -> dict[str, str]:
    """Contact id on the list to contact id in the audience, for everyone it ever saw on the list as a member."""
    rows = connection.execute(
        "SELECT contact_id, member_id FROM export_members WHERE export = ? AND list_id = ? AND member_id <> ''",
        [export, list_id],
    ).fetchall()
    return dict(rows)


def last_writers(connection: duckdb.DuckDBPyConnection, export: str) -> dict[str, str]:
    """Contact id to the run of an export that last wrote to it with effect."""
    rows = connection.execute(
        """
        SELECT contact_id, run_id FROM export_outcomes
        WHERE export = ? AND outcome IN ('added', 'moved', 'unsubscribed') AND contact_id IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY contact_id ORDER BY recorded_at DESC, rowid DESC) = 1
        """,
        [export],
    ).fetchall()
    return dict(rows)


def lists_before(connection: duckdb.DuckDBPyConnection, export: str) -> dict[str, str]:
    """The lists of the last runs of an export: as the settings named them, to list id."""
    rows = connection.execute(
        """
        SELECT setting, arg_max(list_id, began_at) FROM (
            SELECT list_setting AS setting, list_id, began_at FROM export_runs WHERE export = $export
            UNION ALL
            SELECT move_to_setting, move_to_id, began_at FROM export_runs WHERE export = $export
        )
        WHERE setting IS NOT NULL AND list_id IS NOT NULL GROUP BY setting
        """,
        {"export": export},
    ).fetchall()
    return dict(rows)


def writes_of(connection: duckdb.DuckDBPyConnection, export: str, run_id: str) -> tuple[Written, ...]:
    """What one run of an export wrote, or may have written, oldest first."""
    return _written(
        connection.execute(
            """
            SELECT run_id, contact_id, member_id, action, list_id, to_list_id, outcome, plan_hash, recorded_at
            FROM export_outcomes WHERE export = ? AND contact_id IS NOT NULL AND run_id = ?
            ORDER BY recorded_at, contact_id
            """,
            [export, run_id],
        ).fetchall()
    )


def _unconfirmed(connection: duckdb.DuckDBPyConnection, export: str) -> tuple[Written, ...]:
    """What any run of an export may have written, oldest first."""
    return _written(
        connection.execute(
            """
            SELECT run_id, contact_id, member_id, action, list_id, to_list_id, outcome, plan_hash, recorded_at
            FROM export_outcomes
            WHERE export = ? AND contact_id IS NOT NULL AND outcome IN ('intended', 'unconfirmed')
            ORDER BY recorded_at, contact_id
            """,
            [export],
        ).fetchall()
    )


def _written(rows: Iterable[tuple[Any, ...]]) -> tuple[Written, ...]:
    return tuple(
        Written(run_id, contact_id, member_id, action, on, to, Outcome(outcome), plan, at.replace(tzinfo=UTC))
        for run_id, contact_id, member_id, action, on, to, outcome, plan, at in rows
    )
