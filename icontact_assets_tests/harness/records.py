"""What a test process makes once and uses again: what Dagster knows about its own tables.

To make that takes longer than most of what a test does with it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest import mock

import dagster as dg
from alembic.config import Config
from alembic.script import ScriptDirectory
from dagster._core.execution.context.data_version_cache import DataVersionCache
from dagster._core.storage.event_log.in_memory import InMemoryEventLogStorage
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.in_memory import InMemoryRunStorage
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from sqlalchemy import Engine, create_engine
from typer import main, testing

from icontact_assets.warehouse import engine
from icontact_assets_tests.harness.held import databases_kept_open

_scripts: dict[str | None, ScriptDirectory] = {}
_read_scripts = ScriptDirectory.from_config


def _scripts_of(config: Config) -> ScriptDirectory:
    """Each new instance of Dagster names the version of its tables, and reads 89 files to do so."""
    key = config.get_main_option("script_location")
    if key not in _scripts:
        _scripts[key] = _read_scripts(config)
    return _scripts[key]


_engines: dict[str, Engine] = {}


def _engine_of(url: str, **options: Any) -> Engine:
    """Dagster makes one for each event that it stores on disk, and each compiles its statements anew."""
    if url not in _engines:
        _engines[url] = create_engine(url, **options)
    return _engines[url]


@contextmanager
def _events(storage: InMemoryEventLogStorage) -> Iterator[Any]:
    """Dagster opens a connection or more for each event, although it holds one."""
    with storage._db_lock, storage._held_conn.begin():
        yield storage._held_conn


@contextmanager
def _runs(storage: InMemoryRunStorage) -> Iterator[Any]:
    with storage._held_conn.begin():
        yield storage._held_conn


_UNREAD = (
    dg.DagsterEventType.HANDLED_OUTPUT,
    dg.DagsterEventType.LOGS_CAPTURED,
    dg.DagsterEventType.RESOURCE_INIT_STARTED,
    dg.DagsterEventType.RESOURCE_INIT_SUCCESS,
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.STEP_OUTPUT,
    dg.DagsterEventType.STEP_SUCCESS,
)
_store_event = InMemoryEventLogStorage.store_event


def _store_what_is_read(storage: InMemoryEventLogStorage, event: dg.EventLogEntry) -> None:
    """Most events of a run say how it went on, and nobody reads them."""
    if event.dagster_event is None or event.dagster_event.event_type not in _UNREAD:
        _store_event(storage, event)


_read_versions = DataVersionCache._fetch_input_asset_version_info


def _versions_that_are_read(versions: DataVersionCache, keys: Sequence[dg.AssetKey]) -> None:
    """Each step asks its records for what came before it, for a tag of what it makes."""
    if isinstance(versions._context.instance.event_log_storage, InMemoryEventLogStorage):
        versions.input_asset_version_info.update(dict.fromkeys(keys))
    else:
        _read_versions(versions, keys)


# Typer makes all commands of a command line anew for each call.
_command_of = cache(main.get_command)


@cache
def without_records() -> dg.DagsterInstance:
    """An instance that knows its runs but keeps no event of them, for whoever looks at results and tables only."""
    instance = dg.DagsterInstance.ephemeral()
    log = instance.event_log_storage
    log.store_event = lambda _event: None  # type: ignore[method-assign]
    log.get_latest_asset_partition_materialization_attempts_without_materializations = lambda *_, **__: {}
    log.get_materialized_partitions = lambda *_, **__: set()
    return instance


@contextmanager
def shared_records() -> Iterator[None]:
    """Dagster's scripts are read once.

    A file of its records keeps its engine. Its records in memory are asked through the connection that holds them, and
    not which columns and tables they have: all that this version makes. They hold what is read. Python looks for
    garbage more seldom, and DuckDB keeps the memory that a query gave back, and some projects their databases.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    gc.enable()
    with (
        mock.patch.object(ScriptDirectory, "from_config", _scripts_of),
        mock.patch.object(sqlite_event_log, "create_engine", _engine_of),
        mock.patch.object(sqlite_run_storage, "create_engine", _engine_of),
        mock.patch.object(InMemoryEventLogStorage, "store_event", _store_what_is_read),
        mock.patch.object(InMemoryEventLogStorage, "_connect", _events),
        mock.patch.object(InMemoryEventLogStorage, "_has_asset_key_col_on_connection", return_value=True),
        mock.patch.object(InMemoryEventLogStorage, "has_table", return_value=True),
        mock.patch.object(InMemoryRunStorage, "connect", _runs),
        mock.patch.object(DataVersionCache, "_fetch_input_asset_version_info", _versions_that_are_read),
        mock.patch.object(main, "get_command", _command_of),
        mock.patch.object(testing, "_get_command", _command_of),
        mock.patch.object(engine, "_FLUSH", "128MB"),
        databases_kept_open(),
    ):
        yield
