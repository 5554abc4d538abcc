"""A client folder with a contact and lists for a trial of writes, and which ways to answer writes are played."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.session import Session
from icontact_assets.probe.findings import Finding
from icontact_assets.probe.questions import WRITE_QUESTIONS
from icontact_assets.probe.trial import Trial
from icontact_assets.probe.write import WriteProbe
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.sandbox.switches import Switches
from icontact_assets_tests.icontact.test_session import CREDENTIALS

ME, SOMEBODY = 11, 12
MINE, EMPTY, OTHERS = 6001, 6002, 6003
DEFAULT = {
    "bulk_failure": "skip", "post_existing_subscription": "existing", "move": "works", "move_existing": "merge",
    "unsubscribe": "works", "resubscribe": "skip", "move_unsubscribed": "carry", "refusal_names": "id",
    "write_delay_seconds": 0,
}  # fmt: skip


class Bench:
    """A client folder with a contact and lists for a trial, and one list with somebody else."""

    def __init__(self, sandbox: Sandbox, home: Path) -> None:
        self.sandbox = sandbox
        budget = Budget(CountFile(home, "a"), per_second=0, per_minute=0, per_day=0)
        session = Session(sandbox.url, CREDENTIALS, budget, tries=1)
        self.folder = Folder(session, "1300001", "7601")
        self.told: list[str] = []
        self.now = 0.0
        for contact_id in (ME, SOMEBODY):
            sandbox.control("contacts/add", contact_id=contact_id, email=f"planted{contact_id}@mail.example")
        for list_id, name in ((MINE, "Trial"), (EMPTY, "Second"), (OTHERS, "Others")):
            sandbox.control("lists/add", list_id=list_id, name=name)
        self.put(OTHERS, SOMEBODY)

    def put(self, list_id: int, contact_id: int = ME, status: str = "normal") -> None:
        self.sandbox.control("subscriptions/set", list_id=list_id, contact_id=contact_id, status=status)

    def open(self, home: str = "Trial", other: str | None = "Second", contact: str = str(ME)) -> Trial:
        trial = Trial(self.folder, contact, home, other, reserved=("Export target",), tell=self.told.append)
        trial.check()
        return trial

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.sandbox.control("clock", advance=seconds)

    def probe(self, trial: Trial) -> WriteProbe:
        return WriteProbe(trial, sleep=self.wait, clock=lambda: self.now)

    def findings(self, trial: Trial) -> dict[str, Finding]:
        """All that a trial finds out, by key."""
        probe = self.probe(trial)
        probe.run()
        return {finding.key: finding for finding in probe.all_findings()}

    def run(self, trial: Trial) -> dict[str, Any]:
        """The answers."""
        return {key: finding.answer for key, finding in self.findings(trial).items()}

    def states(self) -> dict[int, str]:
        rows = self.sandbox.control("truth?resource=subscriptions")
        return {int(row["list_id"]): row["status"] for row in rows if row["contact_id"] == str(ME)}

    def writes(self) -> list[dict[str, Any]]:
        return [row for row in self.sandbox.control("log") if row["method"] != "GET"]


def write_plays() -> list[tuple[str, dict[str, Any]]]:
    """Each way to answer a write that a trial is asked about: the key, and the switch to set."""
    found: list[tuple[str, dict[str, Any]]] = []
    for question in WRITE_QUESTIONS:
        switch = Switches.model_fields.get(question.key)
        if switch is not None:
            values = get_args(switch.annotation) or (5,)
            found += [(question.key, {question.key: value}) for value in values if value != switch.default]
    return found
