"""The command `warehouse copy`: all tables from the database file into the lake, and back. `cli.py` adds it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from icontact_assets.commands import settings_of_this_environment
from icontact_assets.terminal import busy, say, show

app = typer.Typer()
warehouse = typer.Typer(no_args_is_help=True, help="What is about all tables at once.")
app.add_typer(warehouse, name="warehouse")


class Place(StrEnum):
    """Where tables are copied to."""

    LAKE = "lake"
    FILE = "file"


@warehouse.command()
def copy(
    to: Annotated[Place, typer.Option(help="The place that gets the tables. They are read from the other one.")],
) -> None:
    """Copy all tables of all imports from the database file into the lake, or back, and prove that they are the same.

    The requests of the last day count in the new place too.

    Stop Dagster before: nothing may run meanwhile. After a kill, the same command copies what is missing.
    """
    from icontact_assets.resources import file_and_lake, take_over_counts
    from icontact_assets.warehouse.transfer import copy as copied
    from icontact_assets.warehouse.transfer import other_schemas

    settings = settings_of_this_environment()
    file, lake = file_and_lake(settings)
    source, target = (file, lake) if to is Place.LAKE else (lake, file)
    with busy() as tell:
        tables = list(copied(source, target, waiting=tell, tell=tell))
        left = other_schemas(source)
        requests = take_over_counts(settings, to_lake=to is Place.LAKE)
    rows = [
        (f"{one.schema}.{one.table}", "was there" if one.was_there else "copied", f"{one.rows:,}") for one in tables
    ]
    show(rows, headers=("table", "what", "rows"), numbers=True)
    there = sum(one.was_there for one in tables)
    say(
        f"{len(tables) - there} tables were copied, and {there} were there already. {target.where} has what "
        f"{source.where} has: every table has the same rows in the same order."
    )
    say(f"Requests of the last day that were not counted there: {requests:,}. They are now.")
    if left:
        say(f"These schemas are of no import, and were left: {', '.join(left)}.")
    say(
        "Start Dagster again: it uses the lake, because ICONTACT_ASSETS_WAREHOUSE names it."
        if to is Place.LAKE
        else "Unset ICONTACT_ASSETS_WAREHOUSE and ICONTACT_ASSETS_DATA, and start Dagster again: it uses the file then."
    )
