"""How a run of an export is taken back: what it added goes, what it moved comes back, as far as the guard allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from icontact_assets.audiences.audience import version_hash
from icontact_assets.exports.compare import as_number, outcome_of, resolve
from icontact_assets.exports.consent import Denial, RemovalPermit
from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.facts import complete, read_suppression
from icontact_assets.exports.live import Lists, LiveList, PlanError, Targets
from icontact_assets.exports.memory import Written, last_writers, read_memory, writes_of
from icontact_assets.exports.outcomes import DONE, UNRESOLVED, Outcome
from icontact_assets.exports.plan import DeniedRemoval, Facts, Matched, Plan, remove, with_limits
from icontact_assets.settings.models import Export, Remove
from icontact_assets.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class Undo:
    """A run to take back."""

    run_id: str
    way: Remove
    """How the people that it added are removed."""


def exports_of_run(warehouse: Warehouse, run_id: str) -> list[str]:
    """The names of the exports that were run in a run."""
    with warehouse.read() as connection:
        rows = connection.execute(
            "SELECT DISTINCT export FROM export_runs WHERE run_id = ? ORDER BY export", [run_id]
        ).fetchall()
    return [name for (name,) in rows]


def plan_undo(context: ExportContext, export: Export, undo: Undo) -> Plan:
    """Plan how to take back a run of an export, by the lists and contacts as they are now.

    Those it added, and that are still there by its doing, are removed. Those it moved are moved back, if they may be
    on the list. Those it unsubscribed do not come back: each is reported and stays. Whoever a later run of the export
    wrote to is left to an undo of that run. Costs what a plan of the export costs. Raises PlanError, and the errors of
    iContact.
    """
    with context.remembering():
        return _plan_undo(context, export, undo.run_id, undo.way)


def _plan_undo(context: ExportContext, export: Export, run_id: str, way: Remove) -> Plan:
    with context.warehouse.read() as connection:
        rows = writes_of(connection, export.name, run_id)
        runs = connection.execute(
            "SELECT list_id FROM export_runs WHERE run_id = ? AND export = ? AND list_id IS NOT NULL",
            [run_id, export.name],
        ).fetchall()
        if not runs:
            raise PlanError(f"The export {export.name} has no run {run_id} that made a plan: there is nothing to undo.")
        [(list_id,)] = runs
        later = {id_ for id_, run in last_writers(connection, export.name).items() if run != run_id}
        memory = read_memory(connection, export.name, list_id, context.clock())
        suppression = read_suppression(context, connection, export)
    lists = Lists()
    context.folder.lists(lists)
    live = lists.named(list_id, "list")
    holding = lists.named(way.move_to, "remove.move_to") if way.move_to is not None else None
    if holding is not None and holding.list_id == list_id:
        raise PlanError(f"The people would be moved to the list {list_id} that they are on. Name another list.")
    on = {each.list_id: each for each in (live, holding) if each is not None}
    # Of a list that was deleted nobody can be moved, nor onto it.
    rows = tuple(row for row in rows if row.lists <= lists.names.keys())
    for id_ in {id_ for row in rows for id_ in row.lists} - on.keys():
        on[id_] = lists.named(id_, "list")
    for each in on.values():
        each.read(context.folder, context.clock)
    targets = Targets(lists.names, tuple(on.values()), holding)
    memory = resolve(context, memory, targets)
    facts = complete(
        context,
        export,
        targets,
        Matched(version_hash([]), member_ids={row.contact_id: row.member_id for row in rows if row.member_id}),
        lambda _sights, _member_ids: [row.contact_id for row in rows if row.outcome in (*DONE, *UNRESOLVED)],
        suppression,
        memory,
    )
    return _plan(facts, export, run_id, [row for row in rows if row.contact_id not in later], on)


def _plan(facts: Facts, export: Export, run_id: str, rows: Sequence[Written], on: dict[str, LiveList]) -> Plan:
    live, holding = facts.live, facts.holding
    sights = facts.sights
    removals: list[RemovalPermit] = []
    denied: list[DeniedRemoval] = []
    denials: list[Denial] = []
    for row in sorted(rows, key=lambda row: as_number(row.contact_id)):
        outcome = outcome_of(row, on) if row.outcome in UNRESOLVED else row.outcome
        if outcome == Outcome.ADDED:
            sight = sights.get(row.contact_id)
            off, onto, ours = on[row.list_id], holding, sight is not None and sight.changed_by == "export"
        elif outcome == Outcome.MOVED and row.to_list_id is not None:
            off, onto, ours = on[row.to_list_id], on[row.list_id], True
        elif outcome == Outcome.UNSUBSCRIBED:
            denials.append(_gone(facts, row.contact_id, on[row.list_id]))
            continue
        else:
            continue
        decision = remove(facts, row.contact_id, off, onto, ours=ours, wanted=False)
        if isinstance(decision, RemovalPermit):
            removals.append(decision)
        else:
            denied.append(DeniedRemoval(decision, off.list_id, onto.list_id if onto else None))
    made = Plan(
        export=export.name,
        mode="undo",
        undoes=run_id,
        live=live,
        audience_version=facts.matched.version,
        members=0,
        reader=facts.reader,
        knowledge=facts.knowledge,
        contacts=facts.contacts,
        elsewhere=facts.elsewhere,
        additions=(),
        removals=tuple(removals),
        denials=tuple(denials),
        denied_removals=tuple(denied),
        external=facts.external,
        resolved=facts.memory.resolved,
        sights=sights,
        member_ids=facts.member_ids,
        others={list_id: each for list_id, each in on.items() if list_id != live.list_id},
    )
    return with_limits(made, export, None, None)


def _gone(facts: Facts, contact_id: str, on: LiveList) -> Denial:
    """Why somebody that the run unsubscribed is not subscribed again, whatever the evidence says."""
    decision = facts.decide(contact_id, on)
    reason = "was unsubscribed by the run, which cannot be taken back"
    return Denial(contact_id, reason, decision.evidence)
