"""The checks of the raw assets in real runs: when all is there, when a run fails, when iContact's figures differ."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from icontact_assets.ingest.window import Window
from icontact_assets_tests.harness import Project, days_ago, rows_of

DAYS = Window(days_ago(2), days_ago(1))
"""Short, because Dagster records each day of each asset; the messages released before it are due as well."""
OF_MESSAGES = " or ".join(f'key:"icontact/raw_{name}"' for name in ("messages", "sends", "statistics", "activity"))
LISTINGS = ("raw_contacts", "raw_messages", "raw_sends", "raw_lists")


def check(project: Project, asset: str, name: str) -> tuple[bool, dict[str, Any]]:
    """The latest evaluation: whether it passed, and its metadata."""
    key = dg.AssetCheckKey(dg.AssetKey(["icontact", asset]), name)
    record = project.instance.get_latest_asset_check_evaluation_record(key)
    assert record is not None, key
    assert record.evaluation is not None, f"{key} was planned and never evaluated"
    return record.evaluation.passed, {name: value.value for name, value in record.evaluation.metadata.items()}


@pytest.fixture
def project(project: Project) -> Project:
    """Of a few messages."""
    project.sandbox.control("reset", contacts=60, messages=5, days=12)
    project.keeps_open = True
    return project


def test_all_pass_with_their_numbers_when_everything_is_read(project: Project) -> None:
    assert project.run(window=DAYS).success
    for asset in LISTINGS:
        passed, facts = check(project, asset, "listing_complete")
        assert passed
        [(stored,)] = project.rows(f"SELECT count(*) FROM icontact.{asset} WHERE deleted_at IS NULL")
        assert facts["reported"] == facts["stored"] == stored
        assert abs(facts["read_through"] - datetime.now(UTC).timestamp()) < 300
    for asset in (*LISTINGS, "raw_statistics", "raw_activity"):
        assert check(project, asset, "failed_partitions") == (True, {"asked": 2, "failed": 0, "runs": 0})
    for asset in (*LISTINGS, "raw_activity"):
        assert check(project, asset, "quarantine_empty") == (True, {"rows": 0})
    for name in ("read", "settled"):
        assert check(project, "raw_activity", f"activity_{name}") == (
            True,
            {"days_asked": 2, f"days_{name}": 2, f"days_not_{name}": 0, f"newest_{name}": days_ago(1).isoformat()},
        )
    [(messages,)] = project.rows("SELECT count(DISTINCT message_id) FROM icontact.raw_statistics")
    assert check(project, "raw_activity", "statistics_tie_out") == (True, {"compared": 4 * messages, "differing": 0})


def test_a_run_that_fails_says_which_days_are_missing_and_a_later_one_clears_it(project: Project) -> None:
    project.sandbox.control("reset", contacts=60, messages=6, days=5)
    window = Window(days_ago(7), days_ago(1))
    project.environment["ICONTACT_REQUESTS_PER_DAY"] = "18"
    first = project.run(window=window)
    assert not first.success
    assert len(project.requests()) == 18
    failure = first.failure_data_for_node("icontact__raw_activity")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "`icontact_retry` resumes at" in (failure.user_failure_data.description or "")
    green = {datetime.fromisoformat(day).date() for day in project.metadata(first, "raw_activity")}
    red = [day for day in window.days if day not in green]
    [(released,)] = project.rows("SELECT min(released_at)::DATE FROM icontact.raw_sends")
    assert {day for day in window.days if day < released} <= green
    assert days_ago(1) in red
    passed, facts = check(project, "raw_activity", "activity_read")
    assert not passed
    assert (facts["days_asked"], facts["days_read"], facts["days_not_read"]) == (7, len(green), len(red))
    assert (facts["oldest_not_read"], facts["newest_not_read"]) == (red[0].isoformat(), red[-1].isoformat())
    reasons = dict(project.rows("SELECT day, reason FROM icontact.coverage"))
    assert facts["reason_of_newest"] == reasons[red[-1]]
    assert not check(project, "raw_activity", "activity_settled")[0]
    passed, facts = check(project, "raw_activity", "failed_partitions")
    assert not passed
    assert facts == {
        "asked": 7,
        "failed": len(red),
        "runs": 1,
        "oldest": red[0].isoformat(),
        "newest": red[-1].isoformat(),
        "run_of_newest": first.run_id,
    }
    assert check(project, "raw_contacts", "failed_partitions")[0]
    project.environment["ICONTACT_REQUESTS_PER_DAY"] = "0"
    # A day asked for alone says what became of the others too.
    assert project.run(window=Window(days_ago(1), days_ago(1))).success
    assert check(project, "raw_activity", "activity_read")[0]
    passed, facts = check(project, "raw_activity", "failed_partitions")
    assert (passed, facts["failed"], facts["newest"]) == (False, len(red) - 1, red[-2].isoformat())
    assert project.run(window=window).success
    assert check(project, "raw_activity", "failed_partitions")[0]
    assert project.stored_events() == project.true_events()


def test_what_a_failed_listing_keeps_from_running_is_not_silent(project: Project) -> None:
    refused = {"kind": "reply", "status": 400, "body": {"errors": ["broken"]}}
    project.sandbox.control("faults", faults=[{"path": "/sends", "do": refused}])
    assert not project.run(OF_MESSAGES, DAYS).success
    passed, facts = check(project, "raw_sends", "listing_complete")
    assert not passed
    assert "broken" in facts["reason"]
    for asset in ("raw_sends", "raw_statistics", "raw_activity"):
        passed, facts = check(project, asset, "failed_partitions")
        assert (passed, facts["asked"], facts["failed"]) == (False, 2, 2)
    assert not check(project, "raw_activity", "activity_read")[0]
    assert check(project, "raw_messages", "listing_complete")[0]
    project.sandbox.control("faults/clear")
    assert project.run(OF_MESSAGES, DAYS).success
    for asset in ("raw_sends", "raw_statistics", "raw_activity"):
        assert check(project, asset, "failed_partitions")[0]
    assert check(project, "raw_activity", "activity_read")[0]


def test_unreadable_rows_are_counted_by_reason_and_never_shown(project: Project) -> None:
    opened = Counter[str]()
    for event, n in project.true_events().items():
        opened[event[0]] += n if event[1] == "open" else 0
    [(message, opens)] = opened.most_common(1)
    broken = {"kind": "fields", "set": {"openTime": "not a time"}}
    project.sandbox.control("faults", faults=[{"path": f"/messages/{message}/opens", "do": broken}])
    assert project.run(OF_MESSAGES, DAYS).success
    passed, facts = check(project, "raw_activity", "quarantine_empty")
    assert not passed
    assert facts["rows"] == opens
    assert rows_of(facts["reasons"]) == [("opens", "no readable openTime", opens)]
    passed, facts = check(project, "raw_activity", "statistics_tie_out")
    assert (passed, facts["differing"], facts["unreadable"]) == (False, 1, 1)
    assert rows_of(facts["differences"]) == [(message, "opens", 0, opens, "unreadable")]
    contents = [content for (content,) in project.rows("SELECT content FROM icontact.quarantine")]
    contacts = {str(json.loads(content)["contactId"]) for content in contents}
    assert not any(contact in str(facts) for contact in contacts)


def test_identical_lines_that_icontact_counts_once_are_explained(project: Project) -> None:
    [(message, _)] = Counter(event[0] for event in project.true_events()).most_common(1)
    at = datetime.combine(days_ago(1), datetime.min.time(), UTC).isoformat()
    for _ in range(3):
        project.sandbox.control("events/add", message_id=int(message), kind="opens", contact_id=90000001, at=at)
    project.sandbox.control("switches", statistics="distinct")
    assert project.run(OF_MESSAGES, DAYS).success
    passed, facts = check(project, "raw_activity", "statistics_tie_out")
    assert passed
    assert facts["duplicates"] == facts["differing"] >= 1
    assert (message, "opens") in [row[:2] for row in rows_of(facts["differences"])]
