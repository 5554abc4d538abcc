"""What may sign a request and where to it may be sent, and that no value shows up in what is said about it."""

from __future__ import annotations

import http.client
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.utils import check_header_validity

from icontact_assets.credentials import address_fault, header_fault, id_fault
from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.errors import IContactError, Rejected
from icontact_assets.icontact.session import Credentials, Session
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import SettingsError
from icontact_assets_tests.leaks import FIT, UNFIT, assert_not_in
from icontact_assets_tests.plain_ids import plain_id

VARIABLES = {
    "ICONTACT_APP_ID": "sandbox-app",
    "ICONTACT_API_USERNAME": "sandbox-user",
    "ICONTACT_API_PASSWORD": "sandbox-pass",
    "ICONTACT_ACCOUNT_ID": "1300001",
    "ICONTACT_CLIENT_FOLDER_ID": "7601",
}
AGENCY = """
authorizations:
  - {name: agency, app_id: "${A}", username: "${B}", password: "${C}"}
imports:
  - {name: one, authorization: agency, account: "${D}", client_folder: "${E}"}
audiences:
  - {name: a, import: one, where: "true"}
exports:
  - {name: e, audience: a, list: 1, match: email, account: "${F}", client_folder: "${G}"}
"""


@given(st.text(min_size=1, max_size=8))
def test_whatever_passes_is_carried_by_a_header_as_it_is(value: str) -> None:
    fault = header_fault(value)
    if fault is None:
        check_header_validity(("API-Password", value))
        connection = http.client.HTTPConnection("localhost")
        connection.putrequest("GET", "/")
        connection.putheader("API-Password", value)
        assert (value.encode("ascii"), value.strip()) == (value.encode("latin-1"), value)
    elif len(value) > 3:
        assert value not in fault


@pytest.mark.parametrize("value", UNFIT.values(), ids=map(plain_id, UNFIT))
@pytest.mark.parametrize("variable", VARIABLES)
def test_a_variable_that_cannot_be_used_is_named_and_not_shown(tmp_path: Path, variable: str, value: str) -> None:
    settings = load_settings({**VARIABLES, variable: value}, tmp_path)
    (import_,) = settings.imports
    with pytest.raises(SettingsError, match=variable) as caught:
        import_.ready()
    assert "\n" not in str(caught.value)
    assert_not_in([str(caught.value), repr(settings), "".join(traceback.format_exception(caught.value))], [value])


@pytest.mark.parametrize("value", FIT.values(), ids=map(plain_id, FIT))
def test_odd_credentials_that_a_header_carries_are_used(tmp_path: Path, value: str) -> None:
    credentials = ("ICONTACT_APP_ID", "ICONTACT_API_USERNAME", "ICONTACT_API_PASSWORD")
    (import_,) = load_settings({**VARIABLES, **dict.fromkeys(credentials, value)}, tmp_path).imports
    assert import_.authorization.credentials() == (value, value, value)


def test_variables_that_icontact_yaml_names_are_checked(tmp_path: Path) -> None:
    (tmp_path / "icontact.yaml").write_text(AGENCY)
    good = {"A": "x", "B": "y", "C": "z", "D": "1", "E": "2", "F": "1", "G": "3"}
    secret = UNFIT["line end"]
    for name in good:
        settings = load_settings({**good, name: secret}, tmp_path)
        target = settings.target_of(settings.export("e"))
        with pytest.raises(SettingsError, match=f"{name} begins or ends with white space") as caught:
            (target if name in "FG" else settings.imports[0]).ready()
        assert_not_in([str(caught.value), repr(settings)], [secret])


@pytest.mark.parametrize(
    ("key", "line"), [("app_id", 3), ("username", 3), ("account", 5), ("client_folder", 5)], ids=lambda part: str(part)
)
def test_a_literal_that_cannot_be_used_is_named_by_its_place_and_not_shown(tmp_path: Path, key: str, line: int) -> None:
    variable = {"app_id": "${A}", "username": "${B}", "account": "${D}", "client_folder": "${E}"}[key]
    (tmp_path / "icontact.yaml").write_text(AGENCY.replace(f'"{variable}"', '"kX7-literal-secret\\n"'))
    with pytest.raises(SettingsError, match=rf"icontact\.yaml:{line}: \w+\[0\]\.{key}: begins or ends") as caught:
        load_settings({}, tmp_path)
    assert_not_in([str(caught.value)], ["kX7-literal-secret"])


ITEM = "authorizations:\n  - name: a\n    app_id: x\n    username: y\n    password: "
MISWRITTEN = [
    "authorizations: kX7-secret\n",
    "authorizations:\n  - kX7-secret\n",
    "authorizations:\n  - name: kX7-secret\n",
    "authorizations:\n  - {name: a, app_id: kX7-secret, username: kX7-user, password: x\nimports: []\n",
    "authorizations:\n  - {name: a, app_id: x, username: y, password kX7-secret}\n",
    *(
        ITEM + value
        for value in (
            "kX7-secret\n",
            '"kX7-secret\n',
            '"kX7\\q-secret"\n',
            '"kX7\\UFFFFFFFF-secret"\n',
            "*kX7-secret\n",
            "!kX7-secret\n",
            "!kX7!secret x\n",
            "&kX7-secret\n",
            "%kX7-secret\n",
            "@kX7-secret\n",
            "kX7-secret: x\n",
            "{kX7-secret: x}\n",
            "[kX7-secret]\n",
            "kX7-secret\n    kX7-other: x\n",
            "kX7-secret\x00\n",
            "${C}kX7-secret\n",
        )
    ),
]
"""Files with a credential that is not where, or not as, it should be."""


@pytest.mark.parametrize("text", MISWRITTEN)
def test_a_file_that_cannot_be_read_shows_no_credential(tmp_path: Path, text: str) -> None:
    (tmp_path / "icontact.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"icontact\.yaml:\d") as caught:
        load_settings({"C": "c"}, tmp_path)
    assert "kX7" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("value", ["", "1.5", "-1", "0x1", "1e3", "١٢٣", "1" * 21, "1 2", "7601;", "1_000"])
def test_an_id_is_a_number(value: str) -> None:
    assert id_fault(value) is not None
    assert id_fault("00123") is None


@pytest.mark.parametrize(
    "address",
    [
        "http://app.icontact.com/icp",
        "http://kX7-user:kX7-pass@localhost/icp",
        "http://localhost@evil.example/icp",
        "http://localhost:80@evil.example/icp",
        "http://127.0.0.1.evil.example/icp",
        "http://localhost.evil.example/icp",
        "http://evil.example\\@localhost/icp",
        "http://localhost\\.evil.example/icp",
        "http://localhost\t.evil.example/icp",
        "http://evil.example/icp#@localhost",
        "http://evil.example?@localhost/icp",
        "http://[::1]evil.example/icp",
        "http://[::1/icp",
        "http://[::ffff:1.2.3.4]/icp",
        "http://0/icp",
        "http://2130706434/icp",
        "http:///localhost/icp",
        "http:localhost/icp",
        "http://localhost:port/icp",
        "http://localhost:99999/icp",
        "http://loc\u0430lhost/icp",
        "HTTP://APP.ICONTACT.COM/icp",
        "https://kX7-user:kX7-pass@app.icontact.com/icp",
        "https://app.icontact.com/icp?key=kX7-pass",
        "https://app.icontact.com/icp#kX7-pass",
        "https://app.icontact.com/icp\n",
        " https://app.icontact.com/icp",
        "https://app.icontact.com/i cp",
        "https://",
        f"https://{'a' * 64}.example/icp",
        "https://app..icontact.com/icp",
        "ftp://localhost/icp",
        "file:///etc/passwd",
        "kX7-pass",
        "",
    ],
)
def test_credentials_are_sent_nowhere_else(tmp_path: Path, address: str) -> None:
    with pytest.raises(SettingsError, match="ICONTACT_BASE_URL") as told:
        load_settings({"ICONTACT_BASE_URL": address}, tmp_path)
    with pytest.raises(Rejected) as refused:
        Session(
            address, Credentials("a", "b", "c"), Budget(CountFile(tmp_path, "a"), per_second=0, per_minute=0, per_day=0)
        )
    for said in (str(told.value), str(refused.value)):
        assert "kX7" not in said
        assert "evil" not in said


@pytest.mark.parametrize(
    "address",
    [
        "https://app.icontact.com/icp",
        "HTTPS://App.iContact.com:443/icp/",
        "http://localhost:8080/icp",
        "HTTP://LOCALHOST/icp",
        "http://127.0.0.1:1/icp",
        "http://[::1]:8080/icp",
    ],
)
def test_these_addresses_are_used(address: str) -> None:
    assert address_fault(address) is None


class _Recorder(BaseHTTPRequestHandler):
    """Answers every request with 502 and remembers its headers: a proxy that must not be asked."""

    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.seen.append(str(self.headers))
        self.send_error(502)

    do_CONNECT = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[str]:
    _Recorder.seen = []
    server = HTTPServer(("127.0.0.1", 0), _Recorder)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_no_proxy_is_sent_credentials_in_clear(tmp_path: Path, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    budget = Budget(CountFile(tmp_path, "a"), per_second=0, per_minute=0, per_day=0)
    for address in ("http://localhost:9/icp", "http://127.0.0.1:9/icp", "https://app.icontact.com/icp"):
        session = Session(address, Credentials("kX7-app", "kX7-user", "kX7-pass"), budget, tries=1)
        with pytest.raises(IContactError):
            session.get("/time")
    # Only a tunnel was asked for, through which TLS goes.
    assert len(_Recorder.seen) == 1
    assert_not_in(_Recorder.seen, ["kX7-app", "kX7-user", "kX7-pass"])


@pytest.mark.parametrize("value", FIT.values(), ids=map(plain_id, FIT))
def test_a_service_that_repeats_a_credential_is_not_quoted(sandbox: Sandbox, tmp_path: Path, value: str) -> None:
    budget = Budget(CountFile(tmp_path, "a"), per_second=0, per_minute=0, per_day=0)
    session = Session(sandbox.url, Credentials(value, f"user {value}", f"{value} pass"), budget, tries=1)
    errors = [f"user {value} of {value} may not log in with '{value} pass'", {"password": value}]
    for status in (200, 400, 401, 500):
        reply = {"kind": "reply", "status": status, "body": {"errors": errors}}
        sandbox.control("faults", faults=[{"path": "/time", "do": reply}])
        with pytest.raises(IContactError, match="<credential> of <credential> may not log in") as caught:
            session.get("/time")
        assert_not_in([str(caught.value)], [value])


@pytest.mark.parametrize("value", UNFIT.values(), ids=map(plain_id, UNFIT))
def test_a_session_takes_no_credential_that_requests_would_refuse(tmp_path: Path, value: str) -> None:
    budget = Budget(CountFile(tmp_path, "a"), per_second=0, per_minute=0, per_day=0)
    for credentials in (Credentials(value, "b", "c"), Credentials("a", value, "c"), Credentials("a", "b", value)):
        with pytest.raises(Rejected, match="The credential ") as caught:
            Session("https://app.icontact.com/icp", credentials, budget)
        assert_not_in([str(caught.value), repr(credentials)], [value])
