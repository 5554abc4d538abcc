"""Reads the same client folder with dlt into DuckDB, by way of Parquet: `python -m benchmarks.jobs.dlt_set`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.update({"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR", "DLT_DATA_DIR": os.getcwd()})

import dlt
import requests

SIZE = int(os.environ["ICONTACT_PAGE_SIZE"])
FOLDER = f"{os.environ['ICONTACT_BASE_URL']}/a/1300001/c/7601"
KINDS = ("opens", "clicks", "bounces", "unsubscribes")
session = requests.Session()


def pages(path: str, key: str, size: int = SIZE) -> Iterator[list[dict[str, Any]]]:
    """The pages of a listing, by offset."""
    offset = 0
    while True:
        params = {"status": "total", "limit": size, "offset": offset}
        body = session.get(f"{FOLDER}/{path}", params=params).json()
        rows = body[key]
        if rows:
            yield rows
        offset += len(rows)
        if not rows or offset >= body["total"]:
            return


@dlt.source
def client_folder() -> list[Any]:
    """Contacts, messages, sends, lists, and statistics and activity of each message."""
    ids = [message["messageId"] for page in pages("messages", "messages", 50) for message in page]

    def activity(kind: str) -> Iterator[list[dict[str, Any]]]:
        for id_ in ids:
            for rows in pages(f"messages/{id_}/{kind}", kind):
                for row in rows:
                    row["messageId"] = id_
                yield rows

    def statistics() -> Iterator[dict[str, Any]]:
        for id_ in ids:
            yield {"messageId": id_, **session.get(f"{FOLDER}/messages/{id_}/statistics").json()["statistics"]}

    listings = [("contacts", SIZE), ("messages", 50), ("sends", SIZE), ("lists", SIZE)]
    found = [dlt.resource(pages(key, key, size), name=key) for key, size in listings]
    return [
        *found,
        *(dlt.resource(activity(kind), name=kind) for kind in KINDS),
        dlt.resource(statistics, name="stats"),
    ]


def main() -> None:
    pipeline = dlt.pipeline(
        "folder",
        destination=dlt.destinations.duckdb(str(Path.cwd() / "dlt.duckdb")),
        dataset_name="raw",
        pipelines_dir="pipelines",
    )
    pipeline.run(client_folder(), loader_file_format="parquet", write_disposition="replace")
    counts = pipeline.last_trace.last_normalize_info.row_counts
    print(json.dumps({"rows": sum(rows for table, rows in counts.items() if not table.startswith("_dlt"))}))


if __name__ == "__main__":
    main()
