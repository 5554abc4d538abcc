"""Computes `links`: what was clicked in each message, and over all messages."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from icontact_assets.mapping.functions import hash_sip, urlmain
from icontact_assets.reports.store import store
from icontact_assets.reports.tables import LINKS

_BATCH_URLS = 200_000
"""Distinct links that are in Python's memory at one time."""


def build_links(connection: duckdb.DuckDBPyConnection) -> int:
    """Compute `links` from the raw tables and the temporary table `labelled`: how many rows."""
    _tabulate_urls(connection)
    # A person's clicks on a link in one message, and then those over all messages.
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE clicking AS
        SELECT message_id, contact_id, key, count(*) AS clicks, count_if(machine IS NULL) AS human,
            min(event_time) AS first, max(event_time) AS last
        FROM temp.labelled LEFT JOIN temp.urls USING (event_url)
        WHERE event_type = 'click' GROUP BY ALL
        """
    )
    counts = (
        "sum(clicks)::BIGINT AS clicks, count(*) AS people, sum(human)::BIGINT AS human_clicks, "
        "count_if(human > 0) AS human_people, min(first) AS first_click_at, max(last) AS last_click_at"
    )
    return store(
        connection,
        LINKS,
        f"""
        WITH link AS (
            SELECT key, min(link) AS link FROM temp.urls GROUP BY key
        ), over_all AS (
            SELECT contact_id, key, sum(clicks) AS clicks, sum(human) AS human, min(first) AS first, max(last) AS last
            FROM temp.clicking GROUP BY ALL
        ), counted AS (
            SELECT message_id, key, {counts} FROM temp.clicking GROUP BY ALL
            UNION ALL SELECT NULL, key, {counts} FROM over_all GROUP BY ALL
        )
        SELECT counted.* EXCLUDE (key), link, key AS hashedurls_key FROM counted LEFT JOIN link USING (key)
        """,
    )


def _tabulate_urls(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the temporary table `urls` (event_url, link, key) of all links clicked: host and path, and their hash."""
    connection.execute("CREATE OR REPLACE TEMP TABLE urls (event_url VARCHAR, link VARCHAR, key VARCHAR)")
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE clicked AS SELECT event_url, row_number() OVER () - 1 AS n "
        "FROM (SELECT DISTINCT event_url FROM raw_activity WHERE event_type = 'click' AND event_url IS NOT NULL)"
    )
    [(count,)] = connection.execute("SELECT count(*) FROM temp.clicked").fetchall()
    for start in range(0, count, _BATCH_URLS):
        batch = connection.execute(
            "SELECT event_url FROM temp.clicked WHERE n >= $start AND n < $start + $size",
            {"start": start, "size": _BATCH_URLS},
        ).fetchall()
        urls = [url for (url,) in batch]
        mains = [urlmain(url) for url in urls]
        # The hash is of the bytes. As text, what is no UTF-8 is shown as U+FFFD.
        columns = {
            "event_url": pa.array(urls, pa.string()),
            "link": pa.array([main.decode(errors="replace") if main else None for main in mains], pa.string()),
            "key": pa.array([str(hash_sip(main)) if main else None for main in mains], pa.string()),
        }
        connection.register("batch", pa.table(columns))
        connection.execute("INSERT INTO temp.urls FROM batch")
        connection.unregister("batch")
