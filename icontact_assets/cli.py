"""The command line `icontact-assets`. Heavy packages are imported only by the commands that need them."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from icontact_assets.commands import (
    First,
    ImportName,
    Json,
    Last,
    days_asked,
    one_import,
    settings_of_this_environment,
)
from icontact_assets.commands import app as commands
from icontact_assets.compare import app as compare
from icontact_assets.errors import UserError
from icontact_assets.first_contact import app as first_contact
from icontact_assets.terminal import NO, say, show
from icontact_assets.transfer import app as transfer

if TYPE_CHECKING:
    from icontact_assets.exports.context import ExportContext
    from icontact_assets.exports.plan import Plan
    from icontact_assets.exports.undo import Undo
    from icontact_assets.settings.models import Export, Remove


class _Commands(TyperGroup):
    """Commands whose errors that a user can do something about are shown as they are, without a traceback."""

    def invoke(self, ctx: Any) -> Any:  # Which click typer uses depends on its version.
        try:
            return super().invoke(ctx)
        except UserError as error:
            say(str(error), error=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=_Commands,
    help="iContact contacts and activity in tables of your own, and audiences back on lists.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help: what draws boxes around it takes as long to import as all the rest of a start.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(commands)
app.add_typer(first_contact)
app.add_typer(compare)
app.add_typer(transfer)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"icontact-assets {version('icontact_assets')}")
        raise typer.Exit


@app.callback()
def _begin(
    context: typer.Context,
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    # As Ctrl-C does: what has begun is recorded, locks are released.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Another folder's credentials are not those of a new one.
    if context.invoked_subcommand != "init":
        _load_env_file()


def _load_env_file() -> None:
    """Set the variables of .env in the working folder, as Dagster does: they have precedence."""
    if not os.path.isfile(".env"):
        return
    from dotenv import load_dotenv

    try:
        load_dotenv(".env", override=True)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{os.path.abspath('.env')} cannot be read ({type(error).__name__}): let this user read it, as UTF-8."
        ) from error


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Made if it is missing. No file in it is overwritten.")] = Path(),
    app_id: Annotated[str | None, typer.Option(envvar="ICONTACT_APP_ID", help="Id of the application.")] = None,
    username: Annotated[
        str | None, typer.Option(envvar="ICONTACT_API_USERNAME", help="User name of the account.")
    ] = None,
    account: Annotated[str | None, typer.Option(envvar="ICONTACT_ACCOUNT_ID", help="Id of the account.")] = None,
    client_folder: Annotated[
        str | None, typer.Option(envvar="ICONTACT_CLIENT_FOLDER_ID", help="Id of the client folder.")
    ] = None,
) -> None:
    """Make the folder of an account.

    It gets icontact.yaml, .env, dagster/dagster.yaml and .gitignore.

    Asks for what no option and no variable says. The password is asked for hidden, or comes from ICONTACT_API_PASSWORD.
    """
    from icontact_assets.init import ask, choose_client_folder, make_folder, refuse_if_used

    refuse_if_used(folder)
    credentials = ask(app_id, username)
    if account is None or client_folder is None:
        account, client_folder = choose_client_folder(credentials, account, client_folder)
    make_folder(folder, credentials, account, client_folder)
    say(f"{folder.resolve()} is ready. Go there, and run `icontact-assets doctor`.")


@app.command()
def doctor(import_name: Annotated[str | None, typer.Option("--import", help="Check this import only.")] = None) -> None:
    """Check everything that a run needs.

    That is settings, database, connection, credentials, account and client folder. Shows the remedy for what is wrong.
    """
    from icontact_assets.doctor import examine

    findings = list(examine(settings_of_this_environment(), import_name, os.environ.get("DAGSTER_HOME")))
    show(findings, sentences=True)
    if any(finding.mark is NO for finding in findings):
        raise typer.Exit(1)
    say("Before the first load: `icontact-assets probe` finds out, only by reading, how iContact answers for you.")


@app.command()
def discover(as_json: Json = False) -> None:
    """List the accounts, client folders and lists of the credentials.

    Each is shown with its id.
    """
    from icontact_assets.discover import VisibleFolder, VisibleList, visible_accounts

    found = visible_accounts(settings_of_this_environment())
    if as_json:
        typer.echo(json.dumps([asdict(account) for account in found], indent=2))
        return
    rows = [
        (
            account.account_id,
            str(account.company or ""),
            "yes" if account.enabled else "no",
            folder.client_folder_id,
            str(list_.list_id or ""),
            str(list_.name or ""),
        )
        for account in found
        for folder in account.client_folders or (VisibleFolder("", ()),)
        for list_ in folder.lists or (VisibleList(None, None),)
    ]
    show(rows, headers=("account", "company", "enabled", "client folder", "list", "name"))


@app.command()
def forecast(import_name: ImportName = None, first: First = None, last: Last = None, as_json: Json = False) -> None:
    """Show how many requests a run over some days will send.

    Shows how long it takes, and how far today's budget reaches, too.
    Without days: the week that the daily schedule asks for. It reads what is stored. Only if nothing was ever read does
    it ask iContact, for four totals.
    """
    from icontact_assets.ingest.window import Window
    from icontact_assets.resources import forecast_window

    settings = settings_of_this_environment()
    import_ = one_import(settings, import_name)
    week = Window.trailing(import_.start_date, datetime.now(UTC))
    window = Window(first.date() if first else week.first, last.date() if last else week.last)
    days_asked(import_, first and window.first, last and window.last)
    if window.last < window.first:
        raise UserError(f"--from {window.first} is later than --to {window.last}: name both days.")
    expected = forecast_window(settings, import_, window)
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
    as_json: Json = False,
) -> None:
    """Show what an export would do now.

    Shows counts, reasons, ids, and the hash to approve or apply it by.
    """
    from icontact_assets.exports.facts import make_plan

    context, export = _export(name)
    _show(context, make_plan(context, export), as_json)


@app.command()
def apply(
    name: Annotated[str, typer.Argument(help="Name of the export.")],
    plan_hash: Annotated[
        str, typer.Option("--plan", help="Hash of the plan, as `plan` printed it within the last 24 hours.")
    ],
) -> None:
    """Apply a plan of an export, if it still has this hash.

    The export is planned again for that.
    """
    _apply(*_export(name), plan_hash)


@app.command()
def undo(
    run_id: Annotated[str, typer.Argument(help="Id of the run, as Dagster or export_runs shows it.")],
    name: Annotated[str | None, typer.Option("--export", help="Which export, if the run had several.")] = None,
    move_to: Annotated[str | None, typer.Option(help="Move those it added to this list.")] = None,
    unsubscribe: Annotated[bool, typer.Option("--unsubscribe", help="Unsubscribe those it added, for good.")] = False,
    plan_hash: Annotated[str | None, typer.Option("--plan", help="Apply the rollback plan of this hash.")] = None,
    as_json: Json = False,
) -> None:
    """Show the rollback plan of a run. With --plan, apply it. The next run starts from the audience again."""
    from icontact_assets.exports.undo import Undo, plan_undo

    context, export = _export(_export_of_run(run_id, name))
    undo = Undo(run_id, _rollback_way(export, move_to, unsubscribe))
    if plan_hash is None:
        _show(context, plan_undo(context, export, undo), as_json)
    else:
        _apply(context, export, plan_hash, undo)


def _export(name: str) -> tuple[ExportContext, Export]:
    from icontact_assets.resources import open_export

    settings = settings_of_this_environment()
    export = settings.export(name)
    return open_export(settings, export), export


def _export_of_run(run_id: str, name: str | None) -> str:
    from icontact_assets.exports.undo import exports_of_run
    from icontact_assets.resources import open_import

    settings = settings_of_this_environment()
    names: set[str] = set()
    for import_ in sorted(
        {settings.import_of(export) for export in settings.exports}, key=lambda import_: import_.name
    ):
        names.update(exports_of_run(open_import(settings, import_), run_id))
    chosen = names if name is None else names & {name}
    if len(chosen) != 1:
        raise UserError(
            f"The run {run_id} has no export{f' {name}' if name else ''} to undo: export_runs lists the runs."
            if not chosen
            else f"The run {run_id} had several exports: name one with --export ({', '.join(sorted(names))})."
        )
    return chosen.pop()


def _rollback_way(export: Export, move_to: str | None, unsubscribe: bool) -> Remove:
    """How the people that the run added are removed: as the command says, else as the export removes people."""
    from icontact_assets.settings.models import Remove

    if move_to is not None and unsubscribe:
        raise UserError("Choose one of --move-to and --unsubscribe.")
    if move_to is not None or unsubscribe:
        return Remove(move_to=move_to)
    if export.remove is None:
        raise UserError(
            f"The export {export.name} removes nobody, so say what becomes of the people that the run "
            "added: --move-to LIST (they can come back) or --unsubscribe (they cannot)."
        )
    return export.remove


def _show(context: ExportContext, made: Plan, as_json: bool) -> None:
    """Store a plan as shown, and print it."""
    from icontact_assets.exports.approvals import show_plan
    from icontact_assets.exports.shown import plan_facts, sample

    show_plan(context.warehouse, made, context.clock())
    facts = plan_facts(made)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    rows = []
    for key, value in facts.items():
        if key == "plan":
            continue
        if key.endswith("_ids"):
            value = sample(value)
        if isinstance(value, dict):
            value = [f"{count} {reason}" for reason, count in value.items()]
        rows.append((key.replace("_", " "), value if isinstance(value, list) else str(value)))
    show(rows, headers=("plan", facts["plan"]))


def _apply(context: ExportContext, export: Export, plan_hash: str, undo: Undo | None = None) -> None:
    from uuid import uuid4

    from icontact_assets.exports.run import run_export
    from icontact_assets.exports.shown import sample

    run_id = str(uuid4())
    try:
        report = run_export(
            context,
            export,
            run_id=run_id,
            undo=undo,
            exactly=plan_hash,
            waiting=lambda text: say(text, error=True),
        )
    finally:
        _publish()
    say(
        f"Run {run_id}: {report.added} people added, {report.removed} removed, {sum(report.refused.values())} refused, "
        f"{sum(report.failed.values())} failed, {report.remaining} remain"
        f"{f' until {report.next_at:%Y-%m-%d %H:%M} UTC' if report.next_at else ''}."
    )
    if report.violations:
        raise UserError(
            f"{len(report.violations)} people were put on the list though they may not be mailed: "
            f"{sample(report.violations)}. Run `icontact-assets undo {run_id}`."
        )


def _publish() -> None:
    from icontact_assets.resources import storage_of

    try:
        storage_of(settings_of_this_environment()).publish()
    except UserError as error:
        say(f"Whoever reads the published copy sees the tables of before. {error}", error=True)


@app.command()
def explain(
    contact_id: Annotated[str, typer.Argument(help="iContact contact id.")],
    audience: Annotated[str, typer.Option("--audience", help="Name of the audience.")],
    as_json: Json = False,
) -> None:
    """Show whether a contact is in an audience, and why.

    Shows since when, and which parts of the condition it meets.
    """
    import orjson

    from icontact_assets.audiences import explain as explain_module
    from icontact_assets.icontact.values import as_id
    from icontact_assets.mapping.expressions import field_table
    from icontact_assets.resources import open_import

    id_ = as_id(contact_id)
    if id_ is None:
        raise UserError("A contact is named by its iContact contact id, a number: the column ic_contact_id.")
    fields = [*field_table("icontact_users"), *field_table("icontact_activity")]
    settings = settings_of_this_environment()
    wanted = settings.audience(audience)
    explanation = explain_module.explain(
        open_import(settings, settings.import_named(wanted.import_name)),
        wanted,
        id_,
        public={"deleted_at", *(field.name for field in fields if not field.personal)},
    )
    if as_json:
        options = orjson.OPT_NAIVE_UTC | orjson.OPT_NON_STR_KEYS
        # Written again, so that every character that is not ASCII is escaped, as in the other commands.
        typer.echo(json.dumps(orjson.loads(orjson.dumps(explanation, option=options)), indent=2))
    else:
        say(explain_module.render(explanation))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def sandbox(context: typer.Context) -> None:
    """Run a local fake iContact server.

    Some options: --port --seed --contacts --messages --days. --help shows all.
    """
    _require_sandbox()
    os.execv(sys.executable, [sys.executable, "-m", "icontact_assets.sandbox", *context.args])  # noqa: S606


@app.command()
def demo(
    home: Annotated[Path, typer.Option(help="Where the demo keeps its data; emptied first.")] = Path(".icontact/demo"),
    ui: Annotated[bool, typer.Option("--ui", help="Open the Dagster UI on the demo's data.")] = False,
    port: Annotated[
        int | None, typer.Option(help="Port of the UI: 3000, or a free one if that is taken.", show_default=False)
    ] = None,
) -> None:
    """Run the main job against a local fake iContact server.

    From iContact to tables, and an audience back to a list.
    """
    _require_sandbox()
    if ui and find_spec("dagster_dg_cli") is None:
        raise UserError("The UI needs the extra `dg`: pip install 'icontact_assets[dg,sandbox]'.")
    from icontact_assets import demo as demo_module

    if ui:
        demo_module.ui(home, port)
    else:
        demo_module.run(home)


def _require_sandbox() -> None:
    missing = [name for name in ("faker", "uvicorn", "httptools") if find_spec(name) is None]
    if missing:
        raise UserError(
            f"The sandbox needs packages that are not installed: {', '.join(missing)}. Install the extra `sandbox`: "
            "pip install 'icontact_assets[sandbox]'."
        )


if __name__ == "__main__":
    app()
