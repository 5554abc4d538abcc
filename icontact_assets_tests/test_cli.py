"""The command line as a user runs it, against a sandbox."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from icontact_assets.audiences.audience import compute
from icontact_assets.cli import app
from icontact_assets.demo import DAGSTER
from icontact_assets.doctor import dagster
from icontact_assets.mapping.build import build_activity, build_users
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.harness import AUDIENCE, Project


def run(project: Project, *arguments: str, **environ: str) -> Result:
    """In this process, since most of what a process costs is to import the packages. An unforeseen exception is raised."""
    on_signal = signal.getsignal(signal.SIGTERM)
    with contextlib.chdir(project.home):
        done = CliRunner().invoke(
            app, arguments, env={**project.environment, "COLUMNS": "200", **environ}, catch_exceptions=False
        )
    signal.signal(signal.SIGTERM, on_signal)
    return done


def test_doctor_finds_all_well(project: Project) -> None:
    done = run(project, "doctor")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "account 1300001 is enabled" in done.stdout
    assert " no " not in done.stdout
    assert "`icontact-assets probe`" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (None, "is missing: copy our dagster.yaml there"),
        ("run_monitoring: [", "cannot be read (ParserError)"),
        ("- a list", "lacks `run_monitoring: {enabled: true}`"),
        ("run_monitoring: {enabled: false}", "lacks `run_monitoring: {enabled: true}`"),
        ("concurrency: {pools: {granularity: op, default_limit: 1}}", "a killed run keeps its slot"),
        ("concurrency: {runs: {max_concurrent_runs: 1}}", "keeps the others queued"),
        ("concurrency: {runs: {tag_concurrency_limits: [{key: a, limit: 1}]}}", "keeps the others queued"),
        ("run_monitoring: {enabled: true}", "lacks the `instance_class` of our dagster.yaml"),
        (DAGSTER.read_text(), "watches runs"),
        ((DAGSTER.parents[1] / "deploy" / "compose" / "dagster.yaml").read_text(), "watches runs"),
        ("run_monitoring: {enabled: true}\nstorage: {sqlite: {base_dir: /records}}", "watches runs"),
    ],
)
def test_doctor_says_what_a_dagster_yaml_lacks(tmp_path: Path, written: str | None, says: str) -> None:
    if written is not None:
        (tmp_path / "dagster.yaml").write_text(written)
    cell, text = dagster(str(tmp_path))
    assert says in text
    assert str(cell) == ("ok" if says == "watches runs" else "warning")
    assert "DAGSTER_HOME is not set" in dagster(None)[1]


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("ICONTACT_API_PASSWORD", "wrong-one", "externallogin"),
        ("ICONTACT_API_PASSWORD", "", "ICONTACT_API_PASSWORD"),
        ("ICONTACT_ACCOUNT_ID", "7", "Account 7 is not among"),
        ("ICONTACT_CLIENT_FOLDER_ID", "8", "Client folder 8 is not among"),
        ("ICONTACT_BASE_URL", "http://127.0.0.1:9/icp", "no connection"),
        ("ICONTACT_ASSETS_DUCKDB", "/proc/no/x.duckdb", "cannot be used"),
        ("ICONTACT_START_DATE", "someday", "YYYY-MM-DD"),
    ],
)
def test_doctor_says_the_remedy(project: Project, variable: str, value: str, says: str) -> None:
    done = run(project, "doctor", **{variable: value})
    said = " ".join((done.stdout + done.stderr).replace("│", " ").split())
    assert done.exit_code == 1
    assert says in said
    assert "Traceback" not in said
    assert "wrong-one" not in said


def test_discover_lists_accounts_folders_and_lists(project: Project) -> None:
    done = run(project, "discover", "--json", ICONTACT_ACCOUNT_ID="", ICONTACT_CLIENT_FOLDER_ID="")
    assert done.exit_code == 0, done.stderr
    (account,) = [row for row in json.loads(done.stdout) if row["enabled"]]
    assert account["account_id"] == "1300001"
    folders = {folder["client_folder_id"]: folder["lists"] for folder in account["client_folders"]}
    assert set(folders) == {"7601", "7602"}
    assert "Export target" in [row["name"] for row in folders["7601"]]
    assert "Export target" in run(project, "discover").stdout


def test_explain_says_who_is_in_an_audience_and_why(project: Project) -> None:
    project.config = AUDIENCE.replace("last_active_ts IS NOT NULL", "email_open_ct > 2 AND email LIKE '%@example.com'")
    settings = project.settings
    warehouse = Warehouse(DatabaseFile(settings.duckdb_path), "icontact")
    with warehouse.write("test") as connection:
        build_users(connection)
        build_activity(connection)
        connection.execute(
            "INSERT INTO icontact.icontact_users (ic_contact_id, email) VALUES ('7', 'planted.person@example.com')"
        )
        connection.execute("INSERT INTO icontact.icontact_activity (ic_contact_id, email_open_ct) VALUES ('7', 5)")
    compute(warehouse, settings.audience("readers"), now=datetime(2026, 9, 14, 12, tzinfo=UTC), missing=None)

    done = run(project, "explain", "7", "--audience", "readers")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("Contact 7 is in the audience readers since 2026-09-14 12:00 UTC.\n")
    assert "email_open_ct: 5" in done.stdout
    assert "email: (personal)" in done.stdout
    told = run(project, "explain", "7", "--audience", "readers", "--json")
    found = json.loads(told.stdout)
    assert found["standing"]["since"] == "2026-09-14T12:00:00+00:00"
    assert (found["selected"], found["condition"]["kind"], found["condition"]["truth"]) == (True, "all", "true")
    assert [part["values"] for part in found["condition"]["parts"]] == [{"email_open_ct": 5}, {"email": "(personal)"}]
    assert "planted" not in done.stdout + told.stdout

    stranger = run(project, "explain", "8", "--audience", "readers")
    assert stranger.exit_code == 0
    assert "There is no contact 8 in icontact_profiles" in stranger.stdout
    for arguments, says in (
        (("7", "--audience", "writers"), "There is no audience named 'writers'. There are: readers."),
        (("planted.person@example.com", "--audience", "readers"), "A contact is named by its iContact contact id"),
    ):
        done = run(project, "explain", *arguments)
        assert (done.exit_code, done.stdout) == (1, "")
        assert says in done.stderr
        assert "planted" not in done.stderr


def test_the_command_line_starts_without_the_heavy_packages(tmp_path: Path) -> None:
    code = "import sys, icontact_assets.cli; print([m for m in ('dagster', 'duckdb', 'pandas', 'faker') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_forecast_before_anything_was_read_and_in_json(project: Project) -> None:
    done = run(project, "forecast")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "due messages and the listings of contacts, messages, sends, lists" in done.stdout
    assert len(project.requests()) == 4
    found = json.loads(run(project, "forecast", "--json").stdout)
    assert found["messages"] == len([m for m in project.sandbox.control("truth")["messages"] if m["visible"]])


EXPORT = """
audiences:
  - {name: everybody, import: icontact, where: "last_active_ts IS NOT NULL AND ic_contact_id < '9000006'"}
exports:
  - {name: everybody, audience: everybody, list: Export target, mode: add, limits: {adds: 5}}
"""


def written(project: Project) -> int:
    return sum(row["method"] != "GET" for row in project.requests())


def test_a_plan_is_shown_applied_and_undone(imported: Project) -> None:
    project = imported.alone()
    project.config = EXPORT
    assert project.run('key:"icontact/audience_everybody"').success
    done = run(project, "plan", "everybody", "--json")
    assert done.exit_code == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["add"] > 5
    assert shown["limits_exceeded"] == [f"{shown['add']} people would be added, at most 5 may be"]
    assert "@" not in done.stdout
    assert len(set(shown["add_ids"])) == shown["add"] > 10
    told = run(project, "plan", "everybody").stdout
    assert shown["plan"] in told
    assert f"{', '.join(shown['add_ids'][:10])} ..." in told
    assert written(project) == 0

    other = run(project, "apply", "everybody", "--plan", "0" * 32)
    assert other.exit_code == 1
    assert f"another plan is approved ({'0' * 32})" in other.stderr
    assert written(project) == 0
    done = run(project, "apply", "everybody", "--plan", shown["plan"])
    assert done.exit_code == 0, done.stderr
    assert f"{shown['add']} people added, 0 removed" in done.stdout
    run_id = done.stdout.split()[1].rstrip(":")
    again = run(project, "apply", "everybody", "--plan", shown["plan"])
    assert again.exit_code == 1

    assert "--move-to LIST" in run(project, "undo", run_id).stderr
    back = json.loads(run(project, "undo", run_id, "--move-to", "Prospects", "--json").stdout)
    assert (back["mode"], back["add"]) == ("undo", 0)
    assert back["remove"] + sum(back["skipped"].values()) == shown["add"]
    done = run(project, "undo", run_id, "--move-to", "Prospects", "--plan", back["plan"])
    assert done.exit_code == 0, done.stderr
    assert f"0 people added, {back['remove']} removed" in done.stdout
    assert "has no export to undo" in run(project, "undo", "nothing").stderr
    assert "There is no export named" in run(project, "plan", "nobody").stderr


def test_a_query_is_answered_in_text_json_and_csv(imported: Project) -> None:
    [(people,)] = imported.rows("SELECT count(*) FROM icontact.icontact_users")
    sql = "SELECT count(*) AS people, max(ic_user_created) AS newest FROM icontact_users"
    text, rows = run(imported, "query", sql), json.loads(run(imported, "query", sql, "--json").stdout)
    assert (text.exit_code, text.stderr) == (0, "")
    assert f"│ {people} " in text.stdout
    assert rows[0]["people"] == people
    assert datetime.fromisoformat(rows[0]["newest"]).utcoffset() == timedelta(0)
    odd = """SELECT 'a,"b"' AS "x y", NULL AS n, 1e400::DOUBLE AS f, 2::HUGEINT ** 90 AS h, map([1], ['v']) AS m"""
    assert run(imported, "query", odd.replace("1e400", "'inf'"), "--csv").stdout.splitlines()[0] == "x y,n,f,h,m"
    found = json.loads(run(imported, "query", odd.replace("1e400", "'inf'"), "--json").stdout)
    assert found[0]["n"] is found[0]["f"] is None
    assert (found[0]["x y"], found[0]["m"]) == ('a,"b"', {"1": "v"})


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("SELECT * FROM nothing",), 1, "SHOW ALL TABLES"),
        (("SELECT * FROM icontact_users WHERE",), 1, "Parser Error"),
        (("--",), 2, "Missing argument"),
        ((" ",), 1, "This is no query"),
        (("DELETE FROM icontact_users",), 1, "The published copy is for reading"),
        (("SELECT 1 AS a, 2 AS a", "--json"), 1, "named a: name them apart"),
        (("SELECT 1", "--json", "--csv"), 2, "choose one of"),
        ((), 2, "Missing argument"),
    ],
)
def test_a_query_that_cannot_be_answered_says_why(
    imported: Project, arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = run(imported, "query", *arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
