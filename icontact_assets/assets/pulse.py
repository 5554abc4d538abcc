"""When a read says how far it is, and in which words. What it has done is told by whoever does it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from icontact_assets.ingest.context import ImportContext
from icontact_assets.ingest.forecast import listing_pages
from icontact_assets.ingest.staging import Listing

EVERY_SECONDS = 15.0


class Pulse:
    """Says through `say` how far a read is, every EVERY_SECONDS at most. `clock`: seconds that only grow."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = monotonic) -> None:
        self._say = say
        self._clock = clock
        self._began = self._said = clock()

    def beat(self, what: str, done: int, expected: int | None) -> None:
        """So much is done of what is `expected`, as far as that is known. Call it as often as you like."""
        now = self._clock()
        if now - self._said < EVERY_SECONDS:
            return
        self._said = now
        if expected is None or done >= expected:
            self._say(f"{done:,} {what} so far, after {_lasting(now - self._began)}.")
            return
        left = f", about {_lasting((now - self._began) / done * (expected - done))} left" if done else ""
        self._say(f"{done:,} of {expected:,} {what}, {100 * done // expected} %{left}.")


def tell_requests(opened: ImportContext, resource: str, page_size: int, say: Callable[[str], None]) -> None:
    """From now on say how far the read of a listing is: in requests, of those that its stored rows would cost."""
    session, pulse = opened.folder.session, Pulse(say)
    entry = opened.coverage().get(Listing(resource))
    expected = listing_pages(resource, entry.stored, page_size) if entry and entry.stored else None
    session.after_reply = lambda: pulse.beat(f"requests for {resource}", session.requests, expected)


def _lasting(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
