"""Counts the rows that an import left in its raw tables: `python -m benchmarks.jobs.rows`."""

from __future__ import annotations

import json
from pathlib import Path

from icontact_assets.resources import reading
from icontact_assets.settings.load import load_settings

TABLES = ("raw_contacts", "raw_messages", "raw_sends", "raw_lists", "raw_statistics", "raw_activity")


def main() -> None:
    settings = load_settings(directory=Path.cwd())
    with reading(settings) as connection:
        counts = " UNION ALL ".join(f"SELECT count(*) AS n FROM icontact.{table}" for table in TABLES)
        [(rows,)] = connection.execute(f"SELECT sum(n) FROM ({counts})").fetchall()
    print(json.dumps({"rows": int(rows)}))


if __name__ == "__main__":
    main()
