"""The request budget: how long a request waits, when it ends a run, and what a pause holds back."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icontact_assets.icontact.budget import LONGEST_WAIT, Budget
from icontact_assets.icontact.count import LONGEST_PAUSE, Count, CountFile
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


Counts = Callable[[str], Count]


@pytest.fixture(params=["file", pytest.param("lake", marks=pytest.mark.lake)])
def counts(request: pytest.FixtureRequest, tmp_path: Path) -> Counts:
    """The counts of accounts, each opened anew: in a folder, and in a catalog."""
    if request.param == "file":
        return lambda account: CountFile(tmp_path, account)
    from icontact_assets.catalog import Catalog
    from icontact_assets.icontact.count_table import CountTable

    postgres = request.getfixturevalue("postgres")
    conninfo = postgres.conninfo(postgres.database())
    return lambda account: CountTable(Catalog(conninfo), account)


def budget(counts: Counts, account: str = "a", *, second: float = 0, minute: int = 0, day: int = 0) -> Budget:
    return Budget(counts(account), per_second=second, per_minute=minute, per_day=day)


@pytest.fixture
def file_counts(tmp_path: Path) -> Counts:
    return lambda account: CountFile(tmp_path, account)


@pytest.mark.parametrize(
    ("second", "minute", "free", "wait"), [(0.02, 0, 1, 50), (0, 3, 3, 60), (50, 2, 2, 60), (0.5, 9, 1, 2)]
)
def test_what_is_above_a_limit_waits_its_interval(
    counts: Counts, waits: list[float], second: float, minute: int, free: int, wait: float
) -> None:
    for _ in range(free):
        budget(counts, second=second, minute=minute).take()
    with pytest.raises(Slept):
        budget(counts, second=second, minute=minute).take()
    assert wait - 20 < waits[0] <= wait


def test_without_limits_nothing_waits_and_nothing_is_counted(counts: Counts, waits: list[float]) -> None:
    free = budget(counts)
    for _ in range(200):
        free.take()
    assert (waits, free.left_today()) == ([], None)
    assert budget(counts, second=100).left_today() is None


def test_each_account_has_its_own_day(counts: Counts) -> None:
    budget(counts, "a", day=1).take()
    assert (budget(counts, "a", day=1).left_today(), budget(counts, "b", day=1).left_today()) == (0, 1)
    with pytest.raises(BudgetSpent, match="The day's budget of 1 requests"):
        budget(counts, "a", day=1).take()
    budget(counts, "b", day=1).take()


@pytest.mark.parametrize("limits", [{}, {"second": 9.0}, {"day": 9}])
def test_a_long_pause_ends_a_run_and_a_short_one_is_waited_for(
    counts: Counts, waits: list[float], limits: dict[str, float]
) -> None:
    budget(counts, **limits).hold(timedelta(seconds=LONGEST_WAIT - 5))  # type: ignore[arg-type]
    with pytest.raises(Slept):
        budget(counts, **limits).take()  # type: ignore[arg-type]
    assert LONGEST_WAIT - 10 < waits[0] <= LONGEST_WAIT - 5
    pause = timedelta(seconds=LONGEST_WAIT + 5)
    budget(counts, **limits).hold(pause)  # type: ignore[arg-type]
    with pytest.raises(AskedToWait) as caught:
        budget(counts, **limits).take()  # type: ignore[arg-type]
    until = caught.value.resumes_at
    assert abs(until - datetime.now(UTC) - pause) < timedelta(seconds=20)
    assert f"before {until:%Y-%m-%d %H:%M:%S} UTC" in str(caught.value)
    budget(counts, "another", **limits).take()  # type: ignore[arg-type]


def test_a_pause_is_never_shortened_and_ends(counts: Counts) -> None:
    now = datetime.now(UTC)
    held = budget(counts)
    held.hold(timedelta(hours=2))
    held.hold(timedelta(hours=1))
    with pytest.raises(AskedToWait) as caught:
        budget(counts).take()
    assert abs(caught.value.resumes_at - now - timedelta(hours=2)) < timedelta(minutes=1)
    budget(counts, "another").hold(timedelta(milliseconds=100))
    budget(counts, "another").take()
    assert datetime.now(UTC) - now > timedelta(milliseconds=100)


def test_the_file_of_a_pause_is_its_owners(tmp_path: Path, file_counts: Counts) -> None:
    held = budget(file_counts)
    held.hold(timedelta(hours=2))
    (file,) = tmp_path.glob("*.not-before")
    assert file.stat().st_mode & 0o077 == 0
    file.write_text((datetime.now(UTC) - timedelta(seconds=1)).isoformat())
    held.take()


@pytest.mark.parametrize("content", ["", "soon", "\0" * 100, "9999-12-31T23:59:59-14:00"])
def test_a_damaged_pause_counts_as_the_longest(tmp_path: Path, file_counts: Counts, content: str) -> None:
    held = budget(file_counts)
    held.hold(timedelta())
    (file,) = tmp_path.glob("*.not-before")
    file.write_text(content)
    began = datetime.now(UTC) - timedelta(hours=3)
    os.utime(file, (began.timestamp(), began.timestamp()))
    with pytest.raises(AskedToWait) as caught:
        held.take()
    assert abs(caught.value.resumes_at - began - LONGEST_PAUSE) < timedelta(seconds=1)


def test_a_pause_that_cannot_be_kept_is_named(tmp_path: Path, file_counts: Counts) -> None:
    held = budget(file_counts)
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
