"""Whether the report tables agree with the raw tables, asked in another way than they are computed."""

from __future__ import annotations

from typing import NamedTuple

import duckdb

from icontact_assets.warehouse.tables import Table

TOTALS_MATCH = "totals_match_raw_tables"
"""The check that asks so."""


class Totals(NamedTuple):
    """Two ways to count the same."""

    agree: str
    """What they agree on."""
    report: str
    """The query over the report table."""
    raw: str
    """The query over the raw tables."""


_MEMBER = """
    FROM current_subscriptions s LEFT JOIN current_contacts c ON c.id = s.contact_id
    WHERE s.deleted_at IS NULL AND coalesce(lower(s.status), 'normal') = 'normal'
        AND c.deleted_at IS NULL AND coalesce(lower(c.status), 'normal') = 'normal'
"""

TOTALS = {
    "campaigns": Totals(
        "Opens, clicks and bounces of all messages together are those in raw_activity.",
        "SELECT sum(opens + clicks + bounces) FROM campaigns",
        "SELECT count(*) FROM raw_activity SEMI JOIN campaigns USING (message_id) WHERE event_type <> 'unsubscribe'",
    ),
    "links": Totals(
        "Clicks by message, and over all messages, are those in raw_activity.",
        "SELECT sum(clicks * if(message_id IS NULL, 1, 2)) FROM links",
        "SELECT 3 * count(*) FROM raw_activity WHERE event_type = 'click'",
    ),
    "engagement": Totals(
        "There is a row for each contact that exists.",
        "SELECT count(*) FROM engagement",
        "SELECT count(*) FROM current_contacts WHERE deleted_at IS NULL AND lower(status) IS DISTINCT FROM 'deleted'",
    ),
    "domains": Totals(
        "Every contact is counted at one domain.",
        "SELECT sum(contacts) FROM domains",
        "SELECT count(DISTINCT id) FROM raw_contacts",
    ),
    "list_health": Totals(
        "The last size of each list is its normal subscriptions of normal contacts.",
        "SELECT sum(size) FROM (FROM list_health QUALIFY day = max(day) OVER (PARTITION BY list_id))",
        f"SELECT count(*) {_MEMBER}",
    ),
}
"""What is counted of each report table."""


def repeated_keys(connection: duckdb.DuckDBPyConnection, table: Table) -> int:
    """How many rows of a report table have the key of another."""
    key = ", ".join(table.key)
    [(rows,)] = connection.execute(
        f'SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM "{table.name}" GROUP BY {key})'
    ).fetchall()
    return int(rows)


def totals(connection: duckdb.DuckDBPyConnection, table: Table) -> tuple[int, int]:
    """What a report table counts, and what the raw tables do."""
    asked = TOTALS[table.name]
    [(counted,)] = connection.execute(asked.report).fetchall()
    [(expected,)] = connection.execute(asked.raw).fetchall()
    return int(counted or 0), int(expected or 0)
