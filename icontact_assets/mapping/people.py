"""Joins contacts that share an address into people, over one import or several: the table `icontact_people`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import duckdb

from icontact_assets.mapping.build import look_up, working
from icontact_assets.mapping.expressions import Field, field_table, is_map, person_value, user_value
from icontact_assets.mapping.joined import tabulate_joined
from icontact_assets.mapping.lineage import Lineage, lineage
from icontact_assets.mapping.profiles import NothingMapped, side
from icontact_assets.warehouse.relations import there
from icontact_assets.warehouse.tables import Column, Table

SUMS = "sums_match_profiles"
"""The check that asks whether the numbers of all people together are those of their contacts."""

_SHOWN = 20
"""People that `conflicts` names at most."""

_OWN = (
    Column("person_id", "VARCHAR", "import, slash and contact id of the person's first contact, by import and then id"),
    Column(
        "ic_contact_id",
        "VARCHAR",
        "contact id in this import: of the contacts that exist, and of those with the status normal if there are any, "
        "the one that was created first. NULL: none here",
    ),
    Column("ic_contact_ids", "MAP(VARCHAR, VARCHAR[])", "all contact ids of the person, by import"),
    Column("email", "VARCHAR", "the latest address, normalised"),
    Column("emails", "VARCHAR[]", "all addresses that the person's contacts ever had, normalised"),
)
_COUNTED = (
    Column(
        "deleted_at", "TIMESTAMP", "when the last of the contacts was missing in iContact (UTC), NULL while one exists"
    ),
    Column("contacts", "BIGINT", "contact ids of the person"),
    Column("shared_addresses", "BIGINT", "a conflict if above 0: addresses that several of the contacts have or had"),
    Column("changed_addresses", "BIGINT", "a conflict if above 0: contacts that have or had several addresses"),
)


@dataclass(frozen=True)
class People:
    """What was computed, with the conflicts in it."""

    people: int
    contacts: int
    people_of_several_contacts: int
    shared_addresses: int
    """One address with several contact ids."""
    changed_addresses: int
    """One contact id with several addresses over time."""
    most_contacts: int
    """Of the person that has most."""


def _fields() -> list[Field]:
    """All fields of both streams but the two that identify."""
    fields = (*field_table("icontact_users"), *field_table("icontact_activity"))
    return [field for field in fields if field.merge != "identity"]


@cache
def people_table() -> Table:
    """`icontact_people` with its columns, from the field tables."""
    fields = (Column(field.name, field.sql_type, field.description) for field in _fields())
    return Table(
        "icontact_people",
        "One row per person: contacts that have or had an address in common, over the imports that `people` names. "
        "Each field is merged as Lytics merges its type.",
        (*_OWN, *fields, *_COUNTED),
        key=("person_id",),
    )


def public_people() -> list[str]:
    """The columns that may be shown: nothing in them identifies a person."""
    personal = {"email", "emails", *(field.name for field in _fields() if field.personal)}
    return [name for name in people_table().column_names if name not in personal]


def people_lineage() -> Lineage:
    """The columns of each import's tables that a column is computed from."""
    identity = (("raw_contacts", "id"), ("raw_contacts", "email"), ("icontact_profiles", "ic_contact_id"))
    own = dict.fromkeys((column.name for column in (*_OWN, *_COUNTED)), identity)
    users = lineage("icontact_users")
    fields = {
        field.name: (("icontact_profiles", field.name), *users.get(field.name, ()), *identity) for field in _fields()
    }
    found = {**own, **fields, "deleted_at": (("icontact_profiles", "deleted_at"), *identity)}
    return {name: tuple(dict.fromkeys(found[name])) for name in people_table().column_names}


def build_people(connection: duckdb.DuckDBPyConnection, imports: Sequence[str]) -> People:
    """Compute `icontact_people` in the current schema, from the profiles of these imports.

    Contacts are one person if an address leads from one to the other: the mapped value of any address that they have or
    ever had. Contact ids are told apart by import. Each field is merged by the rule in its field table. Where that is
    the latest value, it is that of the latest version of any of the contacts that has one. Versions that were stored at
    one time go by the creation of their contact, then by import and id.

    Raises NothingMapped naming the import that has no profiles yet.
    """
    for name in imports:
        if not there(connection, "icontact_profiles", name):
            raise NothingMapped(
                f"There are no people yet, because the import {name} has no profiles. Materialize its "
                "icontact_profiles, then icontact_people."
            )
    [(schema,)] = connection.execute("SELECT current_schema()").fetchall()
    # It may be the table of an earlier version, with other columns.
    connection.execute(f"DROP TABLE IF EXISTS {people_table().name}")
    connection.execute(people_table().ddl(schema))
    with working(connection):
        batches = tabulate_joined(connection, imports)
        for name in imports:
            _insert_alone(connection, name, is_own=name == schema)
        for number in range(batches):
            connection.execute(
                "CREATE OR REPLACE TEMP TABLE taken AS "
                f"SELECT import, id, person FROM temp.joined WHERE batch = {number}"
            )
            _insert_joined(connection, imports, schema)
    [counted] = connection.execute(
        "SELECT count(*), coalesce(sum(contacts), 0)::BIGINT, count(*) FILTER (contacts > 1), "
        "coalesce(sum(shared_addresses), 0)::BIGINT, coalesce(sum(changed_addresses), 0)::BIGINT, "
        "coalesce(max(contacts), 0) FROM icontact_people"
    ).fetchall()
    return People(*counted)


def conflicts(connection: duckdb.DuckDBPyConnection) -> tuple[list[str], list[tuple[str | int, ...]]]:
    """Columns and rows that show the people with most conflicts, by id and without an address."""
    columns = ["person_id", "contacts", "addresses", "shared_addresses", "changed_addresses"]
    rows = connection.execute(
        "SELECT person_id, contacts, len(emails) AS addresses, shared_addresses, changed_addresses "
        "FROM icontact_people WHERE shared_addresses + changed_addresses > 0 "
        "ORDER BY contacts DESC, addresses DESC, person_id LIMIT ?",
        [_SHOWN],
    ).fetchall()
    return columns, rows


def wrong_keys(connection: duckdb.DuckDBPyConnection, imports: Sequence[str]) -> dict[str, int]:
    """How many people have the id of another or none, and how many contacts of the profiles are not in exactly one
    person."""
    [(repeated,)] = connection.execute("SELECT count(*) - count(DISTINCT person_id) FROM icontact_people").fetchall()
    facts = {"repeated_or_missing_ids": repeated, "missing_contacts": 0, "surplus_contacts": 0}
    for name in imports:
        [(missing, surplus)] = connection.execute(
            "SELECT count(*) FILTER (p.id IS NULL), coalesce(sum(p.n - (c.id IS NOT NULL)::INTEGER), 0)::BIGINT FROM "
            f'(SELECT ic_contact_id AS id FROM "{name}".icontact_profiles) c FULL JOIN (SELECT id, count(*) AS n FROM '
            "(SELECT unnest(ic_contact_ids[$name]) AS id FROM icontact_people) GROUP BY id) p USING (id)",
            {"name": name},
        ).fetchall()
        facts["missing_contacts"] += missing
        facts["surplus_contacts"] += surplus
    return facts


def wrong_sums(connection: duckdb.DuckDBPyConnection, imports: Sequence[str]) -> dict[str, int]:
    """By how much the sum of each field that is summed differs, over all people, from that over all their contacts."""
    summed = [field for field in _fields() if field.merge == "sum"]
    sums = ", ".join(
        f"coalesce(sum({'list_sum(map_values({}))' if is_map(field) else '{}'}), 0)::HUGEINT".format(f'"{field.name}"')
        for field in summed
    )
    [people] = connection.execute(f"SELECT {sums} FROM icontact_people").fetchall()
    columns = ", ".join(f'"{field.name}"' for field in summed)
    parts = " UNION ALL ".join(f'SELECT {columns} FROM "{name}".icontact_profiles' for name in imports)
    [contacts] = connection.execute(f"SELECT {sums} FROM ({parts})").fetchall()
    return {field.name: int(a - b) for field, a, b in zip(summed, people, contacts, strict=True)}


def _insert_alone(connection: duckdb.DuckDBPyConnection, name: str, *, is_own: bool) -> None:
    """The people of one contact: its profile."""
    fields = ", ".join(f'p."{field.name}"' for field in _fields())
    connection.execute(
        f"""
        INSERT INTO icontact_people BY NAME
        SELECT '{name}/' || p.ic_contact_id AS person_id, {"p.ic_contact_id" if is_own else "NULL"} AS ic_contact_id,
            MAP {{'{name}': [p.ic_contact_id]}} AS ic_contact_ids, p.email,
            coalesce(s.emails, CASE WHEN p.email IS NOT NULL THEN [p.email] END) AS emails, {fields}, p.deleted_at,
            1 AS contacts, 0 AS shared_addresses, coalesce(len(s.emails) > 1, false)::INTEGER AS changed_addresses
        FROM "{name}".icontact_profiles p
        ANTI JOIN temp.joined j ON j.import = '{name}' AND j.id = p.ic_contact_id
        LEFT JOIN temp.several s ON s.import = '{name}' AND s.id = p.ic_contact_id
        """
    )


def _insert_joined(connection: duckdb.DuckDBPyConnection, imports: Sequence[str], schema: str) -> None:
    """The people of several contacts that are in the temporary table `taken`."""
    users = [field for field in field_table("icontact_users") if field.name != "ic_contact_id"]
    activity = [field for field in field_table("icontact_activity") if field.merge != "identity"]
    _tabulate_versions(connection, imports, users)
    _tabulate_parts(connection, imports, activity)
    maps = [field for field in activity if is_map(field)]
    for field in maps:
        connection.execute(
            f'CREATE OR REPLACE TEMP TABLE "of_{field.name}" AS '
            f'SELECT person, map_from_entries(list_sort(list((key, value)))) AS "{field.name}" '
            f"FROM (SELECT person, key, {person_value(field)} AS value FROM (SELECT person, "
            f'unnest(map_keys("{field.name}")) AS key, unnest(map_values("{field.name}")) AS value FROM temp.part) '
            "GROUP BY person, key) GROUP BY person"
        )
    latest = ", ".join(f'{person_value(field)} AS "{field.name}"' for field in users)
    merged = ", ".join(f'{person_value(field)} AS "{field.name}"' for field in activity if not is_map(field))
    ids = ", ".join(f"('{name}', list_sort(list(id) FILTER (import = '{name}')))" for name in sorted(imports))
    connection.execute(
        f"""
        INSERT INTO icontact_people BY NAME
        SELECT * EXCLUDE (person)
        FROM (
            SELECT person, min(import || '/' || id) AS person_id,
                arg_max(id, choice) FILTER (import = '{schema}') AS ic_contact_id,
                map_from_entries(list_filter([{ids}], lambda entry: entry[2] IS NOT NULL)) AS ic_contact_ids,
                {merged}, if(count(*) = count(deleted_at), max(deleted_at), NULL) AS deleted_at,
                count(*) AS contacts, count(*) FILTER (changed) AS changed_addresses
            FROM temp.part GROUP BY person
        ) JOIN (
            SELECT person, {latest} FROM temp.version GROUP BY person
        ) USING (person) JOIN (
            SELECT person, list_sort(list(email)) AS emails, count(*) FILTER (n > 1) AS shared_addresses
            FROM (
                SELECT person, email, count(*) AS n FROM temp.address JOIN temp.taken USING (import, id)
                GROUP BY person, email
            ) GROUP BY person
        ) USING (person)
        {" ".join(f'LEFT JOIN temp."of_{field.name}" USING (person)' for field in maps)}
        """
    )


def _tabulate_versions(connection: duckdb.DuckDBPyConnection, imports: Sequence[str], fields: Sequence[Field]) -> None:
    """Make the temporary table `version`: what each version of a joined contact gives the fields, with its rank. The
    latest version has the largest. That a contact vanished is no news of the person: such versions come first."""
    columns = ", ".join(f'"{field.name}" {field.sql_type}' for field in fields)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE unranked "
        f"(person BIGINT, import VARCHAR, id VARCHAR, is_there BOOLEAN, observed_at TIMESTAMP, {columns})"
    )
    values = ", ".join(f"({user_value(field)})::{field.sql_type}" for field in fields)
    for name in imports:
        connection.execute(
            f'CREATE OR REPLACE TEMP VIEW versions AS SELECT person, c.* FROM "{name}".raw_contacts c '
            f"JOIN temp.taken b ON b.import = '{name}' AND b.id = c.id"
        )
        joins = look_up(connection, fields)
        connection.execute(
            f"INSERT INTO temp.unranked SELECT person, '{name}', v.id, deleted_at IS NULL, observed_at, {values} "
            f"FROM temp.versions v {joins}"
        )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE version AS SELECT *, row_number() OVER (ORDER BY is_there, observed_at, "
        "ic_user_created NULLS FIRST, import, id) AS rank FROM temp.unranked"
    )
    connection.execute("DROP TABLE temp.unranked")


def _tabulate_parts(connection: duckdb.DuckDBPyConnection, imports: Sequence[str], fields: Sequence[Field]) -> None:
    """Make the temporary table `part`: what each joined contact did, and what is known of the contact itself. Who is
    chosen to stand for the person has the largest `choice`."""
    names = ", ".join(f'"{field.name}"' for field in fields)
    # Who shares an address is in icontact_users. The whole profiles would be joined for each batch.
    parts = " UNION ALL ".join(
        f"SELECT b.*, u.deleted_at, ic_status, ic_user_created, {names} FROM temp.taken b "
        f"JOIN {side(connection, name, 'icontact_users')} u ON b.import = '{name}' AND b.id = u.ic_contact_id "
        f"LEFT JOIN {side(connection, name, 'icontact_activity')} a ON a.ic_contact_id = b.id"
        for name in imports
    )
    connection.execute(
        # What hardly ever changes decides: an export would take one contact off its list and put another one on it.
        "CREATE OR REPLACE TEMP TABLE part AS SELECT p.*, rank, len(emails) > 1 AS changed, row_number() OVER "
        "(ORDER BY deleted_at IS NULL, ic_status IS NOT DISTINCT FROM 'normal', ic_user_created DESC NULLS FIRST, "
        f"id DESC) AS choice FROM ({parts}) p LEFT JOIN temp.several USING (import, id) "
        "JOIN (SELECT import, id, max(rank) AS rank FROM temp.version GROUP BY import, id) USING (import, id)"
    )
