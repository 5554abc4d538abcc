"""A service whose clock is not ours: what it has not lived through is neither read nor settled."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icontact_assets.ingest.window import Window, end_of
from icontact_assets_tests.harness import ACTIVITY, EVENTS, TODAY, Ended, Project, days_ago, only

YESTERDAY, LONG_AGO = days_ago(1), days_ago(3)
WEEK = Window(LONG_AGO, TODAY)
LAG = timedelta(hours=26)


@pytest.fixture
def project(beginning: Project) -> Project:
    beginning.sandbox.control("reset", contacts=60, messages=6, days=12)
    beginning.quick()
    return beginning


def set_clock(project: Project, at: datetime) -> None:
    """A clock that runs is told with every answer."""
    project.sandbox.control("clock", now=at.isoformat(), frozen=False)


def days_of(project: Project, result: Any, asset: str) -> set[date]:
    return {date.fromisoformat(day) for day in project.metadata(result, asset)}


def seen_in_coverage(project: Project) -> set[tuple[bool, bool]]:
    return set(project.rows(f"SELECT read, settled FROM icontact.coverage WHERE day >= DATE '{YESTERDAY}'"))


def test_days_that_the_service_has_not_reached_are_not_read(project: Project) -> None:
    set_clock(project, datetime.now(UTC) - LAG)
    listings = project.run(EVENTS, WEEK)
    activity = project.run(ACTIVITY, WEEK)
    for result, asset in ((listings, "raw_messages"), (activity, "raw_activity")):
        words = Ended.of(result).red[asset]
        assert "iContact's clock is 26 h 0 min behind" in words
        assert "doctor" in words
        assert LONG_AGO in days_of(project, result, asset)
        assert not {YESTERDAY, TODAY} & days_of(project, result, asset)
    assert seen_in_coverage(project) == {(False, False)}
    assert project.stored_events() == project.true_events()

    set_clock(project, datetime.now(UTC))
    passed = project.run(EVENTS, WEEK)
    assert passed.success
    assert days_of(project, passed, "raw_messages") == days_of(project, passed, "raw_activity") == set(WEEK.days)
    assert project.rows(f"SELECT read FROM icontact.coverage WHERE day = DATE '{YESTERDAY}'") == [(True,)]
    assert project.stored_events() == project.true_events()


def test_a_service_ahead_of_us_is_read_by_our_clock(project: Project) -> None:
    set_clock(project, datetime.now(UTC) + LAG)
    assert project.run(only("sends"), WEEK).success
    [(latest,)] = project.rows("SELECT max(read_through) FROM icontact.import_coverage")
    assert latest.replace(tzinfo=UTC) <= datetime.now(UTC)


@given(
    st.datetimes(datetime(2026, 1, 2), datetime(2026, 12, 30), timezones=st.just(UTC)),
    st.timedeltas(timedelta(), timedelta(days=5)),
)
def test_a_day_is_read_no_further_than_the_service_has_come(now: datetime, behind: timedelta) -> None:
    window, through = Window(now.date() - timedelta(days=6), now.date()), now - behind
    unread = window.unread(through, now)
    assert all(day in unread or end_of(day) <= through for day in window.days[:-1])
    assert (now.date() in unread) == (through.date() < now.date())
    assert unread == window.days[len(window.days) - len(unread) :]
