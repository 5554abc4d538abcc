"""A lake after many daily runs, with and without maintenance: files, catalog, time of a query and of a day's writes.

python -m benchmarks.upkeep CONNINFO FOLDER [days, by default 100]

CONNINFO names an empty PostgreSQL database for each way, as `host=localhost dbname={}`, where {} becomes `with` and
`without`. A day has the transactions that a daily run was seen to have. What runs ask iContact for is left out.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from icontact_assets.mapping.build import build_activity, build_users
from icontact_assets.warehouse.lake import DuckLake
from icontact_assets.warehouse.tables import TABLES
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.harness.days import a_day_passes

SHOWN = (1, 10, 30, 60, 100)
KEEP = timedelta(days=7)
CONTACTS, EVENTS = 20_000, 2_000
"""Contacts of the first day, and events of each."""

_SAMPLES = {
    "VARCHAR": "'{name} ' || i",
    "BIGINT": "i",
    "INTEGER": "0",
    "BOOLEAN": "true",
    "DATE": "DATE '{at:%Y-%m-%d}'",
    "TIMESTAMP": "TIMESTAMP '{at:%Y-%m-%d %H:%M:%S}'",
    "VARCHAR[]": "['{name}']",
    "contact_id": f"'id ' || hash(i) % {CONTACTS}",
    "event_type": "if(i % 3 = 0, 'click', 'open')",
    "event_url": "if(i % 3 = 0, 'https://example.com/' || i % 700, NULL)",
    "email": "i || '@example.com'",
    "create_date": "'2026-01-01 10:00:00'",
    "custom_fields": "'{{}}'",
    "deleted_at": "NULL",
}
"""SQL expressions for the values of columns, by the name or the type of the column."""

_COLUMNS = {table.name: table.columns for table in TABLES}


class Days:
    """A lake, and one day of writes after the other."""

    def __init__(self, conninfo: str, folder: Path) -> None:
        self.folder = folder / "data"
        self.folder.mkdir(parents=True)
        self.lake = DuckLake(conninfo, f"{self.folder}/", folder / "work")
        self.catalog = psycopg.connect(conninfo, autocommit=True)
        self._warehouse = Warehouse(self.lake, "icontact")
        self._now = datetime.now(UTC).replace(tzinfo=None)
        self._contacts, self._events = CONTACTS, 0
        with self._warehouse.write("the first day") as connection:
            self._put(connection, "raw_contacts", 0, CONTACTS)
            self._put(connection, "import_coverage", 0, 400)

    def write(self) -> None:
        """The writes of a daily run."""
        for write in (
            *(self._listings, self._listings, self._activity, self._people),
            *(build_users, build_activity, self._reports, self._audience),
        ):
            with self._warehouse.write("a day") as connection:
                write(connection)

    def sleep(self) -> None:
        """A day passes: what is there is a day older."""
        self._now += timedelta(days=1)
        a_day_passes(self.catalog, self.folder)

    def query(self) -> None:
        """What somebody asks who looks at the tables."""
        with self._warehouse.read() as connection:
            for sql in (
                "SELECT event_type, count(*), count(DISTINCT contact_id) FROM raw_activity GROUP BY ALL",
                "SELECT count(*) FROM icontact_profiles WHERE last_active_ts IS NOT NULL",
                "SELECT resource, count(*) FROM import_coverage GROUP BY ALL",
            ):
                connection.execute(sql).fetchall()

    def files(self) -> list[Path]:
        return list(self.folder.rglob("*.parquet"))

    def one(self, sql: str) -> Any:
        [(value,)] = self.catalog.execute(sql).fetchall()
        return value

    def _listings(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._replace(connection, "import_coverage", 0, 70)
        self._replace(connection, "known_fields", 0, 70)
        self._put(connection, "raw_statistics", self._events, self._events + 40)

    def _activity(self, connection: duckdb.DuckDBPyConnection) -> None:
        first, self._events = self._events, self._events + EVENTS
        self._put(connection, "raw_activity", first, self._events)
        self._put(connection, "touched_contacts", first, self._events)
        self._replace(connection, "import_coverage", 100, 70)

    def _people(self, connection: duckdb.DuckDBPyConnection) -> None:
        first, self._contacts = self._contacts, self._contacts + 50
        self._put(connection, "raw_contacts", first, self._contacts)
        connection.execute(
            f"INSERT INTO changed_contacts SELECT 'id ' || range, now() FROM range({first}, {self._contacts})"
        )

    def _reports(self, connection: duckdb.DuckDBPyConnection) -> None:
        for name, rows in (("links", 500), ("engagement", 2_000), ("campaigns", 100), ("domains", 30)):
            connection.execute(
                f"CREATE OR REPLACE TABLE {name} AS SELECT range AS id, random() AS rate FROM range({rows})"
            )

    def _audience(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._put(connection, "audience_computations", self._events, self._events + 1)
        self._put(connection, "audience_changes", self._events, self._events + 30)
        self._replace(connection, "audience_members", 0, 100)

    def _replace(self, connection: duckdb.DuckDBPyConnection, table: str, first: int, last: int) -> None:
        key = _COLUMNS[table][0].name
        connection.execute(f"DELETE FROM {table} WHERE {key} IN (SELECT '{key} ' || range FROM range({first}, {last}))")
        self._put(connection, table, first, last)

    def _put(self, connection: duckdb.DuckDBPyConnection, table: str, first: int, last: int) -> None:
        values = ", ".join(
            _SAMPLES.get(column.name, _SAMPLES.get(column.type, "")).format(name=column.name, at=self._now)
            for column in _COLUMNS[table]
        )
        connection.execute(f"INSERT INTO {table} SELECT {values} FROM range({first}, {last}) numbers(i)")


def _seconds(do: Callable[[], object]) -> tuple[float, float]:
    """How long it takes, and the CPU that this process uses."""
    began, used = time.perf_counter(), time.process_time()
    do()
    return time.perf_counter() - began, time.process_time() - used


def _shown(seconds: tuple[float, float]) -> str:
    return "{:.2f} ({:.2f})".format(*seconds)


def main() -> None:
    conninfo, folder, *rest = sys.argv[1:]
    days = int(rest[0]) if rest else 100
    lakes = {way: Days(conninfo.format(way), Path(folder) / way) for way in ("with", "without")}
    heads = (
        *("day", "maintenance", "files", "files on the disk", "MB on the disk", "snapshots", "MB of the catalog"),
        *("query, s (CPU)", "writes of a day, s (CPU)", "maintenance, s (CPU)"),
    )
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}")
    for day in range(1, days + 1):
        for way, lake in lakes.items():
            wrote = _seconds(lake.write)
            tended = _seconds(partial(lake.lake.maintenance, KEEP)) if way == "with" else None
            if day in SHOWN or day == days:
                live = "SELECT count(*) FROM {} WHERE end_snapshot IS NULL"
                facts = (
                    day,
                    way,
                    lake.one(live.format("ducklake_data_file")) + lake.one(live.format("ducklake_delete_file")),
                    len(lake.files()),
                    f"{sum(file.stat().st_size for file in lake.files()) / 1e6:.1f}",
                    lake.one("SELECT count(*) FROM ducklake_snapshot"),
                    f"{lake.one('SELECT pg_database_size(current_database())') / 1e6:.1f}",
                    _shown(min(_seconds(lake.query) for _ in range(5))),
                    _shown(wrote),
                    "" if tended is None else _shown(tended),
                )
                print(f"| {' | '.join(map(str, facts))} |", flush=True)
            lake.sleep()


if __name__ == "__main__":
    main()
