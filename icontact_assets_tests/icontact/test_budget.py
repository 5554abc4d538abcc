"""The request budget: whatever limits are set hold together, and whatever became of its file never exceeds them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import rates
from icontact_assets.icontact.errors import BudgetSpent, BudgetUnusable

LIMIT = st.integers(1, 12)
INTERVAL = st.integers(1, 40).map(lambda seconds: seconds * 1000)


@given(st.lists(st.tuples(LIMIT, INTERVAL), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_the_rates_that_are_kept_hold_all_that_are_wanted(wanted: list[tuple[int, int]]) -> None:
    kept = rates(wanted)
    # Requests as early as the kept rates allow.
    sent: list[int] = []
    for _ in range(40):
        at = sent[-1] if sent else 0
        for rate in kept:
            if len(sent) >= rate.limit:
                at = max(at, sent[-rate.limit] + rate.interval)
        sent.append(at)
    for limit, interval in wanted:
        assert all(sent[n + limit] - sent[n] >= interval for n in range(len(sent) - limit))


@given(st.sampled_from([0, 0.000012, 0.01, 1 / 60, 0.5, 2.5, 10_000]), *[st.sampled_from([0, 1, 5, 60, 10**9])] * 2)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_limits_make_a_budget(tmp_path: Path, per_second: float, per_minute: int, per_day: int) -> None:
    budget = Budget(tmp_path, "a", per_second=per_second, per_minute=per_minute, per_day=per_day)
    left = budget.left_today()
    assert left is None or 0 <= left <= per_day


def test_a_day_below_a_minute_waits_for_the_day(tmp_path: Path) -> None:
    with time_machine.travel(datetime(2026, 9, 14, 12, tzinfo=UTC), tick=False) as traveller:
        budget = Budget(tmp_path, "a", per_second=0, per_minute=60, per_day=3)
        for _ in range(3):
            budget.take()
            traveller.shift(600)
        with pytest.raises(BudgetSpent) as caught:
            budget.take()
        assert caught.value.resumes_at.replace(microsecond=0) == datetime(2026, 9, 15, 12, tzinfo=UTC)
        assert "budget of 3 requests is used up" in str(caught.value)
        traveller.move_to(caught.value.resumes_at + timedelta(seconds=1))
        budget.take()
        assert budget.left_today() == 0


def text(path: Path) -> None:
    path.write_text("no budget" * 500)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:8192] = os.urandom(4096)
    path.write_bytes(content)


def of_another_program(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE rate_bucket (something_else)")
    connection.close()


@pytest.mark.parametrize("damage", [text, cut, empty, garbled, of_another_program])
def test_a_damaged_budget_counts_as_spent_until_the_window_has_passed(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    limits = {"per_second": 0, "per_minute": 10, "per_day": 3}
    now = datetime(2026, 9, 14, 12, tzinfo=UTC)
    with time_machine.travel(now, tick=False) as traveller:
        Budget(tmp_path, "a", **limits).take()
        (path,) = tmp_path.glob("*.sqlite")
        damage(path)
        content = path.read_bytes()
        for _ in range(2):
            budget = Budget(tmp_path, "a", **limits)
            assert budget.left_today() == 0
            with pytest.raises(BudgetSpent, match=r"was damaged and is now a\.sqlite\.damaged-") as caught:
                budget.take()
            assert caught.value.resumes_at == now + timedelta(days=1)
        (aside,) = tmp_path.glob("*.damaged-*")
        assert aside.read_bytes() == content
        traveller.shift(timedelta(days=1, seconds=1))
        assert budget.left_today() == 3
        budget.take()
        assert Budget(tmp_path, "a", **limits).left_today() == 2


def locked(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.mkdir(),
        os.mkfifo,
        lambda path: path.with_suffix(".lock").mkdir(),
        lambda path: (path.parent.rmdir(), path.parent.write_text("a file")),
    ],
)
def test_what_cannot_be_used_is_named_and_nothing_is_sent(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    path = tmp_path / "budget" / "a.sqlite"
    path.parent.mkdir()
    spoil(path)
    with pytest.raises(BudgetUnusable, match="cannot be used, so nothing is sent") as caught:
        Budget(path.parent, "a", per_day=3)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_budget_that_another_program_has_open_is_not_taken_for_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = Budget(tmp_path, "a", per_second=0, per_day=3)
    monkeypatch.setattr(
        sqlite3, "connect", lambda path, connect=sqlite3.connect, **more: connect(path, timeout=0.05, **more)
    )
    other = locked(tmp_path / "a.sqlite")
    with pytest.raises(BudgetUnusable, match="no other program has it open"):
        Budget(tmp_path, "a", per_second=0, per_day=3)
    other.rollback()
    budget.take()
    assert Budget(tmp_path, "a", per_second=0, per_day=3).left_today() == 2


def test_a_budget_that_breaks_while_it_is_used_is_named(tmp_path: Path) -> None:
    budget = Budget(tmp_path, "a", per_second=0, per_day=3)
    budget.take()
    text(tmp_path / "a.sqlite")
    with pytest.raises(BudgetUnusable, match="Run again: a damaged file is put aside then"):
        budget.take()
