"""Many rows into and out of DuckDB in little memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import duckdb
import pyarrow as pa

_AT_ONCE = 10_000


def texts(columns: Mapping[str, Iterable[str | None]]) -> pa.Table:
    """Columns of texts as a table to register. pyarrow's own converters would import pandas, which takes 43 MB."""
    arrays = []
    for values in columns.values():
        builder = pa.lib.StringBuilder()
        for value in values:
            builder.append(value)
        arrays.append(builder.finish())
    return pa.Table.from_arrays(arrays, list(columns))


def each(connection: duckdb.DuckDBPyConnection, sql: str, values: Any = None) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, a few at a time. Read them to the end before the connection is used again."""
    connection.execute(sql, values)
    while rows := connection.fetchmany(_AT_ONCE):
        yield from rows
