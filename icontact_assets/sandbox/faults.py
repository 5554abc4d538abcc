"""Faults that are planned beforehand: which request they strike, and what they do to its answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from icontact_assets.sandbox.reading import Answer, Tweaks


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Reply(_Strict):
    """Another answer: a status, an HTML page, an empty body, 200 with only `errors`, a redirect.

    With `apply` the request is carried out first.
    """

    kind: Literal["reply"]
    status: int = Field(503, ge=200, le=599)
    body: Any = Field(None, description="sent as JSON")
    text: str | None = Field(None, description="sent as it is, instead of `body`")
    content_type: str | None = None
    headers: dict[str, str] = {}
    apply: bool = False

    def answer(self) -> Answer:
        content = self.text.encode() if self.text is not None else orjson.dumps(self.body)
        if self.text is None and self.body is None:
            content = orjson.dumps({"errors": ["Service Unavailable"]})
        kind = self.content_type or ("text/html" if (self.text or "").startswith("<") else None)
        return Answer(self.status, content, kind, dict(self.headers))


class Cut(_Strict):
    """The body ends early: the connection breaks, or, if `clean`, the shorter body looks complete."""

    kind: Literal["cut"]
    keep: float = Field(0.5, ge=0, lt=1, description="share of the body that arrives")
    clean: bool = False


class Reset(_Strict):
    """The connection is reset without an answer. With `apply` the request was carried out: only the answer is lost."""

    kind: Literal["reset"]
    apply: bool = False


class Delay(_Strict):
    """The answer comes late."""

    kind: Literal["delay"]
    seconds: float = Field(ge=0)


class Slow(_Strict):
    """The body trickles."""

    kind: Literal["slow"]
    chunk: int = Field(1000, ge=1, description="bytes at a time")
    pause: float = Field(0.05, ge=0, description="seconds between them")


class Cap(_Strict):
    """Pages are smaller than asked: clamped, or refused with 400."""

    kind: Literal["cap"]
    limit: int = Field(ge=1)
    refuse: bool = False
    echo: Literal["applied", "asked"] = "applied"


class Order(_Strict):
    """The rows come in another order."""

    kind: Literal["order"]
    order: Literal["ascending", "descending", "shuffled", "appended"]


class Warn(_Strict):
    """The answer has warnings beside its rows."""

    kind: Literal["warn"]
    texts: list[str] = Field(min_length=1)


class Statistics(_Strict):
    """Numbers of the statistics are replaced."""

    kind: Literal["statistics"]
    values: dict[str, Any]


class Edit(_Strict):
    """The world is edited right before or after the answer is made: `[{"path": "contacts/delete", "contact_id": 1}, ...]`."""

    kind: Literal["edit"]
    edits: list[dict[str, Any]] = Field(min_length=1)
    when: Literal["before", "after"] = "after"

    def steps(self) -> list[tuple[str, dict[str, Any]]]:
        """Control path and values of each edit."""
        return [
            (str(edit.get("path")), {name: value for name, value in edit.items() if name != "path"})
            for edit in self.edits
        ]


class Ignore(_Strict):
    """Search terms count as unknown: all rows come, with the service's warning, or `silent`ly without one."""

    kind: Literal["ignore"]
    terms: list[str] = Field(min_length=1)
    silent: bool = False


class Envelope(_Strict):
    """What an answer has beside its rows is left out or replaced: `limit`, `offset`, `total`, `errors`, `warnings`."""

    kind: Literal["envelope"]
    drop: list[str] = []
    set: dict[str, Any] = {}

    def reshaped(self, body: bytes) -> bytes:
        """A reply with another envelope. Replies that are no object stay."""
        data = orjson.loads(body)
        if not isinstance(data, dict):
            return body
        return orjson.dumps({name: value for name, value in data.items() if name not in self.drop} | self.set)


class Fields(_Strict):
    """Every row of an answer loses or changes fields: schema drift, another status than the one asked for."""

    kind: Literal["fields"]
    drop: list[str] = []
    set: dict[str, Any] = {}

    def reshaped(self, body: bytes) -> bytes:
        """A reply with all its rows changed. Replies without rows stay."""
        data = orjson.loads(body)
        for rows in data.values() if isinstance(data, dict) else ():
            for row in rows if isinstance(rows, list) else [rows]:
                if isinstance(row, dict):
                    for name in self.drop:
                        row.pop(name, None)
                    row.update(self.set)
        return orjson.dumps(data)


class Omit(_Strict):
    """Rows are missing from the answer without a word. What was asked for is done all the same."""

    kind: Literal["omit"]
    every: int = Field(1, ge=1, description="each n-th row; 1: all of them")

    def reshaped(self, body: bytes) -> bytes:
        """A reply with fewer rows. Replies without a list of rows stay."""
        data = orjson.loads(body)
        for name, rows in data.items() if isinstance(data, dict) else ():
            if isinstance(rows, list) and rows and isinstance(rows[0], dict):
                data[name] = [row for number, row in enumerate(rows, start=1) if number % self.every]
        return orjson.dumps(data)


class Late(_Strict):
    """What the request writes becomes visible late: after so many more requests and so many seconds of the clock."""

    kind: Literal["late"]
    requests: int = Field(0, ge=0)
    seconds: int = Field(0, ge=0)


Action = Annotated[
    Reply
    | Cut
    | Reset
    | Delay
    | Slow
    | Cap
    | Order
    | Warn
    | Ignore
    | Statistics
    | Edit
    | Fields
    | Envelope
    | Omit
    | Late,
    Field(discriminator="kind"),
]


class Fault(_Strict):
    """One fault. It counts the requests that match. Without `nth` and `every` it strikes each of them."""

    path: str = Field("", description="regular expression, searched in the path below /icp")
    method: str | None = None
    query: str | None = Field(None, description="regular expression, searched in the decoded query")
    reply: str | None = Field(None, description="regular expression: strikes only if the true reply contains it")
    nth: int | list[int] | None = Field(None, description="only these matching requests, counted from 1")
    every: int | None = Field(None, ge=1, description="each n-th matching request")
    after: int = Field(0, ge=0, description="this many matching requests pass first; nth and every count behind them")
    times: int | None = Field(None, ge=1, description="strikes at most so often")
    do: Action

    @field_validator("path", "query", "reply")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as problem:
            raise ValueError(f"not a regular expression: {problem}") from problem
        return value

    @field_validator("method")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in ("GET", "POST", "PUT", "DELETE"):
            raise ValueError("method is one of GET, POST, PUT, DELETE")
        return value

    @model_validator(mode="after")
    def _one_way_to_count(self) -> Fault:
        if self.nth is not None and self.every is not None:
            raise ValueError("give nth or every, not both")
        return self


@dataclass
class Request:
    """What a fault can see of a request."""

    method: str
    path: str
    query: str
    body: bytes


@dataclass
class Planned:
    """A fault with its counts: requests that matched, and strikes."""

    fault: Fault
    seen: int = 0
    struck: int = 0

    def due(self, request: Request) -> bool:
        """Counts a request and says whether it is one to strike, as far as the request alone tells."""
        fault = self.fault
        if fault.method is not None and fault.method != request.method:
            return False
        if not re.search(fault.path, request.path) or (fault.query and not re.search(fault.query, request.query)):
            return False
        if fault.times is not None and self.struck >= fault.times:
            return False
        self.seen += 1
        number = self.seen - fault.after
        if number < 1:
            return False
        if fault.nth is not None:
            return number in (fault.nth if isinstance(fault.nth, list) else [fault.nth])
        return fault.every is None or number % fault.every == 0

    def hits(self, reply: bytes) -> bool:
        """Whether the true reply is one to strike."""
        return self.fault.reply is None or re.search(self.fault.reply, reply.decode("utf-8", "replace")) is not None


class Plans:
    """The planned faults of a sandbox, in the order in which they were planned."""

    def __init__(self) -> None:
        self.planned: list[Planned] = []

    def add(self, faults: list[Any], check: Callable[[str, Any], object]) -> None:
        """Plans faults, all or none. `check` raises for an edit that makes no sense. So does a malformed fault."""
        parsed = [Fault.model_validate(given) for given in faults]
        for fault in parsed:
            for path, values in fault.do.steps() if isinstance(fault.do, Edit) else ():
                check(path, values)
        self.planned += [Planned(fault) for fault in parsed]

    def clear(self) -> None:
        self.planned.clear()

    def due(self, request: Request) -> list[Planned]:
        return [planned for planned in self.planned if planned.due(request)]


def tweak(tweaks: Tweaks, action: Action) -> None:
    """Adds what one action changes about how the request is answered. Actions of another sort add nothing."""
    if isinstance(action, Cap):
        tweaks.cap, tweaks.cap_refuses, tweaks.cap_echo_asked = action.limit, action.refuse, action.echo == "asked"
    elif isinstance(action, Order):
        tweaks.order = action.order
    elif isinstance(action, Warn):
        tweaks.warnings += action.texts
    elif isinstance(action, Ignore):
        tweaks.ignored |= dict.fromkeys(action.terms, action.silent)
    elif isinstance(action, Statistics):
        tweaks.statistics |= action.values
    elif isinstance(action, Late):
        tweaks.late_requests, tweaks.late_seconds = action.requests, action.seconds
