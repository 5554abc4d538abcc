"""What reading one import takes, opened once a step, and what a process remembers of the import between its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime

import duckdb

from icontact_assets.icontact.folder import Folder
from icontact_assets.ingest.coverage import Entry, entries
from icontact_assets.ingest.drift import Policy
from icontact_assets.ingest.due import COVERAGE, Scope, view_of
from icontact_assets.ingest.landing import quarantined
from icontact_assets.ingest.staging import Listing, Staging, StagingError
from icontact_assets.warehouse.lock import LockTaken
from icontact_assets.warehouse.relations import create_view, mark_of, mark_of_stored_view
from icontact_assets.warehouse.storage import Storage, Tenure, Version
from icontact_assets.warehouse.warehouse import Warehouse

_OF_FOLDERS = ("contacts", "messages", "sends", "lists", "subscriptions")
"""The resources whose listings are of a whole folder: a handful of rows of the coverage."""


@dataclass(frozen=True)
class ImportState:
    """What the database holds of an import, as far as every step asks for it."""

    database_id: str | None
    """The id of the schema in this database. None: whose data it holds is not recorded."""
    view: str | None
    """The mark of the view `coverage`."""
    coverage: Mapping[Listing, Entry]
    """The coverage of the listings of the whole folder."""
    quarantined: Sequence[tuple[str, str, int]]
    """How many rows are in quarantine: resource, reason, rows of the last complete read."""

    @classmethod
    def load(cls, warehouse: Warehouse, connection: duckdb.DuckDBPyConnection) -> ImportState:
        return cls(
            warehouse.claimed(connection),
            mark_of_stored_view(connection, COVERAGE),
            entries(connection, *_OF_FOLDERS),
            quarantined(connection),
        )


_REMEMBERED: dict[tuple[object, ...], tuple[Version, ImportState]] = {}


def _key(warehouse: Warehouse) -> tuple[object, ...]:
    # With the source: what another client folder's data is refused for must be asked of the database.
    return (warehouse.storage.where, warehouse.schema, warehouse.source)


def _remember(warehouse: Warehouse, state: ImportState) -> None:
    """Keep what was read in the last connection of this warehouse. It holds until somebody writes."""
    if warehouse.left is not None:
        _REMEMBERED[_key(warehouse)] = (warehouse.left, state)


def _remembered(warehouse: Warehouse) -> ImportState | None:
    version, state = _REMEMBERED.get(_key(warehouse), (None, None))
    return state if version is not None and version == warehouse.storage.version() else None


def state_of(warehouse: Warehouse) -> ImportState:
    """What the database holds of an import. It is opened only where that is not known from this process's last
    connection."""
    state = _remembered(warehouse)
    if state is None:
        with warehouse.read() as connection:
            state = ImportState.load(warehouse, connection)
        _remember(warehouse, state)
    return state


def prepare_import(warehouse: Warehouse, scope: Scope, start_date: date) -> tuple[str, bool]:
    """Record whose data the import's schema holds, and make the view `coverage` as these settings want it.

    Returns the id of the schema in this database, and whether it held rows of which nothing said whose they are. Most
    often all that is done, and known to be done: then the database is not even opened. Raises OtherSource.
    """
    view = view_of(scope, start_date)
    state = state_of(warehouse) if warehouse.storage.exists() else None
    if state is not None and state.database_id is not None and state.view == mark_of(view):
        return state.database_id, False
    with warehouse.write("preparing the import") as connection:
        database_id, adopted = warehouse.claim(connection)
        create_view(connection, COVERAGE, view, mark_of(view))
        state = ImportState.load(warehouse, connection)
    _remember(warehouse, state)
    return database_id, adopted


@contextmanager
def staged(
    storage: Storage,
    import_name: str,
    database_id: str,
    *,
    purpose: str,
    waiting: Callable[[str], None] = lambda _: None,
    wait_seconds: float = 3600.0,
) -> Iterator[tuple[Staging, Tenure]]:
    """The staging file of an import, and the import's lock. One run at a time has them, on whatever machine.

    `database_id` is the id of the schema that the pages are for. `purpose` tells others who has them, and `waiting` is
    called while another run does. Raises StagingError, also when that takes longer than `wait_seconds`.
    """
    name = f"{import_name}.staging"
    with ExitStack() as held:
        try:
            tenure = held.enter_context(storage.lock(name, purpose, wait_seconds=wait_seconds, waiting=waiting))
        except LockTaken as error:
            raise StagingError(
                f"Another run is reading this import: {error}. It takes longer than this run waits. Wait for it to "
                "end, or stop it, and run again."
            ) from error
        former, own = tenure.marks()
        path = storage.on_this_machine(name)
        yield held.enter_context(Staging(path, owner=database_id + former, heir=database_id + own)), tenure


@dataclass(frozen=True)
class ImportContext:
    """What reading one import takes."""

    folder: Folder
    warehouse: Warehouse
    staging: Staging
    tenure: Tenure
    """Of the import's lock."""
    scope: Scope
    start_date: date
    """Older rows are stored on this day's partition."""
    drift: Policy
    """What a missing or retyped field is."""
    workers: int
    """How many messages are read at a time."""
    clock: Callable[[], datetime]
    """Now (aware UTC)."""

    def reached(self, at: datetime) -> datetime:
        """What iContact's clock showed at an instant of ours (aware UTC), where it is behind. Else the instant itself.

        What is read then is read through to that time: the service has not lived through more.
        """
        return at - self.folder.session.clock_behind

    def coverage(self) -> Mapping[Listing, Entry]:
        """The coverage of the listings of the whole folder."""
        return state_of(self.warehouse).coverage

    @contextmanager
    def write(self, purpose: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection in one transaction, as of the warehouse. What it leaves is remembered."""
        with self.warehouse.write(purpose) as connection:
            yield connection
            # Whoever has the import by now may have read what is newer.
            self.tenure.confirm()
            state = ImportState.load(self.warehouse, connection)
        _remember(self.warehouse, state)
