"""What reads ask for, counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from icontact_assets.ingest.window import Window
from icontact_assets_tests.harness import (
    KINDS,
    TODAY,
    Project,
    Stage,
    check_equal,
    days_ago,
    differences,
    stored,
    travelled,
    true,
)
from icontact_assets_tests.ingest.faults.play import SMALL, Play, Row


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
    _, everything, asked, allowed = quiet_day(stage)
    return f"{asked} (allowed {allowed}; everything {everything})"


def quiet_day(stage: Stage) -> tuple[Project, int, int, int]:
    """Everything is read, and on the next day nothing has happened. Requests: of all, of the next day, allowed then."""
    for row in stage.sandbox.control("truth")["sends"]:
        # Their time would come on the second day.
        if row["status"] != "released":
            stage.sandbox.control("sends/delete", send_id=int(row["send_id"]))
    project = stage.project(ICONTACT_START_DATE=TODAY.isoformat())
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
    return project, everything, asked, allowed


def few_moved(share: float) -> Callable[[Stage], str]:
    """A day later, one message in a hundred (the newest) has new rows."""

    def play(stage: Stage) -> str:
        project = stage.project(ICONTACT_START_DATE=TODAY.isoformat())
        assert stage.run(project).green
        return few_move(stage, project, stage.requests(), share)

    return play


def quiet_then_few_moved(share: float) -> Callable[[Stage], str]:
    """Both, one day after the other."""

    def play(stage: Stage) -> str:
        project, everything, _, _ = quiet_day(stage)
        return few_move(stage, project, everything, share, days=2)

    return play


def few_move(stage: Stage, project: Project, everything: int, share: float, days: int = 1) -> str:
    """New rows of few messages, after so many days. `everything`: requests that reading all takes."""
    stage.clear_log()
    sends = [row for row in stage.sandbox.control("truth")["sends"] if row["status"] == "released"]
    newest = sorted(sends, key=lambda row: row["released"])[-max(1, len(sends) // 100) :]
    for row in newest:
        for kind in KINDS:
            stage.sandbox.control(
                "events/add", message_id=int(row["message_id"]), kind=kind, contact_id=90000001, times=3, apart=1,
                at=(stage.now - timedelta(minutes=5)).isoformat(),
            )  # fmt: skip
    with travelled(days=days) as window:
        assert stage.run(project, window).green
    check_equal(project)
    asked = stage.requests()
    assert asked <= share * everything, f"{asked} of {everything}"
    return f"{asked} ({100 * asked / everything:.1f} % of {everything}); {len(newest)} messages moved"


def long_tail(rows: int, back_dated: bool) -> Callable[[Stage], str]:
    """A listing of many rows grows by ten at its end, and by one in its middle."""

    def play(stage: Stage) -> str:
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
FORTY = {"contacts": 60, "messages": 40, "days": 365}

REQUESTS = (
    Row(
        "second run, nothing happened, 1,000 messages",
        "pages of contacts, messages, sends + due probes",
        [
            Play("1,000 messages", nothing_happened, THOUSAND),
        ],
    ),
    Row(
        "day on which 10 of 1,000 messages had activity",
        "10 % of reading everything",
        [
            Play("1,000 messages", few_moved(0.1), THOUSAND),
            Play("40 messages, after a day without any", quiet_then_few_moved(0.1), FORTY, tested="only"),
        ],
    ),
    Row(
        "10 new rows at the end of a 100,000-row listing; also with one back-dated row in its middle",
        "3; the back-dated one within the verification interval",
        [
            Play("100,000 rows", long_tail(100_000, back_dated=False), SMALL),
            Play("100,000 rows, one back-dated", long_tail(100_000, back_dated=True), SMALL),
        ],
    ),
    Row(
        "year-long backfill in a fresh database; the same again",
        "one complete reading of each listing; 0 activity requests",
        [
            Play("a year", backfilled(365), {"contacts": 1500, "messages": 150, "days": 365}),
            Play("two weeks", backfilled(14), {"contacts": 60, "messages": 5, "days": 14}, tested="only"),
        ],
    ),
)
