"""What an export leaves behind in the warehouse: a row per run, a row per person and run, its sight of the list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import islice
from typing import Any

import duckdb
import orjson

from icontact_assets.exports.consent import Denial, Evidence, Permit, RemovalEvidence
from icontact_assets.exports.history import Sight
from icontact_assets.exports.outcomes import DONE, Outcome
from icontact_assets.exports.plan import Place, Plan, sight_after
from icontact_assets.settings.models import Export
from icontact_assets.warehouse.rows import each, texts
from icontact_assets.warehouse.tables import EXPORT_OUTCOMES

APPROVAL_LASTS = timedelta(hours=24)

_AT_ONCE = 2_500
"""Rows turned into a table at once: a plan may have something to say about everybody."""

_SIGHTLESS = (Outcome.INTENDED, Outcome.SKIPPED, Outcome.PLANNED)
"""Outcomes that say nothing new about who is on the list."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """What became of one person, or is about to."""

    contact_id: str | None
    action: str
    list_id: str
    outcome: Outcome
    to_list_id: str | None = None
    reason: str | None = None
    response: str | None = None
    """What iContact said, cut."""
    member_id: str | None = None
    """Contact id in the audience; None: the plan knows it."""
    evidence: Evidence | RemovalEvidence | None = None
    """What a skip rests on."""


_OF_THE_RUN = ("run_id", "export", "plan_hash", "recorded_at")
"""The columns of export_outcomes that are the same for everybody in one call."""
_OF_A_PERSON = tuple(name for name in EXPORT_OUTCOMES.column_names if name not in _OF_THE_RUN)
_SIGHTS = ("contact_id", "member_id", "status", "changed_by")


class Record:
    """The record of one export in one run. Each call is one short transaction of its own."""

    def __init__(self, place: Place, export: Export, run_id: str) -> None:
        self._place = place
        self._warehouse = place.warehouse
        self._schema = place.schema
        self._export = export
        self._run_id = run_id

    def run(self, **columns: Any) -> None:
        """Write the given columns of the run's row in export_runs, which is made where it is missing."""
        with self._write() as connection:
            self._run(connection, columns)

    def plan(self, plan: Plan, outcomes: Iterator[JournalEntry], at: datetime) -> None:
        """Write what a plan found, before anything else is written: settled writes of former runs, the list as it is,
        those for whom there is nothing to do, and the plan itself, if it was not shown before."""
        with self._write() as connection:
            self._run(
                connection,
                {
                    "audience_version": plan.audience_version,
                    "list_id": plan.live.list_id,
                    **self._lists_named(plan),
                    "plan_hash": plan.hash,
                    "compared_at": naive(at),
                    "members": plan.members,
                    "chosen": plan.chosen,
                    "planned": len(plan.additions) + len(plan.removals),
                    "list_size_before": plan.live.size,
                },
            )
            self._settle(connection, plan)
            self._sights(connection, plan, at)
            if not self._shown(connection, plan):
                self._show(connection, plan, at)
        # Apart from the rest, because of the memory that two large changes take together.
        with self._write() as connection:
            while some := list(islice(outcomes, _AT_ONCE)):
                self._outcomes(connection, plan, some, at)

    def show(self, plan: Plan, at: datetime) -> None:
        """Store a plan that is shown to somebody: from now on it can be approved for 24 hours, for one application."""
        with self._write() as connection:
            connection.execute(
                f'DELETE FROM "{self._schema}".export_plans WHERE export = ? AND hash = ?', [plan.export, plan.hash]
            )
            self._show(connection, plan, at)

    def against_approval(self, plan: Plan, approved: str | None, now: datetime) -> str | None:
        """Why the plan is not approved by this hash, in one sentence without a period; None if it is."""
        if approved != plan.hash:
            return "it is not approved" if approved is None else f"what is approved is another plan ({approved})"
        with self._warehouse.read() as connection:
            shown = self._shown(connection, plan)
        if not shown:
            return "it was never shown"
        [(created_at, applied_at)] = shown
        if applied_at is not None:
            return f"its approval was used at {applied_at:%Y-%m-%d %H:%M} UTC"
        if not timedelta(0) <= naive(now) - created_at < APPROVAL_LASTS:
            return f"it was shown at {created_at:%Y-%m-%d %H:%M} UTC, more than 24 hours ago"
        return None

    def outcomes(self, plan: Plan, outcomes: Sequence[JournalEntry], at: datetime, *, first: bool = False) -> None:
        """Write what became of people, or is about to, and how the list is thereby. `first`: the plan's first write is
        about to go out, which uses up its approval.

        A later outcome replaces an earlier one of the same run, but a step that is tried again in its run does not
        forget what it did: `already_subscribed` and `skipped` do not replace what was done.
        """
        if outcomes:
            with self._write() as connection:
                rows = self._outcomes(connection, plan, outcomes, at)
                self._seen(connection, plan, rows, at)
                if first:
                    connection.execute(
                        f'UPDATE "{self._schema}".export_plans SET applied_at = ? WHERE export = ? AND hash = ?',
                        [naive(at), plan.export, plan.hash],
                    )

    @contextmanager
    def _write(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._warehouse.write(f"recording the export {self._export.name}") as connection:
            # Several threads hold several buffers, and these statements are short.
            connection.execute("SET threads = 1")
            yield connection
            self._place.watch.store(connection, self._place.shelf, self._place.clock())

    def _lists_named(self, plan: Plan) -> dict[str, str | None]:
        """The lists as the settings name them; an undo may name others."""
        if plan.undoes is not None:
            return {}
        to = self._export.remove.move_to if self._export.remove else None
        return {
            "list_setting": self._export.list,
            "move_to_setting": to,
            "move_to_id": next(iter(plan.others), None) if to is not None else None,
        }

    def _run(self, connection: duckdb.DuckDBPyConnection, columns: Mapping[str, Any]) -> None:
        key = {"run_id": self._run_id, "export": self._export.name}
        table = f'"{self._schema}".export_runs'
        connection.execute(
            f"INSERT INTO {table} (run_id, export, audience, mode) SELECT $run_id, $export, $audience, $mode "
            f"WHERE NOT EXISTS (FROM {table} WHERE run_id = $run_id AND export = $export)",
            {**key, "audience": self._export.audience, "mode": self._export.mode},
        )
        connection.execute(
            f"UPDATE {table} SET {', '.join(f'{name} = ${name}' for name in columns)} "
            "WHERE run_id = $run_id AND export = $export",
            {**key, **columns},
        )

    def _settle(self, connection: duckdb.DuckDBPyConnection, plan: Plan) -> None:
        if not plan.settled:
            return
        rows = [
            {
                "run_id": item.written.run_id,
                "contact_id": item.written.contact_id,
                "action": item.written.action,
                "outcome": item.outcome,
                "reason": item.reason,
            }
            for item in plan.settled
        ]
        connection.register("settled", texts({name: [row[name] for row in rows] for name in rows[0]}))
        # The time stays that of the write: a pace counts from it, and it says how long it has been open.
        connection.execute(
            f"""
            UPDATE "{self._schema}".export_outcomes o SET outcome = s.outcome, reason = s.reason
            FROM settled s
            WHERE o.export = ? AND o.run_id = s.run_id AND o.contact_id = s.contact_id AND o.action = s.action
                AND o.outcome IN ('intended', 'unconfirmed')
            """,
            [self._export.name],
        )
        connection.unregister("settled")

    def _sights(self, connection: duckdb.DuckDBPyConnection, plan: Plan, at: datetime) -> None:
        """Bring export_members to what the plan's comparison found; rows that say the same keep their time."""
        fresh, stale = dict(plan.sights), []
        for contact_id, status, changed_by in each(
            connection,
            f'SELECT contact_id, status, changed_by FROM "{self._schema}".export_members '
            "WHERE export = ? AND list_id = ?",
            [plan.export, plan.live.list_id],
        ):
            sight = plan.sights.get(contact_id)
            if sight is not None and (sight.status, sight.changed_by) == (status, changed_by):
                fresh.pop(contact_id, None)
            else:
                stale.append(contact_id)
        sights = [_sight_row(contact_id, sight, None) for contact_id, sight in fresh.items()]
        self._replace(connection, plan, stale, sights, at)

    def _outcomes(
        self, connection: duckdb.DuckDBPyConnection, plan: Plan, outcomes: Iterable[JournalEntry], at: datetime
    ) -> list[dict[str, Any]]:
        rows = [
            {
                "contact_id": item.contact_id,
                "member_id": item.member_id or plan.member_ids.get(item.contact_id or ""),
                "action": item.action,
                "list_id": item.list_id,
                "to_list_id": item.to_list_id,
                "outcome": item.outcome,
                "reason": item.reason,
                "response": item.response,
                "evidence": None if item.evidence is None else orjson.dumps(_plain(item.evidence)).decode(),
            }
            # The last word about a person counts.
            for item in {(item.contact_id, item.member_id, item.action): item for item in outcomes}.values()
        ]
        connection.register("batch", texts({name: [row[name] for row in rows] for name in _OF_A_PERSON}))
        table = f'"{self._schema}".export_outcomes'
        # The constants let DuckDB skip the rows of other runs.
        here, values = "o.run_id = ? AND o.export = ?", [self._run_id, self._export.name]
        person = "coalesce({0}.contact_id, 'member ' || {0}.member_id)"
        same = f"{here} AND {person.format('o')} = {person.format('b')} AND o.action = b.action"
        done = ", ".join(f"'{word}'" for word in DONE)
        keeps = f"o.outcome IN ({done}) AND b.outcome IN ('already_subscribed', 'skipped', 'planned')"
        connection.execute(f"DELETE FROM {table} o USING batch b WHERE {same} AND NOT ({keeps})", values)
        names = ", ".join(_OF_A_PERSON)
        connection.execute(
            f"INSERT INTO {table} ({', '.join(_OF_THE_RUN)}, {names}) SELECT ?, ?, ?, ?, {names} FROM batch b "
            f"WHERE outcome <> '{Outcome.WITHDRAWN}' AND NOT EXISTS (FROM {table} o WHERE {same})",
            [*values, plan.hash, naive(at), *values],
        )
        # One effect has one write: what former runs left open has become nothing of its own.
        connection.execute(
            f"""
            UPDATE {table} o SET outcome = 'failed', reason = 'what became of it was not known; a later run did it'
            FROM batch b WHERE o.export = ? AND o.run_id <> ? AND o.outcome IN ('intended', 'unconfirmed')
                AND b.outcome IN ({done}) AND o.contact_id = b.contact_id AND o.action = b.action
                AND o.list_id = b.list_id
            """,
            [self._export.name, self._run_id],
        )
        connection.unregister("batch")
        return rows

    def _seen(
        self,
        connection: duckdb.DuckDBPyConnection,
        plan: Plan,
        rows: Iterable[Mapping[str, Any]],
        at: datetime,
    ) -> None:
        """How the list is after what was written; where a write failed, it is as the plan's comparison found it."""
        list_id = plan.live.list_id
        sights: list[dict[str, str | None]] = []
        gone: list[str] = []
        for row in rows:
            contact_id = row["contact_id"]
            if contact_id is None or row["outcome"] in _SIGHTLESS:
                continue
            sight = sight_after(row["outcome"], row["list_id"], row["to_list_id"], list_id)
            sight = sight or plan.sights.get(contact_id)
            gone.append(contact_id)
            if sight is not None:
                sights.append(_sight_row(contact_id, sight, row["member_id"]))
        self._replace(connection, plan, gone, sights, at)

    def _replace(
        self,
        connection: duckdb.DuckDBPyConnection,
        plan: Plan,
        gone: Sequence[str],
        sights: Sequence[Mapping[str, str | None]],
        at: datetime,
    ) -> None:
        """Put these sights into export_members in place of those of the contacts `gone`."""
        table, values = f'"{self._schema}".export_members', {"export": plan.export, "list_id": plan.live.list_id}
        if gone:
            connection.register("gone", texts({"contact_id": gone}))
            connection.execute(
                f"DELETE FROM {table} m USING gone g "
                "WHERE m.export = $export AND m.list_id = $list_id AND m.contact_id = g.contact_id",
                values,
            )
            connection.unregister("gone")
        if sights:
            connection.register("sights", texts({name: [sight[name] for sight in sights] for name in _SIGHTS}))
            connection.execute(
                f"""
                INSERT INTO {table} (export, list_id, contact_id, member_id, status, changed_by, changed_at)
                SELECT $export, $list_id, contact_id, member_id, status, changed_by, $at FROM sights
                """,
                {**values, "at": naive(at)},
            )
            connection.unregister("sights")

    def _shown(self, connection: duckdb.DuckDBPyConnection, plan: Plan) -> list[tuple[datetime, datetime | None]]:
        rows: list[tuple[datetime, datetime | None]] = connection.execute(
            f'SELECT created_at, applied_at FROM "{self._schema}".export_plans WHERE export = ? AND hash = ?',
            [plan.export, plan.hash],
        ).fetchall()
        return rows

    def _show(self, connection: duckdb.DuckDBPyConnection, plan: Plan, at: datetime) -> None:
        connection.execute(
            f"""
            INSERT INTO "{self._schema}".export_plans
                (export, hash, mode, list_id, undoes, created_at, adds, removes, exceeded)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                plan.export,
                plan.hash,
                plan.mode,
                plan.live.list_id,
                plan.undoes,
                naive(at),
                plan.adds,
                plan.removes,
                "; ".join(item.text for item in plan.exceeded) or None,
            ],
        )


def _sight_row(contact_id: str, sight: Sight, member_id: str | None) -> dict[str, str | None]:
    return {
        "contact_id": contact_id,
        "member_id": sight.member_id or member_id,
        "status": sight.status,
        "changed_by": sight.changed_by,
    }


def _plain(evidence: Evidence | RemovalEvidence) -> dict[str, Any]:
    """The evidence as JSON holds it; of a move, also what is known of the other list."""
    found: dict[str, Any] = {}
    for field in fields(evidence):
        value = getattr(evidence, field.name)
        if isinstance(value, Enum):
            found[field.name] = value.value
        elif isinstance(value, Permit | Denial):
            found[field.name] = _plain(value.evidence)
        else:
            found[field.name] = value
    return found


def naive(instant: datetime) -> datetime:
    """An aware time as the tables hold it: UTC without a zone."""
    return instant.astimezone(UTC).replace(tzinfo=None)
