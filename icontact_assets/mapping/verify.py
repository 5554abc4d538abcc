"""Whether the mapped tables are what the raw tables make of them. Each question is one statement over whole columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import duckdb

from icontact_assets.mapping.build import tag_messages, there
from icontact_assets.mapping.expressions import Call, field_table, lookup, user_value
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
    asked: dict[str, Callable[[], dict[str, int | str]]] = {
        KEYS: lambda: _keys(connection, name),
        ROWS: lambda: _rows(connection, name, _source(connection, name, aid)),
        TYPES: lambda: _types(connection, name, declared),
        VALUES: lambda: _values(connection),
        COUNTS: lambda: _counts(connection, aid),
    }
    answers = []
    for question in QUESTIONS[name]:
        facts = asked[question]()
        answers.append(Answer(question, not any(facts.values()), facts))
    return answers


def _keys(connection: duckdb.DuckDBPyConnection, name: str) -> dict[str, int | str]:
    return {
        "repeated_or_missing_ids": _number(connection, f"SELECT count(*) - count(DISTINCT ic_contact_id) FROM {name}")
    }


def _rows(connection: duckdb.DuckDBPyConnection, name: str, source: str) -> dict[str, int | str]:
    [(missing, surplus)] = connection.execute(
        "SELECT count(*) FILTER (t.id IS NULL), count(*) FILTER (s.id IS NULL) "
        f"FROM (SELECT DISTINCT id FROM ({source})) s "
        f"FULL JOIN (SELECT ic_contact_id AS id FROM {name}) t ON s.id = t.id"
    ).fetchall()
    return {"missing": missing, "surplus": surplus}


def _source(connection: duckdb.DuckDBPyConnection, name: str, aid: str | None) -> str:
    """SQL for the contact ids that a table should have."""
    if name == "icontact_profiles":
        tables = [table for table in ("icontact_users", "icontact_activity") if there(connection, table)]
        return " UNION ".join(f"SELECT ic_contact_id AS id FROM {table}" for table in tables)
    acted = f"SELECT contact_id AS id FROM raw_activity {_tagged(aid)}"
    if name == "icontact_activity":
        return acted
    return "SELECT id FROM raw_contacts" + ("" if aid is None else f" WHERE id IN ({acted})")


def _types(connection: duckdb.DuckDBPyConnection, name: str, declared: Sequence[Column]) -> dict[str, int | str]:
    found = connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE {name})").fetchall()
    expected = [(column.name, column.type) for column in declared]
    if name == "icontact_profiles" and len(found) < len(expected):
        # While one of the two tables was never computed, the profiles are those of the other.
        expected = [column for column in expected if column[0] in {column for column, _ in found}]
    different = sorted({column for column, _ in set(found) ^ set(expected)})
    return {"columns": ", ".join(different) or ("" if found == expected else "in another order")}


def _values(connection: duckdb.DuckDBPyConnection) -> dict[str, int | str]:
    """Fields that are copied, where the latest version of a contact has a value, and whether the contact vanished."""
    copied = [
        field for field in field_table("icontact_users") if lookup(field) is None and field.name != "ic_contact_id"
    ]
    differs = " OR ".join(
        f'({user_value(field)} IS NOT NULL AND u."{field.name}" IS DISTINCT FROM {user_value(field)}::{field.sql_type})'
        for field in copied
    )
    latest = "SELECT * FROM raw_contacts QUALIFY row_number() OVER (PARTITION BY id ORDER BY observed_at DESC) = 1"
    return {
        "different": _number(
            connection,
            f"SELECT count(*) FROM icontact_users u JOIN ({latest}) v ON v.id = u.ic_contact_id "
            f"WHERE u.deleted_at IS DISTINCT FROM v.deleted_at OR {differs}",
        )
    }


def _counts(connection: duckdb.DuckDBPyConnection, aid: str | None) -> dict[str, int | str]:
    """How far the counts of all contacts together are from the events."""
    counting = [
        field
        for field in field_table("icontact_activity")
        if isinstance(field.source, Call) and field.source.function == "count" and field.condition
    ]
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
