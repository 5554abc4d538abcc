"""The request budget of an account: per second, per minute, per day, and pauses it asks for. It is on disk, shared
by threads and processes."""

from __future__ import annotations

import os
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock
from pyrate_limiter import Duration, RateItem, SQLiteBucket

from icontact_assets.icontact.count import Spent, guarded, open_count, rates
from icontact_assets.icontact.errors import AskedToWait, BudgetSpent
from icontact_assets.private import OWNER

LONGEST_WAIT = 60.0
"""Seconds that a request waits for its turn. A pause that is longer ends the run."""

LONGEST_PAUSE = timedelta(days=1)
"""What asks for more is asked again after that time."""


class Budget:
    """Counts every request of one account in `directory`. 0 lifts a limit. A day is the last 24 hours."""

    def __init__(
        self, directory: Path, account_key: str, *, per_second: float = 1, per_minute: int = 60, per_day: int = 5000
    ) -> None:
        self._per_day = per_day
        self._threads = threading.Lock()
        self._bucket: SQLiteBucket | None = None
        self._spent: Spent | None = None
        wanted = []
        if per_second:
            # Less than one request a second is one request in more than a second.
            count = max(1, int(per_second))
            wanted.append((count, round(Duration.SECOND.value * count / per_second)))
        if per_minute:
            wanted.append((per_minute, Duration.MINUTE.value))
        if per_day:
            wanted.append((per_day, Duration.DAY.value))
        path = self._path = directory / (re.sub(r"[^A-Za-z0-9.-]+", "_", account_key) + ".sqlite")
        self._not_before = path.with_suffix(".not-before")
        with guarded(path):
            OWNER.folder(directory)
            OWNER.create(path.with_suffix(".lock"))
            self._processes = FileLock(path.with_suffix(".lock"), thread_local=False)
            if wanted:
                with self._processes:
                    self._bucket, self._spent = open_count(path, rates(wanted))

    def take(self) -> None:
        """Take one request: wait for the second, the minute and a short pause.

        Raises BudgetSpent when the day's are used up, AskedToWait in a pause that lasts longer than LONGEST_WAIT.
        """
        while (wait := self._pause() or (self._try(self._bucket) if self._bucket is not None else 0.0)) > 0:
            time.sleep(wait)

    def hold(self, until: datetime) -> None:
        """Let no request pass before `until` (aware UTC), in this run and in any other."""
        with self._threads, guarded(self._not_before), self._processes:
            if until > self._paused_until():
                fresh = self._not_before.with_suffix(".new")
                OWNER.create(fresh)
                fresh.write_text(until.isoformat())
                os.replace(fresh, self._not_before)

    def _paused_until(self) -> datetime:
        with guarded(self._not_before):
            try:
                return datetime.fromisoformat(self._not_before.read_text()).astimezone(UTC)
            except FileNotFoundError:
                return datetime.min.replace(tzinfo=UTC)
            except (ValueError, OverflowError):
                # What it held is not known: it counts as the longest pause.
                return datetime.fromtimestamp(self._not_before.stat().st_mtime, UTC) + LONGEST_PAUSE

    def _pause(self) -> float:
        """Seconds that a pause still lasts."""
        until = self._paused_until()
        seconds = (until - datetime.now(UTC)).total_seconds()
        if seconds > LONGEST_WAIT:
            raise AskedToWait(
                f"iContact asked for a pause: nothing is sent before {until:%Y-%m-%d %H:%M:%S} UTC. Run again then. "
                f"({self._not_before} holds that time.)",
                until,
            )
        return max(0.0, seconds)

    def left_today(self) -> int | None:
        """Requests left of the last 24 hours' budget. None if the day is not limited."""
        if self._bucket is None or not self._per_day:
            return None
        if self._spent is not None and datetime.now(UTC) < self._spent.until:
            return 0
        with self._threads, guarded(self._path), self._processes:
            self._bucket.leak(self._bucket.now())  # type: ignore[no-untyped-call]
            return max(0, self._per_day - self._bucket.count())

    def _try(self, bucket: SQLiteBucket) -> float:
        """0 if a request was taken, else the seconds after which to try again."""
        if self._spent is not None and datetime.now(UTC) < self._spent.until:
            raise BudgetSpent(
                f"The file of the request budget was damaged and is now {self._spent.aside}, beside {self._path}. What "
                "it had counted is not known, so all requests count as sent: the next one is free at "
                f"{self._spent.until:%Y-%m-%d %H:%M} UTC.",
                self._spent.until,
            )
        with self._threads, guarded(self._path), self._processes:
            now: int = bucket.now()  # type: ignore[no-untyped-call]
            item = RateItem("request", now)
            if bucket.put(item):
                bucket.leak(now)
                return 0.0
            wait = max(int(bucket.waiting(item)), 1) / 1000  # type: ignore[arg-type]
            failing = bucket.failing_rate
        if failing is not None and failing.interval == Duration.DAY.value:
            resumes_at = datetime.now(UTC) + timedelta(seconds=wait)
            raise BudgetSpent(
                f"The day's budget of {failing.limit} requests is used up; the next request is free at "
                f"{resumes_at:%Y-%m-%d %H:%M} UTC. Run again then, or raise the limit per day "
                "(ICONTACT_REQUESTS_PER_DAY) if iContact allows this account more.",
                resumes_at,
            )
        return wait
