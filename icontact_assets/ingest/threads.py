"""Work in several threads that can be interrupted: a process that is to stop waits for no response of iContact."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")


def in_threads(
    count: int,
    work: Callable[[_Item], Sequence[_Item]],
    items: Sequence[_Item],
    done: Callable[[], None],
    *,
    tick: float,
) -> None:
    """Do the work for each item, and for those that it returns: these come next, before all others that wait.

    `done` is called here after each item and every `tick` seconds. What the work or `done` raises is raised when the
    work that has begun has ended. No other is begun. An interruption (KeyboardInterrupt, Dagster's) is raised at once:
    a thread then ends with its item or with the process, whichever is first.
    """
    todo, ended = deque(items), queue.SimpleQueue[int | Exception]()
    changed = threading.Condition()
    open_items, stopped = len(items), False

    def decided() -> bool:
        return bool(todo) or stopped or not open_items

    def run() -> None:
        nonlocal open_items
        while True:
            with changed:
                # What is in work in another thread may bring more.
                changed.wait_for(decided)
                if stopped or not todo:
                    return
                item = todo.popleft()
            try:
                more = work(item)
            except Exception as error:  # noqa: BLE001 -- raised in the other thread
                ended.put(error)
                more = ()
            else:
                ended.put(len(more))
            with changed:
                todo.extendleft(reversed(more))
                open_items += len(more) - 1
                changed.notify_all()

    def stop() -> None:
        nonlocal stopped
        with changed:
            stopped = True
            changed.notify_all()

    # An executor of the standard library has threads that are waited for when the process ends.
    threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    left = len(items)
    try:
        for thread in threads:
            thread.start()
        while left:
            try:
                outcome = ended.get(timeout=tick)
            except queue.Empty:
                pass
            else:
                if isinstance(outcome, Exception):
                    raise outcome
                left += outcome - 1
            done()
    except Exception:
        stop()
        for thread in threads:
            thread.join()
        raise
    finally:
        stop()
