"""What an export is to do: audience, live list, live contacts, stored history and exclusion list make a plan."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

import duckdb
import orjson

from icontact_assets.audiences.audience import version_hash
from icontact_assets.audiences.choice import ChoiceError, chosen
from icontact_assets.audiences.consent import (
    Denial,
    Elsewhere,
    Evidence,
    Permit,
    RemovalEvidence,
    RemovalPermit,
    Subscription,
    decide,
    decide_removal,
)
from icontact_assets.audiences.exclusion import ExclusionError, ExclusionList, read_exclusion_list
from icontact_assets.audiences.history import (
    History,
    Memory,
    Sight,
    Written,
    addresses,
    contacts_stored,
    read_history,
    read_memory,
    refused,
    seen_unsubscribed,
)
from icontact_assets.audiences.limits import Exceeded, Figures, exceeded
from icontact_assets.audiences.live import Contact, Contacts, Lists, LiveList, PlanError, pause
from icontact_assets.audiences.pace import allowance, quiet_until
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.values import as_id
from icontact_assets.settings import Export
from icontact_assets.warehouse.warehouse import Warehouse

Clock = Callable[[], datetime]

_MANY, _MANY_SHARE = 50, 0.2
"""More people than this, and more than this share of the list, are not gone before a second reading agrees."""


@dataclass(frozen=True)
class ForeignChanges:
    """What others did to the list. `since` (aware): the last comparison; None at the first, which finds none.

    `put_on` and `taken_off` were found by this comparison, `left` are those found unsubscribed by it; `standing_on` and
    `standing_off` hold all that still stand, found now or before.
    """

    since: datetime | None
    put_on: tuple[str, ...]
    taken_off: tuple[str, ...]
    left: tuple[str, ...]
    standing_on: tuple[str, ...]
    standing_off: tuple[str, ...]

    def text(self) -> str:
        """One sentence with the counts."""
        if self.since is None:
            return "the list is compared for the first time"
        return (
            f"since {self.since:%Y-%m-%d %H:%M} UTC others put {len(self.put_on)} people on the list and took "
            f"{len(self.taken_off)} off it, and {len(self.left)} left it"
        )


@dataclass(frozen=True)
class Settled:
    """What became of a write whose outcome was not known: `outcome` is one of the words of export_outcomes."""

    written: Written
    outcome: str


@dataclass(frozen=True)
class DeniedRemoval:
    """Somebody who stays on a list, or is not moved (back) to another, though they should be."""

    denial: Denial
    list_id: str
    to_list_id: str | None


@dataclass(frozen=True)
class Plan:
    """What is to be done, and why the rest is not. Contact ids are those of the list's client folder.

    A member of the audience is in exactly one of `additions`, `waiting` (for the pace), `already`, `denials`,
    `unmatched` (no such person in the other folder) and `left_out` (the export is not for them). `undoes`: the run that
    an undo takes back.
    """

    export: str
    mode: str
    undoes: str | None
    live: LiveList
    audience_version: str
    members: int
    reader: Contacts
    """Reads a contact again when its status is no longer fresh."""
    additions: tuple[Permit, ...]
    """Those who entered the audience first come first."""
    removals: tuple[RemovalPermit, ...]
    already: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    denials: tuple[Denial, ...] = ()
    denied_removals: tuple[DeniedRemoval, ...] = ()
    unmatched: Mapping[str, str] = field(default_factory=dict)
    """Contact id in the audience to the reason."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Contact id in the audience to the reason."""
    foreign: ForeignChanges = ForeignChanges(None, (), (), (), (), ())
    settled: tuple[Settled, ...] = ()
    sights: Mapping[str, Sight] = field(default_factory=dict)
    """The list as this comparison found it, and who made it so."""
    member_ids: Mapping[str, str] = field(default_factory=dict)
    """Contact id on the list to contact id in the audience, where that is known."""
    exceeded: tuple[Exceeded, ...] = ()
    quiet_until: datetime | None = None
    others: Mapping[str, LiveList] = field(default_factory=dict)
    """The other lists that people are moved to or from, by id."""

    @property
    def chosen(self) -> int:
        """How many members of the audience the export is for."""
        return self.members - len(self.left_out)

    @property
    def moved_back(self) -> int:
        """How many of the removals from another list put somebody back onto this one."""
        return sum(permit.list_id != self.live.list_id for permit in self.removals)

    @property
    def adds(self) -> int:
        """How many people the plan puts on the list."""
        return len(self.additions) + self.moved_back

    @property
    def removes(self) -> int:
        """How many people the plan takes off the list."""
        return len(self.removals) - self.moved_back

    @cached_property
    def hash(self) -> str:
        """32 hexadecimal digits over exactly what would be done: export, mode, lists, actions in their order."""
        actions = [["subscribe", permit.contact_id, permit.list_id] for permit in self.additions]
        actions += [
            ["unsubscribe", permit.contact_id, permit.list_id]
            if permit.onto is None
            else ["move", permit.contact_id, permit.list_id, permit.onto.list_id]
            for permit in self.removals
        ]
        content = [self.export, self.mode, self.undoes, self.live.list_id, actions]
        return hashlib.blake2b(orjson.dumps(content), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Place:
    """Where an export's facts are. `schema` holds audience, outcomes and plans; `folder` holds the list;
    `folder_schema`: the schema of the import that reads this folder, None if there is none."""

    warehouse: Warehouse
    schema: str
    folder: Folder
    folder_schema: str | None
    clock: Clock
    """Gives aware times."""


@dataclass(frozen=True)
class Facts:
    """Everything that a plan is made of. Contact ids are those of the list's client folder."""

    export: Export
    live: LiveList
    holding: LiveList | None
    """The list that people are moved to."""
    audience_version: str
    members: tuple[str, ...]
    """Those who entered the audience first come first."""
    member_ids: Mapping[str, str]
    unmatched: Mapping[str, str]
    left_out: Mapping[str, str]
    contacts: Mapping[str, Contact]
    reader: Contacts
    """Reads contacts again, as they were read for the plan."""
    histories: Mapping[str, History]
    """By list id."""
    refused: Mapping[str, frozenset[str]]
    """By list id."""
    left_anywhere: frozenset[str] | None
    """Who left any list, live or by history; None: not asked."""
    erased: frozenset[str]
    memory: Memory
    settled: tuple[Settled, ...]
    now: datetime

    def evidence(self, contact_id: str, on: LiveList) -> Evidence:
        """What is known of a contact and a list."""
        contact = self.contacts.get(contact_id)
        history = self.histories[on.list_id]
        return Evidence(
            contact_status=contact.status if contact else None,
            read_at=contact.read_at if contact else self.now,
            subscription_status=on.statuses.get(contact_id, Subscription.ABSENT),
            seen_unsubscribed=contact_id in history.seen_unsubscribed,
            unsubscribed_by_message=contact_id in history.unsubscribed_by_message,
            unsubscribed_elsewhere=Elsewhere.NOT_ASKED
            if self.left_anywhere is None
            else contact_id in self.left_anywhere,
            refused_before=contact_id in self.refused[on.list_id],
            erased=contact_id in self.erased,
            exclusion=contact.exclusion if contact else None,
        )


def make_plan(place: Place, export: Export) -> Plan:
    """Plan an export from facts read now.

    Costs the pages of the lists, of the export's list and of the list it moves people to, and one request per 50
    people who may be added or moved, or the pages of all contacts where those are fewer; for another folder one
    request per member; for `consent: strict` the pages of every list. Raises PlanError, and the errors of iContact:
    what is not read whole makes no plan.
    """
    return plan_from(gather(place, export))


def gather(place: Place, export: Export) -> Facts:
    """Read everything that a plan of this export needs. Raises PlanError, and the errors of iContact."""
    lists = Lists()
    place.folder.lists(lists)
    live = lists.named(export.list, "list")
    to = export.remove.move_to if export.remove else None
    holding = lists.named(to, "remove.move_to") if to is not None else None
    if holding is not None and holding.list_id == live.list_id:
        raise PlanError(f"`remove.move_to` names the list {live.list_id} of the export itself. Name another list.")
    with place.warehouse.read() as connection:
        try:
            choice = chosen(connection, place.schema, export)
        except ChoiceError as error:
            raise PlanError(f"{error} Nobody is added or removed by a membership that may be wrong.") from error
        wanted = [sys.intern(id_) for id_ in choice.members]
        known = addresses(connection, place.schema, wanted) if export.folder is not None else {}
        memory = read_memory(connection, place.schema, export.name, live.list_id, place.clock())
        exclusions = read_exclusions(export, connection, place.schema)
    found = Found.by_id(wanted) if export.folder is None else _by_address(place, wanted, known, exclusions)
    found.left_out = choice.left_out
    on = [live] if holding is None else [live, holding]
    for each in on:
        each.read(place.folder)
    reread_if_shrunken(place, live, memory)
    settled = settle(place, memory.unsettled, on)
    memory = replace(memory, sights=with_settled(memory.sights, settled, live.list_id))
    candidates = [contact_id for contact_id in found.members if not live.holds(contact_id)]
    if holding is not None:
        sights, _ = compare(memory, live, found.member_ids)
        candidates += leaving(export, live, sights, belonging(found.members, found.unmatched, memory.sights))
    return complete(
        place,
        export,
        lists,
        on,
        found,
        candidates,
        exclusions,
        memory,
        settled,
        holding=holding,
        audience_version=version_hash(wanted),
    )


def complete(
    place: Place,
    export: Export,
    lists: Lists,
    on: Sequence[LiveList],
    found: Found,
    candidates: Sequence[str],
    exclusions: ExclusionList,
    memory: Memory,
    settled: tuple[Settled, ...],
    *,
    holding: LiveList | None,
    audience_version: str,
) -> Facts:
    """The facts, once it is known whom the plan may be about: `candidates`, and the lists `on`, the export's first.

    Reads the contacts, for `consent: strict` every list, and what the warehouse holds against them.
    """
    member_ids = {id_: sight.member_id for id_, sight in memory.sights.items() if sight.member_id} | found.member_ids
    with place.warehouse.read() as connection:
        total = contacts_stored(connection, place.folder_schema) if place.folder_schema else None
        histories = {
            each.list_id: read_history(connection, place.folder_schema, candidates, each.list_id)
            if place.folder_schema
            else History()
            for each in on
        }
        refusals = {each.list_id: refused(connection, place.schema, each.list_id) for each in on}
        seen = {each.list_id: seen_unsubscribed(connection, place.schema, [each.list_id]) for each in on}
        erased = frozenset[str]().union(*(history.erased for history in histories.values()))
        elsewhere = seen_unsubscribed(connection, place.schema, lists.names)
        elsewhere = elsewhere.union(*(history.elsewhere for history in histories.values()))
        if place.folder_schema != place.schema:
            asked = {contact_id: member_ids[contact_id] for contact_id in candidates if contact_id in member_ids}
            source = read_history(connection, place.schema, asked.values(), "")
            erased |= {contact_id for contact_id, member_id in asked.items() if member_id in source.erased}
            elsewhere |= {contact_id for contact_id, member_id in asked.items() if member_id in source.elsewhere}
    left = elsewhere | _left_any_list(place.folder, lists, on) if export.consent == "strict" else None
    reader = Contacts(place.folder, exclusions, member_ids, total, place.clock)
    contacts = found.contacts | reader.read([id_ for id_ in candidates if id_ not in found.contacts])
    return Facts(
        export=export,
        live=on[0],
        holding=holding,
        audience_version=audience_version,
        members=tuple(found.members),
        member_ids=member_ids,
        unmatched=found.unmatched,
        left_out=found.left_out,
        contacts=contacts,
        reader=reader,
        histories={
            list_id: replace(history, seen_unsubscribed=history.seen_unsubscribed | seen[list_id])
            for list_id, history in histories.items()
        },
        refused=refusals,
        left_anywhere=left,
        erased=erased,
        memory=memory,
        settled=settled,
        now=place.clock(),
    )


def plan_from(facts: Facts) -> Plan:
    """The plan that follows from the facts. Pure."""
    export, live, memory = facts.export, facts.live, facts.memory
    sights, foreign = compare(memory, live, facts.member_ids)
    permits: list[Permit] = []
    denials: list[Denial] = []
    already = tuple(contact_id for contact_id in facts.members if live.holds(contact_id))
    off = frozenset(foreign.standing_off) if export.foreign_changes != "repair" else frozenset()
    for contact_id in facts.members:
        if live.holds(contact_id):
            continue
        evidence = facts.evidence(contact_id, live)
        decision = decide(contact_id, live.list_id, evidence)
        if isinstance(decision, Denial):
            denials.append(decision)
        elif contact_id in off:
            denials.append(Denial(contact_id, "was taken off the list by others", evidence))
        else:
            permits.append(decision)
    most = allowance(export.pace, memory.added_at, facts.now)
    additions = tuple(permits[:most])
    removals, denied_removals = _removals(facts, sights) if export.mode == "mirror" else ((), ())
    made = Plan(
        export=export.name,
        mode=export.mode,
        undoes=None,
        live=live,
        audience_version=facts.audience_version,
        members=len(facts.members) + len(facts.unmatched) + len(facts.left_out),
        additions=additions,
        removals=removals,
        already=already,
        waiting=tuple(permit.contact_id for permit in permits[len(additions) :]),
        denials=tuple(denials),
        denied_removals=denied_removals,
        unmatched=facts.unmatched,
        left_out=facts.left_out,
        foreign=foreign,
        settled=facts.settled,
        sights=sights,
        member_ids=facts.member_ids,
        quiet_until=quiet_until(export.pace, facts.now),
        reader=facts.reader,
        others={} if facts.holding is None else {facts.holding.list_id: facts.holding},
    )
    return with_limits(made, export, made.chosen, memory.last_chosen)


def with_limits(made: Plan, export: Export, size: int | None, last_size: int | None) -> Plan:
    """The plan with the limits that it exceeds. `size`: of the audience without those left out, None
    where there is none."""
    figures = Figures(size, last_size, made.adds, made.removes, made.live.size)
    return replace(made, exceeded=exceeded(export.limits, figures))


def _removals(facts: Facts, sights: Mapping[str, Sight]) -> tuple[tuple[RemovalPermit, ...], tuple[DeniedRemoval, ...]]:
    """Those on the list who do not belong there and may be removed. Others' people are not even asked about."""
    live, onto = facts.live, facts.holding
    wanted = belonging(facts.members, facts.unmatched, facts.memory.sights)
    ours = removable(facts.export)
    permits, denied = [], []
    for contact_id in leaving(facts.export, live, sights, wanted):
        decision = remove(
            facts,
            contact_id,
            live,
            onto,
            ours=sights[contact_id].changed_by in ours,
            wanted=contact_id in wanted,
        )
        if isinstance(decision, RemovalPermit):
            permits.append(decision)
        else:
            denied.append(DeniedRemoval(decision, live.list_id, onto.list_id if onto else None))
    return tuple(permits), tuple(denied)


def belonging(members: Iterable[str], unmatched: Mapping[str, str], sights: Mapping[str, Sight]) -> frozenset[str]:
    """Who belongs on the list: the members, and those who once stood for a member that cannot be found now. Pure."""
    lost = {contact_id for contact_id, sight in sights.items() if sight.member_id in unmatched}
    return frozenset(members) | lost


def removable(export: Export) -> frozenset[str]:
    """By whose doing people are on the list whom a mirror may remove: see `changed_by` of export_members. Pure."""
    if not export.adopt_existing:
        return frozenset({"export"})
    others = {"others"} if export.foreign_changes == "repair" else set[str]()
    return frozenset({"export", "before"} | others)


def leaving(export: Export, live: LiveList, sights: Mapping[str, Sight], wanted: frozenset[str]) -> list[str]:
    """Who is on the list, does not belong there and may be removed, by ascending id. Pure."""
    ours = removable(export)
    return sorted(
        (id_ for id_ in live.statuses if live.holds(id_) and id_ not in wanted and sights[id_].changed_by in ours),
        key=as_number,
    )


def remove(
    facts: Facts, contact_id: str, off: LiveList, onto: LiveList | None, *, ours: bool, wanted: bool
) -> RemovalPermit | Denial:
    """The decision to take a contact off one list and, if `onto` is given, to put it on another."""
    return decide_removal(
        contact_id,
        off.list_id,
        RemovalEvidence(
            subscription_status=off.statuses.get(contact_id, Subscription.ABSENT),
            ours=ours,
            wanted=wanted,
            onto=None if onto is None else decide(contact_id, onto.list_id, facts.evidence(contact_id, onto)),
        ),
    )


def as_number(contact_id: str) -> tuple[int, str]:
    """A key that orders contact ids as numbers."""
    return (int(contact_id) if contact_id.isdecimal() else 0, contact_id)


def compare(memory: Memory, live: LiveList, member_ids: Mapping[str, str]) -> tuple[dict[str, Sight], ForeignChanges]:
    """The list as it is, with who made it so: what differs from what the export last saw or did, others did. Pure.

    Whoever was once seen unsubscribed and is now gone stays `unsubscribed`: it is remembered, not forgiven.
    """
    found_by = "before" if memory.compared_at is None else "others"
    sights: dict[str, Sight] = {}
    changed: set[str] = set()
    for contact_id, status in live.statuses.items():
        before = memory.sights.get(contact_id)
        if before is not None and before.status == status:
            sights[contact_id] = before
        else:
            sights[contact_id] = Sight(status, found_by, member_ids.get(contact_id))
            changed.add(contact_id)
    for contact_id, before in memory.sights.items():
        if contact_id in live.statuses:
            continue
        if before.status in ("absent", "unsubscribed"):
            sights[contact_id] = before
        else:
            sights[contact_id] = Sight("absent", found_by, before.member_id)
            changed.add(contact_id)

    def those(status: str, among: Iterable[str]) -> tuple[str, ...]:
        return tuple(
            sorted(
                (id_ for id_ in among if sights[id_].status == status and sights[id_].changed_by == "others"),
                key=as_number,
            )
        )

    foreign = ForeignChanges(
        since=memory.compared_at,
        put_on=those("normal", changed),
        taken_off=those("absent", changed),
        left=those("unsubscribed", changed),
        standing_on=those("normal", sights),
        standing_off=those("absent", sights),
    )
    return sights, foreign


def reread_if_shrunken(place: Place, live: LiveList, memory: Memory) -> None:
    """Read a list a second time that lost many people since it was last seen: an empty answer is not an empty list.

    Raises PlanError if the two readings differ, and the errors of iContact.
    """
    seen = [contact_id for contact_id, sight in memory.sights.items() if sight.status == "normal"]
    gone = sum(contact_id not in live.statuses for contact_id in seen)
    if gone <= _MANY or gone <= _MANY_SHARE * len(seen):
        return
    first = dict(live.statuses)
    pause()
    live.read(place.folder)
    if live.statuses != first:
        raise PlanError(
            f"The list {live.list_id} lost {gone} of {len(seen)} people at once, and a second reading did not agree. "
            "Run again when it has come to rest."
        )


def settle(place: Place, unsettled: Sequence[Written], known: Iterable[LiveList]) -> tuple[Settled, ...]:
    """What became of writes whose outcome is not known, by the lists as they are; `known` are those read already.

    Where a list does not show a write, it is read once more after a pause. Raises PlanError and the errors of iContact.
    """
    lists = {on.list_id: on for on in known}
    for written in unsettled:
        for list_id in (written.list_id, written.to_list_id):
            if list_id is not None and list_id not in lists:
                lists[list_id] = LiveList(list_id)
                lists[list_id].read(place.folder)
    doubtful = [written for written in unsettled if outcome_of(written, lists) == "failed"]
    if doubtful:
        pause()
        for list_id in {
            id_ for written in doubtful for id_ in (written.list_id, written.to_list_id) if id_ is not None
        }:
            lists[list_id].read(place.folder)
    return tuple(Settled(written, outcome_of(written, lists)) for written in unsettled)


def outcome_of(written: Written, lists: Mapping[str, LiveList]) -> str:
    """What became of a write, by the lists that it was about. Pure."""
    on = lists[written.list_id]
    if written.action == "subscribe":
        return "added" if on.holds(written.contact_id) else "failed"
    if written.action == "unsubscribe":
        return "unsubscribed" if on.statuses.get(written.contact_id) == "unsubscribed" else "failed"
    moved = written.to_list_id is not None and lists[written.to_list_id].holds(written.contact_id)
    return "moved" if moved and not on.holds(written.contact_id) else "failed"


def with_settled(sights: Mapping[str, Sight], settled: Sequence[Settled], list_id: str) -> dict[str, Sight]:
    """What the export last saw or did, the settled writes counted in."""
    known = dict(sights)
    for item in settled:
        sight = sight_after(item.outcome, item.written.list_id, item.written.to_list_id, list_id)
        if sight is not None:
            known[item.written.contact_id] = replace(sight, member_id=item.written.member_id)
    return known


def sight_after(outcome: str, list_id: str, to_list_id: str | None, on: str) -> Sight | None:
    """What a write left behind on the list `on`; None if nothing."""
    if outcome == "added" and list_id == on:
        return Sight("normal", "export")
    if outcome == "unsubscribed" and list_id == on:
        return Sight("unsubscribed", "export")
    if outcome == "moved" and list_id == on:
        return Sight("absent", "export")
    if outcome == "moved" and to_list_id == on:
        return Sight("normal", "export")
    return None


@dataclass
class Found:
    """The members of an audience, as far as the export is for them, in the list's client folder."""

    members: list[str] = field(default_factory=list)
    member_ids: dict[str, str] = field(default_factory=dict)
    contacts: dict[str, Contact] = field(default_factory=dict)
    unmatched: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def by_id(cls, wanted: Sequence[str]) -> Found:
        return cls(list(wanted), {contact_id: contact_id for contact_id in wanted})


def _by_address(place: Place, wanted: Sequence[str], known: Mapping[str, str], exclusions: ExclusionList) -> Found:
    """The members of an audience in another folder, each looked up by exact address. Nobody is created there."""
    found = Found()
    for member_id in wanted:
        address = known.get(member_id)
        if address is None:
            found.unmatched[member_id] = "has no address in the audience's client folder"
            continue
        at = place.clock()
        try:
            rows = place.folder.contacts_by_email(address)
        except ValueError as error:
            found.unmatched[member_id] = str(error)
            continue
        ids = [as_id(row.get("contactId")) for row in rows]
        contact_id = ids[0] if len(ids) == 1 else None
        if contact_id is None:
            found.unmatched[member_id] = (
                "is not in the list's client folder" if not ids else "cannot be told from another in the list's folder"
            )
        elif contact_id in found.member_ids:
            found.unmatched[member_id] = "is the same person there as another member"
        else:
            found.members.append(contact_id)
            found.member_ids[contact_id] = member_id
            reader = Contacts(place.folder, exclusions, found.member_ids, None, place.clock)
            found.contacts[contact_id] = reader.of(contact_id, rows[0], at)
    return found


def _left_any_list(folder: Folder, lists: Lists, known: Sequence[LiveList]) -> frozenset[str]:
    """Everybody unsubscribed from any list of the folder, each list read whole; `known` are those read already."""
    read = {on.list_id: on for on in known}
    left = set[str]()
    for list_id in lists.names:
        on = read.get(list_id)
        if on is None:
            on = LiveList(list_id)
            on.read(folder)
        left |= {contact_id for contact_id, status in on.statuses.items() if status == "unsubscribed"}
    return frozenset(left)


def read_exclusions(export: Export, connection: duckdb.DuckDBPyConnection, schema: str) -> ExclusionList:
    try:
        return read_exclusion_list(export.never, connection, schema)
    except ExclusionError as error:
        raise PlanError(f"{error} Nobody is added without it.") from error
