"""`Retry-After: 3600`: said at once, and nothing is sent before, in no run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from typer.testing import CliRunner

from icontact_assets import cli
from icontact_assets.ingest.window import Window
from icontact_assets.records import RETRY_AT_TAG
from icontact_assets_tests.harness import Project, days_ago
from icontact_assets_tests.hostile import Hostile

MESSAGES = 'key:"icontact/raw_messages"'
REPLY = (Path(__file__).parent / "data" / "15-retry-after" / "reply.txt").read_bytes().replace(b"\n", b"\r\n")


def test_doctor_says_at_once_until_when(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with Hostile(REPLY) as server:
        for name, value in {**project.environment, "ICONTACT_BASE_URL": server.url}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(project.home)
        for _ in range(2):
            done = CliRunner().invoke(cli.app, ["doctor"])
            said = " ".join(done.output.replace("│", " ").split())
            assert done.exit_code == 1
            assert "asks for a pause" in said or "asked for a pause" in said
            assert (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%d %H:") in said
        assert len(server.requests) == 1


def test_a_run_is_retried_when_the_pause_is_over(project: Project) -> None:
    pause = {"kind": "reply", "status": 503, "headers": {"Retry-After": "3600"}}
    project.sandbox.control("faults", faults=[{"path": "/messages$", "nth": 1, "do": pause}])
    began = datetime.now(UTC)
    window = Window(days_ago(0), days_ago(0))
    result = project.run(MESSAGES, window)
    assert not result.success
    [tags] = [run.tags for run in project.instance.get_runs()]
    retry_at = datetime.fromisoformat(tags[RETRY_AT_TAG])
    assert timedelta(minutes=59) < retry_at - began < timedelta(minutes=62)
    sent = len(project.requests())
    assert not project.run(MESSAGES, window).success
    assert len(project.requests()) == sent
    with time_machine.travel(retry_at + timedelta(seconds=1), tick=True):
        assert project.run(MESSAGES, window).success
