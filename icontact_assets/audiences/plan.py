"""What an export is to do: the members of an audience against the live list, live statuses and stored history."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import duckdb
import orjson

from icontact_assets.audiences.audience import members, version_hash
from icontact_assets.audiences.consent import Denial, Evidence, Permit, Subscription, decide
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.listing import Known, Proof, Row
from icontact_assets.icontact.values import as_id, as_text
from icontact_assets.warehouse.warehouse import Warehouse

_IDS_PER_REQUEST = 50
_CONTACTS_PER_REQUEST = 500
_LISTS_SHOWN = 30


class PlanError(Exception):
    """There is no plan. One paragraph: what is wrong, and the remedy."""


@dataclass
class LiveList:
    """A list as iContact has it: contact id to status, of a whole, proven reading. A sink of its listing."""

    list_id: str
    statuses: dict[str, str | None] = field(default_factory=dict)
    unreadable: int = 0
    proof: Proof | None = None

    def start(self) -> None:
        self.statuses.clear()
        self.unreadable = 0
        self.proof = None

    def page(self, offset: int, rows: list[Row]) -> None:  # noqa: ARG002 (a Sink)
        for row in rows:
            contact_id = subscriber(row)
            status = as_text(row.get("status"))
            if contact_id is None:
                self.unreadable += 1
            elif self.statuses.get(contact_id, "normal") == "normal":
                # Should a contact stand twice on a list, the row that speaks against it counts.
                self.statuses[contact_id] = status

    def read(self, folder: Folder, *, whole: bool = True) -> None:
        """Read the list; unless `whole`, only what follows the last reading, whose end must still be there, or all.

        Raises PlanError if a row names no contact; Incomplete and the other errors of iContact.
        """
        known = None if whole or self.proof is None else Known(self.proof.total, self.proof.tail, head=())
        self.proof = folder.subscriptions(self.list_id, self, known)
        if self.unreadable:
            raise PlanError(
                f"{self.unreadable} rows of the list {self.list_id} name no contact, so it is not known who is on it. "
                "Nothing was planned; run again, and if it stays so, ask iContact's support about the list."
            )

    @property
    def size(self) -> int:
        """How many subscriptions are `normal`."""
        return sum(status == "normal" for status in self.statuses.values())


def subscriber(row: Row) -> str | None:
    """The contact id of a subscription row: its own field, else the second half of the subscription's id."""
    return as_id(row.get("contactId")) or (as_id(row.get("subscriptionId")) or "").partition("_")[2] or None


@dataclass(frozen=True)
class Plan:
    """What is to be done with each member of an audience. Every member is in exactly one of the three tuples."""

    list_id: str
    list_name: str
    audience_version: str
    live: LiveList
    additions: tuple[Permit, ...]
    """Those who entered the audience first come first."""
    already: tuple[str, ...]
    denials: tuple[Denial, ...]

    @property
    def hash(self) -> str:
        """32 hexadecimal digits over list, additions, those already there, and denials with their reasons."""
        content = [
            self.list_id,
            sorted(permit.contact_id for permit in self.additions),
            sorted(self.already),
            sorted((denial.contact_id, denial.reason) for denial in self.denials),
        ]
        return hashlib.blake2b(orjson.dumps(content), digest_size=16).hexdigest()


def make_plan(
    warehouse: Warehouse, schema: str, folder: Folder, *, audience: str, wanted_list: str, clock: Callable[[], datetime]
) -> Plan:
    """Plan the export of an audience, as last computed, to a list named by id or exact name.

    Costs the pages of the lists and of the list, and one request per 50 members not on it, or the pages of all
    contacts where those are fewer. `clock` gives aware times. Raises PlanError, and the errors of iContact: what
    is not read whole makes no plan.
    """
    list_id, list_name = _resolve(folder, wanted_list)
    with warehouse.read() as connection:
        wanted = members(connection, schema, audience)
        history = _History.read(connection, schema, audience, list_id)
        [(contacts,)] = connection.execute(f'SELECT count(DISTINCT id) FROM "{schema}".raw_contacts').fetchall()
    live = LiveList(list_id)
    live.read(folder)
    already = tuple(contact_id for contact_id in wanted if live.statuses.get(contact_id) == "normal")
    candidates = [contact_id for contact_id in wanted if live.statuses.get(contact_id) != "normal"]
    read_at = clock()
    statuses = _contact_statuses(folder, candidates, contacts)
    permits, denials = [], []
    for contact_id in candidates:
        decision = decide(
            contact_id,
            list_id,
            Evidence(
                contact_status=statuses.get(contact_id),
                read_at=read_at,
                subscription_status=live.statuses.get(contact_id, Subscription.ABSENT),
                seen_unsubscribed=contact_id in history.seen_unsubscribed,
                unsubscribed_by_message=contact_id in history.unsubscribed_by_message,
            ),
        )
        if isinstance(decision, Permit):
            permits.append(decision)
        else:
            denials.append(decision)
    return Plan(list_id, list_name, version_hash(wanted), live, tuple(permits), already, tuple(denials))


def contact_statuses_by_id(folder: Folder, contact_ids: Sequence[str]) -> dict[str, str | None]:
    """Live status of each contact, 50 a request; those that do not exist are left out."""
    return {id_: as_text(row.get("status")) for id_, row in folder.contacts_by_id(contact_ids).items()}


def _contact_statuses(folder: Folder, contact_ids: list[str], contacts: int) -> dict[str, str | None]:
    if len(contact_ids) / _IDS_PER_REQUEST <= contacts / _CONTACTS_PER_REQUEST + 1:
        return contact_statuses_by_id(folder, contact_ids)
    sink = _Statuses(frozenset(contact_ids))
    folder.contacts(sink)
    return sink.statuses


@dataclass
class _Statuses:
    """A sink of the contacts listing that keeps the status of some."""

    wanted: frozenset[str]
    statuses: dict[str, str | None] = field(default_factory=dict)

    def start(self) -> None:
        self.statuses.clear()

    def page(self, offset: int, rows: list[Row]) -> None:  # noqa: ARG002 (a Sink)
        for row in rows:
            contact_id = as_id(row.get("contactId"))
            if contact_id in self.wanted and self.statuses.get(contact_id, "normal") == "normal":
                self.statuses[contact_id] = as_text(row.get("status"))


@dataclass(frozen=True)
class _History:
    """What the stored readings hold against members of an audience and one list: contact ids."""

    seen_unsubscribed: frozenset[str]
    unsubscribed_by_message: frozenset[str]

    @classmethod
    def read(cls, connection: duckdb.DuckDBPyConnection, schema: str, audience: str, list_id: str) -> _History:
        values = {"audience": audience, "list_id": list_id}
        member = f'contact_id IN (SELECT contact_id FROM "{schema}".audience_members WHERE audience = $audience)'
        seen = connection.execute(
            f"""
            SELECT DISTINCT contact_id FROM "{schema}".raw_subscriptions
            WHERE list_id = $list_id AND lower(trim(status)) = 'unsubscribed' AND {member}
            """,
            values,
        ).fetchall()
        # A message went elsewhere only if that is certain: it has a send that was not cancelled, and no version of
        # any of its sends names this list, a segment (whose list is not known), or no list at all. An unsubscription
        # that could not be stored for want of a readable time is one all the same.
        by_message = connection.execute(
            rf"""
            WITH went_elsewhere AS (
                SELECT message_id FROM "{schema}".raw_sends
                GROUP BY message_id
                HAVING bool_or(lower(coalesce(status, '')) NOT LIKE 'cancel%')
                    AND bool_and(
                        trim(coalesce(include_segment_ids, '')) = ''
                        AND regexp_full_match(coalesce(include_list_ids, ''), '\s*\d+(\s*,\s*\d+)*\s*')
                        AND NOT regexp_matches(coalesce(include_list_ids, ''), '\b' || $list_id || '\b')
                    )
            ), unsubscriptions AS (
                SELECT message_id, contact_id FROM "{schema}".raw_activity WHERE event_type = 'unsubscribe'
                UNION ALL
                SELECT message_id, trim(content ->> '$.contactId') FROM "{schema}".quarantine
                WHERE resource = 'unsubscribes'
            )
            SELECT DISTINCT contact_id FROM unsubscriptions ANTI JOIN went_elsewhere USING (message_id)
            WHERE {member}
            """,
            values,
        ).fetchall()
        return cls(frozenset(id_ for (id_,) in seen), frozenset(id_ for (id_,) in by_message))


@dataclass
class _Lists:
    """A sink of the lists listing: id and name of each."""

    names: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        self.names.clear()

    def page(self, offset: int, rows: list[Row]) -> None:  # noqa: ARG002 (a Sink)
        for row in rows:
            list_id = as_id(row.get("listId"))
            if list_id is not None:
                self.names[list_id] = as_text(row.get("name")) or ""


def _resolve(folder: Folder, wanted: str) -> tuple[str, str]:
    """Id and name of the list that is wanted by id, else by exact name."""
    lists = _Lists()
    folder.lists(lists)
    if wanted in lists.names:
        return wanted, lists.names[wanted]
    named = [list_id for list_id, name in lists.names.items() if name == wanted]
    if len(named) == 1:
        return named[0], wanted
    if named:
        raise PlanError(
            f"{len(named)} lists are named {wanted!r}: {', '.join(named)}. Name the list of the export by its id."
        )
    shown = ", ".join(f"{list_id} {name!r}" for list_id, name in list(lists.names.items())[:_LISTS_SHOWN])
    more = len(lists.names) - _LISTS_SHOWN
    raise PlanError(
        f"There is no list {wanted!r} in this client folder. There are: {shown or 'none'}"
        f"{f' and {more} more' if more > 0 else ''}. Name one of them, by id or exact name, as `list` of the export."
    )
