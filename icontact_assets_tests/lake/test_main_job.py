"""The main job on a lake: its tables hold what those of the file hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb

from icontact_assets.resources import reading
from icontact_assets_tests.harness import InFile, Place, Project
from icontact_assets_tests.harness.place import InLake

# Of each run: its times, and ids that are drawn.
_OF_THE_RUN = ("_at", "read_id", "read_through", "database_id", "partition_date", "version", "hash", "source_newest")


def _contents(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[Any, ...]]]:
    columns: dict[str, list[str]] = {}
    for table, column in connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'icontact' ORDER BY ALL"
    ).fetchall():
        if not column.endswith(_OF_THE_RUN):
            columns.setdefault(table, []).append(f'"{column}"')
    return {
        table: connection.execute(f'SELECT {", ".join(names)} FROM icontact."{table}" ORDER BY ALL').fetchall()
        for table, names in columns.items()
    }


def test_the_main_job_leaves_what_it_leaves_in_a_file(
    after_the_job: Callable[[Place], tuple[Project, str]], lakes: InLake
) -> None:
    found = []
    for place in (InFile(), lakes):
        project, _ = after_the_job(place)
        with reading(project.settings) as connection:
            found.append(_contents(connection))
    in_file, in_lake = found
    assert len(in_file["raw_activity"]) > 100
    assert in_lake.keys() == in_file.keys()
    assert [table for table, rows in in_file.items() if in_lake[table] != rows] == []
