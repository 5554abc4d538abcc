"""Programs that have the database file open and do not know our lock: a notebook, the duckdb shell, a BI tool."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

_READER_SECONDS = 3.0
"""A program that only reads is waited for so long. Most have closed the file by then, which saves a copy."""

_NEXT_WORD_SECONDS = 30.0


def holder(error: duckdb.Error) -> str | None:
    """Who has the file, if that is why DuckDB could not open it."""
    if not isinstance(error, duckdb.IOException) or "Could not set lock" not in str(error):
        return None
    found = re.search(r"held in (.+?) \(PID (\d+)\)", str(error))
    return f"{Path(found[1]).name} (process {found[2]})" if found else "another program"


class Patience:
    """Waits for a program to close the file: for `seconds`, then no longer.

    `step_aside` puts a copy in the place of a file that others only read. It raises BlockingIOError if one writes to
    it. None: whoever only reads need not. `waiting` is called with a sentence at once, every 30 s, and when the wait
    ended by a copy.
    """

    def __init__(
        self, path: Path, seconds: float, waiting: Callable[[str], None], step_aside: Callable[[], None] | None
    ) -> None:
        self._path = path
        self._seconds = seconds
        self._waiting = waiting
        self._step_aside = step_aside
        self._began = time.monotonic()
        self._next_word = 0.0

    def wait(self, who: str) -> bool:
        """Wait a moment for `who` has the file. Whether to try again: False when the time is over."""
        waited = time.monotonic() - self._began
        if waited >= self._next_word:
            until = datetime.now(UTC) + timedelta(seconds=self._seconds - waited)
            self._waiting(
                f"The database {self._path} is open in {who}. Waits for it until {until:%H:%M:%S} UTC at the latest."
            )
            self._next_word = waited + _NEXT_WORD_SECONDS
        if waited >= min(_READER_SECONDS, self._seconds) and self._stepped_aside(who):
            return True
        if waited >= self._seconds:
            return False
        time.sleep(random.uniform(0.05, 0.2))  # noqa: S311
        return True

    def _stepped_aside(self, who: str) -> bool:
        if self._step_aside is None:
            return False
        began = time.monotonic()
        try:
            self._step_aside()
        except BlockingIOError:
            return False
        except OSError as error:
            self._step_aside = None
            self._waiting(f"No copy could be put in the place of {self._path}: {error.strerror}.")
            return False
        self._waiting(
            f"{who} only reads {self._path}. A copy was put in its place in {time.monotonic() - began:.1f} s, and what "
            f"follows is written there. {who} sees the tables as they were until it opens the file again."
        )
        return True
