"""Computes `campaigns`: what became of each message."""

from __future__ import annotations

from datetime import datetime

import duckdb
import pyarrow as pa

from icontact_assets.ingest.due import Scope, messages
from icontact_assets.ingest.tie_out import tie_out
from icontact_assets.reports.store import store
from icontact_assets.reports.tables import CAMPAIGNS, HOURS
from icontact_assets.warehouse.times import naive

_COUNTS = (
    ("opens", "n", "open"),
    ("clicks", "n", "click"),
    ("human_opens", "human", "open"),
    ("human_clicks", "human", "click"),
    ("bounces", "n", "bounce"),
)
"""Columns with the counts of events: of which kind, and counted by which column of `doing`."""


def build_campaigns(connection: duckdb.DuckDBPyConnection, scope: Scope, now: datetime) -> int:
    """Compute `campaigns` from the raw tables and the temporary tables `labelled` and `sent`: how many rows. `now` is
    aware.

    Messages that are only known by a send, by statistics or by what people did with them have a row too.
    """
    _tabulate_doing(connection)
    _register_read(connection, scope, now)
    values = {"now": naive(now), **({} if scope.aid is None else {"aid": scope.aid})}
    rows = store(connection, CAMPAIGNS, _query(scope), values)
    connection.unregister("read")
    return rows


def _tabulate_doing(connection: duckdb.DuckDBPyConnection) -> None:
    """What each contact did with each message: a row for each kind. So people are counted without sets of them."""
    by_hour = "".join(
        f", count_if(event_time <= first_send_at + INTERVAL {hours} HOUR) AS n_{hours}h" for hours in HOURS
    )
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE doing AS
        SELECT message_id, event_type, count(*) AS n, count_if(machine IS NULL) AS human{by_hour}
        FROM temp.labelled LEFT JOIN temp.sent USING (message_id)
        GROUP BY message_id, event_type, contact_id
        """
    )


def _register_read(connection: duckdb.DuckDBPyConnection, scope: Scope, now: datetime) -> None:
    """What is read of each message, and where that differs from iContact's statistics, as the relation `read`."""
    states = messages(connection, scope, now)
    found: dict[str, list[str]] = {}
    for each in tie_out(connection, states)[1]:
        said = "none" if each.statistic is None else each.statistic
        found.setdefault(each.message_id, []).append(
            f"{each.kind}: {each.stored} stored, {said} by iContact ({each.reason})"
        )
    columns = {
        "message_id": pa.array([state.id for state in states], pa.string()),
        "read_through": pa.array(
            [state.covered_until and naive(state.covered_until) for state in states], pa.timestamp("us")
        ),
        "differences": pa.array(["; ".join(found[s.id]) if s.id in found else None for s in states], pa.string()),
    }
    connection.register("read", pa.table(columns))


def _query(scope: Scope) -> str:
    counts = [
        f"coalesce(sum({by}) FILTER (event_type = '{kind}'), 0)::BIGINT AS {name}, "
        f"count(*) FILTER (event_type = '{kind}' AND {by} > 0) AS {_unique(name)}"
        for name, by, kind in _COUNTS
    ]
    by_hour = [
        f"coalesce(sum(n_{hours}h) FILTER (event_type = '{kind}'), 0)::BIGINT AS {kind}s_{hours}h, "
        f"count(*) FILTER (event_type = '{kind}' AND n_{hours}h > 0) AS unique_{kind}s_{hours}h"
        for hours in HOURS
        for kind in ("open", "click")
    ]
    names = [name for count, _, _ in _COUNTS for name in (count, _unique(count))]
    known = [f"coalesce(h.{name}, 0) AS {name}" for name in names]
    past = [
        f"CASE WHEN first_send_at + INTERVAL {hours} HOUR <= $now::TIMESTAMP THEN coalesce({name}, 0) END AS {name}"
        for hours in HOURS
        for kind in ("opens", "clicks")
        for name in (f"{kind}_{hours}h", f"unique_{kind}_{hours}h")
    ]
    tagged = "true" if scope.aid is None else "coalesce(list_contains(aids, $aid), false)"
    # Before iContact has counted, its statistics are 0.
    counted = "(c.delivered + coalesce(c.bounces, 0))"
    return f"""
        WITH happened AS (
            SELECT message_id, {", ".join([*counts, *by_hour])},
                count(*) FILTER (event_type = 'unsubscribe') AS unsubscribes
            FROM temp.doing GROUP BY message_id
        ), half AS (
            SELECT message_id, quantile_disc(event_time, 0.5) AS half_at
            FROM raw_activity WHERE event_type = 'open' GROUP BY message_id
        ), named AS (
            SELECT message_id, list_sort(list(coalesce(nullif(name, ''), list_id))) AS lists
            FROM (SELECT message_id, unnest(lists) AS list_id FROM temp.sent)
            LEFT JOIN current_lists USING (list_id) GROUP BY message_id
        ), every AS (
            SELECT message_id FROM current_messages UNION SELECT message_id FROM temp.sent
            UNION SELECT message_id FROM current_statistics UNION SELECT message_id FROM happened
        ), row AS (
            SELECT message_id, subject, message_name AS name, named.lists, first_send_at,
                coalesce(nullif({counted}, 0), recipients, if(first_send_at IS NULL, NULL, {counted})) AS sent,
                {", ".join(known)}, coalesce(h.unsubscribes, 0) AS unsubscribes,
                complaints, forwards, {", ".join(past)},
                if(half_at < first_send_at, 0, date_diff('second', first_send_at, half_at) / 3600)
                    AS hours_to_half_of_opens,
                opens_total AS icontact_opens, opens_unique AS icontact_unique_opens,
                clicks_total AS icontact_clicks, clicks_unique AS icontact_unique_clicks,
                c.bounces AS icontact_bounces, c.unsubscribes AS icontact_unsubscribes, differences, read_through
            FROM every LEFT JOIN current_messages USING (message_id) LEFT JOIN temp.sent USING (message_id)
            LEFT JOIN named USING (message_id) LEFT JOIN current_statistics c USING (message_id)
            LEFT JOIN happened h USING (message_id) LEFT JOIN half USING (message_id)
            LEFT JOIN read USING (message_id)
            WHERE {tagged}
        ), whole AS (
            SELECT *, if(unique_bounces > sent, 0, sent - unique_bounces) AS delivered FROM row
        )
        SELECT *, unique_opens / nullif(delivered, 0) AS open_rate, unique_clicks / nullif(delivered, 0) AS click_rate,
            unique_clicks / nullif(unique_opens, 0) AS click_to_open_rate,
            human_unique_opens / nullif(delivered, 0) AS human_open_rate,
            human_unique_clicks / nullif(delivered, 0) AS human_click_rate,
            human_unique_clicks / nullif(human_unique_opens, 0) AS human_click_to_open_rate,
            unique_bounces / nullif(sent, 0) AS bounce_rate, unsubscribes / nullif(delivered, 0) AS unsubscribe_rate
        FROM whole
    """


def _unique(name: str) -> str:
    """The column that counts the people of one that counts events."""
    return f"human_unique_{name.removeprefix('human_')}" if name.startswith("human_") else f"unique_{name}"
