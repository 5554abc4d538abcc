"""iContact's own figures against the rows that are stored, and why they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from icontact_assets.ingest.coverage import FIGURE_OF, MessageState
from icontact_assets.ingest.rows import EVENT_TYPES

EXPLAINED = ("no figure", "duplicates", "deleted contact")
"""Reasons with which a difference leaves nothing to do."""


@dataclass(frozen=True)
class Difference:
    """A message and kind of which iContact counts more or fewer (None: it gives no figure) than `stored` rows.

    `reason`: 'no figure'; 'not read'; 'late' (rows came in the middle, or the figure moved since the last reading);
    'unreadable' (the rest stands in quarantine); 'duplicates' (it counts identical lines once); 'deleted contact' (it
    no longer counts rows of contacts that are gone); else 'unexplained'.
    """

    message_id: str
    kind: str
    stored: int
    figure: int | None
    reason: str


def tie_out(
    connection: duckdb.DuckDBPyConnection, schema: str, messages: Sequence[MessageState]
) -> tuple[int, list[Difference]]:
    """How many listings of these messages were compared (those that count), and those that differ, newest message
    first."""
    figure = " ".join(f"WHEN '{kind}' THEN f.{column}" for kind, column in FIGURE_OF.items())
    kind = " ".join(f"WHEN '{type_}' THEN '{kind}'" for kind, type_ in EVENT_TYPES.items())
    rows = connection.execute(
        f"""
        WITH counted AS (
            SELECT message_id, unnest(kinds) AS kind
            FROM (SELECT unnest($ids::VARCHAR[]) AS message_id, unnest($kinds::VARCHAR[][]) AS kinds)
        ), figures AS (
            SELECT * FROM "{schema}".raw_statistics WHERE list_contains($ids, message_id)
            QUALIFY row_number() OVER (PARTITION BY message_id ORDER BY observed_at DESC) = 1
        ), stored AS (
            SELECT message_id, CASE event_type {kind} END AS kind, count(*) AS stored,
                count_if(ordinal > 0) AS identical
            FROM "{schema}".raw_activity GROUP BY message_id, event_type
        ), compared AS (
            SELECT message_id, kind, coalesce(s.stored, 0) AS stored, coalesce(s.identical, 0) AS identical,
                CASE kind {figure} END AS figure, l.figure AS read_at, l.read_through, l.verdict
            FROM counted JOIN figures f USING (message_id)
            LEFT JOIN stored s USING (message_id, kind)
            LEFT JOIN "{schema}".import_coverage l USING (message_id, kind)
            WHERE coalesce(l.resource, 'activity') = 'activity'
        ), too_many AS (
            SELECT * FROM compared WHERE stored > figure
        ), gone AS (
            SELECT message_id, kind, count(*) AS gone
            FROM (SELECT *, CASE event_type {kind} END AS kind FROM "{schema}".raw_activity)
            SEMI JOIN too_many USING (message_id, kind)
            ANTI JOIN (
                SELECT id AS contact_id FROM (
                    FROM "{schema}".raw_contacts
                    QUALIFY row_number() OVER (PARTITION BY id ORDER BY observed_at DESC) = 1
                ) WHERE deleted_at IS NULL AND lower(status) IS DISTINCT FROM 'deleted'
            ) USING (contact_id) GROUP BY ALL
        ), unreadable AS (
            SELECT message_id, resource AS kind, sum(occurrences) AS unreadable FROM "{schema}".quarantine GROUP BY ALL
        )
        SELECT message_id, kind, stored, figure, CASE
            WHEN stored = figure THEN NULL
            WHEN read_through IS NULL AND (stored > 0 OR figure > 0) THEN 'not read'
            WHEN figure IS NULL THEN 'no figure'
            WHEN verdict <> 'complete' OR figure <> read_at THEN 'late'
            WHEN stored + unreadable = figure THEN 'unreadable'
            WHEN stored - identical = figure THEN 'duplicates'
            WHEN figure BETWEEN stored - gone AND stored THEN 'deleted contact'
            ELSE 'unexplained' END
        FROM compared LEFT JOIN gone USING (message_id, kind) LEFT JOIN unreadable USING (message_id, kind)
        ORDER BY try_cast(message_id AS BIGINT) DESC, message_id DESC, kind
        """,
        {"ids": [message.id for message in messages], "kinds": [list(message.kinds) for message in messages]},
    ).fetchall()
    return len(rows), [Difference(*row) for row in rows if row[-1] is not None]
