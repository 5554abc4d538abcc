"""What keeps a DuckLake small and quick: small files are merged, and what nobody needs any more is removed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

import duckdb

from icontact_assets.catalog import Session
from icontact_assets.warehouse.engine import CATALOG
from icontact_assets.warehouse.storage import Contents, Maintained, WarehouseError

_SMALL = 32 * 1024 * 1024
"""Bytes of a file that is merged with others. A larger one would be written anew each day for a few rows more."""

_DELETED = 0.1
"""The part of a file's rows that are deleted when it is written anew without them. Files with deleted rows are not
merged before."""

_ORPHAN = timedelta(days=1)
"""How old a file is at least that is taken for one that a killed run left. A run writes its files before it commits."""

_MANY = 8
"""Small files of a table from which on they are merged. Each merge is a write that others wait for."""

_SCHEMAS = "SELECT schema_name FROM ducklake_schema WHERE end_snapshot IS NULL ORDER BY 1"

_WORTHWHILE = """
    SELECT schema_name, table_name
    FROM ducklake_table JOIN ducklake_schema USING (schema_id)
    WHERE ducklake_table.end_snapshot IS NULL AND ducklake_schema.end_snapshot IS NULL AND (
        EXISTS (
            SELECT 1 FROM ducklake_delete_file JOIN ducklake_data_file USING (data_file_id)
            WHERE ducklake_delete_file.table_id = ducklake_table.table_id
            AND ducklake_delete_file.end_snapshot IS NULL AND delete_count >= %(deleted)s * record_count
        )
        OR %(many)s <= (
            SELECT count(*) FROM ducklake_data_file
            WHERE ducklake_data_file.table_id = ducklake_table.table_id
            AND ducklake_data_file.end_snapshot IS NULL AND file_size_bytes < %(small)s
        )
    )
    ORDER BY 1, 2
"""
"""The tables that have such files."""

_CONTENTS = """
    SELECT (SELECT count(*) FROM ducklake_snapshot), count(*), coalesce(sum(file_size_bytes), 0)::bigint
    FROM (
        SELECT file_size_bytes FROM ducklake_data_file WHERE end_snapshot IS NULL
        UNION ALL SELECT file_size_bytes FROM ducklake_delete_file WHERE end_snapshot IS NULL
    ) AS files
"""

_NAMED = """
    SELECT path FROM ducklake_data_file
    UNION ALL SELECT path FROM ducklake_delete_file
    UNION ALL SELECT path FROM ducklake_files_scheduled_for_deletion
"""

Opened = AbstractContextManager[duckdb.DuckDBPyConnection]


def maintain(
    session: Session, writing: Callable[[str], Opened], beside: Callable[[], Opened], keep: timedelta
) -> Maintained:
    """Do what a DuckLake needs once a day. Snapshots that are younger than `keep` can be read as before.

    `session` is one with its catalog. `writing` opens the lake while nobody else writes to a schema, and `beside` while
    others may write to any. Each step that others wait for is short: one table is merged at a time.
    """
    before, now = contents(session), datetime.now(UTC)
    ended, abandoned = now - keep, now - max(keep, _ORPHAN)
    flushed, merged = 0, 0
    for (schema,) in session.execute(_SCHEMAS).fetchall():
        with writing(schema) as connection:
            done = _call(connection, "ducklake_flush_inlined_data(?, schema_name => ?)", [CATALOG, schema])
            flushed += sum(rows for *_, rows in done)
    with beside() as connection:
        # Nobody who writes now is at a state that old.
        _call(connection, "ducklake_expire_snapshots(?, older_than => ?)", [CATALOG, ended])
    for schema, table in session.execute(_WORTHWHILE, {"deleted": _DELETED, "many": _MANY, "small": _SMALL}).fetchall():
        with writing(schema) as connection:
            for call, number in (
                ("ducklake_rewrite_data_files(?, ?, schema => ?, delete_threshold => ?)", _DELETED),
                ("ducklake_merge_adjacent_files(?, ?, schema => ?, max_file_size => ?)", _SMALL),
            ):
                done = _call(connection, call, [CATALOG, table, schema, number])
                merged += sum(read for *_, read, _ in done)
    with beside() as connection:
        removed = _call(connection, "ducklake_cleanup_old_files(?, older_than => ?)", [CATALOG, ended])
        orphans = _remove_orphans(connection, session, abandoned)
    return Maintained(before, contents(session), flushed, merged, len(removed), orphans)


def _remove_orphans(connection: duckdb.DuckDBPyConnection, session: Session, before: datetime) -> int:
    found = _call(connection, "ducklake_delete_orphaned_files(?, older_than => ?, dry_run => true)", [CATALOG, before])
    # Its names differ whatever the folder is. One that were removed in error would be lost for good.
    named = {PurePosixPath(path).name for (path,) in session.execute(_NAMED).fetchall()}
    if needed := sum(PurePosixPath(path).name in named for (path,) in found):
        raise WarehouseError(
            f"DuckLake takes {needed} files for orphans that its own catalog names. No orphan was removed, and all "
            "else was done. Look whether two lakes share the folder of the data, and give each its own."
        )
    return (
        len(_call(connection, "ducklake_delete_orphaned_files(?, older_than => ?)", [CATALOG, before])) if found else 0
    )


def _call(connection: duckdb.DuckDBPyConnection, call: str, values: list[Any]) -> list[tuple[Any, ...]]:
    return connection.execute(f"FROM {call}", values).fetchall()


def contents(session: Session) -> Contents:
    """What a lake holds, by its catalog."""
    [(snapshots, files, size)] = session.execute(_CONTENTS).fetchall()
    return Contents(snapshots, files, size)
