"""The main job in real Dagster runs against the sandbox: rows, days, windows, kills, privacy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import time_machine

from icontact_assets.demo import DAGSTER
from icontact_assets.ingest.window import Window
from icontact_assets.mapping.build import build_activity, build_users
from icontact_assets.partitions import range_tags
from icontact_assets.resources import open_warehouse
from icontact_assets_tests.dev import wait_for
from icontact_assets_tests.harness import ALL_RAW, EVENTS, TODAY, Ended, Project, days_ago, only
from icontact_assets_tests.leaks import assert_no_address_in, assert_not_in, files_below

ENDED = Window(days_ago(2), days_ago(1))
"""Short, because Dagster records each day of each asset; the messages released before it are due as well."""
YESTERDAY = Window(days_ago(1), days_ago(1))
TABLES = [
    *("raw_contacts", "raw_messages", "raw_sends", "raw_statistics", "raw_activity"),
    *("icontact_users", "icontact_activity"),
]


def contents(project: Project) -> dict[str, list[Any]]:
    return {table: project.rows(f"SELECT * FROM icontact.{table} ORDER BY ALL") for table in TABLES}


def test_a_range_of_three_days_with_an_empty_one(project: Project) -> None:
    project.sandbox.control("reset", contacts=60, messages=2, days=12)
    days = [days_ago(33), days_ago(32), days_ago(31)]
    for message, day in ((900001, days[0]), (900002, days[2])):
        at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        project.sandbox.control("messages/add", message_id=message, released=at.isoformat(), created=at.isoformat())
        project.sandbox.control(
            "events/add",
            message_id=message,
            kind="opens",
            contact_id=90000001,
            at=(at + timedelta(hours=1)).isoformat(),
        )
    result = project.quick().run(EVENTS, Window(days[0], days[2]))
    assert result.success
    found = project.metadata(result, "raw_activity")
    counts = dict(project.rows("SELECT partition_date, count(*) FROM icontact.raw_activity GROUP BY ALL"))
    assert {day: found[day.isoformat()]["dagster/partition_row_count"] for day in days} == {
        day: counts.get(day, 0) for day in days
    }
    assert counts.get(days[1], 0) == 0
    assert counts[days[0]] >= 1
    assert counts[days[2]] >= 1
    assert all(found[day.isoformat()]["settled"] for day in days)


def test_windows_in_any_order_give_the_same_tables(project: Project, tmp_path: Path) -> None:
    project.sandbox.control("reset", contacts=20, messages=3, days=8)
    windows = [Window(days_ago(3), days_ago(2)), Window(days_ago(1), TODAY)]
    found = []
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=1), tick=False):
        for order in ([0, 1], [1, 0]):
            other = Project(
                project.sandbox,
                tmp_path,
                {**project.environment, "ICONTACT_ASSETS_HOME": str(tmp_path / f"home{order}")},
            ).quick()
            for index in order:
                assert other.run(f"{only('contacts')} or {EVENTS}", windows[index]).success
            with open_warehouse(other.settings, "icontact").write("mapping") as connection:
                build_users(connection)
                build_activity(connection)
            found.append(contents(other))
    assert found[0] == found[1]


def test_changes_and_disappearances_are_versions(project: Project) -> None:
    assert project.quick().run(only("contacts"), Window(TODAY, TODAY)).success
    [(total,)] = project.rows("SELECT count(*) FROM icontact.raw_contacts")
    ids = [
        id_
        for (id_,) in project.rows(
            "SELECT id FROM icontact.raw_contacts WHERE partition_date < current_date ORDER BY id"
        )
    ]
    project.sandbox.control("contacts/update", contact_id=int(ids[0]), fields={"firstName": "Changed"})
    project.sandbox.control("contacts/delete", contact_id=int(ids[1]))
    result = project.run(only("contacts"), Window(TODAY, TODAY))
    facts = project.metadata(result, "raw_contacts")[TODAY.isoformat()]
    assert (facts["new"], facts["changed"], facts["vanished"], facts["open"]) == (0, 1, 1, True)
    assert abs(facts["read_through"] - datetime.now(UTC).timestamp()) < 60
    versions = project.rows(
        "SELECT id, first_name = 'Changed', deleted_at IS NOT NULL FROM icontact.raw_contacts "
        "WHERE partition_date = current_date ORDER BY observed_at DESC, id LIMIT 2"
    )
    assert versions == [
        (ids[0], True, False),
        (
            ids[1],
            project.rows(f"SELECT first_name = 'Changed' FROM icontact.raw_contacts WHERE id = '{ids[1]}' LIMIT 1")[0][
                0
            ],
            True,
        ),
    ]
    assert project.rows("SELECT count(*) FROM icontact.raw_contacts") == [(total + 2,)]


def test_statistics_that_fail_for_one_message_keep_no_listing_from_being_read(project: Project) -> None:
    released = [row["message_id"] for row in project.sandbox.control("truth")["sends"] if row["released"]]
    down = {"kind": "reply", "status": 400, "body": {"errors": ["broken"]}}
    project.sandbox.control("faults", faults=[{"path": f"/messages/{released[0]}/statistics", "do": down}])
    result = project.quick().run(EVENTS, ENDED)
    assert not result.success
    assert project.stored_events() == project.true_events()
    assert f"{released[0]} (statistics: " in Ended.of(result).red["raw_activity"]
    project.sandbox.control("faults/clear")
    assert project.run(EVENTS, ENDED).success
    assert project.stored_events() == project.true_events()


def test_activity_before_messages_is_an_error_with_the_remedy(project: Project) -> None:
    result = project.quick().run('key:"icontact/raw_activity"', window=ENDED)
    assert "Materialize raw_messages and raw_sends first" in Ended.of(result).red["raw_activity"]


def look_for_dead_runs(project: Project, records: dg.DagsterInstance) -> Iterator[str]:
    """What the sensor says, tick after tick."""
    sensor, cursor = project.definitions.resolve_sensor_def("dead_runs"), None
    while True:
        context = dg.build_sensor_context(instance=records, sensor_name=sensor.name, cursor=cursor)
        tick = sensor.evaluate_tick(context)
        cursor = tick.cursor
        yield tick.skip_message or ""


def test_killed_in_the_middle_the_run_is_seen_to_be_dead(project: Project) -> None:
    project.sandbox.control("reset", contacts=60, messages=6, days=12)
    home = project.home / "dagster"
    home.mkdir()
    shutil.copy(DAGSTER, home / "dagster.yaml")
    project.instance = records = dg.DagsterInstance.from_config(str(home))
    project.sandbox.control("faults", faults=[{"do": {"kind": "delay", "seconds": 0.5}}])
    process = project.fork(ALL_RAW, ENDED)
    wait_for(lambda: len(project.requests()) >= 2, 60)
    look = look_for_dead_runs(project, records)
    assert [next(look), next(look)] == ["No run is without its process."] * 2
    process.kill()
    process.join()
    [run] = records.get_runs()
    assert run.status == dg.DagsterRunStatus.STARTED
    assert next(look) == "No run is without its process."
    assert next(look) == f"Marked as failed, because their processes are gone: {run.run_id}."
    [run] = records.get_runs()
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert list((project.settings.home / "runs").iterdir()) == []


def test_no_secret_and_no_address_in_anything_a_run_that_is_refused_leaves_behind(
    project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of a run that reads everything, the test of the demo looks at the same."""
    home = project.home / "dagster"
    home.mkdir()
    shutil.copy(DAGSTER, home / "dagster.yaml")
    words = {"kind": "reply", "status": 400, "body": {"errors": ["planted@secret.example is refused"]}}
    project.sandbox.control("faults", faults=[{"path": "/sends", "do": words}])
    with dg.DagsterInstance.from_config(str(home)) as project.instance:
        refused = project.definitions.resolve_job_def("icontact_import").execute_in_process(
            instance=project.instance,
            tags=range_tags(YESTERDAY),
            asset_selection=[dg.AssetKey(["icontact", "raw_sends"])],
            raise_on_error=False,
        )
        assert not refused.success
    said, left = "".join(capfd.readouterr()).encode(), files_below(home)
    assert b"RUN_FAILURE" in said
    assert b"<address> is refused" in said
    assert any(b"<address> is refused" in part for part in left)
    assert_no_address_in([said, *left])
    names = ("ICONTACT_API_PASSWORD", "ICONTACT_APP_ID", "ICONTACT_API_USERNAME")
    assert_not_in([said, *left], [project.environment[name] for name in names])
