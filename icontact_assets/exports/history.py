"""What the tables hold of the people of a client folder: who opted out, which addresses they had, who vanished."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import duckdb

from icontact_assets.exports.person import PLAIN
from icontact_assets.icontact.values import as_id
from icontact_assets.warehouse.rows import each, texts

EVERYWHERE = ""
"""In place of a list id: the contact is do-not-contact."""


@dataclass(frozen=True)
class Shelf:
    """Where opt-outs and addresses of a client folder are kept."""

    schema: str
    """The schema that holds the tables."""
    folder: str
    """The value of their column `folder`."""
    imported: bool
    """Whether the raw tables of the schema are of this client folder too."""


@dataclass
class OptOuts:
    """Contact ids of a client folder that speak against a person. By list id where a list is meant."""

    left: dict[str, set[str]] = field(default_factory=dict)
    """Who was ever seen unsubscribed from the list."""
    by_message: dict[str, set[str]] = field(default_factory=dict)
    """Who unsubscribed by a message that went to the list, or may have."""
    refused: dict[str, set[str]] = field(default_factory=dict)
    """Whom iContact refused to put on the list because they may not be mailed."""
    anywhere: set[str] = field(default_factory=set)
    """Who left any list, or unsubscribed by any message."""
    do_not_contact: set[str] = field(default_factory=set)
    """Who was ever seen as do-not-contact."""

    @property
    def ids(self) -> set[str]:
        """All of them."""
        by_list = (self.left, self.by_message, self.refused)
        return set().union(self.anywhere, self.do_not_contact, *(ids for kind in by_list for ids in kind.values()))


PLAIN_ADDRESS = f"""
    strlen(email) = length(email) AND length(email) <= 253 AND NOT contains(lower(email), 'xn--')
    AND regexp_full_match(lower(email), '{PLAIN.pattern.replace("(?!xn--)", "")}')
"""
"""The SQL condition that an address, in lower case, is its own normal form. Nearly all are."""

# Whether the person had another address than the one that is asked about. What is not plain is for `normal_address`.
_OTHER = f"CASE WHEN lower(email) = asked.address THEN NOT ({PLAIN_ADDRESS}) ELSE true END"
_ANY = "true"


@cache
def _addresses(which: str, *, imported: bool) -> str:
    """The query for the stored addresses of the contacts in the table `asked` that meet a condition."""
    kept = f"""
        SELECT contact_id, email FROM contact_addresses JOIN asked USING (contact_id) WHERE folder = $folder AND {which}
    """  # noqa: S608 (as below: there is nothing of others in it)
    read = f"""
        SELECT id, email FROM raw_contacts JOIN asked ON id = asked.contact_id WHERE email IS NOT NULL AND {which}
    """  # noqa: S608
    return f"{read} UNION {kept}" if imported else kept


_BY_MESSAGE = r"""
    WITH unsubscribes AS (
        SELECT message_id, contact_id FROM raw_activity WHERE event_type = 'unsubscribe'
        UNION ALL
        -- An unsubscription that could not be stored for want of a readable time is one all the same.
        SELECT message_id, content ->> '$.contactId' FROM quarantine WHERE resource = 'unsubscribes'
    ),
    lists AS (SELECT unnest($list_ids::VARCHAR[]) AS list_id),
    -- A message went elsewhere only if that is certain: it has a send that was not cancelled, and no version of any
    -- of its sends names this list, a segment (whose list is not known), or no list at all.
    went_elsewhere AS (
        SELECT list_id, message_id FROM raw_sends CROSS JOIN lists
        GROUP BY ALL
        HAVING bool_or(lower(coalesce(status, '')) NOT LIKE 'cancel%')
            AND bool_and(
                trim(coalesce(include_segment_ids, '')) = ''
                AND regexp_full_match(coalesce(include_list_ids, ''), '\s*\d+(\s*,\s*\d+)*\s*')
                AND NOT contains(
                    concat(',', regexp_replace(include_list_ids, '\s|\b0+', '', 'g'), ','), concat(',', list_id, ',')
                )
            )
    )
    SELECT DISTINCT list_id, contact_id FROM unsubscribes CROSS JOIN (FROM lists UNION ALL SELECT NULL)
    ANTI JOIN went_elsewhere USING (list_id, message_id)
"""
"""Who unsubscribed by a message that may have gone to a list. In the rows without a list: by any message."""


@contextmanager
def within(connection: duckdb.DuckDBPyConnection, schema: str) -> Iterator[None]:
    """The connection bound to this schema for a while: the import that reads the list's client folder may be another
    than the one that holds the audience.

    After an error the connection stays as it is: whoever opened it closes it.
    """
    [(catalog, before)] = connection.execute("SELECT current_database(), current_schema()").fetchall()
    if schema == before:
        yield
        return
    connection.execute(f'USE "{catalog}"."{schema}"')
    yield
    connection.execute(f'USE "{catalog}"."{before}"')


def read_opt_outs(
    connection: duckdb.DuckDBPyConnection, shelf: Shelf, records: Iterable[str], list_ids: Iterable[str]
) -> OptOuts:
    """What is stored against anybody in a client folder. `records`: schemas whose exports write to the folder."""
    found = OptOuts()
    lists = sorted(list_ids)
    left: dict[str, set[str]] = {}
    with within(connection, shelf.schema):
        opt_outs = "SELECT list_id, contact_id FROM opt_outs WHERE folder = ?"
        _by_list(left, connection.execute(opt_outs, [shelf.folder]).fetchall())
    found.do_not_contact |= left.pop(EVERYWHERE, set())
    for schema in records:
        with within(connection, schema):
            _read_records(connection, left, found)
    if shelf.imported:
        with within(connection, shelf.schema):
            _read_import(connection, left, found, lists)
    found.anywhere = found.anywhere.union(*left.values())
    found.left = {list_id: left.get(list_id, set()) for list_id in lists}
    found.refused = {list_id: found.refused.get(list_id, set()) for list_id in lists}
    return found


def _read_records(connection: duckdb.DuckDBPyConnection, left: dict[str, set[str]], found: OptOuts) -> None:
    """What the exports of an import saw and were told."""
    seen = "SELECT DISTINCT list_id, contact_id FROM export_members WHERE status = 'unsubscribed'"
    _by_list(left, connection.execute(seen).fetchall())
    refused = """
        SELECT DISTINCT coalesce(to_list_id, list_id), contact_id FROM export_outcomes
        WHERE outcome = 'refused' AND contact_id IS NOT NULL
    """
    _by_list(found.refused, connection.execute(refused).fetchall())


def _read_import(
    connection: duckdb.DuckDBPyConnection, left: dict[str, set[str]], found: OptOuts, list_ids: Iterable[str]
) -> None:
    """What an import read. Every version of a row counts: who opted out once, and came back, opted out."""
    unsubscribed = (
        "SELECT DISTINCT list_id, contact_id FROM raw_subscriptions WHERE lower(trim(status)) = 'unsubscribed'"
    )
    _by_list(left, connection.execute(unsubscribed).fetchall())
    by_message: dict[str | None, set[str]] = {list_id: set() for list_id in (*list_ids, None)}
    for list_id, contact_id in connection.execute(_BY_MESSAGE, {"list_ids": list(list_ids)}).fetchall():
        if (id_ := as_id(contact_id)) is not None:
            by_message[list_id].add(id_)
    found.anywhere |= by_message.pop(None)
    found.by_message = {str(list_id): ids for list_id, ids in by_message.items()}
    found.do_not_contact |= _ids(
        connection,
        """
        SELECT DISTINCT id FROM raw_contacts WHERE lower(trim(status)) = 'donotcontact'
        UNION
        SELECT content ->> '$.contactId' FROM quarantine
        WHERE resource = 'contacts' AND lower(trim(content ->> '$.status')) = 'donotcontact'
        """,
    )


def _by_list(into: dict[str, set[str]], rows: Iterable[tuple[str, str]]) -> None:
    for list_id, contact_id in rows:
        into.setdefault(list_id, set()).add(contact_id)


def _ids(connection: duckdb.DuckDBPyConnection, sql: str) -> set[str]:
    found = (as_id(id_) for (id_,) in connection.execute(sql).fetchall())
    return {id_ for id_ in found if id_ is not None}


@contextmanager
def _asked(connection: duckdb.DuckDBPyConnection, columns: Mapping[str, Iterable[str | None]]) -> Iterator[None]:
    """These columns as the table `asked`."""
    connection.register("asked", texts(columns))
    yield
    connection.unregister("asked")


def stored_addresses(
    connection: duckdb.DuckDBPyConnection, shelf: Shelf, contact_ids: Collection[str]
) -> Iterator[tuple[str, str | None]]:
    """Every address that these contacts ever had: contact id and text as iContact gave it, NULL where there is none.

    Read them to the end before the connection is used again. They are to be shown nowhere.
    """
    with within(connection, shelf.schema), _asked(connection, {"contact_id": contact_ids}):
        yield from each(connection, _addresses(_ANY, imported=shelf.imported), {"folder": shelf.folder})


def other_addresses(
    connection: duckdb.DuckDBPyConnection, shelf: Shelf, contact_ids: Iterable[str], known: Iterable[str | None]
) -> Iterator[tuple[str, str | None]]:
    """The same without the plain spellings of the address that is `known` of each contact, in its normal form."""
    with within(connection, shelf.schema), _asked(connection, {"contact_id": contact_ids, "address": known}):
        yield from each(connection, _addresses(_OTHER, imported=shelf.imported), {"folder": shelf.folder})


def latest_addresses(connection: duckdb.DuckDBPyConnection, contact_ids: Iterable[str]) -> dict[str, str]:
    """The last known address of each contact of the connection's import that has one. To be shown nowhere."""
    with _asked(connection, {"contact_id": contact_ids}):
        rows = connection.execute(
            "SELECT id, trim(email) FROM current_contacts SEMI JOIN asked ON id = asked.contact_id"
        ).fetchall()
    return {contact_id: email for contact_id, email in rows if email}


def erased(connection: duckdb.DuckDBPyConnection, schema: str, contact_ids: Iterable[str]) -> frozenset[str]:
    """Those of the contacts that vanished from iContact or were deleted there, by the last full read."""
    with within(connection, schema), _asked(connection, {"contact_id": contact_ids}):
        return frozenset(
            _ids(
                connection,
                """
                SELECT id FROM current_contacts SEMI JOIN asked ON id = asked.contact_id
                WHERE deleted_at IS NOT NULL OR lower(trim(status)) = 'deleted'
                """,
            )
        )


def contacts_stored(connection: duckdb.DuckDBPyConnection, schema: str) -> int:
    """How many contacts the client folder of an import had, roughly."""
    with within(connection, schema):
        [(count,)] = connection.execute("SELECT count(DISTINCT id) FROM raw_contacts").fetchall()
    return int(count)
