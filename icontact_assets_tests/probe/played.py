"""The probe against a sandbox whose switches are set: which sets are played, and what is found."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, get_args

from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.looking import Looking
from icontact_assets.icontact.session import Credentials
from icontact_assets.probe.asking import Place, look
from icontact_assets.probe.client import Client
from icontact_assets.probe.findings import Finding
from icontact_assets.probe.questions import QUESTIONS
from icontact_assets.probe.report import findings
from icontact_assets.probe.sight import Sight
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.sandbox.switches import Switches

WORLD: dict[str, Any] = {"seed": 5, "contacts": 1500, "messages": 40, "days": 90, "now": "2026-11-24T12:00:00Z"}
"""A world in which there is something to see everything on."""

PLACE = Place("1300001", "7601")

_NUMBERS: dict[str, tuple[int, ...]] = {
    "page_limit_rows": (7, 100),
    "messages_limit_rows": (10,),
    "activity_limit_rows": (100,),
    "max_url_length": (700,),
    "max_list_values": (20, 50),
    "retention_days": (20,),
    "requests_per_minute": (10,),
    "requests_per_day": (20,),
}
_BESIDE: dict[str, dict[str, Any]] = {
    "limit_reply": {"requests_per_minute": 10},
    "ever": {"retention_days": 20},
}
"""Without these beside it, a switch or a value has no effect."""


def plays() -> list[tuple[str, dict[str, Any]]]:
    """Each reading of each unknown that the probe is asked about: the key, and the switches to set."""
    found = []
    for key, field in Switches.model_fields.items():
        if key not in {question.key for question in QUESTIONS}:
            continue
        values = (True, False) if field.annotation is bool else get_args(field.annotation) or _NUMBERS[key]
        for value in values:
            beside = _BESIDE.get(key) or _BESIDE.get(str(value), {})
            if value != field.default or beside:
                found.append((key, {key: value, **beside}))
    return found


class Sights:
    """Probes one sandbox again and again. Waits take no time: the sandbox's clock goes forward instead."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        budget = Budget(CountFile(folder, "probe"), per_second=0, per_minute=0, per_day=0)
        right, wrong = (Credentials("sandbox-app", "sandbox-user", word) for word in ("sandbox-pass", "of nobody"))
        self._get = Looking(sandbox.url, right, budget).look
        self._wrong = Looking(sandbox.url, wrong, budget).look
        self.waited = 0.0
        self.said: list[str] = []

    def probe(self, **switches: Any) -> Sight:
        """What is seen of the sandbox as it is, with these switches."""
        if switches:
            self.sandbox.control("switches", **switches)
        sight = Sight()
        client = Client(
            self._get, progress=self.said.append, sleep=self._sleep, clock=lambda: time.monotonic() + self.waited
        )
        look(client, PLACE, sight, self._wrong)
        return sight

    def _sleep(self, seconds: float) -> None:
        self.waited += seconds
        self.sandbox.control("clock", advance=seconds + 1)


def found(sight: Sight) -> dict[str, Finding]:
    """The findings by key."""
    return {finding.key: finding for finding in findings(sight)}
