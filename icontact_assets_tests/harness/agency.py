"""An agency: a fake iContact with many accounts, each a sandbox of its own world and limits, at one address.

python -m icontact_assets_tests.harness.agency ACCOUNTS CONTACTS MESSAGES LATENCY
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from icontact_assets.sandbox.control import State
from icontact_assets.sandbox.seed import Plan
from icontact_assets.sandbox.server import CONTROL, PREFIX, Application, Receive, Scope, Transmit, serve
from icontact_assets.sandbox.service import variables
from icontact_assets.sandbox.switches import Switches
from icontact_assets.sandbox.world import ACCOUNT

DAYS = 3
FIRST = 1400000
"""The account ids count from here."""


@dataclass
class Agency:
    """Context manager around the process. Worlds differ by their seed alone. Their clocks stand still, so that every
    import of an account finds the same.

    `latency` is in seconds. An import asks its account for `per_second` requests at most, and 0 lifts that.
    """

    accounts: int
    contacts: int = 20
    messages: int = 2
    per_second: int = 0
    latency: float = 0.0
    url: str = field(default="", init=False)

    def __enter__(self) -> Self:
        numbers = (self.accounts, self.contacts, self.messages, self.latency)
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *map(str, numbers)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url, "the agency did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate()

    @property
    def names(self) -> list[str]:
        """The imports, one for each account."""
        return [f"account_{number:02}" for number in range(self.accounts)]

    def environment(self) -> dict[str, str]:
        """The variables with which the project speaks to it, request limits lifted but for that of a second."""
        return {
            **variables(self.url),
            "ICONTACT_REQUESTS_PER_SECOND": str(self.per_second),
            "ICONTACT_REQUESTS_PER_MINUTE": "0",
            "ICONTACT_REQUESTS_PER_DAY": "0",
            "ICONTACT_WORKERS": "1",
        }

    def config(self, first_day: str) -> str:
        """icontact.yaml."""
        rows = "".join(
            f"      - {{name: {name}, account: '{FIRST + number}', client_folder: '7601'}}\n"
            for number, name in enumerate(self.names)
        )
        return f"imports:\n  - name: clients\n    start_date: {first_day}\n    accounts:\n{rows}"

    def log(self, number: int) -> list[dict[str, Any]]:
        """The requests to an account, in the order of their arrival."""
        address = f"{self.url.removesuffix(PREFIX)}{CONTROL}{FIRST + number}/log"
        with urllib.request.urlopen(address, timeout=60) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def most_within(self, number: int, seconds: float) -> int:
        """The most requests to an account in any such time."""
        times = [row["time"] for row in self.log(number)]
        return max((sum(at <= other < at + seconds for other in times) for at in times), default=0)


class _Front:
    """The ASGI application: hands a request to the sandbox of its account, which knows one account."""

    def __init__(self, accounts: Mapping[str, Application], latency: float) -> None:
        self._accounts, self._latency = accounts, latency

    async def __call__(self, scope: Scope, receive: Receive, send: Transmit) -> None:
        before = CONTROL if scope["path"].startswith(CONTROL) else f"{PREFIX}/a/"
        account, _, rest = scope["path"].removeprefix(before).partition("/")
        scope["path"] = f"{before}{rest}" if before == CONTROL else f"{before}{ACCOUNT}/{rest}"
        if before != CONTROL:
            await asyncio.sleep(self._latency)
        await self._accounts[account](scope, receive, send)


def main(accounts: int, contacts: int, messages: int, latency: float) -> None:
    switches = Switches(requests_per_minute=0, requests_per_day=0)
    plans = {FIRST + number: Plan(number + 1, contacts, messages, DAYS) for number in range(accounts)}
    began = time.time()
    found = {str(id_): Application(State(plan, switches, began, frozen=True)) for id_, plan in plans.items()}
    serve(_Front(found, latency), 0, lambda url: print(url, flush=True))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), float(sys.argv[4]))
