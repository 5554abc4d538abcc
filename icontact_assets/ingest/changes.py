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
from icontact_assets.ingest.context import ImportContext
from icontact_assets.ingest.coverage import entries, record_failure, record_reads
from icontact_assets.ingest.drift import Finding, SchemaDrift
from icontact_assets.ingest.landing import Landing, reader_of, suspicious
from icontact_assets.ingest.rows import OWN_DATE
from icontact_assets.ingest.staging import Listing, Rejected, VerifiedRead
from icontact_assets.ingest.window import Window
from icontact_assets.warehouse.tables import (
    RAW_CONTACTS,
    RAW_LISTS,
    RAW_MESSAGES,
    RAW_SENDS,
    RAW_SUBSCRIPTIONS,
)
from icontact_assets.warehouse.times import naive

_TABLES = {
    "contacts": RAW_CONTACTS,
    "messages": RAW_MESSAGES,
    "sends": RAW_SENDS,
    "lists": RAW_LISTS,
    "subscriptions": RAW_SUBSCRIPTIONS,
}

_ID_KEYS = {"contacts": "contactId", "messages": "messageId", "sends": "sendId", "lists": "listId"}

_STAGED_FOR = timedelta(hours=1)


@dataclass
class Changes:
    """What one read of a listing did."""

    resource: str
    asked: bool
    """Whether iContact was asked at all."""
    total: int
    """Rows that iContact reported."""
    read_through: datetime
    """Everything before it is stored (aware UTC)."""
    new: int = 0
    changed: int = 0
    vanished: int = 0
    quarantined: int = 0
    duplicates: int = 0
    """Rows that equal another with the same id."""
    requests: int = 0
    rows_by_day: dict[date, int] = field(default_factory=dict)
    """Rows written, by their partition."""
    findings: list[Finding] = field(default_factory=list)
    """Fields that are new, missing or retyped."""

    def add(self, other: Changes) -> None:
        """Take in another listing of the same resource."""
        self.asked = self.asked or other.asked
        self.total += other.total
        self.read_through = min(self.read_through, other.read_through)
        self.new += other.new
        self.changed += other.changed
        self.vanished += other.vanished
        self.quarantined += other.quarantined
        self.duplicates += other.duplicates
        self.requests += other.requests
        self.findings += [finding for finding in other.findings if finding not in self.findings]
        for day, rows in other.rows_by_day.items():
            self.rows_by_day[day] = self.rows_by_day.get(day, 0) + rows


def read_changes(
    context: ImportContext, resource: str, window: Window, *, list_id: str = "", reread_since: datetime | None = None
) -> Changes:
    """Read a listing if it was not read since the end of the window, and store new, changed and vanished rows.

    `list_id` names the list whose subscriptions are read. With `reread_since` (aware) the listing must have been read
    since then too. Raises Incomplete, SchemaDrift and the other errors of iContact: the stored rows are then as before,
    and the coverage says why.
    """
    listing = Listing(resource, list_id=list_id)
    entry = context.coverage().get(listing)
    needed = max(window.end, reread_since) if reread_since else window.end
    if entry and entry.read_through and entry.read_through >= needed:
        return Changes(resource, asked=False, total=entry.stored or 0, read_through=entry.read_through)
    try:
        read = _read(context, listing, not_before=reread_since or context.clock() - _STAGED_FOR)
        return _land(context, read, window)
    except IContactError as error:
        with context.write(f"recording a failed read of {resource}") as connection:
            status = "incomplete" if isinstance(error, Incomplete) else "failed"
            record_failure(connection, listing, status, str(error))
        raise


def _read(context: ImportContext, listing: Listing, *, not_before: datetime) -> VerifiedRead:
    for read in context.staging.verified():
        if read.listing == listing:
            if read.began >= not_before:
                # A kill came after it was verified and before it landed.
                return read
            context.staging.landed([read])
    sink, known = context.staging.open(listing, reader_of(listing), not_before=not_before)
    proof = _call(context.folder, listing)(sink, known)
    sink.verify(proof, behind=context.folder.session.clock_behind)
    [read] = [read for read in context.staging.verified() if read.listing == listing]
    return read


def _call(folder: Folder, listing: Listing) -> Callable[[Sink, Known | None], Proof]:
    if listing.resource == "subscriptions":
        return lambda sink, known: folder.subscriptions(listing.list_id, sink, known)
    calls = {
        "contacts": folder.contacts,
        "messages": folder.messages,
        "sends": folder.sends,
        "lists": folder.lists,
    }
    return calls[listing.resource]


def _land(context: ImportContext, read: VerifiedRead, window: Window) -> Changes:
    changes: Changes | None = None
    refusal: IContactError | None = None
    with context.write(f"storing {read.listing.resource}") as connection:
        landing = Landing(connection, context.staging, context.drift, context.clock())
        rejected = _load(landing, read)
        _note_listed(connection, read.listing, rejected)
        _remember_opt_outs(landing, read.listing)
        try:
            findings = landing.judge(read)
            _doubt(landing, read, findings)
        except (SchemaDrift, Incomplete) as error:
            # What was learned from a read that is refused is kept: this transaction must be committed.
            refusal = error
        else:
            changes = _store(landing, read, window, start_date=context.start_date)
            landing.quarantine(read.listing, rejected)
            landing.keep_fields()
            record_reads(connection, [read])
            changes.quarantined = landing.quarantined
            changes.findings = findings
    context.staging.landed([read])
    if changes is None:
        assert refusal is not None  # noqa: S101 -- for the type checker
        raise refusal
    return changes


def _load(landing: Landing, read: VerifiedRead) -> list[Rejected]:
    """Make the temporary table `page_rows` of a read's pages. Returns the rows that could not be read."""
    connection = landing.connection
    connection.register("nothing", pa.Table.from_batches([], reader_of(read.listing).schema))
    connection.execute("CREATE OR REPLACE TEMP TABLE page_rows AS FROM nothing")
    connection.unregister("nothing")
    [(_, rejected)] = landing.load("page_rows", [read])
    if read.duplicates:
        connection.execute("CREATE OR REPLACE TEMP TABLE single AS SELECT DISTINCT * FROM page_rows")
        connection.execute("CREATE OR REPLACE TEMP TABLE page_rows AS FROM single")
    return rejected


def _note_listed(connection: duckdb.DuckDBPyConnection, listing: Listing, rejected: Sequence[Rejected]) -> None:
    """Make the temporary table `listed`: the ids in the listing, those of rows that could not be read too."""
    key = _ID_KEYS.get(listing.resource)
    unread = [as_id(orjson.loads(row.content).get(key)) for row in rejected] if key else []
    connection.execute(
        f'CREATE OR REPLACE TEMP TABLE listed AS SELECT "{_TABLES[listing.resource].key[0]}" AS id FROM page_rows '  # noqa: S608
        "UNION ALL SELECT unnest(?::VARCHAR[])",
        [[id_ for id_ in unread if id_ is not None]],
    )


_OPT_OUTS = {
    "contacts": "SELECT DISTINCT '' AS list_id, id AS contact_id FROM page_rows WHERE {} = 'donotcontact'",
    "subscriptions": "SELECT DISTINCT list_id, contact_id FROM page_rows WHERE {} = 'unsubscribed'",
}


def _remember_opt_outs(landing: Landing, listing: Listing) -> None:
    """Keep who is opted out by the rows of `page_rows`, also if the read is not believed: a version that is replaced on
    its own day leaves no other trace."""
    if listing.resource in _OPT_OUTS:
        found = _OPT_OUTS[listing.resource].format("lower(trim(status))")
        landing.connection.execute(
            f"INSERT INTO opt_outs SELECT '', list_id, contact_id, $now FROM ({found}) ANTI JOIN "  # noqa: S608
            "(SELECT list_id, contact_id FROM opt_outs WHERE folder = '') USING (list_id, contact_id)",
            {"now": naive(landing.now)},
        )


def _doubt(landing: Landing, read: VerifiedRead, findings: Sequence[Finding]) -> None:
    """Raise Incomplete if this read is not believed yet."""
    connection, resource = landing.connection, read.listing.resource
    _note_latest(connection, read.listing)
    id_ = _TABLES[resource].key[0]
    [(alive,)] = connection.execute("SELECT count(*) FROM latest WHERE deleted_at IS NULL").fetchall()
    gone = f'SELECT "{id_}" AS id FROM latest ANTI JOIN listed ON listed.id = latest."{id_}" WHERE deleted_at IS NULL'  # noqa: S608
    if landing.believes(read.listing, gone, lambda unconfirmed: not suspicious(alive, unconfirmed)):
        return
    [(lost,)] = connection.execute("SELECT count(*) FROM gone").fetchall()
    drifted = [str(finding) for finding in findings if finding.status == "drift"]
    doubt = (
        f"The listing of {resource} held {read.total} rows and would retire {lost} of {alive} known ones. Nothing was "
        "changed. If that is true, a second read an hour or more later agrees and retires them."
    )
    raise Incomplete(" ".join([doubt, *drifted]))


def _note_latest(connection: duckdb.DuckDBPyConnection, listing: Listing) -> None:
    """Make the temporary table `latest`: the latest version of each row of a listing."""
    if listing.resource != "subscriptions":
        connection.execute(f"CREATE OR REPLACE TEMP TABLE latest AS FROM current_{listing.resource}")
        return
    # The view would number the rows of all lists before it drops those of the others.
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE latest AS SELECT * FROM raw_subscriptions WHERE list_id = $list_id "
        "QUALIFY row_number() OVER (PARTITION BY subscription_id ORDER BY observed_at DESC) = 1",
        {"list_id": listing.list_id},
    )


def _store(landing: Landing, read: VerifiedRead, window: Window, *, start_date: date) -> Changes:
    """Store what differs between `page_rows` and the `latest` versions."""
    connection, now, listing = landing.connection, naive(landing.now), read.listing
    table = _TABLES[listing.resource]
    id_ = table.key[0]
    [(repeated,)] = connection.execute(f'SELECT count(*) - count(DISTINCT "{id_}") FROM page_rows').fetchall()  # noqa: S608
    if repeated:
        raise Incomplete(f"The listing of {listing.resource} held {repeated} rows whose id was in it already.")
    previous = entries(connection, listing.resource).get(listing)
    previous_day = previous.read_through.date() if previous and previous.read_through else date.min
    read_day = read.began.date()
    # A change happened some time after the previous read, so it must not be put into the days before that one, however
    # old the window of a backfill is. Nor may it be put on a day that had not begun when it was seen.
    change_day = min(max(window.last, previous_day), read_day)
    own = [name for name in table.column_names if name not in ("deleted_at", "observed_at", "partition_date")]
    columns = ", ".join(f'"{name}"' for name in own)
    differs = " OR ".join(f'p."{name}" IS DISTINCT FROM l."{name}"' for name in own)
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE versions AS
        SELECT {", ".join(f'p."{name}"' for name in own)}, NULL::TIMESTAMP AS deleted_at,
            CASE WHEN l."{id_}" IS NULL THEN 'new' ELSE 'changed' END AS change,
            CASE WHEN l."{id_}" IS NULL
                THEN coalesce(greatest(least(p.{OWN_DATE}, $read_day), $start_date), $read_day)
                ELSE $change_day END AS partition_date
        FROM page_rows p LEFT JOIN latest l ON p."{id_}" = l."{id_}"
        WHERE l."{id_}" IS NULL OR l.deleted_at IS NOT NULL OR {differs}
        UNION ALL
        SELECT {", ".join(f'l."{name}"' for name in own)}, $now, 'vanished', $change_day
        FROM latest l ANTI JOIN listed ON listed.id = l."{id_}" WHERE l.deleted_at IS NULL
        """,  # noqa: S608
        {"read_day": read_day, "start_date": start_date, "change_day": change_day, "now": now},
    )
    replaced = f't."{id_}" = v."{id_}" AND t.partition_date = v.partition_date'
    if listing.resource == "contacts":
        # An opt-out follows the addresses that a contact ever had.
        connection.execute(
            "INSERT INTO contact_addresses SELECT DISTINCT '', t.id, t.email, $now FROM raw_contacts t "
            "JOIN versions v ON t.id = v.id AND t.partition_date = v.partition_date "
            "AND t.email IS DISTINCT FROM v.email WHERE t.email IS NOT NULL "
            "AND (t.id, t.email) NOT IN (SELECT (contact_id, email) FROM contact_addresses "
            "WHERE folder = '' AND email IS NOT NULL)",
            {"now": now},
        )
        connection.execute("INSERT INTO changed_contacts SELECT id, $now FROM versions", {"now": now})
    connection.execute(f"DELETE FROM {table.name} t USING versions v WHERE {replaced}")  # noqa: S608
    connection.execute(
        f"INSERT INTO {table.name} ({columns}, deleted_at, observed_at, partition_date) "  # noqa: S608
        f'SELECT {columns}, deleted_at, $now, partition_date FROM versions ORDER BY partition_date, "{id_}"',
        {"now": now},
    )
    counts = dict(connection.execute("SELECT change, count(*) FROM versions GROUP BY change").fetchall())
    by_day = connection.execute(
        "SELECT partition_date, count(*) FROM versions GROUP BY ALL ORDER BY partition_date"
    ).fetchall()
    return Changes(
        listing.resource,
        asked=True,
        total=read.total,
        read_through=read.began,
        new=counts.get("new", 0),
        changed=counts.get("changed", 0),
        vanished=counts.get("vanished", 0),
        duplicates=read.duplicates,
        requests=read.requests,
        rows_by_day=dict(by_day),
    )
