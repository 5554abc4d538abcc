"""When the sensor requests an export."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from icontact_assets.exports.trigger import Attempt, Computed, Exported, Request, Skip, decide, state
from icontact_assets.settings.models import Export, Split

NOW = datetime(2026, 9, 14, 12, tzinfo=UTC)


def settings(name: str = "to_list", **options: Any) -> Export:
    return Export(**{"name": name, "label": name, "audience": "readers", "list": "5004", "mode": "add", **options})


NEWEST = Computed("77", "aaaa", complete=True)
STATE = state(settings(), [NEWEST])


def ask(newest=NEWEST, exported=None, attempts=(), *, others=None, under_way=False, now=NOW):
    audiences = {"readers": newest, **(others or {})}
    return decide(settings(), audiences, exported, attempts, under_way=under_way, now=now)


def exported(state=STATE, compared_at=NOW, **rest):
    return Exported(state, compared_at, **rest)


def test_the_first_tick_exports_the_present_membership():
    assert ask() == Request(
        "to_list-77-1",
        {
            "icontact_assets/export": "to_list",
            "icontact_assets/audience_storage_id": "77",
            "icontact_assets/attempt": "1",
        },
    )


def test_an_audience_that_was_never_computed_is_not_exported():
    assert ask(newest="It waits.") == Skip("The audience readers has not been computed yet. It waits.")


def test_once_per_change():
    assert isinstance(ask(exported=exported()), Skip)
    assert isinstance(ask(newest=Computed("78", "aaaa", complete=True), exported=exported()), Skip)
    assert isinstance(ask(newest=Computed("78", "bbbb", complete=True), exported=exported()), Request)


def test_a_dry_run_or_another_list_is_not_this_export():
    assert isinstance(ask(exported=exported(state(settings(mode="dry_run"), [NEWEST]))), Request)
    assert isinstance(ask(exported=exported(state(settings(list="5003"), [NEWEST]))), Request)


def test_an_audience_of_incomplete_data_is_not_exported():
    assert ask(newest=Computed("77", "aaaa", complete=False)) == Skip(
        "The audience readers was kept as it was: its data is not read completely."
    )


def test_every_audience_that_decides_must_be_computed_from_complete_data():
    done = Computed("78", "bbbb", complete=True)
    kept = Computed("78", "bbbb", complete=False)
    waits = {"customers": done, "vips": "It waits."}
    assert ask(others=waits) == Skip("The audience vips has not been computed yet. It waits.")
    assert ask(others={"customers": kept, "vips": done}) == Skip(
        "The audience customers was kept as it was: its data is not read completely."
    )


def test_a_change_of_any_audience_that_decides_starts_the_export_again():
    last = exported(state(settings(), [Computed("1", text, complete=True) for text in ("aaaa", "bbbb", "cccc")]))
    for versions, due in (("bbbb", "cccc"), False), (("bbbb", "dddd"), True), (("cccc", "bbbb"), True):
        others = {name: Computed("1", text, complete=True) for name, text in zip("bc", versions, strict=True)}
        assert isinstance(ask(exported=last, others=others), Request) == due
    assert isinstance(ask(exported=last), Request)
    # The newest materialization of its own audience is the same: the next attempt has a key of its own.
    attempts = [Attempt("77", 1, NOW - timedelta(days=1), succeeded=True)]
    others = {name: Computed("1", "new", complete=True) for name in "bc"}
    assert ask(exported=last, attempts=attempts, others=others).run_key == "to_list-77-2"


def split(start: int, end: int) -> Split:
    return Split(**{"of": "test", "from": start, "to": end})


def test_settings_that_decide_who_is_exported_make_another_target_and_others_do_not():
    first = settings("first", audience="vips", exclude=("staff",), split=split(0, 50), holdout=Decimal(5))
    before = [
        (),
        (first,),
        *(
            (first.model_copy(update=change),)
            for change in (
                {"audience": "others"},
                {"exclude": ()},
                {"split": None},
                {"split": split(0, 51)},
                {"holdout": Decimal(6)},
            )
        ),
        (first, settings("second")),
    ]
    options: list[dict[str, Any]] = [
        {"audience": "others"},
        {"exclude": ("customers",)},
        {"exclude": ("customers", "staff")},
        {"split": split(0, 50)},
        {"split": split(50, 100)},
        {"holdout": Decimal(10)},
        *({"before": exports} for exports in before),
    ]
    assert len({state(settings(**option), [NEWEST]) for option in options}) == len(options)
    elsewhere = first.model_copy(update={"list": "9"})
    assert state(settings(before=(first,)), []) == state(settings(before=(elsewhere,)), [])
    assert state(settings(recheck=3), [NEWEST]) == STATE


def test_what_remains_is_done_when_its_time_has_come():
    at = NOW + timedelta(hours=3)
    waiting = exported(remaining=7, next_at=at)
    assert ask(exported=waiting) == Skip("7 people remain; the export resumes at 2026-09-14 15:00 UTC.")
    assert isinstance(ask(exported=waiting, now=at), Request)
    assert isinstance(ask(exported=exported(remaining=7)), Request)


def test_a_list_that_was_not_compared_for_long_is_compared_again():
    last = exported()
    assert ask(exported=last, now=NOW + timedelta(hours=23, minutes=59)) == Skip(
        "The audience is as it was last exported; the list is compared again at 2026-09-15 12:00 UTC."
    )
    assert isinstance(ask(exported=last, now=NOW + timedelta(hours=24)), Request)
    late = exported(remaining=7, next_at=NOW + timedelta(days=3))
    assert isinstance(ask(exported=late, now=NOW + timedelta(hours=24)), Request)


def test_never_while_one_is_queued_or_running():
    assert isinstance(ask(under_way=True), Skip)


def test_a_failure_is_tried_again_with_back_off_from_5_minutes_to_6_hours():
    ended, waits, attempts = NOW, [], []
    for number in range(1, 12):
        attempts.append(Attempt("77", number, ended, succeeded=False))
        wait = next(
            minutes
            for minutes in range(1, 1000)
            if isinstance(ask(attempts=attempts, now=ended + timedelta(minutes=minutes)), Request)
        )
        waits.append(wait)
        ended += timedelta(minutes=wait)
        assert ask(attempts=attempts, now=ended).run_key == f"to_list-77-{number + 1}"
    assert waits == [5, 10, 20, 40, 80, 160, 320, 360, 360, 360, 360]


def test_a_newly_computed_audience_does_not_cut_the_wait_short():
    attempts = [Attempt("77", 1, NOW, succeeded=False)]
    decision = ask(newest=Computed("78", "bbbb", complete=True), attempts=attempts, now=NOW + timedelta(minutes=1))
    assert decision == Skip("The export failed 1 time in a row; it is retried at 2026-09-14 12:05 UTC.")


def test_a_success_ends_the_row_of_failures():
    attempts = [
        Attempt("76", 2, NOW - timedelta(minutes=1), succeeded=True),
        Attempt("76", 1, NOW - timedelta(minutes=2), succeeded=False),
    ]
    assert isinstance(ask(attempts=attempts), Request)


@given(st.lists(st.integers(1, 30), unique=True, min_size=1), st.data())
def test_no_key_is_ever_used_twice_whatever_runs_were_deleted(numbers, data):
    kept = data.draw(st.permutations(numbers))
    attempts = [Attempt("77", number, NOW - timedelta(days=2, minutes=-number), succeeded=False) for number in kept]
    assert ask(attempts=attempts).run_key not in {f"to_list-77-{number}" for number in numbers}
