"""The request budget: how long a request waits, when it ends a run, and what a pause holds back."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icontact_assets.icontact.budget import LONGEST_WAIT, Budget
from icontact_assets.icontact.count import LONGEST_PAUSE, CountFile
from icontact_assets.icontact.errors import AskedToWait, BudgetSpent, BudgetUnusable
from icontact_assets.plain import mask


class Slept(Exception):
    """Raised in place of a wait."""


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        raise Slept

    monkeypatch.setattr(time, "sleep", sleep)
    return waited


def budget(home: Path, account: str = "a", *, second: float = 0, minute: int = 0, day: int = 0) -> Budget:
    return Budget(CountFile(home, account), per_second=second, per_minute=minute, per_day=day)


@pytest.mark.parametrize(
    ("second", "minute", "free", "wait"), [(0.02, 0, 1, 50), (0, 3, 3, 60), (50, 2, 2, 60), (0.5, 9, 1, 2)]
)
def test_what_is_above_a_limit_waits_its_interval(
    tmp_path: Path, waits: list[float], second: float, minute: int, free: int, wait: float
) -> None:
    for _ in range(free):
        budget(tmp_path, second=second, minute=minute).take()
    with pytest.raises(Slept):
        budget(tmp_path, second=second, minute=minute).take()
    assert wait - 20 < waits[0] <= wait


def test_without_limits_nothing_waits_and_nothing_is_counted(tmp_path: Path, waits: list[float]) -> None:
    free = budget(tmp_path)
    for _ in range(200):
        free.take()
    assert (waits, free.left_today()) == ([], None)
    assert budget(tmp_path, second=100).left_today() is None


def test_each_account_has_its_own_day(tmp_path: Path) -> None:
    budget(tmp_path, "a", day=1).take()
    assert (budget(tmp_path, "a", day=1).left_today(), budget(tmp_path, "b", day=1).left_today()) == (0, 1)
    with pytest.raises(BudgetSpent, match="The day's budget of 1 requests"):
        budget(tmp_path, "a", day=1).take()
    budget(tmp_path, "b", day=1).take()


@pytest.mark.parametrize("limits", [{}, {"second": 9.0}, {"day": 9}])
def test_a_long_pause_ends_a_run_and_a_short_one_is_waited_for(
    tmp_path: Path, waits: list[float], limits: dict[str, float]
) -> None:
    budget(tmp_path, **limits).hold(timedelta(seconds=LONGEST_WAIT - 5))  # type: ignore[arg-type]
    with pytest.raises(Slept):
        budget(tmp_path, **limits).take()  # type: ignore[arg-type]
    assert LONGEST_WAIT - 10 < waits[0] <= LONGEST_WAIT - 5
    pause = timedelta(seconds=LONGEST_WAIT + 5)
    budget(tmp_path, **limits).hold(pause)  # type: ignore[arg-type]
    with pytest.raises(AskedToWait) as caught:
        budget(tmp_path, **limits).take()  # type: ignore[arg-type]
    until = caught.value.resumes_at
    assert abs(until - datetime.now(UTC) - pause) < timedelta(seconds=20)
    assert f"before {until:%Y-%m-%d %H:%M:%S} UTC" in str(caught.value)
    budget(tmp_path, "another", **limits).take()  # type: ignore[arg-type]


def test_a_pause_is_never_shortened_and_ends(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    held = budget(tmp_path)
    held.hold(timedelta(hours=2))
    held.hold(timedelta(hours=1))
    with pytest.raises(AskedToWait) as caught:
        held.take()
    assert abs(caught.value.resumes_at - now - timedelta(hours=2)) < timedelta(minutes=1)
    (file,) = tmp_path.glob("*.not-before")
    assert file.stat().st_mode & 0o077 == 0
    file.write_text((now - timedelta(seconds=1)).isoformat())
    held.take()


@pytest.mark.parametrize("content", ["", "soon", "\0" * 100, "9999-12-31T23:59:59-14:00"])
def test_a_damaged_pause_counts_as_the_longest(tmp_path: Path, content: str) -> None:
    held = budget(tmp_path)
    held.hold(timedelta())
    (file,) = tmp_path.glob("*.not-before")
    file.write_text(content)
    began = datetime.now(UTC) - timedelta(hours=3)
    os.utime(file, (began.timestamp(), began.timestamp()))
    with pytest.raises(AskedToWait) as caught:
        held.take()
    assert abs(caught.value.resumes_at - began - LONGEST_PAUSE) < timedelta(seconds=1)


def test_a_pause_that_cannot_be_kept_is_named(tmp_path: Path) -> None:
    held = budget(tmp_path)
    held.hold(timedelta())
    (file,) = tmp_path.glob("*.not-before")
    file.unlink()
    file.mkdir()
    with pytest.raises(BudgetUnusable, match=r"a\.not-before cannot be used, so nothing is sent"):
        held.take()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("ada@example.com", "<address>"),
        ("<ada@example.com>, 'bob@b.example'; (c@d)", "<<address>>, '<address>'; (<address>)"),
        ("mailto:ada@example.com:25", "mailto:<address>:25"),
        ('"ada l"@example.com and @example.com and ada@', '"ada l"@example.com and @example.com and ada@'),
        ("a@b@c", "<address>@c"),
        ("é.ü@bücher.example!", "<address>"),
    ],
)
def test_addresses_are_masked_wherever_they_stand(text: str, masked: str) -> None:
    assert mask(text) == masked


@given(st.text(st.sampled_from("ab@ <>()\"',;:.é"), max_size=40))
def test_masking_in_linear_time_finds_what_the_plain_expression_finds(text: str) -> None:
    assert mask(text) == re.sub(r"[^\s@<>()\"',;:]+@[^\s@<>()\"',;:]+", "<address>", text)
