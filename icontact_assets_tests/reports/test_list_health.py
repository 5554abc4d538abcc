"""List health, day by day, of lists whose joiners and leavers are known by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from icontact_assets.reports.days import begin_of, day_of
from icontact_assets.reports.tables import LIST_HEALTH
from icontact_assets.settings.models import Reports
from icontact_assets_tests.reports.world import World

LEFT = ("unsubscribed", "moved", "deleted", "bounced", "do_not_contact", "left_otherwise")


def day(text: str) -> date:
    return date.fromisoformat(f"2026-{text}")


def changes(world: World, list_id: str = "7") -> dict[str, dict[str, Any]]:
    """By day what is not 0 or NULL, without name and rate."""
    names = ("size", "joined", *LEFT, "growth")
    return {
        f"{row['day']:%m-%d}": {name: row[name] for name in names if row[name]}
        for row in world.list_health().values()
        if row["list_id"] == list_id and any(row[name] for name in names if name != "size")
    }


def test_each_way_to_leave_is_told(world: World) -> None:
    ids = [str(number) for number in range(10)]
    world.insert("raw_lists", list_id="7", name="Readers", observed_at=datetime(2026, 1, 1))
    world.contacts(ids)
    world.on_list(ids, at="06-01 02:00", added="05-01")
    world.on_list(["0"], at="06-03 02:00", status="unsubscribed", added="05-01")
    world.on_list(["1"], at="06-04 02:00", deleted="06-04 02:00", added="05-01")
    world.on_list(["1"], "8", at="06-04 02:00", added="06-03 12:00")
    world.contacts(["2"], "06-05 02:00", deleted=True)
    world.on_list(["2"], at="06-05 02:01", deleted="06-05 02:01", added="05-01")
    world.contacts(["3"], "06-06 02:00", status="bounced")
    world.contacts(["4"], "06-07 02:00", status="donotcontact")
    world.contacts(["5"], "06-08 02:00", status="pending")
    world.on_list(["new"], at="06-09 02:00", added="06-08 12:00")
    # Somebody who bounced once comes back.
    world.contacts(["3"], "06-10 02:00")
    assert changes(world) == {
        "05-01": {"joined": 10},
        "06-03": {"size": 9, "unsubscribed": 1, "growth": -1},
        "06-04": {"size": 8, "moved": 1, "growth": -1},
        "06-05": {"size": 7, "deleted": 1, "growth": -1},
        "06-06": {"size": 6, "bounced": 1, "growth": -1},
        "06-07": {"size": 5, "do_not_contact": 1, "growth": -1},
        "06-08": {"size": 5, "joined": 1, "left_otherwise": 1},
        "06-10": {"size": 6, "joined": 1, "growth": 1},
    }
    found = world.list_health()
    assert tuple(found["7", day("06-03")]) == LIST_HEALTH.column_names
    assert found["7", day("06-03")]["list_name"] == "Readers"
    assert found["7", day("06-03")]["growth_rate"] == -0.1
    assert changes(world, "8") == {"06-03": {"joined": 1}}
    # Each day is there, to the running one.
    assert {at for list_id, at in found if list_id == "7"} == {day("05-01") + timedelta(n) for n in range(61)}


def test_before_a_list_was_first_read_it_is_not_known_who_left(world: World) -> None:
    world.on_list(["1", "2"], at="06-03 02:00", added="06-01 12:00")
    found = world.list_health()
    before, first, after = (found["7", day(text)] for text in ("06-01", "06-03", "06-04"))
    assert (before["joined"], before["size"], before["growth"]) == (2, None, None)
    assert {before[name] for name in LEFT} == {None}
    assert (first["joined"], first["size"], first["growth"], first["unsubscribed"]) == (0, 2, None, 0)
    assert (after["size"], after["growth"], after["growth_rate"]) == (2, 0, 0.0)


def test_what_activity_and_exports_show_dates_an_exit(world: World) -> None:
    ids = ["1", "2", "3", "4", "5"]
    world.contacts(ids)
    world.on_list(ids)
    # The read of the night finds what happened on the day before.
    for contact in ("1", "2", "5"):
        world.on_list([contact], at="06-03 02:00", status="unsubscribed", added="01-01")
    world.contacts(["3"], "06-03 02:00", status="bounced")
    world.contacts(["4"], "06-03 02:00", status="donotcontact")
    world.event("1", "1", "unsubscribe", "06-02 23:59:59")
    world.event("1", "3", "bounce", "06-02 12:00")
    for contact, list_id in (("2", "7"), ("4", "")):
        world.insert("opt_outs", folder="", list_id=list_id, contact_id=contact, seen_at=datetime(2026, 6, 2, 13))
    # This is of another time, another list, another folder.
    world.event("1", "5", "unsubscribe", "06-03 02:00:01")
    world.insert("opt_outs", folder="", list_id="8", contact_id="5", seen_at=datetime(2026, 6, 2, 13))
    world.insert("opt_outs", folder="1/2", list_id="7", contact_id="5", seen_at=datetime(2026, 6, 2, 13))
    assert changes(world) == {
        "01-01": {"size": 5, "joined": 5},
        "06-02": {"size": 1, "unsubscribed": 2, "bounced": 1, "do_not_contact": 1, "growth": -4},
        "06-03": {"unsubscribed": 1, "growth": -1},
    }


def test_who_comes_back_joins_again(world: World) -> None:
    world.on_list(["1"], at="06-01 02:00")
    world.on_list(["1"], at="06-05 02:00", status="unsubscribed", added="06-01 02:00")
    world.on_list(["1"], at="06-09 02:00", added="06-08 12:00")
    assert changes(world) == {
        "06-01": {"size": 1, "joined": 1},
        "06-05": {"unsubscribed": 1, "growth": -1},
        "06-08": {"size": 1, "joined": 1, "growth": 1},
    }


def test_who_was_never_normal_never_joined(world: World) -> None:
    world.contacts(["1"], status="bounced")
    world.contacts(["2"], deleted=True)
    world.on_list(["1", "2"])
    world.on_list(["3"], status="unsubscribed")
    world.on_list(["4"], status="pending")
    assert world.list_health() == {}


@pytest.mark.parametrize(("changed", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-03-28", 24)])
def test_a_day_on_which_clocks_change_has_its_hours(world: World, changed: str, hours: int) -> None:
    world.rules = Reports(time_zone="Europe/Berlin")
    world.now = datetime(2026, 11, 1, tzinfo=UTC)
    local = date.fromisoformat(changed)
    begins = begin_of(local, "Europe/Berlin")
    # Somebody in each half hour, from a half hour before the day to one after it.
    for number in range(-1, 2 * hours + 1):
        at = f"{begins + timedelta(minutes=30 * number):%m-%d %H:%M}"
        world.on_list([str(number)], at=at)
    found = world.list_health()
    joined = {at: row["joined"] for (_, at), row in found.items() if row["joined"]}
    assert joined == {local - timedelta(1): 1, local: 2 * hours, local + timedelta(1): 1}
    assert found["7", local]["size"] == 2 * hours + 1


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "Asia/Kathmandu"])
def test_days_follow_each_other_without_gap(zone: str) -> None:
    days = [date(2025, 12, 30) + timedelta(n) for n in range(740)]
    for each in days:
        begins = begin_of(each, zone).replace(tzinfo=UTC)
        assert day_of(begins, zone) == each
        assert day_of(begins - timedelta(seconds=1), zone) == each - timedelta(1)
    lengths = {begin_of(b, zone) - begin_of(a, zone) for a, b in pairwise(days)}
    clocks_change = zone not in ("UTC", "Asia/Kathmandu")
    assert lengths == {timedelta(hours=hours) for hours in ((23, 24, 25) if clocks_change else (24,))}


def test_what_came_before_the_first_day_is_in_its_size(world: World) -> None:
    world.on_list(["1"], at="06-01 02:00", added="01-01")
    world.insert(
        "raw_subscriptions",
        subscription_id="7_2",
        list_id="7",
        contact_id="2",
        status="normal",
        added_at=datetime(2019, 1, 1),
        observed_at=datetime(2026, 6, 1, 2),
    )
    found = world.list_health()
    assert min(at for _, at in found) == day("01-01")
    assert (found["7", day("01-01")]["joined"], found["7", day("06-01")]["size"]) == (1, 2)
