"""Work in threads: all of it, the first error, and an interruption that waits for nobody."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from icontact_assets.ingest.threads import in_threads


def test_each_item_is_worked_on_once_and_told() -> None:
    worked, told = list[int](), list[int]()
    in_threads(3, worked.append, range(50), told.append, tick=10)
    assert sorted(worked) == list(range(50))
    assert told == list(range(1, 51))
    in_threads(3, worked.append, (), told.append, tick=10)
    assert len(worked) == 50


def test_an_error_is_raised_when_what_has_begun_has_ended() -> None:
    begun, ended = list[int](), list[int]()
    both = threading.Barrier(2)

    def work(item: int) -> None:
        begun.append(item)
        if item < 2:
            both.wait()
        if item == 0:
            raise ValueError("zero")
        time.sleep(0.01)
        ended.append(item)

    with pytest.raises(ValueError, match="zero"):
        in_threads(2, work, range(1000), lambda _: None, tick=10)
    assert sorted(begun) == [0, *sorted(ended)]
    assert len(begun) < 1000


@pytest.mark.usefixtures("heeds_signals")
def test_an_interruption_does_not_wait_for_an_answer() -> None:
    answer, begun = threading.Event(), list[int]()

    def work(item: int) -> None:
        begun.append(item)
        if len(begun) == 2:
            signal.raise_signal(signal.SIGINT)
        answer.wait()

    with pytest.raises(KeyboardInterrupt):
        in_threads(2, work, range(100), lambda _: None, tick=10)
    waiting = [thread for thread in threading.enumerate() if thread.daemon and thread.name.endswith("(run)")]
    assert len(waiting) == 2
    answer.set()
    for thread in waiting:
        thread.join()
    assert sorted(begun) == [0, 1]
