"""How often a run opens the database: each time it takes the lock that all other processes wait for."""

from __future__ import annotations

from unittest.mock import patch

from icontact_assets.ingest import context
from icontact_assets.ingest.window import Window
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.harness.project import Project, days_ago

WINDOW = Window(days_ago(3), days_ago(1))


def opens(project: Project) -> int:
    """How often a run of all raw assets with their checks, in a process of its own, opens the database."""
    with (
        patch.object(context, "_REMEMBERED", {}),
        patch.object(DatabaseFile, "_attach", autospec=True, side_effect=DatabaseFile._attach) as opened,
    ):
        result = project.run(window=WINDOW)
    assert result.success
    assert len(result.get_asset_check_evaluations()) > 12
    return opened.call_count


def test_a_run_opens_the_database_a_few_times(project: Project) -> None:
    project.sandbox.control("reset", contacts=60, messages=6, days=12)
    first, asked = opens(project), len(project.requests())
    assert asked > 20
    again = opens(project)
    assert len(project.requests()) == asked
    assert first <= 10
    assert again <= 5


def test_what_another_process_stored_between_two_steps_is_seen(project: Project) -> None:
    assert project.run('key:"icontact/raw_lists"', WINDOW).success
    asked = len(project.requests())
    assert asked
    assert project.run('key:"icontact/raw_lists"', WINDOW).success
    assert len(project.requests()) == asked
    with Warehouse(DatabaseFile(project.settings.duckdb_path)).write("test") as connection:
        connection.execute("UPDATE icontact.import_coverage SET read_through = NULL WHERE resource = 'lists'")
    assert project.run('key:"icontact/raw_lists"', WINDOW).success
    assert len(project.requests()) == asked + 1
