"""Operating-system locks that say who has them. A kill releases them, whatever was killed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from icontact_assets.errors import UserError
from icontact_assets.private import OWNER

_FIRST_WORD_SECONDS = 2.0
_NEXT_WORD_SECONDS = 600.0
_POLL_SECONDS = 0.1


class LockTaken(UserError):
    """Another process kept the lock for longer than this one waits. The text names it."""


class Lock:
    """The lock file at `path`. The name of who has it is in a file of the same name that ends in `.holder`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(path)
        self._holder_path = path.with_suffix(".holder")

    def acquire(self, purpose: str, *, wait_seconds: float, waiting: Callable[[str], None]) -> None:
        """Take the lock for a purpose, which is shown to those who wait.

        `waiting` is called with a sentence when the wait has begun, and every ten minutes. Raises LockTaken after
        `wait_seconds`, and OSError if the files cannot be written.
        """
        for kept in (self._path, self._holder_path):
            OWNER.create(kept)
        deadline = time.monotonic() + wait_seconds
        word = _FIRST_WORD_SECONDS
        while True:
            left = max(0.0, deadline - time.monotonic())
            try:
                self._lock.acquire(timeout=min(word, left), poll_interval=_POLL_SECONDS)
                break
            except Timeout as error:
                holder = self._holder()
                if left <= word:
                    raise LockTaken(holder) from error
                until = datetime.now(UTC) + timedelta(seconds=left)
                waiting(f"Waits for {holder}, until {until:%H:%M} UTC at the latest.")
                word = _NEXT_WORD_SECONDS
        since = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        try:
            self._holder_path.write_text(f"process {os.getpid()} ({purpose}, since {since})")
        except OSError:
            self._lock.release()
            raise

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()

    def _holder(self) -> str:
        try:
            return self._holder_path.read_text() or "another process"
        except OSError:
            return "another process"
