"""What all report tables are written by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb

from icontact_assets.warehouse.relations import columns_of
from icontact_assets.warehouse.tables import Table


def store(
    connection: duckdb.DuckDBPyConnection, table: Table, query: str, values: Mapping[str, Any] | None = None
) -> int:
    """Put the rows of a query in place of those of a report table, column by name: how many there are.

    What the query does not name is NULL. `values` are those of its parameters.
    """
    [(schema,)] = connection.execute("SELECT current_schema()").fetchall()
    if columns_of(connection, table.name) == [(column.name, column.type) for column in table.columns]:
        # A lake loads what it knows of all its tables again when one is made.
        connection.execute(f'DELETE FROM "{table.name}"')
    else:
        # It may be one of an earlier version.
        connection.execute(f'DROP TABLE IF EXISTS "{table.name}"')
        connection.execute(table.ddl(schema))
    connection.execute(f'INSERT INTO "{table.name}" BY NAME {query}', values)
    [(rows,)] = connection.execute(f'SELECT count(*) FROM "{table.name}"').fetchall()
    return int(rows)
