"""What a fault is, what must hold, and one way to play it. Knows no fault of its own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from icontact_assets_tests.harness import Ended, Stage

Fault = dict[str, Any]

TRIES = 5
"""How often one request is sent at most."""

SPARE = 5
"""Requests that a stop may cost."""

SMALL = {"contacts": 60, "messages": 5, "days": 12}
TINY = {"contacts": 20, "messages": 2, "days": 12}


class Impossible(Exception):
    """This machine or user cannot play it; the text says why."""


@dataclass(frozen=True)
class Play:
    """One way a fault can strike. `play` raises AssertionError where what must hold does not, and says how it ended.

    `tested`: whether it runs among the tests "too", or "only" there, in place of a longer one. `in_lake`: whether it
    runs there with the tables in a lake, as briefly as it can.
    """

    name: str
    play: Callable[[Stage], str]
    world: Mapping[str, Any] = field(default_factory=dict)
    tested: Literal["no", "too", "only"] = "no"
    in_lake: bool = False


@dataclass(frozen=True, eq=False)
class Row:
    """A row of the table: the fault, what must hold, the ways to play it."""

    fault: str
    holds: str
    plays: Sequence[Play]


def told(ended: Ended) -> str:
    """How a run ended, without the numbers of this run: the same for the same fault."""
    if ended.green:
        return "equal"
    said: dict[str, list[str]] = {}
    for asset, words in sorted(ended.red.items()):
        inner = re.search(r"\d+ \((\w+): (.*)", words)
        words = f"{inner[1]}: {inner[2]}" if inner else words
        words = re.sub(r"\b[GP][A-Z]+ \S+: ", "", words)
        words = re.sub(r"/\S*/", "", words)
        words = re.sub(r"(?<!answered )(?<!away with )(?<!\d)\d+", "n", words.split(". ")[0].split(", after")[0])
        said.setdefault(words[:120].rstrip("."), []).append(f"`{asset}`")
    return "; ".join(f"{', '.join(assets)} red ({words})" for words, assets in said.items()) + "; equal once it is over"


def most_tries(stage: Stage) -> int:
    """How often the most repeated request was sent."""
    log = stage.sandbox.control("log")
    return max(Counter((row["method"], row["path"], row["query"]) for row in log).values(), default=0)


def without(ended: Ended) -> tuple[str, ...]:
    """The resources that a run with these red assets need not hold."""
    red = {asset.removeprefix("raw_") for asset in ended.red}
    if red & {"messages", "sends"}:
        red.add("activity")
    if "lists" in red:
        red.add("subscriptions")
    return tuple(sorted(red))
