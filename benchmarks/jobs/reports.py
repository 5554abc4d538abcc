"""Computes the report tables of a made-up database: `python -m benchmarks.jobs.reports WHAT DATABASE`, `all` or one.

`python -m benchmarks.jobs.reports make DATABASE EVENTS` makes one. What is measured is rolled back.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from icontact_assets.ingest.due import Scope
from icontact_assets.reports.build import Task, build_reports
from icontact_assets.reports.tables import REPORT_TABLES
from icontact_assets.settings.models import Reports
from icontact_assets.settings.requests import Refresh
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.tables import Table
from icontact_assets.warehouse.warehouse import Warehouse

MESSAGES, LISTS, LINKS, DOMAINS = 500, 5, 8, 400
EVENTS_OF_A_CONTACT = 20
START, NOW = date(2024, 1, 1), datetime(2026, 9, 1, tzinfo=UTC)
RULES = Reports(time_zone="America/New_York")


def make(path: Path, events: int) -> None:
    """A message every 34 hours, to one of five lists, of which a contact is on two. Opens come soon after the send."""
    contacts = events // EVENTS_OF_A_CONTACT
    statements = (
        f"""INSERT INTO raw_contacts (id, email, state, status, observed_at, partition_date)
            SELECT i, 'p' || i || '@d' || floor({DOMAINS} * pow(hash(i, 3) / 18446744073709551615, 3))::INT
                || '.example', 'CA', if(i % 50 = 0, 'bounced', 'normal'), TIMESTAMP '2024-06-01', DATE '2024-06-01'
            FROM range({contacts}) numbers(i)""",
        """INSERT INTO raw_contacts BY NAME SELECT * REPLACE ('donotcontact' AS status,
                TIMESTAMP '2025-06-01' + to_hours((hash(id) % 9000)::INT) AS observed_at)
            FROM raw_contacts WHERE id::INT % 40 = 1""",
        f"INSERT INTO raw_lists (list_id, name, observed_at) SELECT i, 'List ' || i, TIMESTAMP '2024-06-01' "
        f"FROM range({LISTS}) numbers(i)",
        f"""INSERT INTO raw_subscriptions (subscription_id, list_id, contact_id, status, added_at, observed_at)
            SELECT list || '_' || i, list, i, 'normal', added, greatest(added, TIMESTAMP '2024-06-01')
            FROM (SELECT i, (i + n) % {LISTS} AS list,
                    TIMESTAMP '2023-01-01' + to_hours((hash(i, n) % 30000)::INT) AS added
                FROM range({contacts}) numbers(i), range(2) twice(n))""",
        """INSERT INTO raw_subscriptions BY NAME SELECT * REPLACE ('unsubscribed' AS status,
                observed_at + to_hours((hash(subscription_id) % 5000)::INT) AS observed_at)
            FROM raw_subscriptions WHERE contact_id::INT % 12 = 0""",
        f"""INSERT INTO raw_messages (message_id, subject, observed_at)
            SELECT 1000 + i, 'Subject ' || i, TIMESTAMP '2024-09-01' FROM range({MESSAGES}) numbers(i)""",
        f"""INSERT INTO raw_sends (send_id, message_id, include_list_ids, released_at, status, observed_at)
            SELECT i, 1000 + i, i % {LISTS}, TIMESTAMP '2024-09-01 10:00' + to_hours(i * 34), 'released',
                TIMESTAMP '2024-09-01' FROM range({MESSAGES}) numbers(i)""",
        f"""INSERT INTO raw_activity
            SELECT 1000 + message, contact, kind, released + to_seconds(after::BIGINT),
                CASE WHEN kind = 'click' THEN 'https://www.example.com/' || message || '/offer/'
                    || (hash(i, 4) % {LINKS}) || '?position=' || (hash(i, 5) % 20) END,
                0, released, (released + to_seconds(after::BIGINT))::DATE
            FROM (
                SELECT i, i % {MESSAGES} AS message, hash(i) % {contacts} AS contact,
                    CASE WHEN i % 1000 < 700 THEN 'open' WHEN i % 1000 < 960 THEN 'click'
                        WHEN i % 1000 < 985 THEN 'bounce' ELSE 'unsubscribe' END AS kind,
                    TIMESTAMP '2024-09-01 10:00' + to_hours((i % {MESSAGES})::INT * 34) AS released,
                    least(-20000 * ln(1 - hash(i, 2) / 18446744073709551616), 2000000) AS after
                FROM range({events}) numbers(i)
            )""",
        """INSERT INTO raw_statistics (message_id, delivered, bounces, opens_total, opens_unique, clicks_total,
                clicks_unique, unsubscribes, complaints, forwards, observed_at)
            SELECT message_id, 4 * count(*), count_if(event_type = 'bounce'), count_if(event_type = 'open'),
                count(DISTINCT contact_id) FILTER (event_type = 'open'), count_if(event_type = 'click'),
                count(DISTINCT contact_id) FILTER (event_type = 'click'), count_if(event_type = 'unsubscribe'), 1, 2,
                TIMESTAMP '2026-09-01' FROM raw_activity GROUP BY message_id""",
    )
    with Warehouse(DatabaseFile(path), "icontact").write("filling") as connection:
        for statement in statements:
            connection.execute(statement)


def compute(path: Path, tables: Sequence[Table]) -> None:
    """Compute report tables in one transaction, as their asset does, and say what that took."""
    task = Task(Scope("icontact", None, Refresh().by_age), RULES, START, NOW)
    with Warehouse(DatabaseFile(path), "icontact").write("measuring") as connection:
        [(rows,)] = connection.execute("SELECT count(*) FROM raw_activity").fetchall()
        wall, cpu = time.perf_counter(), time.process_time()
        build_reports(connection, tables, task)
        took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        connection.execute("ROLLBACK")
        connection.execute("BEGIN")
    print(json.dumps({"rows": rows, **took}))


def main(what: str, path: str, *events: str) -> None:
    if what == "make":
        make(Path(path), int(events[0]))
    else:
        compute(Path(path), [table for table in REPORT_TABLES if what in ("all", table.name)])


if __name__ == "__main__":
    main(*sys.argv[1:])
