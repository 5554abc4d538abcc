"""Why a contact is, or is not, in an audience: its history there, and the condition's parts with its own values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import duckdb

from icontact_assets.audiences.audience import AudienceError, incomplete_reason, problem, select
from icontact_assets.audiences.membership import Standing, standing
from icontact_assets.icontact.values import as_id
from icontact_assets.settings.models import Audience
from icontact_assets.warehouse.warehouse import Warehouse

Truth = Literal["true", "false", "unknown", "fails"]
"""SQL's three values, and that the text cannot be evaluated for this contact."""

PERSONAL = "(personal)"
"""What stands for the value of a column that identifies a person."""

_DECISIVE: tuple[Truth, ...] = ("false", "fails", "unknown")
"""What decides a conjunction, the strongest first; it is true only without any of them."""

_OPPOSITE: dict[Truth, Truth] = {"true": "false", "false": "true", "unknown": "unknown", "fails": "fails"}

_VALUE_LENGTH = 200
_LITERAL_ADDRESS = re.compile(r"'[^']*\w@[^']*'")


@dataclass(frozen=True)
class Part:
    """A part of a condition, judged for one contact."""

    kind: Literal["all", "any", "not", "test"]
    """`all` or `any` of its parts, `not` its only part, or a `test` that is not divided further."""
    truth: Truth
    text: str | None = None
    """The SQL of a test."""
    values: dict[str, Any] | None = None
    """The contact's values of the columns that a test names."""
    problem: str | None = None
    """Why a test fails."""
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """What is known of one contact and one audience. Times are UTC, naive."""

    audience: str
    contact_id: str
    standing: Standing
    """The contact in the audience as last computed. All fields below `kept` are as of now."""
    kept: str | None
    """Why the audience was not recomputed the last time."""
    has_profile: bool
    deleted_at: datetime | None
    """When the contact vanished from iContact."""
    selected: bool | None
    """Whether the audience would hold the contact if it were computed. None if it cannot be."""
    problem: str | None
    """Why it cannot be computed."""
    condition: Part | None
    """None without a profile, for an audience by `query`, and for a text that is no condition."""


def explain(warehouse: Warehouse, audience: Audience, contact_id: str, *, public: Iterable[str]) -> Explanation:
    """Explain whether a contact, named by the digits of its id, is in an audience.

    `public` names the columns of icontact_profiles whose values may be shown. Nothing is recorded. Raises
    AudienceError if there are no tables of audiences or profiles yet, WarehouseError.
    """
    if as_id(contact_id) != contact_id:
        raise ValueError("a contact is named by the digits of its id")
    selected, why_not = None, None
    try:
        selected = contact_id in select(warehouse, audience)
    except AudienceError as error:
        why_not = str(error)
    condition_sql = _condition(audience)
    try:
        with warehouse.read(users_sql=condition_sql) as connection:
            known = standing(connection, audience.name, contact_id)
            kept = incomplete_reason(connection, audience.name) if known.computed_at else None
            person = _Person(connection, contact_id, frozenset(public))
            rows = person.ask("deleted_at")
            condition = person.judge(condition_sql) if rows and condition_sql is not None else None
    except duckdb.PermissionException:
        raise AudienceError(str(why_not)) from None
    except duckdb.CatalogException as error:
        raise AudienceError(
            f"The import {warehouse.schema} has no profiles yet ({problem(error)}): materialize "
            f"{warehouse.schema}/icontact_profiles and {warehouse.schema}/audience_{audience.name} first."
        ) from None
    return Explanation(
        audience=audience.name,
        contact_id=contact_id,
        standing=known,
        kept=kept,
        has_profile=bool(rows),
        deleted_at=rows[0][0] if rows else None,
        selected=selected,
        problem=why_not,
        condition=condition,
    )


def _condition(audience: Audience) -> str | None:
    """A SELECT with an audience's condition. None if there is none, or if it cannot be read."""
    sql = f"SELECT 1 FROM icontact_profiles WHERE {audience.where}"  # noqa: S608
    try:
        return sql if audience.where is not None and len(duckdb.extract_statements(sql)) == 1 else None
    except duckdb.ParserException:
        return None


class _Person:
    """The profile of one contact, and conditions judged by it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, contact_id: str, public: frozenset[str]) -> None:
        self._connection = connection
        self._profile = f"(FROM icontact_profiles WHERE ic_contact_id = '{contact_id}') AS icontact_profiles"
        self._public = public
        described = connection.execute("DESCRIBE icontact_profiles").fetchall()
        self._columns = {str(row[0]).lower(): str(row[0]) for row in described}

    def ask(self, expression: str) -> list[tuple[Any, ...]]:
        """The expression's value for this contact. No row if there is no profile."""
        return self._connection.execute(f"SELECT {expression} FROM {self._profile}").fetchall()  # noqa: S608

    def judge(self, source: str) -> Part | None:
        """The condition of a SELECT for this contact. None if the text is not one condition."""
        statement = self._parse(source)
        return None if statement is None else self._part(statement, statement["node"]["where_clause"], source.encode())

    def _part(self, statement: dict[str, Any], node: dict[str, Any], source: bytes) -> Part:
        if node["class"] == "CONJUNCTION":
            parts = tuple(self._part(statement, child, source) for child in node["children"])
            truths = [part.truth for part in parts]
            if node["type"] == "CONJUNCTION_AND":
                return Part("all", _all(truths), parts=parts)
            return Part("any", _any(truths), parts=parts)
        if node["type"] == "OPERATOR_NOT":
            part = self._part(statement, node["children"][0], source)
            return Part("not", _OPPOSITE[part.truth], parts=(part,))
        text = self._text(statement, node, source)
        truth, why = self._truth(text)
        return Part("test", truth, _LITERAL_ADDRESS.sub("'<address>'", text), self._values(node), why)

    def _truth(self, text: str) -> tuple[Truth, str | None]:
        try:
            # One row; several columns only where the text stands for several by COLUMNS, and all of them count.
            [row] = self.ask(f"CAST(({text}\n) AS BOOLEAN)")
        except duckdb.Error as error:
            return "fails", problem(error)
        words: dict[bool | None, Truth] = {True: "true", False: "false", None: "unknown"}
        return _all(words[value] for value in row), None

    def _values(self, node: dict[str, Any]) -> dict[str, Any]:
        """The values of the columns that a part of a condition names, personal ones hidden."""
        names = [self._columns[name.lower()] for name in _names(node) if name.lower() in self._columns]
        shown = [name for name in dict.fromkeys(names) if name in self._public]
        [row] = self.ask(", ".join(f'"{name}"' for name in shown)) if shown else [()]
        values = dict(zip(shown, row, strict=True))
        return {name: values.get(name, PERSONAL) for name in names}

    def _text(self, statement: dict[str, Any], node: dict[str, Any], source: bytes) -> str:
        """A part of a condition as SQL. It is as the user wrote it from DuckDB 2.0 on, which says where that is."""
        alone = {"type": "EMPTY", "alias": "", "sample": None, "query_location": 0}
        parts = {"select_list": [node], "where_clause": None, "from_table": alone}
        document = {"error": False, "statements": [{**statement, "node": {**statement["node"], **parts}}]}
        [(rendered,)] = self._connection.execute(
            "SELECT json_deserialize_sql(CAST(? AS JSON))", [json.dumps(document)]
        ).fetchall()
        written = str(rendered).removeprefix("SELECT ")
        spans = list(_spans(node))
        taken = source[min(start for start, _ in spans) : max(end for _, end in spans)].decode(errors="replace")
        for text in (taken, written[1:-1]):
            # Only what DuckDB reads as the very same part may stand for it.
            parsed = self._parse(f"SELECT {text}\n")
            if parsed is not None and _bare(parsed["node"]["select_list"]) == _bare([node]):
                return text
        return written

    def _parse(self, sql: str) -> dict[str, Any] | None:
        """DuckDB's syntax tree of one SELECT. None if it is none."""
        [(text,)] = self._connection.execute("SELECT json_serialize_sql(CAST(? AS VARCHAR))", [sql]).fetchall()
        document = json.loads(text)
        if document["error"] or len(document["statements"]) != 1:
            return None
        statement: dict[str, Any] = document["statements"][0]
        return statement


def _all(truths: Iterable[Truth]) -> Truth:
    found = set(truths)
    return next((truth for truth in _DECISIVE if truth in found), "true")


def _any(truths: Iterable[Truth]) -> Truth:
    return _OPPOSITE[_all(_OPPOSITE[truth] for truth in truths)]


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every node of a syntax tree but those inside a subquery, whose columns are others."""
    if isinstance(tree, dict):
        yield tree
        for key, value in tree.items():
            if key != "subquery":
                yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _names(tree: Any) -> list[str]:
    return [name for node in _nodes(tree) for name in node.get("column_names", ())]


def _spans(tree: Any) -> Iterator[tuple[int, int]]:
    """Where the nodes of a tree begin and end in the text, in bytes. (0, 0) where that is not known."""
    found = False
    for node in _nodes(tree):
        if node.get("query_location_length"):
            found = True
            yield node["query_location"], node["query_location"] + node["query_location_length"]
    if not found:
        yield 0, 0


def _bare(tree: Any) -> Any:
    """A syntax tree without the places of its nodes in the text."""
    if isinstance(tree, dict):
        return {key: _bare(value) for key, value in tree.items() if not key.startswith("query_location")}
    return [_bare(value) for value in tree] if isinstance(tree, list) else tree


def render(explanation: Explanation) -> str:
    """An explanation as text, several lines."""
    known, name = explanation.standing, explanation.audience
    if known.computed_at is None:
        lines = [f"The audience {name} was never computed: nobody is in it yet."]
    elif known.since is None:
        lines = [f"Contact {explanation.contact_id} is not in the audience {name}."]
    else:
        lines = [f"Contact {explanation.contact_id} is in the audience {name} since {_time(known.since)}."]
    lines += [f"  {change.change:<8} {_time(change.at)}" for change in known.changes]
    if known.computed_at is not None:
        lines.append(f"The audience was last computed at {_time(known.computed_at)}.")
    if explanation.kept is not None:
        lines.append(f"Since then it was kept as it was: {explanation.kept.rstrip('.')}.")
    lines += _now(explanation)
    if explanation.condition is not None:
        lines += ["The condition, with this contact's values as they are now:", *_lines(explanation.condition, 1)]
    return "\n".join(lines)


def _now(explanation: Explanation) -> Iterator[str]:
    known = explanation.standing
    if explanation.problem is not None:
        yield explanation.problem
    else:
        yield f"Computed now, it would {'' if explanation.selected else 'not '}hold this contact."
        if known.computed_at is not None and explanation.selected != (known.since is not None):
            yield (
                "That differs from what is recorded: the profiles or the audience's definition changed since. "
                f"Materialize audience_{explanation.audience} to record it."
            )
    if not explanation.has_profile:
        yield f"There is no contact {explanation.contact_id} in icontact_profiles, so that no condition chooses it."
    elif explanation.deleted_at is not None:
        yield (
            f"The contact was first missing in iContact at {_time(explanation.deleted_at)}: such contacts are in no "
            "audience, whatever the condition says."
        )
    if explanation.has_profile and explanation.condition is None and explanation.problem is None:
        yield "The audience is chosen by a query, which has no parts that could be judged one by one."


def _lines(part: Part, depth: int) -> Iterator[str]:
    words = {"all": "all of", "any": "any of", "not": "not"}
    yield f"{part.truth:>9} {'  ' * depth}{words.get(part.kind) or ' '.join((part.text or '').split())}"
    for name, value in (part.values or {}).items():
        text = f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else "NULL" if value is None else str(value)
        cut = text if len(text) <= _VALUE_LENGTH else f"{text[:_VALUE_LENGTH]}..."
        yield f"{'':>9} {'  ' * depth}    {name}: {cut}"
    if part.problem is not None:
        yield f"{'':>9} {'  ' * depth}    {part.problem}"
    for inner in part.parts:
        yield from _lines(inner, depth + 1)


def _time(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
