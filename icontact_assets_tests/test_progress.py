"""A read says every 15 seconds how far it is, the demo that it goes on, and no day outside a run gets an event."""

from __future__ import annotations

import socket
import time

import dagster as dg
import pytest

from icontact_assets import demo
from icontact_assets.assets.pulse import Pulse
from icontact_assets.ingest.window import Window
from icontact_assets.sandbox.process import Sandbox
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
    yesterday = Window(days_ago(1), days_ago(1))
    assert project.alone().run(only("messages", "sends"), yesterday).success
    result = project.run(ACTIVITY, yesterday)
    observed = [event for event in result.all_events if event.event_type == dg.DagsterEventType.ASSET_OBSERVATION]
    assert len(observed) == 1
    [(elsewhere,)] = project.rows(
        f"SELECT count(*) FROM icontact.raw_activity WHERE partition_date <> DATE '{days_ago(1)}'"
        f" AND partition_date >= DATE '{days_ago(40)}'"
    )
    [facts] = project.metadata(result, "raw_activity").values()
    assert facts["rows_of_other_days"] == elsewhere > 0


def test_the_ui_takes_a_free_port_and_names_one_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(demo.DemoFailed, match=rf"Port {port} cannot be used .*make ui PORT=3005"):
            demo.free_port(port)
    assert demo.free_port(port) == port
    assert demo.free_port(None) > 0


def test_off_a_terminal_the_demo_says_that_it_goes_on(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "EVERY_SECONDS", 0.05)
    with demo.progress(sandbox) as step:
        step("Reading")
        time.sleep(0.3)
    first, *others = capfd.readouterr().out.splitlines()
    assert first == "Reading"
    assert others
    assert all("requests to iContact so far" in line for line in others)
