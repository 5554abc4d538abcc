"""A recording: nothing of a person or a credential is in it, whatever an answer holds and wherever it stands."""

from __future__ import annotations

import json
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.errors import RecordingUnusable
from icontact_assets.icontact.recorder import Named, Record, Recorder, recorder_in
from icontact_assets.icontact.session import Credentials, Session
from icontact_assets.icontact.vocabulary import is_word
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import SettingsError
from icontact_assets_tests.leaks import assert_not_in, files_below, forms

SHAPES: dict[str, Any] = json.loads((Path(__file__).parent / "shapes.json").read_text())
"""A body of every kind that requests and answers are known to have."""
LETTERS = st.text(st.characters(categories=["Lu", "Ll", "Lo"], max_codepoint=0x9FFF), min_size=8, max_size=12)
NAMES = LETTERS.map(lambda text: f"\u017dq{text}") | st.text("aeiouAEIOU'", min_size=9, max_size=9).map(
    lambda text: f"Xq{text.strip(chr(39))}zwv"
)
SECRETS = st.one_of(
    NAMES,
    st.tuples(NAMES, NAMES).map(lambda parts: f"{parts[0]}.{parts[1]}@{parts[1]}.example"),
    NAMES.map(lambda name: f"{name.upper()} <{quote(name)}@mail.{name}.com>"),
    st.integers(3 * 10**9, 9 * 10**11).map(str),
    NAMES.map(lambda name: f"https://{name}.com/{quote(name)}?e={quote(name + '@example.com')}#{name}"),
    NAMES.map(lambda name: f"<p title='{name}'>\ud83d {name}\x00</p>"),
    NAMES.map(lambda name: f" Dear {name},\n"),
)


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "recording", tmp_path / "key")


def planted(value: Any, secrets: Iterator[str]) -> Any:
    """A value with a secret in place of each text and each great number, and in an unknown field of each object."""
    if isinstance(value, dict):
        extra = next(secrets)
        return {**{name: planted(item, secrets) for name, item in value.items()}, extra: {extra: extra}}
    if isinstance(value, list):
        return [planted(item, secrets) for item in value]
    if isinstance(value, str) or (isinstance(value, int) and value > 10**6):
        secret = next(secrets)
        return int(secret) if secret.isascii() and secret.isdigit() and isinstance(value, int) else secret
    return value


def cores(secret: str) -> set[str]:
    """What of a secret must not be found, whatever is around it."""
    words = unquote(secret)
    for char in "<>@.:/?=#'\ud83d\x00, \n":
        words = words.replace(char, " ")
    known = {"https", "example", "com", "mail", "title", "p", "e", "Dear"}
    return {word for word in words.split() if word not in known and len(word) > 7 and not is_word(word)}


@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.sampled_from(sorted(SHAPES)), st.lists(SECRETS, min_size=5, max_size=5, unique=True), st.booleans())
def test_nothing_of_a_person_is_in_the_folder(shape: str, secrets: list[str], cut: bool) -> None:
    def again() -> Iterator[str]:
        while True:
            yield from secrets

    source = again()
    body = planted(SHAPES[shape], source)
    answer = json.dumps(body, ensure_ascii=cut).encode("utf-8", "surrogatepass")
    path = f"/a/{secrets[0]}/c/7601/contacts/{secrets[1]}/{quote(secrets[2], errors='replace')}"
    params: dict[str, str | int] = {"email": secrets[0], "status": secrets[1], secrets[2]: secrets[3], "limit": 500}
    sent = json.dumps([{"contactId": secrets[4], "email": secrets[3]}, secrets]).encode()
    record = Record("POST", path, params, sent, status=200, answer=bytearray(answer[:-9] if cut else answer))
    record.headers = {
        "Content-Type": f"text/{secrets[0]}; charset=utf-8; name={secrets[1]}", "Date": secrets[2], "Location": secrets[3],
        "Retry-After": secrets[0], "Set-Cookie": secrets[1], "X-RateLimit-Limit": secrets[2], secrets[3]: "1",
        "Content-Encoding": secrets[4],
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "recording"
        named = [
            Named("exports[0].list", "listId", secrets[0]),
            Named("imports[0].filter_by_aid", "htmlBody", secrets[1]),
        ]
        recorder = Recorder(folder, Path(home) / "key", named)
        recorder.keep(record)
        raw = b"\n".join(files_below(folder))
    text = raw.decode()
    lines = [json.loads(line) for line in text.strip("\n").split("\n")[2:]]
    assert len(lines) == 1
    inner = lines[0].get("answer", "") + lines[0]["body"]
    shown = "\n".join((text, inner, unquote(inner), inner.encode().decode("unicode_escape", "replace")))
    texts = (shown, shown.lower(), shown.casefold())
    for secret in secrets:
        for core in cores(secret):
            assert_not_in([t.encode("utf-8", "replace") for t in texts], {core, core.lower(), core.casefold()})


def test_forms_are_found_where_they_are() -> None:
    """The search of the test above is able to find."""
    assert cores("Xqaeiouzwv.Xqauouizwv@mail.example") == {"Xqaeiouzwv", "Xqauouizwv"}
    for form in forms("Xqaeiouzwv"):
        with pytest.raises(AssertionError):
            assert_not_in([b'{"a": "' + form + b'"}'], {"Xqaeiouzwv"})


def test_everything_that_decides_is_in_the_folder(tmp_path: Path, recorder: Recorder) -> None:
    answer = b'{"contacts":[{"contactId":"90000001","status":"normal","createDate":"2026-05-04 18:31:07"}],"total":1}'
    headers = {"content-type": "text/html; charset=UTF-8", "Date": "Sat, 28 Nov 2026 10:00:00 GMT", "retry-after": "7"}
    params: dict[str, str | int] = {"status": "total", "contactId": "0", "contactIdSearchType": "gt", "limit": 500}
    record = Record("GET", "/a/1300001/c/7601/contacts", params, None, status=503, headers=headers, failure="TooSlow")
    record.answer += answer
    recorder.keep(record)
    recorder.keep(Record("GET", "/time", {}, None, answer=bytearray(b"\xff")))
    (path,) = (tmp_path / "recording").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first, line, odd = map(json.loads, path.read_text().splitlines())
    assert first["format"] == 1
    assert line["query"] == [[name, str(value)] for name, value in params.items()]
    assert (line["method"], line["status"], line["failure"], line["n"]) == ("GET", 503, "TooSlow", 1)
    assert line["headers"] == {name.lower(): value for name, value in headers.items()}
    row = json.loads(line["answer"])["contacts"][0]
    assert (row["status"], row["createDate"], len(row["contactId"])) == ("normal", "2026-05-04 18:31:07", 8)
    assert row["contactId"] != "90000001"
    assert line["path"].endswith("/contacts")
    assert not {"1300001", "7601"} & set(line["path"].split("/"))
    assert (odd["path"], odd["status"], len(odd["answer_bytes"])) == ("/time", None, 1)


def test_what_a_probe_makes_up_stays_so_that_it_can_ask_again(tmp_path: Path, recorder: Recorder) -> None:
    ids = "90000001,999999999,999999935"
    recorder.keep(Record("GET", "/a/1/c/2/messages/999999999/opens", {"contactId": ids, "assetsProbe": 1}, None))
    recorder.keep(Record("GET", "/a/1/c/2/assetsprobe", {"contactId": "9999999"}, None))
    (path,) = (tmp_path / "recording").iterdir()
    _, first, second = map(json.loads, path.read_text().splitlines())
    assert first["path"].endswith("/messages/999999999/opens")
    assert first["query"][0][1].split(",")[1:] == ids.split(",")[1:]
    assert "90000001" not in first["query"][0][1]
    assert first["query"][1] == ["assetsProbe", "1"]
    assert (second["path"].rpartition("/")[2], second["query"]) == ("assetsprobe", [["contactId", "9999999"]])


def test_two_processes_share_the_key_and_have_a_file_each(tmp_path: Path) -> None:
    folder, key = tmp_path / "recording", tmp_path / "key"
    for _ in range(2):
        Recorder(folder, key).keep(Record("GET", "/a/1/c/2/contacts", {"email": "ada@example.com"}, None))
    one, other = (json.loads(path.read_text().splitlines()[1]) for path in folder.iterdir())
    assert one["query"] == other["query"]
    assert len(key.read_bytes()) == 32
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_bytes() not in b"".join(files_below(folder))
    assert recorder_in(folder, key) is recorder_in(folder, key)


def test_a_folder_that_cannot_be_written_ends_the_run_before_the_first_request(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingUnusable, match=r"ICONTACT_ASSETS_RECORD names .*file/recording.* Nothing was sent\."):
        Recorder(tmp_path / "file" / "recording", tmp_path / "key")
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(RecordingUnusable, match="the key of a recording has 32 bytes"):
        Recorder(tmp_path / "recording", tmp_path / "key")


def test_a_disk_that_is_full_ends_the_recording_and_not_the_run(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        recorder.keep(Record("GET", "/time", {}, None))
    recorder.keep(Record("GET", "/time", {}, None))
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1
    assert "No space left on device" in caplog.text


def test_a_session_records_what_it_sends_and_no_credential(tmp_path: Path, recorder: Recorder) -> None:
    secrets = ("kX7-application", "kX7-user", "kX7-password")
    budget = Budget(CountFile(tmp_path / "budget", "a"), per_second=0, per_minute=0, per_day=0)
    session = Session("http://127.0.0.1:1/icp", Credentials(*secrets), budget, tries=2, first_wait=0)
    session.recorder = recorder
    with pytest.raises(Exception, match="no connection"):
        session.get("/a", {"limit": 20})
    (path,) = (tmp_path / "recording").iterdir()
    lines = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert [(line["n"], line["status"], line["failure"]) for line in lines] == [
        (1, None, "ConnectionRefusedError"),
        (2, None, "ConnectionRefusedError"),
    ]
    assert_not_in(files_below(tmp_path / "recording"), secrets)


def test_a_recording_is_not_made_where_the_state_is(tmp_path: Path) -> None:
    assert load_settings({}, tmp_path).record is None
    assert load_settings({"ICONTACT_ASSETS_RECORD": "rec"}, tmp_path).record == tmp_path / "rec"
    for named in (".icontact", ".", "rec/../.icontact"):
        with pytest.raises(SettingsError, match=r"ICONTACT_ASSETS_RECORD is .* Name a folder of its own\."):
            load_settings({"ICONTACT_ASSETS_RECORD": named}, tmp_path)
