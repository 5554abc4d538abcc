"""GET that shows an answer as it came, whatever it is: for those who ask how iContact answers, not what."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from icontact_assets.icontact.decoding import decode
from icontact_assets.icontact.errors import Transient
from icontact_assets.icontact.session import Lost, Session


@dataclass(frozen=True)
class Exchange:
    """An answer of any kind. What it holds may be personal."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Any
    """As decoded. None where it is no JSON."""
    is_json: bool
    size: int
    """Bytes of the body, unpacked."""
    seconds: float
    """From the request to the end of the answer, without the wait for the budget."""
    errors: tuple[str, ...]
    """What it says under `errors`, fit to be shown."""
    warnings: tuple[str, ...]
    """What it says under `warnings`, fit to be shown."""


class Get(Protocol):
    """The one thing that a probe can do."""

    def __call__(self, path: str, params: Mapping[str, str | int]) -> Exchange:
        """One GET below the base address, sent once. Raises Transient where no answer came, Rejected, BudgetSpent,
        AskedToWait and BudgetUnusable."""
        ...


class Looking(Session):
    """A session that also shows answers as they come."""

    def look(self, path: str, params: Mapping[str, str | int]) -> Exchange:
        """See `Get`. A pause that the answer asks for is kept by every later request."""
        began = time.monotonic()

        def start() -> None:
            nonlocal began
            began = time.monotonic()

        try:
            response, sent, _ = self._exchange("GET", path, params or None, None, start)
        except Lost as lost:
            raise Transient(f"GET {path}: {lost}.") from lost
        seconds = time.monotonic() - began
        found = decode(sent, response.headers.get("Content-Type", ""))
        if response.status_code in (420, 429, 503):
            self._pause(response)
        headers = {name.lower(): value for name, value in response.headers.items()}
        errors, warnings = (tuple(self._shown(found.body, key)) for key in ("errors", "warnings"))
        return Exchange(response.status_code, headers, found.body, found.is_json, len(sent), seconds, errors, warnings)
