"""Audiences and exports in real Dagster runs against the sandbox: who is added, what the sensor starts, what stops."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import time_machine

from icontact_assets.ingest.window import Window
from icontact_assets_tests.harness import AUDIENCE, Project, days_ago, on_both, rows_of

DAY = Window(days_ago(1), days_ago(1))


def test_audience_over_half_read_activity_does_not_move(project: Project) -> None:
    project.alone().config = AUDIENCE
    refused = {"kind": "reply", "status": 400, "body": {"errors": ["broken"]}}
    project.sandbox.control("faults", faults=[{"path": "/unsubscribes", "do": refused}])
    read = " or ".join(f'key:"icontact/raw_{name}"' for name in ("messages", "sends", "contacts", "activity"))
    assert not project.run(read, DAY).success
    assert project.rows("SELECT count(*) > 0 FROM icontact.raw_activity") == [(True,)]
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


def computed(imported: Project, config: str = AUDIENCE) -> Project:
    """With the audience computed, as the sensor sees it."""
    imported.alone().config = config
    assert imported.run('key:"icontact/audience_readers"').success
    return imported


@on_both
def test_export_adds_exactly_those_who_may_be_mailed_and_fires_once(imported: Project) -> None:
    project = computed(imported)
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


def test_a_stopped_export_is_red_until_its_plan_is_approved(imported: Project) -> None:
    stops = AUDIENCE.replace("mode: add", "mode: add, limits: {adds: 1}")
    project = computed(imported, stops)
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
    assert check(project, "no_consent_violation") == (True, {"people": 0, "contact_ids": "none"})
    passed, found = check(project, "export_limits")
    assert (passed, found["approved"]) == (True, True)
    assert found["limits_exceeded"].endswith("people would be added, at most 1 may be")


def test_a_dry_run_is_no_warning_and_says_what_it_would_do(imported: Project) -> None:
    project = computed(imported, AUDIENCE.replace("mode: add", "mode: dry_run"))
    result = project.run('key:"icontact/export_readers"')
    assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())
    [facts] = project.metadata(result, "export_readers").values()
    assert facts["planned"] > 0
    assert facts["result"] == f"A dry run: nothing was written. {facts['planned']} people would be added or removed."
    assert facts["limits_exceeded"] == "none"
    assert not [value for value in facts.values() if isinstance(value, list | dict) or str(value).startswith("{")]
    assert [row for row in project.requests() if row["method"] != "GET"] == []
    assert isinstance(ask_sensor(project)[0], dg.SkipReason)


def test_a_remainder_goes_on_when_its_time_has_come_and_the_list_is_compared_again(imported: Project) -> None:
    project = computed(imported, AUDIENCE.replace("mode: add", "mode: add, pace: {adds_per_day: 3}"))
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


def test_every_audience_and_setting_that_decides_whom_an_export_is_for_starts_it_again(imported: Project) -> None:
    project = computed(imported)
    project.config = CHOOSING
    [skip] = ask_sensor(project)
    assert "The audience clickers has not been computed yet. It waits until icontact/" in skip.skip_message
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
