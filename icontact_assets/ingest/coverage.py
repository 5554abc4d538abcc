"""The ledger `import_coverage`: what was asked of iContact, what it announced, and whether that is complete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

from icontact_assets.ingest.staging import Listing, ProvenReading


@dataclass(frozen=True)
class Entry:
    """One row of the ledger. Instants are aware UTC."""

    listing: Listing
    announced: int | None
    stored: int | None
    read_through: datetime | None
    verified_at: datetime | None
    verdict: str
    reason: str | None
    figure: int | None
    moved_at: datetime | None
    head: tuple[str, ...]
    tail: tuple[str, ...]
    reading: str | None


def naive(instant: datetime) -> datetime:
    """An aware instant as the tables hold it: UTC without a zone."""
    return instant.astimezone(UTC).replace(tzinfo=None)


def aware(instant: datetime | None) -> datetime | None:
    """An instant of a table as an aware one."""
    return None if instant is None else instant.replace(tzinfo=UTC)


def entries(connection: duckdb.DuckDBPyConnection, schema: str, *resources: str) -> dict[Listing, Entry]:
    """The ledger's rows of these resources."""
    rows = connection.execute(
        "SELECT resource, message_id, kind, announced, stored, read_through, verified_at, verdict, reason, figure, "
        f'moved_at, head, tail, reading FROM "{schema}".import_coverage WHERE list_contains(?, resource)',
        [list(resources)],
    ).fetchall()
    found = {}
    for (
        resource,
        message_id,
        kind,
        announced,
        stored,
        through,
        verified,
        verdict,
        reason,
        figure,
        moved,
        *rest,
    ) in rows:
        listing = Listing(resource, message_id, kind)
        head, tail, reading = rest
        found[listing] = Entry(
            listing,
            announced,
            stored,
            aware(through),
            aware(verified),
            verdict,
            reason,
            figure,
            aware(moved),
            tuple(head or ()),
            tuple(tail or ()),
            reading,
        )
    return found


def record_complete(
    connection: duckdb.DuckDBPyConnection,
    schema: str,
    readings: Sequence[ProvenReading],
    *,
    reason: str | None = None,
) -> None:
    """These readings are stored whole. Call it in the transaction that stores their rows."""
    for reading in readings:
        _ensure(connection, schema, reading.listing)
        connection.execute(
            f'UPDATE "{schema}".import_coverage SET announced=$total, stored=$total, read_through=$began, '
            "verified_at=CASE WHEN $base=0 THEN $began ELSE verified_at END, verdict='complete', reason=$reason, "
            "requests=requests+$requests, figure=$figure, head=$head, tail=$tail, reading=$reading "
            "WHERE resource=$resource AND message_id=$message_id AND kind=$kind",
            {
                "total": reading.total,
                "began": naive(reading.began),
                "base": reading.base,
                "reason": reason,
                "requests": reading.requests,
                "figure": reading.figure,
                "head": reading.head,
                "tail": reading.tail,
                "reading": reading.id,
                **_key(reading.listing),
            },
        )


def record_failure(
    connection: duckdb.DuckDBPyConnection, schema: str, listing: Listing, verdict: str, reason: str
) -> None:
    """The last attempt at a listing ended as `verdict` ('incomplete' or 'failed'); what is stored stands."""
    _ensure(connection, schema, listing)
    connection.execute(
        f'UPDATE "{schema}".import_coverage SET verdict=$verdict, reason=$reason '
        "WHERE resource=$resource AND message_id=$message_id AND kind=$kind",
        {"verdict": verdict, "reason": reason, **_key(listing)},
    )


def record_probe(
    connection: duckdb.DuckDBPyConnection, schema: str, message_id: str, probed_at: datetime, *, moved: bool
) -> None:
    """The statistics of a message were asked for at `probed_at` (aware UTC); `moved`: a figure differed."""
    listing = Listing("statistics", message_id)
    _ensure(connection, schema, listing)
    connection.execute(
        f"UPDATE \"{schema}\".import_coverage SET read_through=$at, verdict='complete', reason=NULL, "
        "requests=requests+1, moved_at=CASE WHEN $moved THEN $at ELSE moved_at END "
        "WHERE resource=$resource AND message_id=$message_id AND kind=$kind",
        {"at": naive(probed_at), "moved": moved, **_key(listing)},
    )


def _key(listing: Listing) -> dict[str, str]:
    return {"resource": listing.resource, "message_id": listing.message_id, "kind": listing.kind}


def _ensure(connection: duckdb.DuckDBPyConnection, schema: str, listing: Listing) -> None:
    connection.execute(
        f'INSERT INTO "{schema}".import_coverage (resource, message_id, kind, verdict, requests) '
        "SELECT $resource, $message_id, $kind, 'incomplete', 0 WHERE NOT EXISTS (SELECT 1 FROM "
        f'"{schema}".import_coverage WHERE resource=$resource AND message_id=$message_id AND kind=$kind)',
        _key(listing),
    )
