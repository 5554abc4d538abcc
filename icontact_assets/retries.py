"""Which failed days are asked for again, and when: rules only, no Dagster and no database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from icontact_assets.icontact.errors import BudgetSpent, PageFailed, Transient
from icontact_assets.ingest.staging import StagingError
from icontact_assets.ingest.window import Window
from icontact_assets.warehouse.storage import WarehouseBusy

SOON = timedelta(hours=1)
"""The wait after what passes by itself (a network that is down, a database in use), and after a run that was killed."""

LATER = timedelta(days=1)
"""The wait after everything else: a refusal, a listing that could not be verified, a message that cannot be shown."""


def retry_at(causes: Iterable[Exception], now: datetime) -> datetime:
    """When to retry what failed for these reasons. Instants are aware.

    If the budget is one of the reasons: when it has the next request. Else an hour or a day from `now`.
    """
    found = list(causes)
    budget = [error.resumes_at for error in found if isinstance(error, BudgetSpent)]
    if budget:
        return max(budget)
    # A page that fails each time it is asked for costs requests, so it does not count as passing.
    passes = any(
        isinstance(error, Transient | WarehouseBusy | StagingError) and not isinstance(error, PageFailed)
        for error in found
    )
    return now + (SOON if passes else LATER)


@dataclass(frozen=True)
class Failed:
    """A day whose last run failed."""

    not_before: datetime
    """It is not asked for before this instant (aware)."""
    reread_since: datetime | None = None
    """That run was a re-read: it read again everything last read before this instant (aware)."""


@dataclass(frozen=True)
class Retry:
    """The days to ask for in one run."""

    window: Window
    reread_since: datetime | None
    """What was last read before this instant (aware) is read again. None: nothing is."""


def next_retry(failed: Mapping[date, Failed], asked: Collection[date], now: datetime) -> Retry | None:
    """The newest failed days whose time has come, as one range. None if no day's has.

    The range holds no day that was never `asked` for, none that has to wait, and none of another re-read.
    """
    ready = [day for day, failure in failed.items() if failure.not_before <= now]
    if not ready:
        return None
    first = last = day = max(ready)
    since = failed[last].reread_since
    while (day := day - timedelta(days=1)) in asked:
        failure = failed.get(day)
        if failure is None:
            # It was read, and costs next to nothing: it may join two failed days in one range.
            continue
        if failure.not_before > now or failure.reread_since != since:
            break
        first = day
    return Retry(Window(first, last), since)
