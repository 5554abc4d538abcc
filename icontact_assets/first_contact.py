"""The command for the first day with an account: probe. `cli.py` adds it to the others."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icontact_assets.commands import ImportName, Json, one_import, settings_of_this_environment
from icontact_assets.errors import UserError
from icontact_assets.terminal import Cell, busy, say, show

if TYPE_CHECKING:
    from icontact_assets.probe.findings import Finding, Setting
    from icontact_assets.probe.sight import Sight
    from icontact_assets.settings.models import Import, Settings
    from icontact_assets.trial import Held, Wanted

app = typer.Typer()

NOT_HANDLED = 3
"""The exit code when something was found that is not handled."""
INTERRUPTED = 130

_PASSWORD_OF_NOBODY = "icontact-assets-probe"  # noqa: S105 (it is wrong on purpose)
_GROUPS = (
    (None, "nothing to see it on"),
    ("handled", "handled as it is"),
    ("set", "a setting to change"),
    ("report", "not handled: please report"),
)


@app.command()
def probe(
    import_name: ImportName = None,
    as_json: Json = False,
    profile: Annotated[
        Path | None, typer.Option("--profile", help="Also write what was found to this file, without personal data.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Try writes instead, on a contact and lists that you made for this.")
    ] = False,
    list_: Annotated[str | None, typer.Option("--list", help="An empty list for --write, by id or name.")] = None,
    other_list: Annotated[str | None, typer.Option(help="A second empty list, to try moves with.")] = None,
    contact: Annotated[str | None, typer.Option(help="Id of a contact of your own, for --write.")] = None,
) -> None:
    """Find out how iContact answers for this account.

    Only by reading, with at most 60 requests, within the budget.

    Exit code 0: all that was found is handled. 3: something is not. Ctrl-C shows what was found until then.

    With --write it sends at most 12 writes, to one contact on one or two lists, once the name of the list was typed.
    """
    from importlib.metadata import version

    from icontact_assets.probe.asking import Place, look
    from icontact_assets.probe.client import Client
    from icontact_assets.probe.profile import profile as profile_of
    from icontact_assets.probe.profile import write_profile
    from icontact_assets.probe.report import findings, is_handled
    from icontact_assets.probe.sight import Sight
    from icontact_assets.resources import open_look
    from icontact_assets.trial import Wanted

    settings = settings_of_this_environment()
    import_ = one_import(settings, import_name)
    if write or list_ or other_list or contact:
        if not (write and list_ and contact):
            raise typer.BadParameter("--write, --list and --contact go together.")
        _try_writes(settings, import_, Wanted(contact, list_, other_list), as_json=as_json, profile=profile)
        return
    place, sight, interrupted = Place(*import_.ready()), Sight(), False
    wrong_password = open_look(settings, import_, password=_PASSWORD_OF_NOBODY)
    with busy() as progress:
        try:
            look(Client(open_look(settings, import_), progress=progress), place, sight, wrong_password)
        except KeyboardInterrupt:
            sight.stopped, interrupted = "interrupted", True
    if sight.is_empty() and not interrupted:
        raise UserError(
            f"Nothing was found: {(sight.stopped or 'no page came').rstrip('.')}. `icontact-assets doctor` says "
            "what to mend."
        )
    found = findings(sight)
    if profile is not None:
        write_profile(profile, profile_of(sight, found, datetime.now(UTC), version("icontact_assets")))
    if as_json:
        typer.echo(json.dumps(_facts(sight, found), indent=2))
    else:
        _show(sight, found, import_.label)
        if profile is not None:
            say(f"{profile} holds what was found, without personal data. docs/first-contact.md says how to report it.")
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if not is_handled(found):
        raise typer.Exit(NOT_HANDLED)


def _try_writes(settings: Settings, import_: Import, wanted: Wanted, *, as_json: bool, profile: Path | None) -> None:
    """Hold a trial, and show how it ended, however that was."""
    from icontact_assets.probe.profile import add_answers, read_profile
    from icontact_assets.probe.report import is_handled
    from icontact_assets.probe.trial import MOST_WRITES
    from icontact_assets.trial import hold_trial

    if profile is not None:
        # Better now than after the writes.
        read_profile(profile)

    def end(held: Held) -> None:
        if profile is not None:
            add_answers(profile, held.findings)
        if as_json:
            facts = {"writes": held.writes, "left": held.left, "findings": _rows(held.findings)}
            typer.echo(json.dumps(facts, indent=2))
        else:
            counts = _show_groups(held.findings)
            say("\n".join([f"{held.writes} of at most {MOST_WRITES} writes. {'; '.join(counts)}.", *held.left]))

    if not is_handled(hold_trial(settings, import_, wanted, end)):
        raise typer.Exit(NOT_HANDLED)


def _rows(found: list[Finding]) -> list[dict[str, Any]]:
    return [
        {
            "key": finding.key,
            "answer": finding.answer,
            "found": finding.words,
            "seen": finding.seen,
            "verdict": finding.verdict,
            "means": finding.meaning.text if finding.meaning else None,
        }
        for finding in found
    ]


def _facts(sight: Sight, found: list[Finding]) -> dict[str, Any]:
    from icontact_assets.probe.report import settings as settings_of

    return {
        "requests": sight.requests,
        "stopped": sight.stopped,
        "findings": _rows(found),
        "settings": [{"name": setting.name, "lines": list(setting.lines)} for setting in settings_of(found)],
    }


def _show(sight: Sight, found: list[Finding], label: str) -> None:
    from icontact_assets.probe.report import settings as settings_of

    counts = _show_groups(found)
    for setting in settings_of(found):
        say(_snippet(setting, label))
    if sight.stopped is not None:
        say(f"Not everything was looked at: {sight.stopped.rstrip('.')}.", error=True)
    say(f"{sight.requests} requests. {'; '.join(counts)}.")


def _show_groups(found: list[Finding]) -> list[str]:
    """Print the findings by what follows from them. Returns how many each group has, in words."""
    counts = []
    for verdict, title in _GROUPS:
        group = [finding for finding in found if finding.verdict == verdict]
        counts.append(f"{len(group)} {title}")
        if group:
            show([_row(finding) for finding in group], headers=("unknown", "found"), title=title, sentences=True)
    return counts


def _row(finding: Finding) -> tuple[Cell, Cell]:
    from icontact_assets.probe.questions import BY_KEY, UNKNOWN

    counts = [_counted(count, what) for what, count in finding.seen.items()]
    # What the words say already is not said again.
    seen = ", ".join(text for text in counts if not re.search(rf"\b{text}", finding.words))
    words = f"{finding.words} ({seen})" if seen else finding.words
    asks = BY_KEY[finding.key].asks
    answer = str(finding.answer).lower() if isinstance(finding.answer, bool) else str(finding.answer)
    if finding.answer == UNKNOWN or finding.meaning is None:
        return finding.key, f"{asks}: {words}"
    return finding.key, [f"{asks}: {answer}", words, f"=> {finding.meaning.text}"]


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what[:-1] if count == 1 and what.endswith('s') else what}"


def _snippet(setting: Setting, label: str) -> str:
    if not setting.in_yaml:
        return f"{setting.name} would fit this account better. In .env, or in the environment:\n\n{setting.lines[0]}\n"
    lines = "\n".join(f"    {line}" for line in setting.lines)
    return f"{setting.name} would fit this account better. In icontact.yaml, at the import {label}:\n\n{lines}\n"
