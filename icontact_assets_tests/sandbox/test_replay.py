"""A recording replayed gives the same tables, and a request that differs from it is named."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn

from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.disguise import Disguise
from icontact_assets.icontact.errors import Transient
from icontact_assets.icontact.looking import Looking
from icontact_assets.icontact.recorder import FORMAT, Record, Recorder
from icontact_assets.icontact.session import Credentials, Session
from icontact_assets.ingest.activity import ActivityReader
from icontact_assets.ingest.changes import read_changes
from icontact_assets.ingest.window import ReadRequest
from icontact_assets.mapping.build import build_users
from icontact_assets.probe.asking import look
from icontact_assets.probe.client import Client
from icontact_assets.probe.sight import Sight
from icontact_assets.resources import open_context
from icontact_assets.sandbox import __main__, replay
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.sandbox.replay import Recording, RecordingError, Replay
from icontact_assets.sandbox.server import PREFIX, config_of
from icontact_assets.warehouse.tables import RAW_TABLES
from icontact_assets_tests.harness import Project
from icontact_assets_tests.harness.stage import ENDED, Stage
from icontact_assets_tests.leaks import assert_not_in, files_below
from icontact_assets_tests.probe.played import PLACE, found

CLOCKS = {"observed_at", "extracted_at", "deleted_at"}
IDS = {
    *("id", "message_id", "contact_id", "list_id", "send_id", "subscription_id", "campaign_id", "ic_contact_id"),
    *("include_list_ids", "exclude_list_ids", "include_segment_ids", "exclude_segment_ids"),
}
TEXTS = {
    *(
        "email",
        "prefix",
        "first_name",
        "last_name",
        "suffix",
        "street",
        "street_line_2",
        "city",
        "state",
        "phone",
        "fax",
    ),
    *("postal_code", "business", "subject", "message_name", "name", "public_name", "description", "event_url"),
    *("street_address", "region", "ic_business"),
}
"""Columns that are personal, or may be. All others but ids are the same in a replay."""


@contextmanager
def replaying(folder: Path) -> Iterator[tuple[Replay, str]]:
    """A recording that is answered from, and its base address."""
    application = Replay(Recording(folder), say=lambda _: None)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config_of(application))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield application, f"http://127.0.0.1:{listener.getsockname()[1]}{PREFIX}"
    finally:
        server.should_exit = True
        thread.join()


def tables(project: Project, false: Disguise | None) -> dict[str, list[str]]:
    """The rows of every table, in an order of their own, as they are or as they would be under a disguise."""
    rows_of = {}
    with project.tables() as connection:
        for name in (*(table.name for table in RAW_TABLES), "icontact_users"):
            columns = [row[0] for row in connection.execute(f"DESCRIBE icontact.{name}").fetchall()]
            chosen = [column for column in columns if column not in CLOCKS]
            rows = connection.execute(f"SELECT {', '.join(chosen)} FROM icontact.{name}").fetchall()
            shown = [
                [value_of(column, value, false) for column, value in zip(chosen, row, strict=True)] for row in rows
            ]
            rows_of[name] = sorted(map(repr, shown))
    return rows_of


def value_of(column: str, value: Any, false: Disguise | None) -> Any:
    """A value of a table, or what a replay has in its place."""
    if column == "custom_fields" and value is not None:
        return sorted(json.loads(false.body(value.encode()) if false else value).items())
    if false is None or value is None:
        return value
    if column == "email_domain":
        return false.text(f"x@{value}").partition("@")[2]
    if column == "aids":
        return sorted(map(false.text, value))
    return false.id(value) if column in IDS else false.text(value) if column in TEXTS else value


def read_all(stage: Stage, project: Project, list_id: str) -> None:
    """What the main job reads, and its contacts mapped, without Dagster."""
    settings = project.settings
    (import_,) = settings.imports
    request = ReadRequest(ENDED, datetime.now(UTC))
    with stage.short_waits(), open_context(settings, import_, purpose="test", warn=lambda _: None) as context:
        for resource in ("contacts", "messages", "sends", "lists"):
            read_changes(context, resource, ENDED)
        read_changes(context, "subscriptions", ENDED, list_id=list_id)
        ActivityReader(context, request, lambda _done, _due: None, lambda _found: None).read(lambda _plan: None)
        with context.write("mapping") as connection:
            build_users(connection)


def test_a_run_with_faults_that_is_replayed_gives_the_same_tables(sandbox: Sandbox, tmp_path: Path) -> None:
    stage = Stage(sandbox, tmp_path)
    stage.reset(contacts=60, messages=3, days=8)
    addresses = [row["fields"]["email"] for row in sandbox.control("truth?resource=contacts")]
    stage.plan(
        {"path": "/sends$", "nth": 1, "do": {"kind": "reply", "status": 502, "text": "<html>Dana Owner</html>"}},
        {"path": "/lists$", "nth": 1, "do": {"kind": "cut", "keep": 0.5}},
        {"path": "/clicks$", "nth": 2, "do": {"kind": "reset"}},
        {"path": "/contacts$", "nth": 1, "do": {"kind": "reply", "status": 429, "headers": {"Retry-After": "0"}}},
    )
    recording = tmp_path / "recording"
    project = stage.project(ICONTACT_ASSETS_RECORD=str(recording))
    read_all(stage, project, "5001")
    assert_not_in(files_below(recording), [*addresses, "sandbox-app", "sandbox-user", "sandbox-pass", "Dana Owner"])
    asked = sandbox.control("log")
    assert [row["status"] for row in asked if row["status"] != 200] == [429, 502, None]

    false = Disguise((project.settings.home / "recording.key").read_bytes())
    again = stage.project()
    named = Recording(recording).named
    assert named == {
        "imports[0].account": false.id("1300001"), "imports[0].client_folder": false.id("7601"),
        "exports[0].list": false.id("5001"),
    }  # fmt: skip
    assert f" Write in icontact.yaml: imports[0].account: {false.id('1300001')}." in Recording(recording).described()
    with replaying(recording) as (application, url):
        again.environment["ICONTACT_BASE_URL"] = url
        read_all(stage, again, named["exports[0].list"])
    assert application.differences == []
    assert [row["status"] for row in application.log] == [row["status"] for row in asked]
    assert application.summary().endswith(" 0 recorded ones were not asked.")
    expected = tables(project, false)
    assert tables(again, None) == expected
    assert all(expected[name] for name in ("raw_contacts", "raw_activity", "raw_subscriptions", "icontact_users"))
    assert tables(project, None)["raw_contacts"] != expected["raw_contacts"]


def probed(url: str, folder: Path, recorder: Recorder | None) -> dict[str, Any]:
    """What a probe finds of the service at this address."""
    ways = []
    for word in ("sandbox-pass", "of nobody"):
        budget = Budget(CountFile(folder, word), per_second=0, per_minute=0, per_day=0)
        ways.append(Looking(url, Credentials("sandbox-app", "sandbox-user", word), budget))
        ways[-1].recorder = recorder
    sight = Sight()
    look(Client(ways[0].look, progress=lambda _: None, sleep=lambda _: None), PLACE, sight, ways[1].look)
    return {key: (finding.answer, finding.seen) for key, finding in found(sight).items()}


def test_a_probe_that_is_replayed_finds_the_same(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.control("reset", contacts=150, messages=5, days=20)
    sandbox.control("switches", ids="mixed", activity_time="mixed", page_limit_rows=100, unknown_term="silent")
    recorder = Recorder(tmp_path / "recording", tmp_path / "key")
    expected = probed(sandbox.url, tmp_path / "first", recorder)
    with replaying(tmp_path / "recording") as (application, url):
        assert probed(url, tmp_path / "second", None) == expected
    assert application.differences == []
    assert application.summary().endswith(" 0 recorded ones were not asked.")
    assert len(expected) > 40
    assert_not_in(files_below(tmp_path / "recording"), ["of nobody", "sandbox-pass"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recording of one listing asked twice, of a write, and of two client folders."""
    recorder = Recorder(tmp_path / "recording", tmp_path / "key")
    late = datetime.now(UTC) - timedelta(hours=3)

    def keep(method: str, path: str, answer: str, *, limit: int = 20, body: str | None = None) -> None:
        nonlocal late
        late += timedelta(seconds=1)
        params: dict[str, str | int] = {} if body else {"limit": limit, "contactId": "2,1"}
        record = Record(method, path, params, body.encode() if body else None, began=late, status=200)
        record.headers = {"Content-Type": "application/json", "Date": format_datetime(late - timedelta(minutes=9))}
        record.answer += answer.encode()
        recorder.keep(record)

    keep("GET", "/a/11/c/22/contacts", '{"total": 1}')
    keep("GET", "/a/11/c/33/contacts", '{"total": 2}')
    keep("GET", "/a/11/c/22/contacts", '{"total": 3}')
    keep("POST", "/a/11/c/22/subscriptions", '{"total": 4}', body='[{"status": "normal"}, {"status": "pending"}]')
    keep("GET", "/time", json.dumps({"time": (late - timedelta(minutes=9)).isoformat(), "timestamp": 1}), body="{}")
    return tmp_path / "recording"


def test_a_request_that_differs_is_named(folder: Path) -> None:
    key = Disguise((folder.parent / "key").read_bytes())
    ids = ",".join(map(key.id, ("1", "2")))

    def total(method: str, path: str, **request: Any) -> Any:
        return requests.request(method, url + path, timeout=5, **request).json().get("total")

    with replaying(folder) as (_, url):
        page = {"contactId": ids, "limit": "20"}
        assert [total("GET", "/a/7/c/8/contacts", params=page) for _ in range(3)] == [1, 3, 3]
        assert total("GET", "/a/7/c/9/contacts/", params=page) == 2
        assert total("GET", f"/a/{key.id('11')}/c/{key.id('33')}/contacts", params=page) == 2
        rows = [{"status": "pending"}, {"status": "normal"}]
        assert total("POST", "/a/7/c/8/subscriptions", json=rows) == 4
        assert total("POST", "/a/7/c/8/subscriptions", json=rows[:1]) == 4
        missing = requests.get(f"{url}/a/7/c/8/contacts", params={"limit": "21"}, timeout=5)
        assert (missing.status_code, missing.json()["errors"][0][:27]) == (501, "The recording holds no requ")
        told = requests.get(url.removesuffix(PREFIX) + "/_control/differences", timeout=5).json()
    assert [(row["n"], row["difference"].split(":")[0]) for row in told["differences"]] == [
        (3, "is asked more often than the 2 times recorded"),
        (5, "is asked more often than the 1 times recorded"),
        (7, "has another body than was recorded"),
        (8, "was not recorded"),
    ]
    assert (told["not_asked"], told["first_not_asked"][0]["path"]) == (1, "/time")


def test_a_replayed_clock_is_as_far_from_ours_as_it_was(folder: Path) -> None:
    ids = ",".join(map(Disguise((folder.parent / "key").read_bytes()).id, ("1", "2")))
    with replaying(folder) as (_, url):
        page = requests.get(f"{url}/a/7/c/8/contacts", params={"contactId": ids, "limit": "20"}, timeout=5)
        clock = requests.get(f"{url}/time", timeout=5).json()
    for told in (parsedate_to_datetime(page.headers["Date"]), datetime.fromisoformat(clock["time"])):
        assert timedelta(minutes=8) < datetime.now(UTC) - told < timedelta(minutes=10)
    assert datetime.fromtimestamp(clock["timestamp"], UTC) == datetime.fromisoformat(clock["time"])


def test_answers_that_were_not_whole_are_not_whole_again(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "recording", tmp_path / "key")

    def keep(status: int | None, failure: str | None, **headers: str) -> None:
        record = Record("GET", "/a", {}, None, status=status, failure=failure)
        record.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        record.answer += b"" if status is None else b'{"accounts": []}'
        recorder.keep(record)

    keep(200, "IncompleteRead")
    keep(None, "ConnectionResetError")
    keep(200, "Unusable", content_encoding="br")
    keep(200, None, content_encoding="gzip")
    budget = Budget(CountFile(tmp_path / "budget", "a"), per_second=0, per_minute=0, per_day=0)
    with replaying(tmp_path / "recording") as (application, url):
        session = Session(url, Credentials("a", "b", "c"), budget, tries=1)
        for said in ("dropped mid-response", "dropped mid-response", "compressed as"):
            with pytest.raises(Transient, match=said):
                session.get("/a")
        assert session.get("/a").body == {"accounts": []}
    assert application.differences == []


def test_the_command_says_what_to_set_and_how_it_went(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def serve(_application: object, _port: int, announce: Callable[[str], None]) -> None:
        announce("http://127.0.0.1:1/icp")
        raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "serve", serve)
    monkeypatch.setattr(sys, "argv", ["sandbox", "--replay", str(folder)])
    with pytest.raises(SystemExit, match="130"):
        __main__.main()
    said = capsys.readouterr()
    key = Disguise((folder.parent / "key").read_bytes())
    assert {"export ICONTACT_ACCOUNT_ID=" + key.id("11"), "export ICONTACT_CLIENT_FOLDER_ID=" + key.id("22")} <= set(
        said.out.splitlines()
    )
    assert said.err.startswith("5 requests, recorded from ")
    assert said.err.endswith("0 of them differed from the recording. 5 recorded ones were not asked.\n")
    for extra in ("--frozen", "--state=world", "--switch=ids=mixed"):
        monkeypatch.setattr(sys, "argv", ["sandbox", "--replay", str(folder), extra])
        with pytest.raises(SystemExit, match="2"):
            __main__.main()
        assert "--replay: a recording has answers of its own" in capsys.readouterr().err


def test_what_a_killed_process_left_is_replayed_and_other_damage_is_named(folder: Path, tmp_path: Path) -> None:
    (path,) = folder.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines)[:-9])
    (folder / "other.jsonl").write_bytes(lines[0] + lines[1])
    exchanges = Recording(folder).exchanges
    assert [json.loads(exchange.answer)["total"] for exchange in exchanges] == [1, 1, 2, 3, 4]
    path.write_bytes(lines[0] + lines[1][:-9] + b"\n" + lines[2])
    with pytest.raises(RecordingError, match=r"\.jsonl:2: this is no line of a recording"):
        Recording(folder)
    path.write_bytes(b'{"format": 2}\n')
    with pytest.raises(RecordingError, match="is no recording of format 1"):
        Recording(folder)
    with pytest.raises(RecordingError, match="holds no recording"):
        Recording(tmp_path / "nowhere")
    assert replay.FORMAT == FORMAT
