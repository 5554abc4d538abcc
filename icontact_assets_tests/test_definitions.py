"""What a user finds in Dagster: a snapshot of every asset, job, schedule and sensor, and what the schedules ask for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from icontact_assets.build import build_defs
from icontact_assets.ingest.window import Window
from icontact_assets.settings.load import load_settings
from icontact_assets_tests.harness import Project, days_ago

CONFIG = """
imports:
  - {name: one, account: 1300001, client_folder: 7601, keep_updated: true, start_date: 2026-01-01, people: [two, one]}
  - {name: two, account: 1300001, client_folder: 7602, start_date: 2026-01-01}
audiences:
  - {name: readers, import: two, where: "last_active_ts IS NOT NULL"}
exports:
  - {name: readers, audience: readers, list: Export target}
"""


@pytest.fixture
def defs(tmp_path: Path) -> dg.Definitions:
    (tmp_path / "icontact.yaml").write_text(CONFIG)
    return build_defs(load_settings({}, tmp_path))


RAW = ["activity", "contacts", "lists", "messages", "sends", "statistics"]
MAPPED = ["icontact_activity", "icontact_profiles", "icontact_users"]
REPORTS = ["campaigns", "domains", "engagement", "links", "list_health"]


def test_snapshot(defs: dg.Definitions) -> None:
    keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert keys == {
        *(f"{name}/raw_{resource}" for name in ("one", "two") for resource in RAW),
        *(f"{name}/{table}" for name in ("one", "two") for table in [*MAPPED, *REPORTS, "report"]),
        "one/icontact_people",
        "two/raw_subscriptions",
        "two/audience_readers",
        "two/export_readers",
        *(f"iContact/{name}/{resource}" for name in ("one", "two") for resource in RAW),
        "iContact/two/subscriptions",
        "iContact/two/list_Export_target_f175a8",
    }
    checks: dict[str, set[str]] = {}
    for check in defs.resolve_asset_graph().asset_check_keys:
        checks.setdefault(check.asset_key.to_user_string(), set()).add(check.name)
    listing = {"listing_complete", "failed_partitions", "quarantine_empty"}
    own = {"failed_partitions", "quarantine_empty", "activity_read", "activity_settled", "statistics_tie_out"}
    mapped = {"keys_unique", "rows_match_source", "types_as_declared"}
    assert checks == {
        **{f"{name}/raw_{r}": listing for name in ("one", "two") for r in ("contacts", "lists", "messages", "sends")},
        **{f"{name}/raw_activity": own for name in ("one", "two")},
        **{f"{name}/raw_statistics": {"failed_partitions"} for name in ("one", "two")},
        "two/raw_subscriptions": listing,
        **{f"{name}/icontact_users": {*mapped, "values_match_raw_contacts"} for name in ("one", "two")},
        **{f"{name}/icontact_activity": {*mapped, "counts_match_raw_activity"} for name in ("one", "two")},
        **{f"{name}/icontact_profiles": {*mapped, "complete_data"} for name in ("one", "two")},
        "one/icontact_people": {"keys_unique", "sums_match_profiles"},
        **{
            f"{name}/{table}": {"keys_unique", "totals_match_raw_tables"}
            for name in ("one", "two")
            for table in REPORTS
        },
        "two/audience_readers": {"complete_data"},
        "two/export_readers": {"export_limits", "list_matches_audience", "no_consent_violation"},
    }
    repository = defs.get_repository_def()
    assert set(repository.job_names) == {"__ASSET_JOB", "one_import", "two_import", "export_readers"}
    schedules = {schedule.name: schedule for schedule in repository.schedule_defs}
    assert {name: schedule.cron_schedule for name, schedule in schedules.items()} == {
        "one_retry": "45 * * * *",
        "one_daily": "0 2 * * *",
        "one_hourly": "15 * * * *",
        "two_retry": "45 * * * *",
        "two_daily": "0 2 * * *",
    }
    running = {
        name for name, schedule in schedules.items() if schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    }
    assert running == {"one_retry", "two_retry"}
    statuses = {sensor.name: sensor.default_status for sensor in repository.sensor_defs}
    assert statuses == {
        "follow_raw_assets": dg.DefaultSensorStatus.RUNNING,
        "dead_runs": dg.DefaultSensorStatus.RUNNING,
        "exports": dg.DefaultSensorStatus.STOPPED,
    }
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description
        if "raw_" in key.path[-1] or "icontact_" in key.path[-1] or key.path[-1] in REPORTS:
            schema = node.metadata["dagster/column_schema"]
            columns = schema.columns if isinstance(schema, dg.TableSchema) else schema.value.columns
            assert all(column.description for column in columns)


def test_an_export_depends_on_every_audience_that_decides_who_is_exported(tmp_path: Path) -> None:
    config = """
audiences:
  - {name: readers, import: icontact, where: "true"}
  - {name: customers, import: icontact, where: "true"}
  - {name: vips, import: icontact, where: "true"}
exports:
  - {name: first, audience: vips, list: 1}
  - {name: second, audience: readers, list: 1, exclude: [customers]}
priorities: [[first, second]]
"""
    (tmp_path / "icontact.yaml").write_text(config)
    graph = build_defs(load_settings({}, tmp_path)).resolve_asset_graph()
    parents = {
        name: {key.path[-1] for key in graph.get(dg.AssetKey(["icontact", f"export_{name}"])).parent_keys}
        for name in ("first", "second")
    }
    assert parents == {
        "first": {"audience_vips"},
        "second": {"audience_readers", "audience_customers", "audience_vips"},
    }


def tags_at(defs: dg.Definitions, instance: dg.DagsterInstance, name: str, instant: datetime) -> dict[str, str]:
    schedule = defs.resolve_schedule_def(name)
    context = dg.build_schedule_context(instance, scheduled_execution_time=instant)
    (request,) = schedule.evaluate_tick(context).run_requests or []
    return {
        key.removeprefix("dagster/asset_partition_range_"): value
        for key, value in request.tags.items()
        if "range" in key
    }


def test_daily_asks_for_the_ended_days_and_hourly_for_the_running_one(defs: dg.Definitions, tmp_path: Path) -> None:
    (tmp_path / "dagster").mkdir()
    instance = dg.DagsterInstance.local_temp(str(tmp_path / "dagster"))
    at = datetime(2026, 5, 10, 2, 0, tzinfo=UTC)
    assert tags_at(defs, instance, "one_daily", at) == {"start": "2026-05-03", "end": "2026-05-09"}
    assert tags_at(defs, instance, "one_hourly", at) == {"start": "2026-05-10", "end": "2026-05-10"}
    assert tags_at(defs, instance, "one_daily", datetime(2026, 1, 3, 2, 0, tzinfo=UTC)) == {
        "start": "2026-01-01",
        "end": "2026-01-02",
    }
    schedule = defs.resolve_schedule_def("one_daily")
    tick = schedule.evaluate_tick(
        dg.build_schedule_context(instance, scheduled_execution_time=datetime(2026, 1, 1, 2, 0, tzinfo=UTC))
    )
    assert not tick.run_requests
    assert "has not ended yet" in (tick.skip_message or "")


def test_retry_is_evaluated_against_the_records_on_disk(defs: dg.Definitions, tmp_path: Path) -> None:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        at = datetime(2026, 5, 10, 2, 45, tzinfo=UTC)
        tick = defs.resolve_schedule_def("one_retry").evaluate_tick(
            dg.build_schedule_context(instance=instance, scheduled_execution_time=at)
        )
    assert tick.skip_message == "No ended day of one failed when it was last asked for."


def test_two_folders_with_equal_ids_never_mix(project: Project) -> None:
    project.config = CONFIG
    project.sandbox.control("reset", contacts=60, messages=5, days=8)
    read = ("contacts", "messages", "sends", "activity")
    tables = [f'key:"{name}/raw_{resource}"' for name in ("one", "two") for resource in read]
    assert project.quick().run(" or ".join(tables), Window(days_ago(1), days_ago(1))).success
    mails = {}
    for name, folder in (("one", 7601), ("two", 7602)):
        project.environment["ICONTACT_CLIENT_FOLDER_ID"] = str(folder)
        truth = project.sandbox.control(f"truth?folder={folder}")
        mails[name] = {
            (row["contact_id"], row["fields"].get("email"))
            for row in truth["contacts"]
            if row["visible"] and row["status"] != "deleted"
        }
        assert set(project.rows(f"SELECT id, email FROM {name}.raw_contacts")) == mails[name]
        events = sum(row["visible"] for row in truth["activity"])
        assert project.rows(f"SELECT count(*) FROM {name}.raw_activity") == [(events,)]
    assert {id_ for id_, _ in mails["one"]} & {id_ for id_, _ in mails["two"]}
    assert mails["one"] != mails["two"]
