"""Rows of the published copy for `icontact-assets query`, as they are printed: text, JSON, CSV."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import duckdb

from icontact_assets.errors import UserError
from icontact_assets.resources import reading
from icontact_assets.settings.models import Settings


class QueryError(UserError):
    """A query cannot be answered. The text says what DuckDB says, and the remedy where there is one to name."""


@dataclass(frozen=True)
class Answer:
    """The rows of a query, with the names of their columns."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def records(self) -> list[dict[str, Any]]:
        """The rows by name of column, of values that JSON has. Raises QueryError if two columns have one name."""
        double = [name for name, count in Counter(self.columns).items() if count > 1]
        if double:
            raise QueryError(f"Several columns are named {', '.join(double)}: name them apart with AS.")
        return [dict(zip(self.columns, map(_json, row), strict=True)) for row in self.rows]


def answer(settings: Settings, sql: str) -> Answer:
    """The rows of a query. If there is one import, its tables need not be named with its schema. Raises QueryError,
    WarehouseError."""
    with reading(settings) as connection:
        if len(settings.imports) == 1:
            name = settings.imports[0].name
            schemas = "SELECT schema_name FROM duckdb_schemas() WHERE database_name = current_database()"
            if (name,) in connection.execute(schemas).fetchall():
                connection.execute(f'USE "{name}"')
        try:
            result = connection.execute(sql)
            if result is None:
                raise QueryError("This is no query.")
            return Answer(tuple(column[0] for column in result.description), result.fetchall())
        except duckdb.Error as error:
            raise QueryError(f"{str(error).strip()}\n{_remedy(error)}".strip()) from error


def _remedy(error: duckdb.Error) -> str:
    if "read-only mode" in str(error):
        return "The published copy is for reading. Write to a DuckDB of your own that attaches it."
    if isinstance(error, duckdb.CatalogException):
        return 'These tables are there: icontact-assets query "SELECT schema, name FROM (SHOW ALL TABLES)".'
    return ""


def text(value: Any) -> str:
    """A value in a cell of a table."""
    return "NULL" if value is None else str(value)


def _json(value: Any) -> Any:
    """A value as JSON has it. Times of the tables are UTC, which is said. What is no finite number is null."""
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat() + ("" if value.tzinfo else "+00:00")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, bool | int | str | None) else str(value)
