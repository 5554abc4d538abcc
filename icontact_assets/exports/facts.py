"""Reads what a plan needs: audience, live lists, live contacts, stored history, suppression list. Has the plan made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import duckdb

from icontact_assets.audiences.audience import version_hash
from icontact_assets.exports.choice import ChoiceError, chosen
from icontact_assets.exports.compare import compare, lost, resolve
from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.history import (
    Shelf,
    contacts_stored,
    erased,
    latest_addresses,
    other_addresses,
    read_opt_outs,
    stored_addresses,
)
from icontact_assets.exports.knowledge import Knowledge
from icontact_assets.exports.live import Contact, Contacts, Lists, LiveList, PlanError, Targets, pause
from icontact_assets.exports.memory import Memory, Sight, lists_before, read_memory, stored_member_ids
from icontact_assets.exports.person import normal_address
from icontact_assets.exports.plan import Facts, Matched, Plan, belonging, leaving, plan_from
from icontact_assets.exports.suppression import SuppressionError, SuppressionList, read_suppression_list
from icontact_assets.icontact.errors import NotFound
from icontact_assets.icontact.values import as_id, as_text
from icontact_assets.settings.models import Export

_MANY, _MANY_SHARE = 50, 0.2
"""If more people than this, and more than this share of the list, are gone, the list is read a second time."""

_ASKED_ALONE = 100
"""Contacts of unknown address that are asked for one by one in one run, after 50 at a time did not show them."""


def make_plan(context: ExportContext, export: Export) -> Plan:
    """Plan an export from facts read now.

    Costs the pages of the lists, of the export's list and of the list it moves people to, and one request per 50
    people who may be added or moved, or the pages of all contacts where those are fewer. For another folder it costs
    one request per member. For `consent: strict` it costs the pages of every list. Raises PlanError, and the errors of
    iContact: what could not be read completely makes no plan.
    """
    with context.remembering():
        return plan_from(gather(context, export))


def gather(context: ExportContext, export: Export) -> Facts:
    """Read everything that a plan of this export needs. Raises PlanError, and the errors of iContact."""
    targets = _targets(context, export)
    live, holding = targets.live, targets.holding
    with context.warehouse.read() as connection:
        _check_same_lists(export, targets, lists_before(connection, export.name))
        if holding is not None and holding.list_id == live.list_id:
            raise PlanError(f"`remove.move_to` names the list {live.list_id} of the export itself. Name another list.")
        try:
            choice = chosen(connection, export)
        except ChoiceError as error:
            raise PlanError(f"{error} Nobody is added or removed by a membership that may be wrong.") from error
        wanted = choice.members
        addresses = latest_addresses(connection, wanted) if export.folder is not None else {}
        memory = read_memory(connection, export.name, live.list_id, context.clock())
        suppression = read_suppression(context, connection, export)
    matched = Matched(version_hash(wanted), left_out=choice.left_out)
    if export.folder is None:
        matched.members, matched.member_ids = wanted, {contact_id: contact_id for contact_id in wanted}
    else:
        _match(context, matched, wanted, addresses, suppression)
    for on in targets.lists:
        on.read(context.folder, context.clock)
    _reread_if_shrunken(context, export, live, memory)
    memory = resolve(context, memory, targets)

    def concerned(sights: Mapping[str, Sight], member_ids: Mapping[str, str]) -> list[str]:
        to_add = [contact_id for contact_id in matched.members if not live.holds(contact_id)]
        if holding is None:
            return to_add
        return to_add + leaving(export, live, sights, belonging(matched, member_ids))

    return complete(context, export, targets, matched, concerned, suppression, memory)


def _targets(context: ExportContext, export: Export) -> Targets:
    """The lists that the export names, not read yet. Raises PlanError if there is no such list."""
    lists = Lists()
    context.folder.lists(lists)
    live = lists.named(export.list, "list")
    to = export.remove.move_to if export.remove else None
    holding = lists.named(to, "remove.move_to") if to is not None else None
    return Targets(lists.names, (live,) if holding is None else (live, holding), holding)


def _check_same_lists(export: Export, targets: Targets, before: Mapping[str, str]) -> None:
    """Refuse a list that took the name of another: people who left that one may not be put on this one.

    `before`: the lists of the last runs, as the settings named them, to list id. Raises PlanError.
    """
    to = export.remove.move_to if export.remove else None
    for key, named, on in (("list", export.list, targets.live), ("remove.move_to", to, targets.holding)):
        if named is None or on is None or before.get(named, on.list_id) == on.list_id:
            continue
        raise PlanError(
            f"The list {named!r} is another one than at the last run: its id was {before[named]} and is {on.list_id} "
            f"now. Who left the former list must not be put on a new one of its name. If it is the right list, write "
            f"its id as `{key}` of the export: {on.list_id}."
        )


def complete(
    context: ExportContext,
    export: Export,
    targets: Targets,
    matched: Matched,
    concerned: Callable[[Mapping[str, Sight], Mapping[str, str]], Sequence[str]],
    suppression: SuppressionList,
    memory: Memory,
) -> Facts:
    """The facts, once the lists are read.

    `concerned` says who may be added or moved, given how the list is and the contact ids on it to those in the
    audience. Reads these contacts, for `consent: strict` every list, and what the tables hold against them.
    """
    strict = export.consent == "strict"
    knowledge = Knowledge(context.watch, suppression, strict=strict)
    if strict:
        read_other_lists(context, knowledge, targets.names, targets.lists)
    with context.warehouse.read() as connection:
        member_ids = _member_ids(connection, export, targets.live, matched, memory)
        # An undo has no members, and may be about anybody.
        staying = matched.member_ids if matched.members else {}
        sights, external = compare(connection, export.name, memory, targets.live, staying, member_ids)
        candidates = concerned(sights, member_ids)
        # How the contacts are read: it is not asked where none is.
        total = contacts_stored(connection, context.folder_schema) if context.folder_schema and candidates else None
        _read_history(context, connection, knowledge, targets, candidates)
        if context.folder_schema != context.schema:
            _read_source(context, connection, knowledge, {id_: member_ids.get(id_, "") for id_ in candidates})
        # Most addresses that the contacts will show are stored already. The watch need not hold those.
        context.watch.are_stored(stored_addresses(connection, context.shelf, candidates))
    if candidates:
        learn_addresses(context, knowledge)
    reader = Contacts(context.folder, suppression, member_ids, total, context.clock, context.watch)
    contacts: dict[str, Contact | None] = {**matched.contacts}
    contacts |= reader.read([id_ for id_ in candidates if id_ not in matched.contacts])
    with context.warehouse.read() as connection:
        # Few differ from those that the contacts show, and only these few are kept.
        known = (None if (now := contacts.get(id_)) is None else now.address for id_ in candidates)
        for contact_id, email in other_addresses(connection, context.shelf, candidates, known):
            now = contacts.get(contact_id)
            if email is not None and (now is None or normal_address(email) != now.address):
                knowledge.had(contact_id, email, candidate=True)
    return Facts(
        export=export,
        targets=targets,
        matched=matched,
        elsewhere=tuple(targets.names) if strict else (),
        member_ids=member_ids,
        contacts=contacts,
        reader=reader,
        knowledge=knowledge,
        memory=memory,
        sights=sights,
        external=external,
        now=context.clock(),
    )


def _member_ids(
    connection: duckdb.DuckDBPyConnection, export: Export, live: LiveList, matched: Matched, memory: Memory
) -> Mapping[str, str]:
    """Contact id on the list to contact id in the audience, where that is known."""
    if export.folder is None:
        return matched.member_ids
    seen = stored_member_ids(connection, export.name, live.list_id)
    for contact_id, sight in memory.effects.items():
        seen.pop(contact_id, None)
        if sight.member_id:
            seen[contact_id] = sight.member_id
    return {**seen, **matched.member_ids}


def _read_history(
    context: ExportContext,
    connection: duckdb.DuckDBPyConnection,
    knowledge: Knowledge,
    targets: Targets,
    candidates: Sequence[str],
) -> None:
    """What is stored of the list's client folder against anybody."""
    list_ids = [on.list_id for on in targets.lists]
    knowledge.add(read_opt_outs(connection, context.shelf, context.records, list_ids))
    if context.folder_schema:
        knowledge.erased |= erased(connection, context.folder_schema, candidates)


def _read_source(
    context: ExportContext,
    connection: duckdb.DuckDBPyConnection,
    knowledge: Knowledge,
    source: Mapping[str, str],
) -> None:
    """What the audience's own client folder holds against its members, where the list is in another one.

    `source`: contact ids of the list's client folder to those of the audience's.
    """
    if not source:
        return
    schema = context.schema
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


def read_other_lists(
    context: ExportContext, knowledge: Knowledge, list_ids: Iterable[str], known: Sequence[LiveList]
) -> None:
    """Read every list of the client folder in full, but for those that are `known`: the watch sees who left any."""
    began = context.clock()
    for list_id in set(list_ids) - {on.list_id for on in known}:
        LiveList(list_id).read(context.folder, context.clock)
    knowledge.elsewhere_at = min([began, *(on.read_at for on in known)])


def learn_addresses(context: ExportContext, knowledge: Knowledge) -> None:
    """Find the addresses of those who opted out and whose address is not known yet.

    They are in the tables. Else iContact is asked for these contacts, 50 a request, and for at most 100 that this does
    not show one by one. Costs nothing if nobody else was seen to opt out since the last call.
    """
    unknown = knowledge.unaddressed()
    if unknown:
        with context.warehouse.read() as connection:
            for contact_id, email in stored_addresses(connection, context.shelf, unknown):
                knowledge.had(contact_id, email)
        unknown &= knowledge.unaddressed()
        for contact_id, email in _asked_addresses(context, unknown).items():
            context.watch.address(contact_id, email)
            knowledge.had(contact_id, email)
    knowledge.learned()


def _asked_addresses(context: ExportContext, contact_ids: Iterable[str]) -> dict[str, str | None]:
    """The addresses of these contacts as iContact shows them now. None: it has none, or there is no such contact."""
    rows = context.folder.contacts_shown(sorted(contact_ids))
    # The newest first: they are the likeliest to be of use.
    hidden = sorted(set(contact_ids) - rows.keys(), key=lambda id_: (len(id_), id_), reverse=True)
    for contact_id in hidden[:_ASKED_ALONE]:
        try:
            rows[contact_id] = context.folder.contact(contact_id)
        except NotFound:
            rows[contact_id] = {}
    return {contact_id: as_text(row.get("email")) for contact_id, row in rows.items()}


def _reread_if_shrunken(context: ExportContext, export: Export, live: LiveList, memory: Memory) -> None:
    """Read a list a second time that lost many people since it was last seen: an empty answer is not an empty list.

    Raises PlanError if the two reads differ, and the errors of iContact.
    """
    if memory.normal <= _MANY:
        return
    with context.warehouse.read() as connection:
        gone = lost(connection, export.name, live)
    if gone <= _MANY or gone <= _MANY_SHARE * memory.normal:
        return
    first = dict(live.statuses)
    pause()
    live.read(context.folder, context.clock)
    if live.statuses != first:
        raise PlanError(
            f"The list {live.list_id} lost {gone} of {memory.normal} people at once, and a second read of it differed. "
            "Run again when it has come to rest."
        )


def _match(
    context: ExportContext,
    matched: Matched,
    wanted: Sequence[str],
    addresses: Mapping[str, str],
    suppression: SuppressionList,
) -> None:
    """Look up each member of an audience in the list's client folder, by exact address. Nobody is created there."""
    for member_id in wanted:
        address = addresses.get(member_id)
        if address is None:
            matched.unmatched[member_id] = "has no address in the audience's client folder"
            continue
        at = context.clock()
        try:
            rows = context.folder.contacts_by_email(address, same_address)
        except ValueError as error:
            matched.unmatched[member_id] = str(error)
            continue
        ids = [as_id(row.get("contactId")) for row in rows]
        contact_id = ids[0] if len(ids) == 1 else None
        if contact_id is None:
            matched.unmatched[member_id] = (
                "is not in the list's client folder" if not ids else "cannot be told from another in the list's folder"
            )
        elif contact_id in matched.member_ids:
            matched.unmatched[member_id] = "is the same person there as another member"
        else:
            matched.members.append(contact_id)
            matched.member_ids[contact_id] = member_id
            reader = Contacts(context.folder, suppression, matched.member_ids, None, context.clock, context.watch)
            matched.contacts[contact_id] = reader.of(contact_id, rows[0], at)


def same_address(one: str, other: str) -> bool:
    """Whether two texts are one address."""
    return normal_address(one) is not None and normal_address(one) == normal_address(other)


def read_suppression(context: ExportContext, connection: duckdb.DuckDBPyConnection, export: Export) -> SuppressionList:
    """The suppression list of an export, by person: a contact id on it also stands for every address it ever had.

    Raises PlanError.
    """
    try:
        suppression = read_suppression_list(export.suppression, connection)
    except SuppressionError as error:
        raise PlanError(f"{error} Nobody is added without it.") from error
    if not suppression.contact_ids:
        return suppression
    shelf = Shelf(context.schema, "", imported=True)
    found = {
        normal_address(email)
        for _, email in stored_addresses(connection, shelf, suppression.contact_ids)
        if email is not None
    }
    return replace(suppression, emails=suppression.emails | {address for address in found if address is not None})
