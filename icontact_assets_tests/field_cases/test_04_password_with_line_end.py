"""A password that ends with a line end: one sentence names its variable, and nothing shows any of its value."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from icontact_assets import cli
from icontact_assets.ingest.window import Window
from icontact_assets_tests.harness import Project, days_ago
from icontact_assets_tests.leaks import FIT, UNFIT, assert_not_in, command_lines, files_below

DATA = Path(__file__).parent / "data" / "04-password-with-line-end"


def password() -> str:
    words = shlex.split((DATA / "environment.sh").read_text(), comments=True)
    return words[1].removeprefix("ICONTACT_API_PASSWORD=")


@pytest.mark.parametrize("command", [["doctor"], ["discover"], ["discover", "--json"], ["forecast"]], ids="_".join)
def test_the_command_line_names_the_variable(
    project: Project, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    for name, value in {**project.environment, "ICONTACT_API_PASSWORD": password()}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(project.home)
    done = CliRunner().invoke(cli.app, command)
    said = " ".join(done.output.replace("│", " ").split())
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert "ICONTACT_API_PASSWORD begins or ends with white space" in said
    assert_not_in([done.output, *files_below(project.home)], [password()])
    assert project.requests() == []


def test_doctor_names_a_variable_of_an_export_to_another_folder(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.home / "icontact.yaml").write_text(
        "audiences:\n  - {name: a, import: icontact, where: 'true'}\nexports:\n"
        "  - {name: e, audience: a, list: 1, match: email, client_folder: '${ELSEWHERE}'}\n"
    )
    for name, value in {**project.environment, "ELSEWHERE": UNFIT["trailing tab"]}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(project.home)
    done = CliRunner().invoke(cli.app, ["doctor"])
    assert (done.exit_code, "ELSEWHERE begins or ends with white space" in done.output) == (1, True)
    assert_not_in([done.output], [UNFIT["trailing tab"]])


def materialize(project: Project, **environ: str) -> tuple[str, list[bytes]]:
    """What a real process says, and everything that it leaves on the disk or that `ps` shows meanwhile."""
    dagster_home = project.home / "dagster"
    dagster_home.mkdir()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "dagster", "asset", "materialize", "-m", "icontact_assets.definitions"),
            *("--select", 'key:"icontact/raw_lists"', "--partition", days_ago(1).isoformat()),
        ],
        env={**os.environ, **project.environment, "DAGSTER_HOME": str(dagster_home), **environ},
        cwd=project.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    seen = []
    while True:
        seen += command_lines()
        try:
            said, _ = process.communicate(timeout=1)
        except subprocess.TimeoutExpired:
            continue
        assert process.returncode == 1
        return said.decode("utf-8", "surrogateescape"), [said, *seen, *files_below(project.home)]


def test_a_run_says_so_before_anything_is_sent(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    planted = {
        "ICONTACT_APP_ID": UNFIT["beyond latin"],
        "ICONTACT_API_USERNAME": UNFIT["leading blank"],
        "ICONTACT_API_PASSWORD": password(),
        "ICONTACT_ACCOUNT_ID": UNFIT["line end in the middle"],
        "ICONTACT_CLIENT_FOLDER_ID": FIT["percent"],
    }
    project.environment |= planted
    home = project.home / "dagster"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as project.instance:
        assert not project.job(Window(days_ago(1), days_ago(1))).success
    said = "".join(capfd.readouterr())
    written = [said, *files_below(project.home)]
    for variable in planted:
        assert f"{variable} " in said
    assert "Traceback" not in said
    assert "ICONTACT_API_PASSWORD begins or ends with white space" in said
    assert_not_in(written, planted.values())
    assert project.requests() == []


def test_a_run_that_is_refused_shows_no_credential(project: Project) -> None:
    planted = {
        "ICONTACT_APP_ID": FIT["markup"],
        "ICONTACT_API_USERNAME": FIT["quotes"],
        "ICONTACT_API_PASSWORD": FIT["very long"],
    }
    said, written = materialize(project, **planted)
    assert "refused with 401" in said
    assert_not_in(written, planted.values())
