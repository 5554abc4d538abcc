"""Work in several threads that can be interrupted: a process that is to stop waits for no response of iContact."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")


def in_threads(
    count: int, work: Callable[[_Item], None], items: Sequence[_Item], done: Callable[[int], None], *, tick: float
) -> None:
    """Do the work for each item. `done` is called here with the number done, after each and every `tick` seconds.

    What the work or `done` raises is raised when the work that has begun has ended. No other is begun. An interruption
    (KeyboardInterrupt, Dagster's) is raised at once: a thread then ends with its item or with the process, whichever
    is first.
    """
    todo, ended = queue.SimpleQueue[_Item](), queue.SimpleQueue[Exception | None]()
    stopped = threading.Event()
    for item in items:
        todo.put(item)

    def run() -> None:
        while not stopped.is_set():
            try:
                item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                work(item)
            except Exception as error:  # noqa: BLE001 -- raised in the other thread
                ended.put(error)
            else:
                ended.put(None)

    # An executor of the standard library has threads that are waited for when the process ends.
    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(count, len(items)))]
    finished = 0
    try:
        for thread in threads:
            thread.start()
        while finished < len(items):
            try:
                error = ended.get(timeout=tick)
            except queue.Empty:
                error = None
            else:
                finished += 1
            if error is not None:
                raise error
            done(finished)
    except Exception:
        stopped.set()
        for thread in threads:
            thread.join()
        raise
    finally:
        stopped.set()
