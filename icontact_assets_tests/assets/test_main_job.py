"""The main job in real Dagster runs against the sandbox: rows, days, windows, kills, audiences, exports, privacy."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import time_machine

from icontact_assets.demo import DAGSTER
from icontact_assets.ingest.window import Window
from icontact_assets.partitions import range_tags
from icontact_assets_tests.harness import AUDIENCE, EVENTS, TODAY, Project, days_ago, only, rows_of

WEEK = Window(days_ago(7), days_ago(1))
YESTERDAY = Window(days_ago(1), days_ago(1))
TABLES = [
    *("raw_contacts", "raw_messages", "raw_sends", "raw_lists", "raw_statistics", "raw_activity"),
    *("icontact_users", "icontact_activity"),
]


def contents(project: Project) -> dict[str, list[Any]]:
    return {table: project.rows(f"SELECT * FROM icontact.{table} ORDER BY ALL") for table in TABLES}


def test_rows_equal_the_truth_and_a_second_run_asks_nothing(project: Project) -> None:
    assert project.run(window=WEEK).success
    truth = project.sandbox.control("truth")
    assert project.stored_events() == project.true_events()
    listed = {row["contact_id"] for row in truth["contacts"] if row["visible"] and row["status"] != "deleted"}
    assert {id_ for (id_,) in project.rows("SELECT id FROM icontact.raw_contacts")} == listed
    for table, resource, key in (
        ("raw_messages", "messages", "message_id"),
        ("raw_sends", "sends", "send_id"),
        ("raw_lists", "lists", "list_id"),
    ):
        stored = {id_ for (id_,) in project.rows(f"SELECT {key} FROM icontact.{table}")}
        assert stored <= {row[key] for row in truth[resource]}
    asked = len(project.requests())
    before = contents_raw(project)
    assert project.run(window=WEEK).success
    assert len(project.requests()) == asked
    assert contents_raw(project) == before


def contents_raw(project: Project) -> dict[str, list[Any]]:
    return {t: project.rows(f"SELECT * FROM icontact.{t} ORDER BY ALL") for t in TABLES if t.startswith("raw")}


def test_a_range_of_three_days_with_an_empty_one(project: Project) -> None:
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
    result = project.run(EVENTS, Window(days[0], days[2]))
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
    windows = [Window(days_ago(12), days_ago(9)), Window(days_ago(8), days_ago(5)), Window(days_ago(4), TODAY)]
    found = []
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=1), tick=False):
        for order in ([0, 1, 2], [2, 0, 1]):
            other = Project(
                project.sandbox,
                tmp_path,
                {**project.environment, "ICONTACT_ASSETS_HOME": str(tmp_path / f"home{order}")},
                checks=False,
            )
            for index in order:
                assert other.run(window=windows[index]).success
            assert other.run('key:"icontact/icontact_*"').success
            found.append(contents(other))
    assert found[0] == found[1]


def test_changes_and_disappearances_are_versions(project: Project) -> None:
    assert project.run(only("contacts"), Window(TODAY, TODAY)).success
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


def test_a_listing_that_suddenly_is_nearly_empty_retires_nobody(project: Project) -> None:
    assert project.run(only("contacts"), Window(TODAY, TODAY)).success
    before = project.rows("SELECT * FROM icontact.raw_contacts ORDER BY ALL")
    empty = {"kind": "reply", "status": 200, "body": {"contacts": [], "limit": 500, "offset": 0, "total": 0}}
    project.sandbox.control("faults", faults=[{"path": "/contacts$", "do": empty}])
    result = project.run(only("contacts"), Window(TODAY, TODAY))
    assert not result.success
    assert project.rows("SELECT * FROM icontact.raw_contacts ORDER BY ALL") == before
    [(status, reason)] = project.rows("SELECT status, reason FROM icontact.import_coverage WHERE resource = 'contacts'")
    assert status == "incomplete"
    assert "would retire" in reason


def test_one_message_that_always_fails_stops_no_other_and_is_named(project: Project) -> None:
    assert project.run(only("messages", "sends"), WEEK).success
    [(bad,)] = project.rows("SELECT message_id FROM icontact.raw_sends WHERE released_at IS NOT NULL LIMIT 1")
    refused = {"kind": "reply", "status": 400, "body": {"errors": ["broken"]}}
    project.sandbox.control("faults", faults=[{"path": f"/messages/{bad}/opens", "do": refused}])
    result = project.run(EVENTS, WEEK)
    assert not result.success
    failure = result.failure_data_for_node("icontact__raw_activity")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert bad in (failure.user_failure_data.description or "")
    expected = project.true_events()
    assert project.stored_events() == Counter({event: n for event, n in expected.items() if event[:2] != (bad, "open")})
    project.sandbox.control("faults/clear")
    assert project.run(EVENTS, WEEK).success
    assert project.stored_events() == expected


def test_statistics_that_fail_for_one_message_keep_no_listing_from_being_read(project: Project) -> None:
    released = [row["message_id"] for row in project.sandbox.control("truth")["sends"] if row["released"]]
    down = {"kind": "reply", "status": 400, "body": {"errors": ["broken"]}}
    project.sandbox.control("faults", faults=[{"path": f"/messages/{released[0]}/statistics", "do": down}])
    result = project.run(EVENTS, WEEK)
    assert not result.success
    assert project.stored_events() == project.true_events()
    failure = result.failure_data_for_node("icontact__raw_activity")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert f"{released[0]} (statistics: " in (failure.user_failure_data.description or "")
    project.sandbox.control("faults/clear")
    assert project.run(EVENTS, WEEK).success
    assert project.stored_events() == project.true_events()


def test_the_end_of_the_budget_leaves_read_days_green_and_says_when_it_goes_on(project: Project) -> None:
    with_limit = {**project.environment, "ICONTACT_REQUESTS_PER_DAY": "20"}
    limited = Project(project.sandbox, project.home, with_limit)
    window = Window(days_ago(39), days_ago(1))
    result = limited.run(window=window)
    assert not result.success
    assert len(project.requests()) == 20
    failure = result.failure_data_for_node("icontact__raw_activity")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "`icontact_retry` resumes at" in (failure.user_failure_data.description or "")
    green = set(limited.metadata(result, "raw_activity"))
    [(first,)] = limited.rows("SELECT min(released_at)::DATE FROM icontact.raw_sends")
    assert {day.isoformat() for day in window.days if day < first} <= green
    assert days_ago(1).isoformat() not in green
    assert project.run(EVENTS, window).success
    assert project.stored_events() == project.true_events()


def test_activity_before_messages_is_an_error_with_the_remedy(project: Project) -> None:
    result = project.run('key:"icontact/raw_activity"', window=WEEK)
    assert not result.success
    failure = result.failure_data_for_node("icontact__raw_activity")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "Materialize raw_messages and raw_sends first" in (failure.user_failure_data.description or "")


def test_unreadable_rows_stand_in_quarantine_once(project: Project) -> None:
    opened = Counter[str]()
    for event, n in project.true_events().items():
        opened[event[0]] += n if event[1] == "open" else 0
    [(message, opens)] = opened.most_common(1)
    broken = {"kind": "fields", "set": {"openTime": "not a time"}}
    project.sandbox.control("faults", faults=[{"path": f"/messages/{message}/opens", "do": broken}])
    assert project.run(EVENTS, WEEK).success
    stored = project.rows("SELECT message_id, reason, sum(occurrences) FROM icontact.quarantine GROUP BY ALL")
    assert stored == [(message, "no readable openTime", opens)]


def look_for_dead_runs(project: Project, records: dg.DagsterInstance) -> Iterator[str]:
    """What the sensor says, tick after tick."""
    sensor, cursor = project.definitions.resolve_sensor_def("dead_runs"), None
    while True:
        context = dg.build_sensor_context(instance=records, sensor_name=sensor.name, cursor=cursor)
        tick = sensor.evaluate_tick(context)
        cursor = tick.cursor
        yield tick.skip_message or ""


def test_killed_in_the_middle_the_run_is_seen_to_be_dead_and_the_next_one_ends_right(project: Project) -> None:
    home = project.home / "dagster"
    home.mkdir()
    shutil.copy(DAGSTER, home / "dagster.yaml")
    project.environment["DAGSTER_HOME"] = str(home)
    records = dg.DagsterInstance.from_config(str(home))
    project.sandbox.control("faults", faults=[{"path": "/messages/", "do": {"kind": "delay", "seconds": 0.05}}])
    process = project.begin('key:"icontact/raw_*"', WEEK)
    deadline = time.monotonic() + 60
    while len(project.requests()) < 25 and time.monotonic() < deadline:
        time.sleep(0.02)
    look = look_for_dead_runs(project, records)
    assert [next(look), next(look)] == ["No run is without its process."] * 2
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    killed_after = len(project.requests())
    assert killed_after >= 25
    [run] = records.get_runs()
    assert run.status == dg.DagsterRunStatus.STARTED
    assert next(look) == "No run is without its process."
    assert next(look) == f"Marked as failed, because their processes are gone: {run.run_id}."
    [run] = records.get_runs()
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert list((project.settings.home / "runs").iterdir()) == []
    project.sandbox.control("faults/clear")
    assert project.run(window=WEEK).success
    assert project.stored_events() == project.true_events()
    whole = Project(
        project.sandbox, project.home, {**project.environment, "ICONTACT_ASSETS_HOME": str(project.home / "w")}
    )
    before = len(project.requests())
    assert whole.run(window=WEEK).success
    needed = len(project.requests()) - before
    assert before <= needed + 5


def test_audience_over_half_read_activity_does_not_move(project: Project) -> None:
    project.config = AUDIENCE
    assert project.run('key:"icontact/raw_messages" or key:"icontact/raw_sends"', window=WEEK).success
    assert project.run('key:"icontact/raw_contacts"', window=WEEK).success
    assert project.run('key:"icontact/icontact_*" or key:"icontact/audience_*"').success
    [record] = project.instance.fetch_materializations(dg.AssetKey(["icontact", "audience_readers"]), limit=1).records
    assert record.asset_materialization is not None
    assert record.asset_materialization.metadata["dagster/row_count"].value == 0
    evaluations = project.instance.get_latest_asset_check_evaluation_record
    check = evaluations(dg.AssetCheckKey(dg.AssetKey(["icontact", "audience_readers"]), "complete_data"))
    assert check is not None
    assert check.event is not None
    assert "was never read completely" in str(check.event.dagster_event)
    assert [type(tick).__name__ for tick in ask_sensor(project)] == ["SkipReason"]


def test_audience_is_incomplete_where_nothing_was_read(project: Project) -> None:
    project.config = AUDIENCE
    result = project.run('key:"icontact/audience_readers"')
    assert result.success
    [check] = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("complete_data", False)
    assert "contacts of icontact were not read completely" in str(check.metadata["why"].value)
    assert project.requests() == []


def ask_sensor(project: Project) -> list[Any]:
    sensor = project.definitions.resolve_sensor_def("exports")
    tick = sensor.evaluate_tick(dg.build_sensor_context(instance=project.instance, sensor_name=sensor.name))
    return [*(tick.run_requests or []), *([dg.SkipReason(tick.skip_message)] if tick.skip_message else [])]


def export(project: Project) -> list[dg.RunRequest]:
    requests = [item for item in ask_sensor(project) if isinstance(item, dg.RunRequest)]
    for request in requests:
        job = project.definitions.resolve_job_def("export_readers")
        job.execute_in_process(instance=project.instance, tags=dict(request.tags), raise_on_error=False)
    return requests


def on_the_list(project: Project, status: str = "normal") -> set[str]:
    truth = project.sandbox.control("truth")
    (target,) = [row["list_id"] for row in truth["lists"] if row["name"] == "Export target"]
    return {
        row["contact_id"]
        for row in truth["subscriptions"]
        if row["list_id"] == target and row["status"] == status and row["visible"]
    }


def test_export_adds_exactly_those_who_may_be_mailed_and_fires_once(project: Project) -> None:
    project.config = AUDIENCE
    assert project.job(YESTERDAY).success
    members = {id_ for (id_,) in project.rows("SELECT contact_id FROM icontact.audience_members")}
    status = {row["contact_id"]: row["status"] for row in project.sandbox.control("truth")["contacts"]}
    before, left = on_the_list(project), on_the_list(project, "unsubscribed")
    (request,) = export(project)
    assert request.run_key is not None
    assert request.run_key.startswith("readers-")
    added = on_the_list(project) - before
    outcomes = dict(project.rows("SELECT contact_id, outcome FROM icontact.export_outcomes"))
    assert set(outcomes) == members
    assert added == {id_ for id_, outcome in outcomes.items() if outcome == "added"}
    assert added
    assert added <= {id_ for id_ in members if status.get(id_) == "normal"} - left
    unsubscribed = {event[2] for event in project.true_events() if event[1] == "unsubscribe"}
    for id_ in members - added - before:
        assert outcomes[id_] == "skipped"
        assert status.get(id_) != "normal" or id_ in left | unsubscribed
    written = [row for row in project.requests() if row["method"] != "GET"]
    assert export(project) == []
    assert [row for row in project.requests() if row["method"] != "GET"] == written
    assert project.run('key:"icontact/export_readers"').success
    assert [row for row in project.requests() if row["method"] != "GET"] == written


def check(project: Project, name: str) -> tuple[bool, dict[str, Any]]:
    """Whether a check of the export passed when it was last evaluated, and its metadata."""
    key = dg.AssetCheckKey(dg.AssetKey(["icontact", "export_readers"]), name)
    record = project.instance.get_latest_asset_check_evaluation_record(key)
    assert record is not None
    assert record.event is not None
    evaluation = record.event.dagster_event.event_specific_data
    return evaluation.passed, {name: value.value for name, value in evaluation.metadata.items()}


def test_a_stopped_export_is_red_until_its_plan_is_approved(project: Project) -> None:
    stops = AUDIENCE.replace("mode: add", "mode: add, limits: {adds: 1}")
    project.config = stops
    assert project.job(YESTERDAY).success
    result = project.run('key:"icontact/export_readers"')
    failure = result.failure_data_for_node("icontact__export_readers")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "people would be added, at most 1 may be" in (failure.user_failure_data.description or "")
    facts = {name: value.value for name, value in failure.user_failure_data.metadata.items()}
    assert facts["remaining"] == facts["planned"] > 1
    assert facts["share_done"] == 0
    passed, found = check(project, "export_limits")
    assert not passed
    assert found["plan"] == facts["plan"]
    assert [row for row in project.requests() if row["method"] != "GET"] == []

    project.config = stops.replace("limits", f"approve: '{facts['plan']}', limits")
    result = project.run('key:"icontact/export_readers"')
    assert result.success
    [facts] = project.metadata(result, "export_readers").values()
    assert (facts["added"], facts["remaining"], facts["share_done"]) == (facts["planned"], 0, 1)
    assert [row[1:3] for row in rows_of(facts["preview"])].count(("subscribe", "added")) == min(20, facts["added"])
    assert "@" not in str(facts)
    assert check(project, "list_matches_audience")[0]
    assert check(project, "no_consent_violation") == (True, {"people": 0, "contact_ids": []})
    passed, found = check(project, "export_limits")
    assert (passed, found["approved"], len(found["limits_exceeded"])) == (True, True, 1)


def test_a_remainder_goes_on_when_its_time_has_come_and_the_list_is_compared_again(project: Project) -> None:
    project.config = AUDIENCE.replace("mode: add", "mode: add, pace: {adds_per_day: 3}")
    assert project.job(YESTERDAY).success
    assert len(export(project)) == 1
    [skip] = ask_sensor(project)
    assert "people remain; the export resumes at" in skip.skip_message
    assert skip.skip_message.startswith("readers: ")
    passed, found = check(project, "list_matches_audience")
    assert not passed
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=24, minutes=1)):
        (request,) = export(project)
        assert request.job_name == "export_readers"
        [(days,)] = project.rows(
            "SELECT count(DISTINCT recorded_at) FROM icontact.export_outcomes WHERE outcome = 'added'"
        )
        assert days == 2
    assert check(project, "list_matches_audience")[1]["missing"] == found["missing"] - 3


CHOOSING = """
audiences:
  - {name: readers, import: icontact, where: "last_active_ts IS NOT NULL"}
  - {name: clickers, import: icontact, where: "email_click_ct >= 1"}
exports:
  - {name: readers, audience: readers, list: Export target, mode: add, exclude: [clickers]}
"""


def test_every_audience_and_setting_that_decides_whom_an_export_is_for_starts_it_again(project: Project) -> None:
    project.config = AUDIENCE
    assert project.job(YESTERDAY).success
    project.config = CHOOSING
    [skip] = ask_sensor(project)
    assert skip.skip_message == "readers: The audience clickers has not been computed yet."
    result = project.run('key:"icontact/export_readers"')
    assert not result.success
    assert project.run('key:"icontact/audience_clickers"').success
    clickers = {
        id_ for (id_,) in project.rows("SELECT contact_id FROM icontact.audience_members WHERE audience = 'clickers'")
    }
    before = on_the_list(project)
    assert [request.run_key is not None for request in export(project)] == [True]
    assert on_the_list(project) > before
    assert not (on_the_list(project) - before) & clickers
    assert isinstance(ask_sensor(project)[0], dg.SkipReason)

    # An excluded audience changes, the export's own does not.
    project.config = CHOOSING.replace(">= 1", ">= 2")
    assert project.run('key:"icontact/audience_clickers"').success
    before = on_the_list(project)
    assert len(export(project)) == 1
    assert on_the_list(project) > before
    assert on_the_list(project) - before <= clickers
    assert export(project) == []

    # Settings change, and no audience does.
    project.config = project.config.replace("exclude: [clickers]", "exclude: [clickers], holdout: 20")
    assert len(export(project)) == 1
    assert export(project) == []

    kept = dg.AssetMaterialization(
        dg.AssetKey(["icontact", "audience_clickers"]),
        metadata={"audience_version": "0" * 32, "computed_from_complete_data": False},
    )
    project.instance.report_runless_asset_event(kept)
    [skip] = ask_sensor(project)
    assert skip.skip_message == "readers: The audience clickers was kept as it was: its data is not read completely."


def test_a_failed_export_is_tried_again_after_a_pause(project: Project) -> None:
    project.config = AUDIENCE
    assert project.job(YESTERDAY).success
    down = {"kind": "reply", "status": 402, "body": {"errors": ["unpaid"]}}
    project.sandbox.control("faults", faults=[{"path": "/subscriptions", "do": down}])
    assert len(export(project)) == 1
    assert "it is retried at" in str(ask_sensor(project))
    project.sandbox.control("faults/clear")
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=6)):
        (request,) = export(project)
    assert request.run_key is not None
    assert request.run_key.endswith("-2")
    assert export(project) == []


def test_mapped_assets_follow_raw_ones_once_and_not_after_the_job(project: Project) -> None:
    defs = project.definitions

    def requested(cursor: Any) -> tuple[int, Any]:
        result = dg.evaluate_automation_conditions(defs=defs, instance=project.instance, cursor=cursor)
        return result.total_requested, result.cursor

    _, cursor = requested(None)
    assert project.run(window=YESTERDAY).success
    count, cursor = requested(cursor)
    assert count >= 2
    assert project.run('key:"icontact/icontact_*"').success
    count, cursor = requested(cursor)
    assert count == 0
    assert project.job(YESTERDAY).success
    count, cursor = requested(cursor)
    assert count == 0


def test_no_secret_and_no_address_in_anything_a_run_leaves_behind(project: Project) -> None:
    project.config = AUDIENCE
    address = re.compile(rb"[a-z0-9._-]+@[a-z0-9-]+\.[a-z.]+", re.IGNORECASE)
    home = project.home / "dagster"
    home.mkdir()
    environment = {**os.environ, **project.environment, "DAGSTER_HOME": str(home)}
    (project.home / "icontact.yaml").write_text(AUDIENCE)
    words = {"kind": "reply", "status": 400, "body": {"errors": ["planted@secret.example is refused"]}}
    project.sandbox.control("faults", faults=[{"path": "/sends", "do": words}])
    said = b""
    for fault in (True, False):
        if not fault:
            project.sandbox.control("faults/clear")
        tags = json.dumps(range_tags(YESTERDAY))
        said += subprocess.run(
            [
                *(sys.executable, "-m", "dagster", "job", "execute", "-m", "icontact_assets.definitions"),
                *("-j", "icontact_import", "--tags", tags),
            ],
            env=environment,
            cwd=project.home,
            capture_output=True,
            check=False,
        ).stderr
    assert b"RUN_SUCCESS" in said
    assert b"<address> is refused" in said
    left = [path for path in home.rglob("*") if path.is_file()]
    assert left
    secrets = [
        project.environment[name].encode()
        for name in ("ICONTACT_API_PASSWORD", "ICONTACT_APP_ID", "ICONTACT_API_USERNAME")
    ]
    for content in [said, *(path.read_bytes() for path in left)]:
        assert not address.findall(content)
        for secret in secrets:
            assert secret not in content
