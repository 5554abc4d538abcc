"""Which failed days are asked for again, and when: rules only, no Dagster and no database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from icontact_assets.icontact.errors import BudgetSpent, PageFailed, Transient
from icontact_assets.ingest.staging import StagingError
from icontact_assets.ingest.window import Window
from icontact_assets.warehouse.warehouse import WarehouseBusy

SOON = timedelta(hours=1)
"""After what passes by itself (a network that is down, a database in use), and after a run that was killed."""

LATER = timedelta(days=1)
"""After everything else: a refusal, a listing that is not proven whole, a message that iContact cannot show."""


def goes_on_at(causes: Iterable[Exception], now: datetime) -> datetime:
    """When to try again what failed for these reasons: when the budget has the next request if it is one of them, else
    an hour or a day from `now`. Instants are aware.

    An answer that is an error each time it is asked for (PageFailed) costs requests: it does not count as passing.
    """
    found = list(causes)
    budget = [error.resumes_at for error in found if isinstance(error, BudgetSpent)]
    if budget:
        return max(budget)
    passes = any(
        isinstance(error, Transient | WarehouseBusy | StagingError) and not isinstance(error, PageFailed)
        for error in found
    )
    return now + (SOON if passes else LATER)


@dataclass(frozen=True)
class Failed:
    """A day whose last run failed: asked for again from `not_before` on; `reread_since`: that run read everything again
    that was older. Instants are aware."""

    not_before: datetime
    reread_since: datetime | None = None


@dataclass(frozen=True)
class Again:
    """The days to ask for in one run; with `reread_since`, everything older is read again."""

    window: Window
    reread_since: datetime | None


def again(failed: Mapping[date, Failed], asked: Collection[date], now: datetime) -> Again | None:
    """The newest failed days whose time has come, as one range; None if no day's has.

    The range holds no day that was never `asked` for, none that has to wait, and none of another re-reading.
    """
    ready = [day for day, failure in failed.items() if failure.not_before <= now]
    if not ready:
        return None
    first = last = day = max(ready)
    since = failed[last].reread_since
    while (day := day - timedelta(days=1)) in asked:
        failure = failed.get(day)
        if failure is None:
            continue
        if failure.not_before > now or failure.reread_since != since:
            break
        first = day
    return Again(Window(first, last), since)
