"""The commands that show what is there: status, coverage, query, report. `cli.py` adds them to the others."""

from __future__ import annotations

import csv
import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from icontact_assets.errors import UserError
from icontact_assets.terminal import Cell, say, show

if TYPE_CHECKING:
    import dagster as dg

    from icontact_assets.ingest.due import DayState
    from icontact_assets.settings.models import Import, Settings
    from icontact_assets.status import ExportStatus, ImportStatus

app = typer.Typer()

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ImportName = Annotated[str | None, typer.Option("--import", help="Of this import; needed if there are several.")]
First = Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First UTC day.")]
Last = Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last UTC day.")]


def settings_of_this_environment() -> Settings:
    """The settings of the environment. Raises SettingsError."""
    from icontact_assets.settings.load import load_settings

    return load_settings()


def one_import(settings: Settings, name: str | None) -> Import:
    """The import of that name, or the only one. Raises UserError."""
    if name is None and len(settings.imports) > 1:
        names = ", ".join(import_.name for import_ in settings.imports)
        raise UserError(f"There are several imports ({names}): name one with --import.")
    return settings.import_named(name) if name else settings.imports[0]


def days_asked(import_: Import, first: date | None, last: date | None, time_zone: str = "UTC") -> None:
    """Raise UserError if a day in a time zone is none of the import's, or if they are in the wrong order."""
    today = datetime.now(ZoneInfo(time_zone)).date()
    for option, day in (("--from", first), ("--to", last)):
        if day is not None and not import_.start_date <= day <= today:
            raise UserError(
                f"{option} {day} is {'after today' if day > today else f'before the first day of {import_.name}'}. "
                f"Name a day from {import_.start_date} to {today}."
                + (" The first day is set by start_date or ICONTACT_START_DATE." if day < import_.start_date else "")
            )
    if first is not None and last is not None and last < first:
        raise UserError(f"--from {first} is later than --to {last}: swap them.")


@app.command()
def status(as_json: Json = False) -> None:
    """Show how far everything is, and what comes next.

    Shows days read, what is due, the budget and the last runs.
    It reads the published copy, and Dagster's records if DAGSTER_HOME is set. It asks iContact nothing.
    """
    from icontact_assets.status import status as found_status

    found = found_status(settings_of_this_environment(), _instance(os.environ.get("DAGSTER_HOME")))
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2, default=_iso))
        return
    for import_ in found.imports:
        show(_import_rows(import_), title=f"{import_.label}, as of {_utc(found.as_of)}", sentences=True)
    for export in found.exports:
        show(_export_rows(export), title=f"export {export.name}", sentences=True)


@app.command()
def coverage(import_name: ImportName = None, first: First = None, last: Last = None, as_json: Json = False) -> None:
    """Show which days are read, settled or missing, and why.

    Read: all that was due is read. Settled: nothing is open any more. In a table, days that are alike are one row.
    """
    from icontact_assets import status as status_module

    settings = settings_of_this_environment()
    import_ = one_import(settings, import_name)
    from_day, to_day = first.date() if first else None, last.date() if last else None
    days_asked(import_, from_day, to_day)
    days = status_module.coverage(settings, import_, from_day, to_day)
    if as_json:
        rows = [{**asdict(day), "state": day.state} for day in days]
        typer.echo(json.dumps({"import": import_.name, "days": rows}, indent=2, default=_iso))
    else:
        show(_ranges(days), headers=("from", "to", "days", "state", "why"), title=import_.label, sentences=True)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help='The query, for instance "SELECT count(*) FROM icontact_users".')],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list of objects.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with the names of the columns.")] = False,
) -> None:
    """Show the rows of a SQL query on the published copy. It waits for no run, and no run waits for it."""
    from icontact_assets.query import answer, text

    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv.")
    found = answer(settings_of_this_environment(), sql)
    if as_json:
        typer.echo(json.dumps(found.records(), indent=2))
    elif as_csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows([found.columns, *found.rows])
    else:
        show([list(map(text, row)) for row in found.rows], headers=found.columns)


@app.command()
def report(
    import_name: ImportName = None,
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day, in the time zone of the reports."),
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day, in the time zone of the reports.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="The file. By default <import>_<first day>_<last day>.html, here.")
    ] = None,
) -> None:
    """Make a page to send: what worked, and who drifts away.

    It says what is not complete too. By default it is of the last 7 days.
    It reads the published copy. The page is one HTML file without anything about a person.
    """
    from icontact_assets.pages import write_page
    from icontact_assets.reports.figures import read_figures
    from icontact_assets.reports.page import render
    from icontact_assets.reports.period import Period
    from icontact_assets.resources import reading_import, scope_of

    settings = settings_of_this_environment()
    import_ = one_import(settings, import_name)
    from_day, to_day = first.date() if first else None, last.date() if last else None
    days_asked(import_, from_day, to_day, settings.reports.time_zone)
    now = datetime.now(UTC)
    period = Period.ended(now, settings.reports.time_zone, from_day, to_day)
    with reading_import(settings, import_) as connection:
        figures = read_figures(connection, scope_of(settings, import_), period, now)
    path = output or Path(f"{import_.name}_{period.first}_{period.last}.html")
    write_page(path, render(figures, import_.label, now), settings.readers)
    say(f"The report on {period.first} to {period.last} is in {path}. Open it in a browser.")


def _instance(home: str | None) -> dg.DagsterInstance | None:
    """Dagster's records. None if it keeps none here."""
    if not home:
        say("DAGSTER_HOME is not set, so runs, schedules and retries are not shown.", error=True)
        return None
    import dagster as dg

    try:
        return dg.DagsterInstance.from_config(os.path.expanduser(home))
    except (dg.DagsterError, OSError) as error:
        raise UserError(
            f"Dagster's records in {home} cannot be read ({type(error).__name__}): set DAGSTER_HOME to the folder of "
            "your dagster.yaml. `icontact-assets doctor` checks it."
        ) from error


def _ranges(days: list[DayState]) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for (state, why), group in groupby(days, key=lambda day: (day.state, day.reason)):
        alike = list(group)
        rows.append([str(alike[0].day), str(alike[-1].day), f"{len(alike):,}", state, why or ""])
    return rows


def _import_rows(found: ImportStatus) -> list[tuple[str, Cell]]:
    left = "no limit" if found.requests_left is None else f"{found.requests_left:,}"
    if not found.days:
        return [("days", "no run has read anything yet"), ("requests left today", left)]
    days = found.days
    rows: list[tuple[str, Cell]] = [
        (
            "days",
            f"{days['read']:,} of {days['ended']:,} ended days are read, {days['settled']:,} settled, "
            f"{days['missing']:,} missing" + (f", the first {found.first_missing}" if found.first_missing else ""),
        ),
        ("due now", f"{found.messages_due:,} messages"),
        ("requests left today", left),
    ]
    for listing in found.listings:
        at = f"complete {_utc(listing.read_through)}" if listing.read_through else "never completely read"
        rows.append((listing.resource, at if listing.status == "complete" else f"{at}; {listing.reason}"))
    if found.runs is None:
        return rows
    for run in found.runs:
        days_of_run = " to ".join(dict.fromkeys(day for day in (run.first, run.last) if day))
        took = f", {(run.ended - run.began).total_seconds():,.0f} s" if run.ended else ""
        asked = f", {days_of_run}" if days_of_run else ""
        rows.append(("run", f"{_utc(run.began)}: {run.status}{asked}{took} ({run.run_id})"))
    daily = f"{_utc(found.next_daily)}" if found.next_daily else f"{found.name}_daily is off: switch it on in the UI"
    return [*rows, ("next daily run", daily), ("retries", found.retry or "")]


def _export_rows(found: ExportStatus) -> list[tuple[str, Cell]]:
    last = "none yet"
    if found.began is not None:
        last = (
            f"{_utc(found.began)}: {found.status}, {found.added or 0:,} added, {found.removed or 0:,} removed, "
            f"{found.remaining or 0:,} remain ({found.run_id})" + (f". {found.reason}" if found.reason else "")
        )
    rows: list[tuple[str, Cell]] = [("mode", found.mode), ("last run", last)]
    return rows if found.next is None else [*rows, ("next", found.next)]


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _iso(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
