"""Orders of activity, and statistics that do not agree with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from icontact_assets_tests.harness import (
    ACTIVITY,
    BESIDE,
    EVENTS,
    KINDS,
    Project,
    Stage,
    check_equal,
    contents,
    stored,
    travelled,
    true,
)
from icontact_assets_tests.ingest.faults.growth import grow, news
from icontact_assets_tests.ingest.faults.play import SMALL, Play, Row, told


def growing(order: str, limit: int | None) -> Callable[[Stage], str]:
    """Three readings of listings that grow at the end and in the middle."""

    def play(stage: Stage) -> str:
        stage.sandbox.control("switches", activity_order=order)
        if limit:
            stage.plan({"path": f"/({'|'.join(KINDS)})$", "do": {"kind": "cap", "limit": limit}})
        news(stage)
        project = stage.project()
        assert stage.run(project, selection=EVENTS).green
        for round_ in range(2):
            grow(stage, round_)
            ended = stage.run(project, selection=ACTIVITY)
            assert ended.green, ended.red
            check_equal(project, leave_out=BESIDE)
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
        assert stage.run(project, selection=EVENTS).green
        assert missing(project) == 0
        grow(stage, 0)
        assert stage.run(project, selection=ACTIVITY).green
        found_after = 0
        for day in (1, 4, 7, 8):
            if missing(project):
                found_after = day
                with travelled(days=day) as window:
                    assert stage.run(project, window, ACTIVITY).green
        assert missing(project) == 0, f"{missing(project)} rows missing after 8 days"
        return f"equal after {found_after} days" if found_after else "equal at once"

    return play


ORDERS = Row(
    "activity order ascending or descending; late rows in the middle; identical rows",
    "multiset equal",
    [
        Play(
            f"{order}, {f'pages of {limit}' if limit else 'one page'}",
            growing(order, limit),
            SMALL,
            tested="too" if limit == 40 and order != "appended" else "no",
            in_lake=limit == 40 and order == "descending",
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
            SMALL,
            tested="too",
            in_lake=True,
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
    for round_ in range(2):
        assert stage.run(project, selection=ACTIVITY if round_ else EVENTS).green
        check_equal(project, leave_out=BESIDE)
        grow(stage, round_)
    return "equal"


def shuffled_pages(kind: str) -> Callable[[Stage], str]:
    """Red and named, the other listings equal, the stored rows untouched; equal when the order is stable again."""

    def play(stage: Stage) -> str:
        message = news(stage)
        project = stage.project()
        assert stage.run(project, selection=EVENTS).green
        before = contents(project)["activity"]
        grow(stage, 0)
        here = f"/{message}/{kind}$"
        stage.plan(
            {"path": here, "do": {"kind": "order", "order": "shuffled"}},
            {"path": here, "do": {"kind": "cap", "limit": 12}},
        )
        ended = stage.run(project, selection=ACTIVITY)
        assert set(ended.red) == {"raw_activity"}
        assert str(message) in ended.red["raw_activity"]
        assert f"{kind}: unstable order" in ended.red["raw_activity"]
        mine = (str(message), kind.removesuffix("s"))
        after = contents(project)["activity"]
        assert [row for row in after if (row[0], row[2]) == mine] == [row for row in before if (row[0], row[2]) == mine]
        missing = true(project)["activity"] - stored(project)["activity"]
        assert {row[:2] for row in missing} == {mine}
        stage.clear()
        assert stage.run(project, selection=ACTIVITY).green
        check_equal(project, leave_out=BESIDE)
        return told(ended)

    return play


SHUFFLED = Row(
    "activity order shuffled per call",
    "equal if the listing fits one page, else red and named, stored rows untouched",
    [
        Play("one page", shuffled_page, SMALL, tested="too", in_lake=True),
        *(
            Play(f"several pages, {kind}", shuffled_pages(kind), SMALL, tested="too" if kind == "opens" else "no")
            for kind in KINDS
        ),
    ],
)
