"""What our raw tables say of the time of the export: our values then, identical rows, the oldest activity."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import duckdb

from icontact_assets.mapping.build import compute_distinct, tag_messages, user_rows
from icontact_assets.mapping.expressions import EVENTS_BY_KIND, activity_value, counts_links, field_table
from icontact_assets.warehouse.times import aware, naive


@dataclass(frozen=True)
class Evidence:
    """What holds for all profiles."""

    exported_at: datetime
    """Aware."""
    oldest_event: datetime | None
    """The oldest activity that iContact still showed when it was first read (aware UTC). None: there is no activity."""
    unread_listings: int
    """Listings of activity that are not completely read, so that rows may be missing here."""


def gather(connection: duckdb.DuckDBPyConnection, exported_at: datetime, aid: str | None) -> Evidence:
    """Make the temporary tables of what our raw tables say of the profiles in `pairs` at an instant (aware):

    - `later_users`: the contacts that changed since and had a version before, and `then_users`: their fields then.
    - `later_activity`: who did something since, and `then_activity`: their fields then. Who had done nothing has none.
    - `doubles` (contact_id, event_type, hashedurls_key, times): the identical rows of then, beside the first of each.

    `aid` is that of the import: only messages that carry it count.
    """
    then = naive(exported_at)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE later_users AS SELECT id FROM raw_contacts SEMI JOIN temp.pairs USING (id) "
        "GROUP BY id HAVING max(observed_at) > $then AND min(observed_at) <= $then",
        {"then": then},
    )
    versions = user_rows(
        connection, f"raw_contacts SEMI JOIN temp.later_users USING (id) WHERE observed_at <= TIMESTAMP '{then}'"
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE then_users AS {versions}")
    events = "raw_activity"
    if aid is not None:
        tag_messages(connection, aid)
        events += " SEMI JOIN temp.tagged USING (message_id)"
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE later_activity AS SELECT DISTINCT contact_id AS id FROM "
        f"(FROM {events} WHERE event_time > $then) later SEMI JOIN temp.pairs ON later.contact_id = pairs.id",
        {"then": then},
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE events_then AS "
        f"SELECT contact_id, event_type, event_time, event_url FROM {events} "
        "WHERE event_time <= $then AND contact_id IN (FROM temp.later_activity)",
        {"then": then},
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE rows_again AS SELECT contact_id, event_type, event_url, count(*) AS times "
        f"FROM {events} WHERE ordinal > 0 AND event_time <= $then AND contact_id IN (SELECT id FROM temp.pairs) "
        "GROUP BY ALL",
        {"then": then},
    )
    _hash(connection)
    _make_activity(connection)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE doubles AS SELECT contact_id, event_type, value AS hashedurls_key, "
        "sum(times)::BIGINT AS times FROM temp.rows_again LEFT JOIN temp.link_keys ON event_url = text GROUP BY ALL"
    )
    [(oldest,)] = connection.execute(f"SELECT min(event_time) FROM {events}").fetchall()
    [(unread,)] = connection.execute(
        "SELECT count(*) FROM import_coverage WHERE resource = 'activity' AND status <> 'complete'"
    ).fetchall()
    return Evidence(exported_at, aware(oldest), unread)


def _hash(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the temporary table `link_keys` (text, value) of the links that are asked for: nearly all are hashed."""
    links = (
        "(SELECT event_url FROM temp.events_then UNION SELECT event_url FROM temp.rows_again) links "
        "{} JOIN hashed_links USING (event_url) WHERE event_url IS NOT NULL"
    )
    compute_distinct(connection, "link_keys", "hashedurls_key", f"SELECT event_url AS text FROM {links.format('ANTI')}")
    connection.execute(f"INSERT INTO temp.link_keys SELECT event_url, hashedurls_key FROM {links.format('INNER')}")


def _make_activity(connection: duckdb.DuckDBPyConnection) -> None:
    values = ", ".join(
        f'{activity_value(field)} AS "{field.name}"'
        for field in field_table("icontact_activity")
        if not counts_links(field)
    )
    [links] = [field.name for field in field_table("icontact_activity") if counts_links(field)]
    connection.execute(
        f'CREATE OR REPLACE TEMP TABLE then_activity AS SELECT *, links AS "{links}" FROM '
        f"(SELECT {values} FROM ({EVENTS_BY_KIND.format('temp.events_then')}) GROUP BY contact_id) LEFT JOIN "
        "(SELECT contact_id AS ic_contact_id, map_from_entries(list((value, times))) AS links FROM "
        "(SELECT contact_id, value, count(*) AS times FROM temp.events_then "
        "JOIN temp.link_keys ON event_url = text WHERE value IS NOT NULL GROUP BY ALL) GROUP BY contact_id) "
        "USING (ic_contact_id)"
    )
