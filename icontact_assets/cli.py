"""The command line `icontact-assets`. Heavy packages are imported only by the commands that need them."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from icontact_assets.terminal import MIND, NO, OK, Cell, say, show

app = typer.Typer(
    help="iContact contacts and activity in tables of your own, and audiences back on lists.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

_SKEW_SECONDS = 120


def _fail(text: str) -> typer.Exit:
    say(text, error=True)
    return typer.Exit(1)


@app.callback()
def _ended_by_signals() -> None:
    # As Ctrl-C does: what has begun is recorded, locks are released.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@app.command()
def doctor(import_name: Annotated[str | None, typer.Option("--import", help="Check this import only.")] = None) -> None:
    """Check settings, connection, credentials, account, client folder, database; say the remedy for what is wrong."""
    from icontact_assets.settings.load import load_settings
    from icontact_assets.settings.models import SettingsError

    try:
        settings = load_settings()
        imports = [settings.import_named(import_name)] if import_name else list(settings.imports)
    except SettingsError as error:
        raise _fail(str(error)) from error
    rows: list[tuple[Cell, ...]] = [
        ("settings", OK, f"{len(settings.imports)} imports, {len(settings.exports)} exports")
    ]
    ok = True
    checks: list[tuple[str, Callable[[], str]]] = [("database", lambda: _database(settings))]
    checks += [(f"database: {import_.name}", partial(_holds, settings, import_)) for import_ in imports]
    for import_ in imports:
        checks += _import_checks(settings, import_)
    if import_name is None:
        elsewhere = [export for export in settings.exports if export.folder is not None]
        checks += [(f"export {export.name}", partial(_elsewhere, settings, export)) for export in elsewhere]
    broken = set()
    for name, check in checks:
        needs = name.partition(":")[0]
        if needs in broken:
            continue
        try:
            rows.append((name, OK, check()))
        except _expected() as error:
            ok = False
            # What one import holds in the database says nothing of another.
            broken.add(name if needs == "database" else needs)
            rows.append((name, NO, str(error)))
    rows.append(("Dagster", *_dagster(os.environ.get("DAGSTER_HOME"))))
    show(rows, sentences=True)
    if not ok:
        raise typer.Exit(1)


def _dagster(home: str | None) -> tuple[Cell, str]:
    """Whether Dagster's own settings let it notice what became of a run. No import fails without them."""
    import yaml

    if not home:
        return MIND, (
            "DAGSTER_HOME is not set: Dagster forgets each run. Set it to a folder that has a copy of our dagster.yaml."
        )
    path = Path(home) / "dagster.yaml"
    try:
        path = path.expanduser()
        found = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        return MIND, f"{path} is missing: copy our dagster.yaml there."
    except (OSError, RuntimeError, ValueError, yaml.YAMLError) as error:
        return MIND, f"{path} cannot be read ({type(error).__name__}): copy our dagster.yaml there."
    settings = found if isinstance(found, dict) else {}
    monitoring, runs = settings.get("run_monitoring"), _below(settings, "concurrency", "runs")
    wrong = []
    if not (isinstance(monitoring, dict) and monitoring.get("enabled") is True):
        wrong.append(
            "lacks `run_monitoring: {enabled: true}`, without which a run that never starts, or never ends when it is "
            "cancelled, stays so for ever"
        )
    if runs.get("tag_concurrency_limits") or runs.get("max_concurrent_runs") == 1:
        wrong.append(
            "limits how many runs there are at once (`concurrency: runs`): a killed run keeps the others queued until "
            "the sensor dead_runs has marked it. Take the limit out: runs of one import wait for each other anyhow"
        )
    if _below(settings, "concurrency", "pools").get("default_limit"):
        wrong.append(
            "has `concurrency: pools: default_limit`, as an earlier version of ours: no import uses a pool any more, "
            "and a killed run keeps its slot. Take it out unless assets of your own need it"
        )
    return (MIND, f"{path} {'. It '.join(wrong)}.") if wrong else (OK, f"{path} watches runs")


def _below(settings: dict[str, Any], *keys: str) -> dict[str, Any]:
    for key in keys:
        found = settings.get(key)
        settings = found if isinstance(found, dict) else {}
    return settings


class _Found(Exception):
    """A check did not pass; the text is the remedy."""


def _expected() -> tuple[type[Exception], ...]:
    from icontact_assets.audiences.audience import AudienceError
    from icontact_assets.exports.live import PlanError
    from icontact_assets.exports.run import ExportError
    from icontact_assets.icontact.errors import IContactError
    from icontact_assets.ingest.staging import StagingError
    from icontact_assets.settings.models import SettingsError
    from icontact_assets.warehouse.warehouse import WarehouseError

    return AudienceError, ExportError, PlanError, IContactError, SettingsError, StagingError, WarehouseError, _Found


def _import_checks(settings: Any, import_: Any) -> list[tuple[str, Callable[[], str]]]:
    """The checks of one import, in the order in which each needs the ones before."""
    from icontact_assets.icontact.folder import Account
    from icontact_assets.icontact.values import as_flag, as_id
    from icontact_assets.resources import open_session

    def account() -> Account:
        return Account(open_session(settings, import_, tries=2))

    def credentials() -> str:
        import_.ready()
        return f"the variables of {import_.authorization.name} are set"

    def clock() -> str:
        skew = (account().time() - datetime.now(UTC)).total_seconds()
        if abs(skew) > _SKEW_SECONDS:
            raise _Found(
                f"iContact's clock differs by {skew:+.0f} s from this machine's: set this machine's clock right."
            )
        return f"{settings.base_url} answers; the clocks differ by {skew:+.0f} s"

    def enabled() -> str:
        found = {as_id(row.get("accountId")): row for row in account().accounts()}
        row = found.get(import_.account_id)
        if row is None:
            raise _Found(
                f"Account {import_.account_id} is not among those this user may see ({', '.join(map(str, found))}): "
                "correct ICONTACT_ACCOUNT_ID or the key `account`."
            )
        if not as_flag(row.get("enabled")):
            raise _Found(f"Account {import_.account_id} is not enabled: ask iContact's support.")
        return f"account {import_.account_id} is enabled"

    def folder() -> str:
        found = [as_id(row.get("clientFolderId")) for row in account().client_folders(import_.account_id)]
        if import_.client_folder_id not in found:
            raise _Found(
                f"Client folder {import_.client_folder_id} is not among those of the account "
                f"({', '.join(map(str, found))}): correct ICONTACT_CLIENT_FOLDER_ID or the key `client_folder`."
            )
        return f"client folder {import_.client_folder_id} is there"

    def budget() -> str:
        left = open_session(settings, import_).budget.left_today()
        return "not limited" if left is None else f"{left} requests left of {import_.limits.per_day} in 24 hours"

    steps = {
        "credentials set": credentials,
        "connection and clock": clock,
        "credentials and account": enabled,
        "client folder": folder,
        "request budget": budget,
    }
    return [(f"{import_.name}: {name}", check) for name, check in steps.items()]


def _elsewhere(settings: Any, export: Any) -> str:
    settings.target_of(export).ready()
    return "the variables of its client folder are set"


def _holds(settings: Any, import_: Any) -> str:
    from icontact_assets.ingest.staging import check_staging
    from icontact_assets.resources import known_source, open_warehouse, staging_path

    check_staging(staging_path(settings, import_))
    source = known_source(settings, import_)
    if source is None:
        return f"what {import_.name} holds is compared when account and client folder are set"
    warehouse = open_warehouse(settings, import_.name, source=source, wait_seconds=5)
    if warehouse.is_claimed():
        return f"{import_.name} holds {source}"
    return f"the first run records that {import_.name} holds {source}"


def _database(settings: Any) -> str:
    from icontact_assets.resources import open_warehouse

    warehouse = open_warehouse(settings, wait_seconds=5)
    existed = warehouse.exists()
    with warehouse.write("doctor") as connection:
        connection.execute("SELECT 1")
    return f"{warehouse.path} {'opens' if existed else 'can be written'}"


@app.command()
def discover(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the accounts, client folders and lists that the credentials may see, with their ids."""
    from icontact_assets.icontact.folder import Account, Folder
    from icontact_assets.icontact.values import as_flag, as_id
    from icontact_assets.resources import open_session
    from icontact_assets.settings.load import load_settings

    found: list[dict[str, Any]] = []
    try:
        settings = load_settings()
        for authorization in {import_.authorization.name: import_ for import_ in settings.imports}.values():
            session = open_session(settings, authorization, tries=2)
            account = Account(session)
            for row in account.accounts():
                account_id = str(as_id(row.get("accountId")))
                folders = []
                for folder in account.client_folders(account_id) if as_flag(row.get("enabled")) else []:
                    folder_id = str(as_id(folder.get("clientFolderId")))
                    lists = _Rows()
                    Folder(session, account_id, folder_id).lists(lists)
                    folders.append(
                        {
                            "client_folder_id": folder_id,
                            "lists": [{"list_id": as_id(r.get("listId")), "name": r.get("name")} for r in lists.rows],
                        }
                    )
                found.append(
                    {
                        "account_id": account_id,
                        "company": row.get("companyName"),
                        "enabled": bool(as_flag(row.get("enabled"))),
                        "client_folders": folders,
                    }
                )
    except _expected() as error:
        raise _fail(str(error)) from error
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    rows = []
    for item in found:
        shown = [item["account_id"], str(item["company"] or ""), "yes" if item["enabled"] else "no"]
        for folder in item["client_folders"] or [{"client_folder_id": "", "lists": []}]:
            for row in folder["lists"] or [{"list_id": "", "name": ""}]:
                rows.append((*shown, folder["client_folder_id"], str(row["list_id"] or ""), str(row["name"] or "")))
    show(rows, headers=("account", "company", "enabled", "client folder", "list", "name"))


class _Rows:
    """A sink that keeps the rows."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def start(self) -> None:
        self.rows = []

    def page(self, offset: int, rows: list[dict[str, Any]]) -> None:  # noqa: ARG002 (a Sink)
        self.rows += rows


@app.command()
def forecast(
    import_name: Annotated[
        str | None, typer.Option("--import", help="Of this import; needed if there are several.")
    ] = None,
    first: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First UTC day.")] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last UTC day.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how many requests a run over some days will send, how long it takes, and how far today's budget reaches.

    Without days: the week that the daily schedule asks for. Reads the ledger; asks iContact for four totals only if
    nothing was ever read.
    """
    from icontact_assets.ingest.window import Window
    from icontact_assets.resources import forecast_window
    from icontact_assets.settings.load import load_settings

    try:
        settings = load_settings()
        if import_name is None and len(settings.imports) > 1:
            names = ", ".join(import_.name for import_ in settings.imports)
            raise _fail(f"There are several imports ({names}): name one with --import.")
        import_ = settings.import_named(import_name) if import_name else settings.imports[0]
        week = Window.trailing(import_.start_date, datetime.now(UTC))
        window = Window(first.date() if first else week.first, last.date() if last else week.last)
        if window.last < window.first:
            raise _fail(f"--from {window.first} is later than --to {window.last}: exchange them.")
        expected = forecast_window(settings, import_, window)
    except _expected() as error:
        raise _fail(str(error)) from error
    if as_json:
        typer.echo(json.dumps(asdict(expected), indent=2, default=str))
        return
    rows = [(listing, f"{requests:,}") for listing, requests in expected.listings.items()]
    listed = sum(expected.listings.values())
    rows.append(
        (
            f"activity of {expected.messages:,} due messages",
            f"{expected.least - listed:,} to {expected.likely - listed:,}",
        )
    )
    show(rows, headers=("requests for", "number"), title=f"{import_.label}, {window.first} to {window.last}")
    say(expected.sentence())


@app.command()
def plan(
    name: Annotated[str, typer.Argument(help="Name of the export.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what an export would do now: counts, reasons, ids, and the hash to approve or apply it by."""
    from icontact_assets.exports.plan import make_plan

    try:
        _show(*_export(name), make_plan, as_json)
    except _expected() as error:
        raise _fail(str(error)) from error


@app.command()
def apply(
    name: Annotated[str, typer.Argument(help="Name of the export.")],
    plan_hash: Annotated[str, typer.Option("--plan", help="Hash of the plan, as `plan` printed it within 24 hours.")],
) -> None:
    """Make the plan of an export anew, and apply it if it is still exactly the one of this hash."""
    from icontact_assets.exports.plan import make_plan

    try:
        _apply(*_export(name), make_plan, plan_hash)
    except _expected() as error:
        raise _fail(str(error)) from error


@app.command()
def undo(
    run_id: Annotated[str, typer.Argument(help="Id of the run, as Dagster or export_runs shows it.")],
    name: Annotated[str | None, typer.Option("--export", help="Which export, if the run had several.")] = None,
    move_to: Annotated[str | None, typer.Option(help="Move those it added to this list.")] = None,
    unsubscribe: Annotated[bool, typer.Option("--unsubscribe", help="Unsubscribe those it added, for good.")] = False,
    plan_hash: Annotated[str | None, typer.Option("--plan", help="Apply the way back of this hash.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the way back for one run of an export; with --plan, go it. The next run starts from the audience again."""
    from icontact_assets.exports.undo import plan_undo

    try:
        place, export = _export(_export_of_run(run_id, name))
        way = _way_back(export, move_to, unsubscribe)

        def planner(place: Any, export: Any) -> Any:
            return plan_undo(place, export, run_id, way)

        if plan_hash is None:
            _show(place, export, planner, as_json)
        else:
            _apply(place, export, planner, plan_hash, undoes=run_id)
    except _expected() as error:
        raise _fail(str(error)) from error


def _export(name: str) -> tuple[Any, Any]:
    """Place and settings of an export."""
    from icontact_assets.resources import open_place
    from icontact_assets.settings.load import load_settings

    settings = load_settings()
    export = settings.export(name)
    return open_place(settings, export), export


def _export_of_run(run_id: str, name: str | None) -> str:
    from icontact_assets.exports.undo import exports_of_run
    from icontact_assets.resources import open_import
    from icontact_assets.settings.load import load_settings

    settings = load_settings()
    names: set[str] = set()
    for import_ in sorted(
        {settings.import_of(export) for export in settings.exports}, key=lambda import_: import_.name
    ):
        names.update(exports_of_run(open_import(settings, import_), import_.name, run_id))
    chosen = names if name is None else names & {name}
    if len(chosen) != 1:
        raise _Found(
            f"The run {run_id} has no export{f' {name}' if name else ''} to undo: export_runs lists the runs."
            if not chosen
            else f"The run {run_id} had several exports: name one with --export ({', '.join(sorted(names))})."
        )
    return chosen.pop()


def _way_back(export: Any, move_to: str | None, unsubscribe: bool) -> Any:
    """How those whom the run added are removed: as the command says, else as the export removes people."""
    from icontact_assets.settings.models import Remove

    if move_to is not None and unsubscribe:
        raise _Found("Choose one of --move-to and --unsubscribe.")
    if move_to is not None or unsubscribe:
        return Remove(move_to=move_to)
    if export.remove is None:
        raise _Found(
            f"The export {export.name} removes nobody, so say where those go whom the run added: "
            "--move-to LIST (they can come back) or --unsubscribe (they cannot)."
        )
    return export.remove


def _show(place: Any, export: Any, planner: Callable[[Any, Any], Any], as_json: bool) -> None:
    """Make a plan, store it as shown, and print it."""
    from icontact_assets.exports.record import Record

    made = planner(place, export)
    Record(place, export, "").show(made, place.clock())
    facts = _plan_facts(made)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    rows = []
    for key, value in facts.items():
        if key == "plan":
            continue
        if isinstance(value, dict):
            value = [f"{count} {reason}" for reason, count in value.items()]
        rows.append((key.replace("_", " "), value if isinstance(value, list) else str(value)))
    show(rows, headers=("plan", facts["plan"]))


_SAMPLE = 10


def _plan_facts(made: Any) -> dict[str, Any]:
    """What a plan says, by contact ids and counts only."""
    from collections import Counter

    def sample(ids: Any) -> str:
        chosen = list(ids)
        return ", ".join(chosen[:_SAMPLE]) + (" ..." if len(chosen) > _SAMPLE else "")

    back = [permit for permit in made.removals if permit.list_id != made.live.list_id]
    away = [permit for permit in made.removals if permit.list_id == made.live.list_id]
    reasons = Counter(denial.reason for denial in made.denials) + Counter(
        denied.denial.reason for denied in made.denied_removals
    )
    return {
        "plan": made.hash,
        "export": made.export,
        "mode": made.mode,
        "list": f"{made.live.name} ({made.live.list_id}), {made.live.size} people",
        "members": made.members,
        "add": len(made.additions),
        "add_ids": sample(permit.contact_id for permit in made.additions),
        "move_back": len(back),
        "move_back_ids": sample(permit.contact_id for permit in back),
        "remove": len(away),
        "remove_ids": sample(permit.contact_id for permit in away),
        "already_subscribed": len(made.already),
        "waiting_for_the_pace": len(made.waiting),
        "quiet_until": made.quiet_until.isoformat() if made.quiet_until else None,
        "skipped": dict(reasons + Counter([*made.unmatched.values(), *made.left_out.values()])),
        "external_changes": made.foreign.text(),
        "limits_exceeded": [item.text for item in made.exceeded],
    }


def _apply(place: Any, export: Any, planner: Callable[[Any, Any], Any], plan_hash: str, **more: str) -> None:
    from uuid import uuid4

    from icontact_assets.exports.run import run_export

    run_id = str(uuid4())
    report = run_export(
        place,
        export,
        run_id=run_id,
        planner=planner,
        exactly=plan_hash,
        waiting=lambda text: say(text, error=True),
        **more,
    )
    say(
        f"Run {run_id}: {report.added} people added, {report.removed} removed, {sum(report.refused.values())} refused, "
        f"{sum(report.failed.values())} failed, {report.remaining} remain"
        f"{f' until {report.next_at:%Y-%m-%d %H:%M} UTC' if report.next_at else ''}."
    )
    if report.violations:
        raise _fail(
            f"{len(report.violations)} people were put on the list though they may not be mailed: "
            f"{', '.join(report.violations[:_SAMPLE])}. Run `icontact-assets undo {run_id}`."
        )


@app.command()
def explain(
    contact_id: Annotated[str, typer.Argument(help="iContact contact id.")],
    audience: Annotated[str, typer.Option("--audience", help="Name of the audience.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether a contact is in an audience, since when, and which parts of the condition it meets."""
    import orjson

    from icontact_assets.audiences import explain as explain_module
    from icontact_assets.icontact.values import as_id
    from icontact_assets.mapping.expressions import field_table
    from icontact_assets.resources import open_warehouse
    from icontact_assets.settings.load import load_settings

    id_ = as_id(contact_id)
    if id_ is None:
        raise _fail("A contact is named by its iContact contact id, a number: the column ic_contact_id.")
    fields = [*field_table("icontact_users"), *field_table("icontact_activity")]
    try:
        settings = load_settings()
        wanted = settings.audience(audience)
        explanation = explain_module.explain(
            open_warehouse(settings),
            wanted.import_name,
            wanted,
            id_,
            public={"deleted_at", *(field.name for field in fields if not field.personal)},
        )
    except _expected() as error:
        raise _fail(str(error)) from error
    if as_json:
        options = orjson.OPT_NAIVE_UTC | orjson.OPT_NON_STR_KEYS
        # Written again, so that every character that is not ASCII is escaped, as in the other commands.
        typer.echo(json.dumps(orjson.loads(orjson.dumps(explanation, option=options)), indent=2))
    else:
        say(explain_module.render(explanation))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def sandbox(context: typer.Context) -> None:
    """Serve an iContact of one's own on loopback: --port --seed --contacts --messages --days (--help for all)."""
    os.execv(sys.executable, [sys.executable, "-m", "icontact_assets.sandbox", *context.args])  # noqa: S606


@app.command()
def demo(
    home: Annotated[Path, typer.Option(help="Where the demo keeps its data; emptied first.")] = Path(".icontact/demo"),
    ui: Annotated[bool, typer.Option("--ui", help="Open the Dagster UI on the demo's data.")] = False,
    port: Annotated[int, typer.Option(help="Port of the UI.")] = 3000,
) -> None:
    """Run the main job against a sandbox: from iContact to tables, and an audience back to a list."""
    from icontact_assets import demo as demo_module

    try:
        if ui:
            demo_module.ui(home, port)
        else:
            demo_module.run(home)
    except demo_module.DemoFailed as error:
        raise _fail(str(error)) from error


if __name__ == "__main__":
    app()
