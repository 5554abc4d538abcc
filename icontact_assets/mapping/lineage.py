"""Which columns each column of a mapped table is computed from, by the field tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from icontact_assets.mapping.expressions import Call, Column, Expression, field_table

Lineage = Mapping[str, tuple[tuple[str, str], ...]]
"""For each column of a table the columns that its values come from, as table and column."""

_RAW = {"icontact_users": "raw_contacts", "icontact_activity": "raw_activity"}
_TIME = "event_time"
"""What `epochms()` stands for: the time of the event."""


@cache
def lineage(name: str) -> Lineage:
    """The columns that `icontact_users`, `icontact_activity` or `icontact_profiles` is computed from."""
    if name == "icontact_profiles":
        tables = {table: lineage(table) for table in _RAW}
        found = {column: ((table, column),) for table, columns in tables.items() for column in columns}
        return found | {"ic_contact_id": tuple((table, "ic_contact_id") for table in tables)}
    raw = _RAW[name]
    columns = {
        field.name: tuple((raw, column) for column in _columns(field.source, field.condition))
        for field in field_table(name)
    }
    return columns | ({"deleted_at": ((raw, "deleted_at"),)} if name == "icontact_users" else {})


def columns_named(sql: str, table: str) -> list[str]:
    """The columns of a mapped table that a user's SQL names outside of texts and comments, in the table's order."""
    named = _words(sql)
    return [column for column in lineage(table) if column.lower() in named]


def is_named(sql: str, table: str) -> bool:
    """Whether a user's SQL names a table outside of texts and comments."""
    return table in _words(sql)


def _words(sql: str) -> set[str]:
    code = re.sub(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", " ", sql, flags=re.DOTALL)
    return {word.lower() for word in re.findall(r"\w+", code)}


def _columns(source: Expression, condition: str | None) -> list[str]:
    # A condition is compiled: its columns are in double quotes.
    return list(dict.fromkeys([*_columns_of(source), *re.findall(r'"(\w+)"', condition or "")]))


def _columns_of(source: Expression) -> list[str]:
    match source:
        case Column(name):
            return [name]
        case Call("epochms", ()):
            return [_TIME]
        case Call(_, arguments):
            return [column for argument in arguments for column in _columns_of(argument)]
    return []
