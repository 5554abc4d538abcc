"""Many rows into and out of DuckDB in little memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import duckdb
import pyarrow as pa

from icontact_assets.warehouse.arrays import text_array

_AT_ONCE = 10_000


def texts(columns: Mapping[str, Iterable[str | None]]) -> pa.Table:
    """Columns of texts as a table to register."""
    return pa.Table.from_arrays([text_array(list(values)) for values in columns.values()], list(columns))


def each(connection: duckdb.DuckDBPyConnection, sql: str, values: Any = None) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, a few at a time. Read them to the end before the connection is used again."""
    connection.execute(sql, values)
    while rows := connection.fetchmany(_AT_ONCE):
        yield from rows
