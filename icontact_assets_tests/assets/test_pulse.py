"""A read says every 15 seconds how far it is. It writes no event for each day that it finds rows of."""

from __future__ import annotations

import dagster as dg

from icontact_assets.assets.pulse import Pulse
from icontact_assets.ingest.window import Window
from icontact_assets_tests.harness import ACTIVITY, Project, days_ago, only


def test_it_speaks_every_15_seconds_however_often_it_is_told() -> None:
    said: list[str] = []
    now = 0.0
    pulse = Pulse(said.append, lambda: now)
    for second in range(61):
        now = float(second)
        pulse.beat("due messages", second, 120)
    assert said == [
        "15 of 120 due messages, 12 %, about 2 min left.",
        "30 of 120 due messages, 25 %, about 90 s left.",
        "45 of 120 due messages, 37 %, about 75 s left.",
        "60 of 120 due messages, 50 %, about 60 s left.",
    ]


def test_it_claims_no_share_of_what_is_not_known() -> None:
    said: list[str] = []
    now = 0.0
    pulse = Pulse(said.append, lambda: now)
    for second, done, expected in ((20.0, 0, 7), (40.0, 3, None), (200.0, 9, 7)):
        now = second
        pulse.beat("requests", done, expected)
    assert said == ["0 of 7 requests, 0 %.", "3 requests so far, after 40 s.", "9 requests so far, after 3 min."]


def test_a_run_that_finds_rows_of_many_days_reports_them_at_once(project: Project) -> None:
    project.checks = False
    yesterday = Window(days_ago(1), days_ago(1))
    assert project.run(only("messages", "sends"), yesterday).success
    result = project.run(ACTIVITY, yesterday)
    observed = [event for event in result.all_events if event.event_type == dg.DagsterEventType.ASSET_OBSERVATION]
    assert len(observed) == 1
    [(elsewhere,)] = project.rows(
        f"SELECT count(*) FROM icontact.raw_activity WHERE partition_date <> DATE '{days_ago(1)}'"
        f" AND partition_date >= DATE '{days_ago(40)}'"
    )
    [facts] = project.metadata(result, "raw_activity").values()
    assert facts["rows_of_other_days"] == elsewhere > 0
