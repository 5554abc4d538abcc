"""The command `compare`: an export of another system beside our profiles. `cli.py` adds it to the others."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icontact_assets.commands import ImportName, Json, one_import, settings_of_this_environment
from icontact_assets.terminal import say, show

if TYPE_CHECKING:
    from icontact_assets.comparison.comparison import Comparison

app = typer.Typer()


@app.command()
def compare(
    file: Annotated[
        Path, typer.Argument(help="The export: CSV with a header, JSON lines or a JSON array, plain or gzip.")
    ],
    import_name: ImportName = None,
    columns: Annotated[
        list[str] | None, typer.Option("--column", metavar="THEIRS=OURS", help="A column that has another name there.")
    ] = None,
    exported_at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When the export was made, in ISO 8601 (UTC). By default when the file was."),
    ] = None,
    allowed: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="[FIELD=]PERCENT",
            help="How many percent may differ without an explanation: 0 by default.",
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Make a page to send of it, too.")] = None,
    as_json: Json = False,
) -> None:
    """Compare profiles of another system with ours, and say why.

    It compares the file that the other system exported field by field.

    It reads the published copy. It shows contact ids and no other value of a person. Exit code 3: more differs without
    an explanation than --allow says.
    """
    from icontact_assets.comparison.comparison import compare as compared
    from icontact_assets.comparison.export_file import made_at
    from icontact_assets.comparison.verdict import Rule, facts, verdict
    from icontact_assets.resources import reading_import

    settings = settings_of_this_environment()
    import_ = one_import(settings, import_name)
    rule, renamed = Rule.parsed(allowed or []), _renamed(columns or [])
    at = made_at(file) if exported_at is None else _instant(exported_at)
    with reading_import(settings, import_) as connection:
        found = compared(connection, file, renamed=renamed, exported_at=at, aid=import_.filter_by_aid)
    said = verdict(found, rule)
    if html is not None:
        from icontact_assets.comparison.page import render
        from icontact_assets.pages import write_page

        write_page(html, render(found, said, import_.label, datetime.now(UTC)), settings.readers)
    if as_json:
        typer.echo(json.dumps(facts(found, rule), indent=2))
    else:
        _show(found)
        say("\n".join([*said.sentences, said.headline]))
    if not said.good:
        raise typer.Exit(3)


def _renamed(columns: list[str]) -> dict[str, str]:
    """The field of each column that --column names."""
    renamed = {}
    for column in columns:
        theirs, _, ours = column.rpartition("=")
        if not theirs or theirs in renamed:
            raise typer.BadParameter("write --column THEIRS=OURS, each column once.")
        renamed[theirs] = ours
    return renamed


def _instant(text: str) -> datetime:
    """An aware instant. Without an offset it is UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"--exported-at {text} is no time. Write it as 2026-01-31T09:30:00Z.") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _show(found: Comparison) -> None:
    """Print what differs as tables."""
    from icontact_assets.comparison.verdict import differences

    show(
        [
            (
                one.name,
                *(
                    f"{n:,}"
                    for n in (one.equal, one.differing, one.only_there, one.only_here, one.both_absent, one.unexplained)
                ),
            )
            for one in found.fields
        ],
        headers=("field", "equal", "differing", "only there", "only here", "both absent", "not explained"),
        title=f"{found.export.form} of {found.exported_at:%Y-%m-%d %H:%M} UTC, {found.compared:,} profiles",
        numbers=True,
    )
    if causes := differences(found):
        show(
            [(name, one.cause.value, f"{one.count:,}", ", ".join(one.contact_ids)) for name, one in causes],
            headers=("field", "cause", "profiles", "contact ids"),
        )
