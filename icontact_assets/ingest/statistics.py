"""iContact's own statistics of messages in `raw_statistics`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import duckdb

from icontact_assets.ingest.staging import Poll
from icontact_assets.warehouse.tables import STATISTICS
from icontact_assets.warehouse.times import naive


def stored_statistics(connection: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> dict[str, dict[str, int | None]]:
    """iContact's own statistics of messages as last stored."""
    rows = connection.execute(
        f"SELECT message_id, {', '.join(STATISTICS)} FROM current_statistics WHERE list_contains(?, message_id)",  # noqa: S608
        [list(ids)],
    ).fetchall()
    return {row[0]: dict(zip(STATISTICS, row[1:], strict=True)) for row in rows}


def store_statistics(connection: duckdb.DuckDBPyConnection, polls: Sequence[tuple[Poll, date]]) -> None:
    """Store statistics, each on a day. Those that the message has on that day are replaced."""
    if not polls:
        return
    key = {"message_id": [poll.message_id for poll, _ in polls], "day": [day for _, day in polls]}
    connection.execute(
        "DELETE FROM raw_statistics s USING (SELECT unnest($message_id) AS message_id, unnest($day) AS day) p "
        "WHERE s.message_id = p.message_id AND s.partition_date = p.day",
        key,
    )
    figures = ", ".join(f"unnest(${name}::BIGINT[])" for name in STATISTICS)
    connection.execute(
        f"INSERT INTO raw_statistics (message_id, {', '.join(STATISTICS)}, observed_at, partition_date) "
        f"SELECT unnest($message_id), {figures}, unnest($at), unnest($day)",
        {
            **key,
            **{name: [poll.statistics[name] for poll, _ in polls] for name in STATISTICS},
            "at": [naive(poll.at) for poll, _ in polls],
        },
    )
