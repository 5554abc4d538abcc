"""What an export is to do: audience, live list, live contacts, stored history and exclusion list make a plan."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain

import duckdb
import orjson

from icontact_assets.audiences.audience import version_hash
from icontact_assets.exports.choice import ChoiceError, chosen
from icontact_assets.exports.consent import (
    Denial,
    Permit,
    RemovalEvidence,
    RemovalPermit,
    decide,
    decide_removal,
    is_fresh,
)
from icontact_assets.exports.history import (
    Memory,
    Sight,
    Written,
    addresses,
    contacts_stored,
    lists_before,
    read_memory,
)
from icontact_assets.exports.knowledge import (
    Knowledge,
    Shelf,
    Watch,
    erased,
    read_opt_outs,
    stored_addresses,
)
from icontact_assets.exports.limits import Exceeded, Figures, exceeded
from icontact_assets.exports.live import Clock, Contact, Contacts, Lists, LiveList, PlanError, pause
from icontact_assets.exports.outcomes import Outcome
from icontact_assets.exports.pace import allowance, quiet_until
from icontact_assets.exports.person import normal_address
from icontact_assets.exports.suppression import ExclusionError, ExclusionList, read_exclusion_list
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.values import as_id
from icontact_assets.settings.models import Export
from icontact_assets.warehouse.warehouse import Warehouse

OPEN_FOR = timedelta(hours=24)
"""How long a write is looked for on a list that does not show it."""

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
    """What became of a write whose outcome was not known."""

    written: Written
    outcome: Outcome
    reason: str


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
    knowledge: Knowledge
    """What is known against people; it grows while the plan is applied."""
    contacts: dict[str, Contact | None]
    """The contacts as read last; None: there is no such one."""
    additions: tuple[Permit, ...]
    """Those who entered the audience first come first. Those whose last add failed come after all others."""
    removals: tuple[RemovalPermit, ...]
    already: tuple[str, ...] = ()
    waiting: tuple[Permit, ...] = ()
    """In the order in which they take the places of those who could not be added."""
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
    elsewhere: tuple[str, ...] = ()
    """The lists that `consent: strict` asks about."""

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
        actions = chain(
            (["subscribe", permit.contact_id, permit.list_id] for permit in self.additions),
            (
                ["unsubscribe", permit.contact_id, permit.list_id]
                if permit.onto is None
                else ["move", permit.contact_id, permit.list_id, permit.onto.list_id]
                for permit in self.removals
            ),
        )
        # Piece by piece, the bytes of one JSON array: there may be very many actions.
        digest = hashlib.blake2b(
            orjson.dumps([self.export, self.mode, self.undoes, self.live.list_id])[:-1], digest_size=16
        )
        before = b",["
        for action in actions:
            digest.update(before + orjson.dumps(action))
            before = b","
        digest.update(b",[]]" if before == b",[" else b"]]")
        return digest.hexdigest()


@dataclass(frozen=True)
class Place:
    """Where an export's facts are. `schema` holds audience, outcomes and plans; `folder` holds the list;
    `folder_schema`: the schema of the import that reads this folder, None if there is none. The `watch` observes
    everything that is read of the folder."""

    warehouse: Warehouse
    schema: str
    folder: Folder
    folder_schema: str | None
    clock: Clock
    """Gives aware times."""
    watch: Watch = field(default_factory=Watch)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", self.folder.watched(self.watch))

    @property
    def shelf(self) -> Shelf:
        """Where opt-outs and addresses of the list's client folder are kept."""
        if self.folder_schema is not None:
            return Shelf(self.folder_schema, "", imported=True)
        return Shelf(self.schema, self.folder.key, imported=False)

    @property
    def records(self) -> frozenset[str]:
        """The schemas with records of exports to the list's client folder."""
        return frozenset({self.schema, self.folder_schema or self.schema})

    def remember(self) -> None:
        """Store what the watch saw, in a transaction of its own."""
        if self.watch.unsaved:
            with self.warehouse.write("recording opt-outs") as connection:
                self.watch.store(connection, self.shelf, self.clock())

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Whatever becomes of the block: what any answer in it showed is stored."""
        try:
            yield
        finally:
            self.remember()


@dataclass(frozen=True)
class Facts:
    """Everything that a plan is made of. Contact ids are those of the list's client folder."""

    export: Export
    live: LiveList
    holding: LiveList | None
    """The list that people are moved to."""
    elsewhere: tuple[str, ...]
    """The lists that `consent: strict` asks about."""
    audience_version: str
    members: tuple[str, ...]
    """Those who entered the audience first come first."""
    member_ids: Mapping[str, str]
    unmatched: Mapping[str, str]
    left_out: Mapping[str, str]
    contacts: dict[str, Contact | None]
    reader: Contacts
    """Reads contacts again, as they were read for the plan."""
    knowledge: Knowledge
    memory: Memory
    settled: tuple[Settled, ...]
    now: datetime

    def decide(self, contact_id: str, on: LiveList) -> Permit | Denial:
        """Whether a contact may be put on a list."""
        evidence = self.knowledge.evidence(contact_id, self.contacts.get(contact_id), on, self.now)
        return decide(contact_id, on.list_id, evidence)


def make_plan(place: Place, export: Export) -> Plan:
    """Plan an export from facts read now.

    Costs the pages of the lists, of the export's list and of the list it moves people to, and one request per 50
    people who may be added or moved, or the pages of all contacts where those are fewer; for another folder one
    request per member; for `consent: strict` the pages of every list. Raises PlanError, and the errors of iContact:
    what is not read whole makes no plan.
    """
    with place.remembering():
        return plan_from(gather(place, export))


def gather(place: Place, export: Export) -> Facts:
    """Read everything that a plan of this export needs. Raises PlanError, and the errors of iContact."""
    lists = Lists()
    place.folder.lists(lists)
    live = lists.named(export.list, "list")
    to = export.remove.move_to if export.remove else None
    holding = lists.named(to, "remove.move_to") if to is not None else None
    _same_lists(place, export, live, holding)
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
        each.read(place.folder, place.clock)
    reread_if_shrunken(place, live, memory)
    settled = settle(place, memory.unsettled, lists, on)
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
    member_ids: Mapping[str, str] = found.member_ids
    if export.folder is not None:
        seen = {id_: sight.member_id for id_, sight in memory.sights.items() if sight.member_id}
        member_ids = {**seen, **found.member_ids}
    strict = export.consent == "strict"
    knowledge = Knowledge(place.watch, place.shelf, exclusions, strict=strict)
    if strict:
        read_other_lists(place, knowledge, lists.names, on)
    source = {} if place.folder_schema == place.schema else {id_: member_ids.get(id_, "") for id_ in candidates}
    with place.warehouse.read() as connection:
        total = contacts_stored(connection, place.folder_schema) if place.folder_schema else None
        knowledge.add(read_opt_outs(connection, place.shelf, place.records, [each.list_id for each in on]))
        if place.folder_schema:
            knowledge.erased |= erased(connection, place.folder_schema, candidates)
        if source:
            _add_source(connection, place.schema, source, knowledge)
        place.watch.are_stored(stored_addresses(connection, place.shelf, candidates))
    if candidates:
        knowledge.learn(place.warehouse, place.folder)
    reader = Contacts(place.folder, exclusions, member_ids, total, place.clock, place.watch)
    contacts: dict[str, Contact | None] = {**reader.read([id_ for id_ in candidates if id_ not in found.contacts])}
    contacts.update(found.contacts)
    with place.warehouse.read() as connection:
        for contact_id, email in stored_addresses(connection, place.shelf, candidates):
            now = contacts.get(contact_id)
            if email is not None and (now is None or normal_address(email) != now.address):
                knowledge.had(contact_id, email, candidate=True)
    return Facts(
        export=export,
        live=on[0],
        holding=holding,
        elsewhere=tuple(lists.names) if strict else (),
        audience_version=audience_version,
        members=tuple(found.members),
        member_ids=member_ids,
        unmatched=found.unmatched,
        left_out=found.left_out,
        contacts=contacts,
        reader=reader,
        knowledge=knowledge,
        memory=memory,
        settled=settled,
        now=place.clock(),
    )


def _add_source(
    connection: duckdb.DuckDBPyConnection, schema: str, source: Mapping[str, str], knowledge: Knowledge
) -> None:
    """What the audience's own client folder holds against its members. `source`: contact ids of the list's client
    folder to those of the audience's."""
    shelf = Shelf(schema, "", imported=True)
    opt_outs = read_opt_outs(connection, shelf, (), ())
    knowledge.add(opt_outs, schema=schema)
    for contact_id, email in stored_addresses(connection, shelf, opt_outs.do_not_contact | opt_outs.anywhere):
        knowledge.had(f"{schema}/{contact_id}", email)
    gone = erased(connection, schema, source.values())
    of_member: dict[str, list[str]] = {}
    for contact_id, member_id in source.items():
        of_member.setdefault(member_id, []).append(contact_id)
        knowledge.stands_for(contact_id, f"{schema}/{member_id}")
        if member_id in gone:
            knowledge.erased.add(contact_id)
    for member_id, email in stored_addresses(connection, shelf, of_member):
        for contact_id in of_member[member_id]:
            knowledge.had(contact_id, email, candidate=True)


def read_other_lists(place: Place, knowledge: Knowledge, list_ids: Iterable[str], known: Sequence[LiveList]) -> None:
    """Read every list of the client folder whole, but for those that are `known`: the watch sees who left any."""
    began = place.clock()
    for list_id in set(list_ids) - {on.list_id for on in known}:
        LiveList(list_id).read(place.folder, place.clock)
    knowledge.elsewhere_at = min([began, *(on.read_at for on in known)])


def plan_from(facts: Facts) -> Plan:
    """The plan that follows from the facts. Pure."""
    export, live, memory = facts.export, facts.live, facts.memory
    sights, foreign = compare(memory, live, facts.member_ids)
    permits: list[Permit] = []
    denials: list[Denial] = []
    already = tuple(contact_id for contact_id in facts.members if live.holds(contact_id))
    off = frozenset(foreign.standing_off) if export.external_changes != "repair" else frozenset()
    for contact_id in facts.members:
        if live.holds(contact_id):
            continue
        decision = facts.decide(contact_id, live)
        if isinstance(decision, Denial):
            denials.append(decision)
        elif contact_id in off:
            denials.append(Denial(contact_id, "was taken off the list by others", decision.evidence))
        else:
            permits.append(decision)
    # Contacts that fail each time must not use up the requests and the pace of others.
    permits.sort(key=lambda permit: permit.contact_id in memory.failed)
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
        waiting=tuple(permits[len(additions) :]),
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
        knowledge=facts.knowledge,
        contacts=facts.contacts,
        elsewhere=facts.elsewhere,
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

    def late(contact_id: str) -> bool:
        # Where iContact refuses to move somebody onto a list that holds them, that is not in the way of others.
        return contact_id in facts.memory.failed or (onto is not None and onto.holds(contact_id))

    for contact_id in sorted(leaving(facts.export, live, sights, wanted), key=late):
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
    others = {"external"} if export.external_changes == "repair" else set[str]()
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
    status, read_at = off.status(contact_id)
    return decide_removal(
        contact_id,
        off.list_id,
        RemovalEvidence(
            subscription_status=status,
            list_read_at=read_at,
            ours=ours,
            wanted=wanted,
            onto=None if onto is None else facts.decide(contact_id, onto),
        ),
    )


def as_number(contact_id: str) -> tuple[int, str]:
    """A key that orders contact ids as numbers."""
    return (int(contact_id) if contact_id.isdecimal() else 0, contact_id)


def compare(memory: Memory, live: LiveList, member_ids: Mapping[str, str]) -> tuple[dict[str, Sight], ForeignChanges]:
    """The list as it is, with who made it so: what differs from what the export last saw or did, others did. Pure.

    Whoever was once seen unsubscribed and is now gone stays `unsubscribed`: it is remembered, not forgiven.
    """
    found_by = "before" if memory.compared_at is None else "external"
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
                (id_ for id_ in among if sights[id_].status == status and sights[id_].changed_by == "external"),
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


def _same_lists(place: Place, export: Export, live: LiveList, holding: LiveList | None) -> None:
    """Refuses a list that took the name of another: who left that one may not be put on this. Raises PlanError."""
    with place.warehouse.read() as connection:
        before = lists_before(connection, place.schema, export.name)
    to = export.remove.move_to if export.remove else None
    for key, named, on in (("list", export.list, live), ("remove.move_to", to, holding)):
        if named is None or on is None or before.get(named, on.list_id) == on.list_id:
            continue
        raise PlanError(
            f"The list {named!r} is another one than at the last run: its id was {before[named]} and is {on.list_id} "
            f"now. Who left the former list must not be put on a new one of its name. If it is the right list, write "
            f"its id as `{key}` of the export: {on.list_id}."
        )


def same_address(one: str, other: str) -> bool:
    """Whether two texts are one address."""
    return normal_address(one) is not None and normal_address(one) == normal_address(other)


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
    live.read(place.folder, place.clock)
    if live.statuses != first:
        raise PlanError(
            f"The list {live.list_id} lost {gone} of {len(seen)} people at once, and a second reading did not agree. "
            "Run again when it has come to rest."
        )


def settle(place: Place, unsettled: Sequence[Written], lists: Lists, known: Iterable[LiveList]) -> tuple[Settled, ...]:
    """What became of writes whose outcome is not known, by the lists as they are; `known` are those read already.

    A write that no list shows stays `unconfirmed` for a day, since its effect may show late; after that it failed. If
    it was sent within the last ten minutes, the lists are read once more after a pause. Of a list that was deleted
    nothing can be found out. Raises PlanError and the errors of iContact.
    """
    on = {each.list_id: each for each in known}
    now = place.clock()
    there = [written for written in unsettled if written.lists <= lists.names.keys()]
    last = {(written.contact_id, written.action, written.list_id): written for written in unsettled}
    for list_id in {list_id for written in there for list_id in written.lists} - on.keys():
        on[list_id] = LiveList(list_id)
        on[list_id].read(place.folder, place.clock)
    recent = [w for w in there if is_fresh(w.recorded_at, now) and outcome_of(w, on) is None]
    if recent:
        pause()
        for list_id in {list_id for written in recent for list_id in written.lists}:
            on[list_id].read(place.folder, place.clock)

    def settled(written: Written) -> Settled:
        if written != last[written.contact_id, written.action, written.list_id]:
            return Settled(written, Outcome.FAILED, "what became of it was not known; a later run tried again")
        if not written.lists <= on.keys():
            return Settled(written, Outcome.FAILED, "a list that it was about was deleted")
        outcome = outcome_of(written, on)
        if outcome is not None:
            return Settled(written, outcome, "what became of it was not known; the list said so later")
        if now - written.recorded_at > OPEN_FOR:
            return Settled(written, Outcome.FAILED, "what became of it was not known; the list never showed it")
        return Settled(written, Outcome.UNCONFIRMED, "what became of it is not known; the list does not show it so far")

    return tuple(settled(written) for written in unsettled)


def outcome_of(written: Written, lists: Mapping[str, LiveList]) -> Outcome | None:
    """What became of a write, by the lists that it was about; None: they do not tell. Pure."""
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


def with_settled(sights: dict[str, Sight], settled: Sequence[Settled], list_id: str) -> dict[str, Sight]:
    """What the export last saw or did, the settled writes counted in."""
    if not settled:
        return sights
    known = dict(sights)
    for item in settled:
        sight = sight_after(item.outcome, item.written.list_id, item.written.to_list_id, list_id)
        if sight is not None:
            known[item.written.contact_id] = replace(sight, member_id=item.written.member_id)
    return known


def sight_after(outcome: Outcome, list_id: str, to_list_id: str | None, on: str) -> Sight | None:
    """What a write left behind on the list `on`; None if nothing."""
    if outcome == Outcome.ADDED and list_id == on:
        return Sight("normal", "export")
    if outcome == Outcome.UNSUBSCRIBED and list_id == on:
        return Sight("unsubscribed", "export")
    if outcome == Outcome.MOVED and list_id == on:
        return Sight("absent", "export")
    if outcome == Outcome.MOVED and to_list_id == on:
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
            rows = place.folder.contacts_by_email(address, same_address)
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
            reader = Contacts(place.folder, exclusions, found.member_ids, None, place.clock, place.watch)
            found.contacts[contact_id] = reader.of(contact_id, rows[0], at)
    return found


def read_exclusions(export: Export, connection: duckdb.DuckDBPyConnection, schema: str) -> ExclusionList:
    """The exclusion list of an export, by person: a contact id on it also stands for every address it ever had.
    Raises PlanError."""
    try:
        exclusions = read_exclusion_list(export.suppression, connection, schema)
    except ExclusionError as error:
        raise PlanError(f"{error} Nobody is added without it.") from error
    if not exclusions.contact_ids:
        return exclusions
    stored = stored_addresses(connection, Shelf(schema, "", imported=True), exclusions.contact_ids)
    found = {normal_address(email) for _, email in stored if email is not None}
    return replace(exclusions, emails=exclusions.emails | {address for address in found if address is not None})
