"""Backfills that take more requests than a day has."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from icontact_assets.ingest.window import Window
from icontact_assets_tests.harness import ALL_RAW, Ended, Stage, check_equal, days_ago, stored, travelled, true
from icontact_assets_tests.ingest.faults.play import SPARE, Play, Row


def budget_spent(per_day: int, days: int, asked: int | None = None) -> Callable[[Stage], str]:
    """A backfill that takes more than a day's requests: each day goes on where the last one ended.

    `asked`: so many of the last days are asked for. By default all that there are.
    """

    def play(stage: Stage) -> str:
        window = Window(days_ago(asked or days), days_ago(1))
        start = {"ICONTACT_START_DATE": window.first.isoformat()}
        before = stage.requests()
        assert stage.run(stage.project(**start), window).green
        needed = stage.requests() - before
        project = stage.project(**start, ICONTACT_REQUESTS_PER_DAY=str(per_day))
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
                project.run('key:"icontact/icontact_*" or key:"icontact/audience_readers"')
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
                assert re.search(r"\d+ of \d+ due messages were not polled", ended.red["raw_activity"])
                assert re.search(r"resumes at \d{4}-\d\d-\d\d", ended.red["raw_activity"])
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
    "read days green, others red with numbers; audiences do not change; retried the next day, it ends equal",
    [
        Play("two years", budget_spent(60, 730), {"contacts": 100, "messages": 60, "days": 730}),
        Play(
            "the last days of two months",
            budget_spent(20, 60, asked=3),
            {"contacts": 60, "messages": 6, "days": 60},
            tested="only",
        ),
    ],
)
