"""iContact's own statistics against the rows that are stored, and why they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from icontact_assets.ingest.due import STATISTIC_OF, MessageState
from icontact_assets.ingest.rows import EVENT_TYPES

EXPLAINED = ("no statistic", "duplicates", "deleted contact")
"""Reasons with which a difference leaves nothing to do."""


@dataclass(frozen=True)
class Difference:
    """A listing of a message of which iContact counts more or fewer rows than are stored."""

    message_id: str
    kind: str
    stored: int
    statistic: int | None
    """iContact's own count. None: it gives none."""
    reason: str
    """Why they differ.

    - `no statistic`: iContact gives none.
    - `not read`: the listing was never read completely.
    - `stale`: rows appeared in the middle, or the statistic changed since the last read.
    - `unreadable`: the rest is in quarantine.
    - `duplicates`: iContact counts identical rows once.
    - `deleted contact`: iContact no longer counts rows of contacts that are gone.
    - `unexplained`: none of these.
    """


def tie_out(connection: duckdb.DuckDBPyConnection, messages: Sequence[MessageState]) -> tuple[int, list[Difference]]:
    """How many listings of these messages were compared (those that count), and those that differ, newest message
    first."""
    statistic = " ".join(f"WHEN '{kind}' THEN f.{column}" for kind, column in STATISTIC_OF.items())
    kind = " ".join(f"WHEN '{type_}' THEN '{kind}'" for kind, type_ in EVENT_TYPES.items())
    rows = connection.execute(
        f"""
        WITH counted AS (
            SELECT message_id, unnest(kinds) AS kind
            FROM (SELECT unnest($ids::VARCHAR[]) AS message_id, unnest($kinds::VARCHAR[][]) AS kinds)
        ), stored AS (
            SELECT message_id, CASE event_type {kind} END AS kind, count(*) AS stored,
                count_if(ordinal > 0) AS identical
            FROM raw_activity GROUP BY message_id, event_type
        ), compared AS (
            SELECT message_id, kind, coalesce(s.stored, 0) AS stored, coalesce(s.identical, 0) AS identical,
                CASE kind {statistic} END AS statistic, l.statistic AS read_at, l.read_through, l.status
            FROM counted JOIN current_statistics f USING (message_id)
            LEFT JOIN stored s USING (message_id, kind)
            LEFT JOIN import_coverage l USING (message_id, kind)
            WHERE coalesce(l.resource, 'activity') = 'activity'
        ), too_many AS (
            SELECT * FROM compared WHERE stored > statistic
        ), gone AS (
            SELECT message_id, kind, count(*) AS gone
            FROM (SELECT *, CASE event_type {kind} END AS kind FROM raw_activity)
            SEMI JOIN too_many USING (message_id, kind)
            ANTI JOIN (
                SELECT id AS contact_id FROM current_contacts
                WHERE deleted_at IS NULL AND lower(status) IS DISTINCT FROM 'deleted'
            ) USING (contact_id) GROUP BY ALL
        ), unreadable AS (
            SELECT message_id, resource AS kind, sum(occurrences) AS unreadable FROM quarantine GROUP BY ALL
        )
        SELECT message_id, kind, stored, statistic, CASE
            WHEN stored = statistic THEN NULL
            WHEN read_through IS NULL AND (stored > 0 OR statistic > 0) THEN 'not read'
            WHEN statistic IS NULL THEN 'no statistic'
            WHEN status <> 'complete' OR statistic <> read_at THEN 'stale'
            WHEN stored + unreadable = statistic THEN 'unreadable'
            WHEN stored - identical = statistic THEN 'duplicates'
            WHEN statistic BETWEEN stored - gone AND stored THEN 'deleted contact'
            ELSE 'unexplained' END
        FROM compared LEFT JOIN gone USING (message_id, kind) LEFT JOIN unreadable USING (message_id, kind)
        ORDER BY try_cast(message_id AS BIGINT) DESC, message_id DESC, kind
        """,  # noqa: S608
        {"ids": [message.id for message in messages], "kinds": [list(message.kinds) for message in messages]},
    ).fetchall()
    return len(rows), [Difference(*row) for row in rows if row[-1] is not None]
