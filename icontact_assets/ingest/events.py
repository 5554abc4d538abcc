"""How the rows of a message's listings become events in `raw_activity`: each once, numbered among identical ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from icontact_assets.ingest.landing import Landing
from icontact_assets.ingest.rows import EVENT_TYPES
from icontact_assets.ingest.staging import VerifiedRead
from icontact_assets.warehouse.times import naive


def land_events(landing: Landing, reads: Sequence[VerifiedRead]) -> dict[date, int]:
    """Store the events of these reads that are not stored yet: how many, by the UTC day of the event."""
    connection, now = landing.connection, naive(landing.now)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE landing (contact_id VARCHAR, event_time TIMESTAMP, event_url VARCHAR, "
        "message_id VARCHAR, event_type VARCHAR, from_start BOOLEAN)"
    )
    for read, rejected in landing.load("landing", reads, _constants):
        landing.quarantine(read.listing, rejected)
    # An event has no id. Of identical rows a listing may hold several, and each is an event, told apart by its number
    # among them. A read from the first row on brings every row of the listing: of n identical ones the first are those
    # that are stored already, and only what goes beyond their number is new. Rows that left the listing stay stored.
    # A read that went on from the known end brings only rows that are not stored, so their numbers continue after
    # those of the stored ones. The bounds of time let DuckDB skip most of the table, which is stored in time order.
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE fresh AS
        WITH stored AS (
            SELECT message_id, event_type, contact_id, event_time, event_url, count(*) AS rows FROM raw_activity
            WHERE event_time BETWEEN (SELECT min(event_time) FROM landing) AND (SELECT max(event_time) FROM landing)
                AND message_id IN (SELECT DISTINCT message_id FROM landing)
            GROUP BY ALL
        ), listed AS (
            SELECT message_id, event_type, contact_id, event_time, event_url, from_start, count(*) AS rows
            FROM landing GROUP BY ALL
        )
        SELECT message_id, event_type, contact_id, event_time, event_url,
            unnest(CASE WHEN from_start THEN range(held, rows) ELSE range(held, held + rows) END) AS ordinal
        FROM (
            SELECT a.*, coalesce(b.rows, 0) AS held FROM listed a LEFT JOIN stored b
                ON a.message_id IS NOT DISTINCT FROM b.message_id AND a.event_type IS NOT DISTINCT FROM b.event_type
                AND a.contact_id IS NOT DISTINCT FROM b.contact_id AND a.event_time IS NOT DISTINCT FROM b.event_time
                AND a.event_url IS NOT DISTINCT FROM b.event_url
        )
        """
    )
    connection.execute(
        """
        INSERT INTO raw_activity
            (message_id, event_type, contact_id, event_time, event_url, ordinal, extracted_at, partition_date)
        SELECT message_id, event_type, contact_id, event_time, event_url, ordinal, $now, event_time::DATE
        FROM fresh ORDER BY event_time, message_id, event_type, contact_id, event_url, ordinal
        """,
        {"now": now},
    )
    connection.execute("INSERT INTO touched_contacts SELECT DISTINCT contact_id, $now FROM fresh", {"now": now})
    by_day = connection.execute("SELECT event_time::DATE AS day, count(*) FROM fresh GROUP BY day ORDER BY day")
    return dict(by_day.fetchall())


def _constants(read: VerifiedRead) -> dict[str, str]:
    return {
        "message_id": read.listing.message_id,
        "event_type": EVENT_TYPES[read.listing.kind],
        "from_start": str(read.base == 0),
    }
