"""What was seen of an account: each answer under the name of what was asked, read liberally."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from icontact_assets.icontact.looking import Exchange
from icontact_assets.icontact.values import as_id, as_int
from icontact_assets.probe.client import Limit

Row = dict[str, Any]

KINDS = {"opens": "openTime", "clicks": "clickTime", "bounces": "bounceTime", "unsubscribes": "unsubscribeTime"}
"""The four listings of a message, each with its time."""


@dataclass
class Sight:
    """Answers by name. A name that is missing was not looked at."""

    answers: dict[str, Exchange | None] = field(default_factory=dict)
    """None: no answer came."""
    asked: dict[str, int] = field(default_factory=dict)
    """The `limit` that a page was asked for with."""
    lengths: dict[str, int] = field(default_factory=dict)
    """Characters of the path and the query that were asked for."""
    larger_than: dict[str, int] = field(default_factory=dict)
    """The contact id that was compared with."""
    keys: dict[str, str] = field(default_factory=dict)
    """The name of the array in an answer."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    """By the service's clock, if it told (aware UTC)."""
    requests: int = 0
    failures: int = 0
    refusals: int = 0
    limit: Limit | None = None
    stopped: str | None = None
    """Why not everything was looked at."""

    def seen(self, name: str) -> Exchange | None:
        """An answer, None if there is none."""
        return self.answers.get(name)

    def body(self, name: str) -> dict[str, Any]:
        """The JSON object of a good answer, else an empty one."""
        answer = self.answers.get(name)
        if answer is None or answer.status != 200 or not isinstance(answer.body, dict):
            return {}
        return answer.body

    def is_page(self, name: str) -> bool:
        """Whether an answer is a page: it has its array, or a total."""
        body = self.body(name)
        return not body.get("errors") and (self.keys.get(name, "") in body or "total" in body)

    def rows(self, name: str) -> list[Row]:
        """The rows of a page. What is no object is left out."""
        found = self.body(name).get(self.keys.get(name, ""))
        return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []

    def total(self, name: str) -> int | None:
        """The total that a page tells."""
        return as_int(self.body(name).get("total"))

    def is_whole(self, name: str) -> bool:
        """Whether a page holds all rows of its listing."""
        return self.is_page(name) and self.total(name) == len(self.rows(name))

    def names(self, prefix: str) -> list[str]:
        """The names that begin so, in the order of asking."""
        return [name for name in self.answers if name.startswith(prefix)]

    def rows_of(self, resource: str) -> list[Row]:
        """All rows of a resource, of every page of it that was seen. The same row may come twice."""
        return [row for name, key in self.keys.items() if key == resource for row in self.rows(name)]

    def pages(self) -> Iterator[tuple[str, str]]:
        """The names of all pages that were seen, each with its resource."""
        for name, key in self.keys.items():
            if self.is_page(name):
                yield name, key

    def deleted(self) -> int:
        """How many contacts iContact lists as deleted. 0 where it does not take that search."""
        rows = self.rows("deleted")
        return (self.total("deleted") or 0) if rows and all(row.get("status") == "deleted" for row in rows) else 0

    def is_empty(self) -> bool:
        """Whether no page of the client folder was seen."""
        return not any(name not in ("accounts", "client_folders") for name, _ in self.pages())

    def listings(self, kind: str) -> dict[str, list[str]]:
        """For each message whose listing of a kind was read: the names of the reads."""
        found: dict[str, list[str]] = {}
        for name in self.names(f"{kind}:"):
            if self.is_page(name):
                found.setdefault(name.split(":")[1], []).append(name)
        return found

    def largest(self, kind: str, message: str) -> str:
        """The read of a listing that brought the most rows."""
        return max(self.listings(kind)[message], key=lambda name: len(self.rows(name)))


def ids_of(rows: list[Row], key: str) -> list[str]:
    """The ids of rows in their order. Rows without a readable one are left out."""
    return [id_ for row in rows if (id_ := as_id(row.get(key))) is not None]


def identical(rows: list[Row]) -> int:
    """Rows that equal one before them in everything. Numbers and texts of them are equal."""
    return len(rows) - len(Counter(repr(sorted((name, str(value)) for name, value in row.items())) for row in rows))
