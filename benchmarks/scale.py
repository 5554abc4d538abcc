"""What accounts of several sizes cost in requests a day, by the default settings: `python -m benchmarks.scale`.

Nothing is asked: it is arithmetic over the rules of `icontact_assets/ingest`. docs/scale.md has the tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, log

from icontact_assets.icontact.folder import MESSAGES_PAGE
from icontact_assets.settings.models import EveryImport
from icontact_assets.settings.requests import BY_AGE, AgeStep, RequestLimits
from icontact_assets.terminal import say

_SHARES = {"opens": 0.17, "clicks": 0.065, "bounces": 0.005, "unsubscribes": 0.005}
"""Rows of each listing of a message, by recipient. Of the events of `benchmarks/jobs/mapping.py`, the same mixture."""

_LIVELY_DAYS = 30
"""Until that age, opens and clicks of a message change from day to day."""


@dataclass(frozen=True)
class Account:
    """One client folder, as it is after some years."""

    contacts: int
    mails_a_week: float
    years: float
    page_size: int = EveryImport().page_size

    @property
    def mails(self) -> int:
        return round(self.mails_a_week * 52 * self.years)

    @property
    def events(self) -> int:
        """Each mail goes to all contacts."""
        return round(self.mails * self.contacts * sum(_SHARES.values()))

    def pages(self) -> int:
        """Of the four listings of one mail."""
        return sum(self._pages(self.contacts * share) for share in _SHARES.values())

    def listings(self) -> int:
        """Requests for contacts, messages, sends and lists, which are read whole each day."""
        messages = ceil(self.mails / min(MESSAGES_PAGE, self.page_size))
        return self._pages(self.contacts) + messages + self._pages(self.mails) + 1

    def first(self) -> int:
        """Requests of a first run over the whole history."""
        return self.listings() + self.mails * (1 + self.pages())

    def polls(self) -> float:
        """Requests a day for statistics."""
        return sum(count * _times_a_day(step.poll_days) for step, count in self._by_age())

    def tails(self) -> float:
        """Requests a day for the ends of listings that grew: opens and clicks."""
        return self.mails_a_week / 7 * _LIVELY_DAYS * 2

    def verifications(self) -> float:
        """Requests a day for listings that are read again from the first row on."""
        return sum(count * _times_a_day(step.verify_days) for step, count in self._by_age()) * self.pages()

    def daily(self) -> int:
        """Requests of a day on which all is read already."""
        return ceil(self.listings() + self.polls() + self.tails() + self.verifications())

    def _pages(self, rows: float) -> int:
        return max(1, ceil(rows / self.page_size))

    def _by_age(self) -> Iterator[tuple[AgeStep, float]]:
        """The steps, and how many mails are of that age."""
        youngest, days = 0.0, self.years * 365
        for step in BY_AGE:
            oldest = min(step.until_days or days, days)
            yield step, self.mails_a_week / 7 * max(0.0, oldest - youngest)
            youngest = oldest


def _times_a_day(days: int) -> float:
    """How often a message comes due. Its interval is between half of the days and all, in whole days."""
    return 1.0 if days <= 1 else 2 * log(2) / days


def main() -> None:
    limits = RequestLimits()
    columns = "Contacts, Mails a week, Years, Rows a page, Events, First run, In days, Each day, Of which verification"
    say(f"| {columns.replace(', ', ' | ')} |")
    say("|" + " --- |" * len(columns.split(",")))
    for account in (
        Account(5_000, 1, 5),
        Account(40_000, 2, 5),
        Account(40_000, 2, 5, page_size=5_000),
        Account(400_000, 2, 5),
        Account(400_000, 2, 5, page_size=5_000),
        Account(2_000_000, 3, 5, page_size=5_000),
    ):
        first, size = account.first(), f"{account.page_size:,} | {account.events:,}"
        say(
            f"| {account.contacts:,} | {account.mails_a_week} | {account.years} | {size} | {first:,} | "
            f"{first / limits.per_day:.1f} | {account.daily():,} | {account.verifications():,.0f} |"
        )


if __name__ == "__main__":
    main()
