"""Names of lists that look like markup: every command shows them exactly as iContact has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from icontact_assets import cli
from icontact_assets_tests.harness import Project

LISTS = json.loads((Path(__file__).parent / "data" / "07-list-names" / "lists.json").read_text())
NAMES = [row["name"] for row in LISTS["lists"]]


@pytest.fixture(autouse=True)
def environment(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**project.environment, "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(project.home)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, arguments)


def test_discover_prints_every_name_as_it_is(project: Project) -> None:
    long = "long " * 60 + "[end]"
    odd = [
        long,
        "tab\there",
        "\x1b[31mred\x1b[0m\x07",
        "two\nlines",
        "right\u202eleft",
        "\U0001f600 Ärger 日本",
        "\\[x]",
    ]
    lists = [*LISTS["lists"], *({"listId": str(6000 + n), "name": name} for n, name in enumerate(odd))]
    body = {**LISTS, "lists": lists, "total": len(lists)}
    project.sandbox.control("faults", faults=[{"path": "/lists", "do": {"kind": "reply", "status": 200, "body": body}}])
    done = invoke("discover")
    assert done.exit_code == 0, done.output
    shown = ["tab\\there", "\\x1b[31mred\\x1b[0m\\x07", "two\\nlines", "right\\u202eleft", *odd[5:]]
    cells = {line.split("│")[-2].strip() for line in done.output.splitlines() if line.startswith("│")}
    assert cells >= {*NAMES, long, *shown}
    assert not set("\x1b\x07\t\u202e") & set(done.output)

    told = json.loads(invoke("discover", "--json").output)
    assert {row["name"] for row in told[0]["client_folders"][0]["lists"]} == {*NAMES, *odd}


def test_discover_prints_a_company_as_it_is(project: Project) -> None:
    row = {"accountId": "1300001", "enabled": "0", "companyName": "Smith [/b] :tada: & \x1b[2JSons"}
    body = {"accounts": [row, {**row, "companyName": None}, {**row, "companyName": 7}], "total": 3}
    project.sandbox.control("faults", faults=[{"path": "/a", "do": {"kind": "reply", "status": 200, "body": body}}])
    done = invoke("discover")
    assert (done.exit_code, "Smith [/b] :tada: & \\x1b[2JSons" in done.output) == (0, True), done.output


@pytest.mark.parametrize("command", [["doctor"], ["discover"], ["forecast"]], ids=" ".join)
def test_what_icontact_says_is_printed_as_it_is(project: Project, command: list[str]) -> None:
    said = "[bold]no[/archive] :smile: \x1b]0;title\x07 <b>&amp;"
    reply = {"kind": "reply", "status": 400, "body": {"errors": [said]}}
    project.sandbox.control("faults", faults=[{"do": reply}])
    done = invoke(*command)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert "[bold]no[/archive] :smile: \\x1b]0;title\\x07 <b>&amp;" in done.output
    assert not {"\x1b", "\x07"} & set(done.output)


def test_what_a_user_wrote_is_printed_as_it_is(project: Project) -> None:
    done = invoke("plan", "News [/archive]")
    assert (done.exit_code, "'News [/archive]'" in done.output) == (1, True)
    done = invoke("forecast", "--from", "[/archive]")
    assert (done.exit_code, "[/archive]" in done.output) == (2, True)
