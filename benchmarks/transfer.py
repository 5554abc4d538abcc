"""How long it takes to copy a file of many events into a lake, to do so again, and to copy it back.

python -m benchmarks.transfer [events, by default 10 million]

Starts a PostgreSQL of its own. Each copy is in a process of its own, so that its memory is its own too.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.lake import DuckLake
from icontact_assets.warehouse.storage import Storage
from icontact_assets.warehouse.transfer import copy
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.harness.postgres import started

CONTACTS = 400_000


def _fill(file: Storage, events: int) -> None:
    with Warehouse(file, "icontact").write("a benchmark") as connection:
        connection.execute(
            f"""
            INSERT INTO raw_activity
            SELECT
                (i // 40000)::VARCHAR, (90000000 + hash(i) % {CONTACTS})::VARCHAR,
                ['bounce', 'unsubscribe', 'click', 'click'][(1 + hash(i, 1) % 20)::BIGINT] AS kind,
                TIMESTAMP '2025-01-01' + INTERVAL 3 SECOND * i,
                if(kind = 'click', 'https://example.com/page/' || hash(i, 2) % 5000 || '?utm=' || i // 40000, NULL),
                0, TIMESTAMP '2026-01-01', (TIMESTAMP '2025-01-01' + INTERVAL 3 SECOND * i)::DATE
            FROM range({events}) numbers(i)
            """
        )
        connection.execute("UPDATE raw_activity SET event_type = 'open' WHERE event_type IS NULL")
        connection.execute(
            f"""
            INSERT INTO raw_contacts
                (id, email, first_name, last_name, street, city, state, postal_code, status, create_date, observed_at)
            SELECT
                (90000000 + i)::VARCHAR, md5(i::VARCHAR) || '@example.com', 'First' || i % 1000, 'Last' || i % 9999,
                i || ' Main Street', 'City' || i % 500, 'DC', (10000 + i % 9999)::VARCHAR, 'normal',
                '2025-01-01 10:00:00', TIMESTAMP '2026-01-01'
            FROM range({CONTACTS}) numbers(i)
            """
        )


def _places(conninfo: str, folder: Path) -> tuple[Storage, Storage, Storage]:
    """A file, a lake, and the file that it is copied back to."""
    lake = DuckLake(conninfo, f"{folder / 'data'}/", folder / "work")
    return DatabaseFile(folder / "file.duckdb"), lake, DatabaseFile(folder / "back.duckdb")


def _measure(what: str, conninfo: str, folder: Path) -> None:
    file, lake, back = _places(conninfo, folder)
    source, target = (lake, back) if what == "lake to file" else (file, lake)
    began = time.monotonic()
    tables = list(copy(source, target, waiting=print, tell=lambda _: None))
    seconds, used = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    facts = (
        what,
        f"{sum(table.rows for table in tables if not table.was_there):,}",
        f"{seconds:.1f}",
        f"{used.ru_utime + used.ru_stime:.1f}",
        used.ru_maxrss // 1024,
        source.size() // 1_000_000,
        target.size() // 1_000_000,
    )
    print(f"| {' | '.join(map(str, facts))} |", flush=True)


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    heads = ("copy", "rows copied", "seconds", "CPU seconds", "MB of memory", "MB of the source", "MB of the target")
    with tempfile.TemporaryDirectory() as name, started() as server:
        conninfo = server.conninfo(server.database())
        _fill(_places(conninfo, Path(name))[0], events)
        print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}")
        for what in ("file to lake", "again, nothing is missing", "lake to file"):
            arguments = (what, conninfo, Path(name))
            process = multiprocessing.get_context("spawn").Process(target=_measure, args=arguments)
            process.start()
            process.join()
            assert process.exitcode == 0


if __name__ == "__main__":
    main()
