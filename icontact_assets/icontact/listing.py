"""Reads a whole listing and proves that it is whole, or raises Incomplete."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from icontact_assets.icontact.errors import Incomplete, PageFailed, Rejected
from icontact_assets.icontact.values import as_id

Row = dict[str, Any]
"""A row exactly as decoded from JSON."""

OVERLAP = 10
"""Every page by offset repeats this many rows of the one before; they must match."""

_ATTEMPTS = 3
_SMALLEST_PAGE = 1


class Sink(Protocol):
    """Takes the rows of a listing as they come."""

    def start(self) -> None:
        """A reading from the first row begins: forget everything received before."""

    def page(self, offset: int, rows: list[Row]) -> None:
        """Rows new since the last call, in listing order; overlapping rows are already removed."""


@dataclass(frozen=True)
class Known:
    """What the caller holds of a listing: rows 0 to count-1, their last and first digests ((): do not check the
    first), and for listings read by key the last row's id."""

    count: int
    tail: tuple[str, ...]
    head: tuple[str, ...]
    last_id: str | None = None


@dataclass(frozen=True)
class Proof:
    """A listing was read whole. `began`: when its first request was sent (aware UTC); `start`: rows held before."""

    total: int
    requests: int
    began: datetime
    start: int
    head: tuple[str, ...]
    tail: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """One answer: its rows, and `total` as announced (None where the answer has none)."""

    rows: list[Row]
    total: int | None


class _Moved(Exception):
    """The listing does not fit what was read of it: it changed, or its order is not stable."""


def digest(row: Row) -> str:
    """Short stable hash of a row. Numbers count as their text, so that "12" and 12 are equal."""
    plain = {key: str(value) if isinstance(value, int) else value for key, value in row.items()}
    return hashlib.blake2b(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS), digest_size=9).hexdigest()


def read_by_offset(
    fetch: Callable[[int, int], Page],
    sink: Sink,
    *,
    page_size: int,
    id_key: str | None = None,
    known: Known | None = None,
) -> Proof:
    """Read a listing by offset. `fetch(offset, limit)` asks for one page.

    Proof: every page repeats the end of the one before, `total` does not shrink, the rows read are as many as it says.
    If the listing moves, it is read again, at most three times. `id_key` names the id in listings where none may
    stand twice. Raises Incomplete, and what `fetch` raises.
    """
    reading = _ByOffset(fetch, sink, page_size, id_key)
    reasons = []
    for attempt in range(_ATTEMPTS):
        try:
            return reading.read(known if attempt == 0 else None)
        except _Moved as moved:
            reasons.append(str(moved))
    if reading.unstable:
        raise Incomplete("unstable order: the same request gave the rows in another order, so pages cannot be joined")
    raise Incomplete(f"the listing kept moving while it was read: {reasons[-1]}")


class _ByOffset:
    def __init__(self, fetch: Callable[[int, int], Page], sink: Sink, page_size: int, id_key: str | None) -> None:
        self._ask = fetch
        self._sink = sink
        self._page_size = page_size
        self._id_key = id_key
        self._requests = 0
        self._first: tuple[int | None, list[str]] | None = None
        self.unstable = False

    def read(self, known: Known | None) -> Proof:
        if known is not None:
            try:
                return self._pass(known)
            except _Moved:
                pass
        proof = self._pass(None)
        if self._cap_one and proof.total > 1:
            self._second_pass(proof)
        return replace(proof, requests=self._requests)

    def _pass(self, known: Known | None) -> Proof:
        began = datetime.now(UTC)
        self._cap_one = False
        self._sequence = hashlib.blake2b()
        ids: set[str] = set()
        count, tail, head = 0, list[str](), list[str]()
        if known is not None and known.count and known.tail:
            if known.head:
                self._check_head(known)
            count, tail, head = known.count, list(known.tail), list(known.head)
        else:
            known = None
            self._sink.start()
        start, overlap, total = count, min(len(tail), OVERLAP), -1
        while True:
            page = self._page(count - overlap)
            digests = [digest(row) for row in page.rows]
            total = self._total(page, total, tail)
            if digests[:overlap] != tail[len(tail) - overlap :]:
                raise _Moved(f"rows {count - overlap} to {count - 1} are not the ones read before")
            new = page.rows[overlap:]
            if not tail and known is None:
                self._compare_first(page.total, digests)
                head = digests[:OVERLAP]
            if new:
                self._check_ids(new, ids)
                self._sink.page(count, new)
                for value in digests[overlap:]:
                    self._sequence.update(value.encode())
                count += len(new)
                tail = [*tail, *digests[overlap:]][-OVERLAP:]
            if page.total is None:
                if not new:
                    break
            elif count == total:
                break
            elif count > total:
                raise _Moved(f"{count} rows came of {total} announced")
            if not new:
                if overlap <= len(page.rows) and len(page.rows) > 0 and overlap > 0:
                    overlap = len(page.rows) - 1
                    continue
                raise _Moved(f"the answer ended after {count} of {total} rows")
            # A server that caps its pages below the overlap would show nothing new.
            overlap = min(OVERLAP, len(tail), max(0, len(page.rows) - 1))
            self._cap_one = self._cap_one or len(page.rows) == 1
        return Proof(count, self._requests, began, start, tuple(head), tuple(tail))

    def _page(self, offset: int) -> Page:
        while True:
            self._requests += 1
            try:
                return self._ask(offset, self._page_size)
            except (Rejected, PageFailed):
                # A limit that is refused, or one bad row in a page: smaller pages go around it or name it.
                if self._page_size == _SMALLEST_PAGE:
                    raise
                self._page_size = max(_SMALLEST_PAGE, self._page_size // 4)

    def _total(self, page: Page, before: int, tail: Sequence[str]) -> int:
        if page.total is None:
            return before
        if before >= 0 and page.total < before:
            raise _Moved(f"the announced total fell from {before} to {page.total}")
        if before >= 0 and page.total > before and len(set(tail)) < 2:
            # Equal rows at the seam match wherever the listing has shifted to.
            raise _Moved(f"the announced total rose from {before} to {page.total}")
        return page.total

    def _check_head(self, known: Known) -> None:
        page = self._page(0)
        if [digest(row) for row in page.rows[: len(known.head)]] != list(known.head)[: len(page.rows)]:
            raise _Moved("the first rows are not the ones read before")

    def _compare_first(self, total: int | None, digests: list[str]) -> None:
        if self._first is not None:
            before_total, before = self._first
            n = min(len(before), len(digests))
            self.unstable = total == before_total and before[:n] != digests[:n]
        self._first = (total, digests)

    def _check_ids(self, rows: list[Row], ids: set[str]) -> None:
        if self._id_key is None:
            return
        for row in rows:
            id_ = as_id(row.get(self._id_key))
            if id_ is not None:
                if id_ in ids:
                    raise _Moved(f"{self._id_key} {id_} came twice")
                ids.add(id_)

    def _second_pass(self, proof: Proof) -> None:
        sequence = hashlib.blake2b()
        for offset in range(proof.total):
            page = self._page(offset)
            if page.total not in (None, proof.total) or len(page.rows) != 1:
                raise _Moved("the second pass over single-row pages found another listing")
            sequence.update(digest(page.rows[0]).encode())
        if sequence.digest() != self._sequence.digest():
            raise _Moved("two passes over single-row pages gave two sequences")


class KeyPagingUnsupported(Exception):
    """The server does not take comparisons of the id: read by offset."""


def read_by_key(
    fetch: Callable[[str, int], Page],
    count_all: Callable[[], int | None],
    sink: Sink,
    *,
    id_key: str,
    page_size: int,
    known: Known | None = None,
) -> Proof:
    """Read a listing in ascending order of its numeric id: `fetch(after, limit)` asks for rows with a larger id.

    Immune to rows inserted or deleted between pages. Proof: ids ascend, the last page says that it is the last, and
    the rows read are as many as were announced at first or are `count_all()` afterwards. Raises KeyPagingUnsupported
    when the pages show that comparison or order is not what it should be, or when the count does not fit.
    """
    requests = 0
    for attempt in range(_ATTEMPTS):
        began = datetime.now(UTC)
        count, last, head, tail = 0, "0", list[str](), list[str]()
        if attempt == 0 and known is not None and known.last_id is not None:
            count, last, head, tail = known.count, known.last_id, list(known.head), list(known.tail)
        else:
            sink.start()
        start, announced = count, None
        while True:
            page = fetch(last, page_size)
            requests += 1
            ids = [as_id(row.get(id_key)) for row in page.rows]
            if page.total is None or not _ascending(last, ids):
                raise KeyPagingUnsupported
            if announced is None:
                announced = count + page.total
            if page.rows:
                sink.page(count, page.rows)
                digests = [digest(row) for row in page.rows]
                head, tail = (head or digests)[:OVERLAP], [*tail, *digests][-OVERLAP:]
                count += len(page.rows)
                last = str(ids[-1])
            if len(page.rows) == page.total:
                break
            if not page.rows:
                raise KeyPagingUnsupported
        # No row at all may also mean that the id was taken for a value to equal.
        if start == 0 and count == announced and count > 0:
            return Proof(count, requests, began, start, tuple(head), tuple(tail))
        requests += 1
        if count_all() == count:
            return Proof(count, requests, began, start, tuple(head), tuple(tail))
    # The server may compare ids as text: reading by offset proves itself.
    raise KeyPagingUnsupported


def _ascending(after: str, ids: Sequence[str | None]) -> bool:
    numbers = [int(id_) for id_ in ids if id_ is not None and id_.isdigit()]
    return len(numbers) == len(ids) and all(a < b for a, b in zip([int(after), *numbers], numbers, strict=False))
