"""Days that failed are asked for again, by themselves and at their time: rules, schedule, whole backfills and re-reads."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import dagster as dg
import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from icontact_assets.icontact.errors import BudgetSpent, Incomplete, PageFailed, Refused, Rejected, Transient
from icontact_assets.ingest.window import Window
from icontact_assets.partitions import range_tags
from icontact_assets.records import REREAD_SINCE_TAG, REREAD_TAG, RETRY_AT_TAG
from icontact_assets.retries import LATER, SOON, Failed, Retry, next_retry, retry_at
from icontact_assets.schedules import retry_request
from icontact_assets.warehouse.storage import WarehouseBusy
from icontact_assets_tests.harness import ALL_RAW, Project, days_ago, only

NOW = datetime(2026, 5, 10, 8, 45, tzinfo=UTC)
ACTIVITY = dg.AssetKey(["icontact", "raw_activity"])
BACKFILL = Window(days_ago(2), days_ago(1))
"""Short, because Dagster records each day of each asset; the messages released before it are due as well."""
BESIDE = ("raw_contacts", "raw_lists")
"""What no activity is read by."""


def test_what_failed_decides_when_it_is_asked_for_again() -> None:
    free = NOW + timedelta(hours=20)
    assert retry_at([Incomplete("unstable"), BudgetSpent("spent", free), Transient("down")], NOW) == free
    assert retry_at([Rejected("bad"), Transient("down")], NOW) == NOW + SOON
    assert retry_at([WarehouseBusy("in use")], NOW) == NOW + SOON
    for lasting in (PageFailed("errors"), Rejected("bad"), Refused("unpaid", 402), Incomplete("unstable")):
        assert retry_at([lasting], NOW) == NOW + LATER
    assert retry_at([], NOW) == NOW + LATER


DAYS = [date(2026, 5, 1) + timedelta(days=n) for n in range(9)]
STATES = st.sampled_from(["never asked", "read", "failed", "waits", "reread", "reread waits"])


def failures(states: list[str]) -> dict[date, Failed]:
    return {
        day: Failed(
            NOW + timedelta(hours=1 if "waits" in state else -1), NOW - LATER if state.startswith("reread") else None
        )
        for day, state in zip(DAYS, states, strict=True)
        if state not in ("never asked", "read")
    }


@given(st.lists(STATES, min_size=len(DAYS), max_size=len(DAYS)))
def test_the_range_is_ready_was_asked_for_and_leaves_out_nothing_that_could_join(states: list[str]) -> None:
    of = dict(zip(DAYS, states, strict=True))
    found = next_retry(failures(states), {day for day in DAYS if of[day] != "never asked"}, NOW)
    ready = [day for day in DAYS if of[day] in ("failed", "reread")]
    if found is None:
        assert not ready
        return
    kind = of[found.window.last]
    assert found.window.last == max(ready)
    assert found.reread_since == (NOW - LATER if kind == "reread" else None)
    assert of[found.window.first] == kind
    assert {of[day] for day in found.window.days} <= {"read", kind}
    before = [day for day in DAYS if day < found.window.first]
    between = [day for day in before if of[day] != "read"]
    assert not between or of[between[-1]] != kind


def test_days_that_failed_for_good_do_not_keep_older_ones_waiting() -> None:
    states = ["failed", "failed", "read", "never asked", "waits", "read", "waits", "read", "read"]
    asked = {day for day, state in zip(DAYS, states, strict=True) if state != "never asked"}
    assert next_retry(failures(states), asked, NOW) == Retry(Window(DAYS[0], DAYS[1]), None)


@pytest.fixture
def project(beginning: Project) -> Project:
    """Of a few messages, as they are early in the day: how many requests a run takes depends on the hour."""
    early = datetime.combine(days_ago(0), time(0, 10), UTC)
    beginning.sandbox.control("reset", contacts=60, messages=6, days=12, now=early.isoformat())
    beginning.keeps_open = True
    return beginning


def limited(project: Project, requests: int) -> Project:
    project.environment["ICONTACT_REQUESTS_PER_DAY"] = str(requests)
    return project


def ask(project: Project, at: datetime | None = None) -> tuple[dict[str, str] | None, str]:
    """What is asked for at an instant: the tags of the run, else the reason why not."""
    (import_,) = project.settings.imports
    answer = retry_request(project.instance, project.settings, import_, at or datetime.now(UTC))
    if isinstance(answer, dg.RunRequest):
        return dict(answer.tags), ""
    return None, str(answer.skip_message)


def run(project: Project, tags: dict[str, str], without: Collection[str] = ()) -> dg.ExecuteInProcessResult:
    """The raw assets of the job, without some: what is computed of them is not retried."""
    job = project.definitions.resolve_job_def("icontact_import")
    raw = {key for key in job.asset_layer.executable_asset_keys if key.path[-1].startswith("raw_")}
    keys = [key for key in raw if key.path[-1] not in without]
    return job.execute_in_process(
        instance=project.instance,
        tags=tags,
        asset_selection=keys,
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )


def let_pass(project: Project, passed: timedelta) -> None:
    """Let the account's budget see that much time pass: its clock is the operating system's."""
    (path,) = (project.settings.home / "budget").glob("*.sqlite")
    with sqlite3.connect(path) as connection:
        (table,) = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        connection.execute(
            f'UPDATE "{table}" SET item_timestamp = item_timestamp - ?', (passed // timedelta(milliseconds=1),)
        )


def tags_of(project: Project, result: dg.ExecuteInProcessResult) -> dict[str, str]:
    found = project.instance.get_run_by_id(result.run_id)
    assert found is not None
    return dict(found.tags)


def facts_of(result: dg.ExecuteInProcessResult, asset: str = "raw_activity") -> dict[str, Any]:
    data = result.failure_data_for_node(f"icontact__{asset}")
    assert data is not None
    assert data.user_failure_data is not None
    return {name: value.value for name, value in data.user_failure_data.metadata.items()}


def carry_on(project: Project, first: dg.ExecuteInProcessResult, most: int = 12) -> list[dg.ExecuteInProcessResult]:
    """Evaluate the schedule a day on, and read what it asks for, without `BESIDE`, until it asks for nothing more.

    The runs themselves see today's clock, as the sandbox does: nothing else is to happen meanwhile.
    """
    results = [first]
    while not results[-1].success:
        assert len(results) < most
        assert ask(project)[0] is None
        let_pass(project, timedelta(days=1))
        with time_machine.travel(datetime.fromisoformat(tags_of(project, results[-1])[RETRY_AT_TAG])):
            tags, reason = ask(project)
        assert tags is not None, reason
        results.append(run(project, tags, BESIDE))
    return results


def test_a_backfill_over_the_budget_is_retried_until_it_equals_the_truth_and_a_reread_as_one(project: Project) -> None:
    first = run(limited(project, 11), range_tags(BACKFILL), BESIDE)
    assert not first.success
    assert project.stored_events() != project.true_events()
    results = carry_on(project, first)
    assert len(results) >= 3
    assert project.stored_events() == project.true_events()
    assert ask(project) == (None, "No ended day of icontact failed when it was last asked for.")

    whole = len(project.requests())
    truth = project.true_events()
    limited(project, 9)
    let_pass(project, timedelta(days=2))
    first = run(project, {**range_tags(BACKFILL), REREAD_TAG: "true"}, BESIDE)
    assert not first.success
    assert facts_of(first)["days_read"] == 0
    record = project.instance.get_run_record_by_id(first.run_id)
    assert record is not None
    began = record.create_timestamp.astimezone(UTC)
    results = carry_on(project, first)
    assert len(results) >= 3
    for result in results[1:]:
        tags = tags_of(project, result)
        assert tags[REREAD_TAG] == "true"
        assert datetime.fromisoformat(tags[REREAD_SINCE_TAG]) == began
    verified = project.rows(
        "SELECT count(*) FROM icontact.import_coverage JOIN icontact.raw_sends USING (message_id) "
        f"WHERE resource = 'activity' AND released_at IS NOT NULL AND verified_at < TIMESTAMP '{began:%F %T}'"
    )
    assert verified == [(0,)]
    assert project.stored_events() == truth
    # Read once more and not twice.
    assert len(project.requests()) - whole <= whole + 2 * len(results)


def test_the_share_done_is_shown_by_the_failed_step_and_the_days_that_are_read(project: Project) -> None:
    window = Window(days_ago(14), days_ago(1))
    asked = only("messages", "sends", "statistics", "activity")
    first = limited(project, 18).run(asked, window)
    facts = facts_of(first)
    green = project.metadata(first, "raw_activity")
    assert facts["days_asked"] == 14
    assert facts["days_read"] == len(green) > 0
    assert 0 < facts["messages_read"] < facts["messages_due"]
    # raw_statistics, which is stopped too, names a time of its own, a moment later.
    assert 0 <= datetime.fromisoformat(tags_of(project, first)[RETRY_AT_TAG]).timestamp() - facts["retry_at"] < 60
    told = ("days_asked", "days_read", "messages_due", "messages_read", "requests_missing")
    for day in green.values():
        assert {name: day[name] for name in told} == {name: facts[name] for name in told}
    assert [day for day, shown in green.items() if "days" in shown] == [max(green)], "the picture of the days"
    before = len(project.requests())
    assert limited(project, 1000).read(asked, window).success
    needed = len(project.requests()) - before
    assert needed <= facts["requests_missing"] <= 2 * needed


def test_nothing_is_asked_while_a_run_is_under_way_or_nothing_is_left(project: Project) -> None:
    limited(project, 12)
    assert ask(project)[1] == "No ended day of icontact failed when it was last asked for."
    first = run(project, range_tags(BACKFILL))
    at = datetime.fromisoformat(tags_of(project, first)[RETRY_AT_TAG])
    tags, reason = ask(project, at - timedelta(minutes=1))
    assert tags is None
    assert reason == f"2 days of icontact failed; they are asked for again from {at:%Y-%m-%d %H:%M} UTC on."
    assert "no request of the day's budget is left" in ask(project, at)[1]
    let_pass(project, timedelta(days=1))
    tags, _ = ask(project, at)
    assert tags == range_tags(BACKFILL)
    password = project.environment.pop("ICONTACT_API_PASSWORD")
    assert "ICONTACT_API_PASSWORD is unset" in ask(project, at)[1]
    project.environment["ICONTACT_API_PASSWORD"] = password
    job = project.definitions.resolve_job_def("icontact_import")
    queued = project.instance.create_run_for_job(job, tags=range_tags(BACKFILL))
    assert ask(project, at) == (None, f"Run {queued.run_id} of icontact is queued or running.")


def test_a_listing_that_is_refused_is_tried_again_after_a_day(project: Project) -> None:
    day = Window(days_ago(2), days_ago(1))
    refused = {"kind": "reply", "status": 400, "body": {"errors": ["broken"]}}
    project.sandbox.control("faults", faults=[{"path": "/contacts", "do": refused}])
    result = run(project, range_tags(day))
    assert not result.success
    assert project.stored_events() == project.true_events()
    at = datetime.fromisoformat(tags_of(project, result)[RETRY_AT_TAG])
    assert abs(at - datetime.now(UTC) - LATER) < timedelta(minutes=1)
    assert facts_of(result, "raw_contacts")["retry_at"] == at.timestamp()
    assert ask(project, at - timedelta(minutes=1))[0] is None
    assert ask(project, at)[0] == range_tags(day)


def test_a_run_that_died_is_tried_again_after_an_hour_and_a_cancelled_one_never(project: Project) -> None:
    day = Window(days_ago(2), days_ago(1))
    job = project.definitions.resolve_job_def("icontact_import")
    now = datetime.now(UTC)
    cancelled = project.instance.create_run_for_job(job, tags=range_tags(day))
    project.instance.report_run_canceled(cancelled)
    assert "No ended day" in ask(project, now + timedelta(days=3))[1]
    died = project.instance.create_run_for_job(job, tags=range_tags(day))
    project.instance.report_run_failed(died)
    assert ask(project, now + timedelta(minutes=50))[0] is None
    assert ask(project, now + timedelta(minutes=70))[0] == range_tags(day)


def test_whoever_asks_for_one_listing_alone_did_not_ask_for_an_import(project: Project) -> None:
    refused = {"kind": "reply", "status": 400, "body": {"errors": ["broken"]}}
    project.sandbox.control("faults", faults=[{"path": "/contacts", "do": refused}])
    assert not project.run('key:"icontact/raw_contacts"', window=Window(days_ago(2), days_ago(1))).success
    assert "No ended day" in ask(project, datetime.now(UTC) + timedelta(days=3))[1]


def test_the_days_of_a_listing_that_the_budget_stops_are_retried_too(project: Project) -> None:
    limited(project, 2)
    window = Window(days_ago(2), days_ago(1))
    first = run(project, range_tags(window))
    assert facts_of(first, "raw_messages")["retry_at"]
    limited(project, 200)
    with time_machine.travel(datetime.fromisoformat(tags_of(project, first)[RETRY_AT_TAG]) + timedelta(minutes=1)):
        tags, reason = ask(project)
        assert tags == range_tags(window), reason
        assert project.read(ALL_RAW, window).success
    assert project.stored_events() == project.true_events()
