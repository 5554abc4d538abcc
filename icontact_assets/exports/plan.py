"""What an export is to do: the desired members against the live list make actions. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import chain

import orjson

from icontact_assets.exports.compare import ExternalChanges, as_number
from icontact_assets.exports.consent import (
    Denial,
    Permit,
    RemovalEvidence,
    RemovalPermit,
    decide,
    decide_removal,
)
from icontact_assets.exports.knowledge import Knowledge
from icontact_assets.exports.limits import Exceeded, Figures, exceeded
from icontact_assets.exports.live import Contact, Contacts, LiveList, Targets
from icontact_assets.exports.memory import Memory, Resolved, Sight
from icontact_assets.exports.pace import allowance, quiet_until
from icontact_assets.settings.models import Export


@dataclass
class Matched:
    """The members of an audience, matched with the contacts of the list's client folder."""

    version: str
    """The hash of those who are exported."""
    members: list[str] = field(default_factory=list)
    """Contact ids in the list's client folder. Those who entered the audience first come first."""
    member_ids: dict[str, str] = field(default_factory=dict)
    """These contact ids to those in the audience."""
    contacts: dict[str, Contact] = field(default_factory=dict)
    """Those that were read while they were matched."""
    unmatched: dict[str, str] = field(default_factory=dict)
    """Who is not in the list's client folder: contact id in the audience to the reason."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Who is not exported: contact id in the audience to the reason."""


@dataclass(frozen=True)
class Facts:
    """Everything that a plan is made of. Contact ids are those of the list's client folder."""

    export: Export
    targets: Targets
    matched: Matched
    elsewhere: tuple[str, ...]
    """The lists that `consent: strict` asks about."""
    member_ids: Mapping[str, str]
    """Contact id on the list to contact id in the audience, where that is known."""
    contacts: dict[str, Contact | None]
    """The contacts as read last. None: there is no such one."""
    reader: Contacts
    """Reads contacts again, as they were read for the plan."""
    knowledge: Knowledge
    memory: Memory
    sights: Mapping[str, Sight]
    """The list as it is, and who made it so: of those who are not there by this export and stay."""
    external: ExternalChanges
    """What others changed."""
    now: datetime

    @property
    def live(self) -> LiveList:
        """The export's own list."""
        return self.targets.live

    @property
    def holding(self) -> LiveList | None:
        """The list that people are moved to."""
        return self.targets.holding

    def decide(self, contact_id: str, on: LiveList) -> Permit | Denial:
        """Whether a contact may be put on a list."""
        evidence = self.knowledge.evidence(contact_id, self.contacts.get(contact_id), on, self.now)
        return decide(contact_id, on.list_id, evidence)


@dataclass(frozen=True)
class DeniedRemoval:
    """Somebody who should be removed from a list, or moved (back) to another, and may not be."""

    denial: Denial
    list_id: str
    """The list that the person stays on."""
    to_list_id: str | None
    """The list to move to. None: the person was to be unsubscribed."""


@dataclass(frozen=True)
class Plan:
    """What is to be done, and why the rest is not. Contact ids are those of the list's client folder.

    A member of the audience is in exactly one of `additions`, `waiting`, `already`, `denials`, `unmatched` and
    `left_out`.
    """

    export: str
    mode: str
    undoes: str | None
    """The run that an undo rolls back. None: it is no undo."""
    live: LiveList
    """The export's own list."""
    audience_version: str
    members: int
    """Size of the audience, those left out included."""
    reader: Contacts
    """Reads a contact again when its status is no longer fresh."""
    knowledge: Knowledge
    """What is known against people. It grows while the plan is applied."""
    contacts: dict[str, Contact | None]
    """The contacts as read last. None: there is no such one."""
    additions: tuple[Permit, ...]
    """Whom to add. Those who entered the audience first come first. Those whose last add failed come last."""
    removals: tuple[RemovalPermit, ...]
    """Whom to remove from a list, by moving or unsubscribing them. An undo also moves people back."""
    already: tuple[str, ...] = ()
    """Who is on the list already."""
    waiting: tuple[Permit, ...] = ()
    """Who has to wait for the pace, in the order in which they take the places of those who could not be added."""
    denials: tuple[Denial, ...] = ()
    """Who may not be added."""
    denied_removals: tuple[DeniedRemoval, ...] = ()
    """Who may not be removed or moved."""
    unmatched: Mapping[str, str] = field(default_factory=dict)
    """Who is not in the list's client folder: contact id in the audience to the reason."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Who is not exported: contact id in the audience to the reason."""
    external: ExternalChanges = field(default_factory=ExternalChanges)
    """What others changed."""
    resolved: tuple[Resolved, ...] = ()
    """What became of writes of former runs whose effect was not known."""
    sights: Mapping[str, Sight] = field(default_factory=dict)
    """The list as this comparison found it, and who made it so: of those who are not there by this export and stay."""
    member_ids: Mapping[str, str] = field(default_factory=dict)
    """Contact id on the list to contact id in the audience, where that is known."""
    exceeded: tuple[Exceeded, ...] = ()
    """The limits that the plan exceeds."""
    quiet_until: datetime | None = None
    """The end of the quiet hours (aware). None: it is no quiet hour."""
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
        """How many people the plan removes from the list."""
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


def plan_from(facts: Facts) -> Plan:
    """The plan that follows from the facts."""
    export, live, memory, matched = facts.export, facts.live, facts.memory, facts.matched
    external = facts.external
    permits: list[Permit] = []
    denials: list[Denial] = []
    already = tuple(contact_id for contact_id in matched.members if live.holds(contact_id))
    off = frozenset(external.still_off) if export.external_changes != "repair" else frozenset()
    for contact_id in matched.members:
        if live.holds(contact_id):
            continue
        decision = facts.decide(contact_id, live)
        if isinstance(decision, Denial):
            denials.append(decision)
        elif contact_id in off:
            denials.append(Denial(contact_id, "was removed from the list by others", decision.evidence))
        else:
            permits.append(decision)
    # Contacts that fail each time must not use up the requests and the pace of others.
    permits.sort(key=lambda permit: permit.contact_id in memory.failed)
    most = allowance(export.pace, memory.added_at, facts.now)
    additions = tuple(permits[:most])
    removals, denied_removals = _removals(facts) if export.mode == "mirror" else ((), ())
    made = Plan(
        export=export.name,
        mode=export.mode,
        undoes=None,
        live=live,
        audience_version=matched.version,
        members=len(matched.members) + len(matched.unmatched) + len(matched.left_out),
        additions=additions,
        removals=removals,
        already=already,
        waiting=tuple(permits[len(additions) :]),
        denials=tuple(denials),
        denied_removals=denied_removals,
        unmatched=matched.unmatched,
        left_out=matched.left_out,
        external=external,
        resolved=facts.memory.resolved,
        sights=facts.sights,
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
    """The plan with the limits that it exceeds. `size`: of the audience without those left out. None: there is none."""
    figures = Figures(size, last_size, made.adds, made.removes, made.live.size)
    return replace(made, exceeded=exceeded(export.limits, figures))


def _removals(facts: Facts) -> tuple[tuple[RemovalPermit, ...], tuple[DeniedRemoval, ...]]:
    """Those on the list who do not belong there and may be removed. People added by others are not considered."""
    live, onto, sights = facts.live, facts.holding, facts.sights
    wanted = belonging(facts.matched, facts.member_ids)
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


def belonging(matched: Matched, member_ids: Mapping[str, str]) -> Container[str]:
    """Who belongs on the list: the members, and those who once stood for a member that cannot be found now."""
    if not matched.unmatched:
        return matched.member_ids
    return matched.member_ids.keys() | {id_ for id_, member_id in member_ids.items() if member_id in matched.unmatched}


def removable(export: Export) -> frozenset[str]:
    """Who must have put a person on the list so that a mirror may remove it: see `changed_by` of export_members."""
    if not export.adopt_existing:
        return frozenset({"export"})
    external = {"external"} if export.external_changes == "repair" else set[str]()
    return frozenset({"export", "before"} | external)


def leaving(export: Export, live: LiveList, sights: Mapping[str, Sight], wanted: Container[str]) -> list[str]:
    """Who is on the list, does not belong there and may be removed, by ascending id."""
    ours = removable(export)
    return sorted(
        (id_ for id_, seen in sights.items() if live.holds(id_) and id_ not in wanted and seen.changed_by in ours),
        key=as_number,
    )


def remove(
    facts: Facts, contact_id: str, off: LiveList, onto: LiveList | None, *, ours: bool, wanted: bool
) -> RemovalPermit | Denial:
    """The decision to remove a contact from one list and, if `onto` is given, to put it on another."""
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
