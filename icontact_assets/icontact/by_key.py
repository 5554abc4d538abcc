"""Reads a listing page by page in the order of its ids, and verifies that it is complete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from operator import lt

from icontact_assets.icontact.listing import ATTEMPTS, OVERLAP, Known, Page, Proof, Sink, digest
from icontact_assets.icontact.values import as_id


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
    the rows read are as many as were reported at first or are `count_all()` afterwards. Raises KeyPagingUnsupported
    when the pages show that comparison or order is not what it should be, or when the count does not fit.
    """
    requests = 0
    for attempt in range(ATTEMPTS):
        began = datetime.now(UTC)
        count, last, head, tail = 0, "0", list[str](), list[str]()
        if attempt == 0 and known is not None and known.last_id is not None:
            count, last, head, tail = known.count, known.last_id, list(known.head), list(known.tail)
        else:
            sink.start()
        start, reported = count, None
        while True:
            page = fetch(last, page_size)
            requests += 1
            rows, total = page.rows, page.total
            # Two pages at a time would be twice the memory.
            del page
            ids = [as_id(row.get(id_key)) for row in rows]
            if total is None or not _ascending(last, ids):
                raise KeyPagingUnsupported
            if reported is None:
                reported = count + total
            came = len(rows)
            if rows:
                sink.page(count, rows)
                head = head or [digest(row) for row in rows[:OVERLAP]]
                tail = [*tail, *(digest(row) for row in rows[-OVERLAP:])][-OVERLAP:]
                count += came
                last = str(ids[-1])
            del rows, ids
            if came == total:
                break
            if not came:
                raise KeyPagingUnsupported
        # No row at all may also mean that the id was taken for a value to equal.
        if start == 0 and count == reported and count > 0:
            return Proof(count, requests, began, start, tuple(head), tuple(tail))
        requests += 1
        if count_all() == count:
            return Proof(count, requests, began, start, tuple(head), tuple(tail))
    # The server may compare ids as text. A read by offset verifies itself.
    raise KeyPagingUnsupported


def _ascending(after: str, ids: Sequence[str | None]) -> bool:
    numbers = [int(id_) for id_ in (as_id(after), *ids) if id_ is not None]
    return len(numbers) == len(ids) + 1 and all(map(lt, numbers, numbers[1:]))
