"""An empty DuckDB, and the name under which it attaches a database file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

CATALOG = "warehouse_file"
"""The name under which the file is attached. DuckDB would call it by its file's name, which may be an import's too."""

_idle: list[duckdb.DuckDBPyConnection] = []
"""Engines without a file, to be used again: to start one takes longer than to attach a file to it."""

_FLUSH = "1MB"
"""What a task took and no longer needs goes back to the system when it is more. By itself DuckDB keeps 128 MB."""

_of_parent: list[duckdb.DuckDBPyConnection] = []


def _leave_to_parent() -> None:
    # The threads of an engine stay behind in the parent of a forked process, which can neither use nor close it.
    _of_parent.extend(_idle)
    _idle.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


def new_engine(spill: Path, extensions: Sequence[Path] = ()) -> duckdb.DuckDBPyConnection:
    """An empty DuckDB, in UTC, that puts what does not fit in memory into the folder `spill`. It loads `extensions`,
    files of installed packages."""
    # Nothing is installed: DuckDB would fetch an extension for a file of another kind.
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            # To verify a signature takes 0.2 s for each. The packages are as trusted as that of DuckDB itself is.
            "allow_unsigned_extensions": "true" if extensions else "false",
            "temp_directory": str(spill),
            "allocator_flush_threshold": _FLUSH,
            "allocator_bulk_deallocation_flush_threshold": _FLUSH,
        }
    )
    for path in extensions:
        connection.execute(f"LOAD '{str(path).replace(chr(39), chr(39) * 2)}'")
    # From here on, only signed ones are loaded: it cannot be set back.
    connection.execute("SET allow_unsigned_extensions = false")
    # Of all its cursors, too.
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    return connection


def close_to_users(connection: duckdb.DuckDBPyConnection) -> None:
    """Close what is not a table to all that runs on the engine from now on. It is good for nothing else then."""
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


@contextmanager
def engine(spill: Path, memory_limit: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to such a DuckDB, which this process may have used before. At the end it is closed, and the file is
    detached. `memory_limit`: MB that it may use. None: as many as DuckDB chooses.

    Whoever changes a setting in it, other than `threads`, sets it back."""
    lent = _idle.pop() if _idle else new_engine(spill)
    connection = lent.cursor()
    unharmed = False
    try:
        connection.execute(f"SET temp_directory = '{str(spill).replace(chr(39), chr(39) * 2)}'")
        if memory_limit is not None:
            connection.execute(f"SET memory_limit = '{memory_limit}MB'")
        yield connection
        unharmed = True
    finally:
        connection.close()
        if _emptied(lent, limited=memory_limit is not None) and unharmed and not spill.exists():
            # One that has spilled keeps to its folder.
            _idle.append(lent)
        else:
            lent.close()


def _emptied(lent: duckdb.DuckDBPyConnection, *, limited: bool) -> bool:
    """Whether an engine has no file attached any more and still takes settings."""
    try:
        lent.execute(f"DETACH DATABASE IF EXISTS {CATALOG}")
        # Not where a query of a user has locked the configuration, or an error has damaged the engine.
        lent.execute("RESET threads")
        if limited:
            lent.execute("RESET memory_limit")
    except duckdb.Error:
        return False
    return True
