"""Schema drift in real runs over HTTP: what is told, how often, what is stored, and what each policy does."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from icontact_assets.ingest.window import Window
from icontact_assets.sandbox.process import Sandbox
from icontact_assets_tests.dev import wait_for
from icontact_assets_tests.harness import ACTIVITY, AUDIENCE, TODAY, Ended, Project, days_ago, only, resume
from icontact_assets_tests.harness.quick import QuickResult

NOW = Window(TODAY, TODAY)
"""A window that has not ended: each run over it reads every listing anew."""

SECRET = "planted-value"

LISTINGS = {
    "contacts": ({"drop": ["firstName"], "set": {"city": {"is": SECRET}}}, {"firstName": "absent", "city": "object"}),
    "messages": ({"set": {"subject": [SECRET]}}, {"subject": "array"}),
    "sends": ({"drop": ["releasedTime"]}, {"releasedTime": "absent"}),
    "lists": ({"set": {"description": True}}, {"description": "boolean"}),
    "subscriptions": ({"drop": ["addDate"]}, {"addDate": "absent"}),
}


@pytest.fixture(scope="module")
def listings(shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The home of a project that has read every listing, and the time at which its world began."""
    shared_sandbox.control("reset")
    began = shared_sandbox.control("clock")["now"]
    project = Project.in_folder(shared_sandbox, tmp_path_factory.mktemp("listings"))
    project.config = config("warn")
    project.keeps_open = True
    assert project.read(only(*LISTINGS), NOW).success
    project.let_go()
    return project.settings.home, began


@pytest.fixture
def project(project: Project) -> Project:
    project.keeps_open = True
    return project


@pytest.fixture
def listed(listings: tuple[Path, str], project: Project) -> Project:
    home, began = listings
    resume(project.sandbox, began)
    shutil.copytree(home, project.home / "home")
    project.config = config("warn")
    return project


def config(policy: str) -> str:
    return (
        f"imports:\n  - {{name: icontact, account: 1300001, client_folder: 7601, schema_drift: {policy}}}\n" + AUDIENCE
    )


def plan(project: Project, **faults: dict[str, Any]) -> None:
    """Fields lost or changed in every row of these paths, in place of what was planned before."""
    project.sandbox.control("faults/clear")
    project.sandbox.control(
        "faults", faults=[{"path": f"/{path}$", "do": {"kind": "fields", **fault}} for path, fault in faults.items()]
    )


def said(project: Project, result: dg.ExecuteInProcessResult | QuickResult, level: int) -> list[str]:
    """What a run logged about fields at a level (20: information, 30: warning)."""
    if isinstance(result, QuickResult):
        logs = result.said
    else:
        logs = [(int(log.level), log.user_message) for log in project.instance.all_logs(result.run_id)]
    return sorted(text for of, text in logs if of == level and "Field " in text)


def found(project: Project, result: dg.ExecuteInProcessResult | QuickResult, asset: str) -> set[tuple[str, str, str]]:
    """Field, what was found and status in the metadata of an asset."""
    return {
        (record.data["field"], record.data["found"], record.data["status"])
        for facts in project.metadata(result, asset).values()
        for record in (facts["schema_drift"].records if "schema_drift" in facts else ())
    }


def failure(result: Any, asset: str) -> str:
    return Ended.of(result).red[asset]


def test_new_fields_are_kept_and_told_once(project: Project) -> None:
    first = project.read(only("contacts", "lists"), NOW)
    own = {field for field, _, verdict in found(project, first, "raw_contacts") if verdict == "new"}
    custom = project.rows("SELECT DISTINCT unnest(json_keys(custom_fields)) FROM icontact.raw_contacts")
    assert own == {field for (field,) in custom}
    assert own
    plan(project, contacts={"set": {"petName": SECRET, "pets": [SECRET]}}, lists={"set": {"colour": SECRET}})
    second = project.run(only("contacts", "lists"), NOW)
    assert second.success
    assert found(project, second, "raw_contacts") == {("petName", "text", "new"), ("pets", "array", "new")}
    assert found(project, second, "raw_lists") == {("colour", "text", "new")}
    assert said(project, second, 20) == [
        "Field contacts.petName (text) is new, kept in custom_fields.",
        "Field contacts.pets (array) is new, kept in custom_fields.",
        "Field lists.colour (text) is new, kept in no table.",
    ]
    kept = project.rows(
        "SELECT DISTINCT json_extract(custom_fields, ['$.petName', '$.pets'])::VARCHAR[] FROM icontact.raw_contacts "
        "QUALIFY row_number() OVER (PARTITION BY id ORDER BY observed_at DESC) = 1 AND deleted_at IS NULL"
    )
    assert kept == [([json.dumps(SECRET), json.dumps([SECRET], separators=(",", ":"))],)]
    third = project.read(only("contacts", "lists"), NOW)
    assert third.success
    assert (found(project, third, "raw_contacts"), said(project, third, 20), said(project, third, 30)) == (
        set(),
        [],
        [],
    )
    assert project.rows(
        "SELECT kind, accepted, first_seen_at < last_seen_at FROM icontact.known_fields WHERE field = 'petName'"
    ) == [("text", True, True)]


def test_warn_stores_and_warns_while_it_lasts(listed: Project) -> None:
    project = listed
    plan(project, **{resource: fault for resource, (fault, _) in LISTINGS.items()})
    of_contacts = [
        "Field contacts.city is object, expected text.",
        "Field contacts.firstName is in no row, expected text.",
    ]
    first = project.run(only(*LISTINGS), NOW)
    assert first.success
    for resource, (_, came) in LISTINGS.items():
        expected = {(field, kind, "drift") for field, kind in came.items()}
        assert found(project, first, f"raw_{resource}") == expected
    assert said(project, first, 30) == [
        *of_contacts,
        "Field lists.description is boolean, expected text.",
        "Field messages.subject is array, expected text.",
        "Field sends.releasedTime is in no row, expected text.",
        "Field subscriptions.addDate is in no row, expected text.",
    ]
    again = project.read(only("contacts"), NOW)
    assert again.success
    assert said(project, again, 30) == of_contacts
    [latest] = project.rows(
        "SELECT DISTINCT city, first_name FROM icontact.raw_contacts "
        "QUALIFY row_number() OVER (PARTITION BY id ORDER BY observed_at DESC) = 1 AND deleted_at IS NULL"
    )
    assert latest == (json.dumps({"is": SECRET}, separators=(",", ":")), None)
    project.sandbox.control("faults/clear")
    after = project.read(only("contacts"), NOW)
    assert after.success
    assert said(project, after, 30) == []
    assert SECRET not in "".join(str(log) for log in project.instance.all_logs(first.run_id))


def test_evolve_accepts_for_good_and_says_so_once(listed: Project) -> None:
    project = listed
    project.config = config("evolve")
    plan(project, **{resource: fault for resource, (fault, _) in LISTINGS.items()})
    result = project.read(only(*LISTINGS), NOW)
    assert result.success
    for resource, (_, came) in LISTINGS.items():
        expected = {(field, kind, "accepted") for field, kind in came.items()}
        assert found(project, result, f"raw_{resource}") == expected
    assert len(said(project, result, 20)) == 6
    project.config = config("fail")
    again = project.read(only(*LISTINGS), NOW)
    assert again.success
    assert [said(project, again, level) for level in (20, 30)] == [[], []]


def test_fail_stores_nothing_and_names_field_and_remedy(listed: Project) -> None:
    project = listed.quick()
    project.config = config("fail")
    tables = [*(f"raw_{resource}" for resource in LISTINGS), "known_fields"]
    before = [project.rows(f"SELECT * FROM icontact.{table} ORDER BY ALL") for table in tables]
    # raw_subscriptions follows raw_lists, so it does not run beside one that fails.
    for resources in (["contacts", "messages", "sends", "lists"], ["subscriptions"]):
        plan(project, **{resource: LISTINGS[resource][0] for resource in resources})
        result = project.run(only(*resources), NOW)
        for resource in resources:
            why = failure(result, f"raw_{resource}")
            for words in (*LISTINGS[resource][1], resource, "schema_drift: evolve", "`warn`", "icontact.yaml"):
                assert words in why
            assert SECRET not in why
            assert project.rows(
                f"SELECT status, reason FROM icontact.import_coverage WHERE resource = '{resource}'"
            ) == [("failed", why)]
    assert [project.rows(f"SELECT * FROM icontact.{table} ORDER BY ALL") for table in tables] == before
    project.sandbox.control("faults/clear")
    assert project.run(only("contacts"), NOW).success


def busiest(project: Project, event_type: str) -> str:
    counts: dict[str, int] = {}
    for event, lines in project.true_events().items():
        counts[event[0]] = counts.get(event[0], 0) + (lines if event[1] == event_type else 0)
    return max(counts, key=lambda message: (counts[message], message))


def test_drift_in_one_message_fails_that_kind_of_it_and_nothing_else(listed: Project) -> None:
    project = listed
    project.config = config("fail")
    message = busiest(project, "click")
    plan(project, **{f"messages/{message}/clicks": {"drop": ["clickLink"]}})
    result = project.read(ACTIVITY, NOW)
    assert not result.success
    assert f"{message} (clicks: Field clicks.clickLink is in no row" in failure(result, "raw_activity")
    expected = project.true_events()
    others = Counter({event: lines for event, lines in expected.items() if event[:2] != (message, "click")})
    assert project.stored_events() == others != expected
    assert project.rows("SELECT message_id, kind, status FROM icontact.import_coverage WHERE status <> 'complete'") == [
        (message, "clicks", "failed")
    ]
    project.config = config("warn")
    warned = project.read(ACTIVITY, NOW)
    assert warned.success
    assert found(project, warned, "raw_activity") == {("clickLink", "absent", "drift")}
    assert said(project, warned, 30) == ["Field clicks.clickLink is in no row, expected text."]
    links = project.rows(
        f"SELECT DISTINCT event_url FROM icontact.raw_activity WHERE message_id = '{message}' AND event_type = 'click'"
    )
    assert links == [(None,)]


@pytest.mark.parametrize(
    ("policy", "came", "green"),
    [("fail", "not a time", True), ("fail", 1789395342, False), ("evolve", {}, True)],
)
def test_rows_without_a_readable_time_go_to_quarantine_under_every_policy(
    listed: Project, policy: str, came: Any, green: bool
) -> None:
    project = listed.quick()
    project.config = config(policy)
    message = busiest(project, "open")
    opens = sum(lines for event, lines in project.true_events().items() if event[:2] == (message, "open"))
    plan(project, **{f"messages/{message}/opens": {"set": {"openTime": came}}})
    result = project.run(ACTIVITY, NOW)
    assert result.success is green
    if not green:
        assert "Field opens.openTime is number, expected text" in failure(result, "raw_activity")
    stored = project.rows("SELECT message_id, reason, sum(occurrences) FROM icontact.quarantine GROUP BY ALL")
    assert stored == [(message, "no readable openTime", opens)]
    assert not [event for event in project.stored_events() if event[:2] == (message, "open")]


def test_ids_of_another_kind_say_so_beside_the_suspicion(listed: Project) -> None:
    project = listed.quick()
    before = project.rows("SELECT * FROM icontact.raw_contacts ORDER BY ALL")
    plan(project, contacts={"set": {"contactId": {"id": 1}}})
    result = project.run('key:"icontact/raw_contacts"', window=NOW)
    assert not result.success
    assert "would retire" in failure(result, "raw_contacts")
    assert "Field contacts.contactId is object, expected number or text." in failure(result, "raw_contacts")
    [(status, reason)] = project.rows("SELECT status, reason FROM icontact.import_coverage WHERE resource = 'contacts'")
    assert (status, "would retire" in reason) == ("incomplete", True)
    assert project.rows("SELECT * FROM icontact.raw_contacts ORDER BY ALL") == before


def test_fields_seen_before_a_kill_are_not_lost(project: Project) -> None:
    project.environment["ICONTACT_PAGE_SIZE"] = "40"
    project.sandbox.control(
        "faults",
        faults=[
            {"path": "/contacts$", "nth": 1, "do": {"kind": "fields", "set": {"seenOnce": SECRET}}},
            {"path": "/contacts$", "after": 4, "do": {"kind": "delay", "seconds": 60}},
        ],
    )
    process = project.fork('key:"icontact/raw_contacts"', Window(days_ago(1), days_ago(1)))
    wait_for(lambda: len(project.requests()) >= 5, 60)
    process.kill()
    process.join()
    project.sandbox.control("faults/clear")
    result = project.run('key:"icontact/raw_contacts"', window=Window(days_ago(1), days_ago(1)))
    assert result.success
    assert ("seenOnce", "text", "new") in found(project, result, "raw_contacts")
    [(kept,)] = project.rows("SELECT count(*) FROM icontact.raw_contacts WHERE custom_fields LIKE '%seenOnce%'")
    assert kept == 40
