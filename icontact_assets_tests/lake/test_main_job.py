"""The main job on a lake, in a folder and in S3: its tables hold what those of the file hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
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


class _InS3(InLake):
    name = "s3"

    def __init__(self, variables: dict[str, str]) -> None:
        self._variables = variables

    def variables(self, folder: Path) -> dict[str, str]:
        return self._variables


def test_the_main_job_leaves_what_it_leaves_in_a_file(
    after_the_job: Callable[[Place], tuple[Project, str]], lakes: InLake, variables: dict[str, str], data_in_s3: str
) -> None:
    found = []
    for place in (InFile(), lakes, _InS3({**variables, "ICONTACT_ASSETS_DATA": data_in_s3})):
        project, _ = after_the_job(place)
        with reading(project.settings) as connection:
            found.append(_contents(connection))
            assert "planted-secret" not in str(connection.execute("FROM duckdb_secrets()").fetchall())
    in_file, *in_lakes = found
    assert len(in_file["raw_activity"]) > 100
    for in_lake in in_lakes:
        assert in_lake.keys() == in_file.keys()
        assert [table for table, rows in in_file.items() if in_lake[table] != rows] == []
