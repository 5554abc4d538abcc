"""The table `import_coverage`: what was asked of iContact, reported, and stored, and whether it is complete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from icontact_assets.ingest.staging import Listing, VerifiedRead
from icontact_assets.warehouse.times import aware, naive


@dataclass(frozen=True)
class Entry:
    """One row of the table. Instants are aware UTC."""

    listing: Listing
    reported: int | None
    """Rows that iContact reported at the last complete read."""
    stored: int | None
    """Rows of the listing that are stored."""
    read_through: datetime | None
    """When the last complete read began: everything before it is stored. None: there was none."""
    verified_at: datetime | None
    """When the last complete read from the first row on began."""
    status: str
    """How the last read ended: complete, stale (rows in the middle are missing), incomplete or failed."""
    reason: str | None
    """Why it is not complete."""
    statistic: int | None
    """iContact's own number of rows, from the message's statistics just before the last complete read."""
    head: tuple[str, ...]
    """Digests of the first rows."""
    tail: tuple[str, ...]
    """Digests of the last rows."""
    read_id: str | None
    """The last read that landed."""


def entries(
    connection: duckdb.DuckDBPyConnection, *resources: str, message_ids: Sequence[str] | None = None
) -> dict[Listing, Entry]:
    """The coverage of these resources, of all messages or of some."""
    rows = connection.execute(
        "SELECT resource, message_id, kind, list_id, reported, stored, read_through, verified_at, status, reason, "
        "statistic, head, tail, read_id FROM import_coverage "
        "WHERE list_contains($resources, resource) AND ($ids IS NULL OR list_contains($ids, message_id))",
        {"resources": list(resources), "ids": None if message_ids is None else list(message_ids)},
    ).fetchall()
    found = {}
    for *key, reported, stored, through, verified, status, reason, statistic, head, tail, read_id in rows:
        listing = Listing(*key)
        found[listing] = Entry(
            listing,
            reported,
            stored,
            aware(through),
            aware(verified),
            status,
            reason,
            statistic,
            tuple(head or ()),
            tuple(tail or ()),
            read_id,
        )
    return found


def read_through(connection: duckdb.DuckDBPyConnection, resource: str) -> datetime | None:
    """When the last complete read of a listing of the whole folder began (aware UTC). None if there was none."""
    entry = entries(connection, resource).get(Listing(resource))
    return entry.read_through if entry else None


def record_reads(connection: duckdb.DuckDBPyConnection, reads: Sequence[VerifiedRead]) -> None:
    """The rows of these reads are stored. Call it in the transaction that stores them."""
    for read in reads:
        key = _key(read.listing)
        _ensure(connection, read.listing)
        connection.execute(
            "UPDATE import_coverage SET reported=$total, "
            "stored=CASE WHEN $base=0 THEN $rows ELSE stored + $rows END, "
            "verified_at=CASE WHEN $base=0 THEN $began ELSE verified_at END, "
            "requests=requests+$requests, statistic=$statistic, head=$head, tail=$tail, read_id=$read_id "
            "WHERE resource=$resource AND message_id=$message_id AND kind=$kind AND list_id=$list_id",
            {
                "total": read.total,
                "rows": read.rows,
                "began": naive(read.began),
                "base": read.base,
                "requests": read.requests,
                "statistic": read.statistic,
                "head": read.head,
                "tail": read.tail,
                "read_id": read.id,
                **key,
            },
        )
        # A listing whose rows in the middle are missing was not read through to now, so that it stays due. It is no
        # failure either: the next read from the first row on brings them.
        connection.execute(
            """
            UPDATE import_coverage SET
                status=CASE WHEN stored=reported THEN 'complete' ELSE 'stale' END,
                read_through=CASE WHEN stored=reported THEN $began ELSE read_through END,
                reason=CASE WHEN stored<>reported THEN (reported - stored) || ' rows appeared in the middle of those '
                    'read before. The next read from the first row on brings them' END
            WHERE resource=$resource AND message_id=$message_id AND kind=$kind AND list_id=$list_id
            """,
            {"began": naive(read.began), **key},
        )


def record_failure(connection: duckdb.DuckDBPyConnection, listing: Listing, status: str, reason: str) -> None:
    """The last read of a listing ended as `status` (incomplete or failed). What is stored stays."""
    _ensure(connection, listing)
    connection.execute(
        "UPDATE import_coverage SET status=$status, reason=$reason "
        "WHERE resource=$resource AND message_id=$message_id AND kind=$kind AND list_id=$list_id",
        {"status": status, "reason": reason, **_key(listing)},
    )


def record_poll(connection: duckdb.DuckDBPyConnection, message_id: str, polled_at: datetime, *, changed: bool) -> None:
    """The statistics of a message were asked for at `polled_at` (aware UTC), and whether one of them had changed."""
    listing = Listing("statistics", message_id)
    _ensure(connection, listing)
    connection.execute(
        "UPDATE import_coverage SET read_through=$at, status='complete', reason=NULL, "
        "requests=requests+1, changed_at=CASE WHEN $changed THEN $at ELSE changed_at END "
        "WHERE resource=$resource AND message_id=$message_id AND kind=$kind AND list_id=$list_id",
        {"at": naive(polled_at), "changed": changed, **_key(listing)},
    )


def _key(listing: Listing) -> dict[str, str]:
    return {
        "resource": listing.resource,
        "message_id": listing.message_id,
        "kind": listing.kind,
        "list_id": listing.list_id,
    }


def _ensure(connection: duckdb.DuckDBPyConnection, listing: Listing) -> None:
    connection.execute(
        "INSERT INTO import_coverage (resource, message_id, kind, list_id, status, requests) "
        "SELECT $resource, $message_id, $kind, $list_id, 'incomplete', 0 WHERE NOT EXISTS (SELECT 1 FROM "
        "import_coverage WHERE resource=$resource AND message_id=$message_id AND kind=$kind AND list_id=$list_id)",
        _key(listing),
    )
