"""Pages of listings on their way to the tables: on disk as they come, used again after a kill, gone once landed."""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import orjson
import pyarrow as pa

from icontact_assets.errors import UserError
from icontact_assets.icontact.count import is_surroundings
from icontact_assets.icontact.listing import OVERLAP, Known, Proof, Row, digest
from icontact_assets.ingest.rows import RowReader, Seen, Unreadable, fields_seen
from icontact_assets.private import OWNER
from icontact_assets.warehouse.lock import Lock, LockTaken

_VERSION = 3
"""Of the file's tables; counts up when they change."""


_TABLES = frozenset({"reading", "page", "probe", "owner"})


class StagingError(UserError):
    """The staging file cannot be used, or another run has it; the text names it and the remedy."""


@dataclass(frozen=True)
class Listing:
    """Which listing of a client folder: `message_id` and `kind` as in `import_coverage`."""

    resource: str
    message_id: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Rejected:
    """A row that could not be read."""

    digest: str
    reason: str
    content: str


@dataclass(frozen=True)
class Probe:
    """The statistics of a message as they were at `at` (aware UTC)."""

    message_id: str
    at: datetime
    figures: dict[str, int | None]


class StagedReading:
    """One reading of one listing. It is the sink that the listing reader fills; `prove` ends it."""

    def __init__(self, staging: Staging, listing: Listing, reader: RowReader, id_: str, base: int) -> None:
        self.listing = listing
        self._staging = staging
        self._reader = reader
        self._id = id_
        self._base = base

    def start(self) -> None:
        """A reading from the first row begins: what came before is forgotten."""
        self._base = 0
        self._staging._restart(self._id)

    def page(self, offset: int, rows: list[Row]) -> None:
        """Keep one page; rows that cannot be read are kept apart with the reason."""
        good, bad = [], []
        for row in rows:
            try:
                good.append(self._reader.read(row))
            except Unreadable as error:
                content = orjson.dumps(row, option=orjson.OPT_SORT_KEYS).decode()
                bad.append(asdict(Rejected(digest(row), str(error), content)))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._reader.schema) as writer:
            writer.write_batch(self._reader.batch(good))
        self._staging._page(
            self._id,
            offset,
            len(rows),
            sink.getvalue().to_pybytes(),
            orjson.dumps(bad) if bad else None,
            [digest(row) for row in rows[:OVERLAP]],
            [digest(row) for row in rows[-OVERLAP:]],
            good[-1][0] if good else None,
            fields_seen(rows),
        )

    def prove(self, proof: Proof, figure: int | None = None) -> None:
        """The listing was read to its end: the reading may land. `figure`: iContact's own count just before it."""
        resumed = self._base == 0 and proof.start > 0
        self._staging._prove(self._id, proof, figure, began=None if resumed else proof.began)


@dataclass(frozen=True)
class ProvenReading:
    """A proven reading that waits to land. `base`: rows of the listing known before it (0: from the first row on);
    `rows`: those it brought; `missing`: rows it found to stand between the known ones and did not read; `doubled`: rows
    that equal another with the same id."""

    id: str
    listing: Listing
    base: int
    began: datetime
    total: int
    rows: int
    missing: int
    doubled: int
    requests: int
    figure: int | None
    head: list[str]
    tail: list[str]


class Staging:
    """The staging file of one import at `path` (SQLite). One run at a time has it: an operating-system lock guards it.

    `owner` is the id of the schema that its pages are for: those of another are forgotten.
    `purpose` says to others who has it. `waiting` is told while another run has it. Every method raises StagingError.
    Opening does too when another run keeps the file longer than `wait_seconds`.
    """

    def __init__(
        self,
        path: Path,
        *,
        owner: str = "",
        purpose: str = "reading",
        waiting: Callable[[str], None] = lambda _: None,
        wait_seconds: float = 3600.0,
    ) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file_lock = Lock(path.with_name(path.name + ".lock"))
        try:
            OWNER.sqlite(path)
            self._file_lock.acquire(purpose, wait_seconds=wait_seconds, waiting=waiting)
        except LockTaken as error:
            raise StagingError(
                f"Another run is reading this import: {error}. It has {path} for longer than this run waits. "
                "Wait for it to end, or stop it, and run again."
            ) from error
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._connection = self._open(owner)
        except (OSError, sqlite3.Error) as error:
            self._file_lock.release()
            raise self._unusable(error) from error

    def _open(self, owner: str) -> sqlite3.Connection:
        if not self._path.is_file():
            raise OSError("it is not a file")
        connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            # A power cut may lose the last pages, never mix them up: what is lost is read again.
            connection.execute("PRAGMA synchronous=NORMAL")
            [(version,)] = connection.execute("PRAGMA user_version").fetchall()
            _refuse_others(connection)
            if version != _VERSION or connection.execute("SELECT id FROM owner").fetchall() != [(owner,)]:
                # What waits for another database, or in a file of another shape, is read again.
                connection.executescript("".join(f"DROP TABLE IF EXISTS {table};" for table in sorted(_TABLES)))
            connection.executescript(
                f"""
                PRAGMA user_version = {_VERSION};
                CREATE TABLE IF NOT EXISTS reading (id TEXT PRIMARY KEY, resource TEXT, message_id TEXT, kind TEXT,
                    base INTEGER, began TEXT, proof TEXT, figure INTEGER, UNIQUE (resource, message_id, kind));
                CREATE TABLE IF NOT EXISTS page (reading TEXT, "offset" INTEGER, size INTEGER, rows BLOB, rejected BLOB,
                    head TEXT, tail TEXT, last_id TEXT, fields TEXT, PRIMARY KEY (reading, "offset")) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS probe (message_id TEXT, at TEXT, figures TEXT);
                CREATE TABLE IF NOT EXISTS owner (id TEXT PRIMARY KEY);
                """
            )
            connection.execute("INSERT OR IGNORE INTO owner VALUES (?)", (owner,))
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread at a time."""
        with self._lock:
            try:
                yield self._connection
            except (sqlite3.Error, pa.ArrowException, ValueError) as error:
                raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> StagingError:
        return _unusable(self._path, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._connection.close()
        self._file_lock.release()

    def open(
        self,
        listing: Listing,
        reader: RowReader,
        landed: Known | None = None,
        *,
        not_before: datetime | None = None,
    ) -> tuple[StagedReading, Known | None]:
        """Begin, or go on with, the reading of a listing: the sink, and what is already held of the listing.

        What a killed reading left is used again if it began at the first row and not before `not_before` (aware UTC);
        else the reading goes on from `landed`, the end known to the ledger, or from the start.
        """
        with self._use() as connection:
            found = connection.execute(
                "SELECT id, base, began FROM reading WHERE resource=? AND message_id=? AND kind=?",
                (listing.resource, listing.message_id, listing.kind),
            ).fetchone()
            if found is not None:
                held = self._held(found[0])
                fresh = not_before is None or (found[2] and datetime.fromisoformat(found[2]) >= not_before)
                if held is not None and found[1] == 0 and fresh:
                    return StagedReading(self, listing, reader, found[0], 0), held
                self._drop(found[0])
            id_, base = uuid.uuid4().hex, landed.count if landed else 0
            connection.execute(
                "INSERT INTO reading VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)",
                (
                    id_,
                    listing.resource,
                    listing.message_id,
                    listing.kind,
                    base,
                    datetime.now(UTC).isoformat(),
                ),
            )
        return StagedReading(self, listing, reader, id_, base), landed

    def proven(self) -> list[ProvenReading]:
        """Readings that may land, oldest first."""
        with self._use() as connection:
            found = connection.execute(
                "SELECT id, resource, message_id, kind, base, began, proof, figure, "
                "(SELECT coalesce(sum(size), 0) FROM page WHERE page.reading = reading.id) FROM reading "
                "WHERE proof IS NOT NULL ORDER BY rowid"
            ).fetchall()
        readings = []
        for id_, resource, message_id, kind, base, began, proof, figure, rows in found:
            facts = orjson.loads(proof)
            readings.append(
                ProvenReading(
                    id=id_,
                    listing=Listing(resource, message_id, kind),
                    base=base,
                    began=datetime.fromisoformat(began),
                    total=facts["total"],
                    rows=rows,
                    missing=facts["missing"],
                    doubled=facts["doubled"],
                    requests=facts["requests"],
                    figure=figure,
                    head=facts["head"],
                    tail=facts["tail"],
                )
            )
        return readings

    def pages(self, reading: ProvenReading) -> Iterator[tuple[pa.Table, list[Rejected]]]:
        """The pages of a proven reading in listing order: the rows read, and those that could not be."""
        with self._use() as connection:
            offsets = connection.execute(
                'SELECT "offset" FROM page WHERE reading=? ORDER BY "offset"', (reading.id,)
            ).fetchall()
        for (offset,) in offsets:
            with self._use() as connection:
                rows, rejected = connection.execute(
                    'SELECT rows, rejected FROM page WHERE reading=? AND "offset"=?', (reading.id, offset)
                ).fetchone()
                with pa.ipc.open_stream(rows) as stream:
                    table = stream.read_all()
                unreadable = [Rejected(**item) for item in orjson.loads(rejected)] if rejected else []
            yield table, unreadable

    def fields(self, reading: ProvenReading) -> Seen | None:
        """The fields of all its rows, unreadable ones too, and the kinds of their values; None if it had no row."""
        with self._use() as connection:
            pages = connection.execute("SELECT DISTINCT fields FROM page WHERE reading=?", (reading.id,)).fetchall()
        seen: dict[str, set[str]] = {}
        for (fields,) in pages:
            for name, kinds in orjson.loads(fields).items():
                seen.setdefault(name, set()).update(kinds)
        return seen if pages else None

    def landed(self, readings: list[ProvenReading]) -> None:
        """The rows of these readings stand in the tables: forget them here."""
        with self._use():
            for reading in readings:
                self._drop(reading.id)

    def drop(self, listing: Listing) -> None:
        """Forget what was read of a listing that turned out not to be provable."""
        with self._use() as connection:
            self._drop(
                *connection.execute(
                    "SELECT id FROM reading WHERE resource=? AND message_id=? AND kind=?",
                    (listing.resource, listing.message_id, listing.kind),
                ).fetchone()
            )

    def keep_probe(self, message_id: str, at: datetime, figures: dict[str, int | None]) -> None:
        """Keep the statistics of a message until they land."""
        with self._use() as connection:
            connection.execute(
                "INSERT INTO probe VALUES (?, ?, ?)",
                (message_id, at.isoformat(), orjson.dumps(figures).decode()),
            )

    def probes(self) -> list[Probe]:
        """The probes that wait to land, oldest first."""
        with self._use() as connection:
            rows = connection.execute("SELECT message_id, at, figures FROM probe ORDER BY rowid").fetchall()
        return [Probe(id_, datetime.fromisoformat(at), orjson.loads(figures)) for id_, at, figures in rows]

    def forget_probes(self, probes: list[Probe]) -> None:
        """These probes stand in the tables: forget them here."""
        with self._use() as connection:
            connection.executemany(
                "DELETE FROM probe WHERE message_id=? AND at=?",
                [(p.message_id, p.at.isoformat()) for p in probes],
            )

    def _restart(self, id_: str) -> None:
        with self._use() as connection:
            connection.execute("DELETE FROM page WHERE reading=?", (id_,))
            connection.execute("UPDATE reading SET base=0, began=? WHERE id=?", (datetime.now(UTC).isoformat(), id_))

    def _page(
        self,
        id_: str,
        offset: int,
        size: int,
        rows: bytes,
        rejected: bytes | None,
        head: list[str],
        tail: list[str],
        last_id: str | None,
        fields: Seen,
    ) -> None:
        kinds = {name: sorted(fields[name]) for name in sorted(fields)}
        with self._use() as connection:
            connection.execute(
                "INSERT INTO page VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(id_, offset, size, rows, rejected),
                    *(orjson.dumps(head).decode(), orjson.dumps(tail).decode(), last_id, orjson.dumps(kinds).decode()),
                ),
            )

    def _prove(self, id_: str, proof: Proof, figure: int | None, *, began: datetime | None) -> None:
        facts = {
            "total": proof.total,
            "missing": proof.missing,
            "doubled": proof.doubled,
            "requests": proof.requests,
            "head": proof.head,
            "tail": proof.tail,
        }
        with self._use() as connection:
            connection.execute(
                "UPDATE reading SET proof=?, figure=?, began=coalesce(?, began) WHERE id=?",
                (orjson.dumps(facts).decode(), figure, began and began.isoformat(), id_),
            )

    def _held(self, id_: str) -> Known | None:
        with closing(self._connection.cursor()) as cursor:
            pages = cursor.execute(
                'SELECT "offset", size, head, tail, last_id FROM page WHERE reading=? ORDER BY "offset"', (id_,)
            ).fetchall()
        count, tail, last_id = 0, list[str](), None
        for offset, size, _, page_tail, last_id in pages:  # noqa: B007 (the last page's is wanted)
            if offset != count:
                return None
            count += size
            tail = [*tail, *orjson.loads(page_tail)][-OVERLAP:]
        return Known(count, tuple(tail), tuple(orjson.loads(pages[0][2])), last_id) if count else None

    def _drop(self, id_: str) -> None:
        self._connection.execute("BEGIN")
        self._connection.execute("DELETE FROM page WHERE reading=?", (id_,))
        self._connection.execute("DELETE FROM reading WHERE id=?", (id_,))
        self._connection.execute("COMMIT")


def check_staging(path: Path) -> None:
    """Look at a staging file without a change, and without a wait for the run that has it. Raises StagingError if it
    cannot be used."""
    try:
        if not path.exists():
            return
        if not path.is_file():
            raise OSError("it is not a file")
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            _refuse_others(connection)
    except (OSError, sqlite3.Error) as error:
        raise _unusable(path, error) from error


def _refuse_others(connection: sqlite3.Connection) -> None:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not tables <= _TABLES:
        raise sqlite3.DatabaseError(f"it holds tables of another program ({', '.join(sorted(tables))[:80]})")


def _unusable(path: Path, error: Exception) -> StagingError:
    remedy = (
        "Check that its folder exists, that this user may write to it, and that the disk has space "
        "(ICONTACT_ASSETS_DUCKDB names another place)."
    )
    if not isinstance(error, OSError) and not (isinstance(error, sqlite3.Error) and is_surroundings(error)):
        remedy = "Move it away: what waits in it is read again."
    return StagingError(f"The staging file {path} cannot be used: {error}. {remedy}")
