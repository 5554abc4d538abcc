"""Every fault the reader must stand, stated once: what breaks, what must hold. Tests play some, a script plays all."""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import time_machine
from filelock import FileLock

from icontact_assets.ingest.window import Window
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.harness import Project, days_ago
from icontact_assets_tests.ingest.stage import (
    ALL_RAW,
    ENDED,
    KINDS,
    LIST,
    LISTINGS,
    OPEN,
    RESOURCES,
    Ended,
    Stage,
    asset_of,
    check_equal,
    contents,
    differences,
    materialize,
    path_of,
    stored,
    true,
)
from icontact_assets_tests.test_every_reading import READINGS

Fault = dict[str, Any]

TRIES = 5
"""How often one request is sent at most."""

SPARE = 5
"""Requests that a stop may cost."""


class Impossible(Exception):
    """This machine or user cannot play it; the text says why."""


@dataclass(frozen=True)
class Play:
    """One way a fault can strike. `play` raises AssertionError where what must hold does not, and says how it ended.

    `tested`: whether it runs among the tests "too", or "only" there, in place of a longer one.
    """

    name: str
    play: Callable[[Stage], str]
    world: Mapping[str, Any] = field(default_factory=dict)
    tested: Literal["no", "too", "only"] = "no"


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


# Readings under switches and faults


def reading(
    *,
    switches: Mapping[str, Any] | None = None,
    faults: Sequence[Fault] = (),
    may_be_red: Sequence[str] = (),
    must_be_red: bool = False,
) -> Callable[[Stage], str]:
    """A first reading under switches and faults, and another when the faults are gone: never green with rows missing.

    Of the assets only those in `may_be_red` may fail, and then the others are equal.
    """

    def play(stage: Stage) -> str:
        stage.sandbox.control("switches", **(switches or {"ids": "string"}))
        project = stage.project()
        stage.plan(*faults)
        ended = stage.run(project)
        assert set(ended.red) <= set(may_be_red), ended.red
        assert not (must_be_red and ended.green), "green"
        assert most_tries(stage) <= 2 * TRIES, "a request was tried without end"
        left_out = without(ended)
        assert differences(project, leave_out=left_out) == {}
        if faults:
            stage.clear()
            assert stage.run(project).red == {}
            check_equal(project)
        return told(ended)

    return play


def without(ended: Ended) -> tuple[str, ...]:
    """The resources that a run with these red assets need not hold."""
    red = {asset.removeprefix("raw_") for asset in ended.red}
    if red & {"messages", "sends"}:
        red.add("activity")
    if "lists" in red:
        red.add("subscriptions")
    return tuple(sorted(red))


def cap(limit: int, *, refuse: bool = False) -> Fault:
    return {"path": "", "do": {"kind": "cap", "limit": limit, "refuse": refuse}}


SMALL = {"contacts": 60, "messages": 5, "days": 12}

LIMITS = Row(
    "none; page cap 100, 7 and 1; limit clamped or refused",
    "all row sets equal the truth",
    [
        Play("none", reading(), tested="too"),
        Play("cap 100", reading(switches={"page_limit_rows": 100})),
        Play("cap 7", reading(switches={"page_limit_rows": 7}), tested="too"),
        Play("cap 1", reading(switches={"page_limit_rows": 1}), SMALL, tested="too"),
        Play("cap 100, the asked limit echoed", reading(switches={"page_limit_rows": 100, "page_limit_echo": "asked"})),
        Play("refused above 100", reading(switches={"page_limit": "refuse", "page_limit_rows": 100})),
        Play("refused above 7", reading(switches={"page_limit": "refuse", "page_limit_rows": 7}), tested="too"),
        Play("refused above 1", reading(switches={"page_limit": "refuse", "page_limit_rows": 1}), SMALL),
        Play("no total beside the rows", reading(faults=[{"do": {"kind": "envelope", "drop": ["total"]}}])),
        Play(
            "no total beside the rows, cap 7",
            reading(faults=[{"do": {"kind": "envelope", "drop": ["total"]}}, cap(7)]),
        ),
    ],
)

BROKEN: dict[str, Fault] = {
    "503": {"kind": "reply", "status": 503},
    "503 with Retry-After": {"kind": "reply", "status": 503, "headers": {"Retry-After": "1"}},
    "503 HTML": {"kind": "reply", "status": 503, "text": "<html>Service Temporarily Unavailable</html>"},
    "429": {"kind": "reply", "status": 429, "body": {"errors": ["Too Many Requests"]}},
    "420": {"kind": "reply", "status": 420, "body": {"errors": ["Enhance Your Calm"]}},
    "reset": {"kind": "reset"},
    "cut body": {"kind": "cut"},
    "cut body that looks complete": {"kind": "cut", "clean": True},
    "HTML": {"kind": "reply", "status": 200, "text": "<html>Maintenance</html>"},
    "slow bytes": {"kind": "slow", "chunk": 2000, "pause": 0.01},
    "empty body": {"kind": "reply", "status": 200, "text": ""},
}

TRANSPORT = Row(
    "503 every 9th answer; 429 and 420; resets; cut bodies; HTML; slow bytes; empty bodies",
    "equal; bounded tries",
    [Play(f"{name}, every 9th answer", reading(faults=[{"every": 9, "do": do}])) for name, do in BROKEN.items()]
    + [
        Play(
            "every 9th answer, each in another way",
            reading(
                switches={"page_limit_rows": 30},
                faults=[
                    {"every": 9 * len(BROKEN), "after": 9 * number, "do": do}
                    for number, do in enumerate(BROKEN.values())
                ],
            ),
            tested="too",
        )
    ]
    + [
        Play(
            f"{name}, {resource} for ever",
            reading(
                faults=[{"path": path_of(resource), "do": do}],
                may_be_red=[asset_of(resource)],
                must_be_red=name != "slow bytes",
            ),
        )
        for resource in ("contacts", "opens")
        for name, do in BROKEN.items()
        if name not in ("503 with Retry-After", "420", "cut body that looks complete")
    ],
)

ERRORS: Fault = {"kind": "reply", "status": 200, "body": {"errors": ["An error occurred."]}}
WARNING = "The data you received may not be what you expected. Terms could not be recognized and so were ignored."


def errors_for_ever(resource: str) -> Callable[[Stage], str]:
    """The asset is red, and says which listing it could not read."""
    red = ["raw_statistics", "raw_activity"] if resource == "statistics" else [asset_of(resource)]
    play = reading(faults=[{"path": path_of(resource), "do": ERRORS}], may_be_red=red, must_be_red=True)

    def named(stage: Stage) -> str:
        words = play(stage)
        assert resource in words
        return words

    return named


SILENT_ERRORS = Row(
    "200 with only `errors`, on each resource in turn; `warnings` on a filtered read",
    "equal, or the resource is red and named; never green with rows missing",
    [
        *(
            Play(f"errors once, {resource}", reading(faults=[{"path": path_of(resource), "nth": 1, "do": ERRORS}]))
            for resource in RESOURCES
        ),
        *(
            Play(
                f"errors for ever, {resource}",
                errors_for_ever(resource),
                tested="too" if resource in ("lists", "clicks") else "no",
            )
            for resource in RESOURCES
        ),
        *(
            Play(
                f"warnings, {resource}",
                reading(
                    faults=[{"path": path_of(resource), "do": {"kind": "warn", "texts": [WARNING]}}],
                    may_be_red=[asset_of(resource)] if resource in ("contacts", "subscriptions") else [],
                ),
            )
            for resource in RESOURCES
            if resource != "statistics"
        ),
        *(
            Play(
                f"{term} of {resource} ignored{', nothing said' if silent else ' with a warning'}",
                reading(
                    faults=[{"path": path_of(resource), "do": {"kind": "ignore", "terms": [term], "silent": silent}}],
                    may_be_red=[asset_of(resource)],
                ),
                tested="too" if not silent else "no",
            )
            for resource, term, silent in (
                ("contacts", "status", False),
                ("contacts", "contactId", False),
                ("contacts", "contactId", True),
                ("subscriptions", "listId", False),
                ("subscriptions", "listId", True),
            )
        ),
        *(
            Play(
                f"{resource} announces {total} rows",
                reading(
                    faults=[{"path": path_of(resource), "do": {"kind": "envelope", "set": {"total": total}}}],
                    may_be_red=[asset_of(resource)],
                    must_be_red=True,
                ),
            )
            for resource in ("messages", "sends")
            for total in (3, 999)
        ),
    ],
)


# Edits between two pages

PLACES = ("first", "middle", "last")


def page_of(resource: str) -> int:
    """A page size that makes a handful of pages of the stage's listings."""
    return {"contacts": 70, "subscriptions": 60, "messages": 12, "lists": 8, "sends": 12}.get(resource, 26)


NEWS = 330_001
"""A message released a day ago: each run looks at it."""


def news(stage: Stage) -> int:
    """Releases NEWS, with some rows in each of its listings."""
    at = stage.now - timedelta(days=1)
    control = stage.sandbox.control
    control("messages/add", message_id=NEWS, created=at.isoformat(), released=at.isoformat(), recipients=100)
    for kind in KINDS:
        url = {"url": "https://example.com/news"} if kind == "clicks" else {}
        first = (at + timedelta(minutes=5)).isoformat()
        control("events/add", message_id=NEWS, kind=kind, contact_id=94000001, at=first, times=50, apart=60, **url)
    return NEWS


def fill(stage: Stage) -> None:
    """Every listing of the folder long enough for several pages."""
    for number in range(20):
        stage.sandbox.control("messages/add", message_id=320_001 + 2 * number, subject=f"Draft {number}")
        released = (stage.now - timedelta(days=20, minutes=number)).isoformat()
        stage.sandbox.control(
            "messages/release", message_id=310_001, send_id=970_001 + 2 * number, at=released, recipients=1
        )
        stage.sandbox.control("lists/add", list_id=4001 + 2 * number, name=f"List {number}")


def edit_of(stage: Stage, resource: str, change: str, place: str) -> dict[str, Any]:
    """A control edit that inserts or deletes a row of a listing at its first, middle or last place."""
    truth = stage.sandbox.control("truth")

    def at(rows: Sequence[Any]) -> Any:
        return rows[{"first": 0, "middle": len(rows) // 2, "last": -1}[place]]

    if resource in KINDS:
        message = NEWS
        rows = [r for r in truth["activity"] if r["message_id"] == str(message) and r["kind"] == resource]
        rows = [row for row in rows if row["visible"]]
        position = {"first": 0, "middle": len(rows) // 2, "last": len(rows) - (change == "delete")}[place]
        if change == "delete":
            return {"path": "events/delete", "message_id": message, "kind": resource, "position": position}
        new = {"contact_id": 95000001, "at": rows[min(position, len(rows) - 1)]["instant"], "position": position}
        return {"path": "events/add", "message_id": message, "kind": resource, **new}
    if resource == "subscriptions":
        rows = [row for row in truth["subscriptions"] if row["list_id"] == LIST and row["visible"]]
        if change == "delete":
            return {"path": "subscriptions/delete", "list_id": int(LIST), "contact_id": int(at(rows)["contact_id"])}
        on = {row["contact_id"] for row in rows}
        contact = next(row["contact_id"] for row in truth["contacts"] if row["visible"] and row["contact_id"] not in on)
        position = next(n for n, row in enumerate(truth["subscriptions"]) if row == at(rows)) + (place == "last")
        return {"path": "subscriptions/set", "list_id": int(LIST), "contact_id": int(contact), "position": position}
    key = {"contacts": "contact_id", "messages": "message_id", "sends": "send_id", "lists": "list_id"}[resource]
    ids = sorted(int(row[key]) for row in truth[resource] if row["visible"] and row.get("status") != "deleted")
    if change == "delete":
        return {"path": f"{resource}/delete", key: at(ids)}
    taken = {int(row[key]) for row in truth[resource]}
    middle = len(ids) // 2
    free = next(n for n in range(ids[middle] + 1, ids[-1] + 2) if n not in taken)
    wanted = {"first": ids[0] - 1, "middle": free, "last": max(taken) + 1}[place]
    kinds: dict[str, dict[str, Any]] = {
        "contacts": {"path": "contacts/add", "email": "new@example.com"},
        "messages": {"path": "messages/add", "subject": "New"},
        "sends": {"path": "messages/release", "message_id": 310_001, "recipients": 1},
        "lists": {"path": "lists/add", "name": "New"},
    }
    return {**kinds[resource], key: wanted}


def edited(
    resource: str, change: str, place: str, pages: Sequence[int] | None = None, order: str = "ascending"
) -> Callable[[Stage], str]:
    """For every k (or those of `pages`): a row comes or goes between page k and k+1; green only with every row."""

    def prepare(stage: Stage, base: Project | None, now: datetime | None) -> Project:
        """A full folder, pages of a few rows, and a home that holds what the asset stands on (that of `base`)."""
        stage.reset(**({"now": now.isoformat()} if now else {}))
        news(stage)
        fill(stage)
        stage.sandbox.control("switches", listing_order=order, activity_order=order)
        project = stage.project()
        if base is None:
            for below in {"raw_activity": ["messages", "sends"], "raw_subscriptions": ["lists"]}.get(asset, []):
                assert stage.run(project, selection=f'key:"icontact/raw_{below}"').green
        else:
            shutil.copytree(base.home, project.home, dirs_exist_ok=True)
        stage.plan({"path": path_of(resource), "do": {"kind": "cap", "limit": page_of(resource)}})
        return project

    asset = asset_of(resource)
    selection = f'key:"icontact/{asset}"'

    def play(stage: Stage) -> str:
        ends = Counter[str]()
        path = f"/messages/{NEWS}/{resource}" if resource in KINDS else f"/{resource}"
        name = "activity" if resource in KINDS else resource
        base, now = prepare(stage, None, None), stage.now
        if pages is None:
            assert stage.run(prepare(stage, base, now), selection=selection).green
        for k in pages or range(1, stage.requests(path) + 1):
            project = prepare(stage, base, now)
            edit = edit_of(stage, resource, change, place)
            before = true(project)[name]
            stage.plan({"path": path + "$", "nth": k, "do": {"kind": "edit", "edits": [edit]}})
            ended = stage.run(project, selection=selection)
            throughout = before & true(project)[name]
            if ended.green:
                held, ever = stored(project)[name], before | true(project)[name]
                assert throughout <= held, f"k={k}: {(throughout - held).total()} rows missing"
                assert held <= ever, f"k={k}: {(held - ever).total()} rows too many"
            else:
                assert set(ended.red) == {asset_of(resource)}
            assert edit_struck(stage), f"k={k}: there was no page k"
            stage.clear()
            again = stage.run(project, selection=selection)
            assert again.green, again.red
            held, there = stored(project)[name], true(project)[name]
            assert there <= held, f"k={k}: {(there - held).total()} rows missing at the end"
            # What vanished from a listing of events stays.
            gone = before - there if resource in KINDS else Counter()
            assert held - there <= gone, f"k={k}: {(held - there - gone).total()} rows too many at the end"
            ends[told(ended)] += 1
        return "; ".join(sorted(ends))

    return play


def edit_struck(stage: Stage) -> bool:
    return any(fault["struck"] for fault in stage.sandbox.control("faults") if fault["do"]["kind"] == "edit")


EDITED = ("contacts", "messages", "sends", "lists", "subscriptions", *KINDS)

EDITS = Row(
    "insert or delete between page k and k+1, for every k, on each resource",
    "equal at the end, or red",
    [
        Play(f"{change} {place} row, {resource}", edited(resource, change, place))
        for resource in EDITED
        for change in ("insert", "delete")
        for place in PLACES
    ]
    + [
        Play(f"{change} first row, {resource}, newest first", edited(resource, change, "first", order="descending"))
        for resource in ("messages", "sends", "opens")
        for change in ("insert", "delete")
    ]
    + [
        Play(
            f"{change} first row, {resource}, between pages 2 and 3",
            edited(resource, change, "first", pages=[2]),
            tested="no" if resource in ("clicks", "bounces", "unsubscribes") else "only",
        )
        for resource in EDITED
        for change in ("insert", "delete")
    ],
)


# Orders of activity


def grow(stage: Stage, round_: int) -> None:
    """New rows at the end, late ones in the middle, many identical ones, in each of the four listings of NEWS."""
    message, now = NEWS, stage.now
    for kind in KINDS:
        url = {"url": "https://example.com/late"} if kind == "clicks" else {}
        add = {"message_id": message, "kind": kind, **url}
        control = stage.sandbox.control
        for contact in (1, 2, 3):
            control("events/add", contact_id=96000000 + 10 * round_ + contact, at=now.isoformat(), **add)
        late = (now - timedelta(hours=30, minutes=round_)).isoformat()
        control("events/add", contact_id=97000001 + round_, at=late, visible_from=now.isoformat(), **add)
        same = (now - timedelta(minutes=5, seconds=round_)).isoformat()
        control("events/add", contact_id=98000001, at=same, visible_from=now.isoformat(), times=30, **add)


def growing(order: str, limit: int | None) -> Callable[[Stage], str]:
    """Three readings of listings that grow at the end and in the middle."""

    def play(stage: Stage) -> str:
        stage.sandbox.control("switches", activity_order=order)
        if limit:
            stage.plan({"path": f"/({'|'.join(KINDS)})$", "do": {"kind": "cap", "limit": limit}})
        news(stage)
        project = stage.project()
        assert stage.run(project).green
        for round_ in range(2):
            grow(stage, round_)
            ended = stage.run(project)
            assert ended.green, ended.red
            check_equal(project)
        return "equal"

    return play


def disagreeing(switches: Mapping[str, Any], values: Mapping[str, Any] | None = None) -> Callable[[Stage], str]:
    """The figures do not move although rows came: they are found when the listing is verified."""

    def missing(project: Project) -> int:
        # Messages that were never released are read only when their figures say so.
        released = {row[1] for row in true(project)["sends"] if row[2] == "released"}
        rows = true(project)["activity"] - stored(project)["activity"]
        return sum(count for row, count in rows.items() if row[0] in released)

    def play(stage: Stage) -> str:
        news(stage)
        stage.sandbox.control("switches", **switches)
        if values:
            stage.plan({"path": "/statistics$", "do": {"kind": "statistics", "values": values}})
        project = stage.project()
        assert stage.run(project).green
        assert missing(project) == 0
        grow(stage, 0)
        assert stage.run(project).green
        found_after = 0
        for day in (1, 4, 7, 8):
            if missing(project):
                found_after = day
                with travelled(days=day) as window:
                    assert stage.run(project, window).green
        assert missing(project) == 0, f"{missing(project)} rows missing after 8 days"
        return f"equal after {found_after} days" if found_after else "equal at once"

    return play


@contextmanager
def travelled(**ahead: float) -> Iterator[Window]:
    """The clock of the project is ahead; the window is the day it shows then."""
    then = datetime.now(UTC) + timedelta(**ahead)
    with time_machine.travel(then, tick=True):
        yield Window(then.date(), then.date())


ORDERS = Row(
    "activity order ascending or descending; late rows in the middle; identical rows",
    "multiset equal",
    [
        Play(
            f"{order}, {f'pages of {limit}' if limit else 'one page'}",
            growing(order, limit),
            tested="too" if limit == 40 and order != "appended" else "no",
        )
        for order in ("ascending", "descending", "appended")
        for limit in (None, 40, 7)
    ],
)

HINTS = Row(
    "statistics lag, or disagree with the listings",
    "nothing lost, only found later: within the verification interval",
    [
        Play("lagging by 100 days", disagreeing({"statistics": "lagging", "statistics_lag_seconds": 8_640_000})),
        Play("without identical rows", disagreeing({"statistics": "distinct"})),
        Play(
            "always zero",
            disagreeing(
                {"statistics": "equal"},
                {
                    "opens": {"unique": 0, "total": 0},
                    "clicks": {"unique": 0, "total": 0},
                    "bounces": 0,
                    "unsubscribes": 0,
                },
            ),
            tested="too",
        ),
        Play(
            "figures that are no numbers",
            disagreeing({"statistics": "equal"}, {"opens": None, "clicks": {}, "bounces": "many", "unsubscribes": ""}),
        ),
    ],
)


def shuffled_page(stage: Stage) -> str:
    news(stage)
    stage.sandbox.control("switches", activity_order="shuffled")
    project = stage.project()
    for round_ in range(3):
        assert stage.run(project).green
        check_equal(project)
        grow(stage, round_)
    return "equal"


def shuffled_pages(kind: str) -> Callable[[Stage], str]:
    """Red and named, the other listings equal, the stored rows untouched; equal when the order is stable again."""

    def play(stage: Stage) -> str:
        message = news(stage)
        project = stage.project()
        assert stage.run(project).green
        before = contents(project)["activity"]
        grow(stage, 0)
        here = f"/{message}/{kind}$"
        stage.plan(
            {"path": here, "do": {"kind": "order", "order": "shuffled"}},
            {"path": here, "do": {"kind": "cap", "limit": 12}},
        )
        ended = stage.run(project)
        assert set(ended.red) == {"raw_activity"}
        assert str(message) in ended.red["raw_activity"]
        assert f"{kind}: unstable order" in ended.red["raw_activity"]
        mine = (str(message), kind.removesuffix("s"))
        after = contents(project)["activity"]
        assert [row for row in after if (row[0], row[2]) == mine] == [row for row in before if (row[0], row[2]) == mine]
        missing = true(project)["activity"] - stored(project)["activity"]
        assert {row[:2] for row in missing} == {mine}
        stage.clear()
        assert stage.run(project).green
        check_equal(project)
        return told(ended)

    return play


SHUFFLED = Row(
    "activity order shuffled per call",
    "equal if the listing fits one page, else red and named, stored rows untouched",
    [
        Play("one page", shuffled_page, tested="too"),
        *(
            Play(f"several pages, {kind}", shuffled_pages(kind), tested="too" if kind == "opens" else "no")
            for kind in KINDS
        ),
    ],
)


# Listings that shrink


def emptied(resource: str) -> Callable[[Stage], str]:
    """A listing that was full answers 200 without rows, twice within an hour: nothing is retired."""

    def play(stage: Stage) -> str:
        project = stage.project()
        assert stage.run(project).green
        before = contents(project)
        empty = {"kind": "reply", "status": 200, "body": {resource: [], "limit": 500, "offset": 0, "total": 0}}
        stage.plan({"path": path_of(resource), "do": empty})
        ended = stage.run(project)
        assert set(ended.red) == {asset_of(resource)}, f"{ended.red}"
        assert contents(project) == before
        with travelled(minutes=20) as window:
            again = stage.run(project, window)
        assert set(again.red) == {asset_of(resource)}
        assert contents(project) == before
        stage.clear()
        assert stage.run(project).green
        assert contents(project) == before
        return told(ended)

    return play


def emptied_activity(kind: str) -> Callable[[Stage], str]:
    """A listing that was full and has grown answers 200 without rows: rows stay, and it is not called complete."""

    def play(stage: Stage) -> str:
        message = news(stage)
        project = stage.project()
        assert stage.run(project).green
        before = stored(project)["activity"]
        grow(stage, 0)
        empty = {"kind": "reply", "status": 200, "body": {kind: [], "limit": 500, "offset": 0, "total": 0}}
        stage.plan({"path": f"/{message}/{kind}$", "do": empty})
        ended = stage.run(project)
        assert before <= stored(project)["activity"]
        assert set(ended.red) == {"raw_activity"}, "green with rows missing"
        stage.clear()
        assert stage.run(project).green
        check_equal(project)
        return told(ended)

    return play


def fifth_gone(stage: Stage) -> str:
    """A quarter of the contacts is deleted: nothing is retired until a reading an hour later agrees."""
    project = stage.project()
    assert stage.run(project).green
    before = stored(project)["contacts"]
    for row in sorted(before)[:75]:
        stage.sandbox.control("contacts/delete", contact_id=int(row[0]))
    ended = stage.run(project)
    assert set(ended.red) == {"raw_contacts"}
    with travelled(minutes=50) as window:
        assert set(stage.run(project, window).red) == {"raw_contacts"}
    assert stored(project)["contacts"] == before
    with travelled(minutes=61) as window:
        assert stage.run(project, window).green
    check_equal(project)
    return told(ended).replace("equal once it is over", "an hour later 75 retired and equal")


SHRUNK = Row(
    "an empty 200, or a fifth of the contacts gone, on a listing that was full",
    "nothing retired before a second reading agrees",
    [
        *(
            Play(f"empty 200, {resource}", emptied(resource), tested="too" if resource == "contacts" else "no")
            for resource in LISTINGS
        ),
        *(Play(f"empty 200, {kind} that grew", emptied_activity(kind)) for kind in KINDS),
        Play("a quarter of the contacts gone", fifth_gone, tested="too"),
    ],
)

SHAPES = Row(
    "ids as numbers, strings, mixed; every time format of the reference; unknown extra fields",
    "equal",
    [
        Play(", ".join(f"{name} {value}" for name, value in switches.items()), reading(switches=switches))
        for switches in READINGS
        if not switches.keys() & {"page_limit_rows", "statistics", "automation_sends"}
    ],
)


def failing_message(kind: str, do: Fault) -> Callable[[Stage], str]:
    """One listing of one message fails for ever: the rest is complete, that one is listed, the run is not green."""

    def play(stage: Stage) -> str:
        message = news(stage)
        project = stage.project()
        stage.plan({"path": f"/{message}/{kind}$", "do": do})
        ended = stage.run(project)
        red = {"raw_activity", "raw_statistics"} if kind == "statistics" else {"raw_activity"}
        assert set(ended.red) == red
        for words in ended.red.values():
            assert str(message) in words
            assert kind in words
            assert set(re.findall(r"\b3[123]\d{4}\b", words)) == {str(message)}, words
        missing = true(project)["activity"] - stored(project)["activity"]
        lost = {str(message)} if kind == "statistics" else {(str(message), kind.removesuffix("s"))}
        assert {row[0] if kind == "statistics" else row[:2] for row in missing} <= lost
        assert stored(project)["activity"] <= true(project)["activity"]
        assert differences(project, leave_out=("activity",)) == {}
        again = stage.run(project)
        assert set(again.red) == red, "it fails as long as the message does"
        stage.clear()
        assert stage.run(project).green
        check_equal(project)
        return told(ended)

    return play


BAD_ANSWERS: dict[str, Fault] = {
    "400": {"kind": "reply", "status": 400, "body": {"errors": ["broken"]}},
    "500": {"kind": "reply", "status": 500, "body": {"errors": ["broken"]}},
    "reset": {"kind": "reset"},
    "errors in a 200": ERRORS,
}

ONE_MESSAGE = Row(
    "one message fails for ever",
    "the rest complete; that one listed; the run not green",
    [
        Play(f"{name}, {kind}", failing_message(kind, do), tested="too" if (name, kind) == ("500", "clicks") else "no")
        for kind in ("statistics", *KINDS)
        for name, do in BAD_ANSWERS.items()
    ],
)


# Stops and kills


def whole(stage: Stage, window: Window = ENDED) -> int:
    """Requests that an undisturbed reading takes."""
    before = stage.requests()
    assert stage.run(stage.project(), window).green
    return stage.requests() - before


FEW = {"contacts": 150, "messages": 4, "days": 12}


def paged(stage: Stage) -> None:
    """Listings of several pages, of one message read at a time."""
    stage.sandbox.control("switches", page_limit_rows=40)


def stopped(at: Sequence[float] | None = None) -> Callable[[Stage], str]:
    """From request n on iContact refuses (402), for every n or those at these shares; then the run again."""

    def play(stage: Stage) -> str:
        paged(stage)
        needed = whole(stage)
        worst = 0
        numbers = range(1, needed + 1) if at is None else [max(1, round(share * needed)) for share in at]
        for n in numbers:
            stage.clear_log()
            project = stage.project()
            unpaid = {"kind": "reply", "status": 402, "body": {"errors": ["Payment Required"]}}
            stage.plan({"after": n - 1, "do": unpaid})
            ended = stage.run(project, ENDED)
            assert not ended.green
            stage.clear()
            assert stage.run(project, ENDED).green
            check_equal(project)
            worst = max(worst, stage.requests() - needed)
            assert worst <= SPARE, f"n={n}: {stage.requests()} requests, {needed} were needed"
        return f"equal; at most {worst} requests more than the {needed} of a whole run"

    return play


def child(environment: dict[str, str], home: Path, window: Window) -> None:
    """A run in a process of its own."""
    project = Project(None, home, environment)  # type: ignore[arg-type]
    project.run(ALL_RAW, window)


def start(project: Project, window: Window) -> multiprocessing.context.ForkServerProcess:
    """`child` for a project: quicker to start than a command, as real to kill."""
    (project.home / "icontact.yaml").write_text(project.config)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["icontact_assets_tests.ingest.scenarios"])
    process = context.Process(target=child, args=(project.environment, project.home, window))
    process.start()
    return process


def wait_for(condition: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come so far"
        time.sleep(0.005)


def killed_at_requests(at: Sequence[float] | None = None) -> Callable[[Stage], str]:
    """A process is killed with -9 while request n waits for its answer, for every n or those at these shares."""

    def play(stage: Stage) -> str:
        paged(stage)
        needed = whole(stage)
        worst = 0
        for n in range(1, needed + 1) if at is None else [max(1, round(share * needed)) for share in at]:
            stage.clear_log()
            project = stage.project()
            stage.plan({"nth": n, "do": {"kind": "delay", "seconds": 3600}})
            process = start(project, ENDED)
            wait_for(lambda n=n: len(stage.sandbox.control("log")) >= n)  # type: ignore[misc]
            process.kill()
            process.join()
            stage.clear()
            check_after_kill(stage, project)
            worst = max(worst, stage.requests() - needed)
            assert worst <= SPARE, f"n={n}: {stage.requests()} requests, {needed} were needed"
        return f"equal; at most {worst} requests more than the {needed} of a whole run"

    return play


def check_after_kill(stage: Stage, project: Project) -> None:
    """The database opens, nobody waits for a lock, and another run ends equal."""
    if project.settings.duckdb_path.exists():
        with Warehouse(project.settings.duckdb_path, wait_seconds=1).read() as connection:
            connection.execute("SELECT 1").fetchall()
    for path in project.settings.home.rglob("*.lock"):
        with FileLock(path, timeout=1):
            pass
    assert stage.run(project, ENDED).green
    check_equal(project)


def killed_at_moments(kills: int, seed: int) -> Callable[[Stage], str]:
    """Real `dagster asset materialize` processes, killed with -9 at random moments of their run."""

    def play(stage: Stage) -> str:
        paged(stage)
        stage.plan({"do": {"kind": "delay", "seconds": 0.02}})
        project = stage.project()
        began = time.monotonic()
        process = materialize(project, ENDED)
        wait_for(lambda: bool(stage.requests()))
        reading_began = time.monotonic() - began
        _, words = process.communicate()
        assert process.returncode == 0, words[-2000:]
        lasts = time.monotonic() - began
        expected, dice = contents(project), random.Random(seed)
        for _ in range(kills):
            project = stage.project()
            process = materialize(project, ENDED)
            time.sleep(dice.uniform(0.8 * reading_began, lasts))
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            check_after_kill(stage, project)
            assert contents(project) == expected
        return "equal"

    return play


STOPS = Row(
    "stop at each request n of a run, then run again",
    f"total requests at most whole + {SPARE}; tables equal",
    [
        Play("refused from request n on, every n", stopped(), FEW),
        Play("killed while request n waits, every n", killed_at_requests(), FEW),
        Play("refused from request n on, some n", stopped((0.05, 0.7)), tested="only"),
        Play("killed while request n waits, some n", killed_at_requests((0.15, 0.8)), tested="only"),
    ],
)

KILLS = Row(
    "kill -9 at 50 random moments, then run again",
    "database opens; tables equal; no lock left behind",
    [
        Play("50 kills", killed_at_moments(50, 1)),
        Play("1 kill", killed_at_moments(1, 2), tested="only"),
    ],
)


# Budget


def budget_spent(per_day: int, days: int) -> Callable[[Stage], str]:
    """A backfill that takes more than a day's requests: each day goes on where the last one ended."""

    def play(stage: Stage) -> str:
        first = days_ago(days)
        window = Window(first, days_ago(1))
        limited = {"ICONTACT_START_DATE": first.isoformat(), "ICONTACT_REQUESTS_PER_DAY": str(per_day)}
        before = stage.requests()
        assert stage.run(stage.project(ICONTACT_START_DATE=first.isoformat()), window).green
        needed = stage.requests() - before
        project = stage.project(**limited)
        spent: list[int] = []
        members: set[tuple[Any, ...]] = set()
        for day in range(3 + 2 * math.ceil(needed / per_day)):
            began = stage.requests()
            with travelled(days=day):
                result = project.run(ALL_RAW, window)
                stage.runs += 1
                ended = Ended.of(result)
                ended.check_words()
                green = set(project.metadata(result, "raw_activity"))
                rows = set(project.rows("SELECT contact_id FROM icontact.audience_members")) if day else set()
                assert rows == members
                project.run('key:"icontact/icontact_*"')
                project.run('key:"icontact/audience_readers"')
                rows = set(project.rows("SELECT contact_id FROM icontact.audience_members"))
            spent.append(stage.requests() - began)
            assert spent[-1] <= per_day
            # Messages that were never released do not count for a day.
            released = {row[1] for row in true(project)["sends"] if row[2] == "released"}
            here, there = (by_day(rows["activity"], released) for rows in (stored(project), true(project)))
            wrong = [day for day in green if here.get(day) != there.get(day)]
            assert not wrong, f"green although rows are missing: {wrong[:3]}"
            if ended.green:
                assert green == {day.isoformat() for day in window.days}
                assert rows
                break
            assert rows == members == set(), "the audience moved on half-read data"
            if "raw_activity" in ended.red:
                assert re.search(r"\d+ of \d+ due messages were not looked at", ended.red["raw_activity"])
                assert re.search(r"goes on from \d{4}-\d\d-\d\d", ended.red["raw_activity"])
                assert f"{len(green)} of {len(window.days)} days are read" in ended.red["raw_activity"]
                assert len(green) < len(window.days)
        assert ended.green, ended.red
        check_equal(project)
        assert sum(spent) <= needed + SPARE * len(spent)
        return f"equal after {len(spent)} days of {per_day} requests; {sum(spent)} requests, {needed} without a budget"

    return play


def by_day(rows: Counter[tuple[Any, ...]], messages: set[str]) -> dict[str, Counter[tuple[Any, ...]]]:
    found: dict[str, Counter[tuple[Any, ...]]] = {}
    for row, count in rows.items():
        if row[0] in messages:
            found.setdefault(row[3].date().isoformat(), Counter())[row] = count
    return found


BUDGET = Row(
    "budget spent in the middle of a two-year backfill",
    "read days green, others red with figures; audiences do not move; it goes on next day and ends equal",
    [
        Play("two years", budget_spent(60, 730), {"contacts": 100, "messages": 60, "days": 730}),
        Play("two months", budget_spent(30, 60), {"contacts": 60, "messages": 10, "days": 60}, tested="only"),
    ],
)


# Disk and database


def check_untouched(before: Mapping[str, list[Any]], after: Mapping[str, list[Any]]) -> None:
    """Every row that was stored is stored; what was stored whole before the error stays."""
    for table in before:
        if table != "statistics":
            assert not Counter(map(str, before[table])) - Counter(map(str, after[table])), table


def much_comes(stage: Stage) -> None:
    for round_ in range(2):
        grow(stage, round_)
    for number in range(300):
        stage.sandbox.control("contacts/add", email=f"new{number}@example.com")


def disk_small(left: int) -> Callable[[Stage], str]:
    """A file system with only so many bytes left (needs the right to mount one): a clear error, tables as they were."""

    def play(stage: Stage) -> str:
        disk = stage.folder / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(disk)], capture_output=True)
        if mounted.returncode:
            raise Impossible("this user may not mount a small file system")
        try:
            news(stage)
            project = stage.project(ICONTACT_ASSETS_HOME=str(disk / "state"))
            assert stage.run(project).green
            much_comes(stage)
            before = contents(project)
            filler = disk / "filler"
            filler.write_bytes(b"x" * (shutil.disk_usage(disk).free - left))
            ended = stage.run(project)
            assert ended.red
            check_untouched(before, contents(project))
            filler.unlink()
            assert stage.run(project).green
            check_equal(project)
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
        return told(ended)

    return play


HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Another program has the database open, and does not know our lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        try:
            yield
        finally:
            other.kill()


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """How long a locked database is waited for."""
    defaults = Warehouse.__init__.__kwdefaults__ or {}
    usual = defaults["wait_seconds"]
    defaults["wait_seconds"] = seconds
    try:
        yield
    finally:
        defaults["wait_seconds"] = usual


def locked(stage: Stage) -> str:
    news(stage)
    project = stage.project()
    assert stage.run(project).green
    before = contents(project)
    grow(stage, 0)
    with held(project.settings.duckdb_path), patience(0.3):
        ended = stage.run(project)
    assert ended.red
    for words in ended.red.values():
        assert "is open in another program" in words
        assert "Close it there" in words
    assert contents(project) == before
    assert stage.run(project).green
    check_equal(project)
    return told(ended)


def unwritable(stage: Stage) -> str:
    """The folder of the database cannot be written to. Root may write anywhere: its right to do so is given up."""
    news(stage)
    project = stage.project()
    assert stage.run(project).green
    before = contents(project)
    grow(stage, 0)
    folder = project.settings.duckdb_path.parent
    drop: tuple[str, ...] = ()
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise Impossible("root may write anywhere, and there is no setpriv (util-linux) to give that up")
        drop = (setpriv, "--bounding-set=-dac_override,-dac_read_search")
    paths = [folder, *folder.rglob("*")]
    modes = [path.stat().st_mode for path in paths]
    for path, mode in zip(paths, modes, strict=True):
        path.chmod(mode & ~0o222)
    try:
        process = materialize(project, OPEN, prefix=drop)
        _, words = process.communicate(timeout=120)
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)
    stage.runs += 1
    assert process.returncode != 0
    assert "cannot be used" in words or "cannot be written" in words, words[-3000:]
    assert contents(project) == before
    assert stage.run(project).green
    check_equal(project)
    return "red, naming the file and the remedy; equal once it is over"


def no_folder(stage: Stage) -> str:
    """The database's folder cannot be made: a file stands where it should be."""
    blocked = stage.folder / "file"
    blocked.write_text("")
    project = stage.project(ICONTACT_ASSETS_DUCKDB=str(blocked / "folder" / "warehouse.duckdb"))
    ended = stage.run(project)
    assert ended.red
    for words in ended.red.values():
        assert "cannot be used" in words
        assert str(blocked) in words
    return told(ended).removesuffix("; equal once it is over")


STORAGE = Row(
    "disk full, database locked by another program, read-only folder",
    "clear error; old tables intact",
    [
        Play("a disk with 0 kB left", disk_small(0)),
        Play("a disk with 60 kB left", disk_small(60_000), tested="too"),
        Play("a disk with 300 kB left", disk_small(300_000)),
        Play("locked by another program", locked, tested="too"),
        Play("read-only folder", unwritable, tested="too"),
        Play("a file in place of the folder", no_folder, tested="too"),
    ],
)


# Workers


def workers(per_second: int, per_minute: int = 0) -> Callable[[Stage], str]:
    """1, 2 and 8 messages at once: the same tables, and never more requests than allowed in any window."""

    def play(stage: Stage) -> str:
        found, counts = [], []
        for count in (1, 2, 8):
            stage.clear_log()
            project = stage.project(
                ICONTACT_WORKERS=str(count),
                ICONTACT_REQUESTS_PER_SECOND=str(per_second),
                ICONTACT_REQUESTS_PER_MINUTE=str(per_minute),
            )
            assert stage.run(project, ENDED).green
            check_equal(project)
            found.append(contents(project))
            times = [row["time"] for row in stage.sandbox.control("log")]
            counts.append(len(times))
            for seconds, most in ((1, per_second), (60, per_minute)):
                if most:
                    # A request is counted when it is sent; the way to the server may take it some milliseconds closer.
                    assert most_within(times, seconds - 0.1) <= most
        assert found[0] == found[1] == found[2]
        assert len(set(counts)) == 1
        limit = f"{per_minute} a minute" if per_minute else f"{per_second} a second"
        return f"equal; never more than {limit}"

    return play


def most_within(times: Sequence[float], seconds: float) -> int:
    """The most requests in any window of so many seconds."""
    return max(sum(start <= moment < start + seconds for moment in times) for start in times)


WORKERS = Row(
    "1, 2 and 8 workers",
    "equal table hashes; the request log never exceeds the limit",
    [
        Play("25 a second", workers(25), tested="too"),
        Play("40 a minute", workers(0, 40)),
    ],
)

FAULTS = (
    LIMITS, TRANSPORT, SILENT_ERRORS, EDITS, ORDERS, SHUFFLED, HINTS, SHRUNK, SHAPES, ONE_MESSAGE, STOPS, KILLS,
    BUDGET, STORAGE, WORKERS,
)  # fmt: skip


# Requests


def listing_pages(stage: Stage, page: int = 500) -> int:
    """Requests for whole listings of contacts, messages, sends, lists and subscriptions."""
    truth = {name: sum(rows.values()) for name, rows in shown_rows(stage).items()}

    def offset_pages(rows: int, size: int) -> int:
        # Each page after the first repeats a row of the one before.
        return 1 if rows <= size else 1 + math.ceil((rows - size) / (size - 1))

    return (
        max(1, math.ceil(truth["contacts"] / page))
        + offset_pages(truth["messages"], min(50, page))
        + sum(offset_pages(truth[name], page) for name in ("sends", "lists", "subscriptions"))
    )


def shown_rows(stage: Stage) -> dict[str, Counter[tuple[Any, ...]]]:
    return true(stage.project())


def due_probes(stage: Stage, then: datetime) -> int:
    """Messages that the ladder looks at a day after all were: released in the last thirty days, or never and read."""
    truth = stage.sandbox.control("truth")
    released = {row["message_id"]: datetime.fromisoformat(row["released"]) for row in truth["sends"]}
    active = {row["message_id"] for row in truth["activity"] if row["visible"]}
    return sum(then - at <= timedelta(days=30) for at in released.values()) + len(active - released.keys())


def nothing_happened(stage: Stage) -> str:
    first = days_ago(400)
    for row in stage.sandbox.control("truth")["sends"]:
        # Their time would come on the second day.
        if row["status"] != "released":
            stage.sandbox.control("sends/delete", send_id=int(row["send_id"]))
    project = stage.project(ICONTACT_START_DATE=first.isoformat())
    assert stage.run(project).green
    everything = stage.requests()
    stage.clear_log()
    with travelled(days=1) as window:
        assert stage.run(project, window).green
        allowed = listing_pages(stage) + due_probes(stage, datetime.now(UTC))
    asked = stage.requests()
    assert asked <= allowed, f"{asked} requests, {allowed} are pages and due probes"
    assert not [row for row in stage.sandbox.control("log") if row["path"].rsplit("/", 1)[1] in KINDS]
    check_equal(project)
    return f"{asked} (allowed {allowed}; everything {everything})"


def few_moved(share: float) -> Callable[[Stage], str]:
    """A day later, one message in a hundred (the newest) has new rows."""

    def play(stage: Stage) -> str:
        project = stage.project(ICONTACT_START_DATE=days_ago(400).isoformat())
        assert stage.run(project).green
        everything = stage.requests()
        stage.clear_log()
        sends = [row for row in stage.sandbox.control("truth")["sends"] if row["status"] == "released"]
        newest = sorted(sends, key=lambda row: row["released"])[-max(1, len(sends) // 100) :]
        for row in newest:
            for kind in KINDS:
                stage.sandbox.control(
                    "events/add", message_id=int(row["message_id"]), kind=kind, contact_id=90000001, times=3, apart=1,
                    at=(stage.now - timedelta(minutes=5)).isoformat(),
                )  # fmt: skip
        with travelled(days=1) as window:
            assert stage.run(project, window).green
        check_equal(project)
        asked = stage.requests()
        assert asked <= share * everything, f"{asked} of {everything}"
        return f"{asked} ({100 * asked / everything:.1f} % of {everything}); {len(newest)} messages moved"

    return play


def long_tail(rows: int, back_dated: bool, page: int = 500) -> Callable[[Stage], str]:
    """A listing of many rows grows by ten at its end, and by one in its middle."""

    def play(stage: Stage) -> str:
        stage.sandbox.control("switches", page_limit_rows=page)
        at = stage.now - timedelta(days=2)
        control, message = stage.sandbox.control, 900001
        control("messages/add", message_id=message, created=at.isoformat(), released=at.isoformat())
        add = {"message_id": message, "kind": "opens"}
        control("events/add", contact_id=80000001, at=at.isoformat(), times=rows, apart=1, **add)
        project = stage.project()
        assert stage.run(project).green
        check_equal(project)
        now = stage.now - timedelta(minutes=5)
        control("events/add", contact_id=85000001, at=now.isoformat(), times=10, apart=1, **add)
        if back_dated:
            middle = (at + timedelta(seconds=rows // 2)).isoformat()
            control("events/add", contact_id=86000001, at=middle, visible_from=now.isoformat(), **add)
        stage.clear_log()
        assert stage.run(project).green
        asked = stage.requests(f"/messages/{message}/")
        assert asked <= 3, f"{asked} requests"
        missing = true(project)["activity"] - stored(project)["activity"]
        assert missing.total() <= back_dated
        found = 0
        for day in range(1, 9):
            if differences(project):
                found = day
                with travelled(days=day) as window:
                    assert stage.run(project, window).green
        check_equal(project)
        return f"{asked}" + (f"; the back-dated one found after {found} days" if back_dated else "")

    return play


def backfilled(days: int) -> Callable[[Stage], str]:
    """Past days in a fresh database: each listing read once; the same days again: no activity requests."""

    def play(stage: Stage) -> str:
        window = Window(days_ago(days), days_ago(1))
        project = stage.project(ICONTACT_START_DATE=window.first.isoformat())
        assert stage.run(project, window).green
        check_equal(project)
        log = stage.sandbox.control("log")
        asked = Counter((row["path"], row["query"]) for row in log)
        twice = [path for path, count in asked.items() if count > 1]
        assert not twice, f"asked twice: {twice[:3]}"
        rows = Counter((row[0], f"{row[1]}s") for row in true(project)["activity"].elements())
        listings = Counter(
            (row["path"].split("/")[6], row["path"].split("/")[7])
            for row in log
            if "/messages/" in row["path"] and not row["path"].endswith("/statistics")
        )
        pages = {key: 1 if rows[key] <= 500 else 1 + math.ceil((rows[key] - 500) / 490) for key in listings}
        assert dict(listings) == pages
        first = len(log)
        stage.clear_log()
        assert stage.run(project, window).green
        again = stage.requests()
        assert stage.requests("/messages/") == 0
        return f"{first}, then {again} (activity: {sum(listings.values())}, then 0)"

    return play


THOUSAND = {"contacts": 2000, "messages": 1000, "days": 365}
HUNDRED = {"contacts": 200, "messages": 100, "days": 365}

REQUESTS = (
    Row(
        "second run, nothing happened, 1,000 messages",
        "pages of contacts, messages, sends + due probes",
        [
            Play("1,000 messages", nothing_happened, THOUSAND),
            Play("100 messages", nothing_happened, HUNDRED, tested="only"),
        ],
    ),
    Row(
        "day on which 10 of 1,000 messages had activity",
        "10 % of reading everything",
        [
            Play("1,000 messages", few_moved(0.1), THOUSAND),
            Play("100 messages", few_moved(0.1), HUNDRED, tested="only"),
        ],
    ),
    Row(
        "10 new rows at the end of a 100,000-row listing; also with one back-dated row in its middle",
        "3; the back-dated one within the verification interval",
        [
            Play("100,000 rows", long_tail(100_000, back_dated=False), SMALL),
            Play("100,000 rows, one back-dated", long_tail(100_000, back_dated=True), SMALL),
            Play("60 pages", long_tail(6_000, back_dated=False, page=100), SMALL, tested="only"),
            Play("60 pages, one back-dated", long_tail(6_000, back_dated=True, page=100), SMALL, tested="only"),
        ],
    ),
    Row(
        "year-long backfill in a fresh database; the same again",
        "one complete reading of each listing; 0 activity requests",
        [
            Play("a year", backfilled(365), {"contacts": 1500, "messages": 150, "days": 365}),
            Play("two months", backfilled(60), {"contacts": 100, "messages": 15, "days": 60}, tested="only"),
        ],
    ),
)
