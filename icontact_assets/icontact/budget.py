"""The request budget of an account: per second, per minute, per day, and pauses it asks for."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from pyrate_limiter import Duration

from icontact_assets.icontact.count import Count, rates
from icontact_assets.icontact.errors import AskedToWait, BudgetSpent

LONGEST_WAIT = 60.0
"""Seconds that a request waits for its turn. A pause that is longer ends the run."""


class Budget:
    """Lets requests of one account pass as fast as its limits allow. `count` is what all who send some share.

    0 lifts a limit. A day is the last 24 hours. Every method raises BudgetUnusable.
    """

    def __init__(self, count: Count, *, per_second: float = 1, per_minute: int = 60, per_day: int = 5000) -> None:
        self._count = count
        self._per_day = per_day
        wanted = []
        if per_second:
            # Less than one request a second is one request in more than a second.
            limit = max(1, int(per_second))
            wanted.append((limit, round(Duration.SECOND.value * limit / per_second)))
        if per_minute:
            wanted.append((per_minute, Duration.MINUTE.value))
        if per_day:
            wanted.append((per_day, Duration.DAY.value))
        count.open(rates(wanted))

    def take(self) -> None:
        """Take one request: wait for the second, the minute and a short pause.

        Raises BudgetSpent when the day's are used up, AskedToWait in a pause that lasts longer than LONGEST_WAIT.
        """
        while (denied := self._count.take()) is not None:
            until = datetime.now(UTC) + timedelta(seconds=denied.seconds)
            if denied.rate is None and denied.seconds > LONGEST_WAIT:
                raise AskedToWait(
                    f"iContact asked for a pause: nothing is sent before {until:%Y-%m-%d %H:%M:%S} UTC. Run again "
                    f"then. ({self._count.pause_kept} holds that time.)",
                    until,
                )
            if denied.rate is not None and denied.rate.interval == Duration.DAY.value:
                raise BudgetSpent(
                    f"The day's budget of {denied.rate.limit} requests is used up; the next request is free at "
                    f"{until:%Y-%m-%d %H:%M} UTC. Run again then, or raise the limit per day "
                    "(ICONTACT_REQUESTS_PER_DAY) if iContact allows this account more.",
                    until,
                )
            time.sleep(denied.seconds)

    def hold(self, pause: timedelta) -> None:
        """Let no request pass for so long from now, in this run and in any other."""
        self._count.hold(pause)

    def left_today(self) -> int | None:
        """Requests left of the last 24 hours' budget. None if the day is not limited."""
        return self._count.left(self._per_day) if self._per_day else None

    def take_over(self, former: Budget) -> int:
        """Count what `former` has counted for the same account in another place, and keep its pause. How many requests
        were not counted here."""
        return self._count.count_also(former._count.counted())
