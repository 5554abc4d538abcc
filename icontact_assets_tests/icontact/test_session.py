"""One request against a sandbox with faults: what is tried again, what is not, and what is said."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.errors import (
    BudgetSpent,
    IContactError,
    NotFound,
    Refused,
    Rejected,
    Transient,
    UnknownOutcome,
)
from icontact_assets.icontact.folder import Account, Folder
from icontact_assets.icontact.session import Credentials, Session
from icontact_assets.icontact.values import as_instant, as_text
from icontact_assets.plain import mask
from icontact_assets.sandbox.process import Sandbox
from icontact_assets_tests.icontact.test_listing import Rows
from icontact_assets_tests.plain_ids import plain_id

CREDENTIALS = Credentials("sandbox-app", "sandbox-user", "sandbox-pass")


def open_session(sandbox: Sandbox, tmp_path: Path, credentials: Credentials = CREDENTIALS) -> Session:
    budget = Budget(CountFile(tmp_path, "a"), per_second=0, per_minute=0, per_day=0)
    return Session(sandbox.url, credentials, budget, timeouts=(2, 2), tries=3, first_wait=0.01)


@pytest.fixture
def session(sandbox: Sandbox, tmp_path: Path) -> Session:
    return open_session(sandbox, tmp_path)


@pytest.fixture
def folder(session: Session) -> Folder:
    return Folder(session, "1300001", "7601", page_size=100)


TRANSIENT: list[dict[str, Any]] = [
    {"kind": "reply", "status": 503},
    {"kind": "reply", "status": 429, "headers": {"Retry-After": "0"}},
    {"kind": "reply", "status": 420},
    {"kind": "reply", "status": 502, "text": "<html>Bad gateway</html>"},
    {"kind": "reply", "status": 403, "text": "<html>Checking your browser</html>"},
    {"kind": "reply", "status": 200, "text": "<html>Maintenance</html>"},
    {"kind": "reply", "status": 200, "text": ""},
    {"kind": "reply", "status": 200, "body": {"errors": ["An error occurred."]}},
    {"kind": "reply", "status": 200, "body": {"limit": 100, "offset": 0, "total": 5}},
    {"kind": "cut"},
    {"kind": "cut", "clean": True},
    {"kind": "reset"},
    {"kind": "delay", "seconds": 3},
]


@pytest.mark.parametrize("fault", TRANSIENT, ids=lambda fault: plain_id(str(list(fault.values()))))
def test_a_passing_fault_loses_nothing(sandbox: Sandbox, folder: Folder, fault: dict[str, Any]) -> None:
    sandbox.control("faults", faults=[{"path": "/sends", "nth": 1, "do": fault}])
    sink = Rows()
    folder.sends(sink)
    visible = {row["send_id"] for row in sandbox.control("truth")["sends"] if row["visible"]}
    assert {row["sendId"] for row in sink.rows} == visible
    assert len(sandbox.control("log")) == 2


@pytest.mark.parametrize("fault", TRANSIENT[:2])
def test_a_lasting_fault_is_a_typed_error_after_bounded_tries(
    sandbox: Sandbox, folder: Folder, fault: dict[str, Any]
) -> None:
    sandbox.control("faults", faults=[{"path": "/sends", "do": fault}])
    with pytest.raises(Transient):
        folder.sends(Rows())
    assert len(sandbox.control("log")) == 3


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, Rejected), (401, Refused), (402, Refused), (403, Refused), (404, NotFound), (405, Rejected), (507, Refused)],
)
def test_these_are_never_tried_again(
    sandbox: Sandbox, session: Session, status: int, error: type[IContactError]
) -> None:
    reply = {"kind": "reply", "status": status, "body": {"errors": ["no, ada@example.com"]}}
    sandbox.control("faults", faults=[{"path": "/time", "do": reply}])
    with pytest.raises(error) as caught:
        session.get("/time")
    assert "<address>" in str(caught.value)
    assert "ada@" not in str(caught.value)
    assert len(sandbox.control("log")) == 1


def test_a_missing_list_is_not_found_although_the_status_is_500(session: Session) -> None:
    with pytest.raises(NotFound):
        session.get("/a/1300001/c/7601/lists/123456")


def test_a_redirect_elsewhere_is_refused(sandbox: Sandbox, session: Session) -> None:
    reply = {"kind": "reply", "status": 302, "headers": {"Location": "https://elsewhere.example/x"}}
    sandbox.control("faults", faults=[{"path": "/time", "do": reply}])
    with pytest.raises(Rejected, match=r"elsewhere\.example"):
        session.get("/time")


def test_a_lost_answer_to_a_write_is_not_repeated(sandbox: Sandbox, folder: Folder) -> None:
    sandbox.control(
        "faults", faults=[{"path": "/subscriptions", "method": "POST", "do": {"kind": "reset", "apply": True}}]
    )
    with pytest.raises(UnknownOutcome):
        folder.subscribe("5004", ["90000001"], lambda: None)
    assert len(sandbox.control("log")) == 1


@pytest.mark.parametrize("status", [429, 420, 503, 500])
def test_a_write_whose_effect_is_not_known_is_not_repeated(sandbox: Sandbox, folder: Folder, status: int) -> None:
    answer = {"kind": "reply", "status": status}
    sandbox.control("faults", faults=[{"path": "/subscriptions", "method": "POST", "nth": 1, "do": answer}])
    with pytest.raises(UnknownOutcome):
        folder.subscribe("5004", ["90000001"], lambda: None)
    assert len(sandbox.control("log")) == 1


def test_wrong_password_says_the_remedy_and_nothing_secret(sandbox: Sandbox, tmp_path: Path) -> None:
    wrong = Credentials("sandbox-app", "sandbox-user", "very-secret")
    with pytest.raises(Refused, match="externallogin") as caught:
        Account(open_session(sandbox, tmp_path, wrong)).accounts()
    assert "very-secret" not in repr(wrong) + str(caught.value)


def test_plain_http_is_only_for_loopback(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="https"):
        Session("http://app.icontact.com/icp", CREDENTIALS, Budget(CountFile(tmp_path, "a")))


def test_contacts_are_read_whole_by_key_and_by_offset(sandbox: Sandbox, session: Session) -> None:
    found = []
    for by_key in (True, False):
        folder = Folder(session, "1300001", "7601", page_size=50)
        if not by_key:
            warn = {"kind": "warn", "texts": ["ignored (contactIdSearchType)."]}
            sandbox.control("faults", faults=[{"query": "SearchType", "do": warn}])
        sink = Rows()
        folder.contacts(sink)
        found.append({row["contactId"] for row in sink.rows})
    listed = {
        row["contact_id"]
        for row in sandbox.control("truth")["contacts"]
        if row["visible"] and row["status"] != "deleted"
    }
    assert found == [listed, listed]


def _spend(directory: str, times: int) -> None:
    budget = Budget(CountFile(Path(directory), "a"), per_second=20, per_minute=0, per_day=0)
    for _ in range(times):
        budget.take()


def test_processes_share_the_budget_of_a_second(tmp_path: Path) -> None:
    began = time.monotonic()
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_spend, args=(str(tmp_path), 15)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    # 45 requests at 20 a second cannot be done before the third second begins.
    assert time.monotonic() - began > 2


def test_the_day_ends_with_an_error_that_says_when_it_goes_on(tmp_path: Path) -> None:
    budget = Budget(CountFile(tmp_path, "a"), per_second=0, per_minute=0, per_day=3)
    for left in (2, 1, 0):
        budget.take()
        assert budget.left_today() == left
    with pytest.raises(BudgetSpent) as caught:
        Budget(CountFile(tmp_path, "a"), per_second=0, per_minute=0, per_day=3).take()
    assert 23 < (caught.value.resumes_at - datetime.now(UTC)).total_seconds() / 3600 < 24.1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2012-06-09 15:46:52", "2012-06-09T19:46:52+00:00"),
        ("2026-01-14T09:20:00-05:00", "2026-01-14T14:20:00+00:00"),
        ("2026-08-03T14:10:21-0400", "2026-08-03T18:10:21+00:00"),
        ("2007-05-15T16:45:00Z", "2007-05-15T16:45:00+00:00"),
        ("20090725 14:55:12", "2009-07-25T18:55:12+00:00"),
        ("0000-00-00 00:00:00", None),
        ("soon", None),
        (None, None),
    ],
)
def test_every_time_format_of_the_reference(text: str | None, expected: str | None) -> None:
    instant = as_instant(text)
    assert (instant.isoformat() if instant else None) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", ""),
        (None, None),
        (27560, "27560"),
        (True, "1"),
        ({"b": [True, None], "a": "é"}, '{"a":"é","b":[true,null]}'),
        ([], "[]"),
    ],
)
def test_every_value_becomes_text_that_is_not_python(value: object, text: str | None) -> None:
    assert as_text(value) == text


def test_addresses_are_masked() -> None:
    assert mask("the contact 'ada.l@example.com' (x) was refused") == "the contact '<address>' (x) was refused"


def _chain(error: BaseException) -> list[BaseException]:
    """The exception and every one that is chained to it, shown or not."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        item = waiting.pop()
        if item is not None and item not in found:
            found.append(item)
            waiting += [item.__cause__, item.__context__]
    return found


FAILURES: list[dict[str, Any]] = [
    {"kind": "cut"},
    {"kind": "reset"},
    {"kind": "delay", "seconds": 3},
    {"kind": "reply", "status": 302, "headers": {"Location": "https://elsewhere.example/x"}},
    {"kind": "reply", "status": 302, "headers": {"Location": "http://[broken"}},
    {"kind": "reply", "status": 200, "text": "no gzip", "headers": {"Content-Encoding": "gzip"}},
]


@pytest.mark.parametrize("fault", FAILURES, ids=lambda fault: plain_id(str(list(fault.values()))))
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_exception_of_the_http_library_is_chained(
    sandbox: Sandbox, tmp_path: Path, fault: dict[str, Any], method: str
) -> None:
    sandbox.control("faults", faults=[{"path": "/time", "do": fault}])
    budget = Budget(CountFile(tmp_path, "a"), per_second=0, per_minute=0, per_day=0)
    session = Session(sandbox.url, CREDENTIALS, budget, timeouts=(1, 0.2), tries=1)
    with pytest.raises(IContactError) as caught:
        session.get("/time") if method == "GET" else session.post("/time", [])
    assert {type(item).__module__ for item in _chain(caught.value)} <= {
        "icontact_assets.icontact.errors",
        "icontact_assets.icontact.session",
    }


ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2, 5\r\n\r\n[]",
    b"HTTP/1.1 302 Found\r\nLocation: http://\x1b[31m/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://\xff.\x00/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://e\x1b]0;title\x07vil" + b"l" * 300 + b"/\r\nContent-Length: 0\r\n\r\n",
    b"no HTTP at all\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n[]",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n",
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: plain_id(answer[9:50].decode("latin-1")))
def test_after_an_answer_that_cannot_be_read_a_write_is_not_taken_for_refused(tmp_path: Path, answer: bytes) -> None:
    budget = Budget(CountFile(tmp_path, "a"), per_second=0, per_minute=0, per_day=0)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        session = Session(f"http://127.0.0.1:{server.getsockname()[1]}/icp", CREDENTIALS, budget, tries=1)
        with pytest.raises(IContactError) as caught:
            session.post("/time", [])
        thread.join()
    # A redirect says that nothing was done there. Of anything else the state must tell.
    assert isinstance(caught.value, UnknownOutcome if b"302" not in answer else UnknownOutcome | Rejected)
    assert "\x1b" not in str(caught.value)
    assert {type(item).__module__.partition(".")[0] for item in _chain(caught.value)} == {"icontact_assets"}


def test_what_cannot_be_sent_is_a_typed_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/kX7-secret.pem")
    budget = Budget(CountFile(tmp_path, "a"), per_second=0, per_minute=0, per_day=0)
    session = Session("https://127.0.0.1:9/icp", CREDENTIALS, budget, tries=1)
    with pytest.raises(Rejected, match="cannot be sent") as caught:
        session.get("/time")
    assert "kX7" not in str(caught.value)
    assert _chain(caught.value) == [caught.value]
