"""The page of a report: its facts against tables filled by hand, and what must not be in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from icontact_assets.reports import wording
from icontact_assets.reports.build import Task, build_reports
from icontact_assets.reports.figures import Figures, NoReport, read_figures
from icontact_assets.reports.highlights import highlights
from icontact_assets.reports.page import render
from icontact_assets.reports.period import Period
from icontact_assets.reports.tables import CAMPAIGNS, LINKS, REPORT_TABLES
from icontact_assets.warehouse.tables import Table
from icontact_assets_tests.harness import SCHEMA, Store
from icontact_assets_tests.reports.parsed import Parsed
from icontact_assets_tests.reports.world import NOW, START, World, utc

SENT, HAPPENED = "Messages that were first sent", "What happened in these days"
OF_MESSAGES = (CAMPAIGNS, LINKS)
WEEK = Period(date(2026, 6, 22), date(2026, 6, 28), "UTC")


def compute(world: World, tables: Sequence[Table] = REPORT_TABLES) -> None:
    """Compute report tables. The others are empty."""
    with world.stored() as connection:
        build_reports(connection, tables, Task(world.scope, world.rules, START, world.now))
        for table in REPORT_TABLES:
            connection.execute(table.ddl(SCHEMA))


def read(world: World, period: Period = WEEK) -> Parsed:
    """The page on a period, once tables are computed."""
    with world.store.warehouse.read() as connection:
        figures = read_figures(connection, world.scope, period, world.now)
    return Parsed(render(figures, "Newsletter", world.now))


def act(world: World, *events: tuple[str, str, str, str]) -> None:
    """Message, contact, kind and time of each event."""
    for message, contact, kind, at in events:
        world.event(message, contact, kind, at, "https://a.example/x" if kind == "click" else None)


def send(world: World, message: str, at: str, delivered: int, **more: Any) -> None:
    statistics = {"bounces": 0, "delivered": delivered, "opens_total": 0, "clicks_total": 0, "unsubscribes": 0, **more}
    world.message(message, at, **statistics)


def test_totals_are_those_of_the_period_beside_those_before(world: World) -> None:
    send(world, "1", "06-16 09:00", 100, subject="Before")
    send(world, "2", "06-23 09:00", 200, subject="First")
    send(world, "3", "06-28 20:00", 40, subject="Last")
    send(world, "4", "06-29 00:00", 500, subject="After")
    act(
        world,
        *(("1", f"c{n}", "open", f"06-16 12:1{n}") for n in range(4)),
        *(("2", f"c{n}", "open", f"06-{day} 12:1{n}") for n in range(6) for day in (24, 25)),
        ("1", "c9", "open", "06-22 00:00"),
        ("3", "c1", "click", "06-28 23:59:59"),
        ("4", "c1", "open", "06-29 00:00"),
        ("2", "c2", "unsubscribe", "06-24 13:00"),
    )
    compute(world, OF_MESSAGES)
    found = read(world)
    assert found.row(SENT, "Messages") == ["2", "1", "+100 %"]
    assert found.row(SENT, "Mails delivered") == ["240", "100", "+140 %"]
    assert found.row(SENT, "Open rate") == ["2.5 %", "5.0 %", "-2.5 points"]
    assert found.row(SENT, "Click rate") == ["0.42 %", "0.0 %", "+0.4 points"]
    assert found.row(SENT, "Unsubscribe rate") == ["0.42 %", "0.0 %", "+0.4 points"]
    assert found.row(HAPPENED, "Opens") == ["13", "4", "+225 %"]
    assert found.row(HAPPENED, "People who opened") == ["7", "4", "+75 %"]
    assert found.row(HAPPENED, "People who clicked") == ["1", "0", "new"]
    assert found.row(HAPPENED, "Bounces") == ["0", "0", "–"]
    assert found.row("Opens and clicks a day", "Wed 24 Jun 2026") == ["6", "6", "0", "0"]
    assert found.row("Opens and clicks a day", "Fri 26 Jun 2026") == ["0", "0", "0", "0"]
    assert len(found.tables["Opens and clicks a day"]) == 1 + 28
    assert found.row("Messages first sent", "First")[:4] == ["Tue 23 Jun 2026, 09:00", "200", "3.0 %", "3.0 %"]
    assert found.row("Messages first sent", "Last")[5] == "2.5 %"
    assert found.row("What was clicked most", "a.example/x") == ["1", "1", "1", "Sun 28 Jun 2026, 23:59"]


def test_messages_are_compared_by_their_first_24_hours(world: World) -> None:
    world.now = datetime(2026, 6, 29, 8, tzinfo=UTC)
    send(world, "1", "06-16 09:00", 50)
    send(world, "2", "06-27 20:00", 100)
    send(world, "3", "06-28 09:00", 400)
    times = (("1", "06-27 21:00"), ("1", "06-27 22:00"), ("2", "06-28 19:59:59"), ("3", "06-28 20:00"))
    act(
        world,
        ("1", "1", "open", "06-17 09:00"),
        *(("2", person, "open", at) for person, at in times),
        ("3", "1", "open", "06-28 12:00"),
    )
    compute(world, OF_MESSAGES)
    found = read(world)
    assert found.row(SENT, "Opened within 24 hours") == ["2.0 %", "0.0 %", "+2.0 points"]
    assert found.row(SENT, "Open rate") == ["0.80 %", "2.0 %", "-1.2 points"]


def test_machines_are_only_in_the_figures_of_all(world: World) -> None:
    send(world, "1", "06-23 09:00", 50)
    world.scan("1", "1", "06-23 09:30")
    act(world, ("1", "2", "open", "06-23 12:00"), ("1", "2", "click", "06-23 12:01"))
    compute(world, OF_MESSAGES)
    found = read(world)
    assert found.row(HAPPENED, "Clicks")[0] == "1"
    assert found.row(HAPPENED, "Clicks, all")[0] == "5"
    assert found.row(SENT, "Click rate")[0] == "2.0 %"
    assert found.row(SENT, "Click rate, all")[0] == "4.0 %"


def test_the_best_and_the_worst_messages_are_by_the_clicks_of_people(world: World) -> None:
    for number in range(9):
        send(world, str(number), f"06-23 0{number}:00", 30 if number < 8 else 29, subject=f"Subject {number}")
    act(
        world,
        *((str(number), f"c{n}", "click", f"06-24 {number + 10}:1{n}") for number in range(9) for n in range(number)),
    )
    compute(world, OF_MESSAGES)
    found = read(world)
    [table] = [rows for label, rows in found.tables.items() if label.startswith("Messages first sent")]
    assert [row[0] for row in table[1:]] == [f"Subject {number}" for number in (7, 6, 5, 2, 1, 0)]
    assert "These are the best 3 and the worst 3 of 8. 1 with fewer than 30 deliveries is left out." in found.said(
        "By the"
    )


def test_days_are_those_of_the_time_zone_when_clocks_change_too(world: World) -> None:
    world.now = datetime(2026, 12, 1, tzinfo=UTC)
    days = [
        ("Europe/Berlin", date(2026, 3, 29), "03-28 23:00", 23),
        ("Europe/Berlin", date(2026, 10, 25), "10-24 22:00", 25),
        ("Australia/Lord_Howe", date(2026, 4, 5), "04-04 13:00", 24.5),
        ("Asia/Kathmandu", date(2026, 6, 1), "05-31 18:15", 24),
    ]
    send(world, "0", "01-02 09:00", 50)
    for _, day, begins, hours in days:
        first, end = utc(begins), utc(begins) + timedelta(hours=hours)
        for at in (first - timedelta(seconds=1), first, end - timedelta(seconds=1), end):
            world.event("0", "1", "open", at)
        send(world, str(day), str(end - timedelta(seconds=1))[5:], 50, subject=f"In the last second of {day}")
    compute(world, OF_MESSAGES)
    for zone, day, _, _ in days:
        found = read(world, Period(day, day, zone))
        assert found.row(HAPPENED, "Opens") == ["2", "1", "+100 %"]
        assert found.row("Opens and clicks a day", wording.day(day))[0] == "2"
        assert found.row("Opens and clicks a day", wording.day(day - timedelta(days=1)))[0] == "1"
        sent = found.row("Messages first sent", f"In the last second of {day}")[0]
        assert sent == f"{wording.day(day)}, 23:59"


def test_a_change_that_rounds_to_nothing_has_no_sign() -> None:
    assert wording.points(0.0064, 0.0066) == "0.0 points"
    assert wording.points(0.0, 0.0) == "0.0 points"
    assert wording.points(0.02, 0.05) == "-3.0 points"
    assert wording.change(999, 1000) == "0 %"
    assert wording.change(900, 1000) == "-10 %"


def test_nobodys_address_and_no_markup_of_others_is_on_the_page(world: World) -> None:
    world.contacts([f"c{n}" for n in range(6)], domain="many.example")
    world.contacts(["own"], domain="planted-person.example")
    world.insert("raw_lists", list_id="7", name="<img src=x> planted7@example.com", observed_at=utc("01-01"))
    world.on_list([f"c{n}" for n in range(6)])
    send(world, "1", "06-23 09:00", 50, subject="<script>alert(1)</script> [fname] for planted8@example.com")
    world.event("1", "c1", "click", "06-24 12:00", "https://a.example/u/planted9@example.com?e=planted9@example.com")
    world.insert(
        "import_coverage", resource="contacts", message_id="", kind="", list_id="", status="failed", requests=1,
        reason="planted5@example.com <b>", read_through=utc("06-27 10:00"),
    )  # fmt: skip
    compute(world)
    found = read(world)
    assert "planted" not in found.html
    assert "@" not in re.sub(r"@media [^{]*", "", found.html)
    assert {"script", "img", "link", "iframe", "b"} & {tag for tag, _ in found.elements} == {"b"}, "ours alone"
    assert found.row("Messages first sent", "<script>alert(1)</script> [fname] for <address>")
    assert found.row("What was clicked most", "a.example/u/<address>")
    assert "The last read of the contacts is failed: <address> <b>. Since 2026-06-27 10:00 UTC." in found.texts


def test_the_page_needs_no_other_file_and_says_what_its_plots_show(world: World) -> None:
    world.contacts([f"c{n}" for n in range(40)])
    world.on_list([f"c{n}" for n in range(40)])
    send(world, "1", "06-23 09:00", 50)
    world.event("1", "c1", "open", "06-24 12:00")
    compute(world)
    found = read(world, Period(date(2025, 1, 1), date(2026, 6, 28), "UTC"))
    assert not re.findall(
        r"(?:src|href|url|@import|https?:)[^\n]{0,40}", found.html.replace("http://www.w3.org/2000/svg", "")
    )
    plots = [attributes for tag, attributes in found.elements if tag == "svg"]
    assert len(plots) == 5
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for plot in plots:
        assert plot["role"] == "img"
        assert set(str(plot["aria-labelledby"]).split()) <= set(ids)
    assert "Most without machines on Wed 24 Jun 2026: 1." in found.texts
    assert len(found.html.encode()) < 2_000_000


def test_an_account_with_nothing_gets_a_page_that_says_so(world: World) -> None:
    compute(world)
    found = read(world)
    assert found.said("There is nothing to report")
    assert found.said("7 of 7 days (UTC) are not read: messages and sends were last read before the day ended. Since")
    assert not found.tables


def test_tables_that_were_never_computed_are_named(store: Store) -> None:
    world = World(store)
    with store.warehouse.read() as connection, pytest.raises(NoReport, match="of the group icontact_reports"):
        read_figures(connection, world.scope, WEEK, NOW)


def test_a_period_without_names_is_the_last_ended_week_of_the_time_zone() -> None:
    late = datetime(2026, 6, 30, 23, tzinfo=UTC)
    assert Period.ended(late, "UTC") == Period(date(2026, 6, 23), date(2026, 6, 29), "UTC")
    assert Period.ended(late, "Europe/Berlin") == Period(date(2026, 6, 24), date(2026, 6, 30), "Europe/Berlin")
    assert Period.ended(late, "UTC", last=date(2026, 6, 10)).first == date(2026, 6, 4)
    assert Period.ended(late, "UTC", first=date(2026, 6, 28)).last == date(2026, 6, 29)
    assert Period.ended(late, "UTC", first=date(2026, 6, 30)).last == date(2026, 6, 30)


QUIET = {
    **dict.fromkeys(("messages", "opens", "human_opens", "openers", "human_openers", "clicks", "human_clicks"), 0),
    **dict.fromkeys(("clickers", "human_clickers", "unsubscribes", "bounces", "sent", "delivered", "left_by"), 0),
    **dict.fromkeys(("unique_opens", "human_unique_opens", "human_unique_clicks", "unique_bounces"), 0),
    **dict.fromkeys(("early_open_rate", "early_click_rate", "bounce_rate", "unsubscribe_rate", "complaint_rate")),
}


def answers(now: Mapping[str, Any], before: Mapping[str, Any] | None = None, **more: Any) -> list[str]:
    """The three answers where nothing is as usual but that."""
    figures = Figures(
        period=WEEK,
        totals={**QUIET, **now},
        before={**QUIET, **(before or {})},
        trend=[],
        campaigns=[],
        links=[],
        tiers=[],
        moves={},
        domains=[],
        lists=[],
        sizes={},
        gaps=[],
        ever=True,
    )
    return [text for _, text in highlights(replace(figures, **more))]


def test_the_biggest_change_is_the_one_that_chance_explains_least() -> None:
    before = {"messages": 1, "human_openers": 1000, "unsubscribes": 4}
    assert answers({"human_openers": 1050, "unsubscribes": 7}, before)[0].startswith("Nothing changed")
    assert answers({"human_openers": 1050, "unsubscribes": 40}, before)[0] == (
        "40 people unsubscribed, 900 % more than in the 7 days before (4)."
    )
    rates = ({"messages": 1, "aged": 1000, "early_opens": n, "early_open_rate": n / 1000} for n in (300, 200))
    assert answers(*rates)[0] == (
        "The share that opened within 24 hours rose to 30.0 %, from 20.0 % for the messages of the 7 days before."
    )
    assert answers({"human_openers": 500})[0].startswith("There is nothing to compare with")


@pytest.mark.parametrize(
    ("now", "more", "said"),
    [
        ({}, {}, "Nothing that these figures show."),
        ({"delivered": 1000, "complaint_rate": 0.002}, {}, "0.20 % complained"),
        ({"delivered": 99, "complaint_rate": 0.02}, {}, "Nothing that these figures show."),
        ({"delivered": 1000, "bounce_rate": 0.03}, {}, "3.0 % of the messages sent bounced."),
        ({"opens": 200, "human_opens": 100}, {}, "Machines made 50.0 % of the opens"),
        (
            {"bounce_rate": 0.01},
            {"domains": [{"domain": "a.example", "bounce_rate": 0.2, "bounce_rate_low": 0.15}]},
            "At a.example, 20.0 % of all mails ever sent bounced",
        ),
    ],
)
def test_what_is_wrong_is_said(now: dict[str, Any], more: dict[str, Any], said: str) -> None:
    assert answers(now, **more)[1].startswith(said)


def test_who_drifts_away_is_counted_by_tiers() -> None:
    tiers = [{"tier": "cooling", "win_back": 5, "sunset": 1}, {"tier": "dormant", "win_back": 2, "sunset": 9}]
    moves = {("active", "cooling"): 7, ("loyal", "active"): 2, ("cooling", "active"): 3, ("new", None): 4}
    assert answers({}, tiers=tiers, moves=moves)[2] == (
        "9 people came to a lower tier, and 3 people became active or came back. "
        "Now 7 people are due for a win-back, and 10 people for a sunset."
    )
    assert answers({})[2].startswith("Nobody came to another tier")
