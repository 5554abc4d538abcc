"""Computes icontact_users, icontact_activity and the profiles view from the raw tables, in the caller's transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa

from icontact_assets.errors import UserError
from icontact_assets.mapping import functions
from icontact_assets.mapping.expressions import (
    activity_value,
    field_table,
    lookup,
    needs_function,
    source_text,
    user_value,
)

_VERSION = "1"
"""Counts up when a function of the mapping changes its meaning: everything is then computed anew."""

_BUCKET_EVENTS = 10_000_000
"""Events that one statement of a full computation holds at most, roughly: memory is bounded by it."""

_EVENT_BYTES = 400
"""Memory that an event takes in that statement. Where DuckDB may use little, a statement holds fewer events: spilling
them takes twice the time."""

_BATCH_TEXTS = 200_000
"""Distinct texts that are in Python's memory at one time."""

_FUNCTIONS: dict[str, tuple[Callable[[Any], str | int | None], pa.DataType, str]] = {
    "email": (functions.email, pa.string(), "VARCHAR"),
    "emaildomain": (functions.emaildomain, pa.string(), "VARCHAR"),
    "todate": (functions.todate_ms, pa.timestamp("ms"), "TIMESTAMP"),
    "hashedurls_key": (functions.hashedurls_key, pa.string(), "VARCHAR"),
}
"""Each with its value's type in Arrow and in DuckDB."""


class NothingMapped(UserError):
    """There is nothing that profiles could be made of. The text names what to materialize."""


@dataclass(frozen=True)
class Built:
    """What a computation did. `full`: all rows, not just those of touched contacts."""

    rows: int
    computed: int
    full: bool


def build_users(connection: duckdb.DuckDBPyConnection, *, aid: str | None = None) -> Built:
    """Compute `icontact_users`: one row per contact id.

    Each field is the most recent version's value; a version without one (NULL, empty text, an expression without a
    value) leaves what an earlier version gave (mapping reference, section 3 and Q4). With an `aid`, only contacts
    with activity on a message that carries it (Q7).
    """
    fields = field_table("icontact_users")
    joins = []
    for function, column in sorted({found for field in fields if (found := lookup(field))}):
        name = f"{function}_{column}"
        _compute_distinct(
            connection,
            name,
            function,
            f'SELECT DISTINCT "{column}" AS text FROM raw_contacts WHERE {needs_function(function, column)}',
        )
        joins.append(f'LEFT JOIN temp."{name}" ON "{name}".text = v."{column}"')
    values = ", ".join(
        f'v.id AS "{field.name}"'
        if field.name == "ic_contact_id"
        else f"arg_max({user_value(field)}, v.observed_at) FILTER (WHERE {user_value(field)} IS NOT NULL)"
        f'::{field.sql_type} AS "{field.name}"'
        for field in fields
    )
    chosen = ""
    if aid is not None:
        tag_messages(connection, aid)
        chosen = "WHERE v.id IN (SELECT contact_id FROM raw_activity SEMI JOIN temp.tagged USING (message_id))"
    connection.execute(
        f"CREATE OR REPLACE TABLE icontact_users AS SELECT {values}, "
        "arg_max(struct_pack(at := v.deleted_at), v.observed_at).at AS deleted_at "
        f"FROM raw_contacts v {' '.join(joins)} {chosen} GROUP BY v.id ORDER BY v.id"
    )
    rows = _count(connection, "icontact_users")
    build_profiles(connection)
    return Built(rows, rows, full=True)


def build_activity(connection: duckdb.DuckDBPyConnection, *, aid: str | None = None, everything: bool = False) -> Built:
    """Bring `icontact_activity` up to date: one row per contact that did something.

    With an `aid`, only events of messages whose latest version carries it count. Only contacts whose events changed
    are computed, unless the mapping, the `aid` or the messages that carry it changed, the table is missing, or
    `everything` asks for all; both ways give the same table. Consumes `touched_contacts`.
    """
    fields = field_table("icontact_activity")
    target = "icontact_activity"
    tagged = None if aid is None else tag_messages(connection, aid)
    subject = "\n".join([source_text("icontact_activity"), repr(aid), repr(tagged)])
    digest = f"{_VERSION}:{hashlib.blake2b(subject.encode(), digest_size=12).hexdigest()}"
    before = _digest(connection)
    full = everything or before != digest or not there(connection, "icontact_activity")
    if before is None or before.partition(":")[0] != _VERSION:
        connection.execute("DELETE FROM links")
    touched = "SELECT contact_id FROM touched_contacts"
    _hash_links(connection, "" if full else f"AND contact_id IN ({touched})")
    semi_join = "" if aid is None else "SEMI JOIN temp.tagged USING (message_id)"
    if full:
        columns = ", ".join(f'"{field.name}" {field.sql_type}' for field in fields)
        connection.execute(f"CREATE OR REPLACE TABLE {target} ({columns})")
        # A limit of more than any machine has is not parsed.
        [(fitting,)] = connection.execute(
            "SELECT coalesce(TRY(parse_formatted_bytes(current_setting('memory_limit'))) // ?, ?)",
            [_EVENT_BYTES, _BUCKET_EVENTS],
        ).fetchall()
        buckets = _count(connection, "raw_activity") // min(_BUCKET_EVENTS, fitting) + 1
        for bucket in range(buckets):
            _insert(connection, f"{semi_join} WHERE hash(contact_id) % {buckets} = {bucket}")
        computed = _count(connection, target)
    else:
        connection.execute(f"DELETE FROM {target} WHERE ic_contact_id IN ({touched})")
        _insert(connection, f"{semi_join} WHERE contact_id IN ({touched})")
        computed = _count(connection, f"(SELECT DISTINCT contact_id FROM ({touched}))")
    connection.execute("DELETE FROM touched_contacts")
    connection.execute("DELETE FROM mapping_state")
    connection.execute("INSERT INTO mapping_state VALUES (?, ?)", [digest, datetime.now(UTC).replace(tzinfo=None)])
    build_profiles(connection)
    return Built(_count(connection, target), computed, full)


def tag_messages(connection: duckdb.DuckDBPyConnection, aid: str) -> list[str]:
    """Put the messages whose latest version carries the AID into temp.tagged, and return them, sorted."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE tagged AS SELECT message_id "
        "FROM raw_messages GROUP BY message_id "
        "HAVING list_contains(arg_max(struct_pack(them := aids), observed_at).them, ?)",
        [aid],
    )
    return [message for (message,) in connection.execute("SELECT message_id FROM temp.tagged ORDER BY ALL").fetchall()]


def _hash_links(connection: duckdb.DuckDBPyConnection, which: str) -> None:
    _compute_distinct(
        connection,
        "hashed",
        "hashedurls_key",
        f"SELECT event_url AS text FROM (SELECT DISTINCT event_url FROM raw_activity "
        f"WHERE event_url IS NOT NULL {which}) clicked ANTI JOIN links USING (event_url)",
    )
    connection.execute("INSERT INTO links SELECT text, value FROM temp.hashed")


def _compute_distinct(connection: duckdb.DuckDBPyConnection, name: str, function: str, query: str) -> None:
    """Make the temporary table `name` (text, value): the function's value for each text that `query` gives."""
    compute, arrow_type, sql_type = _FUNCTIONS[function]
    # Numbered, because rows written in a transaction that is still open have no rowids to count on.
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE texts AS SELECT text, row_number() OVER () - 1 AS n FROM ({query})"
    )
    connection.execute(f'CREATE OR REPLACE TEMP TABLE "{name}" (text VARCHAR, value {sql_type})')
    for start in range(0, _count(connection, "temp.texts"), _BATCH_TEXTS):
        rows = connection.execute(
            f"SELECT text FROM temp.texts WHERE n >= {start} AND n < {start + _BATCH_TEXTS}"
        ).fetchall()
        texts = [text for (text,) in rows]
        values = pa.array([compute(text) for text in texts], arrow_type)
        connection.register("batch", pa.table({"text": pa.array(texts, pa.string()), "value": values}))
        connection.execute(f'INSERT INTO temp."{name}" FROM batch')
        connection.unregister("batch")
    connection.execute("DROP TABLE temp.texts")


def _insert(connection: duckdb.DuckDBPyConnection, which: str) -> None:
    values = ", ".join(
        f'{activity_value(field)}::{field.sql_type} AS "{field.name}"' for field in field_table("icontact_activity")
    )
    connection.execute(
        f"""
        INSERT INTO icontact_activity
        WITH chosen AS (
            SELECT contact_id, event_type, event_time, event_url FROM raw_activity {which}
        ), clicked AS (
            SELECT contact_id, hashedurls_key, count(*) AS times
            FROM chosen JOIN links USING (event_url)
            WHERE hashedurls_key IS NOT NULL GROUP BY ALL
        ), counted AS (
            SELECT contact_id, map_from_entries(list(row(hashedurls_key, times) ORDER BY hashedurls_key)) AS links
            FROM clicked GROUP BY contact_id
        )
        SELECT {values} FROM chosen LEFT JOIN counted USING (contact_id) GROUP BY contact_id ORDER BY contact_id
        """
    )


def unmapped(connection: duckdb.DuckDBPyConnection) -> str | None:
    """What is read and not in the mapped tables yet, in one sentence. None if nothing is."""
    if not there(connection, "icontact_users"):
        return "icontact_users was never computed"
    if _digest(connection) is None or not there(connection, "icontact_activity"):
        return "icontact_activity was never computed"
    waiting = _count(connection, "(SELECT DISTINCT contact_id FROM touched_contacts)")
    return f"new activity of {waiting} contacts is not in icontact_activity yet" if waiting else None


def build_profiles(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the view `icontact_profiles`: users and activity joined by contact id.

    While one of the two was never computed, the profiles are those of the other. Raises NothingMapped without both.
    """
    if not any(there(connection, name) for name in ("icontact_users", "icontact_activity")):
        raise NothingMapped(
            "There are no profiles yet, because icontact_users was never computed. Materialize raw_contacts, then "
            "icontact_users, then icontact_profiles."
        )
    users = ", ".join(f'u."{f.name}"' for f in field_table("icontact_users") if f.name != "ic_contact_id")
    activity = ", ".join(f'a."{f.name}"' for f in field_table("icontact_activity") if f.name != "ic_contact_id")
    # Named with the schema, so that the view can be read from anywhere.
    [(schema,)] = connection.execute("SELECT current_schema()").fetchall()
    connection.execute(
        f'CREATE OR REPLACE VIEW "{schema}".icontact_profiles AS SELECT '
        f"coalesce(u.ic_contact_id, a.ic_contact_id) AS ic_contact_id, {users}, u.deleted_at, {activity} "
        f"FROM {_side(connection, schema, 'icontact_users', ', NULL::TIMESTAMP AS deleted_at')} u "
        f"FULL OUTER JOIN {_side(connection, schema, 'icontact_activity', '')} a ON u.ic_contact_id = a.ic_contact_id"
    )


def _side(connection: duckdb.DuckDBPyConnection, schema: str, name: str, more: str) -> str:
    """One side of the profiles: the table, or no rows while it was never computed."""
    if there(connection, name):
        return f'"{schema}".{name}'
    columns = ", ".join(f'NULL::{field.sql_type} AS "{field.name}"' for field in field_table(name))
    return f"(SELECT {columns}{more} WHERE false)"


def _digest(connection: duckdb.DuckDBPyConnection) -> str | None:
    rows = connection.execute("SELECT digest FROM mapping_state").fetchall()
    return rows[0][0] if rows else None


def there(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Whether the schema has a table or view of that name."""
    return bool(
        connection.execute(
            "SELECT 1 FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = ?", [name]
        ).fetchall()
    )


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    [(rows,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(rows)
