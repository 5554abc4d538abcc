"""Asks for the activity of all messages with bare `requests` in 16 threads, and keeps nothing.

`python -m benchmarks.jobs.threads MESSAGES`
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import requests

SIZE = int(os.environ["ICONTACT_PAGE_SIZE"])
FOLDER = f"{os.environ['ICONTACT_BASE_URL']}/a/1300001/c/7601"
_local = threading.local()


def read(message: int) -> tuple[int, int]:
    """Rows and requests of a message's statistics and listings."""
    if not hasattr(_local, "session"):
        _local.session = requests.Session()
    _local.session.get(f"{FOLDER}/messages/{message}/statistics").json()
    rows, asked = 0, 1
    for kind in ("opens", "clicks", "bounces", "unsubscribes"):
        for offset in itertools.count(0, SIZE):
            params = {"limit": SIZE, "offset": offset}
            body = _local.session.get(f"{FOLDER}/messages/{message}/{kind}", params=params).json()
            rows, asked = rows + len(body[kind]), asked + 1
            if offset + SIZE >= body["total"]:
                break
    return rows, asked


def main() -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(read, range(310_001, 310_001 + int(sys.argv[1]))))
    rows, asked = (sum(numbers) for numbers in zip(*found, strict=True))
    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps({"rows": rows, "requests": asked, **took}))


if __name__ == "__main__":
    main()
