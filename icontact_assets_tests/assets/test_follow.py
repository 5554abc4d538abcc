"""The sensor `follow_raw_assets`: mapped tables and audiences are computed when what they are made of is there, once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import duckdb
import pytest

from icontact_assets.assets import mapped
from icontact_assets.ingest.activity import ActivityReader
from icontact_assets.ingest.window import Window
from icontact_assets.reports.tables import REPORT_TABLES
from icontact_assets_tests.harness import AUDIENCE, Project, days_ago

REPORTS = {*(table.name for table in REPORT_TABLES), "report"}
DAY = Window(days_ago(1), days_ago(1))


@dataclass
class Follower:
    """What Dagster's daemon does with the sensor: tick after tick, a run of what a tick asks for."""

    project: Project
    cursor: Any = field(default=None)

    def ask(self) -> set[str]:
        """The assets that a tick asks for."""
        definitions = self.project.definitions
        sensor = definitions.resolve_sensor_def("follow_raw_assets")
        result = dg.evaluate_automation_conditions(
            defs=definitions,
            instance=self.project.instance,
            asset_selection=sensor.asset_selection,
            cursor=self.cursor,
        )
        self.cursor = result.cursor
        return {found.key.path[-1] for found in result.results if not found.true_subset.is_empty}

    def tick(self, *, succeeds: bool = True) -> set[str]:
        """The same, run."""
        asked = self.ask()
        for name in asked & REPORTS:
            # What is in them is for the tests of reports.
            key = dg.AssetKey(["icontact", name])
            self.project.instance.report_runless_asset_event(dg.AssetMaterialization(key))
        if asked - REPORTS:
            selection = " or ".join(f'key:"icontact/{name}"' for name in asked - REPORTS)
            assert self.project.run(selection).success == succeeds
        return asked


def export_sensor_says(project: Project) -> str | None:
    sensor = project.definitions.resolve_sensor_def("exports")
    tick = sensor.evaluate_tick(dg.build_sensor_context(instance=project.instance, sensor_name=sensor.name))
    return tick.skip_message


def test_a_first_load_is_followed_as_it_comes(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.sandbox.control("reset", contacts=60, messages=4, days=5)
    project.alone().config = AUDIENCE
    sensor = Follower(project)
    assert sensor.tick() == set()
    assert export_sensor_says(project) == (
        "readers: The audience readers has not been computed yet. It waits until icontact/icontact_profiles is materialized."
    )
    read = ActivityReader.read
    meanwhile: list[Any] = []

    def look(*args: Any) -> Any:
        # The contacts are read, and the activity is being read.
        meanwhile.extend([sensor.tick(), sensor.tick(), export_sensor_says(project)])
        meanwhile.extend(project.rows("SELECT count(*) > 0, count(email_open_ct) FROM icontact.icontact_profiles"))
        return read(*args)

    monkeypatch.setattr(ActivityReader, "read", look)
    assert project.run(window=DAY).success
    mapped, again, says, rows = meanwhile
    assert (mapped, again, rows) == ({"icontact_users", "icontact_profiles"}, set(), (True, 0))
    assert "It waits until all data is read: the activity of " in says
    assert sensor.tick() == {"icontact_activity", "icontact_profiles", *REPORTS}
    assert sensor.tick() == {"audience_readers"}
    assert sensor.tick() == set()
    assert project.rows("SELECT count(*) > 0 FROM icontact.audience_members") == [(True,)]
    assert export_sensor_says(project) is None


def test_what_was_read_is_followed_once_and_neither_a_job_nor_a_failure_is(imported: Project) -> None:
    sensor = Follower(imported.alone())
    assert sensor.tick() == set()
    assert imported.run('key:"icontact/raw_contacts" or key:"icontact/raw_activity"', DAY).success
    assert sensor.tick() == {"icontact_users", "icontact_activity", "icontact_profiles", *REPORTS}
    assert [sensor.tick(), sensor.tick()] == [{"audience_readers"}, set()]
    # As a job does: what follows is computed in the same run.
    names = ("raw_contacts", "raw_activity", "icontact_*", "audience_*", *REPORTS)
    assert imported.run(" or ".join(f'key:"icontact/{name}"' for name in names), DAY).success
    assert sensor.tick() == set()
    # A new audience is computed at once. One that fails waits for other data.
    imported.config = AUDIENCE.replace(
        "exports:", '  - {name: wrong, import: icontact, where: "nothing = 1"}\nexports:'
    )
    assert [sensor.tick(succeeds=False), sensor.tick(), sensor.tick()] == [{"audience_wrong"}, set(), set()]
    assert imported.run('key:"icontact/icontact_profiles"').success
    assert [sensor.tick(succeeds=False), sensor.tick()] == [{"audience_readers", "audience_wrong"}, set()]


def failure_of(result: dg.ExecuteInProcessResult, asset: str) -> str:
    failed = result.failure_data_for_node(f"icontact__{asset}")
    assert failed is not None
    assert failed.user_failure_data is not None
    return failed.user_failure_data.description or ""


def test_a_table_that_is_not_there_is_named_with_the_remedy(project: Project) -> None:
    result = project.run('key:"icontact/icontact_profiles"')
    assert failure_of(result, "icontact_profiles") == (
        "There are no profiles yet, because icontact_users was never computed. Materialize raw_contacts, then "
        "icontact_users, then icontact_profiles."
    )


def test_an_error_of_duckdb_is_shown_without_what_it_quotes(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(connection: duckdb.DuckDBPyConnection, **_: Any) -> None:
        connection.execute("SELECT 'planted@secret.example'::TIMESTAMP")

    monkeypatch.setattr(mapped, "build_users", fail)
    result = project.run('key:"icontact/icontact_users"')
    assert "could not answer a query (ConversionException)" in failure_of(result, "icontact_users")
    assert not [event for event in result.all_events if "planted" in str(event)]
