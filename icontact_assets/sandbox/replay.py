"""Answers from a recording (`ICONTACT_ASSETS_RECORD`), in its order, and says where a request differs from it."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import orjson

from icontact_assets.sandbox.server import CONTROL, PREFIX, TRANSPORT, Receive, Scope, Transmit, body_of, reset
from icontact_assets.sandbox.times import stamp

FORMAT = 1
"""The version of the files that is read."""

_SERVED = frozenset({"content-type", "date", "retry-after", "location"})
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})
_WHOLE = frozenset({"TooLarge", "Unusable"})
"""Failures that the whole of what was kept of an answer brings about again."""
_SHOWN = 20

Query = tuple[tuple[str, str], ...]
Key = tuple[str, str, Query]
"""Method, path below the account and client folder, query."""


class RecordingError(Exception):
    """A recording cannot be replayed. The text says why."""


@dataclass
class Exchange:
    """A request that was recorded, and its answer."""

    at: datetime
    """When the request was sent (aware UTC)."""
    key: Key
    body: Any
    """What was sent, decoded, the rows of a list in an order of their own."""
    status: int | None
    """None: there was no answer."""
    headers: dict[str, str]
    answer: bytes
    failure: str | None
    asked: bool = field(default=False, compare=False)


class Recording:
    """The exchanges in a folder, of all processes, in the order of their beginning. Raises RecordingError."""

    def __init__(self, folder: Path) -> None:
        files = sorted(folder.glob("*.jsonl"))
        if not files:
            raise RecordingError(f"{folder} holds no recording: there is no file *.jsonl. Name another folder.")
        self.named: dict[str, str] = {}
        """What to write in the settings for a replay, by its key there."""
        lines = [line for path in files for line in self._lines(path)]
        lines.sort(key=lambda line: (line["at"], line["n"]))
        self.accounts, self.folders = _Places(), _Places()
        self.exchanges = [self._exchange(line) for line in lines]
        if not self.exchanges:
            raise RecordingError(f"{folder} holds no exchange: nothing was asked while it was recorded.")

    def _lines(self, path: Path) -> Iterator[dict[str, Any]]:
        """The exchanges in a file. The last line is left out if it is cut: its process was killed. Raises RecordingError."""
        lines = path.read_bytes().splitlines(keepends=True)
        for number, raw in enumerate(lines, 1):
            try:
                line = orjson.loads(raw)
            except orjson.JSONDecodeError as error:
                if number == len(lines) and not raw.endswith(b"\n"):
                    return
                raise RecordingError(
                    f"{path}:{number}: this is no line of a recording. Ask for the file again."
                ) from error
            if number == 1:
                if not isinstance(line, dict) or line.get("format") != FORMAT:
                    raise RecordingError(f"{path} is no recording of format {FORMAT}: use the version that made it.")
                self.named |= line["named"]
                continue
            yield line

    def _exchange(self, line: dict[str, Any]) -> Exchange:
        account, folder, _ = _split(line["path"])
        self.accounts.add(account)
        self.folders.add(folder)
        query = tuple((name, value) for name, value in line["query"])
        raw = line["answer"].encode() if "answer" in line else line["answer_bytes"].encode("latin-1")
        return Exchange(
            datetime.fromisoformat(line["at"]),
            (line["method"], "/" + line["path"].strip("/"), _sorted(query)),
            _meaning(line["body"]),
            line["status"],
            line["headers"],
            raw,
            line["failure"],
        )

    def variables(self) -> dict[str, str]:
        """The account and the client folder that were recorded first, as variables."""
        found = {"ICONTACT_ACCOUNT_ID": self.accounts.first, "ICONTACT_CLIENT_FOLDER_ID": self.folders.first}
        return {name: id_ for name, id_ in found.items() if id_ is not None}

    def described(self) -> str:
        """How much there is and when it was recorded, for a person."""
        first, last = self.exchanges[0].at, self.exchanges[-1].at
        named = "".join(f" {key}: {value}." for key, value in self.named.items())
        return (
            f"{len(self.exchanges):,} requests, recorded from {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} "
            "UTC. What depends on today's date is asked as it was then only on that day: see docs/recording.md."
            f"{named and f' Write in icontact.yaml:{named}'}"
        )


class _Places:
    """Ids of accounts or client folders: those of a recording, and those that requests name in their place."""

    def __init__(self) -> None:
        self._recorded: dict[str, None] = {}
        self._named: dict[str, str] = {}

    def add(self, id_: str | None) -> None:
        if id_ is not None:
            self._recorded[id_] = None

    @property
    def first(self) -> str | None:
        return next(iter(self._recorded), None)

    def of(self, asked: str) -> str:
        """The recorded id that a request means: the same one, or the first that no other request means."""
        if asked in self._recorded:
            return asked
        if asked not in self._named:
            free = [id_ for id_ in self._recorded if id_ not in self._named.values()]
            self._named[asked] = free[0] if free else asked
        return self._named[asked]


class Replay:
    """The ASGI application over a recording. `say` is called with each difference."""

    def __init__(self, recording: Recording, say: Callable[[str], None]) -> None:
        self._recording = recording
        self._say = say
        self._by_key: dict[Key, list[Exchange]] = defaultdict(list)
        for exchange in recording.exchanges:
            self._by_key[exchange.key].append(exchange)
        self._numbers = itertools.count(1)
        self.log: list[dict[str, Any]] = []
        self.differences: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Transmit) -> None:
        method, path = scope["method"], scope["path"]
        query = tuple(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        body = await body_of(receive) if method not in ("GET", "DELETE") else b""
        if path.startswith(CONTROL):
            status, found = self._control(path.removeprefix(CONTROL).strip("/"))
            await _send(send, status, {"content-type": "application/json"}, orjson.dumps(found))
            return
        entry = {
            "n": next(self._numbers), "time": time.time(), "method": method, "path": path.removeprefix(PREFIX),
            "query": "&".join(f"{name}={value}" for name, value in query), "status": None,
            "body": body.decode("utf-8", "replace") if body else None,
        }  # fmt: skip
        self.log.append(entry)
        exchange = self._found(entry, query, body)
        if exchange is None:
            text = f"The recording holds no request {method} {entry['path']} with this query."
            entry["status"] = 501
            await _send(send, 501, {"content-type": "application/json"}, orjson.dumps({"errors": [text]}))
            return
        entry["status"] = exchange.status
        if exchange.status is None:
            await reset(scope[TRANSPORT])
            return
        headers = dict(_headers(exchange))
        answer = _clock(exchange) if exchange.key[1] == "/time" else exchange.answer
        cut = exchange.failure is not None and exchange.failure not in _WHOLE
        if exchange.failure is None and exchange.headers.get("content-encoding") in _PACKED:
            headers["content-encoding"], answer = "gzip", gzip.compress(answer, 1)
        await _send(send, exchange.status, headers, answer, cut=cut)
        if cut:
            scope[TRANSPORT].close()
            # The server notices before it would complete the answer.
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    def summary(self) -> str:
        """How the requests and the recording fit together, for a person."""
        return (
            f"{len(self.log):,} requests were answered, {len(self.differences):,} of them differed from the recording. "
            f"{sum(1 for exchange in self._recording.exchanges if not exchange.asked):,} recorded ones were not asked."
        )

    def _found(self, entry: dict[str, Any], query: Query, body: bytes) -> Exchange | None:
        """The recorded exchange that answers a request: the first of its kind that was not asked yet."""
        key = (entry["method"], self._path(entry["path"]), _sorted(query))
        same = self._by_key.get(key, [])
        if not same:
            self._differs(entry, "was not recorded")
            return None
        meaning = _meaning(body.decode("utf-8", "replace") if body else None)
        fresh = [exchange for exchange in same if not exchange.asked]
        equal = [exchange for exchange in fresh or same if exchange.body == meaning]
        if not equal:
            self._differs(entry, "has another body than was recorded")
        elif not fresh:
            self._differs(
                entry, f"is asked more often than the {len(same)} times recorded: the last answer is repeated"
            )
        chosen = equal or fresh or same
        exchange = chosen[0] if fresh else chosen[-1]
        exchange.asked = True
        return exchange

    def _path(self, path: str) -> str:
        account, folder, rest = _split(path)
        parts = [] if account is None else ["a", self._recording.accounts.of(account)]
        parts += [] if folder is None else ["c", self._recording.folders.of(folder)]
        return "/".join(["", *parts, *rest])

    def _differs(self, entry: dict[str, Any], what: str) -> None:
        self.differences.append({**{key: entry[key] for key in ("n", "method", "path", "query")}, "difference": what})
        query = f"?{entry['query']}" if entry["query"] else ""
        self._say(f"{entry['method']} {entry['path']}{query} {what}.")

    def _control(self, path: str) -> tuple[int, Any]:
        if path == "log":
            return 200, self.log
        if path == "differences":
            left = [exchange.key for exchange in self._recording.exchanges if not exchange.asked]
            shown = [{"method": method, "path": path, "query": dict(query)} for method, path, query in left[:_SHOWN]]
            return 200, {"differences": self.differences, "not_asked": len(left), "first_not_asked": shown}
        return 404, {"error": f"a replay has log and differences, not {path!r}"}


def _split(path: str) -> tuple[str | None, str | None, list[str]]:
    """Account, client folder, and what follows."""
    parts = path.strip("/").split("/")
    if parts[0] != "a" or len(parts) < 2:
        return None, None, parts
    if len(parts) < 4 or parts[2] != "c":
        return parts[1], None, parts[2:]
    return parts[1], parts[3], parts[4:]


def _sorted(query: Query) -> Query:
    """A query in an order of its own, ids in one term too."""
    return tuple(
        sorted(
            (name, ",".join(sorted(value.split(","))) if value.replace(",", "").isdigit() else value)
            for name, value in query
        )
    )


def _meaning(body: str | None) -> Any:
    if body is None:
        return None
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    return (
        sorted(found, key=lambda row: orjson.dumps(row, option=orjson.OPT_SORT_KEYS))
        if isinstance(found, list)
        else found
    )


def _headers(exchange: Exchange) -> Iterator[tuple[str, str]]:
    """The headers of an answer. Times are as far from now as they were then."""
    moved = datetime.now(UTC) - exchange.at
    for name, value in exchange.headers.items():
        if name == "date" or (name == "retry-after" and not value.isdigit()):
            try:
                yield name, format_datetime(parsedate_to_datetime(value) + moved, usegmt=True)
            except (ValueError, TypeError, OverflowError, IndexError):
                yield name, value
        elif name in _SERVED or "limit" in name or (name == "content-encoding" and exchange.failure == "Unusable"):
            yield name, value


def _clock(exchange: Exchange) -> bytes:
    """The answer to `GET /time`, as far from now as it was then."""
    try:
        found = orjson.loads(exchange.answer)
        then = datetime.fromisoformat(found["time"])
        now = then + (datetime.now(UTC) - exchange.at)
        return orjson.dumps({**found, "time": stamp(int(now.timestamp())), "timestamp": int(now.timestamp())})
    except (ValueError, TypeError, KeyError):
        return exchange.answer


async def _send(send: Transmit, status: int, headers: dict[str, str], body: bytes, *, cut: bool = False) -> None:
    whole = {**headers, "content-length": str(len(body) + cut)}
    raw = [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in whole.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": cut})
