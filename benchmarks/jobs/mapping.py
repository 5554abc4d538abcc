"""Computes the mapped tables of a made-up database: `python -m benchmarks.jobs.mapping WHAT DATABASE [MEMORY]`.

`python -m benchmarks.jobs.mapping make DATABASE EVENTS CONTACTS` makes one. What is measured is rolled back.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from icontact_assets.mapping.build import build_activity, build_users
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.warehouse import Warehouse

LINKS, MESSAGES, TOUCHED = 20_000, 500, 20_000
_SCAN = "SELECT max(contact_id), max(event_type), max(event_time), max(event_url) FROM raw_activity"


def make(warehouse: Warehouse, events: int, contacts: int) -> None:
    """Fill an empty schema, and map it. Contacts, one in twenty with a name before the address, and opens, clicks,
    bounces and leavers in time order."""
    with warehouse.write("filling") as connection:
        connection.execute(
            f"""
            INSERT INTO raw_contacts (id, email, first_name, status, create_date, observed_at, partition_date)
            SELECT i, CASE WHEN i % 20 = 0 THEN 'P ' || i || ' <p' || i || '@Example.com>'
                ELSE 'Person.' || i || '@Example.com' END,
                'P', 'normal', strftime(TIMESTAMP '2024-01-01' + to_minutes(i), '%Y-%m-%d %H:%M:%S'),
                TIMESTAMP '2026-01-01', DATE '2026-01-01'
            FROM range({contacts}) numbers(i)
            """
        )
        connection.execute(
            f"""
            INSERT INTO raw_activity
            SELECT i % {MESSAGES}, hash(i) % {contacts}, kind, moment,
                CASE WHEN kind = 'click' THEN
                    'https://www.example.com/offers/' || (hash(i, 1) % {LINKS}) || '?utm_source=icontact' END,
                0, moment, moment::DATE
            FROM (
                SELECT i, CASE WHEN i % 100 < 70 THEN 'open' WHEN i % 100 < 96 THEN 'click'
                    WHEN i % 100 < 98 THEN 'bounce' ELSE 'unsubscribe' END AS kind,
                    TIMESTAMP '2025-01-01' + to_milliseconds(i * 250) AS moment
                FROM range({events}) numbers(i)
            ) made
            """
        )
    with warehouse.write("computing") as connection:
        build_users(connection)
        build_activity(connection)


def touch(connection: duckdb.DuckDBPyConnection) -> None:
    """A day in which so many contacts opened something."""
    connection.execute(
        f"""
        INSERT INTO raw_activity
        SELECT '0', id, 'open', TIMESTAMP '2027-01-01', NULL, 0, TIMESTAMP '2027-01-01', DATE '2027-01-01'
        FROM raw_contacts LIMIT {TOUCHED}
        """
    )
    connection.execute(
        "INSERT INTO touched_contacts SELECT contact_id, extracted_at FROM raw_activity "
        "WHERE partition_date = DATE '2027-01-01'"
    )


def change(connection: duckdb.DuckDBPyConnection) -> None:
    """A day in which one contact of a hundred got another first name."""
    connection.execute(
        "INSERT INTO raw_contacts SELECT * REPLACE ('Q' AS first_name, TIMESTAMP '2026-01-02' AS observed_at, "
        "DATE '2026-01-02' AS partition_date) FROM raw_contacts WHERE id::BIGINT % 100 = 0"
    )


def scan(connection: duckdb.DuckDBPyConnection) -> None:
    """A bare aggregate over the columns that the mapping of activity reads, values and all."""
    connection.execute(_SCAN).fetchall()


def grouped(connection: duckdb.DuckDBPyConnection) -> None:
    """What pandas takes for the counts, the latest times and the clicks by link of each contact."""
    frame = connection.execute("SELECT contact_id, event_type, event_time, event_url FROM raw_activity").df()
    frame.groupby(["contact_id", "event_type"])["event_time"].agg(["count", "max"]).unstack()
    frame[frame["event_url"].notna()].groupby(["contact_id", "event_url"]).size()


def grouped_users(connection: duckdb.DuckDBPyConnection) -> None:
    """What pandas takes for the latest version of each contact, with its address in lower case."""
    columns = "id, email, first_name, status, create_date, observed_at"
    frame = connection.execute(f"SELECT {columns} FROM raw_contacts").df()
    frame["email"] = frame["email"].str.lower()
    frame.sort_values("observed_at").groupby("id").last()


Job = Callable[[duckdb.DuckDBPyConnection], object]
JOBS: dict[str, tuple[Job | None, Job]] = {
    # The first time brings the file into memory.
    "scan": (scan, scan),
    "pandas-users": (None, grouped_users),
    "pandas": (None, grouped),
    "full": (None, lambda connection: build_activity(connection, everything=True)),
    "update": (touch, build_activity),
    "users": (lambda connection: connection.execute("DROP TABLE icontact_users"), build_users),
    "users-changed": (change, build_users),
    "users-same": (None, build_users),
}
"""What comes before, which does not count, and what is measured."""


def main() -> None:
    what, path, *rest = sys.argv[1:]
    warehouse = Warehouse(DatabaseFile(Path(path)), "icontact")
    if what == "make":
        make(warehouse, int(rest[0]), int(rest[1]))
        return
    before, work = JOBS[what]
    if before:
        with warehouse.write("preparing") as connection:
            before(connection)
    with warehouse.write("measuring") as connection:
        if rest:
            connection.execute(f"SET memory_limit = '{rest[0]}'")
        table = "raw_contacts" if "users" in what else "raw_activity"
        [(rows,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
        wall, cpu = time.perf_counter(), time.process_time()
        work(connection)
        took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        connection.execute("ROLLBACK")
        connection.execute("BEGIN")
    print(json.dumps({"rows": rows, **took}))


if __name__ == "__main__":
    main()
