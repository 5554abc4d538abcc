"""HTTP with bounds: how long an answer may take, how many bytes it may have. What an answer says is not known here."""

from __future__ import annotations

import http.client
import http.cookiejar
import io
import re
import socket
import time
import zlib
from collections.abc import Iterator
from typing import Any

import requests
from requests.adapters import HTTPAdapter

_CHUNK = 1 << 16
_HEADERS = 1 << 20
"""Bytes that status line, headers and what frames a body may have beside it."""


_TOO_SLOW = "the answer was not at its end in time"
_NO_COOKIES = http.cookiejar.DefaultCookiePolicy(allowed_domains=[])


class Unusable(Exception):
    """An answer that goes beyond its bounds, or is packed in a way that cannot be undone. The text says how."""


class TooLarge(Unusable):
    """It has more bytes than allowed, as sent or unpacked."""


class TooSlow(Unusable):
    """It was not at its end in time."""


class _Bounded(io.RawIOBase):
    """The bytes of a connection until `deadline` (monotonic), at most `most` of them."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float, most: int) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self._most = most
        self._left = most + _HEADERS
        self._longest = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TooSlow(_TOO_SLOW)
        if self._left < 0:
            raise TooLarge(_too_large(self._most))
        self._sock.settimeout(remaining if self._longest is None else min(remaining, self._longest))
        try:
            count: int = self._raw.readinto(buffer)
        except TimeoutError:
            if time.monotonic() < self._deadline:
                raise
            raise TooSlow(_TOO_SLOW) from None
        self._left -= count
        return count

    def close(self) -> None:
        if self._sock.fileno() != -1:
            # The next request on this connection is sent under the same time-out.
            self._sock.settimeout(self._longest)
        self._raw.close()
        super().close()


class BoundedAdapter(HTTPAdapter):
    """Ends an answer at `deadline` (monotonic; set it before each request) and at `most` bytes, headers among them.

    The time-outs of requests bound the wait for the next byte. A server that sends a byte now and then, be it of the
    status line, would be waited for without end.
    """

    def __init__(self, most: int) -> None:
        self.deadline = 0.0
        self._most = most
        super().__init__(pool_connections=1, pool_maxsize=1)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        stock = pool.ConnectionCls
        if "response_class" not in vars(stock):
            pool.ConnectionCls = type(stock.__name__, (stock,), {"response_class": staticmethod(self._answer)})
        return pool

    def _answer(self, sock: socket.socket, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:
        answer = http.client.HTTPResponse(sock, *args, **kwargs)
        raw = answer.fp.detach()
        answer.fp = io.BufferedReader(_Bounded(raw, sock, self.deadline, self._most), _CHUNK)
        return answer


class Http(requests.Session):
    """A session of requests that reads no answer by itself, follows nothing and keeps no cookie."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.bounds = BoundedAdapter(most)
        self.mount("http://", self.bounds)
        self.mount("https://", self.bounds)
        self.cookies.set_policy(_NO_COOKIES)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: requests would read the whole body of a redirect, and stumble over an address that is none."""


def content(response: requests.Response, most: int, whole: bytearray) -> None:
    """Read the unpacked body into `whole`, which holds what came of it if that fails. Raises Unusable, and what
    requests and urllib3 raise."""
    packing = response.headers.get("Content-Encoding", "").strip().lower()
    chunks = response.raw.stream(_CHUNK, decode_content=False)
    if packing in ("gzip", "x-gzip", "deflate"):
        chunks = _unpacked(chunks, packing)
    elif packing not in ("", "identity"):
        raise Unusable(f"the answer is compressed as {_shown(packing)}, which was not asked for")
    for chunk in chunks:
        whole += chunk
        if len(whole) > most:
            raise TooLarge(_too_large(most))


def _unpacked(chunks: Iterator[bytes], packing: str) -> Iterator[bytes]:
    """What gzip or zlib packed, in small pieces whatever the ratio. A gzip file may have several members."""
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
    begun = False
    try:
        for chunk in chunks:
            while chunk:
                if decoder.eof:
                    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
                begun = True
                yield decoder.decompress(chunk, _CHUNK)
                chunk = decoder.unconsumed_tail or decoder.unused_data
    except zlib.error:
        raise Unusable(f"the answer is not valid {packing}") from None
    if begun and not decoder.eof:
        raise Unusable(f"the {packing} of the answer is truncated")


def _too_large(most: int) -> str:
    return f"the answer has more than {most >> 20} MB (ICONTACT_ANSWER_MB sets another bound)"


def _shown(packing: str) -> str:
    return re.sub(r"[^a-z0-9-]", "?", packing[:20])
