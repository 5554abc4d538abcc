"""A server that answers with bytes of ours, whatever they are: what no sandbox and no HTTP library would send."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

Answer = bytes | Callable[[], Iterator[bytes]]


def http(body: bytes = b"", *headers: str, status: str = "200 OK", length: bool = True) -> bytes:
    """An answer over HTTP with a body as it is."""
    lines = [f"HTTP/1.1 {status}", *headers, *([f"Content-Length: {len(body)}"] if length else [])]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body


def drip(start: bytes, piece: bytes = b" ", pause: float = 0.05) -> Callable[[], Iterator[bytes]]:
    """The start at once, then a piece now and then, for ever."""

    def pieces() -> Iterator[bytes]:
        yield start
        while True:
            time.sleep(pause)
            yield piece

    return pieces


def endless(start: bytes, piece: bytes) -> Callable[[], Iterator[bytes]]:
    """The start, then the same piece for ever, as fast as it is taken."""

    def pieces() -> Iterator[bytes]:
        yield start
        while True:
            yield piece

    return pieces


class Hostile:
    """Listens on loopback. `answers` are given in turn, the last of them from then on; `requests` are those received."""

    def __init__(self, *answers: Answer) -> None:
        self.answers: list[Answer] = list(answers)
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/icp"
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Closed alone, it would still be waited on.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def answer(self, request: bytes) -> Answer:
        """The answer to a request."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                received = connection.recv(65536)
                if not received:
                    return
                request += received
            self.requests.append(request)
            answer = self.answer(request)
            for piece in [answer] if isinstance(answer, bytes) else answer():
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            # Closed at once, what was sent could be lost to a reset.
            connection.settimeout(1)
            connection.recv(65536)
