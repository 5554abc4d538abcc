"""A small iContact of precomputed rows for the suite of `make bench`, which serves every client alike.

`python -m benchmarks.server --events 258570` prints `ready` and its address. It answers by offset, and for contacts by
key, with as many rows as asked for. `GET /requests` says how many requests came since it was last asked.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import json
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

FOLDER = "/icp/a/1300001/c/7601/"
FIRST_CONTACT = 90_000_000
EASTERN = timezone(timedelta(hours=-5))
KINDS = {"opens": ("openTime", 70), "clicks": ("clickTime", 26), "bounces": ("bounceTime", 2)}
KINDS["unsubscribes"] = ("unsubscribeTime", 2)
"""The name of the time in a row, and how many of a hundred events are such."""


class Listing:
    """The rows of a listing as one piece of JSON, from which a page is cut."""

    def __init__(self, key: str, rows: Sequence[dict[str, Any]]) -> None:
        texts = [json.dumps(row, separators=(",", ":")).encode() for row in rows]
        self._key = key.encode()
        self._rows = b",".join(texts) + b","
        self._starts = list(itertools.accumulate((len(text) + 1 for text in texts), initial=0))
        self.total = len(texts)

    def page(self, offset: int, limit: int, before: int = 0) -> bytes:
        """The rows from `offset` on. `before`: rows that the listing does not count."""
        first = min(before + offset, self.total)
        last = min(first + limit, self.total)
        rows = self._rows[self._starts[first] : max(self._starts[first], self._starts[last] - 1)]
        return b'{"%b":[%b],"limit":%d,"offset":%d,"total":%d}' % (self._key, rows, limit, offset, self.total - before)


def contacts(count: int) -> list[dict[str, Any]]:
    """Contacts as pages show them, by ascending id."""
    dice = random.Random(1)
    names = ("firstName", "lastName", "prefix", "suffix", "fax", "phone", "street", "street2", "city", "state")
    return [
        {
            "email": f"person.{number}@example.com",
            **{name: "Some text" if dice.random() < 0.4 else None for name in names},
            "postalCode": None,
            "createDate": f"2026-05-{1 + number % 28:02} 18:31:07",
            "status": "normal",
            "bounceCount": None,
            "contactId": str(FIRST_CONTACT + number),
        }
        for number in range(count)
    ]


class World:
    """What the server shows. `events` are of `messages` that were sent on the `days` before yesterday, every tenth of
    them to ten times as many people."""

    def __init__(self, people: int, messages: int, events: int, days: int) -> None:
        ids = [str(310_001 + number) for number in range(messages)]
        begins = datetime.now(UTC).replace(hour=14, minute=0, second=0, microsecond=0) - timedelta(days=days - 1)
        sent = [begins + timedelta(days=max(0, days - 5)) * (n / max(1, messages - 1)) for n in range(messages)]
        times = [f"{moment.astimezone(EASTERN):%Y-%m-%dT%H:%M:%S}-05:00" for moment in sent]
        weights = [10 if number % 10 == 0 else 1 for number in range(messages)]
        until = [events * weight // sum(weights) for weight in itertools.accumulate(weights, initial=0)]
        self.keys = list(range(FIRST_CONTACT, FIRST_CONTACT + people))
        self.answers: dict[str, bytes] = {}
        self.listings = {
            "contacts": Listing("contacts", contacts(people)),
            "messages": Listing(
                "messages",
                [
                    {"messageId": id_, "campaignId": "2401", "messageType": "normal", "subject": f"News {id_}"}
                    | {"htmlBody": "<p>Hello!</p>" * 50, "textBody": "Hello!", "messageName": id_, "createDate": at}
                    for id_, at in zip(ids, times, strict=True)
                ],
            ),
            "sends": Listing(
                "sends",
                [
                    {"sendId": f"9{id_}", "messageId": id_, "includeListIds": "5001", "recipientCount": people}
                    | {"scheduledTime": at, "status": "released", "releasedTime": at}
                    for id_, at in zip(ids, times, strict=True)
                ],
            ),
            "lists": Listing("lists", [{"listId": "5001", "name": "Customers", "publicname": "", "description": ""}]),
            "subscriptions": Listing("subscriptions", []),
        }
        dice = random.Random(2)
        for number, id_ in enumerate(ids):
            self._message(id_, sent[number], until[number + 1] - until[number], dice)

    def _message(self, id_: str, sent: datetime, events: int, dice: random.Random) -> None:
        found: dict[str, Any] = {"delivered": len(self.keys), "forwards": 0, "comments": 0, "complaints": 0}
        rest = events
        for kind, (time_key, share) in reversed(KINDS.items()):
            size = rest if kind == "opens" else events * share // 100
            rest -= size
            rows: list[dict[str, Any]] = []
            for number in range(size):
                moment = (sent + timedelta(days=3) * (number / size)).astimezone(EASTERN)
                row = {"contactId": str(dice.choice(self.keys)), time_key: f"{moment:%Y-%m-%dT%H:%M:%S}-05:00"}
                if kind == "clicks":
                    row["clickLink"] = f"https://www.example.com/offers/{dice.randrange(200)}?utm_source=icontact"
                rows.append(row)
            self.listings[f"messages/{id_}/{kind}"] = Listing(kind, rows)
            unique = len({row["contactId"] for row in rows})
            found[kind] = {"unique": unique, "total": size} if kind in ("opens", "clicks") else size
        self.answers[f"messages/{id_}/statistics"] = json.dumps({"statistics": found}).encode()

    def answer(self, path: str, query: dict[str, list[str]]) -> bytes | None:
        """The body of an answer. None: there is no such thing."""
        if path in self.answers:
            return self.answers[path]
        if path not in self.listings:
            return None
        before = 0
        if path == "contacts" and query.get("contactIdSearchType") == ["gt"]:
            before = bisect.bisect_right(self.keys, int(query["contactId"][0]))
        limit, offset = int(query.get("limit", ["20"])[0]), int(query.get("offset", ["0"])[0])
        return self.listings[path].page(offset, limit, before)


class Handler(BaseHTTPRequestHandler):
    """Answers from the world of the server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def do_GET(self) -> None:
        """Answers any request."""
        parts = urlsplit(self.path)
        if parts.path == "/requests":
            body: bytes | None = str(self.server.requests()).encode()
        else:
            next(self.server.counter)
            time.sleep(self.server.latency)
            body = self.server.world.answer(parts.path.removeprefix(FOLDER), parse_qs(parts.query))
        self.send_response(404 if body is None else 200)
        body = body or b'{"errors":["Not found"]}'
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the name in the base class
        """Says nothing."""


class Server(ThreadingHTTPServer):
    """A thread for each connection, which stays open."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, world: World, latency: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.world = world
        self.latency = latency
        # Counts without a lock: the next number is taken in one step.
        self.counter = itertools.count()

    def requests(self) -> int:
        """How many came since this was last called."""
        count, self.counter = next(self.counter), itertools.count()
        return count


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--contacts", type=int, default=20_000)
    arguments.add_argument("--messages", type=int, default=100)
    arguments.add_argument("--events", type=int, default=258_570)
    arguments.add_argument("--days", type=int, default=71)
    arguments.add_argument("--latency", type=float, default=0, help="seconds before each answer")
    given = arguments.parse_args()
    server = Server(World(given.contacts, given.messages, given.events, given.days), given.latency)
    print(f"ready http://127.0.0.1:{server.server_port}/icp", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
