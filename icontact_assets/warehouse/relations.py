"""Which tables and views a schema has, and views that are made anew only where they would differ."""

from __future__ import annotations

import hashlib

import duckdb


def relations(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """The tables and views of the current schema."""
    # Asked for its tables themselves, a lake counts the rows of each.
    found = connection.execute(
        "SELECT DISTINCT table_name FROM duckdb_columns() "
        "WHERE database_name = current_database() AND schema_name = current_schema()"
    ).fetchall()
    return {name for (name,) in found}


def columns_of(connection: duckdb.DuckDBPyConnection, name: str, schema: str | None = None) -> list[tuple[str, str]]:
    """Names and types of the columns of a table or view, of the current schema or another. Empty if it is not there."""
    return connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = current_database() "
        "AND schema_name = coalesce(?, current_schema()) AND table_name = ? ORDER BY column_index",
        [schema, name],
    ).fetchall()


def there(connection: duckdb.DuckDBPyConnection, name: str, schema: str | None = None) -> bool:
    """Whether the schema, by default the current one, has a table or view of that name."""
    return bool(columns_of(connection, name, schema))


def mark_of(view: str, *others: str) -> str:
    """What a view with this DDL is marked with. `others`: what else it was made for."""
    return hashlib.blake2b("\n".join([view, *others]).encode(), digest_size=8).hexdigest()


def create_view(connection: duckdb.DuckDBPyConnection, name: str, view: str, mark: str) -> None:
    """Create a view of the current schema by its DDL, in place of the one that is there."""
    connection.execute(view)
    connection.execute(f"COMMENT ON VIEW {name} IS '{mark}'")


def mark_of_stored_view(connection: duckdb.DuckDBPyConnection, name: str) -> str | None:
    """The mark of the view that is there. None if there is none."""
    found = connection.execute(
        "SELECT comment FROM duckdb_views() WHERE database_name = current_database() "
        "AND schema_name = current_schema() AND view_name = ?",
        [name],
    ).fetchall()
    return found[0][0] if found else None
