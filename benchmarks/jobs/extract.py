"""Reads a client folder into DuckDB as the raw assets do, without Dagster: `python -m benchmarks.jobs.extract DAYS`.

With `activity`, only the reading of activity counts, after the other listings were read.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from icontact_assets.ingest.activity import ActivityReader
from icontact_assets.ingest.changes import read_changes
from icontact_assets.ingest.window import ReadRequest, Window
from icontact_assets.resources import open_context
from icontact_assets.settings.load import load_settings


def main() -> None:
    days, only_activity = int(sys.argv[1]), "activity" in sys.argv
    settings = load_settings(directory=Path.cwd())
    [import_] = settings.imports
    began = datetime.now(UTC)
    window = Window(began.date() - timedelta(days=days - 1), began.date())
    found: dict[str, float] = {}
    with open_context(settings, import_, purpose="a benchmark", warn=print) as context:
        for resource in ("contacts", "messages", "sends", "lists"):
            read_changes(context, resource, window)
        wall, cpu, requests = time.perf_counter(), time.process_time(), context.folder.session.requests
        ActivityReader(context, ReadRequest(window, began), lambda *_: None, lambda _: None).read(lambda _: None)
        if only_activity:
            found = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            found["requests"] = context.folder.session.requests - requests
    print(json.dumps(found))


if __name__ == "__main__":
    main()
