"""Computes `engagement`: how near each person is, and keeps in `engagement_changes` who came to another tier."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import duckdb

from icontact_assets.reports.store import store
from icontact_assets.reports.tables import ENGAGEMENT
from icontact_assets.settings.models import Reports
from icontact_assets.warehouse.times import naive


def build_engagement(connection: duckdb.DuckDBPyConnection, rules: Reports, now: datetime) -> tuple[int, int]:
    """Compute `engagement` from the raw tables and the temporary tables `labelled` and `mails`, and add to
    `engagement_changes` who is in another tier than at the last computation: how many rows, and how many changes.
    `now` is aware."""
    rows = store(
        connection,
        ENGAGEMENT,
        f"""
        WITH person AS (
            SELECT id AS contact_id, coalesce(lower(status), 'normal') AS status FROM current_contacts
            WHERE deleted_at IS NULL AND lower(status) IS DISTINCT FROM 'deleted'
        ), first_seen AS (
            SELECT id AS contact_id, coalesce(min(partition_date), min(observed_at))::TIMESTAMP AS since
            FROM raw_contacts GROUP BY id
        ), by_message AS (
            SELECT contact_id, message_id, max(event_time) FILTER (event_type = 'open') AS opened,
                max(event_time) FILTER (event_type = 'click') AS clicked
            FROM temp.labelled WHERE event_type IN ('open', 'click') AND machine IS NULL GROUP BY ALL
        ), acting AS (
            SELECT contact_id, max(opened) AS last_open_at, max(clicked) AS last_click_at,
                greatest(last_open_at, last_click_at) AS acted_at,
                count_if(greatest(opened, clicked) > $now - INTERVAL 90 DAY) AS messages_90d
            FROM by_message GROUP BY contact_id
        ), near AS (
            SELECT *, coalesce(acted_at, since) AS quiet_since,
                CASE
                    WHEN acted_at > $now - INTERVAL 30 DAY THEN if(messages_90d >= 4, 'loyal', 'active')
                    WHEN acted_at > $now - INTERVAL 90 DAY THEN 'cooling'
                    WHEN acted_at > $now - INTERVAL 180 DAY THEN 'lapsing'
                    WHEN acted_at IS NOT NULL THEN 'dormant'
                    WHEN since > $now - INTERVAL 30 DAY THEN 'new'
                    ELSE 'silent' END AS tier
            FROM person LEFT JOIN first_seen USING (contact_id) LEFT JOIN acting USING (contact_id)
        ), mailed AS (
            SELECT near.*, {_mails_since("INTERVAL 7 DAY")} AS mails_7d, {_mails_since("INTERVAL 30 DAY")} AS mails_30d,
                coalesce(bit_count(m.mails & ~answered.mails), 0) AS mails_unanswered
            FROM near LEFT JOIN temp.mails m USING (contact_id)
            ASOF LEFT JOIN temp.sent_before ON acted_at >= sent_at
            LEFT JOIN temp.first_mails answered ON answered.n = coalesce(sent_before.n, 0)
        )
        SELECT * EXCLUDE (status, since, acted_at, quiet_since) REPLACE (coalesce(messages_90d, 0) AS messages_90d),
            (SELECT coalesce(bool_and(known), true) FROM temp.sent WHERE first_send_at >= $now - INTERVAL 30 DAY)
                AS mails_known,
            CASE
                WHEN status <> 'normal' OR mails_unanswered < {rules.minimum_mails} THEN NULL
                WHEN quiet_since <= $now - INTERVAL {rules.sunset_days} DAY THEN 'sunset'
                WHEN quiet_since <= $now - INTERVAL {rules.win_back_days} DAY THEN 'win_back' END AS due_for
        FROM mailed
        """,
        {"now": naive(now)},
    )
    return rows, _record_changes(connection, rules, now)


def _mails_since(span: str) -> str:
    """SQL for how many mails a contact got within a span before now."""
    return (
        "coalesce(bit_count(m.mails & ~(SELECT mails FROM temp.first_mails WHERE n = "
        f"(SELECT count(*) FROM temp.sent WHERE first_send_at < $now - {span}))), 0)"
    )


def _record_changes(connection: duckdb.DuckDBPyConnection, rules: Reports, now: datetime) -> int:
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE changed AS
        SELECT contact_id, former.tier AS from_tier, engagement.tier AS to_tier
        FROM engagement FULL JOIN (
            SELECT contact_id, arg_max(struct_pack(tier := to_tier), changed_at).tier AS tier
            FROM engagement_changes GROUP BY contact_id
        ) former USING (contact_id)
        WHERE engagement.tier IS DISTINCT FROM former.tier
        """
    )
    connection.execute(
        "INSERT INTO engagement_changes BY NAME SELECT *, $day AS changed_on, $now AS changed_at FROM temp.changed",
        {"now": naive(now), "day": now.astimezone(ZoneInfo(rules.time_zone)).date()},
    )
    [(changes,)] = connection.execute("SELECT count(*) FROM temp.changed").fetchall()
    return int(changes)
