"""Reads what exists now (contacts, messages, sends, lists, subscriptions) and stores only what changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import duckdb
import orjson
import pyarrow as pa

from icontact_assets.icontact.errors import IContactError, Incomplete
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.listing import Known, Proof, Sink
from icontact_assets.icontact.values import as_id
from icontact_assets.ingest.coverage import entries, record_failure, record_reading
from icontact_assets.ingest.drift import Finding, KnownFields, Policy, SchemaDrift
from icontact_assets.ingest.rows import LISTING_READERS, OWN_DATE
from icontact_assets.ingest.staging import Listing, ProvenReading, Rejected, Staging
from icontact_assets.ingest.window import Window
from icontact_assets.warehouse.tables import (
    RAW_CONTACTS,
    RAW_LISTS,
    RAW_MESSAGES,
    RAW_SENDS,
    RAW_SUBSCRIPTIONS,
    Table,
)
from icontact_assets.warehouse.times import naive
from icontact_assets.warehouse.warehouse import Warehouse

_TABLES = {
    "contacts": RAW_CONTACTS,
    "messages": RAW_MESSAGES,
    "sends": RAW_SENDS,
    "lists": RAW_LISTS,
    "subscriptions": RAW_SUBSCRIPTIONS,
}

_ID_KEYS = {"contacts": "contactId", "messages": "messageId", "sends": "sendId", "lists": "listId"}

SECOND_OPINION = timedelta(hours=1)
"""After so long a second reading may confirm a suspicious one."""

_STAGED_FOR = timedelta(hours=1)
_BATCH_ROWS = 100_000


def suspicious(known: int, gone: int) -> bool:
    """Whether a listing lost too much to be believed at once: all it held, or more than a fifth and 50 rows."""
    return 0 < known == gone or (gone > 50 and gone > known * 0.2)


@dataclass
class Changes:
    """What one reading of a listing did. `total`: rows announced, `doubled` of them equal to another with the same id.
    `rows_by_day`: rows written, by the partition they stand on. `findings`: fields that are new, missing or retyped."""

    resource: str
    asked: bool
    total: int
    new: int = 0
    changed: int = 0
    vanished: int = 0
    quarantined: int = 0
    doubled: int = 0
    requests: int = 0
    rows_by_day: dict[date, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, other: Changes) -> None:
        """Take in another listing of the same resource."""
        self.asked = self.asked or other.asked
        self.total += other.total
        self.new += other.new
        self.changed += other.changed
        self.vanished += other.vanished
        self.quarantined += other.quarantined
        self.doubled += other.doubled
        self.requests += other.requests
        self.findings += [finding for finding in other.findings if finding not in self.findings]
        for day, rows in other.rows_by_day.items():
            self.rows_by_day[day] = self.rows_by_day.get(day, 0) + rows


def read_changes(
    folder: Folder,
    warehouse: Warehouse,
    staging: Staging,
    schema: str,
    resource: str,
    window: Window,
    *,
    start_date: date,
    drift: Policy,
    list_id: str = "",
    reread_since: datetime | None = None,
    clock: Callable[[], datetime],
) -> Changes:
    """Read a listing if it was not read since the end of the window, and store new, changed and vanished rows.

    `drift` says what a missing or retyped field is. `list_id` names the list whose subscriptions are read;
    `reread_since` (aware): it must have been read since then too. Raises Incomplete, SchemaDrift and the other errors
    of iContact; the stored rows are then as before, and the ledger says why.
    """
    listing = Listing(resource, kind=list_id)
    with warehouse.read() as connection:
        entry = entries(connection, schema, resource).get(listing)
    needed = max(window.end, reread_since) if reread_since else window.end
    if entry and entry.read_through and entry.read_through >= needed:
        return Changes(resource, asked=False, total=entry.stored or 0)
    try:
        _read(folder, staging, listing, not_before=reread_since or clock() - _STAGED_FOR)
        return _land(warehouse, staging, schema, listing, window, start_date=start_date, drift=drift, now=clock())
    except IContactError as error:
        with warehouse.write(f"recording a failed reading of {resource}") as connection:
            verdict = "incomplete" if isinstance(error, Incomplete) else "failed"
            record_failure(connection, schema, listing, verdict, str(error))
        raise


def _read(folder: Folder, staging: Staging, listing: Listing, *, not_before: datetime) -> None:
    for reading in staging.proven():
        if reading.listing == listing:
            if reading.began >= not_before:
                # A kill came between its proof and its landing.
                return
            staging.landed([reading])
    sink, known = staging.open(listing, LISTING_READERS[listing.resource], not_before=not_before)
    sink.prove(_listing_call(folder, listing)(sink, known))


def _listing_call(folder: Folder, listing: Listing) -> Callable[[Sink, Known | None], Proof]:
    if listing.resource == "subscriptions":
        return lambda sink, known: folder.subscriptions(listing.kind, sink, known)
    calls = {
        "contacts": folder.contacts,
        "messages": folder.messages,
        "sends": folder.sends,
        "lists": folder.lists,
    }
    return calls[listing.resource]


def _land(
    warehouse: Warehouse,
    staging: Staging,
    schema: str,
    listing: Listing,
    window: Window,
    *,
    start_date: date,
    drift: Policy,
    now: datetime,
) -> Changes:
    (reading,) = [reading for reading in staging.proven() if reading.listing == listing]
    with warehouse.write(f"storing {listing.resource}") as connection:
        rejected = load_pages(connection, staging, reading)
        if reading.doubled:
            connection.execute("CREATE OR REPLACE TEMP TABLE single AS SELECT DISTINCT * FROM page_rows")
            connection.execute("CREATE OR REPLACE TEMP TABLE page_rows AS FROM single")
        _note_listed(connection, listing, rejected)
        _remember_opt_outs(connection, schema, listing, now)
        refusal: IContactError | None = None
        try:
            known = KnownFields.load(connection, schema, drift, now)
            findings = known.judge(listing.resource, LISTING_READERS[listing.resource], staging.fields(reading))
        except SchemaDrift as error:
            refusal = error
            quarantine(connection, schema, listing.resource, "", rejected, now)
        else:
            suspicion = _suspicion(connection, schema, listing, reading, now)
            if suspicion is None:
                changes = _store(connection, schema, listing, reading, window, start_date=start_date, now=now)
                changes.quarantined = quarantine(connection, schema, listing.resource, "", rejected, now)
                changes.findings = findings
                known.store(connection, schema)
                record_reading(connection, schema, [reading])
            else:
                told = [str(finding) for finding in findings if finding.verdict == "drift"]
                refusal = Incomplete(" ".join([suspicion, *told]))
    staging.landed([reading])
    if refusal is not None:
        raise refusal
    return changes


def load_pages(connection: duckdb.DuckDBPyConnection, staging: Staging, reading: ProvenReading) -> list[Rejected]:
    """Make the temporary table `page_rows` of a reading's pages, in listing order; return the rejected rows."""
    rejected: list[Rejected] = []
    waiting: list[pa.Table] = [LISTING_READERS[reading.listing.resource].schema.empty_table()]
    connection.register("batch", waiting[0])
    connection.execute("CREATE OR REPLACE TEMP TABLE page_rows AS FROM batch")

    def write() -> None:
        connection.register("batch", pa.concat_tables(waiting))
        connection.execute("INSERT INTO page_rows FROM batch")
        waiting.clear()

    for table, bad in staging.pages(reading):
        waiting.append(table)
        rejected += bad
        if sum(page.num_rows for page in waiting) >= _BATCH_ROWS:
            write()
    if waiting:
        write()
    connection.unregister("batch")
    return rejected


def _note_listed(connection: duckdb.DuckDBPyConnection, listing: Listing, rejected: Sequence[Rejected]) -> None:
    """Make the temporary table `listed`: the ids that stand in the listing, those of rows that cannot be read too."""
    key = _ID_KEYS.get(listing.resource)
    unread = [as_id(orjson.loads(row.content).get(key)) for row in rejected] if key else []
    connection.execute(
        f'CREATE OR REPLACE TEMP TABLE listed AS SELECT "{_TABLES[listing.resource].key[0]}" AS id FROM page_rows '
        "UNION ALL SELECT unnest(?::VARCHAR[])",
        [[id_ for id_ in unread if id_ is not None]],
    )


_OPT_OUTS = {
    "contacts": "SELECT DISTINCT '' AS list_id, id AS contact_id FROM page_rows WHERE {} = 'donotcontact'",
    "subscriptions": "SELECT DISTINCT list_id, contact_id FROM page_rows WHERE {} = 'unsubscribed'",
}


def _remember_opt_outs(connection: duckdb.DuckDBPyConnection, schema: str, listing: Listing, now: datetime) -> None:
    """Keep who is opted out by the rows of `page_rows`, also if the reading is not believed: a version that is replaced
    on its own day leaves no other trace."""
    if listing.resource in _OPT_OUTS:
        found = _OPT_OUTS[listing.resource].format("lower(trim(status))")
        connection.execute(
            f"INSERT INTO \"{schema}\".opt_outs SELECT '', list_id, contact_id, $now FROM ({found}) ANTI JOIN "
            f"(SELECT list_id, contact_id FROM \"{schema}\".opt_outs WHERE folder = '') USING (list_id, contact_id)",
            {"now": naive(now)},
        )


def _suspicion(
    connection: duckdb.DuckDBPyConnection,
    schema: str,
    listing: Listing,
    reading: ProvenReading,
    now: datetime,
) -> str | None:
    """Why this reading is not believed yet, or None. Remembers what it missed, for the second reading to confirm."""
    table = _TABLES[listing.resource]
    id_ = table.key[0]
    connection.execute(
        f'CREATE OR REPLACE TEMP TABLE alive AS SELECT "{id_}" AS id FROM {_latest(schema, table, listing)} '
        "WHERE deleted_at IS NULL"
    )
    connection.execute("CREATE OR REPLACE TEMP TABLE gone AS SELECT id FROM alive ANTI JOIN listed USING (id)")
    scope = {"resource": listing.resource, "scope": listing.kind}
    missed = f'"{schema}".missed'
    connection.execute(
        f"DELETE FROM {missed} WHERE resource=$resource AND scope=$scope AND id NOT IN (SELECT id FROM gone)",
        scope,
    )
    [(alive,)] = connection.execute("SELECT count(*) FROM alive").fetchall()
    [(gone,)] = connection.execute("SELECT count(*) FROM gone").fetchall()
    [(unconfirmed,)] = connection.execute(
        f"SELECT count(*) FROM gone WHERE id NOT IN (SELECT id FROM {missed} "
        "WHERE resource=$resource AND scope=$scope AND missed_at <= $before)",
        {**scope, "before": naive(now - SECOND_OPINION)},
    ).fetchall()
    if not suspicious(alive, unconfirmed):
        connection.execute(f"DELETE FROM {missed} WHERE resource=$resource AND scope=$scope", scope)
        return None
    connection.execute(
        f"INSERT INTO {missed} SELECT $resource, $scope, id, $now FROM gone "
        f"WHERE id NOT IN (SELECT id FROM {missed} WHERE resource=$resource AND scope=$scope)",
        {**scope, "now": naive(now)},
    )
    return (
        f"The listing of {listing.resource} held {reading.total} rows and would retire {gone} of {alive} known ones. "
        "Nothing was changed. If that is true, a second reading an hour or more later agrees and retires them."
    )


def _latest(schema: str, table: Table, listing: Listing) -> str:
    scope = f"WHERE list_id = '{listing.kind}' " if listing.resource == "subscriptions" else ""
    return (
        f'(SELECT * FROM "{schema}"."{table.name}" {scope}'
        f'QUALIFY row_number() OVER (PARTITION BY "{table.key[0]}" ORDER BY observed_at DESC) = 1)'
    )


def _store(
    connection: duckdb.DuckDBPyConnection,
    schema: str,
    listing: Listing,
    reading: ProvenReading,
    window: Window,
    *,
    start_date: date,
    now: datetime,
) -> Changes:
    table = _TABLES[listing.resource]
    target = f'"{schema}"."{table.name}"'
    id_ = table.key[0]
    [(doubled,)] = connection.execute(f'SELECT count(*) - count(DISTINCT "{id_}") FROM page_rows').fetchall()
    if doubled:
        raise Incomplete(f"The listing of {listing.resource} held {doubled} rows whose id stood in it already.")
    previous = entries(connection, schema, listing.resource).get(listing)
    previous_day = previous.read_through.date() if previous and previous.read_through else date.min
    reading_day = reading.began.date()
    change_day = min(max(window.last, previous_day), reading_day)
    own = [name for name in table.column_names if name not in ("deleted_at", "observed_at", "partition_date")]
    columns = ", ".join(f'"{name}"' for name in own)
    differs = " OR ".join(f'p."{name}" IS DISTINCT FROM l."{name}"' for name in own)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE latest AS SELECT * FROM {_latest(schema, table, listing)}")
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE versions AS
        SELECT {", ".join(f'p."{name}"' for name in own)}, NULL::TIMESTAMP AS deleted_at,
            CASE WHEN l."{id_}" IS NULL THEN 'new' ELSE 'changed' END AS change,
            CASE WHEN l."{id_}" IS NULL
                THEN coalesce(greatest(least(p.{OWN_DATE}, $reading_day), $start_date), $reading_day)
                ELSE $change_day END AS partition_date
        FROM page_rows p LEFT JOIN latest l ON p."{id_}" = l."{id_}"
        WHERE l."{id_}" IS NULL OR l.deleted_at IS NOT NULL OR {differs}
        UNION ALL
        SELECT {", ".join(f'l."{name}"' for name in own)}, $now, 'vanished', $change_day
        FROM latest l ANTI JOIN listed ON listed.id = l."{id_}" WHERE l.deleted_at IS NULL
        """,
        {"reading_day": reading_day, "start_date": start_date, "change_day": change_day, "now": naive(now)},
    )
    replaced = f't."{id_}" = v."{id_}" AND t.partition_date = v.partition_date'
    if listing.resource == "contacts":
        # An opt-out follows the addresses that a contact ever had.
        connection.execute(
            f"INSERT INTO \"{schema}\".contact_addresses SELECT DISTINCT '', t.id, t.email, $now FROM {target} t "
            f"JOIN versions v ON {replaced} AND t.email IS DISTINCT FROM v.email WHERE t.email IS NOT NULL "
            f'AND (t.id, t.email) NOT IN (SELECT (contact_id, email) FROM "{schema}".contact_addresses '
            "WHERE folder = '' AND email IS NOT NULL)",
            {"now": naive(now)},
        )
    connection.execute(f"DELETE FROM {target} t USING versions v WHERE {replaced}")
    connection.execute(
        f"INSERT INTO {target} ({columns}, deleted_at, observed_at, partition_date) "
        f'SELECT {columns}, deleted_at, $now, partition_date FROM versions ORDER BY partition_date, "{id_}"',
        {"now": naive(now)},
    )
    counts = dict(connection.execute("SELECT change, count(*) FROM versions GROUP BY change").fetchall())
    by_day = connection.execute(
        "SELECT partition_date, count(*) FROM versions GROUP BY ALL ORDER BY partition_date"
    ).fetchall()
    return Changes(
        listing.resource,
        asked=True,
        total=reading.total,
        new=counts.get("new", 0),
        changed=counts.get("changed", 0),
        vanished=counts.get("vanished", 0),
        doubled=reading.doubled,
        requests=reading.requests,
        rows_by_day=dict(by_day),
    )


def quarantine(
    connection: duckdb.DuckDBPyConnection,
    schema: str,
    resource: str,
    message_id: str,
    rejected: list[Rejected],
    now: datetime,
) -> int:
    """Store rows that could not be read, each once with how often it stood in the listing; returns how many rows."""
    grouped: dict[str, tuple[Rejected, int]] = {}
    for row in rejected:
        grouped[row.digest] = (row, grouped.get(row.digest, (row, 0))[1] + 1)
    for row, occurrences in grouped.values():
        key = {"resource": resource, "message_id": message_id, "digest": row.digest}
        found = connection.execute(
            f'UPDATE "{schema}".quarantine SET occurrences=$n '
            "WHERE resource=$resource AND message_id=$message_id AND digest=$digest RETURNING 1",
            {**key, "n": occurrences},
        ).fetchall()
        if not found:
            connection.execute(
                f'INSERT INTO "{schema}".quarantine '
                "VALUES ($resource, $message_id, $digest, $reason, $content, $n, $now)",
                {**key, "reason": row.reason, "content": row.content, "n": occurrences, "now": naive(now)},
            )
    return len(rejected)


def quarantined(
    connection: duckdb.DuckDBPyConnection, schema: str, resources: Sequence[str]
) -> list[tuple[str, str, int]]:
    """How many rows of these resources stand in quarantine: resource, reason, rows of the last complete reading."""
    return connection.execute(
        f'SELECT resource, reason, sum(occurrences)::BIGINT FROM "{schema}".quarantine '
        "WHERE list_contains(?, resource) GROUP BY ALL ORDER BY ALL",
        [list(resources)],
    ).fetchall()
