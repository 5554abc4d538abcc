"""What DuckDB's errors are about, and what to do when it cannot use the place of the tables."""

from __future__ import annotations

import re

import duckdb

from icontact_assets.errors import UserError

_DAMAGED = re.compile("(?i)corrupt|could not read enough bytes|serialization error")

_NO_TABLE = re.compile(r"Table with name (\w+) does not exist")

_KEPT_OF_AN_ERROR = 500

_OF_THE_PLACE = (
    duckdb.IOException,
    duckdb.TransactionException,
    duckdb.OutOfMemoryException,
    duckdb.SerializationException,
    duckdb.FatalException,
    duckdb.InternalException,
)


def is_of_the_place(error: duckdb.Error) -> bool:
    """Whether file, catalog, disk or memory are at fault. Anything else is wrong SQL, and the caller's."""
    # DuckDB 2.0 has no class of its own for a damaged file.
    return isinstance(error, _OF_THE_PLACE) or type(error) is duckdb.Error


class QueryFailed(UserError):
    """DuckDB could not answer a query of ours. The text names the table that is missing, and no value of anybody's row,
    which DuckDB's own text may quote."""


def query_failed(error: duckdb.Error) -> QueryFailed:
    """The error to show in the place of one that DuckDB raised."""
    found = _NO_TABLE.search(str(error)) if isinstance(error, duckdb.CatalogException) else None
    if found:
        return QueryFailed(
            f"There is no table {found[1]} in the database yet. Materialize {found[1]}, then run this again."
        )
    return QueryFailed(
        f"DuckDB could not answer a query ({type(error).__name__}). Its text is not shown, because it may quote "
        "somebody's row. Update icontact_assets and run this again. If that does not help, report it."
    )


def remedy(error: Exception) -> str:
    """What to do about an error that the file, the disk or the memory is at fault for."""
    text = str(error)
    if "not a valid DuckDB database file" in text:
        return (
            "Name another file with ICONTACT_ASSETS_DUCKDB, or move this one away: a new database is made in its place."
        )
    if "we can only read" in text:
        return (
            f"DuckDB {duckdb.__version__}, which is installed here, does not read it: another version wrote it. "
            "Upgrade the Python package duckdb, or name another file with ICONTACT_ASSETS_DUCKDB."
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return "Give the process more memory, or the disk that holds the database more space."
    if _DAMAGED.search(text) or isinstance(error, duckdb.FatalException | duckdb.InternalException):
        return (
            "The file is damaged. Put a backup in its place, or move it away and materialize the raw assets again: "
            "everything that iContact still shows is read anew."
        )
    return (
        "Check that the folder exists, that this user may write to it, and that the disk has space "
        "(ICONTACT_ASSETS_DUCKDB names another place)."
    )


def first_line(error: Exception) -> str:
    """The first line of an error, which may name a path of thousands of characters."""
    line = (str(error).splitlines() or [type(error).__name__])[0].strip().rstrip(".!")
    return (line if len(line) <= _KEPT_OF_AN_ERROR else f"{line[:_KEPT_OF_AN_ERROR]}...") + "."
