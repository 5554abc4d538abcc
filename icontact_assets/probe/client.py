"""Asks with GET and nothing else, in bounds: how many requests, and how long a refusal is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from icontact_assets.icontact.errors import BudgetSpent, BudgetUnusable, Transient
from icontact_assets.icontact.looking import Exchange, Get

MOST = 60
"""Requests of one probe, those that are repeated among them."""

_WAITS = (2.0, 20.0, 41.0)
"""Seconds before a refused request is repeated. Together they are longer than a minute's window."""
_FAILED_WAIT = 1.0
_MINUTE = 60.0
_LOST = 6
_REFUSALS = (420, 429, 503)


class Stopped(Exception):
    """Nothing more is asked. The text says why."""


@dataclass(frozen=True)
class Limit:
    """A limit of the service's that was met."""

    form: str
    """One of the answers to `limit_reply`."""
    answered: int
    """Requests answered in the minute before the first refusal."""
    over: bool = False
    """Whether requests were answered again within about a minute."""


class Client:
    """Counts what `get` is asked. `requests`: all of them. `failures`: answers that were no use, each repeated once.

    `progress` is called before each request with what is asked. `sleep` and `clock` (monotonic seconds) are the ways
    to wait.
    """

    def __init__(
        self,
        get: Get,
        *,
        most: int = MOST,
        progress: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._get = get
        self._most = most
        self._progress = progress
        self._sleep = sleep
        self._clock = clock
        self._pause = 0.0
        self._lost = 0
        self._answered: list[float] = []
        self.requests = 0
        self.failures = 0
        self.refusals = 0
        self.limit: Limit | None = None

    def ask(self, what: str, path: str, params: Mapping[str, str | int], *, patient: bool = True) -> Exchange | None:
        """The answer to one question, None if none came. Refusals are waited for, and what failed is asked once more.

        `patient`: whether a second refusal is waited for too. Without it, that is the answer: the request itself may
        ask for too much. Raises Stopped when no more may be asked. What is wrong with connection or settings is raised
        as it is.
        """
        failed = False
        refused = 0
        while True:
            answer = self._once(what, path, params)
            if answer is not None and answer.status in _REFUSALS:
                if refused and not patient:
                    self.refusals += 1
                    return answer
                self._refused(answer, refused)
                refused += 1
            elif (answer is None or _is_failure(answer)) and not failed:
                self.failures += 1
                failed = True
                self._sleep(_FAILED_WAIT)
            else:
                if self.limit is not None and refused > 1:
                    self._pace()
                return answer

    def ask_once(self, get: Get, what: str, path: str) -> Exchange | None:
        """The answer to a request that is never repeated, on another way than the others. Raises Stopped."""
        return self._once(what, path, {}, get)

    def _once(self, what: str, path: str, params: Mapping[str, str | int], get: Get | None = None) -> Exchange | None:
        if self.requests >= self._most:
            raise Stopped(f"all {self._most} requests are used")
        if self._pause and self._answered:
            self._sleep(max(0.0, self._answered[-1] + self._pause - self._clock()))
        self.requests += 1
        self._progress(f"request {self.requests} of at most {self._most}: {what}")
        try:
            answer = (get or self._get)(path, params)
        except (BudgetSpent, BudgetUnusable) as error:
            self.requests -= 1
            raise Stopped(str(error)) from error
        except Transient as error:
            self._lost += 1
            if self._lost == _LOST:
                raise Stopped(f"{_LOST} requests in a row got no answer. The last: {error}") from error
            return None
        self._lost = 0
        if answer.status not in _REFUSALS:
            self._answered.append(self._clock())
        return answer

    def _refused(self, answer: Exchange, before: int) -> None:
        """Wait after a refusal. `before`: refusals of the same request before this one."""
        self.refusals += 1
        if before == 1 and self.limit is None:
            # One refusal may be chance. A second in a row is a limit.
            began = self._clock() - _MINUTE - _WAITS[0]
            self.limit = Limit(_form(answer), sum(at > began for at in self._answered))
        if before == len(_WAITS):
            raise Stopped(f"iContact answered {answer.status} for more than a minute")
        wait = _WAITS[before]
        self._progress(f"iContact answered {answer.status}: waiting {wait:.0f} s")
        self._sleep(wait)

    def _pace(self) -> None:
        """From now on, no more in a minute than were answered in one."""
        limit = self.limit
        if limit is not None and not limit.over:
            self.limit = Limit(limit.form, limit.answered, over=True)
            self._pause = _MINUTE / max(1, limit.answered)
            self._progress(f"iContact lets {limit.answered} requests a minute pass: going on at that pace")


def _form(answer: Exchange) -> str:
    if answer.status == 503:
        return "503_retry_after" if "retry-after" in answer.headers else "503" if answer.is_json else "503_html"
    return str(answer.status)


def _is_failure(answer: Exchange) -> bool:
    """Whether the same request may be answered better: not what says that the request is at fault."""
    if answer.status == 200:
        return not answer.is_json or bool(answer.errors)
    if answer.status == 403 and not answer.is_json:
        return True
    # 501 and the 500 that says "No result" are answers.
    return answer.status >= 500 and answer.status != 501 and not any("No result" in text for text in answer.errors)
