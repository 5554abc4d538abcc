"""How the value of each field is read, on either side, so that two values can be compared in SQL."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import chain

from icontact_assets.mapping.expressions import Field, field_table

ID = "ic_contact_id"
TABLES = ("icontact_users", "icontact_activity")

READING = {
    # A number below 100,000,000,000 is in seconds, which then end in the year 5138. Others are in milliseconds.
    "epoch_of_number(x)": "CASE WHEN abs(x) < 1e11 THEN (x * 1000)::BIGINT ELSE x::BIGINT END",
    # Go prints the name of a zone after its offset. Without an offset the cast reads UTC.
    # Go prints the name of a zone after its offset, and years have more than four digits where seconds are taken for
    # milliseconds. Nearly all texts are read without looking for that. Without an offset the cast reads UTC.
    "epoch_of_text(x)": (
        "epoch_ms(TRY_CAST(regexp_replace(regexp_replace(x, '^[+]0*', ''), "
        "' ?([+-][0-9]{2}:?[0-9]{2}|Z)( [A-Z]{3,4})?$', '\\1') AS TIMESTAMPTZ))"
    ),
    "their_time(x)": (
        "coalesce(epoch_ms(TRY_CAST(x AS TIMESTAMPTZ)), "
        "CASE WHEN regexp_full_match(x, '-?[0-9]+([.][0-9]+)?([eE][+]?[0-9]+)?') "
        "THEN TRY(epoch_of_number(TRY_CAST(x AS DOUBLE))) ELSE epoch_of_text(x) END)"
    ),
    "their_number(x)": "TRY_CAST(regexp_replace(x, '[.]0+$', '') AS BIGINT)",
    "their_entries(x)": (
        "list_filter(map_entries(TRY_CAST(TRY_CAST(x AS JSON) AS MAP(VARCHAR, VARCHAR))), "
        "lambda e: e.value IS NOT NULL)"
    ),
    # One value that cannot be read makes all of it unreadable: nothing is left out.
    "all_read(l)": "CASE WHEN NOT list_contains(list_transform(l, lambda e: e.v IS NULL), true) THEN list_sort(l) END",
    "their_times(x)": "all_read(list_transform(their_entries(x), lambda e: {'k': e.key, 'v': their_time(e.value)}))",
    "their_counts(x)": "all_read(list_transform(their_entries(x), lambda e: {'k': e.key, 'v': their_number(e.value)}))",
    "their_texts(x)": (
        "list_sort(list_distinct(CASE WHEN x LIKE '[%' THEN TRY_CAST(TRY_CAST(x AS JSON) AS VARCHAR[]) "
        "ELSE list_transform(string_split(x, ','), lambda e: trim(e)) END))"
    ),
    "our_times(x)": "list_sort(list_transform(map_entries(x), lambda e: {'k': e.key, 'v': epoch_ms(e.value)}))",
    "our_counts(x)": "list_sort(list_transform(map_entries(x), lambda e: {'k': e.key, 'v': e.value}))",
}
"""Macros that `theirs` and `ours` use. Instants are milliseconds since 1970 (UTC), maps are sorted lists of {k, v}.
NULL: it cannot be read."""

_THEIRS = {
    "VARCHAR": "{}",
    "BIGINT": "their_number({})",
    "TIMESTAMP": "their_time({})",
    "VARCHAR[]": "their_texts({})",
    "MAP(VARCHAR, TIMESTAMP)": "their_times({})",
    "MAP(VARCHAR, BIGINT)": "their_counts({})",
}
_OURS = {
    "VARCHAR": "{}",
    "BIGINT": "{}",
    "TIMESTAMP": "epoch_ms({})",
    "VARCHAR[]": "list_sort({})",
    "MAP(VARCHAR, TIMESTAMP)": "our_times({})",
    "MAP(VARCHAR, BIGINT)": "our_counts({})",
}
_EMPTY: Mapping[str, tuple[str, ...]] = {
    "BIGINT": ("0", "0.0"),
    "VARCHAR[]": ("[]",),
    "MAP(VARCHAR, TIMESTAMP)": ("{}",),
    "MAP(VARCHAR, BIGINT)": ("{}",),
}
"""Texts that hold as much as no value, beside the empty one."""


@cache
def fields() -> dict[str, Field]:
    """The fields of both of the vendor's tables by name, in their order, each once."""
    found: dict[str, Field] = {}
    for field in chain.from_iterable(map(field_table, TABLES)):
        found.setdefault(field.name, field)
    return found


def table_of(field: Field) -> str:
    """The mapped table that holds a field."""
    return next(table for table in TABLES if field in field_table(table))


def kept(field: Field, text: str) -> str:
    """SQL for a text of the file as it is kept: NULL where it says that there is no value."""
    empty = ", ".join(f"'{value}'" for value in ("", *_EMPTY.get(field.sql_type, ())))
    return f"CASE WHEN {text} NOT IN ({empty}) THEN {text} END"


def theirs(field: Field, text: str) -> str:
    """SQL for the value of a text that was kept. NULL: it cannot be read."""
    return _THEIRS[field.sql_type].format(text)


def ours(field: Field, value: str) -> str:
    """SQL for the value of a column of ours."""
    return _OURS[field.sql_type].format(value)
