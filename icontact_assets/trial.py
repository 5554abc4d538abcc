"""`icontact-assets probe --write`: opens a trial, has it confirmed by a person, and says how it ended."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from icontact_assets.probe.findings import Finding
from icontact_assets.probe.trial import MOST_WRITES, Trial, TrialError
from icontact_assets.probe.write import WriteProbe, left_behind
from icontact_assets.resources import open_folder
from icontact_assets.settings.models import Import, Settings
from icontact_assets.terminal import say


@dataclass(frozen=True)
class Wanted:
    """What somebody made for a trial. Lists are named by id or exact name."""

    contact_id: str
    home: str
    other: str | None


@dataclass(frozen=True)
class Held:
    """How a trial ended."""

    findings: list[Finding]
    writes: int
    left: list[str]
    """What is not as it was before, in sentences."""


def hold_trial(settings: Settings, import_: Import, wanted: Wanted, end: Callable[[Held], None]) -> list[Finding]:
    """Try writes on a contact and lists that somebody made for this. Returns what was found.

    Once writes may have been sent, `end` is called however it ends. Raises TrialError, SettingsError and the errors of
    iContact.
    """
    folder = open_folder(settings, import_)
    trial = Trial(folder, wanted.contact_id, wanted.home, wanted.other, reserved=_in_use(settings), tell=_tell)
    trial.check()
    _confirm(trial)
    # Somebody may have been put on the list while the question waited.
    trial.check()
    probe = WriteProbe(trial)
    try:
        probe.run()
    finally:
        end(Held(probe.all_findings(), trial.writes, left_behind(trial)))
    return probe.all_findings()


def _in_use(settings: Settings) -> set[str]:
    """The lists that exports are about, by id or name as they are written."""
    removed_to = {export.remove.move_to for export in settings.exports if export.remove is not None}
    return {name for name in {export.list for export in settings.exports} | removed_to if name is not None}


def _confirm(trial: Trial) -> None:
    """Have the name of the list typed. Raises TrialError."""
    id_ = trial.contact_id
    for list_ in trial.lists:
        _tell(f"The contact {id_} is {trial.now[list_.list_id]} on the list {list_.list_id} ({list_.name}).")
    where = "this list" if trial.other is None else "these lists"
    _tell(f"At most {MOST_WRITES} writes follow, to this contact on {where} only. They unsubscribe it, maybe for good.")
    _tell(f"To begin, type the name of the list {trial.home.list_id}:")
    # Standard output is for what was found, so that nothing may be asked there.
    typed = sys.stdin.readline().strip()
    if not typed or typed != trial.home.name.strip():
        raise TrialError(
            f"That is not the name of the list {trial.home.list_id}: nothing was written. Run it again to begin anew."
        )


def _tell(text: str) -> None:
    say(text, error=True)
