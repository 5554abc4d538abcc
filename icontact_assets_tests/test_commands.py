"""The commands that show what is there: status and coverage, as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import stat
import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, ScheduleInstigatorData

from icontact_assets.ingest.window import Window
from icontact_assets.reports.period import Period
from icontact_assets.reports.wording import day
from icontact_assets.resources import report_path
from icontact_assets_tests.harness import TODAY, Project, days_ago
from icontact_assets_tests.reports.parsed import Parsed
from icontact_assets_tests.test_cli import run


def shown(project: Project, *arguments: str, **environ: str) -> Any:
    done = run(project, *arguments, "--json", **environ)
    assert done.exit_code == 0, done.stderr
    assert "@" not in done.stdout
    return json.loads(done.stdout)


def test_coverage_says_of_each_day_whether_it_is_read_and_why_not(imported: Project) -> None:
    days = shown(imported, "coverage")["days"]
    assert [date.fromisoformat(day["day"]) for day in days] == [days_ago(n) for n in range(40, -1, -1)]
    stored = imported.rows("SELECT day, read, settled, reason FROM icontact.coverage ORDER BY day")
    assert [(day["day"], day["read"], day["settled"], day["reason"]) for day in days] == [
        (str(day), *rest) for day, *rest in stored
    ]
    assert {day["state"] for day in days if day["reason"] is None} == {"settled"}
    assert days[-1]["state"] == "missing"
    some = shown(imported, "coverage", "--from", str(days_ago(3)), "--to", str(days_ago(2)))["days"]
    assert [day["day"] for day in some] == [str(days_ago(3)), str(days_ago(2))]

    table = run(imported, "coverage").stdout
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines() if "│" in line]
    assert sum(int(row[2]) for row in rows) == len(days)
    assert rows[-1] == [str(TODAY), str(TODAY), "1", "missing", "the day has not ended"]


@pytest.mark.parametrize("command", ["coverage", "forecast", "report"])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--from", "2019-01-01"), "is before the first day of icontact"),
        (("--to", "2093-01-01"), "is after today"),
        (("--from", str(days_ago(1)), "--to", str(days_ago(2))), "is later than --to"),
        (("--import", "news"), "There is no import named 'news'. There are: icontact."),
    ],
)
def test_days_and_imports_that_are_none_are_refused(
    imported: Project, command: str, arguments: tuple[str, ...], says: str
) -> None:
    before = len(imported.requests())
    done = run(imported, command, *arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert says in done.stderr
    if "first day" in says or "today" in says:
        assert f"Name a day from {days_ago(40)} to {TODAY}." in done.stderr
    assert len(imported.requests()) == before


def test_before_anything_is_read_that_is_said(project: Project) -> None:
    for command in ("coverage", "status", "query"):
        done = run(project, command, *(["SELECT 1"] if command == "query" else []))
        assert done.exit_code == 1
        assert "materialize the raw assets first" in done.stderr


def test_status_by_the_tables_alone(imported: Project) -> None:
    assert [export.name for export in imported.settings.exports] == ["readers"]
    done = run(imported, "status", DAGSTER_HOME="")
    assert done.exit_code == 0, done.stderr
    assert "DAGSTER_HOME is not set" in done.stderr
    found = shown(imported, "status", DAGSTER_HOME="")
    (import_,), (export,) = found["imports"], found["exports"]
    [(read, settled)] = imported.rows("SELECT count_if(read), count_if(settled) FROM icontact.coverage")
    assert import_["days"] == {"ended": 40, "read": read, "settled": settled, "missing": 40 - read}
    assert f"{read} of 40 ended days are read, {settled} settled" in done.stdout
    read_listings = {row["resource"] for row in import_["listings"] if row["status"] == "complete"}
    assert read_listings >= {"contacts", "messages", "sends", "lists"}
    assert (import_["runs"], import_["retry"], import_["next_daily"], export["run_id"], export["next"]) == (None,) * 5
    as_of = datetime.fromisoformat(found["as_of"])
    assert timedelta(0) <= datetime.now(UTC) - as_of < timedelta(hours=1)


def switch_on(instance: dg.DagsterInstance, schedule: str) -> None:
    repository = RemoteRepositoryOrigin(GrpcServerCodeLocationOrigin("localhost", port=1, location_name="l"), "r")
    instance.add_instigator_state(
        InstigatorState(
            RemoteInstigatorOrigin(repository, schedule),
            InstigatorType.SCHEDULE,
            InstigatorStatus.RUNNING,
            ScheduleInstigatorData("0 2 * * *"),
        )
    )


def test_status_by_dagsters_records(imported: Project) -> None:
    home = imported.home / "dagster"
    home.mkdir()
    (home / "dagster.yaml").touch()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        imported.alone().instance = instance
        imported.sandbox.control(
            "faults", faults=[{"path": "/lists", "do": {"kind": "reply", "status": 404, "body": {"errors": ["gone"]}}}]
        )
        window = Window(days_ago(2), days_ago(1))
        imported.run('key:"icontact/raw_activity"', window)
        imported.run('key:"icontact/raw_lists"', window, **{"icontact_assets/reread": "true"})
        off = shown(imported, "status", DAGSTER_HOME=str(home))
        switch_on(instance, "icontact_daily")
        found = shown(imported, "status", DAGSTER_HOME=str(home))
        told = run(imported, "status", DAGSTER_HOME=str(home)).stdout
    (import_,), (export,) = found["imports"], found["exports"]
    failed, read = import_["runs"]
    assert (failed["status"], read["status"]) == ("failure", "success")
    assert (failed["first"], failed["last"]) == (str(window.first), str(window.last))
    assert f"{window.first} to {window.last}" in told
    assert "2 days of icontact failed; they are asked for again from" in import_["retry"]
    assert off["imports"][0]["next_daily"] is None
    assert timedelta(0) < datetime.fromisoformat(import_["next_daily"]) - datetime.now(UTC) <= timedelta(days=1)
    assert datetime.fromisoformat(import_["next_daily"]).strftime("%H:%M") == "02:00"
    assert export["next"].startswith("The audience readers has not been computed yet.")


def test_dagsters_records_that_cannot_be_read_name_the_remedy(imported: Project) -> None:
    (imported.home / "dagster.yaml").write_text("storage: nonsense")
    done = run(imported, "status", DAGSTER_HOME=str(imported.home))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "set DAGSTER_HOME" in done.stderr


def test_help_version_and_completion(project: Project) -> None:
    assert run(project, "-h").stdout == run(project, "--help").stdout
    assert "--install-completion" in run(project, "-h").stdout
    assert run(project, "coverage", "-h").stdout.strip().startswith("Usage")
    assert run(project, "--version").stdout.startswith("icontact-assets 0.")


@pytest.mark.usefixtures("heeds_signals")
def test_a_query_is_ended_by_a_signal(imported: Project) -> None:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    done = run(imported, "query", "SELECT sum(hash(range)) FROM range(100_000_000_000)")
    assert done.exit_code == 130
    assert "Traceback" not in done.output


def test_report_is_a_page_about_the_days_that_are_named(imported: Project) -> None:
    first, last = days_ago(9), days_ago(3)
    file = imported.home / "sent" / "page.html"
    done = run(imported, "report", "--from", str(first), "--to", str(last), "--output", str(file))
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"The report on {first} to {last} is in {file}. Open it in a browser.\n"
    [counts] = imported.rows(
        "SELECT count(*) FILTER (event_type = 'open'), count(*) FILTER (event_type = 'bounce') "
        f"FROM icontact.raw_activity WHERE event_time::DATE BETWEEN '{first}' AND '{last}'"
    )
    page = Parsed(file.read_text())
    assert [page.row("What happened", name)[0] for name in ("Opens, all", "Bounces")] == [f"{n:,}" for n in counts]
    assert "@" not in page.html.replace("@media", "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_daily_job_leaves_the_report_on_the_last_days(imported: Project) -> None:
    file = report_path(imported.settings, imported.settings.imports[0])
    period = Period.ended(datetime.fromtimestamp(file.stat().st_mtime, UTC), "UTC")
    assert f"{day(period.first)} to {day(period.last)}, days in UTC." in file.read_text()


def test_a_report_that_cannot_be_written_leaves_nothing(imported: Project) -> None:
    folder = imported.home / "taken"
    folder.mkdir()
    done = run(imported, "report", "--output", str(folder))
    assert done.exit_code == 1
    assert f"The report cannot be written to {folder}: Is a directory. Name another file." in done.stderr
    assert not list(imported.home.glob(".taken*"))
