"""Computes icontact_users, icontact_activity and the profiles view from the raw tables, in the caller's transaction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa

from icontact_assets.mapping import functions
from icontact_assets.mapping.expressions import activity_value, field_table, lookup, source_text, user_value

_VERSION = "1"
"""Counts up when a function of the mapping changes its meaning: everything is then computed anew."""

_BUCKET_EVENTS = 5_000_000
"""Events that one statement of a full computation holds at most, roughly: memory is bounded by it."""

_FUNCTIONS = {"email": functions.email, "emaildomain": functions.emaildomain, "todate": functions.todate_ms}


@dataclass(frozen=True)
class Built:
    """What a computation did. `full`: all rows, not just those of touched contacts."""

    rows: int
    computed: int
    full: bool


def build_users(connection: duckdb.DuckDBPyConnection, schema: str) -> Built:
    """Compute `icontact_users`: one row per contact id.

    Each field is the most recent version's value; a version without one (NULL, empty text, an expression without a
    value) leaves what an earlier version gave (mapping reference, section 3 and Q4).
    """
    fields = field_table("icontact_users")
    joins = []
    for function, column in sorted({found for field in fields if (found := lookup(field))}):
        name = f"{function}_{column}"
        _compute_distinct(connection, schema, name, function, column)
        joins.append(f'LEFT JOIN "{name}" ON "{name}".text = v."{column}"')
    values = ", ".join(
        f'v.id AS "{field.name}"'
        if field.merge == "identity" and field.name == "ic_contact_id"
        else f"arg_max({user_value(field)}, v.observed_at) FILTER (WHERE {user_value(field)} IS NOT NULL)"
        f'::{field.sql_type} AS "{field.name}"'
        for field in fields
    )
    connection.execute(
        f'CREATE OR REPLACE TABLE "{schema}".icontact_users AS SELECT {values}, '
        "arg_max(struct_pack(at := v.deleted_at), v.observed_at).at AS deleted_at "
        f'FROM "{schema}".raw_contacts v {" ".join(joins)} GROUP BY v.id ORDER BY v.id'
    )
    rows = _count(connection, f'"{schema}".icontact_users')
    _profiles(connection, schema)
    return Built(rows, rows, full=True)


def build_activity(connection: duckdb.DuckDBPyConnection, schema: str, *, everything: bool = False) -> Built:
    """Bring `icontact_activity` up to date: one row per contact that did something.

    Only contacts whose events changed are computed, unless the mapping changed, the table is missing, or `everything`
    asks for all; both ways give the same table. Consumes `touched_contacts`.
    """
    fields = field_table("icontact_activity")
    target = f'"{schema}".icontact_activity'
    digest = hashlib.blake2b((_VERSION + source_text("icontact_activity")).encode(), digest_size=12).hexdigest()
    full = everything or not _exists(connection, schema, "icontact_activity") or _digest(connection, schema) != digest
    _hash_links(connection, schema)
    if full:
        columns = ", ".join(f'"{field.name}" {field.sql_type}' for field in fields)
        connection.execute(f"CREATE OR REPLACE TABLE {target} ({columns})")
        buckets = _count(connection, f'"{schema}".raw_activity') // _BUCKET_EVENTS + 1
        for bucket in range(buckets):
            _insert(connection, schema, f"hash(contact_id) % {buckets} = {bucket}")
    else:
        touched = f'contact_id IN (SELECT contact_id FROM "{schema}".touched_contacts)'
        connection.execute(f"DELETE FROM {target} WHERE {touched.replace('contact_id', 'ic_contact_id', 1)}")
        _insert(connection, schema, touched)
    computed = _count(connection, target) if full else _count(connection, f'"{schema}".touched_contacts', distinct=True)
    connection.execute(f'DELETE FROM "{schema}".touched_contacts')
    connection.execute(f'DELETE FROM "{schema}".mapping_state')
    connection.execute(
        f'INSERT INTO "{schema}".mapping_state VALUES (?, ?)', [digest, datetime.now(UTC).replace(tzinfo=None)]
    )
    _profiles(connection, schema)
    return Built(_count(connection, target), computed, full)


def _compute_distinct(
    connection: duckdb.DuckDBPyConnection, schema: str, name: str, function: str, column: str
) -> None:
    texts = connection.execute(
        f'SELECT DISTINCT "{column}" FROM "{schema}".raw_contacts WHERE "{column}" IS NOT NULL'
    ).fetchall()
    computed = [_FUNCTIONS[function](text) for (text,) in texts]
    _temporary(connection, name, {"text": [text for (text,) in texts], "value": computed}, function == "todate")
    if function == "todate":
        connection.execute(
            f'CREATE OR REPLACE TEMP TABLE "{name}" AS SELECT text, epoch_ms(value) AS value FROM "{name}"'
        )


def _temporary(connection: duckdb.DuckDBPyConnection, name: str, columns: dict[str, list[Any]], numeric: bool) -> None:
    table = pa.table(
        {
            "text": pa.array(columns["text"], pa.string()),
            "value": pa.array(columns["value"], pa.int64() if numeric else pa.string()),
        }
    )
    connection.register("batch", table)
    connection.execute(f'CREATE OR REPLACE TEMP TABLE "{name}" AS FROM batch')
    connection.unregister("batch")


def _hash_links(connection: duckdb.DuckDBPyConnection, schema: str) -> None:
    urls = connection.execute(
        f'SELECT DISTINCT event_url FROM "{schema}".raw_activity WHERE event_url IS NOT NULL '
        f'AND event_url NOT IN (SELECT event_url FROM "{schema}".links)'
    ).fetchall()
    keys = [functions.hashedurls_key(url) for (url,) in urls]
    _temporary(connection, "hashed", {"text": [url for (url,) in urls], "value": keys}, numeric=False)
    connection.execute(f'INSERT INTO "{schema}".links SELECT text, value FROM hashed')


def _insert(connection: duckdb.DuckDBPyConnection, schema: str, which: str) -> None:
    values = ", ".join(
        f'{activity_value(field)}::{field.sql_type} AS "{field.name}"' for field in field_table("icontact_activity")
    )
    chosen = which.replace("contact_id", "a.contact_id", 1)
    connection.execute(
        f"""
        INSERT INTO "{schema}".icontact_activity
        WITH event AS (
            SELECT a.*, l.hashedurls_key FROM "{schema}".raw_activity a
            LEFT JOIN "{schema}".links l ON l.event_url = a.event_url WHERE {chosen}
        ), clicked AS (
            SELECT contact_id, hashedurls_key, count(*) AS times FROM event
            WHERE hashedurls_key IS NOT NULL GROUP BY ALL
        ), counted AS (
            SELECT contact_id, map_from_entries(list(row(hashedurls_key, times) ORDER BY hashedurls_key)) AS links
            FROM clicked GROUP BY contact_id
        )
        SELECT {values} FROM event LEFT JOIN counted USING (contact_id) GROUP BY contact_id ORDER BY contact_id
        """
    )


def _profiles(connection: duckdb.DuckDBPyConnection, schema: str) -> None:
    if not all(_exists(connection, schema, name) for name in ("icontact_users", "icontact_activity")):
        return
    users = ", ".join(f'u."{f.name}"' for f in field_table("icontact_users") if f.name != "ic_contact_id")
    activity = ", ".join(f'a."{f.name}"' for f in field_table("icontact_activity") if f.name != "ic_contact_id")
    connection.execute(
        f'CREATE OR REPLACE VIEW "{schema}".icontact_profiles AS SELECT '
        f"coalesce(u.ic_contact_id, a.ic_contact_id) AS ic_contact_id, {users}, u.deleted_at, {activity} "
        f'FROM "{schema}".icontact_users u FULL OUTER JOIN "{schema}".icontact_activity a '
        "ON u.ic_contact_id = a.ic_contact_id"
    )


def _digest(connection: duckdb.DuckDBPyConnection, schema: str) -> str | None:
    rows = connection.execute(f'SELECT digest FROM "{schema}".mapping_state').fetchall()
    return rows[0][0] if rows else None


def _exists(connection: duckdb.DuckDBPyConnection, schema: str, name: str) -> bool:
    return bool(
        connection.execute(
            "SELECT 1 FROM information_schema.tables WHERE table_schema = ? AND table_name = ?", [schema, name]
        ).fetchall()
    )


def _count(connection: duckdb.DuckDBPyConnection, table: str, *, distinct: bool = False) -> int:
    [(rows,)] = connection.execute(
        f"SELECT count({'DISTINCT contact_id' if distinct else '*'}) FROM {table}"
    ).fetchall()
    return int(rows)
