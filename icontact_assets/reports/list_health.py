"""Computes `list_health`: how each list grows and shrinks, day by day."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import duckdb

from icontact_assets.reports.days import day_of, register_days
from icontact_assets.reports.store import store
from icontact_assets.reports.tables import LIST_HEALTH
from icontact_assets.warehouse.times import aware

LEFT = ("unsubscribed", "moved", "deleted", "bounced", "do_not_contact", "left_otherwise")
"""How somebody leaves a list: the columns of `list_health`."""


def build_list_health(connection: duckdb.DuckDBPyConnection, time_zone: str, start: date, now: datetime) -> int:
    """Compute `list_health` from the raw tables: how many rows.

    Its days are those of the time zone, from the first on which somebody who is known came onto a list, but not before
    `start`, to that of `now` (aware).
    """
    _tabulate_versions(connection)
    [(earliest,)] = connection.execute("SELECT min(since) FROM temp.versions WHERE state = 'normal'").fetchall()
    last = day_of(now, time_zone)
    found = aware(earliest)
    first = min(max(start, day_of(found, time_zone)) if found else last, last)
    # What came before is on the day before the first.
    register_days(connection, first - timedelta(days=1), last, time_zone)
    rows = store(connection, LIST_HEALTH, _QUERY, {"first": first})
    connection.unregister("days")
    return rows


def _tabulate_versions(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the temporary tables `versions` (list_id, contact_id, since, state) of subscriptions, and `contact_versions`
    (contact_id, since, state): since when (UTC) each was what.

    A version is stored when a read finds it. It is older than that: a subscription says when it was added, and who
    unsubscribed, bounced or opted out between two reads did so when activity or an export shows it.
    """
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE versions AS
        WITH version AS (
            SELECT *, lag(observed_at) OVER (PARTITION BY subscription_id ORDER BY observed_at) AS former,
                CASE WHEN deleted_at IS NOT NULL THEN 'gone' ELSE coalesce(lower(status), 'normal') END AS state
            FROM raw_subscriptions
        ), acted AS (
            SELECT contact_id, event_time FROM raw_activity WHERE event_type = 'unsubscribe'
        ), seen AS (
            SELECT contact_id, list_id, seen_at FROM opt_outs WHERE folder = ''
        )
        SELECT v.list_id, v.contact_id, state, CASE
                WHEN state = 'gone' THEN deleted_at
                WHEN state = 'normal' AND coalesce(added_at > former, true) THEN least(added_at, observed_at)
                WHEN state = 'unsubscribed' THEN coalesce(least(
                    if(event_time > former, event_time, NULL), if(seen_at > former, seen_at, NULL)), observed_at)
                ELSE observed_at END AS since
        FROM version v
        ASOF LEFT JOIN acted a ON v.contact_id = a.contact_id AND v.observed_at >= a.event_time
        ASOF LEFT JOIN seen s ON v.contact_id = s.contact_id AND v.list_id = s.list_id AND v.observed_at >= s.seen_at
        """
    )
    # Of a contact that was always normal nothing need be known. What it was at first it is taken to have been before.
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE contact_versions AS
        WITH version AS (
            SELECT id, observed_at, deleted_at, lag(observed_at) OVER versions AS former,
                CASE WHEN deleted_at IS NOT NULL THEN 'deleted' ELSE coalesce(lower(status), 'normal') END AS standing
            FROM raw_contacts WINDOW versions AS (PARTITION BY id ORDER BY observed_at)
            QUALIFY bool_or(standing <> 'normal') OVER (PARTITION BY id)
        ), bounced AS (
            SELECT contact_id, event_time FROM raw_activity WHERE event_type = 'bounce'
        ), seen AS (
            SELECT contact_id, seen_at FROM opt_outs WHERE folder = '' AND list_id = ''
        )
        SELECT id AS contact_id, standing AS state, CASE
                WHEN former IS NULL THEN '-infinity'::TIMESTAMP
                WHEN deleted_at IS NOT NULL THEN deleted_at
                WHEN standing = 'bounced' AND event_time > former THEN event_time
                WHEN standing = 'donotcontact' AND seen_at > former THEN seen_at
                ELSE observed_at END AS since
        FROM version v
        ASOF LEFT JOIN bounced b ON v.id = b.contact_id AND v.observed_at >= b.event_time
        ASOF LEFT JOIN seen s ON v.id = s.contact_id AND v.observed_at >= s.seen_at
        """
    )


_COUNTS = ", ".join(f"count_if(leaves AND how = '{how}') AS {how}" for how in LEFT)
_SINCE_READ = ", ".join(f"CASE WHEN begun THEN coalesce({how}, 0) END AS {how}" for how in LEFT)
_LOSS = " + ".join(f"coalesce({how}, 0)" for how in LEFT)

_QUERY = f"""
    WITH point AS (
        SELECT list_id, contact_id, since, state AS subscription, NULL AS contact FROM temp.versions
        UNION ALL
        SELECT list_id, contact_id, since, NULL, state
        FROM (SELECT DISTINCT list_id, contact_id FROM temp.versions) JOIN temp.contact_versions USING (contact_id)
    ), state AS (
        SELECT list_id, contact_id, since, last_value(subscription IGNORE NULLS) OVER until_then AS subscription,
            coalesce(last_value(contact IGNORE NULLS) OVER until_then, 'normal') AS contact
        FROM point WINDOW until_then AS (
            PARTITION BY list_id, contact_id ORDER BY since, contact NULLS LAST ROWS UNBOUNDED PRECEDING)
    ), at_end AS (
        SELECT list_id, contact_id, coalesce(day, $first - 1) AS day, arg_max(struct_pack(
            member := coalesce(subscription, '') = 'normal' AND contact = 'normal',
            how := CASE
                WHEN contact = 'deleted' THEN 'deleted' WHEN contact = 'donotcontact' THEN 'do_not_contact'
                WHEN contact = 'bounced' THEN 'bounced' WHEN subscription = 'unsubscribed' THEN 'unsubscribed'
                WHEN subscription = 'gone' THEN 'moved' ELSE 'left_otherwise' END), since) AS final
        FROM state ASOF LEFT JOIN days ON since >= begins_at GROUP BY ALL
    ), change AS (
        SELECT list_id, day, final.how, final.member AND NOT was AS joins, NOT final.member AND was AS leaves
        FROM (
            SELECT *, lag(final.member, 1, false) OVER (PARTITION BY list_id, contact_id ORDER BY day) AS was
            FROM at_end)
    ), counted AS (
        SELECT list_id, day, count_if(joins) AS joined, {_COUNTS} FROM change GROUP BY ALL
    ), list AS (
        SELECT list_id, min(observed_at) AS read_at, min(day) AS first_day
        FROM raw_subscriptions JOIN (SELECT list_id, min(day) AS day FROM counted WHERE joined > 0 GROUP BY ALL)
        USING (list_id) GROUP BY list_id
    ), sized AS (
        SELECT day, list_id, lead(begins_at, 1, 'infinity') OVER following > read_at AS begun,
            sum(coalesce(joined, 0) - ({_LOSS})) OVER following AS size, joined, {", ".join(LEFT)}
        FROM list JOIN days ON day >= first_day LEFT JOIN counted USING (list_id, day)
        WINDOW following AS (PARTITION BY list_id ORDER BY day)
    ), known AS (
        SELECT day, list_id, CASE WHEN begun THEN size END::BIGINT AS size, coalesce(joined, 0) AS joined, {_SINCE_READ}
        FROM sized
    ), grown AS (
        SELECT *, size - lag(size) OVER (PARTITION BY list_id ORDER BY day) AS growth FROM known
    )
    SELECT grown.*, growth / nullif(size - growth, 0) AS growth_rate, name AS list_name
    FROM grown LEFT JOIN current_lists USING (list_id) WHERE day >= $first
"""
