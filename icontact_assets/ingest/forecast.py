"""How many requests a run over a window is going to send, how long that takes, and how far the budget reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import ceil
from types import MappingProxyType

from icontact_assets.icontact.folder import MESSAGES_PAGE
from icontact_assets.ingest.activity import Held, Plan
from icontact_assets.ingest.coverage import Entry
from icontact_assets.ingest.due import STATISTIC_OF
from icontact_assets.ingest.staging import Listing
from icontact_assets.ingest.window import ReadRequest

COUNTED = ("contacts", "messages", "sends", "lists")
"""Listings of a whole folder whose size decides what they cost."""


@dataclass(frozen=True)
class Rates:
    """How fast requests may be sent, and how many."""

    per_second: float | None
    """None: as fast as answers come."""
    per_day: int | None
    """None: as many as wanted."""
    left_today: int | None
    """None: as many as wanted."""


@dataclass(frozen=True)
class Forecast:
    """What a run is going to ask."""

    listings: dict[str, int]
    """Requests for each listing of the whole folder."""
    messages: int
    """Messages that are due."""
    least: int
    """Requests that are sure, as far as iContact has not changed."""
    likely: int
    """The same with what recent messages usually bring."""
    seconds: float | None
    """How long the likely ones take. None: as fast as answers come."""
    left_today: int | None
    """Requests that are left today. None: as many as wanted."""
    reached: int
    """Due messages that today's budget reaches, newest first."""
    back_to: date | None
    """The oldest of them was released on this UTC day."""
    more_days: int
    """Days that the rest takes."""

    def sentence(self) -> str:
        """The forecast in words."""
        requests = f"{self.least}" if self.least == self.likely else f"{self.least} to {self.likely}"
        text = f"{requests} requests for {self.messages} due messages"
        if self.listings:
            text += f" and the listings of {', '.join(self.listings)}"
        if self.seconds is not None:
            text += f", about {max(1, round(self.seconds / 60))} min"
        if self.left_today is None:
            return f"{text}."
        if self.more_days == 0:
            return f"{text}. {self.left_today} are left today, which is enough."
        since = f", back to {self.back_to}" if self.back_to else ""
        return (
            f"{text}. {self.left_today} are left today, which reaches {self.reached} of the messages{since}. "
            f"The rest takes {self.more_days} more days."
        )


def forecast(
    planned: Plan,
    request: ReadRequest,
    *,
    now: datetime,
    page_size: int,
    rates: Rates,
    listings: Mapping[Listing, Entry] = MappingProxyType({}),
) -> Forecast:
    """What a run asks for the planned activity, and for these listings of the whole folder. `now` is aware."""
    pages: dict[str, int] = {}
    for listing, entry in listings.items():
        asked = request.reread or entry.read_through is None or entry.read_through < request.window.end
        more = listing_pages(listing.resource, entry.stored or 0, page_size) if asked else 0
        pages[listing.resource] = pages.get(listing.resource, 0) + more
    costs = [
        (message.state.first_released, *_cost(message, request, now, page_size, planned.recipients))
        for message in planned.due
    ]
    return _total(pages, costs, rates)


def first_forecast(counts: Mapping[str, int], rates: Rates, page_size: int) -> Forecast:
    """What a first run is going to ask, from iContact's own totals of the listings COUNTED: likely is that every send
    was released."""
    listings = {resource: listing_pages(resource, counts[resource], page_size) for resource in COUNTED}
    sent = min(counts["sends"], counts["messages"])
    costs = [(None, 1, 1 + len(STATISTIC_OF))] * sent + [(None, 1, 1)] * (counts["messages"] - sent)
    return _total(listings, costs, rates)


def listing_pages(resource: str, rows: int, page_size: int) -> int:
    """Requests that a listing of so many rows costs."""
    return _pages(rows, min(MESSAGES_PAGE, page_size) if resource == "messages" else page_size)


def _cost(
    message: Held, request: ReadRequest, now: datetime, page_size: int, recipients: Mapping[str, int]
) -> tuple[int, int]:
    """Least and likely requests for one due message."""
    state = message.state
    poll = 0 if state.polled_at is not None and state.polled_at >= request.fresh_since else 1
    least, likely, plan = poll, poll, dict(message.to_read(now, request.began if request.reread else None))
    for kind, known in plan.items():
        entry, statistic = message.kinds.get(kind), message.statistics.get(STATISTIC_OF[kind])
        if known is not None:
            least, likely = least + 1, likely + 1
        elif statistic is not None or entry is not None:
            pages = _pages(statistic or (entry.reported if entry else 0) or 0, page_size)
            least, likely = least + pages, likely + pages
        else:
            most = recipients.get(state.id, 0) if kind == "opens" else 0
            least, likely = least + 1, likely + _pages(most, page_size)
    if state.poll_days <= 1 and state.first_released is not None:
        likely += len(state.kinds) - len(plan)
    return least, likely


def _total(listings: dict[str, int], costs: Sequence[tuple[datetime | None, int, int]], rates: Rates) -> Forecast:
    first = sum(listings.values())
    least, likely = first + sum(cost[1] for cost in costs), first + sum(cost[2] for cost in costs)
    spent, reached, back_to = first, 0, None
    for released, _, cost in costs:
        spent += cost
        if rates.left_today is not None and spent > rates.left_today:
            break
        reached, back_to = reached + 1, released.date() if released else back_to
    over = max(0, likely - rates.left_today) if rates.left_today is not None else 0
    return Forecast(
        listings=listings,
        messages=len(costs),
        least=least,
        likely=likely,
        seconds=likely / rates.per_second if rates.per_second else None,
        left_today=rates.left_today,
        reached=reached,
        back_to=back_to,
        more_days=ceil(over / rates.per_day) if rates.per_day else 0,
    )


def _pages(rows: int, page_size: int) -> int:
    """Pages of a listing whose pages overlap by a row. An empty listing costs one."""
    return 1 if rows <= page_size else 1 + ceil((rows - page_size) / max(1, page_size - 1))
