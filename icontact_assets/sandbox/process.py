"""A sandbox of one's own: a process on a free port, controlled over HTTP, gone afterwards. For tests and the demo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
import urllib3

from icontact_assets.sandbox.service import variables

ACTIONS = ("reset", "log/clear", "faults/clear")


class Sandbox:
    """Context manager around a sandbox process.

    Its clock stands still at the real time of the start, or at `now` (ISO 8601). With `state`, a file, the world is
    kept there, goes on where it is kept already, and its clock runs. Request limits are lifted. Switches are given by
    name, for instance `Sandbox(ids="mixed")`.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        contacts: int = 200,
        messages: int = 8,
        days: int = 30,
        now: str | None = None,
        state: Path | None = None,
        port: int = 0,
        **switches: Any,
    ) -> None:
        chosen = {"requests_per_minute": 0, "requests_per_day": 0, **switches}
        self._command = [
            sys.executable, "-m", "icontact_assets.sandbox", "--with-parent", "--port", str(port), "--seed", str(seed),
            "--contacts", str(contacts), "--messages", str(messages), "--days", str(days),
            *(["--now", now] if now else []), *(["--frozen"] if state is None else ["--state", str(state)]),
            *(part for name, value in chosen.items() for part in ("--switch", f"{name}={value}")),
        ]  # fmt: skip
        self.url = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C is for the process that uses it, which may need it to the end.
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101 -- for the type checker
        word, _, self.url = self._process.stdout.readline().strip().partition(" ")
        if word != "ready":
            self._process.wait()
            raise RuntimeError(
                f"the sandbox did not start (exit code {self._process.returncode}): {' '.join(self._command)}"
            )
        self._pool = urllib3.PoolManager()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.clear()
        self._process.terminate()
        self._process.communicate()

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._process.pid

    def environment(self, folder: int = 7601) -> dict[str, str]:
        """The variables with which the project speaks to this sandbox, request limits lifted."""
        return {
            **variables(self.url, folder),
            "ICONTACT_REQUESTS_PER_SECOND": "0",
            "ICONTACT_REQUESTS_PER_MINUTE": "0",
            "ICONTACT_REQUESTS_PER_DAY": "0",
        }

    def control(self, path: str, **values: Any) -> Any:
        """POSTs `values` to a control path, or reads it when there are none.

        Raises ValueError with the sandbox's words for what it does not understand.
        """
        address = self.url.removesuffix("/icp") + "/_control/" + path
        posted = {"method": "POST", "body": orjson.dumps(values)} if values or path in ACTIONS else {"method": "GET"}
        answer = self._pool.request(url=address, timeout=120, retries=False, **posted)
        found = orjson.loads(answer.data)
        if answer.status != 200:
            raise ValueError(found["error"])
        return found
