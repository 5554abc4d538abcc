"""Settings in, an open way to iContact out: what the assets and the command line share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import duckdb

from icontact_assets.credentials import LOOPBACK
from icontact_assets.errors import UserError
from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.live import PlanError
from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import Count, CountFile
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.looking import Get, Looking
from icontact_assets.icontact.recorder import Named, Recorder, recorder_in
from icontact_assets.icontact.session import Credentials, Session
from icontact_assets.ingest.activity import plan
from icontact_assets.ingest.context import ImportContext, prepare_import, staged
from icontact_assets.ingest.coverage import entries, read_through
from icontact_assets.ingest.due import Scope, missing_opt_outs
from icontact_assets.ingest.forecast import COUNTED, Forecast, Rates, first_forecast, forecast
from icontact_assets.ingest.window import ReadRequest, Window
from icontact_assets.running import RunFiles, Running
from icontact_assets.settings.models import Export, Import, Lake, Settings, SettingsError
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.storage import Storage, WarehouseError
from icontact_assets.warehouse.warehouse import Source, Warehouse

if TYPE_CHECKING:
    from icontact_assets.catalog import Catalog


def budget_of(settings: Settings, import_: Import) -> Budget:
    """The request budget of the import's account, kept below `<home>/budget`. Beside a lake, in its catalog."""
    account = f"{urlsplit(settings.base_url).netloc}-{import_.account_id or 'any'}"
    count: Count
    if settings.lake is not None:
        from icontact_assets.icontact.count_table import CountTable

        count = CountTable(catalog_of(settings.lake), account)
    else:
        count = CountFile(settings.home / "budget", account)
    settings.readers.restrict(settings.home)
    limits = import_.limits
    return Budget(count, per_second=limits.per_second, per_minute=limits.per_minute, per_day=limits.per_day)


def take_over_counts(settings: Settings, *, to_lake: bool) -> int:
    """Count the requests in the lake that were counted in the home, and keep pauses, or the other way round. How many
    requests. Raises BudgetUnusable."""
    home = settings.model_copy(update={"lake": None})
    source, target = (home, settings) if to_lake else (settings, home)
    return sum(budget_of(target, each).take_over(budget_of(source, each)) for each in settings.imports)


def catalog_of(lake: Lake) -> Catalog:
    """The catalog of a lake."""
    # What it imports is of the extra `lake`.
    from icontact_assets.catalog import Catalog

    return Catalog(lake.catalog.get_secret_value())


def running_of(settings: Settings) -> Running:
    """Which runs have a process that lives: by files below `<home>/runs`, and beside a lake in its catalog."""
    if settings.lake is not None:
        from icontact_assets.run_table import RunTable

        return RunTable(catalog_of(settings.lake))
    return RunFiles(settings.home / "runs")


def storage_of(
    settings: Settings, *, wait_seconds: float | None = None, waiting: Callable[[str], None] = lambda _: None
) -> Storage:
    """Where the settings keep the tables. Nothing is opened or made yet.

    It is waited for as long as the settings say, or for `wait_seconds`. `waiting` is called with what somebody who
    waits should know.
    """
    if settings.lake is not None:
        # What it imports is of the extra `lake`.
        from icontact_assets.warehouse.lake import DuckLake

        return DuckLake(
            settings.lake.catalog.get_secret_value(),
            settings.lake.data,
            settings.home / "lake",
            wait_seconds=settings.sharing.lock_wait if wait_seconds is None else wait_seconds,
            memory_limit=settings.sharing.memory_limit,
            waiting=waiting,
        )
    return DatabaseFile(
        settings.duckdb_path,
        readers=settings.readers,
        published=settings.published_path,
        wait_seconds=settings.sharing.lock_wait if wait_seconds is None else wait_seconds,
        memory_limit=settings.sharing.memory_limit,
        waiting=waiting,
    )


def open_warehouse(
    settings: Settings,
    schema: str | None = None,
    *,
    source: Source | None = None,
    also: Collection[str] = (),
    wait_seconds: float | None = None,
    waiting: Callable[[str], None] = lambda _: None,
) -> Warehouse:
    """The database of the settings, bound to a schema where one is named, and its writers to those of `also` too.
    `wait_seconds`, `waiting`: see `storage_of`.

    Only its owner, and the group that the settings name, can read it and the home.
    """
    try:
        settings.readers.restrict(settings.home)
    except OSError as error:
        raise WarehouseError(
            f"The folder {settings.home} cannot be closed to other users: {error}. Let this user own it, or name "
            "another folder with ICONTACT_ASSETS_HOME."
        ) from error
    storage = storage_of(settings, wait_seconds=wait_seconds, waiting=waiting)
    return Warehouse(storage, schema, source=source, also=also)


def file_and_lake(settings: Settings) -> tuple[Storage, Storage]:
    """Both places that the settings name. Raises SettingsError if they name no lake, WarehouseError."""
    if settings.lake is None:
        raise SettingsError(
            "The settings name no lake. Set ICONTACT_ASSETS_WAREHOUSE and ICONTACT_ASSETS_DATA, as docs/lake.md shows."
        )
    return open_warehouse(settings.model_copy(update={"lake": None})).storage, open_warehouse(settings).storage


@contextmanager
def reading(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the published copy, which waits for no run and stops none. Where none is made, to the database.
    Tables are named with their schema. Raises WarehouseError."""
    with storage_of(settings).reading() as connection:
        yield connection


@contextmanager
def reading_import(settings: Settings, import_: Import) -> Iterator[duckdb.DuckDBPyConnection]:
    """The same, bound to the schema of an import. Raises UserError if no run of it has read anything yet."""
    with reading(settings) as connection:
        [(database,)] = connection.execute("SELECT current_database()").fetchall()
        try:
            connection.execute(f'USE "{database}"."{import_.name}"')
        except duckdb.CatalogException as error:
            raise never_run(import_) from error
        yield connection


def never_run(import_: Import) -> UserError:
    """The error of asking for tables of an import that has none."""
    return UserError(
        f"No run of {import_.name} has read anything yet. Materialize its raw assets first, and wait for the run to "
        "end."
    )


def report_path(settings: Settings, import_: Import) -> Path:
    """Where the asset `report` of an import keeps its page."""
    return settings.home / "reports" / f"{import_.name}.html"


def source_of(settings: Settings, import_: Import) -> Source:
    """Whose data an import reads. Raises SettingsError naming everything that is unset."""
    return Source(_service(settings), *import_.ready())


def known_source(settings: Settings, import_: Import) -> Source | None:
    """The same without credentials; None while an id is not set."""
    account_id, client_folder_id = import_.account_id, import_.client_folder_id
    return Source(_service(settings), account_id, client_folder_id) if account_id and client_folder_id else None


def _service(settings: Settings) -> str:
    parts = urlsplit(settings.base_url)
    # A service on this machine, as the sandbox is, listens on any free port: after a restart it is still the same.
    host = "loopback" if parts.hostname in LOOPBACK else parts.netloc.lower().removesuffix(":443")
    return f"{host}{parts.path}"


def open_import(
    settings: Settings,
    import_: Import,
    *,
    also: Collection[str] = (),
    waiting: Callable[[str], None] = lambda _: None,
) -> Warehouse:
    """The database, bound to the schema of an import, which is prepared when it is opened. It is refused then if
    it holds the data of another account, client folder or service. `also`, `waiting`: see `open_warehouse`."""
    # What asks iContact for nothing needs no ids.
    return open_warehouse(settings, import_.name, source=known_source(settings, import_), also=also, waiting=waiting)


def staging_path(settings: Settings, import_: Import) -> Path:
    """Where the pages of an import wait."""
    return storage_of(settings).on_this_machine(f"{import_.name}.staging")


def open_session(settings: Settings, import_: Import, *, tries: int = 5) -> Session:
    """A session signed as the import asks, on the account's budget.

    `tries` bounds how often a request is sent before it counts as failed.

    Raises SettingsError naming credentials that are unset, and RecordingUnusable.
    """
    app_id, username, password = import_.authorization.credentials()
    credentials = Credentials(app_id, username, password)
    session = Session(
        settings.base_url, credentials, budget_of(settings, import_), tries=tries, answer_mb=import_.answer_mb
    )
    session.recorder = _recorder(settings)
    return session


def open_look(settings: Settings, import_: Import, *, password: str | None = None) -> Get:
    """A way to look at what iContact answers, and to do nothing else, on the account's budget.

    `password`: instead of the import's. Raises SettingsError naming credentials that are unset, and RecordingUnusable.
    """
    app_id, username, own = import_.authorization.credentials()
    credentials = Credentials(app_id, username, password or own)
    looking = Looking(settings.base_url, credentials, budget_of(settings, import_), answer_mb=import_.answer_mb)
    looking.recorder = _recorder(settings)
    return looking.look


def _recorder(settings: Settings) -> Recorder | None:
    if settings.record is None:
        return None
    return recorder_in(settings.record, settings.home / "recording.key", _named(settings))


def _named(settings: Settings) -> Iterator[Named]:
    """What icontact.yaml names of iContact's, which is another thing in a recording."""
    if settings.file is None:
        return
    for n, import_ in enumerate(settings.imports):
        ids = {
            "account": ("accountId", import_.account_id),
            "client_folder": ("clientFolderId", import_.client_folder_id),
        }
        found = {**ids, "filter_by_aid": ("htmlBody", import_.filter_by_aid)}
        yield from (Named(f"imports[{n}].{key}", field, value) for key, (field, value) in found.items() if value)
        yield from (Named(f"imports[{n}].lists[{at}]", "listId", list_) for at, list_ in enumerate(import_.lists))
    for n, export in enumerate(settings.exports):
        yield Named(f"exports[{n}].list", "listId", export.list)
        if export.remove is not None and export.remove.move_to is not None:
            yield Named(f"exports[{n}].remove.move_to", "listId", export.remove.move_to)


def open_folder(settings: Settings, import_: Import) -> Folder:
    """The client folder of an import. Raises SettingsError naming everything that is unset."""
    account_id, client_folder_id = import_.ready()
    return Folder(
        open_session(settings, import_),
        account_id,
        client_folder_id,
        page_size=import_.page_size,
        reread_pages=import_.refresh.reread_pages,
    )


def scope_of(settings: Settings, import_: Import) -> Scope:
    """Which messages of an import count, and how often they are polled."""
    heeded = any(import_ in settings.imports_asked(export) for export in settings.exports)
    return Scope(import_.name, import_.filter_by_aid, import_.refresh.by_age, opt_outs=heeded)


@contextmanager
def open_context(
    settings: Settings, import_: Import, *, purpose: str, warn: Callable[[str], None]
) -> Iterator[ImportContext]:
    """What reading an import takes. One run at a time has it, and the others wait.

    `purpose` is shown to those who wait, and `warn` is called with what the reader of a log should know. Raises
    SettingsError, WarehouseError, StagingError.
    """
    folder, scope, source = open_folder(settings, import_), scope_of(settings, import_), source_of(settings, import_)
    warehouse = open_warehouse(settings, import_.name, source=source, waiting=warn)
    database_id, adopted = prepare_import(warehouse, scope, import_.start_date)
    if adopted:
        warn(f"It was not recorded whose data {import_.name} holds. From now on it is recorded as {source}.")
    with staged(warehouse.storage, import_.name, database_id, purpose=purpose, waiting=warn) as (staging, tenure):
        yield ImportContext(
            folder,
            warehouse,
            staging,
            tenure,
            scope,
            import_.start_date,
            import_.schema_drift,
            import_.workers,
            lambda: datetime.now(UTC),
        )
    if folder.session.repaired:
        warn(
            f"{folder.session.repaired} responses of iContact held something that is no character, such as half an "
            "emoji or bytes of another charset. It is stored as U+FFFD."
        )


def forecast_window(settings: Settings, import_: Import, window: Window) -> Forecast:
    """What all raw assets of an import would ask now for a window: from the coverage, or from four totals of iContact's
    where messages were never read. Raises SettingsError, WarehouseError and the errors of iContact."""
    folder, now = open_folder(settings, import_), datetime.now(UTC)
    request, rates = ReadRequest(window, now), rates_of(import_, folder.session)
    warehouse = open_warehouse(settings, import_.name, source=source_of(settings, import_))
    if warehouse.storage.exists():
        with warehouse.read() as connection:
            if all(read_through(connection, "messages", "sends").values()):
                return forecast(
                    plan(connection, scope_of(settings, import_), request, now),
                    request,
                    now=now,
                    page_size=import_.page_size,
                    rates=rates,
                    listings=entries(connection, *COUNTED, "subscriptions"),
                )
    counts = {resource: folder.count(resource) or 0 for resource in COUNTED}
    return first_forecast(counts, rates, import_.page_size)


def rates_of(import_: Import, session: Session) -> Rates:
    """How fast the requests of an import may be sent, and how many are left."""
    limits = import_.limits
    per_second = [rate for rate in (limits.per_second, limits.per_minute / 60) if rate]
    return Rates(min(per_second, default=None), limits.per_day or None, session.budget.left_today())


def open_export(
    settings: Settings, export: Export, *, waiting: Callable[[str], None] = lambda _: None
) -> ExportContext:
    """Where an export's audience, records and list are, its tables made. `waiting`: see `open_warehouse`. Raises
    PlanError where it was never read who left, SettingsError, WarehouseError."""
    import_ = settings.import_of(export)
    folder_schema = settings.schema_of_target(export)
    # Its tables are read and written by connections that are bound to the audience's import.
    also = {folder_schema} - {import_.name} if folder_schema else set()
    warehouse = open_import(settings, import_, also=also, waiting=waiting)
    for other in also:
        open_import(settings, settings.import_named(other), waiting=waiting).prepare()
    _heed_opt_outs(settings, export, warehouse)
    return ExportContext(
        warehouse,
        open_folder(settings, settings.target_of(export)),
        folder_schema,
        lambda: datetime.now(UTC),
    )


def _heed_opt_outs(settings: Settings, export: Export, warehouse: Warehouse) -> None:
    """Raise PlanError if an import that must know who left did not read that by the time the audience was computed:
    an export, or a filter, may have been added since."""
    with warehouse.read() as connection:
        [(computed_at,)] = connection.execute(
            "SELECT max(computed_at) FROM audience_computations WHERE audience = ?",
            [export.audience],
        ).fetchall()
        if computed_at is None:
            return
        for import_ in settings.imports_asked(export):
            missing = missing_opt_outs(connection, scope_of(settings, import_), computed_at.replace(tzinfo=UTC))
            if missing:
                raise PlanError(
                    f"The export {export.name} makes no plan: {missing}. Nobody is added or removed before that is "
                    f"known. Materialize raw_activity of {import_.name}, then run again."
                )
