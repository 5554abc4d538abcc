"""Pages of listings on their way to the tables: on disk as they come, used again after a kill, gone once landed."""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import orjson
import pyarrow as pa

from icontact_assets.errors import UserError
from icontact_assets.icontact.count import is_surroundings
from icontact_assets.icontact.listing import OVERLAP, Known, Proof, Row, digest
from icontact_assets.ingest.rows import RowReader, Seen, fields_seen
from icontact_assets.private import OWNER

_VERSION = 4
"""Of the file's tables. It counts up when they change."""

_TABLES = frozenset({"read", "page", "poll", "owner"})
_TABLES_BEFORE = frozenset({"reading", "probe"})
"""Of versions up to 3."""


class StagingError(UserError):
    """The staging file cannot be used, or another run has it. The text names it and the remedy."""


@dataclass(frozen=True)
class Listing:
    """Which listing of a client folder, as in `import_coverage`."""

    resource: str
    message_id: str = ""
    kind: str = ""
    list_id: str = ""

    @property
    def rows_are(self) -> str:
        """What its rows are: opens, clicks, bounces or unsubscribes of a message, else what the resource says."""
        return self.kind or self.resource


@dataclass(frozen=True)
class Rejected:
    """A row that could not be read."""

    digest: str
    reason: str
    content: str


def _rejected(row: Row, reason: str) -> Rejected:
    return Rejected(digest(row), reason, orjson.dumps(row, option=orjson.OPT_SORT_KEYS).decode())


@dataclass(frozen=True)
class Poll:
    """The statistics of a message as they were at `at` (aware UTC)."""

    message_id: str
    at: datetime
    statistics: dict[str, int | None]


class StagedRead:
    """One read of one listing. It is the sink that the listing reader fills; `verify` ends it."""

    def __init__(
        self, staging: Staging, listing: Listing, reader: RowReader, id_: str, base: int, began: str, *, held: bool
    ) -> None:
        """`held`: there are pages of it."""
        self.listing = listing
        self._staging = staging
        self._reader = reader
        self._id = id_
        self._base = base
        self._began = began
        self._held = held

    def start(self) -> None:
        """A read from the first row begins. What came before is forgotten."""
        if self._base or self._held:
            self._base, self._held, self._began = 0, False, datetime.now(UTC).isoformat()
            self._staging._restart(self._id, self._began)

    def page(self, offset: int, rows: list[Row]) -> None:
        """Keep one page. Rows that cannot be read are kept apart with the reason."""
        batch, unreadable = self._reader.read(rows)
        bad = [asdict(_rejected(rows[place], reason)) for place, reason in unreadable.items()]
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        page = _Page(
            offset,
            len(rows),
            sink.getvalue().to_pybytes(),
            orjson.dumps(bad) if bad else None,
            [digest(row) for row in rows[:OVERLAP]],
            [digest(row) for row in rows[-OVERLAP:]],
            batch.column(0)[-1].as_py() if batch.num_rows else None,
            fields_seen(rows),
        )
        self._held = True
        self._staging._keep(self._id, page)

    def verify(self, proof: Proof, statistic: int | None = None, *, behind: timedelta = timedelta()) -> None:
        """The listing was read to its end, so the read may land. `statistic`: iContact's own count just before it.

        `behind`: how far iContact's clock is behind ours. The read counts as of its time.
        """
        began = datetime.fromisoformat(self._began) if self._base == 0 and proof.start > 0 else proof.began
        self._staging._verify(self._id, proof, statistic, began - behind)


@dataclass(frozen=True)
class _Page:
    """A page as it is kept."""

    offset: int
    size: int
    rows: bytes
    """The rows that could be read, as an Arrow stream."""
    rejected: bytes | None
    """The others, as JSON."""
    head: list[str]
    tail: list[str]
    last_id: str | None
    fields: Seen


@dataclass(frozen=True)
class VerifiedRead:
    """A verified read that waits to land."""

    id: str
    listing: Listing
    base: int
    """Rows of the listing known before it. 0: it began at the first row."""
    began: datetime
    """On iContact's clock if that is behind ours."""
    total: int
    """Rows of the listing as iContact reported them."""
    rows: int
    """Rows that it brought."""
    duplicates: int
    """Rows that equal another with the same id."""
    requests: int
    statistic: int | None
    """iContact's own count of rows just before it."""
    head: list[str]
    tail: list[str]


class Staging:
    """The staging file of one import at `path` (SQLite). Who opens it has the lock of the import.

    Pages that are for another `owner` are forgotten, and what is kept from now on is for `heir`. Every method raises
    StagingError.
    """

    def __init__(self, path: Path, *, owner: str = "", heir: str = "") -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            OWNER.sqlite(path)
            self._connection = self._open(owner, heir)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error

    def _open(self, owner: str, heir: str) -> sqlite3.Connection:
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
                connection.executescript(
                    "".join(f"DROP TABLE IF EXISTS {table};" for table in sorted(_TABLES | _TABLES_BEFORE))
                )
            connection.executescript(
                f"""
                PRAGMA user_version = {_VERSION};
                CREATE TABLE IF NOT EXISTS read (id TEXT PRIMARY KEY, resource TEXT, message_id TEXT, kind TEXT,
                    list_id TEXT, base INTEGER, began TEXT, proof TEXT, statistic INTEGER,
                    UNIQUE (resource, message_id, kind, list_id));
                CREATE TABLE IF NOT EXISTS page (read TEXT, "offset" INTEGER, size INTEGER, rows BLOB, rejected BLOB,
                    head TEXT, tail TEXT, last_id TEXT, fields TEXT, PRIMARY KEY (read, "offset")) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS poll (message_id TEXT, at TEXT, statistics TEXT);
                CREATE TABLE IF NOT EXISTS owner (id TEXT PRIMARY KEY);
                """
            )
            if connection.execute("SELECT id FROM owner").fetchall() != [(heir,)]:
                connection.executescript("BEGIN; DELETE FROM owner;")
                connection.execute("INSERT INTO owner VALUES (?)", (heir,))
                connection.execute("COMMIT")
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

    def open(
        self,
        listing: Listing,
        reader: RowReader,
        landed: Known | None = None,
        *,
        not_before: datetime | None = None,
    ) -> tuple[StagedRead, Known | None]:
        """Begin or resume the read of a listing: the sink, and what is already held of the listing.

        What a killed read left is used again if it began at the first row and not before `not_before` (aware UTC).
        Else the read resumes from `landed`, the end known to the coverage, or starts from the first row.
        """
        with self._use() as connection:
            found = connection.execute(
                "SELECT id, base, began FROM read WHERE resource=? AND message_id=? AND kind=? AND list_id=?",
                astuple(listing),
            ).fetchone()
            if found is not None:
                held = self._held(found[0])
                fresh = not_before is None or (found[2] and datetime.fromisoformat(found[2]) >= not_before)
                if held is not None and found[1] == 0 and fresh:
                    return StagedRead(self, listing, reader, found[0], 0, found[2], held=True), held
                self._drop(found[0])
            id_, base, began = uuid.uuid4().hex, landed.count if landed else 0, datetime.now(UTC).isoformat()
            connection.execute(
                "INSERT INTO read VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
                (id_, *astuple(listing), base, began),
            )
        return StagedRead(self, listing, reader, id_, base, began, held=False), landed

    def verified(self) -> list[VerifiedRead]:
        """The reads that may land, oldest first."""
        with self._use() as connection:
            found = connection.execute(
                "SELECT id, resource, message_id, kind, list_id, base, began, proof, statistic, "
                "(SELECT coalesce(sum(size), 0) FROM page WHERE page.read = read.id) FROM read "
                "WHERE proof IS NOT NULL ORDER BY rowid"
            ).fetchall()
        reads = []
        for id_, resource, message_id, kind, list_id, base, began, proof, statistic, rows in found:
            facts = orjson.loads(proof)
            reads.append(
                VerifiedRead(
                    id=id_,
                    listing=Listing(resource, message_id, kind, list_id),
                    base=base,
                    began=datetime.fromisoformat(began),
                    total=facts["total"],
                    rows=rows,
                    duplicates=facts["duplicates"],
                    requests=facts["requests"],
                    statistic=statistic,
                    head=facts["head"],
                    tail=facts["tail"],
                )
            )
        return reads

    def pages(self, read: VerifiedRead) -> Iterator[tuple[pa.Table, list[Rejected]]]:
        """The pages of a verified read in listing order: the rows read, and those that could not be."""
        with self._use() as connection:
            offsets = connection.execute(
                'SELECT "offset" FROM page WHERE read=? ORDER BY "offset"', (read.id,)
            ).fetchall()
        for (offset,) in offsets:
            with self._use() as connection:
                rows, rejected = connection.execute(
                    'SELECT rows, rejected FROM page WHERE read=? AND "offset"=?', (read.id, offset)
                ).fetchone()
                with pa.ipc.open_stream(rows) as stream:
                    table = stream.read_all()
                unreadable = [Rejected(**item) for item in orjson.loads(rejected)] if rejected else []
            yield table, unreadable

    def fields(self, read: VerifiedRead) -> Seen | None:
        """The fields of all its rows, unreadable ones too, and the kinds of their values. None if it had no row."""
        with self._use() as connection:
            pages = connection.execute("SELECT DISTINCT fields FROM page WHERE read=?", (read.id,)).fetchall()
        seen: dict[str, set[str]] = {}
        for (fields,) in pages:
            for name, kinds in orjson.loads(fields).items():
                seen.setdefault(name, set()).update(kinds)
        return seen if pages else None

    def landed(self, reads: Sequence[VerifiedRead]) -> None:
        """The rows of these reads are in the tables. Forget them here."""
        with self._use():
            self._drop(*(read.id for read in reads))

    def drop(self, listing: Listing) -> None:
        """Forget what was read of a listing that could not be verified."""
        with self._use() as connection:
            [(id_,)] = connection.execute(
                "SELECT id FROM read WHERE resource=? AND message_id=? AND kind=? AND list_id=?", astuple(listing)
            ).fetchall()
            self._drop(id_)

    def keep_poll(self, poll: Poll) -> None:
        """Keep the statistics of a message until they land."""
        with self._use() as connection:
            connection.execute(
                "INSERT INTO poll VALUES (?, ?, ?)",
                (poll.message_id, poll.at.isoformat(), orjson.dumps(poll.statistics).decode()),
            )

    def polls(self) -> list[Poll]:
        """The polls that wait to land, oldest first."""
        with self._use() as connection:
            rows = connection.execute("SELECT message_id, at, statistics FROM poll ORDER BY rowid").fetchall()
        return [Poll(id_, datetime.fromisoformat(at), orjson.loads(statistics)) for id_, at, statistics in rows]

    def forget_polls(self, polls: Sequence[Poll]) -> None:
        """These polls are in the tables. Forget them here."""
        with self._use() as connection:
            connection.executemany(
                "DELETE FROM poll WHERE message_id=? AND at=?",
                [(poll.message_id, poll.at.isoformat()) for poll in polls],
            )

    def _restart(self, id_: str, began: str) -> None:
        with self._use() as connection:
            connection.execute("DELETE FROM page WHERE read=?", (id_,))
            connection.execute("UPDATE read SET base=0, began=? WHERE id=?", (began, id_))

    def _keep(self, id_: str, page: _Page) -> None:
        kinds = {name: sorted(page.fields[name]) for name in sorted(page.fields)}
        with self._use() as connection:
            connection.execute(
                "INSERT INTO page VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(id_, page.offset, page.size, page.rows, page.rejected),
                    *(orjson.dumps(page.head).decode(), orjson.dumps(page.tail).decode()),
                    *(page.last_id, orjson.dumps(kinds).decode()),
                ),
            )

    def _verify(self, id_: str, proof: Proof, statistic: int | None, began: datetime) -> None:
        facts = {
            "total": proof.total,
            "duplicates": proof.doubled,
            "requests": proof.requests,
            "head": proof.head,
            "tail": proof.tail,
        }
        with self._use() as connection:
            connection.execute(
                "UPDATE read SET proof=?, statistic=?, began=? WHERE id=?",
                (orjson.dumps(facts).decode(), statistic, began.isoformat(), id_),
            )

    def _held(self, id_: str) -> Known | None:
        with closing(self._connection.cursor()) as cursor:
            pages = cursor.execute(
                'SELECT "offset", size, head, tail, last_id FROM page WHERE read=? ORDER BY "offset"', (id_,)
            ).fetchall()
        count, tail, last_id = 0, list[str](), None
        for offset, size, _, page_tail, last_id in pages:  # noqa: B007 (the last page's is wanted)
            if offset != count:
                return None
            count += size
            tail = [*tail, *orjson.loads(page_tail)][-OVERLAP:]
        return Known(count, tuple(tail), tuple(orjson.loads(pages[0][2])), last_id) if count else None

    def _drop(self, *ids: str) -> None:
        self._connection.execute("BEGIN")
        for table, key in (("page", "read"), ("read", "id")):
            self._connection.executemany(f"DELETE FROM {table} WHERE {key}=?", [(id_,) for id_ in ids])  # noqa: S608
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
    if not tables <= _TABLES | _TABLES_BEFORE:
        raise sqlite3.DatabaseError(f"it holds tables of another program ({', '.join(sorted(tables))[:80]})")


def _unusable(path: Path, error: Exception) -> StagingError:
    remedy = (
        "Check that its folder exists, that this user may write to it, and that the disk has space "
        "(ICONTACT_ASSETS_DUCKDB names another place)."
    )
    if not isinstance(error, OSError) and not (isinstance(error, sqlite3.Error) and is_surroundings(error)):
        remedy = "Move it away: what waits in it is read again."
    return StagingError(f"The staging file {path} cannot be used: {error}. {remedy}")
