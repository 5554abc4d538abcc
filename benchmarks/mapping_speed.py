"""How fast the mapped tables are computed, and with how much memory.

Run `python benchmarks/mapping_speed.py [--events 5000000] [--contacts 500000] [--links 20000]`.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from icontact_assets.mapping import functions
from icontact_assets.mapping.build import build_activity, build_users
from icontact_assets.warehouse.warehouse import Warehouse


def fill(warehouse: Warehouse, events: int, contacts: int, links: int) -> None:
    """Contacts, one in twenty with a name before the address, and events: opens, clicks, a few bounces and leavers."""
    with warehouse.write("filling") as connection:
        connection.execute(
            f"""
            INSERT INTO icontact.raw_contacts
                (id, email, first_name, status, create_date, observed_at, partition_date)
            SELECT i, CASE WHEN i % 20 = 0 THEN 'P ' || i || ' <p' || i || '@Example.com>'
                ELSE 'Person.' || i || '@Example.com' END,
                'P', 'normal', strftime(TIMESTAMP '2024-01-01' + to_minutes(i), '%Y-%m-%d %H:%M:%S'),
                TIMESTAMP '2026-01-01', DATE '2026-01-01'
            FROM range({contacts}) numbers(i)
            """
        )
        connection.execute(
            f"""
            INSERT INTO icontact.raw_activity
            SELECT i % 500, hash(i) % {contacts}, kind, moment,
                CASE WHEN kind = 'click' THEN
                    'https://www.example.com/offers/' || (hash(i, 1) % {links}) || '?utm_source=icontact' END,
                0, moment, moment::DATE
            FROM (
                SELECT i, CASE WHEN i % 100 < 70 THEN 'open' WHEN i % 100 < 96 THEN 'click'
                    WHEN i % 100 < 98 THEN 'bounce' ELSE 'unsubscribe' END AS kind,
                    TIMESTAMP '2025-01-01' + to_seconds(i) AS moment
                FROM range({events}) numbers(i)
            ) made
            """
        )


def measure(what: str, count: int, work: Callable[[], object]) -> None:
    """Print seconds, things a second, and the process's peak memory so far."""
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"{what:46} {count:>11,} {seconds:8.2f} s {count / seconds:>13,.0f} a second   peak {peak:.1f} GB")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", type=int, default=5_000_000)
    arguments.add_argument("--contacts", type=int, default=500_000)
    arguments.add_argument("--links", type=int, default=20_000)
    given = arguments.parse_args()

    urls = [f"https://www.example.com/offers/{number}%20a?utm_source=icontact" for number in range(100_000)]
    measure("links hashed, in Python", len(urls), lambda: [functions.hashedurls_key(url) for url in urls])
    plain = [f"Person.{number}@Example.com" for number in range(100_000)]
    measure("plain addresses, in Python", len(plain), lambda: [functions.email(text) for text in plain])
    named = [f"A Person <person.{number}@Example.com>" for number in range(100_000)]
    measure("addresses with a name, in Python", len(named), lambda: [functions.email(text) for text in named])

    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder) / "speed.duckdb", "icontact")
        fill(warehouse, given.events, given.contacts, given.links)
        with warehouse.write("measuring") as connection:
            measure("icontact_users, contacts", given.contacts, lambda: build_users(connection))
        with warehouse.write("measuring") as connection:
            measure("icontact_activity in full, events", given.events, lambda: build_activity(connection))
            [(clicks, counted)] = connection.execute(
                "SELECT sum(email_click_ct), sum(list_sum(map_values(hashedurls))) FROM icontact.icontact_activity"
            ).fetchall()
            if clicks != counted:
                raise SystemExit(f"{clicks} clicks, but {counted} links counted: the figures above are worth nothing.")
        with warehouse.write("measuring") as connection:
            connection.execute(
                "INSERT INTO icontact.touched_contacts SELECT DISTINCT contact_id, ?::TIMESTAMP FROM "
                "icontact.raw_activity USING SAMPLE 1000 ROWS",
                [datetime(2026, 1, 1)],
            )
            measure("icontact_activity, touched contacts", 1000, lambda: build_activity(connection))


if __name__ == "__main__":
    main()
