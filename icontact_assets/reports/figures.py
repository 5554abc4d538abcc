"""The figures of a report, read from the tables of an import. None of them is about a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb

from icontact_assets.errors import UserError
from icontact_assets.ingest.due import Scope
from icontact_assets.plain import mask
from icontact_assets.reports.days import begin_of, day_of
from icontact_assets.reports.gaps import Gap, find_gaps
from icontact_assets.reports.period import Period
from icontact_assets.reports.tables import REPORT_TABLES
from icontact_assets.warehouse.relations import relations
from icontact_assets.warehouse.times import naive

TIERS = ("loyal", "active", "cooling", "lapsing", "dormant", "new", "silent")
"""The tiers of `engagement`, the nearest first, and then those of people who never did anything."""

_TREND_DAYS = 28
"""The least days that the trend shows."""
_SHOWN = 10
"""Links, domains and messages with differences that are listed at most."""

Row = Mapping[str, Any]
"""A row by its columns. Times are UTC without a zone, rates from 0 to 1, and NULL is None."""


@dataclass(frozen=True)
class Figures:
    """What a report says."""

    period: Period
    totals: Row
    """What happened in the period (`opens`, `openers`, `clicks`, `clickers`, `unsubscribes`, `bounces`), and what
    became until now of the messages first sent in it (`messages`, `sent`, `delivered`, rates). What begins with
    `human_` is without machines, and so is what begins with `early_`: within 24 hours of the first send. That is of the
    messages that are so old, of which `aged` mails were delivered."""
    before: Row
    """The same of the period before."""
    trend: list[Row]
    """`day`, and of each the opens and clicks, with and without those of machines."""
    campaigns: list[Row]
    """The messages that were first sent in the period, in that order: rows of `campaigns`."""
    links: list[Row]
    """What was clicked most in them: rows of `links`, summed."""
    tiers: list[Row]
    """Of each tier that somebody is in: `people`, and who is due."""
    moves: dict[tuple[str | None, str | None], int]
    """How many people came from one tier to another in the period."""
    domains: list[Row]
    """The receiving domains with the most deliveries: rows of `domains`."""
    lists: list[Row]
    """Each list in the period: rows of `list_health`, summed."""
    sizes: dict[str, list[int | None]]
    """Of each list, by its id, its size when each day of the period ended."""
    gaps: list[Gap]
    ever: bool
    """Whether any message was ever sent, or anything ever happened."""


class NoReport(UserError):
    """There is nothing to make a report of. The text says the remedy."""


def read_figures(connection: duckdb.DuckDBPyConnection, scope: Scope, period: Period, now: datetime) -> Figures:
    """The figures of a period at `now` (aware). The connection is bound to the schema of the import. Raises NoReport if
    its report tables were never computed."""
    found = relations(connection)
    missing = [table.name for table in REPORT_TABLES if table.name not in found]
    if missing:
        raise NoReport(
            f"The tables of {scope.schema} that a report is made of were never computed ({', '.join(missing)}). "
            f"Materialize the assets of the group {scope.schema}_reports."
        )
    _tabulate_events(connection, period)
    campaigns = _rows(
        connection,
        "SELECT * FROM campaigns WHERE first_send_at >= $begins AND first_send_at < $ends "
        "ORDER BY first_send_at, message_id",
        {"begins": period.begins, "ends": period.ends},
    )
    [ever] = _rows(
        connection,
        "SELECT EXISTS (FROM campaigns WHERE first_send_at IS NOT NULL) OR EXISTS (FROM raw_activity) AS ever",
    )
    figures = Figures(
        period=period,
        totals=_totals(connection, period, now),
        before=_totals(connection, period.before, now),
        trend=_trend(connection, period),
        campaigns=campaigns,
        links=_links(connection, [row["message_id"] for row in campaigns]),
        tiers=_tiers(connection),
        moves=_moves(connection, period),
        domains=_rows(connection, "FROM domains ORDER BY deliveries DESC, domain LIMIT $shown", {"shown": _SHOWN}),
        lists=_lists(connection, period),
        sizes=_sizes(connection, period),
        gaps=find_gaps(connection, scope, period, now),
        ever=ever["ever"],
    )
    connection.execute("DROP TABLE temp.shown_events")
    return figures


def _rows(connection: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, Any] | None = None) -> list[Row]:
    found = connection.execute(sql, values)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _tabulate_events(connection: duckdb.DuckDBPyConnection, period: Period) -> None:
    """Make the temporary table `shown_events`: those of the trend and of both periods, and those of 24 hours more.

    `early`: within 24 hours of the message's first send.
    """
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE shown_events AS
        SELECT event_time, message_id, contact_id, event_type, machine IS NULL AS human, first_send_at,
            event_time < first_send_at + INTERVAL 24 HOURS AS early
        FROM labelled_activity JOIN campaigns USING (message_id)
        WHERE event_time >= $begins AND event_time < $ends + INTERVAL 24 HOURS
        """,
        {"begins": begin_of(_first_of_trend(period), period.time_zone), "ends": period.ends},
    )


def _first_of_trend(period: Period) -> date:
    return min(period.before.first, period.last - timedelta(days=_TREND_DAYS - 1))


def _totals(connection: duckdb.DuckDBPyConnection, period: Period, now: datetime) -> Row:
    [happened] = _rows(
        connection,
        """
        SELECT count(*) FILTER (event_type = 'open') AS opens,
            count(*) FILTER (event_type = 'open' AND human) AS human_opens,
            count(DISTINCT contact_id) FILTER (event_type = 'open') AS openers,
            count(DISTINCT contact_id) FILTER (event_type = 'open' AND human) AS human_openers,
            count(*) FILTER (event_type = 'click') AS clicks,
            count(*) FILTER (event_type = 'click' AND human) AS human_clicks,
            count(DISTINCT contact_id) FILTER (event_type = 'click') AS clickers,
            count(DISTINCT contact_id) FILTER (event_type = 'click' AND human) AS human_clickers,
            count(DISTINCT contact_id) FILTER (event_type = 'unsubscribe') AS unsubscribes,
            count(*) FILTER (event_type = 'bounce') AS bounces
        FROM temp.shown_events WHERE event_time >= $begins AND event_time < $ends
        """,
        {"begins": period.begins, "ends": period.ends},
    )
    [sent] = _rows(
        connection,
        """
        SELECT *, early_opens / nullif(aged, 0) AS early_open_rate, early_clicks / nullif(aged, 0) AS early_click_rate,
            unique_opens / nullif(delivered, 0) AS open_rate,
            human_unique_opens / nullif(delivered, 0) AS human_open_rate,
            unique_clicks / nullif(delivered, 0) AS click_rate,
            human_unique_clicks / nullif(delivered, 0) AS human_click_rate,
            unique_bounces / nullif(sent, 0) AS bounce_rate, left_by / nullif(delivered, 0) AS unsubscribe_rate,
            complaints / nullif(delivered, 0) AS complaint_rate
        FROM (
            SELECT count(*) AS messages, coalesce(sum(sent), 0)::BIGINT AS sent,
                coalesce(sum(delivered), 0)::BIGINT AS delivered,
                coalesce(sum(unique_bounces), 0)::BIGINT AS unique_bounces,
                coalesce(sum(unique_opens), 0)::BIGINT AS unique_opens,
                coalesce(sum(human_unique_opens), 0)::BIGINT AS human_unique_opens,
                coalesce(sum(unique_clicks), 0)::BIGINT AS unique_clicks,
                coalesce(sum(human_unique_clicks), 0)::BIGINT AS human_unique_clicks,
                coalesce(sum(unsubscribes), 0)::BIGINT AS left_by, coalesce(sum(complaints), 0)::BIGINT AS complaints,
                coalesce(sum(delivered) FILTER (first_send_at <= $aged), 0)::BIGINT AS aged
            FROM campaigns WHERE first_send_at >= $begins AND first_send_at < $ends AND delivered IS NOT NULL
        ), (
            SELECT count(*) FILTER (opened) AS early_opens, count(*) FILTER (clicked) AS early_clicks
            FROM (
                SELECT bool_or(event_type = 'open') AS opened, bool_or(event_type = 'click') AS clicked
                FROM temp.shown_events
                WHERE early AND human AND first_send_at >= $begins AND first_send_at < $ends AND first_send_at <= $aged
                GROUP BY message_id, contact_id
            )
        )
        """,
        {"begins": period.begins, "ends": period.ends, "aged": naive(now) - timedelta(hours=24)},
    )
    return {**happened, **sent}


def _trend(connection: duckdb.DuckDBPyConnection, period: Period) -> list[Row]:
    # A day begins and ends with a quarter of an hour, in every time zone and when clocks change too.
    found = _rows(
        connection,
        """
        SELECT time_bucket(INTERVAL 15 MINUTES, event_time) AS quarter,
            count(*) FILTER (event_type = 'open') AS opens,
            count(*) FILTER (event_type = 'open' AND human) AS human_opens,
            count(*) FILTER (event_type = 'click') AS clicks,
            count(*) FILTER (event_type = 'click' AND human) AS human_clicks
        FROM temp.shown_events WHERE event_time < $ends GROUP BY quarter
        """,
        {"ends": period.ends},
    )
    first = _first_of_trend(period)
    span = [first + timedelta(days=n) for n in range((period.last - first).days + 1)]
    by_day = {day: {"opens": 0, "human_opens": 0, "clicks": 0, "human_clicks": 0} for day in span}
    for row in found:
        counts = by_day[day_of(row["quarter"].replace(tzinfo=UTC), period.time_zone)]
        for name in counts:
            counts[name] += row[name]
    return [{"day": day, **counts} for day, counts in by_day.items()]


def _links(connection: duckdb.DuckDBPyConnection, messages: list[str]) -> list[Row]:
    found = _rows(
        connection,
        """
        SELECT link, sum(clicks)::BIGINT AS clicks, sum(human_clicks)::BIGINT AS human_clicks, count(*) AS messages,
            min(first_click_at) AS first_click_at, max(last_click_at) AS last_click_at
        FROM links WHERE message_id IN (SELECT unnest($messages::VARCHAR[])) AND link IS NOT NULL
        GROUP BY link ORDER BY human_clicks DESC, clicks DESC, link LIMIT $shown
        """,
        {"messages": messages, "shown": _SHOWN},
    )
    # A part of a path may be somebody's address.
    return [{**row, "link": "/".join(map(mask, row["link"].split("/")))} for row in found]


def _tiers(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    found = _rows(
        connection,
        "SELECT tier, count(*) AS people, count(*) FILTER (due_for = 'win_back') AS win_back, "
        "count(*) FILTER (due_for = 'sunset') AS sunset, avg(mails_7d) AS mails_7d, avg(mails_30d) AS mails_30d, "
        "count(*) FILTER (NOT mails_known) AS unknown FROM engagement GROUP BY tier",
    )
    return sorted(found, key=lambda row: TIERS.index(row["tier"]))


def _moves(connection: duckdb.DuckDBPyConnection, period: Period) -> dict[tuple[str | None, str | None], int]:
    found = connection.execute(
        "SELECT from_tier, to_tier, count(*) FROM engagement_changes WHERE changed_on BETWEEN ? AND ? "
        "AND from_tier IS NOT NULL GROUP BY ALL",
        [period.first, period.last],
    ).fetchall()
    return {(before, after): people for before, after, people in found}


_LEFT = ("unsubscribed", "moved", "deleted", "bounced", "do_not_contact", "left_otherwise")


def _lists(connection: duckdb.DuckDBPyConnection, period: Period) -> list[Row]:
    sums = ", ".join(f"coalesce(sum({name}), 0)::BIGINT AS {name}" for name in ("joined", *_LEFT))
    return _rows(
        connection,
        f"SELECT list_id, arg_max(list_name, day) AS list_name, arg_max(size, day) AS size, {sums}, "
        "sum(growth)::BIGINT AS growth FROM list_health WHERE day BETWEEN $first AND $last "
        "GROUP BY list_id ORDER BY size DESC NULLS LAST, list_id",
        {"first": period.first, "last": period.last},
    )


def _sizes(connection: duckdb.DuckDBPyConnection, period: Period) -> dict[str, list[int | None]]:
    found: dict[str, dict[date, int | None]] = {}
    for list_id, day, size in connection.execute(
        "SELECT list_id, day, size FROM list_health WHERE day BETWEEN ? AND ?", [period.first, period.last]
    ).fetchall():
        found.setdefault(list_id, {})[day] = size
    span = [period.first + timedelta(days=n) for n in range(period.days)]
    return {list_id: [sizes.get(day) for day in span] for list_id, sizes in found.items()}
