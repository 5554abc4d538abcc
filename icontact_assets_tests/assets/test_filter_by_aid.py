"""An import that keeps to tagged messages: what it asks for, what it maps, and that whoever left counts all the same."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from icontact_assets.ingest.window import Window
from icontact_assets.resources import forecast_window
from icontact_assets_tests.harness import Project, days_ago

ASKED = Window(days_ago(1), days_ago(1))
"""Short, because Dagster records each day of each asset; the messages released before it are due as well."""
FILTER = ", filter_by_aid: spring-1"
READ = f"""
imports:
  - {{name: icontact, account: 1300001, client_folder: 7601{FILTER}}}
audiences:
  - {{name: everybody, import: icontact, where: "true"}}
"""
EXPORTED = f"""{READ}
exports:
  - {{name: everybody, audience: everybody, list: Export target, mode: add, limits: {{growth: 1000}}}}
"""
RAW = 'key:"icontact/raw_*"'
ACTIVITY = " or ".join(f'key:"icontact/raw_{name}"' for name in ("messages", "sends", "statistics", "activity"))
COMPUTED = 'key:"icontact/icontact_*" or key:"icontact/audience_*"'
TAGGED, UNTAGGED = "900001", "900002"
LEFT, STAYED = "90000001", "90000002"


def plant(project: Project) -> str:
    """Two people open a tagged message, and one of them leaves by an untagged one that went to the list of the export.
    Gives the id of that list."""
    control = project.sandbox.control
    [target] = [row["list_id"] for row in control("truth?resource=lists") if row["name"] == "Export target"]
    at = datetime.combine(days_ago(5), datetime.min.time(), UTC).isoformat()
    body = "<p>Hello</p><!-- lytics-aid:spring-1 -->"
    for message, html in ((TAGGED, body), (UNTAGGED, "<p>Hello</p>")):
        control("messages/add", message_id=int(message), released=at, created=at, html_body=html, lists=[int(target)])
    for message, kind, contact in (
        (TAGGED, "opens", LEFT),
        (TAGGED, "opens", STAYED),
        (UNTAGGED, "opens", STAYED),
        (UNTAGGED, "unsubscribes", LEFT),
    ):
        control("events/add", message_id=int(message), kind=kind, contact_id=int(contact), at=at)
    return str(target)


def asked(project: Project, since: int = 0) -> dict[str, set[str]]:
    """What was asked of each message."""
    found: dict[str, set[str]] = {}
    for row in project.requests()[since:]:
        if "/messages/" in row["path"]:
            message, what = row["path"].split("/")[6:8]
            found.setdefault(message, set()).add(what)
    return found


def mapped(project: Project) -> list[list[tuple[Any, ...]]]:
    names = ("icontact_users", "icontact_activity", "icontact_profiles")
    return [project.rows(f"SELECT * FROM icontact.{name} ORDER BY ALL") for name in names]


def passes(project: Project, name: str) -> dict[str, Any]:
    """The numbers of a check of raw_activity, which passed."""
    record = project.instance.get_latest_asset_check_evaluation_record(
        dg.AssetCheckKey(dg.AssetKey(["icontact", "raw_activity"]), name)
    )
    assert record is not None
    assert record.evaluation is not None
    assert record.evaluation.passed
    return {name: value.value for name, value in record.evaluation.metadata.items()}


def test_a_filter_keeps_to_tagged_messages_and_may_be_switched_at_any_time_but_whoever_left_counts(
    project: Project,
) -> None:
    project.sandbox.control("reset", contacts=60, messages=5, days=12)
    project.keeps_open = True
    target = plant(project)

    # Without an export, messages without the tag cost nothing.
    project.config = READ
    assert project.read(RAW, ASKED).success
    assert project.run(COMPUTED).success
    assert asked(project) == {TAGGED: {"statistics", "opens", "clicks", "bounces", "unsubscribes"}}
    filtered = mapped(project)
    assert {row[0] for row in filtered[2]} == {LEFT, STAYED}

    # The audience is complete, yet who left is not known: an export added now must not put them back.
    project.config = EXPORTED
    stopped = project.run('key:"icontact/export_everybody"')
    failure = stopped.failure_data_for_node("icontact__export_everybody")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "Materialize raw_activity of icontact" in (failure.user_failure_data.description or "")

    # With the export, the opt-outs of every message are read, and nothing else of them.
    since = len(project.requests())
    expected = forecast_window(project.settings, project.settings.imports[0], ASKED)
    assert project.run(f"{RAW} or {COMPUTED}", ASKED).success
    assert TAGGED not in asked(project, since)
    assert set().union(*asked(project, since).values()) == {"statistics", "unsubscribes"}
    # A draft of which nothing is known may cost its listing too.
    assert (expected.messages, expected.least) == (len(asked(project, since)), 2 * len(asked(project, since)))
    true = project.true_events()
    assert project.stored_events() == Counter(
        {event: n for event, n in true.items() if event[0] == TAGGED or event[1] == "unsubscribe"}
    )
    assert mapped(project) == filtered
    [(messages,)] = project.rows("SELECT count(DISTINCT message_id) FROM icontact.raw_statistics")
    assert passes(project, "statistics_tie_out") == {"compared": 4 + messages - 1, "differing": 0}
    assert passes(project, "activity_read")["days_read"] == 1
    assert project.run('key:"icontact/export_everybody"').success
    on_it = project.sandbox.control("truth?resource=subscriptions")
    assert {row["contact_id"] for row in on_it if row["list_id"] == target} & {LEFT, STAYED} == {STAYED}

    # Off, everything is read and mapped. On again, nothing is asked for, and the tables are as before.
    project.config = EXPORTED.replace(FILTER, "")
    assert project.read(ACTIVITY, ASKED).success
    assert project.run(COMPUTED).success
    assert len(mapped(project)[2]) > 20
    assert project.stored_events() == true
    since = len(project.requests())
    project.config = EXPORTED
    assert project.read(ACTIVITY, ASKED).success
    assert project.run(COMPUTED).success
    assert asked(project, since) == {}
    assert mapped(project) == filtered
