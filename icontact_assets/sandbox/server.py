"""Listens on loopback: HTTP in, the service's answer out through the planned faults, and every request into the log."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any, cast
from urllib.parse import parse_qsl

import orjson
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from icontact_assets.sandbox.control import Control, ControlError, State
from icontact_assets.sandbox.faults import (
    Cut,
    Delay,
    Edit,
    Envelope,
    Fields,
    Omit,
    Planned,
    Reply,
    Request,
    Reset,
    Slow,
    tweak,
)
from icontact_assets.sandbox.reading import Answer, Tweaks
from icontact_assets.sandbox.times import utc_text

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Transmit = Callable[[Any], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Transmit], Awaitable[None]]
PREFIX = "/icp"
CONTROL = "/_control/"
TRANSPORT = "sandbox.transport"


class PortTaken(Exception):
    """The sandbox cannot listen on the port. The text says the remedy."""


class _Protocol(HttpToolsProtocol):
    """Hands the connection to the application, so that a fault can break it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast(dict[str, Any], self.scope)[TRANSPORT] = self.transport


class Application:
    """The ASGI application over one state."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.control = Control(state)

    async def __call__(self, scope: Scope, receive: Receive, send: Transmit) -> None:
        method, path = scope["method"], scope["path"]
        body = await body_of(receive) if method not in ("GET", "DELETE") else b""
        if path.startswith(CONTROL):
            await self._control(scope, path.removeprefix(CONTROL), body, send)
        elif path == PREFIX or path.startswith(PREFIX + "/"):
            await self._service(scope, method, path.removeprefix(PREFIX), body, send)
        else:
            await _send(send, Answer(404, orjson.dumps({"errors": ["Not Found"]})), "application/json")

    async def _control(self, scope: Scope, path: str, body: bytes, send: Transmit) -> None:
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        try:
            answer = Answer(
                200,
                orjson.dumps(self.control.answer(scope["method"], path, query, body), option=orjson.OPT_NON_STR_KEYS),
            )
        except (ControlError, ValueError) as problem:
            answer = Answer(400, orjson.dumps({"error": str(problem)}))
        await _send(send, answer, "application/json")

    async def _service(self, scope: Scope, method: str, path: str, body: bytes, send: Transmit) -> None:
        state = self.state
        raw_query = scope["query_string"].decode("latin-1")
        pairs = parse_qsl(raw_query, keep_blank_values=True)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request = Request(method, path, "&".join(f"{name}={value}" for name, value in pairs), body)
        entry = {
            "n": next(state.numbers),
            "time": time.time(),
            "clock": utc_text(state.world.clock.now()),
            "method": method,
            "path": path,
            "query": request.query,
            "status": None,
            "body": body.decode("utf-8", "replace") if body else None,
        }
        state.log.append(entry)
        due = state.plans.due(request) if state.plans.planned else []
        answer = self._answer(request, dict(pairs), headers, due)
        # A reset leaves the status empty: no answer was given.
        entry["status"] = None if answer is None else answer.status
        for strike in due:
            if isinstance(strike.fault.do, Delay):
                await asyncio.sleep(strike.fault.do.seconds)
        transport = scope[TRANSPORT]
        if answer is None:
            await reset(transport)
            return
        switches = state.world.switches
        if not state.world.clock.frozen:
            # A clock that stands still tells nobody the time.
            answer.headers.setdefault("Date", formatdate(state.world.clock.now(), usegmt=True))
        if switches.gzip and len(answer.body) > 1000 and "gzip" in headers.get("accept-encoding", ""):
            answer.body = gzip.compress(answer.body, 1)
            answer.headers["Content-Encoding"] = "gzip"
        cut = next((strike.fault.do for strike in due if isinstance(strike.fault.do, Cut)), None)
        slow = next((strike.fault.do for strike in due if isinstance(strike.fault.do, Slow)), None)
        await _send(send, answer, switches.content_type, cut, slow)
        if cut is not None and not cut.clean:
            # What was written still goes out before the connection closes.
            transport.close()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    def _answer(
        self, request: Request, query: dict[str, str], headers: dict[str, str], due: list[Planned]
    ) -> Answer | None:
        """The answer after everything planned faults do to its content. None is a reset."""
        tweaks = Tweaks()
        instead: Reply | Reset | None = None
        for strike in due:
            action = strike.fault.do
            tweak(tweaks, action)
            if isinstance(action, Edit) and action.when == "before":
                self._edit(action)
            if isinstance(action, Reply | Reset) and strike.fault.reply is None and instead is None:
                instead = action
        answer: Answer | None = None
        if instead is None or instead.apply:
            with self.state.world.clock.held():
                answer = self.state.service.answer(request.method, request.path, query, headers, request.body, tweaks)
                if request.method != "GET" and answer.status == 200:
                    self.state.note(request.method, request.path, request.body)
            due[:] = [strike for strike in due if strike.hits(answer.body)]
        for strike in due:
            strike.struck += 1
            action = strike.fault.do
            if isinstance(action, Edit) and action.when == "after":
                self._edit(action)
            if isinstance(action, Fields | Envelope | Omit) and answer is not None:
                answer.body = action.reshaped(answer.body)
            if isinstance(action, Reply | Reset) and instead is None:
                instead = action
        if isinstance(instead, Reset):
            return None
        return answer if instead is None else instead.answer()

    def _edit(self, action: Edit) -> None:
        for path, values in action.steps():
            self.control.edit(path, values)


async def body_of(receive: Receive) -> bytes:
    parts = []
    while True:
        event = await receive()
        parts.append(event.get("body", b""))
        if not event.get("more_body"):
            return b"".join(parts)


async def _send(
    send: Transmit, answer: Answer, content_type: str, cut: Cut | None = None, slow: Slow | None = None
) -> None:
    body = answer.body
    whole = len(body)
    if cut is not None:
        body = body[: int(whole * cut.keep)]
        whole = len(body) if cut.clean else whole
    headers = [
        (b"content-type", (answer.content_type or content_type).encode()),
        (b"content-length", str(whole).encode()),
        *((name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if slow is not None:
        for start in range(0, len(body), slow.chunk):
            await send({"type": "http.response.body", "body": body[start : start + slow.chunk], "more_body": True})
            await asyncio.sleep(slow.pause)
        body = b""
    await send(
        {
            "type": "http.response.body",
            "body": body,
            "more_body": len(body) < whole and cut is not None and not cut.clean,
        }
    )


async def reset(transport: Any) -> None:
    """Ends the connection with RST instead of FIN, and lets uvicorn notice before it would answer 500."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


class _Server(uvicorn.Server):
    """Says when it is ready: a signal that comes before it heeds signals would be lost."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def serve(application: Asgi, port: int, announce: Callable[[str], None]) -> None:
    """Serves an application on 127.0.0.1 until SIGINT or SIGTERM. Port 0 takes a free one.

    `announce` gets the base address once it listens and heeds signals. Raises PortTaken.
    """
    try:
        listener = socket.create_server(("127.0.0.1", port), backlog=256)
    except OSError as error:
        raise PortTaken(f"Port {port} cannot be used: {error.strerror}. Choose another with --port.") from error
    address = f"http://127.0.0.1:{listener.getsockname()[1]}{PREFIX}"
    _Server(config_of(application), lambda: announce(address)).run(sockets=[listener])


def config_of(application: Asgi) -> uvicorn.Config:
    """How an application is served, wherever it listens."""
    return uvicorn.Config(
        application, http=_Protocol, lifespan="off", interface="asgi3", log_level="error", access_log=False,
        proxy_headers=False, server_header=False, date_header=False, timeout_keep_alive=60, timeout_graceful_shutdown=1,
    )  # fmt: skip
