"""Computes icontact_users and icontact_activity from the raw tables, in the caller's transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from icontact_assets.mapping import functions
from icontact_assets.mapping.expressions import (
    EVENTS_BY_KIND,
    Field,
    activity_value,
    counts_links,
    field_table,
    lookup,
    merged_value,
    needs_function,
    source_text,
    user_value,
)
from icontact_assets.mapping.profiles import build_profiles
from icontact_assets.warehouse.relations import there

_VERSION = "1"
"""Counts up when a function of the mapping changes its meaning: everything is then computed anew."""

_WORKING_MEMORY = "1500MB"
"""What DuckDB may use for a computation. More is spilled beside the database."""

_BATCH_LINKS = 2_000_000
"""Pairs of a contact and a link that are in Python's memory at one time, roughly."""

_BATCH_TEXTS = 200_000
"""Distinct texts that are in Python's memory at one time."""

_FUNCTIONS: dict[str, tuple[Callable[[Any], str | int | None], pa.DataType, str]] = {
    "email": (functions.email, pa.string(), "VARCHAR"),
    "emaildomain": (functions.emaildomain, pa.string(), "VARCHAR"),
    "todate": (functions.todate_ms, pa.timestamp("ms"), "TIMESTAMP"),
    "hashedurls_key": (functions.hashedurls_key, pa.string(), "VARCHAR"),
}
"""Each with its value's type in Arrow and in DuckDB."""


@dataclass(frozen=True)
class Built:
    """What a computation did. `full`: all rows, not just those of touched contacts."""

    rows: int
    computed: int
    full: bool


def build_users(connection: duckdb.DuckDBPyConnection, *, aid: str | None = None) -> Built:
    """Bring `icontact_users` up to date: one row per contact id.

    Each field is the most recent version's value; a version without one (NULL, empty text, an expression without a
    value) leaves what an earlier version gave (mapping reference, section 3 and Q4). With an `aid`, only contacts
    with activity on a message that carries it (Q7), and all are computed. Else only contacts with a new version are,
    unless the mapping changed, the table is missing, or most contacts have one. Consumes `changed_contacts`.
    """
    target = "icontact_users"
    subject = "\n".join([source_text(target), repr(aid)])
    digest = f"{_VERSION}:{hashlib.blake2b(subject.encode(), digest_size=12).hexdigest()}"
    before = _state(connection, target)
    changed = None
    if before is not None and before.digest == digest and aid is None and there(connection, target):
        changed = _changed_contacts(connection, before)
    rows = _count(connection, target) if changed is not None else 0
    if changed == 0:
        return Built(rows, 0, full=False)
    if changed is not None and changed * 2 < rows:
        which = "raw_contacts SEMI JOIN temp.changed USING (id)"
        with working(connection):
            versions = user_rows(connection, which)
            connection.execute(f"DELETE FROM {target} WHERE ic_contact_id IN (SELECT id FROM temp.changed)")
            connection.execute(f"INSERT INTO {target} {versions}")
    else:
        changed, which = None, "raw_contacts"
        if aid is not None:
            tag_messages(connection, aid)
            which += " WHERE id IN (SELECT contact_id FROM raw_activity SEMI JOIN temp.tagged USING (message_id))"
        with working(connection):
            connection.execute(f"CREATE OR REPLACE TABLE {target} AS {user_rows(connection, which)}")
    connection.execute("DELETE FROM changed_contacts")
    _keep_state(connection, target, digest, "raw_contacts", "observed_at")
    build_profiles(connection)
    rows = _count(connection, target)
    return Built(rows, rows if changed is None else changed, full=changed is None)


def _changed_contacts(connection: duckdb.DuckDBPyConnection, before: _State) -> int | None:
    """Make the temporary table `changed` of the ids with a new version: how many. None if that cannot be told."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE changed AS SELECT contact_id AS id FROM changed_contacts "
        "UNION SELECT id FROM raw_contacts WHERE observed_at > $newest",
        {"newest": before.newest},
    )
    changed = _count(connection, "temp.changed")
    # A version that is replaced on its day leaves as many rows as there were, and is in the table of changes.
    return changed if changed or _count(connection, "raw_contacts") == before.rows else None


def user_rows(connection: duckdb.DuckDBPyConnection, versions: str) -> str:
    """SQL for the rows of `icontact_users` that the rows of raw_contacts in `versions` (what follows FROM) make."""
    fields = field_table("icontact_users")
    connection.execute(f"CREATE OR REPLACE TEMP VIEW versions AS FROM {versions}")
    joins = look_up(connection, fields)
    values = {field.name: f"({user_value(field)})::{field.sql_type}" for field in fields[1:]}
    single = ", ".join(f'{value} AS "{name}"' for name, value in values.items())
    several = ", ".join(f'arg_max({value}, v.observed_at) AS "{name}"' for name, value in values.items())
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE repeated AS SELECT id FROM temp.versions GROUP BY id HAVING count(*) > 1"
    )
    # Nearly every contact has one version, which is its latest: that is said without comparing.
    return (
        f'SELECT v.id AS "{fields[0].name}", {single}, v.deleted_at '
        f"FROM (FROM temp.versions ANTI JOIN temp.repeated USING (id)) v {joins} UNION ALL "
        f"SELECT v.id, {several}, arg_max(struct_pack(at := v.deleted_at), v.observed_at).at "
        f"FROM (FROM temp.versions SEMI JOIN temp.repeated USING (id)) v {joins} GROUP BY v.id"
    )


def look_up(connection: duckdb.DuckDBPyConnection, fields: Iterable[Field]) -> str:
    """SQL that joins what `user_value` of these fields needs to rows `v` of the temporary view `versions`."""
    joins = []
    for function, column in sorted({found for field in fields if (found := lookup(field))}):
        name = f"{function}_{column}"
        compute_distinct(
            connection,
            name,
            function,
            f'SELECT DISTINCT "{column}" AS text FROM temp.versions WHERE {needs_function(function, column)}',
        )
        joins.append(f'LEFT JOIN temp."{name}" ON "{name}".text = v."{column}"')
    return " ".join(joins)


def build_activity(connection: duckdb.DuckDBPyConnection, *, aid: str | None = None, everything: bool = False) -> Built:
    """Bring `icontact_activity` up to date: one row per contact that did something.

    With an `aid`, only events of messages whose latest version carries it count. Only new events are computed, and
    merged into the rows of their contacts. All are, if the mapping, the `aid` or the messages that carry it changed,
    the table is missing, events were removed, more are new than were there, or `everything` asks for all. Both ways
    give the same rows. Consumes `touched_contacts`.
    """
    target = "icontact_activity"
    tagged = None if aid is None else tag_messages(connection, aid)
    subject = "\n".join([source_text(target), repr(aid), repr(tagged)])
    digest = f"{_VERSION}:{hashlib.blake2b(subject.encode(), digest_size=12).hexdigest()}"
    before = _state(connection, target)
    if before is None or before.digest.partition(":")[0] != _VERSION:
        connection.execute("DELETE FROM hashed_links")
    new = None
    if before is not None and before.digest == digest and there(connection, target) and not everything:
        new = _new_events(connection, before)
    if new is not None and not new.events and not new.touched:
        return Built(_count(connection, target), 0, full=False)
    if new is None:
        columns = ", ".join(f'"{field.name}" {field.sql_type}' for field in field_table(target))
        connection.execute(f"CREATE OR REPLACE TABLE {target} ({columns})")
    semi_join = "" if aid is None else "SEMI JOIN temp.tagged USING (message_id)"
    with working(connection):
        which = "true" if new is None else new.condition
        _hash_links(connection, which)
        computed = _insert(connection, f"raw_activity {semi_join} WHERE {which}", merge=new is not None)
    connection.execute("DELETE FROM touched_contacts")
    _keep_state(connection, target, digest, "raw_activity", "extracted_at", update=new is not None)
    build_profiles(connection)
    return Built(_count(connection, target), computed, full=new is None)


@contextmanager
def working(connection: duckdb.DuckDBPyConnection, memory: str = _WORKING_MEMORY) -> Iterator[None]:
    """Within it, DuckDB keeps to the memory of a computation, and may put rows in any order."""
    # A limit of more than any machine has is not parsed.
    [(limit, lower, ordered)] = connection.execute(
        "SELECT if(bytes IS NULL, '-1', current_setting('memory_limit')), "
        "coalesce(bytes < parse_formatted_bytes(?), false), current_setting('preserve_insertion_order') "
        "FROM (SELECT TRY(parse_formatted_bytes(current_setting('memory_limit'))) AS bytes)",
        [memory],
    ).fetchall()
    if not lower:
        connection.execute(f"SET memory_limit = '{memory}'")
    connection.execute("SET preserve_insertion_order = false")
    yield
    # After an error, DuckDB takes no settings in a transaction. It is not used again then.
    connection.execute(f"SET memory_limit = '{limit}'")
    connection.execute(f"SET preserve_insertion_order = {ordered}")


@dataclass(frozen=True)
class _New:
    """The events that `icontact_activity` does not hold yet."""

    condition: str
    """SQL condition over `raw_activity`."""
    events: int
    touched: int
    """Rows of `touched_contacts`."""


def _new_events(connection: duckdb.DuckDBPyConnection, before: _State) -> _New | None:
    """The events that the table does not hold yet. None if that cannot be told.

    Events are only ever added, at the end of `raw_activity`. If somebody removed some, others may have moved up.
    """
    if before.rows is None:
        return None
    new = f"rowid >= {before.end}"
    [(stored, added, touched, moved)] = connection.execute(
        f"SELECT (SELECT count(*) FROM raw_activity), (SELECT count(*) FROM raw_activity WHERE {new}), "
        "(SELECT count(*) FROM touched_contacts), "
        "EXISTS (SELECT 1 FROM raw_activity WHERE rowid < $end AND extracted_at > $newest)",
        {"end": before.end, "newest": before.newest},
    ).fetchall()
    if moved or stored != before.rows + added or added > before.rows:
        return None
    return _New(new, added, touched)


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
    compute_distinct(
        connection,
        "hashed",
        "hashedurls_key",
        f"SELECT event_url AS text FROM (SELECT DISTINCT event_url FROM raw_activity "
        f"WHERE event_url IS NOT NULL AND {which}) clicked ANTI JOIN hashed_links USING (event_url)",
    )
    connection.execute("INSERT INTO hashed_links SELECT text, value FROM temp.hashed")


def compute_distinct(connection: duckdb.DuckDBPyConnection, name: str, function: str, query: str) -> None:
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


def _insert(connection: duckdb.DuckDBPyConnection, events: str, *, merge: bool) -> int:
    """Put the rows that `events` (what follows FROM) make into `icontact_activity`: how many.

    With `merge`, a contact's row that is there is replaced by one for the former events and these.
    """
    fields = [field for field in field_table("icontact_activity") if not counts_links(field)]
    [links] = [field.name for field in field_table("icontact_activity") if counts_links(field)]
    names = ", ".join(f'"{field.name}"' for field in fields)
    of_acted = ", ".join(f'acted."{field.name}"' for field in fields)
    values = ", ".join(f'{activity_value(field)} AS "{field.name}"' for field in fields)
    rows = f"SELECT {values} FROM ({EVENTS_BY_KIND.format(events)}) GROUP BY contact_id"
    connection.execute("CREATE OR REPLACE TEMP TABLE former AS FROM icontact_activity LIMIT 0")
    if merge:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE acted AS {rows}")
        connection.execute("INSERT INTO temp.former FROM icontact_activity SEMI JOIN temp.acted USING (ic_contact_id)")
        connection.execute(
            "DELETE FROM icontact_activity WHERE ic_contact_id IN (SELECT ic_contact_id FROM temp.acted)"
        )
        merged = ", ".join(f'{merged_value(field)} AS "{field.name}"' for field in fields)
        rows = (
            f"SELECT {merged} FROM (SELECT {names} FROM temp.acted UNION ALL SELECT {names} FROM temp.former) "
            "GROUP BY ic_contact_id"
        )
    # A contact is a number from here on, and so is a link, in the order of its key: a pair of them is one number.
    connection.execute(f"CREATE OR REPLACE TEMP TABLE acted AS SELECT *, row_number() OVER () AS n FROM ({rows})")
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE keyed AS SELECT hashedurls_key, row_number() OVER (ORDER BY hashedurls_key) AS k "
        "FROM (SELECT DISTINCT hashedurls_key FROM hashed_links WHERE hashedurls_key IS NOT NULL)"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE clicked AS SELECT (n << 32) + k AS pair, 1 AS times "
        f"FROM (SELECT contact_id, event_url FROM {events} AND event_url IS NOT NULL) "
        "JOIN (SELECT event_url, k FROM hashed_links JOIN temp.keyed USING (hashedurls_key)) USING (event_url) "
        "JOIN temp.acted ON contact_id = ic_contact_id"
    )
    if merge:
        # Who clicked nothing new keeps the links as they are.
        connection.execute(
            "INSERT INTO temp.clicked SELECT (n << 32) + k, times FROM "
            f'(SELECT n, unnest(map_keys("{links}")) AS hashedurls_key, unnest(map_values("{links}")) AS times '
            "FROM temp.former JOIN temp.acted USING (ic_contact_id) WHERE n IN (SELECT pair >> 32 FROM temp.clicked)) "
            "JOIN temp.keyed USING (hashedurls_key)"
        )
    keys = connection.sql("SELECT hashedurls_key FROM temp.keyed ORDER BY k").to_arrow_table()[0].combine_chunks()
    count = _count(connection, "temp.acted")
    step = count * _BATCH_LINKS // max(_count(connection, "temp.clicked"), _BATCH_LINKS) + 1
    for first in range(1, count + 1, step):
        clicked = connection.sql(
            f"SELECT pair, times FROM temp.clicked WHERE pair >= {first << 32} AND pair < {(first + step) << 32} "
            "ORDER BY pair"
        ).to_arrow_table()
        # Sorted, equal pairs are next to each other: to sum them there costs a quarter of GROUP BY.
        pairs = pc.run_end_encode(clicked["pair"].combine_chunks())
        sums = pc.cumulative_sum(clicked["times"].combine_chunks().cast(pa.int64())).take(
            pc.subtract(pairs.run_ends, 1)
        )
        times = pc.coalesce(pc.pairwise_diff(sums), sums)
        contacts = pc.run_end_encode(pc.shift_right(pairs.values, 32))
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), contacts.run_ends])
        links_of = pc.subtract(pc.bit_wise_and(pairs.values, 0xFFFFFFFF), 1)
        maps = pa.MapArray.from_arrays(offsets, keys.take(links_of), times)
        connection.register("linked", pa.table({"n": contacts.values, "links": maps}))
        connection.execute(
            f'INSERT INTO icontact_activity ({names}, "{links}") SELECT {of_acted}, coalesce(links, former."{links}") '
            "FROM temp.acted LEFT JOIN linked USING (n) LEFT JOIN temp.former USING (ic_contact_id) "
            f"WHERE n >= {first} AND n < {first + step}"
        )
        connection.unregister("linked")
    return count


def unmapped(connection: duckdb.DuckDBPyConnection) -> str | None:
    """What is read and not in the mapped tables yet, in one sentence. None if nothing is."""
    if not there(connection, "icontact_users"):
        return "icontact_users was never computed"
    if _state(connection, "icontact_activity") is None or not there(connection, "icontact_activity"):
        return "icontact_activity was never computed"
    waiting = _count(connection, "(SELECT DISTINCT contact_id FROM touched_contacts)")
    return f"new activity of {waiting} contacts is not in icontact_activity yet" if waiting else None


@dataclass(frozen=True)
class _State:
    """With what, and up to which row of its source, a mapped table was computed."""

    digest: str
    rows: int | None
    """Rows of the source. None: computed by a version that did not record it."""
    end: int | None
    """The rowid after the last of them."""
    newest: datetime | None
    """When the newest of them was stored (UTC)."""


def _state(connection: duckdb.DuckDBPyConnection, target: str) -> _State | None:
    # Earlier versions had one row, about icontact_activity.
    rows = connection.execute(
        "SELECT digest, source_rows, source_end, source_newest FROM mapping_state "
        "WHERE coalesce(table_name, 'icontact_activity') = ?",
        [target],
    ).fetchall()
    return _State(*rows[0]) if rows else None


def _keep_state(
    connection: duckdb.DuckDBPyConnection,
    target: str,
    digest: str,
    source: str,
    stored_at: str,
    *,
    update: bool = False,
) -> None:
    """Record of what the table was computed. After an `update`, the sum of former events remains."""
    [(rows, newest)] = connection.execute(f"SELECT count(*), max({stored_at}) FROM {source}").fetchall()
    # The largest rowid is at least that of so many rows in a row, and to look only there takes no time.
    [(end,)] = connection.execute(
        f"SELECT coalesce(max(rowid) + 1, 0) FROM {source} WHERE rowid >= {rows} - 1"
    ).fetchall()
    summed = next(iter(kept_sums(connection)), None) if update else None
    connection.execute("DELETE FROM mapping_state WHERE coalesce(table_name, 'icontact_activity') = ?", [target])
    connection.execute(
        "INSERT INTO mapping_state (table_name, digest, computed_at, source_rows, source_end, source_newest, "
        "summed_end, summed_hashes) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [target, digest, datetime.now(UTC).replace(tzinfo=None), rows, end, newest, *(summed or (None, None))],
    )


def kept_sums(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, int]]:
    """The sum that `keep_sum` kept, after the rowid that follows the last event it is of. Empty if there is none."""
    return connection.execute(
        "SELECT summed_end, summed_hashes FROM mapping_state "
        "WHERE table_name = 'icontact_activity' AND summed_end IS NOT NULL"
    ).fetchall()


def keep_sum(connection: duckdb.DuckDBPyConnection, hashes: int) -> None:
    """Keep the sum of the hashes of the contacts of all events that `icontact_activity` holds."""
    connection.execute(
        "UPDATE mapping_state SET summed_end = source_end, summed_hashes = ? WHERE table_name = 'icontact_activity'",
        [hashes],
    )


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    [(rows,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(rows)
