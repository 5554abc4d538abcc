"""Computes the people of a made-up database: `python -m benchmarks.jobs.people compute DATABASE`.

`python -m benchmarks.jobs.people make DATABASE CONTACTS` makes one. What is measured is rolled back.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from icontact_assets.mapping.build import build_activity, build_users
from icontact_assets.mapping.people import build_people, wrong_keys, wrong_sums
from icontact_assets.mapping.profiles import build_profiles
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.warehouse import Warehouse

IMPORTS = ("one", "other")
EVENTS_OF_A_CONTACT, LINKS = 4, 500


def make(path: Path, contacts: int) -> None:
    """Two imports with the same addresses. A tenth of the contacts of one are a chain: each of them had the address of
    the one before."""
    each = contacts // len(IMPORTS)
    chain = each // 10
    for number, name in enumerate(IMPORTS):
        statements = [
            f"""INSERT INTO raw_contacts (id, email, first_name, city, create_date, status, observed_at, partition_date)
                SELECT {(number + 1) * 10_000_000} + i, 'p' || i || '@d' || i % 400 || '.example', 'Name ' || i % 5000,
                    'City ' || i % 900, '2025-01-01 10:00:00', 'normal', TIMESTAMP '2025-06-01', DATE '2025-06-01'
                FROM range({each}) numbers(i)""",
            f"""INSERT INTO raw_activity
                SELECT 1 + i % 50, {(number + 1) * 10_000_000} + i // {EVENTS_OF_A_CONTACT},
                    if(i % 2 = 0, 'open', 'click'), TIMESTAMP '2025-07-01' + to_seconds(i % 1000000),
                    if(i % 2 = 0, NULL, 'https://www.example.com/' || hash(i) % {LINKS}), 0,
                    TIMESTAMP '2025-08-01', DATE '2025-07-01'
                FROM range({each * EVENTS_OF_A_CONTACT}) numbers(i)""",
        ]
        if number == 0:
            statements.append(
                f"""INSERT INTO raw_contacts (id, email, observed_at, partition_date)
                    SELECT 10000000 + i, 'p' || i + 1 || '@d' || (i + 1) % 400 || '.example', TIMESTAMP '2025-06-02',
                        DATE '2025-06-02' FROM range({chain}) numbers(i)"""
            )
        with Warehouse(DatabaseFile(path), name).write("filling") as connection:
            for statement in statements:
                connection.execute(statement)
            build_users(connection)
            build_activity(connection)
            build_profiles(connection)


def compute(path: Path) -> None:
    """Compute the people in one transaction, with its checks, as the asset does, and say what that took."""
    with Warehouse(DatabaseFile(path), IMPORTS[0]).write("measuring") as connection:
        wall, cpu = time.perf_counter(), time.process_time()
        found = build_people(connection, IMPORTS)
        wrong = {**wrong_keys(connection, IMPORTS), **wrong_sums(connection, IMPORTS)}
        took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        if any(wrong.values()):
            raise SystemExit(f"The people are wrong: {wrong}")
        connection.execute("ROLLBACK")
        connection.execute("BEGIN")
    print(json.dumps({"rows": found.contacts, **took}))


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        compute(Path(sys.argv[2]))
