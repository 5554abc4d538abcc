"""What moving verified reads from staging into the tables takes, whatever their rows become."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import duckdb
import pyarrow as pa

from icontact_assets.ingest.drift import Finding, KnownFields, Policy, SchemaDrift
from icontact_assets.ingest.rows import LISTING_READERS, RowReader, activity_reader
from icontact_assets.ingest.staging import Listing, Rejected, Staging, VerifiedRead
from icontact_assets.warehouse.arrays import number_array, text_array
from icontact_assets.warehouse.times import naive

SECOND_OPINION = timedelta(hours=1)
"""After so long a second read may confirm a suspicious one."""

_BATCH_ROWS = 100_000

_QUARANTINED_ROWS = 1_000
"""So many unreadable rows are stored at once, whole as iContact gave them."""


def suspicious(known: int, gone: int) -> bool:
    """Whether a listing lost too much to be believed at once: all it held, or more than a fifth and 50 rows."""
    return 0 < known == gone or (gone > 50 and gone > known * 0.2)


def reader_of(listing: Listing) -> RowReader:
    """What reads the rows of a listing."""
    return activity_reader(listing.kind) if listing.kind else LISTING_READERS[listing.resource]


class Landing:
    """One transaction that lands reads."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, staging: Staging, drift: Policy, now: datetime) -> None:
        """`now` (aware UTC) is when what lands is first stored."""
        self.connection = connection
        self.now = now
        self.quarantined = 0
        """Rows of the landed reads that could not be read."""
        self._staging = staging
        # What reading took, Arrow keeps. DuckDB needs as much now.
        pa.default_memory_pool().release_unused()
        self._fields = KnownFields.load(connection, drift, now)

    def load(
        self,
        table: str,
        reads: Iterable[VerifiedRead],
        constants: Callable[[VerifiedRead], Mapping[str, str]] = lambda _: {},
    ) -> Iterator[tuple[VerifiedRead, list[Rejected]]]:
        """Insert the rows of these reads into a table, in listing order, with texts that are the same in a read.

        Yields each read with the rows that could not be read. All rows are there when it has ended.
        """
        waiting: list[pa.Table] = []

        def write() -> None:
            if waiting:
                self.connection.register("batch", pa.concat_tables(waiting))
                self.connection.execute(f'INSERT INTO "{table}" BY NAME FROM batch')
                self.connection.unregister("batch")
                waiting.clear()

        for read in reads:
            rejected: list[Rejected] = []
            for page, bad in self._staging.pages(read):
                rejected += bad
                for name, value in constants(read).items():
                    page = page.append_column(name, text_array([value] * page.num_rows))
                waiting.append(page)
                if sum(rows.num_rows for rows in waiting) >= _BATCH_ROWS:
                    write()
            yield read, rejected
        write()

    def judge(self, read: VerifiedRead) -> list[Finding]:
        """The fields of a read that are new, missing or retyped.

        Raises SchemaDrift where the policy refuses them. The rows that could not be read are in quarantine then.
        """
        listing = read.listing
        try:
            return self._fields.judge(listing.rows_are, reader_of(listing), self._staging.fields(read))
        except SchemaDrift:
            self.quarantine(listing, [row for _, bad in self._staging.pages(read) for row in bad])
            raise

    def keep_fields(self) -> None:
        """Store what `judge` learned."""
        self._fields.store(self.connection)

    def believes(self, listing: Listing, gone: str, plausible: Callable[[int], bool]) -> bool:
        """Whether what a read no longer held may be retired. `gone` is a query for the ids of that.

        iContact may answer a healthy request with a part of a listing. So a loss that is not plausible is only
        remembered. An id that is still gone an hour or more later counts as confirmed, and `plausible` is asked about
        the number of those that are not.
        """
        connection = self.connection
        key = {"resource": listing.rows_are, "scope": listing.message_id or listing.list_id}
        connection.execute(f"CREATE OR REPLACE TEMP TABLE gone AS {gone}")
        # What came back is forgotten: only two reads in a row confirm each other.
        connection.execute(
            "DELETE FROM missed WHERE resource=$resource AND scope=$scope AND id NOT IN (SELECT id FROM gone)", key
        )
        [(unconfirmed,)] = connection.execute(
            "SELECT count(*) FROM gone WHERE id NOT IN (SELECT id FROM missed "
            "WHERE resource=$resource AND scope=$scope AND missed_at <= $before)",
            {**key, "before": naive(self.now - SECOND_OPINION)},
        ).fetchall()
        if plausible(unconfirmed):
            connection.execute("DELETE FROM missed WHERE resource=$resource AND scope=$scope", key)
            return True
        connection.execute(
            "INSERT INTO missed SELECT $resource, $scope, id, $now FROM gone "
            "WHERE id NOT IN (SELECT id FROM missed WHERE resource=$resource AND scope=$scope)",
            {**key, "now": naive(self.now)},
        )
        return False

    def quarantine(self, listing: Listing, rejected: Sequence[Rejected]) -> None:
        """Store rows that could not be read, each once, with how often it is in the listing."""
        grouped: dict[str, tuple[Rejected, int]] = {}
        for row in rejected:
            grouped[row.digest] = (row, grouped.get(row.digest, (row, 0))[1] + 1)
        rows = list(grouped.values())
        for start in range(0, len(rows), _QUARANTINED_ROWS):
            self._quarantine(listing, rows[start : start + _QUARANTINED_ROWS])
        self.quarantined += len(rejected)

    def _quarantine(self, listing: Listing, rows: Sequence[tuple[Rejected, int]]) -> None:
        key = {"resource": listing.rows_are, "message_id": listing.message_id}
        self.connection.register(
            "rejected",
            pa.table(
                {
                    "digest": text_array([row.digest for row, _ in rows]),
                    "reason": text_array([row.reason for row, _ in rows]),
                    "content": text_array([row.content for row, _ in rows]),
                    "occurrences": number_array([occurrences for _, occurrences in rows], pa.int64()),
                }
            ),
        )
        self.connection.execute(
            "UPDATE quarantine SET occurrences=rejected.occurrences FROM rejected "
            "WHERE resource=$resource AND message_id=$message_id AND quarantine.digest=rejected.digest",
            key,
        )
        self.connection.execute(
            "INSERT INTO quarantine SELECT $resource, $message_id, digest, reason, content, occurrences, $now "
            "FROM rejected WHERE digest NOT IN "
            "(SELECT digest FROM quarantine WHERE resource=$resource AND message_id=$message_id)",
            {**key, "now": naive(self.now)},
        )
        self.connection.unregister("rejected")


def quarantined(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, int]]:
    """How many rows are in quarantine: resource, reason, rows of the last complete read."""
    return connection.execute(
        "SELECT resource, reason, sum(occurrences)::BIGINT FROM quarantine GROUP BY ALL ORDER BY ALL"
    ).fetchall()
