"""Whether the mapped tables are what the raw tables make of them. Each question is one statement over whole columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import duckdb

from icontact_assets.mapping.build import keep_sum, kept_sums, tag_messages
from icontact_assets.mapping.expressions import Call, Field, field_table, lookup, user_value
from icontact_assets.warehouse.relations import there
from icontact_assets.warehouse.tables import Column

KEYS, ROWS, TYPES = "keys_unique", "rows_match_source", "types_as_declared"
VALUES, COUNTS = "values_match_raw_contacts", "counts_match_raw_activity"

QUESTIONS = {
    "icontact_users": (KEYS, ROWS, TYPES, VALUES),
    "icontact_activity": (KEYS, ROWS, TYPES, COUNTS),
    "icontact_profiles": (KEYS, ROWS, TYPES),
}
"""What is asked of each mapped table."""


@dataclass(frozen=True)
class Answer:
    """The answer to a question, with numbers."""

    question: str
    holds: bool
    facts: dict[str, int | str]


def verify(
    connection: duckdb.DuckDBPyConnection, name: str, declared: Sequence[Column], *, aid: str | None = None
) -> list[Answer]:
    """Ask all questions about a mapped table that was just computed with this `aid`."""
    if aid is not None:
        tag_messages(connection, aid)
    table, source = name, _source(connection, name, aid)
    if name == "icontact_users":
        table, source = _doubtful(connection, source)
    asked: dict[str, Callable[[], dict[str, int | str]]] = {
        KEYS: lambda: _keys(connection, table),
        ROWS: lambda: _rows(connection, table, source),
        TYPES: lambda: _types(connection, name, declared),
        VALUES: lambda: _values(connection, table, source),
        COUNTS: lambda: _counts(connection, aid),
    }
    if name == "icontact_activity":
        asked[ROWS] = lambda: _acted(connection, source)
    answers = []
    for question in QUESTIONS[name]:
        facts = asked[question]()
        answers.append(Answer(question, not any(facts.values()), facts))
    return answers


def _keys(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, int | str]:
    return {
        "repeated_or_missing_ids": _number(connection, f"SELECT count(*) - count(DISTINCT ic_contact_id) FROM {table}")
    }


def _rows(connection: duckdb.DuckDBPyConnection, table: str, source: str) -> dict[str, int | str]:
    [(missing, surplus)] = connection.execute(
        "SELECT count(*) FILTER (t.id IS NULL), count(*) FILTER (s.id IS NULL) "
        f"FROM (SELECT DISTINCT id FROM {source}) s "
        f"FULL JOIN (SELECT ic_contact_id AS id FROM {table}) t ON s.id = t.id"
    ).fetchall()
    return {"missing": missing, "surplus": surplus}


def _source(connection: duckdb.DuckDBPyConnection, name: str, aid: str | None) -> str:
    """SQL, to follow FROM, for what a table is made of. The contact ids that it should have are the column `id`."""
    if name == "icontact_profiles":
        tables = [table for table in ("icontact_users", "icontact_activity") if there(connection, table)]
        return f"({' UNION '.join(f'SELECT ic_contact_id AS id FROM {table}' for table in tables)})"
    acted = f"(SELECT contact_id AS id, rowid AS number FROM raw_activity {_tagged(aid)})"
    if name == "icontact_activity":
        return acted
    return "raw_contacts" if aid is None else f"(FROM raw_contacts SEMI JOIN {acted} acted USING (id))"


def _doubtful(connection: duckdb.DuckDBPyConnection, source: str) -> tuple[str, str]:
    """SQL, to follow FROM, for the users and their source that are compared row by row.

    Nearly every contact has one version, and its user is that version. If sums over hashes say so of all of them
    together, which takes no join, what is left are the contacts with several.
    """
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE several AS SELECT id FROM {source} GROUP BY id HAVING count(*) > 1"
    )
    user = ", ".join(f'"{field.name}"' for field in _copied())
    version = ", ".join(f"{user_value(field)}::{field.sql_type}" for field in _copied())
    users = "icontact_users u {} JOIN temp.several ON id = u.ic_contact_id"
    versions = f"{source} v {{}} JOIN temp.several USING (id)"
    [(same,)] = connection.execute(
        f"SELECT (SELECT (count(*), sum(hash(ic_contact_id, deleted_at, {user}))) FROM {users.format('ANTI')}) = "
        f"(SELECT (count(v.id), sum(hash(v.id, deleted_at, {version}))) FROM {versions.format('ANTI')})"
    ).fetchall()
    if not same:
        return "icontact_users", source
    connection.execute(f"CREATE OR REPLACE TEMP TABLE several_users AS FROM {users.format('SEMI')}")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE several_versions AS FROM {versions.format('SEMI')}")
    return "temp.several_users", "temp.several_versions"


def _acted(connection: duckdb.DuckDBPyConnection, source: str) -> dict[str, int | str]:
    """Contacts without a row, and rows of no contact.

    For each event the hash of its contact is summed, and for each row as many times the hash as it counts events. If
    the sums are equal, so are the contacts. The sum of former events is kept beside the table, because to read the
    contacts of all events takes far longer than an update. It is not kept when the table is computed anew.
    """
    counts = " + ".join(f'coalesce("{field.name}", 0)' for field in _counting())
    [(mapped, uncounted)] = connection.execute(
        f"SELECT coalesce(sum(hash(ic_contact_id)::HUGEINT * ({counts})), 0), "
        f"count(*) FILTER (ic_contact_id IS NULL OR {counts} = 0) FROM icontact_activity"
    ).fetchall()
    # Another version of DuckDB may have other hashes.
    for end, former in [*kept_sums(connection), (0, 0)] if not uncounted else []:
        [(new,)] = connection.execute(
            f"SELECT coalesce(sum(hash(id)), 0) FROM {source} WHERE number >= {end}"
        ).fetchall()
        if former + new == mapped:
            if mapped != former:
                keep_sum(connection, mapped)
            return {"missing": 0, "surplus": 0}
    return _rows(connection, "icontact_activity", source)


def _types(connection: duckdb.DuckDBPyConnection, name: str, declared: Sequence[Column]) -> dict[str, int | str]:
    found = connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE {name})").fetchall()
    expected = [(column.name, column.type) for column in declared]
    if name == "icontact_profiles" and len(found) < len(expected):
        # While one of the two tables was never computed, the profiles are those of the other.
        expected = [column for column in expected if column[0] in {column for column, _ in found}]
    different = sorted({column for column, _ in set(found) ^ set(expected)})
    return {"columns": ", ".join(different) or ("" if found == expected else "in another order")}


def _copied() -> list[Field]:
    return [field for field in field_table("icontact_users") if lookup(field) is None and field.name != "ic_contact_id"]


def _values(connection: duckdb.DuckDBPyConnection, users: str, versions: str) -> dict[str, int | str]:
    """Fields that are copied, where the latest version of a contact has a value, and whether the contact vanished."""
    differs = " OR ".join(
        f'({user_value(field)} IS NOT NULL AND u."{field.name}" IS DISTINCT FROM {user_value(field)}::{field.sql_type})'
        for field in _copied()
    )
    latest = f"SELECT * FROM {versions} QUALIFY row_number() OVER (PARTITION BY id ORDER BY observed_at DESC) = 1"
    return {
        "different": _number(
            connection,
            f"SELECT count(*) FROM {users} u JOIN ({latest}) v ON v.id = u.ic_contact_id "
            f"WHERE u.deleted_at IS DISTINCT FROM v.deleted_at OR {differs}",
        )
    }


def _counting() -> list[Field]:
    return [
        field
        for field in field_table("icontact_activity")
        if isinstance(field.source, Call) and field.source.function == "count" and field.condition
    ]


def _counts(connection: duckdb.DuckDBPyConnection, aid: str | None) -> dict[str, int | str]:
    """How far the counts of all contacts together are from the events."""
    counting = _counting()
    mapped = ", ".join(f'coalesce(sum("{field.name}"), 0)' for field in counting)
    events = ", ".join(f"count(*) FILTER ({field.condition})" for field in counting)
    [stored] = connection.execute(f"SELECT {mapped} FROM icontact_activity").fetchall()
    [counted] = connection.execute(f"SELECT {events} FROM raw_activity {_tagged(aid)}").fetchall()
    return {field.name: int(a - b) for field, a, b in zip(counting, stored, counted, strict=True)}


def _tagged(aid: str | None) -> str:
    return "" if aid is None else "SEMI JOIN temp.tagged USING (message_id)"


def _number(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    [(number,)] = connection.execute(sql).fetchall()
    return int(number)
