"""What was sent when to which lists, and who got it, as far as the tables show."""

from __future__ import annotations

from datetime import datetime

import duckdb

from icontact_assets.ingest.due import NOT_CANCELLED, RELEASED
from icontact_assets.warehouse.times import naive

_BITS_MEMORY = 400_000_000
"""Bytes that may be taken while the bits of contacts are collected, roughly."""

_BITS_BESIDE = 150
"""Bytes that a row takes besides its bits."""


def tabulate_sent(connection: duckdb.DuckDBPyConnection, now: datetime) -> int:
    """Make the temporary table `sent`, a row per message that was sent by `now` (aware): how many.

    Columns: message_id, n (its place among the messages in the order of their first send, from 0), first_send_at (UTC),
    lists and excluded (ids), recipients (as the sends count them, NULL if none does), and known: whether the
    subscriptions of all its lists were read before it was sent, so that the tables show who got it.
    """
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE sent AS
        WITH send AS (
            SELECT *, {RELEASED.format(now="$now::TIMESTAMP")} AS released,
                {_ids("include_list_ids")} AS lists, {_ids("exclude_list_ids")} AS excluded
            FROM current_sends WHERE {NOT_CANCELLED}
        ), message AS (
            SELECT message_id, min(released) AS first_send_at, sum(recipient_count)::BIGINT AS recipients,
                list_distinct(flatten(list(lists))) AS lists, list_distinct(flatten(list(excluded))) AS excluded,
                bool_or(coalesce(include_segment_ids, '') || coalesce(exclude_segment_ids, '') <> '') AS segments
            FROM send WHERE released <= $now::TIMESTAMP GROUP BY message_id
        ), read_list AS (
            SELECT list_id, min(observed_at) AS since FROM raw_subscriptions GROUP BY list_id
        ), read_message AS (
            SELECT message_id, bool_and(coalesce(since <= first_send_at, false)) AS read
            FROM (SELECT message_id, first_send_at, unnest(lists || excluded) AS list_id FROM message)
            LEFT JOIN read_list USING (list_id) GROUP BY message_id
        )
        SELECT message_id, first_send_at, recipients, lists, excluded, coalesce(read AND NOT segments, false) AS known,
            (row_number() OVER (ORDER BY first_send_at, message_id) - 1)::INTEGER AS n
        FROM message LEFT JOIN read_message USING (message_id)
        """,
        {"now": naive(now)},
    )
    [(messages,)] = connection.execute("SELECT count(*) FROM temp.sent").fetchall()
    return int(messages)


def _ids(column: str) -> str:
    """SQL for the ids in a text that separates them by commas."""
    return f"[trim(id) for id in string_split(coalesce({column}, ''), ',') if trim(id) <> '']"


def tabulate_mails(connection: duckdb.DuckDBPyConnection, messages: int) -> None:
    """Make the temporary tables `mails`, `first_mails` and `sent_before`, by which mails are counted without a row for
    each. `messages`: the rows of `sent`.

    - `mails` (contact_id, mails): a bit for each message that the contact got, at its place `n`. A contact got what
      was sent to a list that it was on, unless it was on a list that was left out or was not normal then, and whatever
      it opened, clicked in or unsubscribed by. It did not get what bounced. Who had left a list before it was first
      read is not known to have been on it.
    - `first_mails` (n, mails): the bits of the first `n` messages.
    - `sent_before` (sent_at, n): `n` messages were sent by the time `sent_at` (UTC). An instant after it, and not after
      the next, has `n` messages before it.
    """
    # Where nothing was sent, one bit stands for nothing.
    width = max(messages, 1)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE first_mails AS "
        f"SELECT n, (repeat('1', n) || repeat('0', {width} - n))::BIT AS mails "
        f"FROM (SELECT unnest(range({width + 1}))::INTEGER AS n)"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE sent_before AS "
        "SELECT first_send_at AS sent_at, max(n) + 1 AS n FROM temp.sent GROUP BY first_send_at"
    )
    connection.execute("CREATE OR REPLACE TEMP TABLE mails (contact_id VARCHAR, mails BIT)")
    [(rows,)] = connection.execute(
        "SELECT (SELECT count(*) FROM raw_activity) + (SELECT count(*) FROM raw_subscriptions)"
    ).fetchall()
    # DuckDB cannot put the bits that it is collecting on disk, and it may begin anew for a contact with each row.
    parts = 1 + rows * (width // 8 + _BITS_BESIDE) // _BITS_MEMORY
    for part in range(parts):
        connection.execute(f"INSERT INTO temp.mails {_mails(messages, width, f'% {parts} = {part}')}")


def _mails(messages: int, width: int, part: str) -> str:
    """A query for the rows of `mails` of the contacts of which the hash is in a part."""
    bits, none = f"bitstring_agg(n, 0, {width - 1})", f"repeat('0', {width})::BIT"
    return f"""
        WITH version AS (
            SELECT contact_id, list_id, added_at, observed_at,
                coalesce(lower(status), 'normal') = 'normal' AND deleted_at IS NULL AS counts,
                lag(observed_at) OVER versions AS former, lead(observed_at) OVER versions AS ends
            FROM raw_subscriptions WHERE hash(contact_id) {part}
            WINDOW versions AS (PARTITION BY subscription_id ORDER BY observed_at)
        ), subscribed AS (
            SELECT contact_id, list_id, ends, CASE
                WHEN coalesce(added_at > former, true) THEN least(added_at, observed_at) ELSE observed_at END AS begins
            FROM version WHERE counts
        ), placed AS (
            SELECT contact_id, list_id, coalesce(b.n, 0) AS first,
                CASE WHEN ends IS NULL THEN {messages} ELSE coalesce(e.n, 0) END AS last
            FROM subscribed ASOF LEFT JOIN temp.sent_before b ON begins > b.sent_at
            ASOF LEFT JOIN temp.sent_before e ON ends > e.sent_at
        ), sent_to AS (
            SELECT list_id, {bits} AS mails FROM (SELECT unnest(lists) AS list_id, n FROM temp.sent) GROUP BY list_id
        ), left_out AS (
            SELECT list_id, {bits} AS mails FROM (SELECT unnest(excluded) AS list_id, n FROM temp.sent) GROUP BY list_id
        ), span AS (
            SELECT list_id, first, last, s.mails & e.mails & ~b.mails AS sent_to,
                o.mails & e.mails & ~b.mails AS kept_out
            FROM (SELECT DISTINCT list_id, first, last FROM placed WHERE first < last)
            JOIN temp.first_mails b ON b.n = first JOIN temp.first_mails e ON e.n = last
            LEFT JOIN sent_to s USING (list_id) LEFT JOIN left_out o USING (list_id)
        ), unmailed AS (
            SELECT contact_id, e.mails & ~b.mails AS mails
            FROM (
                SELECT id AS contact_id, coalesce(n, 0) AS first, observed_at, lead(observed_at) OVER versions AS ends,
                    row_number() OVER versions AS version,
                    deleted_at IS NOT NULL OR lower(status) <> 'normal' AS unmailed
                FROM raw_contacts ASOF LEFT JOIN temp.sent_before ON observed_at > sent_at WHERE hash(id) {part}
                WINDOW versions AS (PARTITION BY id ORDER BY observed_at)
            ) ASOF LEFT JOIN temp.sent_before l ON ends > l.sent_at
            JOIN temp.first_mails b ON b.n = if(version = 1, 0, first)
            JOIN temp.first_mails e ON e.n = CASE WHEN ends IS NULL THEN {messages} ELSE coalesce(l.n, 0) END
            WHERE unmailed
        ), seen AS (
            SELECT contact_id, {bits} FILTER (event_type <> 'bounce') AS acted,
                {bits} FILTER (event_type = 'bounce') AS bounced
            FROM raw_activity JOIN temp.sent USING (message_id) WHERE hash(contact_id) {part} GROUP BY contact_id
        )
        SELECT contact_id, (coalesce(bit_or(sent_to), {none}) & ~coalesce(bit_or(kept_out), {none})
            | coalesce(bit_or(acted), {none})) & ~coalesce(bit_or(bounced), {none}) AS mails
        FROM (
            SELECT contact_id, sent_to, kept_out, NULL::BIT AS acted, NULL::BIT AS bounced
            FROM placed JOIN span USING (list_id, first, last)
            UNION ALL SELECT contact_id, NULL, mails, NULL, NULL FROM unmailed
            UNION ALL SELECT contact_id, NULL, NULL, acted, bounced FROM seen
        ) GROUP BY contact_id
    """
