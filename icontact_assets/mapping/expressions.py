"""Reads the field tables, their expressions and conditions, and compiles each field to SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from icontact_assets.errors import UserError
from icontact_assets.mapping.dates import PLAIN as PLAIN_DATE
from icontact_assets.mapping.functions import NAMED_ADDRESS, PLAIN_ADDRESS

SQL_TYPES = {
    "string": "VARCHAR",
    "int": "BIGINT",
    "date": "TIMESTAMP",
    "[]string": "VARCHAR[]",
    "map[string]time": "MAP(VARCHAR, TIMESTAMP)",
    "map[string]intsum": "MAP(VARCHAR, BIGINT)",
}


class MappingError(UserError):
    """A field table holds something that has no meaning. The text names file, field and remedy."""


@dataclass(frozen=True)
class Call:
    """A function applied to arguments. A plain column is an argument without a call."""

    function: str
    arguments: tuple[Call | Column | Literal, ...]


@dataclass(frozen=True)
class Column:
    """A column of the stream's rows."""

    name: str


@dataclass(frozen=True)
class Literal:
    """A quoted text."""

    text: str


Expression = Call | Column | Literal


@dataclass(frozen=True)
class Field:
    """One row of a field table. `sql_type` is the column's type in DuckDB. `condition` is SQL or None."""

    name: str
    source: Expression
    condition: str | None
    sql_type: str
    merge: str
    description: str
    personal: bool


_TOKEN = re.compile(r'\s*(?:([A-Za-z_]\w*)|"([^"]*)"|([(),=]))')


def parse_expression(text: str) -> Expression:
    """An expression such as `valuect(hash(urlmain(event_url)))`. Raises ValueError saying what was found."""
    tokens = _tokens(text)
    expression, rest = _expression(tokens)
    if rest:
        raise ValueError(f"found {rest[0][1]!r} after the expression's end")
    return expression


def compile_condition(text: str) -> str:
    """A condition such as `event_type = "open"` or `event_type in ("open", "click")` as SQL. Raises ValueError.

    Comparison is exact, as the vendor's `eq` and `IN` are.
    """
    tokens = _tokens(text)
    kinds = [kind for kind, _ in tokens]
    words = [value for _, value in tokens]
    if kinds == ["name", "mark", "text"] and words[1] == "=":
        return f'"{words[0]}" = {_quote(words[2])}'
    if kinds[:3] == ["name", "name", "mark"] and words[1].lower() == "in" and words[2] == "(" and words[-1] == ")":
        inside = tokens[3:-1]
        values = [value for kind, value in inside[::2] if kind == "text"]
        if inside and len(values) == len(inside[::2]) and all(token == ("mark", ",") for token in inside[1::2]):
            return f'"{words[0]}" IN ({", ".join(_quote(value) for value in values)})'
    raise ValueError('a condition reads column = "value" or column in ("value", ...)')


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at = [], 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"found {text[at:].strip()[0]!r}, which has no meaning here")
        name, quoted, mark = found.groups()
        tokens.append(("name", name) if name else ("mark", mark) if mark else ("text", quoted))
        at = found.end()
    return tokens


def _expression(tokens: list[tuple[str, str]]) -> tuple[Expression, list[tuple[str, str]]]:
    if not tokens or tokens[0][0] == "mark":
        raise ValueError("an expression is a column, a quoted text or a function call")
    (kind, value), rest = tokens[0], tokens[1:]
    if kind == "text":
        return Literal(value), rest
    if not rest or rest[0] != ("mark", "("):
        return Column(value), rest
    rest = rest[1:]
    arguments: list[Expression] = []
    while rest and rest[0] != ("mark", ")"):
        if arguments:
            if rest[0] != ("mark", ","):
                raise ValueError(f"found {rest[0][1]!r} where a comma or the end of {value} is due")
            rest = rest[1:]
        argument, rest = _expression(rest)
        arguments.append(argument)
    if not rest:
        raise ValueError(f"the call of {value} is not closed")
    return Call(value, tuple(arguments)), rest[1:]


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@cache
def field_table(name: str) -> tuple[Field, ...]:
    """The fields of `icontact_users` or `icontact_activity`, in the vendor's order. Raises MappingError."""
    return tuple(parse_table(source_text(name), f"{name}.yaml"))


def parse_table(text: str, file: str) -> list[Field]:
    """The fields of a table as it is written in YAML. Raises MappingError naming `file`, the row, and the remedy."""
    fields: list[Field] = []
    for number, row in enumerate(yaml.safe_load(text) or [], start=1):
        where = f"{file}, row {number}"
        if not isinstance(row, dict):
            raise MappingError(f"{where}: found {row!r}. Write a row with field, source, type, merge and description.")
        where += f", field {row.get('field')!r}"
        if missing := {"field", "source", "type", "merge", "description"} - row.keys():
            raise MappingError(f"{where}: {', '.join(sorted(missing))} is missing. Add it.")
        if unknown := row.keys() - {"field", "source", "type", "merge", "description", "condition", "personal"}:
            raise MappingError(f"{where}: found {', '.join(sorted(unknown))}, which has no meaning. Remove it.")
        if row["type"] not in SQL_TYPES:
            raise MappingError(f"{where}: found type {row['type']!r}. Write one of {', '.join(SQL_TYPES)}.")
        if row["field"] in [field.name for field in fields]:
            raise MappingError(f"{where}: the field is defined twice. Remove one of the two.")
        try:
            expression = parse_expression(row["source"])
            condition = compile_condition(row["condition"]) if "condition" in row else None
        except ValueError as error:
            raise MappingError(f"{where}: {error}. Correct the expression.") from error
        sql_type, personal = SQL_TYPES[row["type"]], row.get("personal", False)
        fields.append(Field(row["field"], expression, condition, sql_type, row["merge"], row["description"], personal))
    return fields


def source_text(name: str) -> str:
    """The field table as it is written."""
    return (files("icontact_assets.mapping") / f"{name}.yaml").read_text(encoding="utf-8")


def lookup(field: Field) -> tuple[str, str] | None:
    """The function and the column of a user field whose value is computed per distinct text. None for a plain copy."""
    match field.source:
        case Call(("email" | "emaildomain") as function, (Column(column),)):
            return function, column
        case Column(column) if field.sql_type == "TIMESTAMP":
            return "todate", column
        case Column():
            return None
    raise MappingError(f"icontact_users.yaml, field {field.name!r}: its expression has no meaning for contacts.")


_ADDRESS = f"{PLAIN_ADDRESS}|{NAMED_ADDRESS}"
_BARE = "CASE WHEN contains({0}, '<') THEN rtrim(split_part({0}, '<', -1), '>') ELSE {0} END"
_PLAIN = {
    "email": (_ADDRESS, f"lower({_BARE})"),
    "emaildomain": (_ADDRESS, "lower(rtrim(substr({0}, strpos({0}, '@') + 1), '>'))"),
    "todate": (PLAIN_DATE, "try_cast({0} AS TIMESTAMP)"),
}


def needs_function(function: str, column: str) -> str:
    """SQL condition: this text is not of the plain form for which SQL gives the same value as the function."""
    return f'NOT regexp_full_match("{column}", {_quote(_PLAIN[function][0])})'


def user_value(field: Field) -> str:
    """SQL for the value that one version of a contact gives a field. NULL writes nothing, nor does empty text.

    What needs the function is joined: a table named `<function>_<column>`, of texts and their values.
    """
    if (found := lookup(field)) is not None:
        function, column = found
        table, plain = f'"{function}_{column}"', _PLAIN[function][1].format(f'"{column}"')
        return f"CASE WHEN {table}.text IS NULL THEN {plain} ELSE {table}.value END"
    assert isinstance(field.source, Column)  # noqa: S101 (lookup has checked it)
    return f"nullif(v.\"{field.source.name}\", '')"


def counts_links(field: Field) -> bool:
    """Whether a field over the events of a contact counts its clicks per link."""
    hashed = Call("hash", (Call("urlmain", (Column("event_url"),)),))
    return field.source == Call("valuect", (hashed,)) and field.condition is None


EVENTS_BY_KIND = (
    "SELECT contact_id, event_type, count(*) AS events, min(event_time) AS first, max(event_time) AS last "
    "FROM {} GROUP BY contact_id, event_type"
)
"""SQL that `activity_value` is over: a row for each contact and event type. There are far fewer than events."""


def activity_value(field: Field) -> str:
    """SQL aggregate for a field over the events of one contact, other than links. NULL where no event has a value."""
    where = f" FILTER (WHERE {field.condition})" if field.condition else ""
    match field.source:
        case Column("contact_id"):
            return '"contact_id"'
        case Call("count", (Column("event_type"),)):
            present = "event_type <> ''" + (f" AND {field.condition}" if field.condition else "")
            return f"sum(events) FILTER (WHERE {present})"
        case Call("min", (Call("epochms", ()),)):
            return _milliseconds(f"min(first){where}")
        case Call("max", (Call("epochms", ()),)):
            return _milliseconds(f"max(last){where}")
        case Call("map", (Literal(key), Call("epochms", ()))):
            newest = _milliseconds(f"max(last){where}")
            return f"CASE WHEN {newest} IS NOT NULL THEN MAP {{{_quote(key)}: {newest}}} END"
        case Call("set", (Literal(value),)):
            return f"CASE WHEN count(*){where} > 0 THEN [{_quote(value)}] END"
    raise MappingError(f"icontact_activity.yaml, field {field.name!r}: its expression has no meaning for events.")


def merged_value(field: Field) -> str:
    """SQL aggregate that makes one value of those that `activity_value` gave for parts of a contact's events."""
    match field.source:
        case Call("count"):
            return f'sum("{field.name}")'
        case Call(("min" | "max") as function):
            return f'{function}("{field.name}")'
        case Call("map"):
            return f'arg_max("{field.name}", map_values("{field.name}")[1])'
        case Call("set"):
            return f'any_value("{field.name}")'
    return f'"{field.name}"'


def is_map(field: Field) -> bool:
    """Whether a field holds several values, each under a key."""
    return field.sql_type.startswith("MAP")


def person_value(field: Field) -> str:
    """SQL aggregate that makes one value of those of several contacts, by the field's `merge`. The latest is that with
    the largest `rank`. Of a map, it is over the `value` of one key. Raises MappingError."""
    column = "value" if is_map(field) else f'"{field.name}"'
    match field.merge, field.sql_type:
        case "latest" | "identity", "VARCHAR" | "TIMESTAMP":
            return f"arg_max({column}, rank)"
        case "sum", "BIGINT" | "MAP(VARCHAR, BIGINT)":
            return f"sum({column})::BIGINT"
        case ("max" | "min") as function, "TIMESTAMP":
            return f"{function}({column})"
        case "latest", "MAP(VARCHAR, TIMESTAMP)":
            # The value is the time of its row.
            return f"max({column})"
        case "union", "VARCHAR[]":
            return f"list_sort(list_distinct(flatten(list({column}) FILTER ({column} IS NOT NULL))))"
    raise MappingError(
        f"The field {field.name!r}: the merge {field.merge!r} has no meaning for {field.sql_type}. Write another in "
        "its field table."
    )


def _milliseconds(timestamp: str) -> str:
    """epochms() has no finer unit."""
    return f"date_trunc('millisecond', {timestamp})"
