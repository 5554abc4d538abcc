"""An empty DuckDB, and the name under which it attaches a database file."""

from __future__ import annotations

from pathlib import Path

import duckdb

CATALOG = "warehouse_file"
"""The name under which the file is attached. DuckDB would call it by its file's name, which may be an import's too."""


def new_engine(spill: Path) -> duckdb.DuckDBPyConnection:
    """An empty DuckDB, in UTC, that puts what does not fit in memory into the folder `spill`."""
    # Nothing is installed: DuckDB would fetch an extension for a file of another kind.
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "temp_directory": str(spill)})
    connection.execute("SET TimeZone = 'UTC'")
    return connection
