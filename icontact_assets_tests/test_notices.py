"""Notices, sent to a real server on this machine: one when an import turns red, one when it is green again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange

from icontact_assets.build import build_defs
from icontact_assets.notices import Watched, send_notices, watched
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import Settings, SettingsError

CONFIG = """
imports:
  - {name: one, account: 1, client_folder: 2, start_date: 2026-01-01}
  - {name: two, account: 1, client_folder: 3, start_date: 2026-01-01}
audiences:
  - {name: readers, import: one, where: "email = 'ada@example.org'"}
"""
TOKEN = "planted0secret0planted0sec"
DAYS = dg.DailyPartitionsDefinition("2026-01-01", timezone="UTC")


@dataclass
class Post:
    """A Slack-compatible webhook, and the texts that it got."""

    port: int = 0
    status: int = 200
    texts: list[str] = field(default_factory=list)


@pytest.fixture
def webhook() -> Iterator[Post]:
    post = Post()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if post.status == 200:
                post.texts.append(said["text"])
            self.send_response(post.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    post.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield post
    server.shutdown()
    server.server_close()


@dataclass
class Stage:
    """Two imports of which Dagster has records, and the sensor's cursor."""

    webhook: Post
    instance: dg.DagsterInstance
    folder: Path
    cursor: str | None = None

    @cached_property
    def settings(self) -> Settings:
        address = f"mmost://127.0.0.1:{self.webhook.port}/{TOKEN}"
        return load_settings({"ICONTACT_ASSETS_NOTICES": address}, self.folder)

    @cached_property
    def watched(self) -> list[Watched]:
        assets = build_defs(self.settings).assets or []
        return watched(self.settings, [each for each in assets if isinstance(each, dg.AssetsDefinition)])

    def tick(self) -> tuple[str, list[str]]:
        """What a tick says, and the notices that it sent."""
        self.webhook.texts.clear()
        self.cursor, said = send_notices(self.instance, self.settings, self.watched, self.cursor)
        assert TOKEN not in said + self.cursor
        return said, list(self.webhook.texts)

    def run(self, *path: str, works: bool, day: str | None = None) -> str:
        """The id of a run of an asset."""

        @dg.asset(key=dg.AssetKey(path), partitions_def=DAYS if day else None)
        def asset() -> None:
            if not works:
                raise ValueError("ada@example.org")

        return dg.materialize([asset], instance=self.instance, partition_key=day, raise_on_error=False).run_id

    def check(self, name: str, *, passed: bool, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR) -> None:
        key = dg.AssetKey(["two", "icontact_users"])
        self.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(asset_key=key, check_name=name, passed=passed, metadata={}, severity=severity)
        )

    def fresh(self, before: FreshnessState, after: FreshnessState) -> None:
        self.instance._report_runless_asset_event(
            FreshnessStateChange(
                key=dg.AssetKey(["two", "raw_sends"]),
                new_state=after,
                previous_state=before,
                state_change_timestamp=1.0,
            )
        )


@pytest.fixture
def stage(webhook: Post, tmp_path: Path) -> Iterator[Stage]:
    (tmp_path / "icontact.yaml").write_text(CONFIG)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Stage(webhook, instance, tmp_path)


QUIET = ("No import turned red or green.", [])


def test_one_notice_when_it_turns_red_and_one_when_it_is_green_again(stage: Stage) -> None:
    assert stage.tick() == QUIET
    stage.run("one", "raw_contacts", works=True, day="2026-01-03")
    assert stage.tick() == QUIET
    stage.run("one", "raw_contacts", works=False, day="2026-01-04")
    failed = stage.run("one", "raw_contacts", works=False, day="2026-01-05")
    other = stage.run("one", "icontact_users", works=False)
    said, [text] = stage.tick()
    assert said == "Sent a notice about one."
    assert "iContact import one: red" in text
    assert f"Red: one/raw_contacts. Days that failed: 2. The newest is 2026-01-05, in run {failed}." in text
    assert f"Red: one/icontact_users. Run {other} failed." in text
    assert "ada@" not in text
    assert stage.tick() == QUIET
    # Another failure of what is red already is nothing new, nor is half of the way back.
    stage.run("one", "icontact_users", works=False)
    stage.run("one", "raw_contacts", works=True, day="2026-01-04")
    assert stage.tick() == QUIET
    stage.run("one", "raw_contacts", works=True, day="2026-01-05")
    _, [text] = stage.tick()
    assert "import one: red" in text
    assert "Green again: one/raw_contacts." in text
    stage.run("one", "icontact_users", works=True)
    _, [text] = stage.tick()
    assert "import one: green" in text
    assert "Green again: one/icontact_users." in text
    assert stage.tick() == QUIET


def test_while_a_run_goes_on_everything_stays_what_it_was(stage: Stage) -> None:
    stage.run("one", "icontact_users", works=False)
    stage.run("one", "raw_contacts", works=False, day="2026-01-04")
    assert len(stage.tick()[1]) == 1

    @dg.asset(key=["one", "icontact_users"])
    def users() -> None: ...

    @dg.asset(key=["one", "raw_contacts"], partitions_def=DAYS)
    def contacts() -> None: ...

    for asset, tags in ((users, {}), (contacts, {"dagster/partition": "2026-01-04"})):
        defs = dg.Definitions(assets=[asset], jobs=[dg.define_asset_job("job", [asset])])
        run = stage.instance.create_run_for_job(
            defs.resolve_job_def("job"), tags=tags, asset_selection=frozenset(asset.keys)
        )
        assert run.status == dg.DagsterRunStatus.NOT_STARTED
        assert stage.tick() == QUIET


def test_checks_and_overdue_assets_count_and_warnings_do_not(stage: Stage) -> None:
    stage.check("keys_unique", passed=False, severity=dg.AssetCheckSeverity.WARN)
    assert stage.tick() == QUIET
    stage.check("keys_unique", passed=False)
    _, [text] = stage.tick()
    assert "iContact import two: red" in text
    assert "Red: two/icontact_users. The check keys_unique failed." in text
    stage.check("keys_unique", passed=True)
    stage.fresh(FreshnessState.PASS, FreshnessState.FAIL)
    _, [text] = stage.tick()
    assert "Red: two/raw_sends. It was not materialized in time." in text
    assert "Green again: two/icontact_users." in text
    stage.fresh(FreshnessState.FAIL, FreshnessState.PASS)
    assert "import two: green" in stage.tick()[1][0]


def test_a_notice_that_cannot_be_sent_is_sent_once_when_it_can(stage: Stage) -> None:
    stage.webhook.status = 500
    stage.run("one", "icontact_users", works=False)
    for _ in range(2):
        said, texts = stage.tick()
        assert "The notice about one could not be sent" in said
        assert not texts
    stage.webhook.status = 200
    assert len(stage.tick()[1]) == 1
    assert stage.tick() == QUIET


def test_there_is_a_sensor_only_where_it_is_said_where_to(tmp_path: Path) -> None:
    for address, expected in (("", set()), (f"mmost://host/{TOKEN}", {"notices"})):
        defs = build_defs(load_settings({"ICONTACT_ASSETS_NOTICES": address}, tmp_path))
        assert {sensor.name for sensor in defs.sensors or []} == {"follow_raw_assets", "dead_runs", *expected}
    with pytest.raises(SettingsError, match="ICONTACT_ASSETS_NOTICES is not an address") as caught:
        load_settings({"ICONTACT_ASSETS_NOTICES": f"no address {TOKEN}"}, tmp_path)
    assert TOKEN not in str(caught.value)
