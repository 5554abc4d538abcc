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
        text = f"{requests} requests for {self.messages} due messages and the listings"
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
    lists: Sequence[str] = (),
    counts: Mapping[str, int] | None = None,
) -> Forecast:
    """What a run is going to ask, from the ledger. `now` is aware; `lists`: ids whose subscriptions are read.

    `counts` are iContact's own totals of listings that were never read: without messages in the tables, every one of
    them is taken for due.
    """
    sizes = dict(counts or {})
    asked: dict[str, int] = {}
    ledger = entries(connection, scope.schema, *COUNTED, "subscriptions")
    for listing, entry in ledger.items():
        if entry.read_through is not None:
            sizes[listing.resource + listing.kind] = entry.stored or 0
            if entry.read_through >= run.window.end and not run.reread:
                asked[listing.resource + listing.kind] = 0
    for resource in (*COUNTED, *(f"subscriptions{list_id}" for list_id in lists)):
        size = min(MESSAGES_PAGE, page_size) if resource == "messages" else page_size
        asked.setdefault(resource, _pages(sizes.get(resource, 0), size))
    known = messages(connection, scope, now)
    reread_since = run.began if run.reread else None
    costs = []
    recipients = _recipients(connection, scope.schema)
    for message in held(connection, scope.schema, run.due(known)):
        costs.append((message.state.first_released, *_cost(message, run, now, page_size, recipients, reread_since)))
    if not known and counts:
        released = min(counts["sends"], counts["messages"])
        costs = [(None, 1 + len(FIGURE_OF), 1 + len(FIGURE_OF))] * released
        costs += [(None, 1, 1)] * (counts["messages"] - released)
    return _total(asked, costs, rates)


def _cost(
    message: Held,
    run: Run,
    now: datetime,
    page_size: int,
    recipients: Mapping[str, int],
    reread_since: datetime | None,
) -> tuple[int, int]:
    """Least and likely requests for one due message."""
    state = message.state
    probe = 0 if state.probed_at is not None and state.probed_at >= run.fresh_since else 1
    least, likely, plan = probe, probe, dict(message.to_read(now, reread_since))
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
        likely += len(FIGURE_OF) - len(plan)
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
