"""Odd values in every field, odd answers to every request, random JSON: far more than the suite has time for.

python benchmarks/fuzz.py [random bodies, by default 2000]

Nothing may end in an untyped error, lose a row that is fine, or take more memory or time than is allowed.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.session import Credentials, Session
from icontact_assets_tests.hostile import Answer, drip, endless, http
from icontact_assets_tests.icontact.test_answers import BOMB, FINE, JSON
from icontact_assets_tests.ingest.test_odd_values import KINDS, LISTINGS, check_activity, check_listing
from icontact_assets_tests.odd import BODIES, HEADERS, ODD, OPERATIONS, STATUSES, Says, play

READ_TIMEOUT = 1.0
MOST_MB = 300


def answers() -> Iterator[Answer]:
    """Each odd body; each odd header and status with several bodies; and what never ends."""
    yield from (http(body) for body in BODIES)
    for header, status in product(HEADERS, STATUSES):
        yield from (http(body, header, status=status) for body in (FINE, b"", b"<html>"))
    yield http(BOMB, "Content-Encoding: gzip")
    yield endless(http(length=False), b" " * 65536)
    yield endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")
    yield from (drip(http(length=False)), drip(b"HTTP/1.1 2", b"0"), drip(b"HTTP/1.1 200 OK\r\nX: ", b"y"))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    logging.disable()
    with tempfile.TemporaryDirectory() as home:
        for listing in LISTINGS:
            (Path(home) / listing).mkdir()
            rows = check_listing(Path(home) / listing, listing, ODD)
            print(f"{listing}: {rows} rows, each stored or in quarantine", flush=True)
        check_activity(Path(home), ODD)
        print(f"{', '.join(KINDS)}: each row stored or in quarantine; {memory()}", flush=True)

        budget = Budget(CountFile(Path(home), "a"), per_second=0, per_minute=0, per_day=0)
        ended, longest = Counter[str](), 0.0
        with Says() as server:
            session = Session(server.url, Credentials("a", "b", "c"), budget, timeouts=(10, READ_TIMEOUT), tries=1)
            for answer in answers():
                for operation in OPERATIONS:
                    before, began = session.requests, time.monotonic()
                    ended[play(Folder(session, "1", "1"), server, operation, answer)] += 1
                    longest = max(longest, (time.monotonic() - began) / max(1, session.requests - before))
                    for file in Path(home).glob("*.not-before"):
                        file.unlink()
            print(f"{ended.total()} answers: {dict(ended)}; at most {longest:.2f} s a request; {memory()}", flush=True)
            assert longest < 2 * READ_TIMEOUT + 0.5

            @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(
                st.sampled_from(sorted(OPERATIONS)),
                st.sampled_from(("lists", "contacts", "messages", "clicks")),
                JSON,
                JSON,
            )
            def random_body(operation: str, key: str, rows: object, total: object) -> None:
                body = json.dumps({key: rows, "total": total, "statistics": rows, "errors": total})
                play(Folder(session, "1", "1"), server, operation, http(body.encode()))

            random_body()
            print(f"{count} random bodies; {memory()}")


def memory() -> str:
    """The most that this process had so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    assert most < MOST_MB, f"{most} MB"
    return f"{most} MB at most"


if __name__ == "__main__":
    main()
