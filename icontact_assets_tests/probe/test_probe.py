"""The probe names how a service answers, asks little and only with GET, and stops without losing what it found."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.first_contact import PAGE, line
from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.looking import Looking
from icontact_assets.probe.asking import look
from icontact_assets.probe.client import MOST, Client
from icontact_assets.probe.profile import profile, write_profile
from icontact_assets.probe.questions import QUESTIONS, UNKNOWN
from icontact_assets.probe.report import is_handled, settings
from icontact_assets.probe.sight import Sight
from icontact_assets.sandbox.like import read_profile
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.sandbox.switches import Switches
from icontact_assets_tests.icontact.test_session import CREDENTIALS
from icontact_assets_tests.probe.played import PLACE, WORLD, Sights, found, plays

SMALL = {"contacts": 200, "messages": 10, "days": 60, "now": WORLD["now"]}

TOGETHER: list[dict[str, Any]] = [
    {
        "page_limit": "refuse", "page_limit_rows": 100, "bad_limit": "refuse",
        "past_end": "null", "listing_order": "descending", "contact_id_comparison": "warn", "orderby": "silent",
        "unknown_term": "silent", "contacts_default": "all", "total_includes_deleted": True, "activity_order": "descending",
        "activity_filters": "apply", "ids": "mixed", "activity_time": "no_colon", "contact_date": "iso", "nulls": "blank",
        "gzip": False, "auth_status": "403", "auth_body": "html", "unknown_path": "404", "limit_headers": "some",
    },
    {
        "page_limit": "clamp", "page_limit_rows": 7, "past_end": "missing", "totals": "told", "listing_order": "shuffled",
        "contact_id_comparison": "text", "orderby": "refuse", "unknown_term": "empty", "activity_order": "shuffled",
        "ids": "integer", "activity_time": "unreadable", "message_date": "compact", "message_bodies": "left_out",
        "extra_fields": True, "content_type": "text/html; charset=utf-8", "unknown_message": "500", "folders": "agency",
        "action_details": "message",
    },
]  # fmt: skip


@pytest.fixture
def sights(sandbox: Sandbox, tmp_path: Path) -> Sights:
    sandbox.control("reset", **SMALL)
    return Sights(sandbox, tmp_path)


@pytest.mark.parametrize("switches", TOGETHER, ids=["handled", "not_handled"])
def test_every_reading_is_named_beside_others_and_found_again(
    sights: Sights, tmp_path: Path, switches: dict[str, Any]
) -> None:
    sight = sights.probe(**switches)
    findings = found(sight)
    assert {key: findings[key].answer for key in switches} == switches
    assert list(findings) == [question.key for question in QUESTIONS]
    log = sights.sandbox.control("log")
    assert len(log) == sight.requests <= MOST
    assert {row["method"] for row in log} == {"GET"}
    assert [row["status"] for row in log].count(int(switches.get("auth_status", 401))) == 1
    assert log[-1]["status"] == int(switches.get("auth_status", 401))
    assert is_handled(list(findings.values())) == ("message_bodies" not in switches)
    write_profile(tmp_path / "p.json", profile(sight, list(findings.values()), datetime.now(UTC), "0"))
    like = read_profile(tmp_path / "p.json")
    assert like.unlike == {}
    sights.sandbox.control("reset", **SMALL)
    again = found(sights.probe(**like.switches))
    assert {key: finding.answer for key, finding in again.items()} == {
        key: finding.answer for key, finding in findings.items()
    }


def test_the_page_shows_what_is_found_now(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.control("reset", **WORLD)
    sights, default = Sights(sandbox, tmp_path), Switches().model_dump()
    answers = {key: finding.answer for key, finding in found(sights.probe()).items() if key in default}
    not_met = dict.fromkeys(("messages_limit_rows", "requests_per_minute", "requests_per_day", "limit_reply"), UNKNOWN)
    assert answers == {key: default[key] for key in answers} | not_met
    switches = {"retention_days": 20}
    assert ("retention_days", switches) in plays()
    now = line(switches, found(sights.probe(**switches))["retention_days"])
    assert now in PAGE.read_text().splitlines(), f"run `python -m benchmarks.first_contact`: {now}"


def test_the_page_names_every_reading() -> None:
    text = PAGE.read_text()
    for key, switches in plays():
        value = str(switches[key]).lower() if isinstance(switches[key], bool) else switches[key]
        assert f"`{key}={value}`" in text


def test_failures_now_and_then_do_not_end_it(sights: Sights) -> None:
    sights.sandbox.control("faults", faults=[{"every": 3, "do": {"kind": "reply", "status": 503}}])
    sight = sights.probe()
    findings = found(sight)
    assert sight.requests <= MOST
    assert sight.refusals > 10
    assert findings["requests_per_minute"].answer == UNKNOWN
    assert findings["page_limit_rows"].answer == UNKNOWN
    assert findings["activity_time"].answer == "iso"


def test_a_limit_of_requests_is_met_and_kept(sights: Sights) -> None:
    sight = sights.probe(requests_per_minute=10, limit_reply="429")
    findings = found(sight)
    assert (findings["requests_per_minute"].answer, findings["limit_reply"].answer) == (10, "429")
    assert sight.stopped is None
    assert sight.refusals <= 3
    [setting] = settings(list(findings.values()))
    assert setting.lines == ("limits:", "  per_minute: 10")


def test_a_service_that_cannot_bring_a_large_page_is_probed_all_the_same(sights: Sights) -> None:
    fault = {"path": "/contacts$", "query": "limit=[15]000", "do": {"kind": "reply", "status": 503}}
    sights.sandbox.control("faults", faults=[fault])
    sight = sights.probe(activity_limit_rows=10)
    findings = found(sight)
    assert sight.stopped is None
    assert (findings["page_limit"].answer, findings["page_limit"].verdict) == ("other", "handled")
    assert (findings["requests_per_minute"].answer, findings["activity_limit_rows"].answer) == (UNKNOWN, 10)


def test_sends_are_seen_to_the_end_where_pages_are_short(sights: Sights) -> None:
    sight = sights.probe(page_limit_rows=3)
    assert sight.names("sends_from:")
    assert found(sight)["automation_sends"].answer == "include"


def test_where_small_pages_only_come_from_activity_they_are_read(sights: Sights) -> None:
    findings = found(sights.probe(page_limit="refuse", page_limit_rows=100, activity_limit_rows=30))
    assert findings["activity_order"].answer == "ascending"
    assert findings["activity_time"].answer == "iso"


def test_a_time_without_an_offset_that_is_not_eastern_is_to_be_reported(sights: Sights) -> None:
    assert "Eastern, as " in found(sights.probe())["contact_date"].words
    in_utc = found(sights.probe(contact_date="blank_utc"))["contact_date"]
    assert (in_utc.answer, in_utc.verdict) == ("blank_utc", "report")
    assert "UTC, as " in in_utc.words


def test_what_was_found_before_the_requests_end_is_there(sights: Sights, tmp_path: Path) -> None:
    sight = sights.probe(requests_per_day=20)
    assert "503 for more than a minute" in str(sight.stopped)
    assert found(sight)["contact_date"].answer == "blank"
    assert found(sight)["orderby"].words == "not looked at"

    budget = Budget(CountFile(tmp_path / "budget", "a"), per_second=0, per_minute=0, per_day=12)
    looking, sight = Looking(sights.sandbox.url, CREDENTIALS, budget), Sight()
    sights.sandbox.control("reset", **SMALL)
    look(Client(looking.look), PLACE, sight, looking.look)
    assert "The day's budget of 12 requests is used up" in str(sight.stopped)
    assert sight.requests == 12
    assert found(sight)["contact_date"].answer == "blank"


def test_an_empty_account_shows_nothing_and_breaks_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.control("reset", contacts=0, messages=0, days=1)
    sight = Sights(sandbox, tmp_path).probe()
    findings = found(sight)
    assert is_handled(list(findings.values()))
    assert findings["ids"].answer in ("string", UNKNOWN)
    assert {findings[key].answer for key in ("page_limit", "activity_order", "statistics", "orderby")} == {UNKNOWN}
    assert json.dumps([finding.answer for finding in findings.values()])
