"""The table `import_coverage`: what was asked of iContact, reported, and stored, and whether it is complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def read_through(connection: duckdb.DuckDBPyConnection, *resources: str) -> dict[str, datetime | None]:
    """When the last complete read of these listings of the whole folder began (aware UTC). None if there was none."""
    found = entries(connection, *resources)
    return {name: entry.read_through if (entry := found.get(Listing(name))) else None for name in resources}


_OF_READS = """
    SELECT unnest($resource) AS resource, unnest($message_id) AS message_id, unnest($kind) AS kind,
        unnest($list_id) AS list_id, unnest($base::BIGINT[]) AS base, unnest($began::TIMESTAMP[]) AS began,
        unnest($total::BIGINT[]) AS total, unnest($rows::BIGINT[]) AS rows, unnest($requests::BIGINT[]) AS requests,
        unnest($statistic::BIGINT[]) AS statistic, unnest($head::VARCHAR[][]) AS head,
        unnest($tail::VARCHAR[][]) AS tail, unnest($read_id) AS read_id
"""


def record_reads(connection: duckdb.DuckDBPyConnection, reads: Sequence[VerifiedRead]) -> None:
    """The rows of these reads are stored, one read of each listing. Call it in the transaction that stores them."""
    if not reads:
        return
    _ensure(connection, [read.listing for read in reads])
    # A listing whose rows in the middle are missing was not read through to now, so that it stays due. It is no
    # failure either: the next read from the first row on brings them.
    connection.execute(
        f"""
        UPDATE import_coverage c SET
            reported=r.total, stored=r.stored, requests=c.requests+r.requests, statistic=r.statistic, head=r.head,
            tail=r.tail, read_id=r.read_id,
            verified_at=CASE WHEN r.base=0 THEN r.began ELSE c.verified_at END,
            status=CASE WHEN r.stored=r.total THEN 'complete' ELSE 'stale' END,
            read_through=CASE WHEN r.stored=r.total THEN r.began ELSE c.read_through END,
            reason=CASE WHEN r.stored<>r.total THEN (r.total - r.stored) || ' rows appeared in the middle of those '
                'read before. The next read from the first row on brings them' END
        FROM (
            SELECT n.*, CASE WHEN n.base=0 THEN n.rows ELSE k.stored + n.rows END AS stored
            FROM ({_OF_READS}) n JOIN import_coverage k USING (resource, message_id, kind, list_id)
        ) r
        WHERE c.resource=r.resource AND c.message_id=r.message_id AND c.kind=r.kind AND c.list_id=r.list_id
        """,  # noqa: S608
        {
            **_keys([read.listing for read in reads]),
            "base": [read.base for read in reads],
            "began": [naive(read.began) for read in reads],
            "total": [read.total for read in reads],
            "rows": [read.rows for read in reads],
            "requests": [read.requests for read in reads],
            "statistic": [read.statistic for read in reads],
            "head": [read.head for read in reads],
            "tail": [read.tail for read in reads],
            "read_id": [read.id for read in reads],
        },
    )


def record_failure(connection: duckdb.DuckDBPyConnection, listing: Listing, status: str, reason: str) -> None:
    """The last read of a listing ended as `status` (incomplete or failed). What is stored stays."""
    _ensure(connection, [listing])
    connection.execute(
        "UPDATE import_coverage SET status=$status, reason=$reason "
        "WHERE resource=$resource AND message_id=$message_id AND kind=$kind AND list_id=$list_id",
        {"status": status, "reason": reason, **_key(listing)},
    )


def record_polls(connection: duckdb.DuckDBPyConnection, polls: Mapping[str, tuple[datetime, bool]]) -> None:
    """The statistics of these messages were asked for: when (aware UTC), and whether one of them had changed."""
    if not polls:
        return
    listings = [Listing("statistics", message_id) for message_id in polls]
    _ensure(connection, listings)
    connection.execute(
        """
        UPDATE import_coverage c SET read_through=p.polled_at, status='complete', reason=NULL, requests=c.requests+1,
            changed_at=CASE WHEN p.changed THEN p.polled_at ELSE c.changed_at END
        FROM (SELECT unnest($message_id) AS message_id, unnest($at::TIMESTAMP[]) AS polled_at,
            unnest($changed::BOOLEAN[]) AS changed) p
        WHERE c.resource='statistics' AND c.message_id=p.message_id
        """,
        {
            "message_id": list(polls),
            "at": [naive(at) for at, _ in polls.values()],
            "changed": [changed for _, changed in polls.values()],
        },
    )


def _key(listing: Listing) -> dict[str, str]:
    return {
        "resource": listing.resource,
        "message_id": listing.message_id,
        "kind": listing.kind,
        "list_id": listing.list_id,
    }


def _keys(listings: Sequence[Listing]) -> dict[str, list[str]]:
    return {
        "resource": [listing.resource for listing in listings],
        "message_id": [listing.message_id for listing in listings],
        "kind": [listing.kind for listing in listings],
        "list_id": [listing.list_id for listing in listings],
    }


def _ensure(connection: duckdb.DuckDBPyConnection, listings: Sequence[Listing]) -> None:
    connection.execute(
        "INSERT INTO import_coverage (resource, message_id, kind, list_id, status, requests) "
        "SELECT resource, message_id, kind, list_id, 'incomplete', 0 FROM (SELECT unnest($resource) AS resource, "
        "unnest($message_id) AS message_id, unnest($kind) AS kind, unnest($list_id) AS list_id) "
        "ANTI JOIN import_coverage USING (resource, message_id, kind, list_id)",
        _keys(listings),
    )
