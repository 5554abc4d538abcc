"""Reads a listing by offset and verifies that it is complete, or raises Incomplete."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import orjson

from icontact_assets.icontact.errors import Incomplete, PageFailed, Rejected
from icontact_assets.icontact.values import as_id

Row = dict[str, Any]
"""A row exactly as decoded from JSON."""

OVERLAP = 10
"""Every page by offset repeats this many rows of the one before. They must match."""

ATTEMPTS = 3
"""How often a listing is read before it is incomplete."""

_SMALLEST_PAGE = 1
_REPEATED = 100
_SHRINK = 8
"""A page that fails is asked for again so much smaller: each size costs a session's tries."""


class Sink(Protocol):
    """Takes the rows of a listing as they come."""

    def start(self) -> None:
        """A read from the first row begins. Forget everything received before."""

    def page(self, offset: int, rows: list[Row]) -> None:
        """Rows new since the last call, overlapping rows removed. They come in listing order. Only where a
        read resumes from a landed end, rows before the first known one come last, at offsets past the end."""


@dataclass(frozen=True)
class Known:
    """What the caller holds of a listing: its first rows, in their order."""

    count: int
    """How many they are."""
    tail: tuple[str, ...]
    """Digests of the last of them."""
    head: tuple[str, ...]
    """Digests of the first of them."""
    last_id: str | None = None
    """Of listings read by key: the id of the last of them."""
    landed: bool = False
    """They are stored for good, and only what is new is wanted. Else they are what an interrupted read left."""


@dataclass(frozen=True)
class Proof:
    """A listing was read to its end."""

    total: int
    """Rows of the listing."""
    requests: int
    began: datetime
    """Before its first request was sent (aware UTC)."""
    start: int
    """Rows held before."""
    head: tuple[str, ...]
    """Digests of its first rows."""
    tail: tuple[str, ...]
    """Digests of its last rows."""
    missing: int = 0
    """Rows between the known ones that were not read. 0: the listing is complete."""
    doubled: int = 0
    """Rows, counted in `total`, that equal a row with the same id."""


@dataclass(frozen=True)
class Page:
    """One response."""

    rows: list[Row]
    total: int | None
    """Rows of the listing as reported. None where the response has no such number."""


class _Moved(Exception):
    """The listing does not fit what was read of it: it changed, or its order is not stable."""


def digest(row: Row) -> str:
    """Short stable hash of a decoded row. Numbers count as their text, so that "12" and 12 are equal."""
    plain = {key: str(value) if isinstance(value, int) else value for key, value in row.items()}
    return hashlib.blake2b(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS), digest_size=9).hexdigest()


def read_by_offset(
    fetch: Callable[[int, int], Page],
    sink: Sink,
    *,
    page_size: int,
    id_key: str | None = None,
    known: Known | None = None,
    reread_pages: int = 0,
) -> Proof:
    """Read a listing by offset. `fetch(offset, limit)` asks for one page.

    Proof: every page repeats the end of the one before, `total` does not shrink, the rows read are as many as it says.
    If the listing moves, it is read again, at most three times. `id_key` names the id in listings where none may
    stand twice with different values. Equal rows of one id are counted (`doubled`) where one answer shows both: an
    order that moves shows a row twice as well, in place of another. Where they are further apart than a page is long, a
    second pass with other page borders must agree.

    From a landed end only what is after it and before the first known row is read. Rows that appeared between are
    `missing`, unless the listing has at most `reread_pages` pages: then it is read whole.
    Memory: a page, and 16 bytes a row where there is an `id_key`. Raises Incomplete, and what `fetch` raises.
    """
    reading = _ByOffset(fetch, sink, page_size, id_key, reread_pages)
    reasons = []
    for attempt in range(ATTEMPTS):
        try:
            return reading.read(known if attempt == 0 else None)
        except _Moved as moved:
            reasons.append(str(moved))
    if reading.unstable:
        raise Incomplete("unstable order: the same request gave the rows in another order, so pages cannot be joined")
    raise Incomplete(f"the listing kept moving while it was read: {reasons[-1]}")


@dataclass
class _Seen:
    """How far a listing is read."""

    count: int = 0
    """The position after the last row."""
    tail: list[str] = field(default_factory=list)
    """Digests of the last rows."""
    total: int = -1
    """Rows of the listing as last reported."""
    ids: array[int] = field(default_factory=lambda: array("q"))
    """Where there is an id: hashes of the ids."""
    rows: array[int] = field(default_factory=lambda: array("q"))
    """Where there is an id: hashes of the rows."""
    pages: list[tuple[int, int]] = field(default_factory=list)
    """Where each page began and ended."""


@dataclass
class _Next:
    """A page whose first `matched` rows are known already."""

    page: Page
    matched: int


class _ByOffset:
    def __init__(
        self, fetch: Callable[[int, int], Page], sink: Sink, page_size: int, id_key: str | None, reread_pages: int
    ) -> None:
        self._ask = fetch
        self._sink = sink
        self._page_size = page_size
        self._id_key = id_key
        self._reread_pages = reread_pages
        # One row with an id of its own shows where a page belongs. Lines of activity may be equal by the dozen.
        self._overlap = OVERLAP if id_key is None else 1
        self._requests = 0
        self._longest_page = 0
        self._first_page: Page | None = None
        self._sequence = hashlib.blake2b()
        self._first: Page | None = None
        self._far_apart = False
        self.unstable = False

    def read(self, known: Known | None) -> Proof:
        began = datetime.now(UTC)
        proof = self._onward(known, began) if known is not None and known.count and known.tail else None
        if proof is None:
            proof = self._whole(began)
            if self._longest_page == 1 and proof.total > 1:
                self._second_pass(proof)
            elif self._far_apart:
                self._page_size = self._longest_page * 2 // 3
                self._second_pass(proof)
        return replace(proof, requests=self._requests)

    def _onward(self, known: Known, began: datetime) -> Proof | None:
        """Read on from what is known. None if the listing must be read from the first row."""
        if self._fits_one_page(known):
            return None
        try:
            return self._news(known, began) if known.landed else self._rest(known, began)
        except _Moved:
            return None

    def _whole(self, began: datetime) -> Proof:
        self._sink.start()
        self._sequence = hashlib.blake2b()
        page = self._page(0)
        self._compare_first(page)
        seen = _Seen()
        doubled = self._to_end(seen, _Next(page, 0))
        self._far_apart = bool(doubled) and not self._shown_together(seen)
        head = tuple(digest(row) for row in page.rows[:OVERLAP])
        return Proof(seen.count, 0, began, 0, head, tuple(seen.tail), doubled=doubled)

    def _rest(self, known: Known, began: datetime) -> Proof:
        """The rest of a read that was interrupted."""
        page = self._page(0)
        first = [digest(row) for row in page.rows[: len(known.head)]]
        if len(page.rows) < 2 or first != list(known.head)[: len(first)]:
            raise _Moved("the first rows are not the ones read before")
        seen = _Seen(known.count, list(known.tail))
        if self._to_end(seen, self._next(seen, min(self._overlap, len(known.tail)))):
            raise _Moved("rows came twice, which only a read from the first row on can verify")
        return Proof(seen.count, 0, began, known.count, known.head, tuple(seen.tail))

    def _fits_one_page(self, known: Known) -> bool:
        """Whether one request shows the whole listing again. It verifies more than the end does, at that price."""
        if not known.landed or known.count > self._page_size:
            return False
        self._first_page = self._page(0)
        return self._first_page.total in (None, len(self._first_page.rows))

    def _news(self, known: Known, began: datetime) -> Proof:
        """What is new since the known rows landed: after the last of them, and before the first."""
        # A new row shows at the end or at the front, depending on the order in which iContact lists that resource, and
        # nothing says which. Both ends are looked at: new rows at the front shift the known end back by as many, and
        # the end is found again by its digests.
        shift, following = self._known_end(known)
        seen = _Seen(known.count + shift, list(known.tail))
        self._to_end(seen, following)
        if shift == 0:
            return Proof(seen.count, 0, began, known.count, known.head, tuple(seen.tail))
        front, first = self._front(known, seen, shift)
        # The end has shifted by more rows than came before the first known one, so the rest came between known rows.
        # Where is not known without reading all of them. In a short listing that is done at once. In a long one it
        # waits for the next read from the first row on, and until then the listing is openly incomplete.
        missing = max(0, shift - front)
        if missing and seen.count <= self._reread_pages * self._longest_page:
            raise _Moved(f"{missing} rows came in the middle")
        head = (*first, *known.head)[:OVERLAP]
        # Rows may have come to the front after the end was read: they are taken in, so they count.
        return Proof(seen.count + max(0, front - shift), 0, began, known.count, head, tuple(seen.tail), missing)

    def _known_end(self, known: Known) -> tuple[int, _Next]:
        """By how many rows the known end has shifted, and the page behind it."""
        tail = list(known.tail)
        page = self._page(known.count - len(tail))
        digests = [digest(row) for row in page.rows]
        shift = _place(tail, digests)
        if shift is not None:
            return shift, _Next(page, shift + len(tail))
        shift = (page.total or 0) - known.count
        if shift > 0:
            # More came before it than one page shows: if nothing came after it, it ends the listing.
            page = self._page(known.count + shift - len(tail))
            digests = [digest(row) for row in page.rows]
            if _place(tail, digests) == 0:
                return shift, _Next(page, len(tail))
        raise _Moved("the known end is not where it can be found")

    def _front(self, known: Known, seen: _Seen, shift: int) -> tuple[int, list[str]]:
        """Take in the rows before the first known one: how many, and the digests of the first of them."""
        # Pages are read from the first row on until the known first rows show. The sink is given only what is before
        # them, at offsets past the end: the known rows keep theirs, and who stores rows needs no order.
        size = len(known.head)
        offset, digests, first = 0, list[str](), list[str]()
        while True:
            page = self._page(offset)
            # The next page begins with the rows that were held back: if they differ, the front has moved meanwhile.
            before, digests = digests[-size:], [digest(row) for row in page.rows]
            if digests[: len(before)] != before:
                raise _Moved(f"rows {offset} to {offset + len(before) - 1} are not the ones read before")
            place = _place(known.head, digests)
            # The known first rows may begin on this page and end on the next, where only all of them can be recognised.
            # So as many rows as they are wait for the next page.
            until = len(digests) - size if place is None else place
            # No more rows can be here than the end has shifted by, and than came while the end was read. Beyond that
            # the known first rows are gone (deleted, say), and only a read of the whole listing helps.
            most = shift + max(0, (page.total or 0) - seen.total)
            if offset + until > most or (place is None and until <= 0):
                raise _Moved("the first known rows are not where they can be found")
            if until:
                self._sink.page(seen.count + offset, page.rows[:until])
                first = [*first, *digests[:until]][:OVERLAP]
                offset += until
            if place is not None:
                return offset, first

    def _to_end(self, seen: _Seen, following: _Next) -> int:
        """Take in a page and all that follow it. Returns how many rows equal one before with the same id."""
        repeated = 0
        while True:
            page, matched = following.page, following.matched
            self._check_total(page, seen)
            rows = page.rows[matched:]
            seen.pages.append((seen.count - matched, seen.count + len(rows)))
            if rows:
                self._sink.page(seen.count, rows)
                # A second pass, which compares all rows, can follow only where these are so.
                if self._id_key is not None or self._longest_page == 1:
                    self._remember(seen, rows)
                seen.count += len(rows)
                seen.tail = [*seen.tail, *(digest(row) for row in rows[-OVERLAP:])][-OVERLAP:]
            if page.total is None:
                if not rows:
                    break
            elif seen.count == page.total:
                break
            elif seen.count > page.total:
                raise _Moved(f"{seen.count} rows came where {page.total} were reported")
            elif not rows and matched < 2:
                raise _Moved(f"the response ended after {seen.count} of {page.total} rows")
            # A server that caps its pages below the overlap would show nothing new.
            following = self._next(seen, min(self._overlap, len(seen.tail), max(0, len(page.rows) - 1)))
            repeated = repeated + 1 if following.page.rows == page.rows else 0
            if repeated == _REPEATED:
                raise _Moved(f"the same page came {_REPEATED} times, whatever offset was asked for")
        doubled, equal = _doubled(seen.ids), _doubled(seen.rows)
        if doubled > equal:
            raise _Moved(f"{doubled - equal} rows came whose {self._id_key} had come before with other values")
        return doubled

    def _remember(self, seen: _Seen, rows: list[Row]) -> None:
        for row in rows:
            value = digest(row)
            self._sequence.update(value.encode())
            if self._id_key is not None:
                id_ = as_id(row.get(self._id_key))
                if id_ is not None:
                    seen.ids.append(hash(id_))
                # Rows without an id are told apart by their places.
                seen.rows.append(hash(value if id_ is not None else len(seen.rows)))

    def _next(self, seen: _Seen, overlap: int) -> _Next:
        """The page behind what was read, which repeats its last rows."""
        page = self._page(seen.count - overlap)
        repeated = [digest(row) for row in page.rows[:overlap]]
        if repeated != seen.tail[len(seen.tail) - overlap :][: len(repeated)] or (overlap and not repeated):
            raise _Moved(f"rows {seen.count - overlap} to {seen.count - 1} are not the ones read before")
        return _Next(page, len(repeated))

    def _page(self, offset: int) -> Page:
        if offset == 0 and self._first_page is not None:
            page, self._first_page = self._first_page, None
            return page
        while True:
            self._requests += 1
            try:
                page = self._ask(offset, self._page_size)
                self._longest_page = max(self._longest_page, len(page.rows))
                return page
            except (Rejected, PageFailed):
                # A limit that is refused, or one bad row in a page: smaller pages go around it or name it.
                if self._page_size == _SMALLEST_PAGE:
                    raise
                self._page_size = max(_SMALLEST_PAGE, self._page_size // _SHRINK)

    def _check_total(self, page: Page, seen: _Seen) -> None:
        if page.total is None:
            return
        if page.total < seen.total:
            raise _Moved(f"the reported total fell from {seen.total} to {page.total}")
        if 0 <= seen.total < page.total and seen.count and len(set(seen.tail)) < 2 and self._id_key is None:
            # Equal rows at the seam match wherever the listing has shifted to.
            raise _Moved(f"the reported total rose from {seen.total} to {page.total}")
        seen.total = page.total

    def _compare_first(self, page: Page) -> None:
        if self._first is not None:
            n = min(len(self._first.rows), len(page.rows))
            self.unstable = page.total == self._first.total and self._first.rows[:n] != page.rows[:n]
        self._first = page

    def _shown_together(self, seen: _Seen) -> bool:
        """Whether of equal rows one response shows both. Those on two pages are asked for again, with all between."""
        rows = np.frombuffer(seen.rows, np.int64)
        order = np.argsort(rows, kind="stable")
        equal = rows[order[:-1]] == rows[order[1:]]
        starts = [start for start, _ in seen.pages]
        begin, found = 0, list[int]()
        for first, second in sorted(zip(order[:-1][equal].tolist(), order[1:][equal].tolist(), strict=True)):
            if second < seen.pages[bisect_right(starts, first) - 1][1]:
                continue
            if second >= begin + len(found):
                begin, found = first, [hash(digest(row)) for row in self._page(first).rows]
            if second >= begin + len(found):
                return False
            if not found[first - begin] == found[second - begin] == rows[first]:
                raise _Moved(f"rows {first} and {second} are not the ones read before")
        return True

    def _second_pass(self, proof: Proof) -> None:
        sequence, offset = hashlib.blake2b(), 0
        while offset < proof.total:
            page = self._page(offset)
            if page.total not in (None, proof.total) or not page.rows:
                raise _Moved("a second pass found another listing")
            for row in page.rows:
                sequence.update(digest(row).encode())
            offset += len(page.rows)
        if sequence.digest() != self._sequence.digest():
            raise _Moved("two passes gave two sequences")


def _doubled(hashes: array[int]) -> int:
    return len(hashes) - len(np.unique(np.frombuffer(hashes, np.int64)))


def _place(pattern: Sequence[str], digests: Sequence[str]) -> int | None:
    """Where the pattern is in a page. None if it is nowhere, or in several places."""
    found = [n for n in range(len(digests) - len(pattern) + 1) if list(digests[n : n + len(pattern)]) == list(pattern)]
    return found[0] if len(found) == 1 else None
