"""Plans that were shown to somebody, and whether one of them may be applied: approved by its hash, soon, and once."""

from __future__ import annotations

from datetime import datetime, timedelta

import duckdb

from icontact_assets.exports.plan import Plan
from icontact_assets.warehouse.times import naive
from icontact_assets.warehouse.warehouse import Warehouse

APPROVAL_LASTS = timedelta(hours=24)


def show_plan(warehouse: Warehouse, plan: Plan, at: datetime) -> None:
    """Store a plan that somebody is shown. From now on it can be approved for 24 hours, for one application."""
    with warehouse.write(f"recording the export {plan.export}") as connection:
        connection.execute("DELETE FROM export_plans WHERE export = ? AND hash = ?", [plan.export, plan.hash])
        _store(connection, plan, at)


def store_if_new(connection: duckdb.DuckDBPyConnection, plan: Plan, at: datetime) -> None:
    """Store a plan, unless it was shown before: its approval must not last longer, or count a second time, because a
    run made the same plan again."""
    if not _shown(connection, plan):
        _store(connection, plan, at)


def use_approval(connection: duckdb.DuckDBPyConnection, plan: Plan, at: datetime) -> None:
    """The first write of a plan is about to be sent: an approval is good for one application."""
    connection.execute(
        "UPDATE export_plans SET applied_at = ? WHERE export = ? AND hash = ?", [naive(at), plan.export, plan.hash]
    )


def why_not_approved(warehouse: Warehouse, plan: Plan, approved: str | None, now: datetime) -> str | None:
    """Why the plan is not approved by this hash, as a clause without a period. None: it is approved."""
    if approved != plan.hash:
        return "the plan is not approved" if approved is None else f"another plan is approved ({approved})"
    with warehouse.read() as connection:
        shown = _shown(connection, plan)
    if not shown:
        return "the plan was never shown"
    [(created_at, applied_at)] = shown
    if applied_at is not None:
        return f"its approval was used at {applied_at:%Y-%m-%d %H:%M} UTC"
    if not timedelta(0) <= naive(now) - created_at < APPROVAL_LASTS:
        return f"the plan was shown at {created_at:%Y-%m-%d %H:%M} UTC, more than 24 hours ago"
    return None


def _shown(connection: duckdb.DuckDBPyConnection, plan: Plan) -> list[tuple[datetime, datetime | None]]:
    rows: list[tuple[datetime, datetime | None]] = connection.execute(
        "SELECT created_at, applied_at FROM export_plans WHERE export = ? AND hash = ?", [plan.export, plan.hash]
    ).fetchall()
    return rows


def _store(connection: duckdb.DuckDBPyConnection, plan: Plan, at: datetime) -> None:
    connection.execute(
        """
        INSERT INTO export_plans (export, hash, mode, list_id, undoes, created_at, adds, removes, exceeded)
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
