"""The schemas of imports, copied from one storage into another, table by table, and proven to be the same there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import duckdb

from icontact_assets.errors import UserError
from icontact_assets.warehouse.engine import CATALOG
from icontact_assets.warehouse.lock import LockTaken
from icontact_assets.warehouse.storage import Storage, Tenure, nothing_kept
from icontact_assets.warehouse.tables import IMPORT_SOURCE, VIEWS
from icontact_assets.warehouse.warehouse import Warehouse

_BATCH = 100_000
"""Rows of a table that are on the way at one time. Tables that have fewer together are committed together."""

_ROOM = 2
"""The bytes that must be free for each that the source takes."""

_LOCK_SECONDS = 5.0


class CopyRefused(UserError):
    """Nothing was copied, or what was copied is not the same. The text says why, and the remedy."""


@dataclass(frozen=True)
class Copied:
    """What became of one table."""

    schema: str
    table: str
    rows: int
    was_there: bool
    """Whether the target had the same rows already."""


class _Print(NamedTuple):
    """What two tables have in common only if they have the same rows in the same order."""

    rows: int
    sum: int
    """Of a hash of each row and its number."""

    def mark(self) -> str:
        """The comment that a copied table has, by which a later call sees whether anybody changed it."""
        return f"as copied: {self.rows} rows, {self.sum:x}"


_EMPTY = _Print(0, 0)


@dataclass(frozen=True)
class _Table:
    """A table as the source has it."""

    schema: str
    name: str
    columns: tuple[tuple[str, str], ...]
    """Names and types."""
    print: _Print

    @property
    def place(self) -> str:
        return f'"{self.schema}"."{self.name}"'


def copy(
    source: Storage, target: Storage, *, waiting: Callable[[str], None], tell: Callable[[str], None]
) -> Iterator[Copied]:
    """Copy all that the schemas of imports in `source` hold into `target`. What became of each table, as it is done.

    Nobody reads or exports an import meanwhile, and nobody writes to the source. A table is committed when the target
    has what the source has: every value, in the same order. What the target has already is not copied again, so that a
    call after a kill goes on. A table that was copied before and not changed since is replaced.

    Views and macros are made anew, and other views are copied. `tell` is called with what goes on, and `waiting` with
    what somebody who waits should know.

    Raises CopyRefused where the target holds other data, has been changed since it was copied or has too little room,
    and where somebody is at work. Raises WarehouseError.
    """
    if not source.exists():
        raise nothing_kept(source.where)
    if source.where == target.where:
        raise ValueError("a copy needs two places")
    schemas = _schemas(source)
    purpose = f"copying to {target.where}"
    with ExitStack() as held:
        for schema in schemas:
            held.enter_context(_alone(source, schema, purpose, waiting))
        tenures = {schema: held.enter_context(_alone(target, schema, purpose, waiting)) for schema in schemas}
        for schema in schemas:
            # A database of an earlier version gets the tables that this one knows.
            Warehouse(source, schema).prepare()
        held.enter_context(source.turn(purpose))
        connection = held.enter_context(source.attached(read_only=True))
        tables, views = [], {}
        for schema in schemas:
            for name, columns in _tables(connection, schema).items():
                tell(f"Reads {schema}.{name}.")
                tables.append(_Table(schema, name, columns, _print(connection, schema, name, columns)))
            views[schema] = _views(connection, schema)
        there = _compare(target, tables, tell)
        _refuse_without_room(source, target)
        for schema, tenure in tenures.items():
            _forget_pages(target, schema, tenure)
        yield from (_copied(table, was_there=True) for table in tables if table in there)
        for batch in _batches([table for table in tables if table not in there]):
            with Warehouse(target).write(f"copying from {source.where}") as writing:
                for table in batch:
                    tell(f"Copies {table.schema}.{table.name}, {table.print.rows:,} rows.")
                    _copy(connection, writing, table)
            yield from (_copied(table, was_there=False) for table in batch)
        for schema in schemas:
            tell(f"Makes the views of {schema}.")
            # In the schema of the import: a lake keeps views without its name.
            with Warehouse(target, schema).write(f"copying from {source.where}") as writing:
                for sql in views[schema]:
                    writing.execute(sql)
        target.publish()


def other_schemas(storage: Storage) -> list[str]:
    """The schemas with tables that are of no import: `copy` leaves them."""
    with storage.turn(None), storage.attached(read_only=True) as connection:
        rows = connection.execute(
            "SELECT DISTINCT schema_name FROM duckdb_tables() WHERE database_name = ? ORDER BY 1", [CATALOG]
        ).fetchall()
    ours = _schemas(storage)
    return [schema for (schema,) in rows if schema not in ours]


@contextmanager
def _alone(storage: Storage, schema: str, purpose: str, waiting: Callable[[str], None]) -> Iterator[Tenure]:
    """Have an import alone: nobody exports its audiences, and nobody reads it. The latter's lock is what it yields."""
    with ExitStack() as held:
        for name in ("exports", "staging"):
            try:
                tenure = held.enter_context(
                    storage.lock(f"{schema}.{name}", purpose, wait_seconds=_LOCK_SECONDS, waiting=waiting)
                )
            except LockTaken as error:
                raise CopyRefused(
                    f"{schema} in {storage.where} is in use by {error}. Nothing was copied. Wait for it to end, stop "
                    "the schedules and sensors, and run this again."
                ) from error
        yield tenure


def _forget_pages(target: Storage, schema: str, tenure: Tenure) -> None:
    """Let no pages land that wait for the target, here or on other machines: they are older than what is copied."""
    tenure.marks()
    path = target.on_this_machine(f"{schema}.staging")
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)


def _compare(target: Storage, tables: list[_Table], tell: Callable[[str], None]) -> set[_Table]:
    """The tables that the target has already. Raises CopyRefused if it holds what a copy would replace or mix with."""
    if not target.exists():
        return set()
    equal = set()
    with target.turn("looking before a copy"), target.attached(read_only=True) as connection:
        for schema in sorted({table.schema for table in tables}):
            found, marks = _tables(connection, schema), _marks(connection, schema)
            wanted = {table.name: table for table in tables if table.schema == schema}
            for name in sorted(found, key=lambda name: name != IMPORT_SOURCE.name):
                tell(f"Compares {schema}.{name}.")
                there, table = _print(connection, schema, name, found[name]), wanted.get(name)
                if table is not None and there == table.print and found[name] == table.columns:
                    equal.add(table)
                elif name == IMPORT_SOURCE.name and there != _EMPTY:
                    raise CopyRefused(
                        f"{target.where} holds other data as {schema}: import_source does not name the same database. "
                        "Nothing was copied. Name another place in the settings, or remove that schema there."
                    )
                elif there != _EMPTY and marks.get(name) != there.mark():
                    raise CopyRefused(
                        f"{schema}.{name} in {target.where} holds {there.rows:,} rows that are not those of "
                        f"{'the source' if table else 'any table of the source'}, and it is not as a copy left it. "
                        "Nothing was copied, because what was written there would be lost. Name another place in "
                        "the settings, or remove that schema there."
                    )
    return equal


def _refuse_without_room(source: Storage, target: Storage) -> None:
    needed, free = _ROOM * source.size(), target.room()
    if free is not None and free < needed:
        raise CopyRefused(
            f"{target.where} has room for {free // 1_000_000:,} MB more, and a copy may take "
            f"{needed // 1_000_000:,} MB. Nothing was copied. Make room, or name another place in the settings."
        )


def _batches(tables: list[_Table]) -> Iterator[list[_Table]]:
    batch: list[_Table] = []
    for table in tables:
        if batch and sum(other.print.rows for other in batch) + table.print.rows > _BATCH:
            yield batch
            batch = []
        batch.append(table)
    if batch:
        yield batch


def _copied(table: _Table, *, was_there: bool) -> Copied:
    return Copied(table.schema, table.name, table.print.rows, was_there)


def _copy(connection: duckdb.DuckDBPyConnection, writing: duckdb.DuckDBPyConnection, table: _Table) -> None:
    """Replace a table in the transaction of `writing`. Raises CopyRefused if it has not the same rows then."""
    columns = ", ".join(f'"{name}" {type_}' for name, type_ in table.columns)
    writing.execute(f'CREATE SCHEMA IF NOT EXISTS "{table.schema}"')
    writing.execute(f"CREATE OR REPLACE TABLE {table.place} ({columns})")
    if table.print != _EMPTY:
        rows = connection.sql(_rows(connection, table.schema, table.name, table.columns)).to_arrow_reader(_BATCH)
        writing.register("copied_rows", rows)
        # Several threads would store batches in the order in which they finish them.
        writing.execute("SET threads = 1")
        writing.execute(f"INSERT INTO {table.place} FROM copied_rows")
        writing.execute("RESET threads")
        writing.unregister("copied_rows")
        # Rows of a transaction that is open have no rowids to order them by.
        found = _print_of(writing, f"FROM {table.place}", table.columns)
        if found != table.print:
            raise CopyRefused(
                f"{table.schema}.{table.name} has {table.print.rows:,} rows in the source, and the copy has "
                f"{found.rows:,} rows or others. It was not stored. Run this again, and report it if it stays so."
            )
    if table.name != IMPORT_SOURCE.name:
        writing.execute(f"COMMENT ON TABLE {table.place} IS '{table.print.mark()}'")


def _schemas(storage: Storage) -> list[str]:
    """The schemas of imports."""
    with storage.turn(None), storage.attached(read_only=True) as connection:
        rows = connection.execute(
            "SELECT schema_name FROM duckdb_tables() WHERE database_name = ? AND table_name = ? ORDER BY 1",
            [CATALOG, IMPORT_SOURCE.name],
        ).fetchall()
    return [schema for (schema,) in rows]


def _tables(connection: duckdb.DuckDBPyConnection, schema: str) -> dict[str, tuple[tuple[str, str], ...]]:
    """The names and types of the columns of each table. The one that says whose data it is comes last."""
    found: dict[str, list[tuple[str, str]]] = {}
    for table, column, type_ in connection.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() JOIN duckdb_tables() "
        "USING (database_name, schema_name, table_name) WHERE database_name = ? AND schema_name = ? "
        "ORDER BY table_name = ?, table_name, column_index",
        [CATALOG, schema, IMPORT_SOURCE.name],
    ).fetchall():
        found.setdefault(table, []).append((column, type_))
    return {table: tuple(columns) for table, columns in found.items()}


def _marks(connection: duckdb.DuckDBPyConnection, schema: str) -> dict[str, str | None]:
    rows = connection.execute(
        "SELECT table_name, comment FROM duckdb_tables() WHERE database_name = ? AND schema_name = ?", [CATALOG, schema]
    ).fetchall()
    return dict(rows)


def _views(connection: duckdb.DuckDBPyConnection, schema: str) -> list[str]:
    """SQL that makes the views that `Warehouse.prepare` does not."""
    rows = connection.execute(
        "SELECT sql FROM duckdb_views() WHERE database_name = ? AND schema_name = ? "
        "AND NOT list_contains(?, view_name)",
        [CATALOG, schema, [view.name for view in VIEWS]],
    ).fetchall()
    return [sql.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1) for (sql,) in rows]


def _print(
    connection: duckdb.DuckDBPyConnection, schema: str, table: str, columns: tuple[tuple[str, str], ...]
) -> _Print:
    return _print_of(connection, _rows(connection, schema, table, columns), columns)


def _print_of(connection: duckdb.DuckDBPyConnection, rows: str, columns: tuple[tuple[str, str], ...]) -> _Print:
    """That of the rows of a query, in its order."""
    names = ", ".join(f'"{name}"' for name, _ in columns)
    [(number, sum_)] = connection.execute(
        f"SELECT count(*), coalesce(sum(hash(number, {names})), 0) "
        f"FROM (SELECT row_number() OVER () AS number, * FROM ({rows}))"
    ).fetchall()
    return _Print(number, int(sum_))


def _rows(connection: duckdb.DuckDBPyConnection, schema: str, table: str, columns: tuple[tuple[str, str], ...]) -> str:
    """A query for the rows of a table in the order in which they were stored."""
    names, place = ", ".join(f'"{name}"' for name, _ in columns), f'"{schema}"."{table}"'
    [(mixed,)] = connection.execute(
        f"SELECT count(*) FROM (SELECT rowid AS id, lag(rowid) OVER () AS before FROM {place}) WHERE id < before"
    ).fetchall()
    # They most often lie in that order, and to sort many takes long.
    return f"SELECT {names} FROM {place}{' ORDER BY rowid' if mixed else ''}"
