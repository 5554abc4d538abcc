"""Dagster's records in SQLite, in the files and tables that Dagster makes, written many at a time.

For each event of an asset, Dagster's own storage opens two databases, compiles its SQL anew and commits twice. A run
over a year then spends most of its time on these records. Without this storage in dagster.yaml everything works as
well, only slower: either storage goes on with the files of the other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import yaml
from dagster import DagsterInstance, Field
from dagster._check import not_none
from dagster._core.events import ASSET_CHECK_EVENTS, BATCH_WRITABLE_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, NullPool, create_engine

_TOGETHER = 1000
"""Events that are written at once, at most."""

_ENGINES = 8
"""So many databases keep their compiled SQL. There is one for each run, and one for all."""


class BatchedEventLog(SqliteEventLogStorage):
    """Dagster's event log, which takes the events that belong together in one transaction for each database."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        # Dagster asks this variable, not the storage, whether it may hand over several events at once.
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(_TOGETHER))
        self._engines: dict[str, Engine] = {}
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock, self._engine(shard).begin() as connection:
            yield connection

    def _engine(self, shard: str) -> Engine:
        engine = self._engines.pop(shard, None)
        if engine is None:
            engine = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=NullPool,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
            )
            self._initdb(engine)
        self._engines[shard] = engine
        if len(self._engines) > _ENGINES:
            del self._engines[next(iter(self._engines))]
        return engine

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of one run, as `store_event` would one by one."""
        if any(event.dagster_event_type not in BATCH_WRITABLE_EVENTS for event in events):
            super().store_event_batch(events)
            return
        rows = [self._event_to_row(event) for event in events]
        insert = SqlEventLogStorageTable.insert()
        with self.run_connection(events[0].run_id) as connection:
            connection.execute(insert, rows)
        with self.index_transaction() as connection:
            ids = [not_none(connection.execute(insert, row).inserted_primary_key)[0] for row in rows]
            stored = list(zip(events, ids, strict=True))
            of_assets = [(event, id_) for event, id_ in stored if event.dagster_event_type not in ASSET_CHECK_EVENTS]
            self._store_asset_event_tags(connection, [event for event, _ in of_assets], [id_ for _, id_ in of_assets])
            # What is kept of an asset is what the last of its events of each type says.
            last = {
                (event.get_dagster_event().asset_key, event.dagster_event_type): (event, id_)
                for event, id_ in of_assets
            }
            for event, id_ in last.values():
                self._store_asset_event(connection, event, id_)
        for event, id_ in stored:
            if event.dagster_event_type in ASSET_CHECK_EVENTS:
                self.store_asset_check_event(event, id_)


class BatchedStorage(DagsterSqliteStorage):
    """All of Dagster's records in SQLite, below `base_dir`."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = BatchedEventLog(os.path.join(base_dir, "history", "runs"))

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        return cls.from_local(config_value["base_dir"], inst_data=inst_data)


class Instance(DagsterInstance):
    """Dagster's instance, which keeps its records as above unless its `storage` says otherwise.

    A class of storage alone would have to be told its folder, which is a temporary one without DAGSTER_HOME.
    """

    @staticmethod
    def config_schema() -> Mapping[str, Field]:
        return {}

    @staticmethod
    def config_defaults(base_dir: str) -> Mapping[str, ConfigurableClassData | None]:
        storage = ConfigurableClassData(__name__, BatchedStorage.__name__, yaml.dump({"base_dir": base_dir}))
        return {**InstanceRef.config_defaults(base_dir), "storage": storage}
