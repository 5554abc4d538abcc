"""How fast the sandbox serves pages of 500 activity rows, and how much memory its events take.

python benchmarks/sandbox_speed.py
"""

from __future__ import annotations

import http.client
import os
import time
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from icontact_assets.sandbox.process import Sandbox
from icontact_assets.sandbox.service import APP_ID, PASSWORD, USERNAME

HEADERS = {
    "Api-Version": "2.2",
    "Api-AppId": APP_ID,
    "Api-Username": USERNAME,
    "Api-Password": PASSWORD,
    "Accept": "application/json",
}
FOLDER = "/icp/a/1300001/c/7601"


def processor_seconds(pid: int) -> float:
    """Seconds of processor time a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(sandbox: Sandbox, paths: list[str], what: str, *, zipped: bool) -> None:
    address = urlsplit(sandbox.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    headers = {**HEADERS, "Accept-Encoding": "gzip"} if zipped else HEADERS
    size, began, used = 0, time.perf_counter(), processor_seconds(sandbox.pid)
    for path in paths:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        size += len(answer.read())
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status}")
    seconds, busy = time.perf_counter() - began, processor_seconds(sandbox.pid) - used
    print(
        f"{what}: {len(paths)} pages in {seconds:.2f} s ({len(paths) / seconds:.0f} a second; "
        f"{len(paths) / busy:.0f} a second of the server's processor; {size / len(paths) / 1000:.0f} kB each)"
    )


def main() -> None:
    with Sandbox(contacts=100_000, messages=60, days=365) as sandbox:
        os.sched_setaffinity(sandbox.pid, {0})
        address = urlsplit(sandbox.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port)
        pages: dict[str, list[str]] = {"opens": [], "clicks": []}
        rows = 0
        for message in range(310_003, 310_055):
            for kind, paths in pages.items():
                connection.request("GET", f"{FOLDER}/messages/{message}/{kind}?limit=1", headers=HEADERS)
                total = orjson.loads(connection.getresponse().read())["total"]
                rows += total
                listing = f"{FOLDER}/messages/{message}/{kind}?limit=500&offset="
                paths += [f"{listing}{at}" for at in range(0, total - 500, 500)]
        memory = next(
            line for line in Path(f"/proc/{sandbox.pid}/status").read_text().splitlines() if line.startswith("VmRSS")
        )
        print(f"opens and clicks: {rows} rows, 100,000 contacts; {memory}")
        measure(sandbox, pages["opens"][:1500], "opens", zipped=False)
        measure(sandbox, pages["clicks"][:500], "clicks", zipped=False)
        measure(sandbox, pages["opens"][:1500], "opens, gzip", zipped=True)
        contacts = [f"{FOLDER}/contacts?status=total&limit=500&offset={at}" for at in range(0, 100_000, 500)]
        measure(sandbox, contacts, "contacts", zipped=False)
        keyed = [
            f"{FOLDER}/contacts?status=total&limit=500&orderby=contactId&contactId={at}&contactIdSearchType=gt"
            for at in range(90_000_000, 90_100_000, 500)
        ]
        measure(sandbox, keyed, "contacts by key", zipped=False)


if __name__ == "__main__":
    main()
