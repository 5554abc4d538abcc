"""An answer is shown as it came, and nothing but GET is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.errors import AskedToWait, Transient
from icontact_assets.icontact.looking import Looking
from icontact_assets.sandbox.process import Sandbox
from icontact_assets_tests.icontact.test_session import CREDENTIALS


@pytest.fixture
def looking(sandbox: Sandbox, tmp_path: Path) -> Looking:
    return Looking(sandbox.url, CREDENTIALS, Budget(CountFile(tmp_path, "a"), per_second=0, per_minute=0, per_day=0))


def test_answers_of_any_kind_are_shown(looking: Looking, sandbox: Sandbox) -> None:
    page = looking.look("/a/1300001/c/7601/contacts", {"limit": 2, "nonsense": 1})
    assert (page.status, page.is_json, len(page.body["contacts"])) == (200, True, 2)
    assert "nonsense" in page.warnings[0]
    assert page.headers["content-type"] == "application/json"
    assert page.size > 100
    assert looking.look("/a/1300001/c/7601/nowhere", {}).status == 501
    assert looking.look("/a/1300001/c/7601/messages/1/opens", {}).errors == ("Not Found",)
    sandbox.control("faults", faults=[{"do": {"kind": "reply", "status": 502, "text": "<html></html>"}, "times": 1}])
    html = looking.look("/time", {})
    assert (html.status, html.is_json, html.body) == (502, False, None)
    sandbox.control("faults", faults=[{"do": {"kind": "reset"}, "times": 1}])
    with pytest.raises(Transient):
        looking.look("/time", {})
    assert {row["method"] for row in sandbox.control("log")} == {"GET"}


def test_a_pause_that_an_answer_asks_for_is_kept(looking: Looking, sandbox: Sandbox) -> None:
    pause = {"kind": "reply", "status": 503, "headers": {"Retry-After": "3600"}}
    sandbox.control("faults", faults=[{"do": pause, "times": 1}])
    assert looking.look("/time", {}).status == 503
    with pytest.raises(AskedToWait):
        looking.look("/time", {})
    assert len(sandbox.control("log")) == 1
