"""A password that ends with a line end: one sentence names its variable, and nothing shows any of its value."""

from __future__ import annotations

import shlex
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from icontact_assets import cli
from icontact_assets.ingest.window import Window
from icontact_assets.partitions import range_tags
from icontact_assets_tests.harness import Project, days_ago
from icontact_assets_tests.leaks import FIT, UNFIT, assert_not_in, files_below

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


def job(project: Project, capfd: pytest.CaptureFixture[str], **environ: str) -> tuple[str, list[str | bytes]]:
    """What two steps of a daily job that fails say, and everything that it leaves on the disk."""
    project.environment |= environ
    home = project.home / "dagster"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as project.instance:
        result = project.definitions.resolve_job_def("icontact_import").execute_in_process(
            instance=project.instance,
            tags=range_tags(Window(days_ago(1), days_ago(1))),
            asset_selection=[dg.AssetKey(["icontact", name]) for name in ("raw_lists", "raw_messages")],
            raise_on_error=False,
        )
        assert not result.success
    said = "".join(capfd.readouterr())
    return said, [said, *files_below(project.home)]


def test_a_run_says_so_before_anything_is_sent(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    planted = {
        "ICONTACT_APP_ID": UNFIT["beyond latin"],
        "ICONTACT_API_USERNAME": UNFIT["leading blank"],
        "ICONTACT_API_PASSWORD": password(),
        "ICONTACT_ACCOUNT_ID": UNFIT["line end in the middle"],
        "ICONTACT_CLIENT_FOLDER_ID": FIT["percent"],
    }
    said, written = job(project, capfd, **planted)
    for variable in planted:
        assert f"{variable} " in said
    assert "Traceback" not in said
    assert "ICONTACT_API_PASSWORD begins or ends with white space" in said
    assert_not_in(written, planted.values())
    assert project.requests() == []


def test_a_run_that_is_refused_shows_no_credential(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    planted = {
        "ICONTACT_APP_ID": FIT["markup"],
        "ICONTACT_API_USERNAME": FIT["quotes"],
        "ICONTACT_API_PASSWORD": FIT["very long"],
    }
    said, written = job(project, capfd, **planted)
    assert "refused with 401" in said
    assert_not_in(written, planted.values())
