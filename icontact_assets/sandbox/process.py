"""A sandbox of one's own: a process on a free port, controlled over HTTP, gone afterwards. For tests and the demo."""

from __future__ import annotations

import select
import subprocess
import sys
import threading
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import orjson

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
        self._connection = HTTPConnection(urlsplit(self.url).netloc, timeout=120)
        self._in_use = threading.Lock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
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
        posted = ("POST", orjson.dumps(values)) if values or path in ACTIONS else ("GET", None)
        with self._in_use:
            # A connection that was not used for a while may have been closed by the server.
            if self._connection.sock is not None and select.select([self._connection.sock], [], [], 0)[0]:
                self._connection.close()
            self._connection.request(posted[0], f"/_control/{path}", posted[1])
            answer = self._connection.getresponse()
            content = answer.read()
        found = orjson.loads(content)
        if answer.status != 200:
            raise ValueError(found["error"])
        return found
