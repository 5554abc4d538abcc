"""The journal of exports: a row per run, a row per person and run (intents before a write, outcomes after it), and how
each export last saw its list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from enum import Enum
from typing import Any

import duckdb
import orjson

from icontact_assets.exports.approvals import store_if_new, use_approval
from icontact_assets.exports.consent import Denial, Evidence, Permit, RemovalEvidence
from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.memory import Sight, sight_after
from icontact_assets.exports.outcomes import DONE, UNRESOLVED, JournalEntry, Outcome
from icontact_assets.exports.plan import Plan
from icontact_assets.settings.models import Export
from icontact_assets.warehouse.rows import texts
from icontact_assets.warehouse.storage import Tenure
from icontact_assets.warehouse.times import naive

_AT_ONCE = 2_500
"""Rows turned into a table at once: a plan may have something to say about everybody."""

_IDS_AT_ONCE = 25_000
"""The same where there is nothing to say but an id."""

_SIGHTLESS = (Outcome.INTENDED, Outcome.SKIPPED, Outcome.PLANNED)
"""Outcomes that say nothing new about who is on the list."""

_NOTHING_DONE = (Outcome.ALREADY_SUBSCRIBED, Outcome.SKIPPED, Outcome.PLANNED)
"""Outcomes that say that nothing was sent."""


class Journal:
    """The journal of one export in one run. Each call is one short transaction: all of it is stored, or nothing.

    A run may be killed at any moment, and an answer of iContact may be lost. So the intent of a write is stored before
    its request is sent, and replaced by the outcome afterwards. Whatever a killed run leaves as `intended` may or may
    not have reached iContact: a later run reads the list before it repeats anything.
    """

    def __init__(self, context: ExportContext, export: Export, run_id: str, tenure: Tenure) -> None:
        """`tenure` is of the lock under which the run writes."""
        self._context = context
        self._tenure = tenure
        self._export = export
        self._run_id = run_id
        self._run_key = {"run_id": run_id, "export": export.name}

    def run(self, **columns: Any) -> None:
        """Write the given columns of the run's row in export_runs. The row is made where it is missing."""
        with self._write() as connection:
            self._run(connection, columns)

    def plan(self, plan: Plan, entries: Sequence[JournalEntry], at: datetime) -> None:
        """Write what a plan found, before anything is sent: what became of writes of former runs, the list as it is,
        the people who need nothing (those on the list already, and `entries`), and the plan itself."""
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
            self._resolve(connection, plan)
            self._compared(connection, plan, at)
            store_if_new(connection, plan, at)
            for start in range(0, len(plan.already), _IDS_AT_ONCE):
                self._store_already(connection, plan, plan.already[start : start + _IDS_AT_ONCE], at)
            for start in range(0, len(entries), _AT_ONCE):
                self._store(connection, plan, entries[start : start + _AT_ONCE], at)

    def entries(self, plan: Plan, entries: Sequence[JournalEntry], at: datetime, *, first: bool = False) -> None:
        """Write what became of people, or is about to, and how the list is after it.

        `first`: the plan's first write is about to be sent, which uses up its approval.
        """
        if entries:
            with self._write() as connection:
                if any(entry.outcome is Outcome.INTENDED for entry in entries):
                    # What was sent is noted in any case.
                    self._tenure.confirm()
                stored = self._store(connection, plan, entries, at)
                self._seen(connection, plan, stored, at)
                if first:
                    use_approval(connection, plan, at)

    @contextmanager
    def _write(self) -> Iterator[duckdb.DuckDBPyConnection]:
        context = self._context
        with context.warehouse.write(f"recording the export {self._export.name}") as connection:
            # Several threads hold several buffers, and these statements are short.
            connection.execute("SET threads = 1")
            yield connection
            # An opt-out that an answer showed is stored together with what the run knows of the person by then.
            context.watch.store(connection, context.shelf, context.clock())

    def _lists_named(self, plan: Plan) -> dict[str, str | None]:
        """The lists as the settings name them. An undo may name others, which are not to be compared with these."""
        if plan.undoes is not None:
            return {}
        to = self._export.remove.move_to if self._export.remove else None
        return {
            "list_setting": self._export.list,
            "move_to_setting": to,
            "move_to_id": next(iter(plan.others), None) if to is not None else None,
        }

    def _run(self, connection: duckdb.DuckDBPyConnection, columns: Mapping[str, Any]) -> None:
        # The names of the columns are those of the callers' keyword arguments.
        assignments = ", ".join(f"{name} = ${name}" for name in columns)
        [(rows,)] = connection.execute(
            f"UPDATE export_runs SET {assignments} WHERE run_id = $run_id AND export = $export",  # noqa: S608
            {**self._run_key, **columns},
        ).fetchall()
        if rows == 0:
            row = {**self._run_key, "audience": self._export.audience, "mode": self._export.mode, **columns}
            values = ", ".join(f"${name}" for name in row)
            connection.execute(f"INSERT INTO export_runs ({', '.join(row)}) VALUES ({values})", row)  # noqa: S608

    def _resolve(self, connection: duckdb.DuckDBPyConnection, plan: Plan) -> None:
        """Store what became of writes of former runs."""
        if not plan.resolved:
            return
        columns: dict[str, list[str | None]] = {
            "run_id": [item.written.run_id for item in plan.resolved],
            "contact_id": [item.written.contact_id for item in plan.resolved],
            "action": [item.written.action for item in plan.resolved],
            "outcome": [item.outcome for item in plan.resolved],
            "reason": [item.reason for item in plan.resolved],
        }
        connection.register("resolved", texts(columns))
        # `recorded_at` stays the time of the write: the pace counts from it, and it shows how long the write has been
        # unresolved. A row that has an outcome by now is left alone: somebody who knew more wrote it.
        connection.execute(
            """
            UPDATE export_outcomes o SET outcome = r.outcome, reason = r.reason FROM resolved r
            WHERE o.export = $export AND o.run_id = r.run_id AND o.contact_id = r.contact_id AND o.action = r.action
                AND list_contains($unresolved, o.outcome)
            """,
            {"export": self._export.name, "unresolved": list(UNRESOLVED)},
        )
        connection.unregister("resolved")

    def _compared(self, connection: duckdb.DuckDBPyConnection, plan: Plan, at: datetime) -> None:
        """Bring export_members to what the plan's comparison found. Rows that say the same keep their time."""
        sights = plan.sights
        columns: dict[str, Iterable[str | None]] = {
            "contact_id": sights,
            "status": (sight.status for sight in sights.values()),
            "changed_by": (sight.changed_by for sight in sights.values()),
        }
        connection.register("sights", texts(columns))
        news = connection.execute(
            """
            SELECT contact_id FROM sights s WHERE NOT EXISTS (
                FROM export_members m
                WHERE m.export = $export AND m.list_id = $list_id AND m.contact_id = s.contact_id
                    AND m.status IS NOT DISTINCT FROM s.status AND m.changed_by IS NOT DISTINCT FROM s.changed_by
            )
            """,
            {"export": plan.export, "list_id": plan.live.list_id},
        ).fetchall()
        connection.unregister("sights")
        ids = [contact_id for (contact_id,) in news]
        self._replace(connection, plan, ids, [(contact_id, sights[contact_id], None) for contact_id in ids], at)

    def _store(
        self, connection: duckdb.DuckDBPyConnection, plan: Plan, entries: Iterable[JournalEntry], at: datetime
    ) -> list[JournalEntry]:
        """Store entries in place of those that the run has of the same people. Returns those that count."""
        # One call may bring an outcome after its intent: the last word about a person counts.
        last = list({(entry.contact_id, entry.member_id, entry.action): entry for entry in entries}.values())
        columns: dict[str, list[str | None]] = {
            "contact_id": [entry.contact_id for entry in last],
            "member_id": [entry.member_id or plan.member_ids.get(entry.contact_id or "") for entry in last],
            "action": [entry.action for entry in last],
            "list_id": [entry.list_id for entry in last],
            "to_list_id": [entry.to_list_id for entry in last],
            "outcome": [entry.outcome for entry in last],
            "reason": [entry.reason for entry in last],
            "response": [entry.response for entry in last],
            "evidence": [
                None if entry.evidence is None else orjson.dumps(_plain(entry.evidence)).decode() for entry in last
            ],
        }
        connection.register("batch", texts(columns))
        self._put(connection, plan, at)
        if any(entry.outcome in DONE for entry in last):
            self._done(connection)
        connection.unregister("batch")
        return last

    def _store_already(
        self, connection: duckdb.DuckDBPyConnection, plan: Plan, contact_ids: Sequence[str], at: datetime
    ) -> None:
        """Store that these people are on the list and stay there: all of an audience, as a rule."""
        connection.register(
            "stay", texts({"contact_id": contact_ids, "member_id": map(plan.member_ids.get, contact_ids)})
        )
        connection.execute(
            """
            CREATE TEMP TABLE batch AS
            SELECT contact_id, member_id, 'subscribe' AS action, $list_id AS list_id, NULL::VARCHAR AS to_list_id,
                $outcome AS outcome, NULL::VARCHAR AS reason, NULL::VARCHAR AS response, NULL::VARCHAR AS evidence
            FROM stay
            """,
            {"list_id": plan.live.list_id, "outcome": Outcome.ALREADY_SUBSCRIBED},
        )
        connection.unregister("stay")
        self._put(connection, plan, at)
        connection.execute("DROP TABLE batch")

    def _put(self, connection: duckdb.DuckDBPyConnection, plan: Plan, at: datetime) -> None:
        """Put the outcomes of the table `batch` in place of those that the run has of the same people."""
        # A step that Dagster tries again in its run finds on the list what its first try did. That is no reason to
        # forget who did it: what says `done` is not replaced by what says that there is nothing to do.
        # The constants let DuckDB skip the rows of other runs.
        connection.execute(
            """
            DELETE FROM export_outcomes o USING batch b
            WHERE o.run_id = $run_id AND o.export = $export AND o.action = b.action
                AND coalesce(o.contact_id, 'member ' || o.member_id) = coalesce(b.contact_id, 'member ' || b.member_id)
                AND NOT (list_contains($done, o.outcome) AND list_contains($nothing_done, b.outcome))
            """,
            {**self._run_key, "done": list(DONE), "nothing_done": list(_NOTHING_DONE)},
        )
        # What was not deleted stays in the place of the new row. No row is left of an intent that was withdrawn.
        connection.execute(
            """
            INSERT INTO export_outcomes BY NAME
            SELECT b.*, $run_id AS run_id, $export AS export, $plan_hash AS plan_hash, $at::TIMESTAMP AS recorded_at
            FROM batch b ANTI JOIN (
                SELECT action, coalesce(contact_id, 'member ' || member_id) AS who FROM export_outcomes
                WHERE run_id = $run_id AND export = $export
            ) o ON o.action = b.action AND o.who = coalesce(b.contact_id, 'member ' || b.member_id)
            WHERE b.outcome <> $withdrawn
            """,
            {**self._run_key, "plan_hash": plan.hash, "at": naive(at), "withdrawn": Outcome.WITHDRAWN},
        )

    def _done(self, connection: duckdb.DuckDBPyConnection) -> None:
        """One effect has one write. A former run's unresolved write of an effect in the table `batch` would be taken
        for done as soon as the list shows it: the pace would count one person twice, and an undo of that run would take
        back what this run did."""
        connection.execute(
            """
            UPDATE export_outcomes o
            SET outcome = $failed, reason = 'its effect was not known, and a later run did it'
            FROM batch b WHERE o.export = $export AND o.run_id <> $run_id AND list_contains($unresolved, o.outcome)
                AND list_contains($done, b.outcome) AND o.contact_id = b.contact_id AND o.action = b.action
                AND o.list_id = b.list_id
            """,
            {**self._run_key, "failed": Outcome.FAILED, "unresolved": list(UNRESOLVED), "done": list(DONE)},
        )

    def _seen(
        self, connection: duckdb.DuckDBPyConnection, plan: Plan, entries: Iterable[JournalEntry], at: datetime
    ) -> None:
        """How the list is after what was written. Where a write failed, it is as the plan's comparison found it."""
        list_id = plan.live.list_id
        sights: list[tuple[str, Sight, str | None]] = []
        gone: list[str] = []
        for entry in entries:
            contact_id = entry.contact_id
            if contact_id is None or entry.outcome in _SIGHTLESS:
                continue
            sight = sight_after(entry.outcome, entry.list_id, entry.to_list_id, list_id) or plan.sights.get(contact_id)
            gone.append(contact_id)
            if sight is not None:
                sights.append((contact_id, sight, entry.member_id or plan.member_ids.get(contact_id)))
        self._replace(connection, plan, gone, sights, at)

    def _replace(
        self,
        connection: duckdb.DuckDBPyConnection,
        plan: Plan,
        gone: Sequence[str],
        sights: Sequence[tuple[str, Sight, str | None]],
        at: datetime,
    ) -> None:
        """Put these sights (contact id, sight, member id if the sight has none) into export_members in place of those
        of the contacts `gone`."""
        values = {"export": plan.export, "list_id": plan.live.list_id}
        if gone:
            connection.register("gone", texts({"contact_id": gone}))
            connection.execute(
                "DELETE FROM export_members m USING gone g "
                "WHERE m.export = $export AND m.list_id = $list_id AND m.contact_id = g.contact_id",
                values,
            )
            connection.unregister("gone")
        if sights:
            columns: dict[str, list[str | None]] = {
                "contact_id": [contact_id for contact_id, _, _ in sights],
                "member_id": [sight.member_id or member_id for _, sight, member_id in sights],
                "status": [sight.status for _, sight, _ in sights],
                "changed_by": [sight.changed_by for _, sight, _ in sights],
            }
            connection.register("sights", texts(columns))
            connection.execute(
                """
                INSERT INTO export_members (export, list_id, contact_id, member_id, status, changed_by, changed_at)
                SELECT $export, $list_id, contact_id, member_id, status, changed_by, $at FROM sights
                """,
                {**values, "at": naive(at)},
            )
            connection.unregister("sights")


def _plain(evidence: Evidence | RemovalEvidence) -> dict[str, Any]:
    """The evidence as JSON holds it. That of a move has what is known of the other list too."""
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
