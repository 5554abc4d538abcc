"""Tiers, mails and what somebody is due for, of people whose opens are known by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from icontact_assets.reports import sends
from icontact_assets.reports.tables import ENGAGEMENT
from icontact_assets.settings.models import Reports
from icontact_assets_tests.reports.world import NOW, World, utc


def ago(**span: int) -> datetime:
    return NOW.replace(tzinfo=None) - timedelta(**span)


def opened(world: World, contact: str, *times: datetime) -> None:
    for number, at in enumerate(times):
        world.event(f"old{number}", contact, "open", at)


def test_each_tier_begins_where_it_says(world: World) -> None:
    world.contacts([str(number) for number in range(8)])
    world.contacts(["8"], "06-10")
    opened(world, "0", ago(days=1), ago(days=40), ago(days=60), ago(days=89))
    opened(world, "1", ago(days=29), ago(days=40), ago(days=60))
    # Of an open and a click of the same message, one message counts.
    world.event("old0", "1", "click", ago(days=29), "https://a.example/")
    opened(world, "2", ago(days=30))
    opened(world, "3", ago(days=90))
    opened(world, "4", ago(days=180))
    opened(world, "5", ago(days=1))
    world.event("old1", "6", "bounce", ago(days=1))
    found = world.engagement()
    assert {id_: (row["tier"], row["messages_90d"]) for id_, row in found.items()} == {
        "0": ("loyal", 4),
        "1": ("active", 3),
        "2": ("cooling", 1),
        "3": ("lapsing", 0),
        "4": ("dormant", 0),
        "5": ("active", 1),
        "6": ("silent", 0),
        "7": ("silent", 0),
        "8": ("new", 0),
    }
    assert tuple(found["1"]) == ENGAGEMENT.column_names
    assert (found["1"]["last_open_at"], found["1"]["last_click_at"]) == (ago(days=29), ago(days=29))


def test_what_a_machine_did_brings_nobody_nearer(world: World) -> None:
    world.contacts(["1"])
    world.message("1", "06-29 10:00")
    world.scan("1", "1", "06-29 10:00:20")
    assert world.engagement()["1"]["tier"] == "silent"


def test_deleted_contacts_are_not_there_and_their_exit_is_kept(world: World) -> None:
    world.contacts(["1", "2", "3"])
    world.event("1", "unknown", "open", "06-29 10:00")
    opened(world, "2", ago(days=1))
    assert set(world.engagement()) == {"1", "2", "3"}
    world.now += timedelta(days=40)
    world.contacts(["1"], "07-20", deleted=True)
    world.contacts(["3"], "07-20", status="deleted")
    assert set(world.engagement()) == {"2"}
    assert set(world.engagement()) == {"2"}
    changes = [
        (row["contact_id"], row["from_tier"], row["to_tier"], row["changed_on"])
        for row in world.rows("engagement_changes")
    ]
    assert changes == [
        ("1", "silent", None, date(2026, 8, 9)),
        ("1", None, "silent", date(2026, 6, 30)),
        ("2", "active", "cooling", date(2026, 8, 9)),
        ("2", None, "active", date(2026, 6, 30)),
        ("3", "silent", None, date(2026, 8, 9)),
        ("3", None, "silent", date(2026, 6, 30)),
    ]


def test_a_change_is_on_the_day_of_the_users_time_zone(world: World) -> None:
    world.contacts(["1"])
    world.rules = Reports(time_zone="Pacific/Kiritimati")
    world.engagement()
    assert [row["changed_on"] for row in world.rows("engagement_changes")] == [date(2026, 7, 1)]


def mails(world: World) -> dict[str, tuple[Any, ...]]:
    return {
        id_: (row["mails_7d"], row["mails_30d"], row["mails_unanswered"]) for id_, row in world.engagement().items()
    }


@pytest.mark.parametrize("memory", [400_000_000, 500])
def test_who_got_a_mail_was_on_its_list_when_it_was_sent(
    world: World, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With little memory it is done in parts.
    monkeypatch.setattr(sends, "_BITS_MEMORY", memory)
    world.contacts([str(number) for number in range(8)])
    world.on_list(["0", "1", "2", "3", "4", "5", "6"])
    world.on_list(["1"], "8")
    world.on_list(["2"], "9")
    # Left the list, was away from it for a while, came later, was blocked.
    world.on_list(["3"], at="06-15", status="unsubscribed")
    world.on_list(["4"], at="06-15", deleted="06-15")
    world.on_list(["4"], at="06-26", added="06-25 12:00")
    world.on_list(["7"], at="06-26", added="06-20")
    world.contacts(["5"], "06-15", status="donotcontact")
    for id_, at, lists in (
        ("1", "04-01", "7"),
        ("2", "06-01", "7,8"),
        ("3", "06-24", "7"),
        ("4", "06-26", "7"),
        ("5", "06-28", "8"),
    ):
        world.message(id_, at, lists)
    world.send("6", "06-29", "7", exclude_list_ids="9")
    world.send("7", "06-30", "7", status="cancelled")
    world.event("3", "6", "bounce", "06-24 00:01")
    assert mails(world) == {
        "0": (3, 4, 5),
        # One mail of two lists.
        "1": (4, 5, 6),
        "2": (2, 3, 4),
        "3": (0, 1, 2),
        "4": (2, 3, 4),
        "5": (0, 1, 2),
        "6": (2, 3, 4),
        "7": (3, 3, 3),
    }


def test_mails_before_the_last_open_are_answered(world: World) -> None:
    world.contacts(["1"])
    world.on_list(["1"])
    for number in range(6):
        world.message(str(number), f"06-2{number} 10:00")
    world.event("2", "1", "open", "06-23 09:00")
    assert mails(world) == {"1": (2, 6, 3)}


def test_where_subscriptions_are_not_read_what_people_did_is_the_least(world: World) -> None:
    world.contacts(["1", "2"])
    world.message("1", "06-28 10:00", "77")
    world.event("1", "1", "open", "06-28 11:00")
    found = world.engagement()
    assert mails(world) == {"1": (1, 1, 0), "2": (0, 0, 0)}
    assert {row["mails_known"] for row in found.values()} == {False}


@pytest.mark.parametrize(
    ("lists", "send", "known"),
    [
        ("7", {}, True),
        ("7,77", {}, False),
        ("7", {"exclude_list_ids": "77"}, False),
        ("7", {"include_segment_ids": "5"}, False),
        ("", {"include_segment_ids": "5"}, False),
        # Longer ago than what the mails are counted for.
        ("77", {"released_at": utc("05-20")}, True),
    ],
)
def test_mails_are_known_where_all_lists_are_read(world: World, lists: str, send: dict[str, Any], known: bool) -> None:
    world.contacts(["1"])
    world.on_list(["1"])
    world.send("1", "06-28 10:00", lists, **send)
    assert world.engagement()["1"]["mails_known"] is known


def test_who_is_due_was_quiet_for_long_and_got_enough_mails(world: World) -> None:
    world.contacts(["1", "2", "3", "4", "5"])
    world.contacts(["6"], "06-20")
    world.contacts(["5"], "06-29", status="bounced")
    world.on_list(["1", "2", "3", "5", "6"])
    for number in range(3):
        world.message(str(number), f"06-0{number + 1} 10:00")
    for contact, days in (("1", 99), ("2", 100), ("3", 150), ("4", 150), ("5", 150)):
        opened(world, contact, ago(days=days))
    world.rules = Reports(win_back_days=100, sunset_days=150, minimum_mails=3)
    due = {id_: row["due_for"] for id_, row in world.engagement().items()}
    # 4 got no mails, 5 bounced, 6 is a contact since ten days ago.
    assert due == {"1": None, "2": "win_back", "3": "sunset", "4": None, "5": None, "6": None}
    world.rules = Reports(win_back_days=100, sunset_days=150, minimum_mails=4)
    assert {row["due_for"] for row in world.engagement().values()} == {None}


def test_instants_are_told_apart_to_the_second(world: World) -> None:
    world.now = datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC)
    world.contacts(["1"])
    world.on_list(["1"], at="06-25", added="06-23 23:59:59")
    world.message("1", "06-23 23:59:58")
    world.message("2", "06-23 23:59:59")
    world.message("3", "06-24 00:00:00")
    assert mails(world) == {"1": (2, 2, 2)}
