"""Runs that read and map in processes of their own, killed at some moment or not, and what the tables hold then."""

from __future__ import annotations

import multiprocessing
import os
import time
from datetime import timedelta
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from icontact_assets.catalog import Catalog
from icontact_assets.ingest.window import Window
from icontact_assets.mapping.build import build_activity, build_users
from icontact_assets.resources import open_import, reading, storage_of
from icontact_assets_tests.harness.days import a_day_passes
from icontact_assets_tests.harness.project import ALL_RAW, Project

# Of each run: its times, ids that are drawn, what it asked for, and where in the order of storing a row came.
_OF_THE_RUN = (
    "_at",
    "_id",
    "read_through",
    "partition_date",
    "version",
    "hash",
    "source_newest",
    "source_end",
    "summed_end",
    "requests",
)
_TRUE_IDS = ("message_id", "contact_id", "list_id", "send_id", "campaign_id", "subscription_id")


def killed(project: Project, window: Window, seconds: float) -> bool:
    """Begin to read and map, and kill the process with -9 after so many seconds. Whether it was not over by then."""
    process = _begin(project, window)
    process.join(seconds)
    cut_off = process.is_alive()
    process.kill()
    process.join()
    return cut_off


def finished(project: Project, window: Window) -> tuple[bool, float]:
    """Whether reading and mapping ends well, and the seconds that it takes."""
    began = time.monotonic()
    process = _begin(project, window)
    process.join()
    return process.exitcode == 0, time.monotonic() - began


def outcome(project: Project) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of every table and view, without what differs between two runs that did the same."""
    with reading(project.settings) as connection:
        columns: dict[str, list[str]] = {}
        for table, column in connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'icontact' ORDER BY ALL"
        ).fetchall():
            if column in _TRUE_IDS or not column.endswith(_OF_THE_RUN):
                columns.setdefault(table, []).append(f'"{column}"')
        return {
            table: connection.execute(f'SELECT {", ".join(names)} FROM icontact."{table}" ORDER BY ALL').fetchall()
            for table, names in columns.items()
        }


def orphans_removed(project: Project) -> str:
    """Let maintenance of the lake remove what kills left, days later. How many files these were, as a sentence.

    Every file that the tables need is there afterwards, and nothing else is.
    """
    settings = project.settings
    assert settings.lake is not None
    storage, data = storage_of(settings), Path(settings.lake.data)
    assert storage.maintenance is not None
    with Catalog(settings.lake.catalog.get_secret_value()).session("a test") as session:
        removed = 0
        for _ in range(2):
            # What the first maintenance replaces is removed by the second.
            for _ in range(2):
                a_day_passes(session, data)
            removed += storage.maintenance(timedelta(days=1)).orphans_removed
        needed = {
            Path(path).name
            for table in ("ducklake_data_file", "ducklake_delete_file")
            for (path,) in session.execute(f"SELECT path FROM {table}").fetchall()  # type: ignore[arg-type]
        }
        assert {path.name for path in data.rglob("*.parquet")} == needed
    return f"maintenance removed {removed} orphans"


def _begin(project: Project, window: Window) -> ForkProcess:
    process = multiprocessing.get_context("fork").Process(target=_run, args=(project, window))
    process.start()
    return process


def _run(project: Project, window: Window) -> None:
    # What it logs would hide what the caller prints.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    well = project.run(ALL_RAW, window).success
    settings = project.settings
    for build in (build_users, build_activity):
        with open_import(settings, settings.imports[0]).write("computing a mapped table") as connection:
            build(connection)
    os._exit(0 if well else 1)
