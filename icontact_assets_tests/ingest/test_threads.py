"""Work in threads: all of it, the first error, and an interruption that waits for nobody."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence

import pytest

from icontact_assets.ingest.threads import in_threads


def test_each_item_is_worked_on_once_and_told() -> None:
    worked, told = list[int](), list[int]()

    def work(item: int) -> Sequence[int]:
        worked.append(item)
        return ()

    in_threads(3, work, range(50), lambda: told.append(len(worked)), tick=10)
    assert sorted(worked) == list(range(50))
    assert len(told) == 50
    in_threads(3, work, (), lambda: told.append(len(worked)), tick=10)
    assert len(worked) == len(told) == 50


def test_what_follows_from_an_item_comes_before_the_others() -> None:
    worked = list[str]()

    def work(item: str) -> Sequence[str]:
        worked.append(item)
        return [f"{item}1", f"{item}2"] if len(item) < 2 else ()

    in_threads(1, work, ["a", "b"], lambda: None, tick=10)
    assert worked == ["a", "a1", "a2", "b", "b1", "b2"]


def test_idle_threads_take_what_follows_from_the_last_item() -> None:
    together = threading.Barrier(3, timeout=10)

    def work(item: int) -> Sequence[int]:
        if item:
            together.wait()
            return ()
        time.sleep(0.05)
        return (1, 2, 3)

    in_threads(3, work, [0], lambda: None, tick=10)


def test_an_error_is_raised_when_what_has_begun_has_ended() -> None:
    begun, ended = list[int](), list[int]()
    both = threading.Barrier(2)

    def work(item: int) -> Sequence[int]:
        begun.append(item)
        if item < 2:
            both.wait()
        if item == 0:
            raise ValueError("zero")
        time.sleep(0.01)
        ended.append(item)
        return ()

    with pytest.raises(ValueError, match="zero"):
        in_threads(2, work, range(1000), lambda: None, tick=10)
    assert sorted(begun) == [0, *sorted(ended)]
    assert len(begun) < 1000


@pytest.mark.usefixtures("heeds_signals")
def test_an_interruption_does_not_wait_for_an_answer() -> None:
    answer, begun = threading.Event(), list[int]()

    def work(item: int) -> Sequence[int]:
        begun.append(item)
        if len(begun) == 2:
            signal.raise_signal(signal.SIGINT)
        answer.wait()
        return ()

    with pytest.raises(KeyboardInterrupt):
        in_threads(2, work, range(100), lambda: None, tick=10)
    waiting = [thread for thread in threading.enumerate() if thread.daemon and thread.name.endswith("(run)")]
    assert len(waiting) == 2
    answer.set()
    for thread in waiting:
        thread.join()
    assert sorted(begun) == [0, 1]
