"""Most adds a day, quiet hours, and what remains."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icontact_assets.exports.pace import allowance, next_allowance, quiet_until
from icontact_assets.settings.models import Pace
from icontact_assets_tests.harness import NOW, House

NIGHT = Pace(quiet_hours="22:00-07:00", time_zone="Europe/Berlin")
NOON = Pace(quiet_hours="12:00-13:30")


@pytest.mark.parametrize(
    ("pace", "now", "until"),
    [
        (NIGHT, "2026-09-14T19:59:59", None),
        (NIGHT, "2026-09-14T20:00:00", "2026-09-15T05:00:00"),
        (NIGHT, "2026-09-15T00:30:00", "2026-09-15T05:00:00"),
        (NIGHT, "2026-09-15T04:59:59", "2026-09-15T05:00:00"),
        (NIGHT, "2026-09-15T05:00:00", None),
        # The clocks go back in this night: it is an hour longer.
        (NIGHT, "2026-10-24T20:00:00", "2026-10-25T06:00:00"),
        (NOON, "2026-09-14T11:59:59", None),
        (NOON, "2026-09-14T12:00:00", "2026-09-14T13:30:00"),
        (NOON, "2026-09-14T13:30:00", None),
        (Pace(), "2026-09-14T12:00:00", None),
    ],
)
def test_quiet_hours_end_by_the_clock_of_their_zone(pace, now, until):
    end = quiet_until(pace, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert end == (datetime.fromisoformat(until).replace(tzinfo=UTC) if until else None)


@given(st.integers(1, 5), st.lists(st.integers(0, 48 * 60), max_size=12))
def test_no_24_hours_ever_hold_more_adds_than_allowed(most, minutes):
    pace, added = Pace(adds_per_day=most), list[datetime]()
    for minute in sorted(minutes):
        now = NOW + timedelta(minutes=minute)
        left = allowance(pace, added, now)
        waits = next_allowance(pace, added, now)
        assert (left == 0) == (waits is not None)
        if waits is not None:
            assert now < waits
            assert allowance(pace, added, waits) > 0
        added += [now] * min(left, 2)
    for at in added:
        assert sum(at <= other < at + timedelta(hours=24) for other in added) <= most


def test_an_add_counts_for_exactly_24_hours():
    pace, day = Pace(adds_per_day=1), timedelta(hours=24)
    assert allowance(pace, [NOW - day], NOW) == 1
    assert allowance(pace, [NOW - day, NOW - day / 2], NOW) == 0
    assert next_allowance(pace, [NOW - day, NOW - day / 2], NOW) == NOW + day / 2


def test_without_a_pace_everybody_may_be_added():
    assert allowance(Pace(), [NOW] * 99, NOW) is None
    assert next_allowance(Pace(), [NOW] * 99, NOW) is None


def people(house: House, *ids: int) -> None:
    house.contacts(*ids)
    house.store.audience(*ids)


def test_a_daily_portion_continues_with_the_oldest_entry_first(house):
    people(house, 8, 9)
    for id_ in (1, 2, 3):
        house.contact(id_)
    house.store.audience(1, 2, 3, 8, 9, now=NOW + timedelta(hours=1))
    pace = Pace(adds_per_day=2)
    report = house.export(pace=pace)
    assert (report.added, report.remaining, report.missing) == (2, 3, 3)
    assert report.next_at == NOW + timedelta(days=1)
    assert sorted(house.on_list()) == [8, 9]
    house.clock.now += timedelta(hours=23)
    report = house.export(pace=pace)
    assert (report.added, report.remaining, report.next_at) == (0, 3, NOW + timedelta(days=1))
    house.clock.now += timedelta(hours=1)
    report = house.export(pace=pace)
    assert (report.added, report.remaining) == (2, 1)
    house.clock.now += timedelta(hours=24)
    report = house.export(pace=pace)
    assert (report.added, report.remaining, report.next_at) == (1, 0, None)
    assert [len(post) for post in house.posts()] == [2, 2, 1]


def test_nothing_is_written_in_quiet_hours(house):
    people(house, 1, 2)
    house.export("mirror")
    people(house, 3)
    quiet = Pace(quiet_hours="12:00-13:30")
    house.sandbox.control("log/clear")
    report = house.export("mirror", pace=quiet)
    assert house.writes() == []
    assert (report.remaining, report.next_at) == (3, NOW + timedelta(minutes=90))
    house.clock.now += timedelta(minutes=90)
    report = house.export("mirror", pace=quiet)
    assert (report.added, report.removed, report.remaining, report.next_at) == (1, 2, 0, None)


def test_an_export_stops_between_batches_when_quiet_hours_begin(house):
    people(house, *range(1, 251))
    house.clock.now = NOW - timedelta(seconds=26)
    house.clock.step = timedelta(seconds=1)
    report = house.export(pace=Pace(quiet_hours="12:00-13:30"))
    assert 0 < report.added < 250
    assert report.added % 100 == 0
    assert report.remaining == 250 - report.added
    assert report.next_at == NOW + timedelta(minutes=90)
