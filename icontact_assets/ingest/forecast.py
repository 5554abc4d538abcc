"""How many requests a run over a window is going to send, how long that takes, and how far the budget reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import ceil

import duckdb

from icontact_assets.icontact.folder import MESSAGES_PAGE
from icontact_assets.ingest.activity import Held, Run, held
from icontact_assets.ingest.coverage import FIGURE_OF, Scope, entries, messages

COUNTED = ("contacts", "messages", "sends", "lists")
"""Listings of a whole folder whose size decides what they cost."""


@dataclass(frozen=True)
class Rates:
    """How fast requests may be sent: per second (None: as fast as answers come), and how many a day and still today
    (None: as many as wanted)."""

    per_second: float | None
    per_day: int | None
    left_today: int | None


@dataclass(frozen=True)
class Forecast:
    """What a run is going to ask. Counts are requests.

    `least` is sure, as far as iContact has not changed; `likely` adds what recent messages usually bring. `messages`
    are due, of which today's budget reaches `reached`, newest first, back to those released on `back_to` (UTC day).
    """

    listings: dict[str, int]
    messages: int
    least: int
    likely: int
    seconds: float | None
    left_today: int | None
    reached: int
    back_to: date | None
    more_days: int

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
            return f"{text}; {self.left_today} are left today, which is enough."
        since = f", back to {self.back_to}" if self.back_to else ""
        return (
            f"{text}; {self.left_today} are left today, which reaches {self.reached} of the messages{since}; "
            f"the rest takes {self.more_days} more days."
        )


def forecast(
    connection: duckdb.DuckDBPyConnection,
    scope: Scope,
    run: Run,
    *,
    now: datetime,
    page_size: int,
    rates: Rates,
    resources: Sequence[str] = (),
) -> Forecast:
    """What a run is going to ask for the activity and for the listings `resources`, from the ledger. `now` is aware."""
    listings: dict[str, int] = {}
    for listing, entry in entries(connection, scope.schema, *resources).items():
        asked = run.reread or entry.read_through is None or entry.read_through < run.window.end
        pages = listing_pages(listing.resource, entry.stored or 0, page_size) if asked else 0
        listings[listing.resource] = listings.get(listing.resource, 0) + pages
    recipients = _recipients(connection, scope.schema)
    costs = [
        (message.state.first_released, *_cost(message, run, now, page_size, recipients))
        for message in held(connection, scope.schema, run.due(messages(connection, scope, now)))
    ]
    return _total(listings, costs, rates)


def first_forecast(counts: Mapping[str, int], rates: Rates, page_size: int) -> Forecast:
    """What a first run is going to ask, from iContact's own totals of the listings COUNTED: likely is that every send
    was released."""
    listings = {resource: listing_pages(resource, counts[resource], page_size) for resource in COUNTED}
    sent = min(counts["sends"], counts["messages"])
    costs = [(None, 1, 1 + len(FIGURE_OF))] * sent + [(None, 1, 1)] * (counts["messages"] - sent)
    return _total(listings, costs, rates)


def listing_pages(resource: str, rows: int, page_size: int) -> int:
    """Requests that a listing of so many rows costs."""
    return _pages(rows, min(MESSAGES_PAGE, page_size) if resource == "messages" else page_size)


def _cost(message: Held, run: Run, now: datetime, page_size: int, recipients: Mapping[str, int]) -> tuple[int, int]:
    """Least and likely requests for one due message."""
    state = message.state
    probe = 0 if state.probed_at is not None and state.probed_at >= run.fresh_since else 1
    least, likely, plan = probe, probe, dict(message.to_read(now, run.began if run.reread else None))
    for kind, known in plan.items():
        entry, figure = message.kinds.get(kind), message.figures.get(FIGURE_OF[kind])
        if known is not None:
            least, likely = least + 1, likely + 1
        elif figure is not None or entry is not None:
            pages = _pages(figure or (entry.announced if entry else 0) or 0, page_size)
            least, likely = least + pages, likely + pages
        else:
            most = recipients.get(state.id, 0) if kind == "opens" else 0
            least, likely = least + 1, likely + _pages(most, page_size)
    if state.probe_days <= 1 and state.first_released is not None:
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


def _recipients(connection: duckdb.DuckDBPyConnection, schema: str) -> dict[str, int]:
    return dict(
        connection.execute(
            f'SELECT message_id, max(recipient_count) FROM "{schema}".raw_sends '
            "WHERE recipient_count IS NOT NULL GROUP BY message_id"
        ).fetchall()
    )


def _pages(rows: int, page_size: int) -> int:
    """Pages of a listing whose pages overlap by a row; an empty listing costs one."""
    return 1 if rows <= page_size else 1 + ceil((rows - page_size) / max(1, page_size - 1))
