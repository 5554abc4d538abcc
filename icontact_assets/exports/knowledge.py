"""What is known against people: every opt-out that any answer ever showed, by contact id and by address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import duckdb

from icontact_assets.exports.consent import Elsewhere, Evidence, Exclusion
from icontact_assets.exports.live import Contact, LiveList, subscriber
from icontact_assets.exports.person import normal_address
from icontact_assets.exports.suppression import ExclusionList
from icontact_assets.icontact.errors import NotFound
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.listing import Row
from icontact_assets.icontact.values import as_id, as_text
from icontact_assets.warehouse.rows import each, texts
from icontact_assets.warehouse.warehouse import Warehouse

EVERYWHERE = ""
"""In place of a list id: the contact is do-not-contact."""

_ASKED_ALONE = 100
"""Contacts of unknown address that are asked for one by one in one run, after 50 at a time did not show them."""


@dataclass(frozen=True)
class Shelf:
    """Where opt-outs and addresses of a client folder are kept. `schema` holds the tables; `folder`: their column of
    that name; `imported`: whether the raw tables of the schema are of this folder."""

    schema: str
    folder: str
    imported: bool


class Watch:
    """An observer of everything that an export reads: the opt-outs in it, and addresses. It holds what is not stored
    yet, and what was seen in this run."""

    def __init__(self) -> None:
        self.left: dict[str, set[str]] = {}
        """List id to contact ids that were seen unsubscribed; EVERYWHERE: do-not-contact."""
        self.seen = 0
        """How many opt-outs were seen so far, each once."""
        self._opt_outs: list[tuple[str, str]] = []
        self._addresses: dict[tuple[str, str | None], None] = {}
        self._stored: set[int] = set()

    def contact(self, row: Row) -> None:
        """Notes a do-not-contact and its address."""
        contact_id = as_id(row.get("contactId"))
        if contact_id is not None and _word(row) == "donotcontact":
            self.opted_out(EVERYWHERE, contact_id)
            self.address(contact_id, as_text(row.get("email")))

    def subscription(self, row: Row) -> None:
        """Notes an unsubscribed."""
        if _word(row) != "unsubscribed":
            return
        contact_id = subscriber(row)
        list_id = as_id(row.get("listId")) or as_id((as_text(row.get("subscriptionId")) or "").partition("_")[0])
        if contact_id is not None and list_id:
            self.opted_out(list_id, contact_id)

    def address(self, contact_id: str, email: str | None) -> None:
        """Notes that a contact has this address; None: it was asked for and has none."""
        if hash((contact_id, email)) not in self._stored:
            self._addresses[contact_id, email] = None

    def are_stored(self, addresses: Iterable[tuple[str, str | None]]) -> None:
        """These addresses need not be stored again."""
        self._stored.update(map(hash, addresses))

    def opted_out(self, list_id: str, contact_id: str) -> None:
        """Notes that a contact left a list; EVERYWHERE: it is do-not-contact."""
        ids = self.left.setdefault(list_id, set())
        if contact_id not in ids:
            ids.add(contact_id)
            self.seen += 1
            self._opt_outs.append((list_id, contact_id))

    def store(self, connection: duckdb.DuckDBPyConnection, shelf: Shelf, at: datetime) -> None:
        """Store what was seen since the last call. `at` is aware."""
        values = {"folder": shelf.folder, "at": at.astimezone(UTC).replace(tzinfo=None)}
        if self._opt_outs:
            table = f'"{shelf.schema}".opt_outs'
            with _registered(connection, **_columns(self._opt_outs)):
                connection.execute(
                    f"INSERT INTO {table} SELECT $folder, p.one, p.other, $at FROM pairs p WHERE NOT EXISTS "
                    f"(FROM {table} o WHERE o.folder = $folder AND o.list_id = p.one AND o.contact_id = p.other)",
                    values,
                )
        if self._addresses:
            table = f'"{shelf.schema}".contact_addresses'
            known = f"SELECT contact_id, email FROM ({addresses_sql(shelf)})"
            with _registered(connection, **_columns(self._addresses)):
                connection.execute(
                    f"INSERT INTO {table} SELECT $folder, p.one, p.other, $at FROM pairs p WHERE NOT EXISTS "
                    f"(FROM ({known}) k WHERE k.contact_id = p.one AND k.email IS NOT DISTINCT FROM p.other)",
                    values,
                )
        self._opt_outs.clear()
        self._addresses.clear()

    @property
    def unsaved(self) -> bool:
        """Whether there is something to store."""
        return bool(self._opt_outs or self._addresses)


def _columns(pairs: Iterable[tuple[str, str | None]]) -> dict[str, list[str | None]]:
    kept = list(pairs)
    return {"one": [one for one, _ in kept], "other": [other for _, other in kept]}


def _word(row: Row) -> str:
    return (as_text(row.get("status")) or "").strip().casefold()


@contextmanager
def _registered(connection: duckdb.DuckDBPyConnection, **columns: Iterable[str | None]) -> Iterator[None]:
    """The columns as the table `pairs`."""
    connection.register("pairs", texts(columns))
    try:
        yield
    finally:
        connection.unregister("pairs")


def addresses_sql(shelf: Shelf) -> str:
    """A query of every address that contacts of a client folder ever had: contact_id, email. Needs no parameters."""
    folder = shelf.folder.replace("'", "''")
    kept = f"SELECT contact_id, email FROM \"{shelf.schema}\".contact_addresses WHERE folder = '{folder}'"
    if not shelf.imported:
        return kept
    return f'SELECT id AS contact_id, email FROM "{shelf.schema}".raw_contacts WHERE email IS NOT NULL UNION {kept}'


def stored_addresses(
    connection: duckdb.DuckDBPyConnection, shelf: Shelf, contact_ids: Iterable[str]
) -> Iterator[tuple[str, str | None]]:
    """The stored addresses of these contacts: contact id and text as iContact gave it, NULL where there is none."""
    with _registered(connection, one=contact_ids):
        yield from each(
            connection,
            f"SELECT a.contact_id, a.email FROM ({addresses_sql(shelf)}) a SEMI JOIN pairs p ON a.contact_id = p.one",
        )


@dataclass
class OptOuts:
    """Contact ids of a client folder that speak against a person. By list id where a list is meant."""

    left: dict[str, set[str]] = field(default_factory=dict)
    by_message: dict[str, set[str]] = field(default_factory=dict)
    refused: dict[str, set[str]] = field(default_factory=dict)
    anywhere: set[str] = field(default_factory=set)
    """Who left any list, or unsubscribed by any message."""
    do_not_contact: set[str] = field(default_factory=set)

    @property
    def ids(self) -> set[str]:
        """All of them."""
        by_list = (self.left, self.by_message, self.refused)
        return set().union(self.anywhere, self.do_not_contact, *(ids for kind in by_list for ids in kind.values()))


def read_opt_outs(
    connection: duckdb.DuckDBPyConnection, shelf: Shelf, records: Iterable[str], list_ids: Iterable[str]
) -> OptOuts:
    """What is stored against anybody in a client folder. `records`: schemas whose exports write to the folder."""
    found = OptOuts()
    lists = sorted(list_ids)

    def by_list(sql: str, into: dict[str, set[str]], values: Sequence[object] = ()) -> None:
        for list_id, contact_id in connection.execute(sql, list(values)).fetchall():
            into.setdefault(list_id, set()).add(contact_id)

    left: dict[str, set[str]] = {}
    opt_outs = f'SELECT list_id, contact_id FROM "{shelf.schema}".opt_outs WHERE folder = ?'
    by_list(opt_outs, left, [shelf.folder])
    found.do_not_contact |= left.pop(EVERYWHERE, set())
    for schema in records:
        by_list(
            f"SELECT DISTINCT list_id, contact_id FROM \"{schema}\".export_members WHERE status = 'unsubscribed'", left
        )
        by_list(
            f"""
            SELECT DISTINCT coalesce(to_list_id, list_id), contact_id FROM "{schema}".export_outcomes
            WHERE outcome = 'refused' AND contact_id IS NOT NULL
            """,
            found.refused,
        )
    if shelf.imported:
        unsubscribed = "lower(trim(status)) = 'unsubscribed'"
        by_list(
            f'SELECT DISTINCT list_id, contact_id FROM "{shelf.schema}".raw_subscriptions WHERE {unsubscribed}', left
        )
        for list_id in lists:
            found.by_message[list_id] = _ids(connection, _by_message(shelf.schema), {"list_id": list_id})
        found.anywhere |= _ids(connection, f"SELECT DISTINCT contact_id FROM ({_unsubscribes(shelf.schema)})")
        found.do_not_contact |= _ids(
            connection,
            f"""
            SELECT DISTINCT id FROM "{shelf.schema}".raw_contacts WHERE lower(trim(status)) = 'donotcontact'
            UNION
            SELECT content ->> '$.contactId' FROM "{shelf.schema}".quarantine
            WHERE resource = 'contacts' AND lower(trim(content ->> '$.status')) = 'donotcontact'
            """,
        )
    found.anywhere = found.anywhere.union(*left.values())
    found.left = {list_id: left.get(list_id, set()) for list_id in lists}
    found.refused = {list_id: found.refused.get(list_id, set()) for list_id in lists}
    return found


def erased(connection: duckdb.DuckDBPyConnection, schema: str, contact_ids: Iterable[str]) -> frozenset[str]:
    """Those of the contacts that vanished from iContact or were deleted there, by the last complete reading."""
    with _registered(connection, one=contact_ids):
        return frozenset(
            _ids(
                connection,
                f"""
                SELECT id FROM "{schema}".raw_contacts SEMI JOIN pairs ON id = one
                QUALIFY row_number() OVER (PARTITION BY id ORDER BY observed_at DESC) = 1
                    AND (deleted_at IS NOT NULL OR lower(trim(status)) = 'deleted')
                """,
            )
        )


def _ids(connection: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, str] | None = None) -> set[str]:
    found = (as_id(id_) for (id_,) in connection.execute(sql, values or {}).fetchall())
    return {id_ for id_ in found if id_ is not None}


def _unsubscribes(schema: str) -> str:
    # An unsubscription that could not be stored for want of a readable time is one all the same.
    return f"""
        SELECT message_id, contact_id FROM "{schema}".raw_activity WHERE event_type = 'unsubscribe'
        UNION ALL
        SELECT message_id, content ->> '$.contactId' FROM "{schema}".quarantine WHERE resource = 'unsubscribes'
    """


def _by_message(schema: str) -> str:
    # A message went elsewhere only if that is certain: it has a send that was not cancelled, and no version of
    # any of its sends names this list, a segment (whose list is not known), or no list at all.
    went_elsewhere = rf"""
        SELECT message_id FROM "{schema}".raw_sends
        GROUP BY message_id
        HAVING bool_or(lower(coalesce(status, '')) NOT LIKE 'cancel%')
            AND bool_and(
                trim(coalesce(include_segment_ids, '')) = ''
                AND regexp_full_match(coalesce(include_list_ids, ''), '\s*\d+(\s*,\s*\d+)*\s*')
                AND NOT regexp_matches(coalesce(include_list_ids, ''), '\b0*' || $list_id || '\b')
            )
    """
    return f"SELECT DISTINCT contact_id FROM ({_unsubscribes(schema)}) ANTI JOIN ({went_elsewhere}) USING (message_id)"


class Knowledge:
    """What is known against people in a client folder, by person: a contact, and every other contact id that ever had
    one of its addresses. It grows while an export runs, by what its `watch` sees.

    `strict`: whoever left any list counts. Contact ids of another client folder, where the audience is from, carry its
    schema in front.
    """

    def __init__(self, watch: Watch, shelf: Shelf, exclusions: ExclusionList, *, strict: bool) -> None:
        self.watch = watch
        self.exclusions = exclusions
        self.erased: set[str] = set()
        self.elsewhere_at: datetime | None = None
        """When the other lists were read; None: they are not asked about."""
        self._shelf = shelf
        self._strict = strict
        self._known = OptOuts()
        self._sources: dict[str, str] = {}
        self._by_address: dict[str, tuple[str, ...]] = {}
        self._addressed: set[str] = set()
        self._former: dict[str, tuple[str, ...]] = {}
        self._learned = -1
        self._alike: dict[Evidence, Evidence] = {}

    def add(self, opt_outs: OptOuts, *, schema: str = "") -> None:
        """Take in what is stored. `schema`: the contact ids are of that import's client folder, not of the list's."""
        known, prefix = self._known, f"{schema}/" if schema else ""
        known.do_not_contact |= {prefix + contact_id for contact_id in opt_outs.do_not_contact}
        if self._strict:
            known.anywhere |= {prefix + contact_id for contact_id in opt_outs.anywhere}
        if not schema:
            for kept, read in (
                (known.left, opt_outs.left),
                (known.by_message, opt_outs.by_message),
                (known.refused, opt_outs.refused),
            ):
                for list_id, ids in read.items():
                    kept.setdefault(list_id, set()).update(ids)

    def stands_for(self, contact_id: str, source_id: str) -> None:
        """A contact is the member `source_id` (schema in front) of the audience in another client folder."""
        self._sources[contact_id] = source_id

    def had(self, contact_id: str, email: str | None, *, candidate: bool = False) -> None:
        """A contact had this address at some time. `candidate`: it may be put on a list; else it opted out."""
        address = None if email is None else normal_address(email)
        if candidate:
            if address is not None and address not in self._former.get(contact_id, ()):
                self._former[contact_id] = (*self._former.get(contact_id, ()), address)
            return
        self._addressed.add(contact_id)
        if address is not None and contact_id not in self._by_address.get(address, ()):
            self._by_address[address] = (*self._by_address.get(address, ()), contact_id)

    def learn(self, warehouse: Warehouse, folder: Folder) -> None:
        """Find the addresses of those who opted out and whose address is not known yet: in the tables, else by asking
        iContact for these contacts, 50 a request; at most 100 that this does not show are asked for alone."""
        if self._learned == self.watch.seen:
            return
        self._learned = self.watch.seen
        everybody = self._known.ids.union(*(ids for at, ids in self.watch.left.items() if self._counts(at)))
        unknown = {id_ for id_ in everybody - self._addressed if "/" not in id_}
        if not unknown:
            return
        with warehouse.read() as connection:
            for contact_id, email in stored_addresses(connection, self._shelf, unknown):
                self.had(contact_id, email)
        unknown -= self._addressed
        rows = folder.contacts_shown(sorted(unknown))
        for contact_id in sorted(unknown - rows.keys(), key=lambda id_: (len(id_), id_), reverse=True)[:_ASKED_ALONE]:
            try:
                rows[contact_id] = folder.contact(contact_id)
            except NotFound:
                rows[contact_id] = {}
        for contact_id, row in rows.items():
            email = as_text(row.get("email"))
            self.watch.address(contact_id, email)
            self.had(contact_id, email)
        self._learned = self.watch.seen

    def evidence(self, contact_id: str, contact: Contact | None, on: LiveList, now: datetime) -> Evidence:
        """What is known of a contact, as iContact shows it, and a list, as read; None: there is no such contact."""
        ids = self._person(contact_id, contact)
        known, seen, list_id = self._known, self.watch.left, on.list_id

        def any_of(*holding: set[str] | None) -> bool:
            return any(id_ in held for held in holding if held for id_ in ids)

        elsewhere = (
            any_of(known.anywhere, *(left for at, left in seen.items() if at != EVERYWHERE))
            if self._strict
            else Elsewhere.NOT_ASKED
        )
        status, read_at = on.status(contact_id)
        found = Evidence(
            contact_status=contact.status if contact else None,
            read_at=contact.read_at if contact else now,
            subscription_status=status,
            list_read_at=read_at if self.elsewhere_at is None else min(read_at, self.elsewhere_at),
            seen_unsubscribed=any_of(known.left.get(list_id), seen.get(list_id)),
            unsubscribed_by_message=any_of(known.by_message.get(list_id)),
            unsubscribed_elsewhere=elsewhere,
            do_not_contact_before=any_of(known.do_not_contact, seen.get(EVERYWHERE)),
            refused_before=any_of(known.refused.get(list_id)),
            erased=contact_id in self.erased,
            exclusion=self._exclusion(contact_id, contact),
        )
        # The same is known of most people: it is kept once.
        return self._alike.setdefault(found, found)

    def _counts(self, list_id: str) -> bool:
        """Whether it matters who left a list."""
        return self._strict or list_id == EVERYWHERE or list_id in self._known.left

    def _person(self, contact_id: str, contact: Contact | None) -> set[str]:
        ids = {contact_id}
        if contact_id in self._sources:
            ids.add(self._sources[contact_id])
        for address in self._addresses(contact_id, contact):
            ids.update(self._by_address.get(address, ()))
        return ids

    def _addresses(self, contact_id: str, contact: Contact | None) -> Iterator[str]:
        yield from self._former.get(contact_id, ())
        if contact is not None and contact.address is not None:
            yield contact.address

    def _exclusion(self, contact_id: str, contact: Contact | None) -> Exclusion | None:
        """By any address that the person ever had; a domain only by the one it has."""
        if contact is None or contact.exclusion is not Exclusion.NOT_LISTED:
            return contact.exclusion if contact else None
        if any(address in self.exclusions.emails for address in self._former.get(contact_id, ())):
            return Exclusion.EMAIL
        return Exclusion.NOT_LISTED
