"""What changed behind an export's back: others' changes to its list, and what became of unconfirmed writes."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from icontact_assets.exports.consent import is_fresh
from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.live import LiveList, Targets, pause
from icontact_assets.exports.memory import Memory, Resolved, Sight, Written
from icontact_assets.exports.outcomes import Outcome
from icontact_assets.warehouse.rows import each, texts

OPEN_FOR = timedelta(hours=24)
"""How long a write is looked for on a list that does not show it."""


@dataclass(frozen=True)
class ExternalChanges:
    """What others did to the list, as contact ids in ascending order."""

    since: datetime | None = None
    """When the list was compared before (aware). None: this is the first time, which finds no changes."""
    added: tuple[str, ...] = ()
    """Who others added since then."""
    removed: tuple[str, ...] = ()
    """Who others removed since then."""
    left: tuple[str, ...] = ()
    """Who unsubscribed since then."""
    still_on: tuple[str, ...] = ()
    """Who others added at any time and is still on the list."""
    still_off: tuple[str, ...] = ()
    """Who others removed at any time and is still off the list."""

    def text(self) -> str:
        """One sentence with the counts."""
        if self.since is None:
            return "the list is compared for the first time"
        return (
            f"since {self.since:%Y-%m-%d %H:%M} UTC others added {len(self.added)} people to the list and removed "
            f"{len(self.removed)}, and {len(self.left)} left it"
        )


def as_number(contact_id: str) -> tuple[int, str]:
    """A key that orders contact ids as numbers."""
    return (int(contact_id) if contact_id.isdecimal() else 0, contact_id)


_SEEN = """
    SELECT coalesce(l.contact_id, m.contact_id), m.contact_id IS NOT NULL, m.status, m.changed_by, m.member_id
    FROM live l
    FULL JOIN (FROM export_members WHERE export = $export AND list_id = $list_id) m ON l.contact_id = m.contact_id
    WHERE (l.stays = 'yes' AND m.status = 'normal' AND m.changed_by <> 'external') IS NOT TRUE
"""


def compare(
    connection: duckdb.DuckDBPyConnection,
    export: str,
    memory: Memory,
    live: LiveList,
    staying: Container[str],
    member_ids: Mapping[str, str],
) -> tuple[dict[str, Sight], ExternalChanges]:
    """The list as it is, with who made it so. Others did what differs from what the export last saw or did.

    Somebody who was once seen unsubscribed and is now gone stays `unsubscribed`: an opt-out is never forgotten. There
    is no sight of those `staying` who are on the list as they were, and not by others: they may be a million.
    """
    found_by = "before" if memory.compared_at is None else "external"
    sights: dict[str, Sight] = {}
    changed: set[str] = set()
    for contact_id, before in _seen(connection, export, memory, live, staying):
        there = contact_id in live.statuses
        status = live.statuses.get(contact_id, "absent")
        if before is not None and (before.status == status or (not there and before.status == "unsubscribed")):
            sights[contact_id] = before
        else:
            member_id = before.member_id if before is not None and not there else member_ids.get(contact_id)
            sights[contact_id] = Sight(status, found_by, member_id)
            changed.add(contact_id)

    def those(status: str, among: Iterable[str]) -> tuple[str, ...]:
        return tuple(
            sorted(
                (id_ for id_ in among if sights[id_].status == status and sights[id_].changed_by == "external"),
                key=as_number,
            )
        )

    external = ExternalChanges(
        since=memory.compared_at,
        added=those("normal", changed),
        removed=those("absent", changed),
        left=those("unsubscribed", changed),
        still_on=those("normal", sights),
        still_off=those("absent", sights),
    )
    return sights, external


def _seen(
    connection: duckdb.DuckDBPyConnection, export: str, memory: Memory, live: LiveList, staying: Container[str]
) -> Iterator[tuple[str, Sight | None]]:
    """How the export last saw or left each person on its list, then or now. None: it did not see the person."""
    effects = memory.effects
    stays = (
        "yes" if status == "normal" and id_ in staying and id_ not in effects else None
        for id_, status in live.statuses.items()
    )
    connection.register("live", texts({"contact_id": live.statuses, "stays": stays}))
    for contact_id, known, *seen in each(connection, _SEEN, {"export": export, "list_id": live.list_id}):
        if contact_id not in effects:
            yield contact_id, Sight(*seen) if known else None
    connection.unregister("live")
    yield from effects.items()


def lost(connection: duckdb.DuckDBPyConnection, export: str, live: LiveList) -> int:
    """How many the export last saw on its list as `normal` that the list does not show now, whatever their status."""
    connection.register("live", texts({"contact_id": live.statuses}))
    [(count,)] = connection.execute(
        "SELECT count(*) FROM export_members ANTI JOIN live USING (contact_id) "
        "WHERE export = $export AND list_id = $list_id AND status = 'normal'",
        {"export": export, "list_id": live.list_id},
    ).fetchall()
    connection.unregister("live")
    return int(count)


def resolve(context: ExportContext, memory: Memory, targets: Targets) -> Memory:
    """The memory, with what became of its unconfirmed writes by the lists as they are.

    Reads the lists that these writes were about and that the targets lack. If one was sent within the last ten minutes
    and no list shows it, its lists are read once more after a pause: iContact may show a write late. Raises PlanError
    and the errors of iContact.
    """
    now = context.clock()
    on = {each.list_id: each for each in targets.lists}
    # Nothing can be found out about a list that was deleted.
    there = [written for written in memory.unconfirmed if written.lists <= targets.names.keys()]
    for list_id in {list_id for written in there for list_id in written.lists} - on.keys():
        on[list_id] = LiveList(list_id)
        on[list_id].read(context.folder, context.clock)
    recent = [w for w in there if is_fresh(w.recorded_at, now) and outcome_of(w, on) is None]
    if recent:
        pause()
        for list_id in {list_id for written in recent for list_id in written.lists}:
            on[list_id].read(context.folder, context.clock)
    last = {(written.contact_id, written.action, written.list_id): written for written in memory.unconfirmed}
    resolved = tuple(
        _resolved(written, on, now)
        if written == last[written.contact_id, written.action, written.list_id]
        # The list shows one effect. It is counted for the last of several equal writes.
        else Resolved(written, Outcome.FAILED, "its effect was not known, and a later run tried again")
        for written in memory.unconfirmed
    )
    return memory.with_resolved(resolved, targets.live.list_id)


def _resolved(written: Written, on: Mapping[str, LiveList], now: datetime) -> Resolved:
    if not written.lists <= on.keys():
        return Resolved(written, Outcome.FAILED, "a list that it was about was deleted")
    outcome = outcome_of(written, on)
    if outcome is not None:
        return Resolved(written, outcome, "its effect was not known, and the list showed it later")
    # Its effect may show late, but not as late as that.
    if now - written.recorded_at > OPEN_FOR:
        return Resolved(written, Outcome.FAILED, "its effect was not known, and the list never showed it")
    reason = "its effect is not known, and the list does not show it so far"
    return Resolved(written, Outcome.UNCONFIRMED, reason)


def outcome_of(written: Written, lists: Mapping[str, LiveList]) -> Outcome | None:
    """What became of a write, by the lists that it was about; None: they do not show it. Pure."""
    contact_id, on = written.contact_id, lists[written.list_id]
    status = on.statuses.get(contact_id, "absent")
    if written.action == "subscribe":
        # Who was not on the list and is found unsubscribed went on it by this, and left.
        shown: dict[str, Outcome | None] = {"normal": Outcome.ADDED, "unsubscribed": Outcome.ADDED, "absent": None}
        return shown.get(status or "", Outcome.FAILED)
    if written.action == "unsubscribe":
        return Outcome.UNSUBSCRIBED if status == "unsubscribed" else None
    if written.to_list_id is not None and contact_id in lists[written.to_list_id].statuses and status == "absent":
        return Outcome.MOVED
    return Outcome.FAILED if status not in ("normal", "absent") else None
