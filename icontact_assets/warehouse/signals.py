"""Queries that end when the process gets a signal."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb


@contextmanager
def interrupted_by_signals(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """SIGINT and SIGTERM end the query at hand, with the exception of their handler or KeyboardInterrupt.

    Python handles a signal when DuckDB returns, which may be an hour later: DuckDB does not look for signals while it
    waits for its own threads.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours, pythons = socket.socketpair()
    pythons.setblocking(False)
    before = signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False)

    def watch() -> None:
        while came := ours.recv(1):
            if came[0] in (signal.SIGINT, signal.SIGTERM):
                connection.interrupt()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    except RuntimeError as error:
        # DuckDB raises this in the place of what a signal raised.
        if str(error) != "Query interrupted":
            raise
        raise KeyboardInterrupt from error
    finally:
        signal.set_wakeup_fd(before)
        pythons.close()
        thread.join()
        ours.close()
