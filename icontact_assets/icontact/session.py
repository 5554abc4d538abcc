"""One request in, one decoded reply or one typed error out."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from urllib3.exceptions import HTTPError

from icontact_assets.credentials import address_fault, header_fault
from icontact_assets.icontact.budget import LONGEST_WAIT, Budget
from icontact_assets.icontact.count import LONGEST_PAUSE
from icontact_assets.icontact.decoding import decode
from icontact_assets.icontact.errors import (
    AskedToWait,
    NotFound,
    PageFailed,
    Refused,
    Rejected,
    Transient,
    UnknownOutcome,
)
from icontact_assets.icontact.recorder import Record, Recorder
from icontact_assets.icontact.transport import Http, TooLarge, TooSlow, Unusable, content
from icontact_assets.plain import mask, plain

CLOCK_TOLERANCE = timedelta(minutes=2)
"""Clocks that differ by no more count as equal: a response tells whole seconds, and was on its way."""

_SHOWN = 500
"""Characters shown of what the service said."""

_log = logging.getLogger(__name__)

ENABLE_REMEDY = (
    "Enable the application on the account: open https://app.icontact.com/icp/core/externallogin as the account's "
    "owner, enter the application id and choose a password there. The password is the application's own, not the "
    "login password."
)

_WITHOUT_EFFECT = frozenset({400, 401, 402, 403, 404, 405, 406, 415, 501, 507})
"""Statuses that leave everything as it was (API reference, 7.1). 503, 429 and 409 are not among them."""

Before = Callable[[], None]

_REFUSALS = {
    401: ENABLE_REMEDY,
    402: "iContact says that the account's bill is unpaid: settle it, then run again.",
    403: "This user may not read that account or client folder: check both ids with `icontact-assets discover`.",
    507: "The account's storage at iContact is used up: free some, then run again.",
}


def _nothing() -> None: ...


@dataclass(frozen=True)
class Credentials:
    """What signs a request. Shown nowhere."""

    app_id: str = field(repr=False)
    username: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True)
class Reply:
    """A decoded answer: the body as it came, and the texts of its `errors` and `warnings`, fit to be shown."""

    status: int
    body: Any
    warnings: tuple[str, ...]


class Lost(Exception):
    """No usable answer to one attempt. `processed`: whether iContact may have acted on the request. `pause_until`: it
    asks for nothing before then. `final`: another attempt would end in the same way."""

    def __init__(
        self,
        why: str,
        *,
        processed: bool,
        pause_until: datetime | None = None,
        answered: bool = False,
        final: bool = False,
    ) -> None:
        super().__init__(why)
        self.processed = processed
        self.pause_until = pause_until
        self.answered = answered
        self.final = final


class Session:
    """Signed requests to one iContact. Safe for several threads. `requests` counts those sent, `repaired` the answers
    in which U+FFFD replaces something that is no character.

    Only `base_url`'s host is ever called, over verified TLS (plain http for loopback). A GET is tried `tries` times. A
    write is tried again only if there was no connection: after any other failure iContact may have acted on it, and
    the caller reads the state first.

    `timeouts`: the seconds that a connection and an answer may take. `first_wait`: the most before the second try.
    `skew`: how far the service's clock is ahead of ours, by the header `Date` of its last usable answer. None: no such
    header came. `after_reply` is called after each usable answer, in the thread that asked. `recorder` keeps every
    exchange, if there is one.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        budget: Budget,
        *,
        timeouts: tuple[float, float] = (10, 120),
        tries: int = 5,
        first_wait: float = 5,
        answer_mb: int = 16,
    ) -> None:
        if fault := address_fault(base_url):
            raise Rejected(f"The address of iContact {fault}.")
        for name in ("app_id", "username", "password"):
            if fault := header_fault(getattr(credentials, name)):
                raise Rejected(f"The credential {name} {fault}.")
        self._base_url = base_url.rstrip("/")
        self._headers = {
            "API-Version": "2.2",
            "API-AppId": credentials.app_id,
            "API-Username": credentials.username,
            "API-Password": credentials.password,
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
        }
        # A credential of three characters would be found in many words.
        secrets = {value for value in vars(credentials).values() if len(value) > 3}
        written = sorted({form for value in secrets for form in (value, repr(value)[1:-1])}, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, written)) or "(?!)")
        self._budget = budget
        self._timeouts = timeouts
        self._tries = tries
        self._first_wait = first_wait
        self._answer_mb = answer_mb
        self._local = threading.local()
        self._count_lock = threading.Lock()
        self.requests = 0
        self.repaired = 0
        self.skew: timedelta | None = None
        self.after_reply: Callable[[], None] = _nothing
        self.recorder: Recorder | None = None

    @property
    def clock_behind(self) -> timedelta:
        """How far the service's clock is behind ours. Zero if it is not, if that is little, or if it never told."""
        behind = -(self.skew or timedelta())
        return behind if behind > CLOCK_TOLERANCE else timedelta()

    @property
    def budget(self) -> Budget:
        """The budget that every request is taken from."""
        return self._budget

    def get(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        usable: Callable[[Any], bool] = lambda _: True,
    ) -> Reply:
        """GET below the base address. An answer that is not `usable` is asked for again. Raises the errors of
        `errors.py`."""
        return self._ask("GET", path, params, None, usable)

    def post(self, path: str, body: Any, before: Before = _nothing) -> Reply:
        """POST a JSON body. `before` is called right before each try, when the budget has let it pass. What it raises
        ends the request unsent.

        A 200 that holds `errors` is a reply, with these texts among its `warnings`: it may hold rows that were written
        too (API reference, 7.1). Raises UnknownOutcome when iContact may have acted and did not say.
        """
        return self._ask("POST", path, None, orjson.dumps(body), lambda _: True, before)

    def put(self, path: str, body: Any, before: Before = _nothing) -> Reply:
        """PUT a JSON body: used for moving a subscription, nothing else. As `post`."""
        return self._ask("PUT", path, None, orjson.dumps(body), lambda _: True, before)

    def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None,
        body: bytes | None,
        usable: Callable[[Any], bool],
        before: Before = _nothing,
    ) -> Reply:
        attempts = Retrying(
            retry=retry_if_exception_type(Lost),
            stop=lambda state: stop_after_attempt(self._tries)(state) or not self._may_repeat(method, state),
            wait=self._wait,
            reraise=True,
        )
        try:
            return attempts(self._once, method, path, params, body, usable, before)
        except Lost as error:
            where = f"{method} {path}"
            if method != "GET" and error.processed:
                raise UnknownOutcome(
                    f"{where}: {error}. Whether iContact acted on it is not known: read the state before repeating it."
                ) from error
            if error.pause_until is not None and _is_long(error.pause_until):
                raise AskedToWait(
                    f"{where}: {error} iContact asks for a pause: nothing is sent before "
                    f"{error.pause_until:%Y-%m-%d %H:%M:%S} UTC. Run again then.",
                    error.pause_until,
                ) from error
            kind = PageFailed if error.answered else Transient
            tried = attempts.statistics["attempt_number"]
            raise kind(f"{where}: {error}{f', after {tried} tries' if tried > 1 else ''}. Run again later.") from error

    @staticmethod
    def _may_repeat(method: str, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, Lost) or error.final or (error.pause_until and _is_long(error.pause_until)):
            return False
        return method == "GET" or not error.processed

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Lost) and error.pause_until is not None:
            # The budget lets nothing pass before then.
            return 0.0
        return float(wait_random_exponential(multiplier=self._first_wait, max=LONGEST_WAIT)(state))

    def _once(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None,
        body: bytes | None,
        usable: Callable[[Any], bool],
        before: Before,
    ) -> Reply:
        response, body_sent, arrived = self._exchange(method, path, params, body, before)
        reply = self._read(method, path, response, body_sent)
        if not usable(reply.body):
            raise Lost("the answer lacks what was asked for", processed=False, answered=True)
        if (theirs := _instant_of(response.headers.get("Date", ""))) is not None:
            self.skew = theirs - arrived
        self.after_reply()
        return reply

    def _exchange(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None,
        body: bytes | None,
        before: Before,
    ) -> tuple[requests.Response, bytes, datetime]:
        """Send a request once: the answer, its unpacked body, and when it arrived (aware UTC)."""
        self._budget.take()
        before()
        with self._count_lock:
            self.requests += 1
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        record = Record(method, path, params or {}, body)
        http = self._http()
        http.bounds.deadline = time.monotonic() + 2 * self._timeouts[1]
        try:
            with http.request(
                method,
                self._base_url + path,
                params=params,
                data=body,
                headers=headers,
                timeout=self._timeouts,
                allow_redirects=False,
                stream=True,
            ) as response:
                arrived = datetime.now(UTC)
                record.status, record.headers = response.status_code, response.headers
                content(response, self._answer_mb << 20, record.answer)
                return response, bytes(record.answer), arrived
        except (OSError, ValueError, HTTPError, HTTPException, Unusable) as error:
            failure, record.failure = self._failure(f"{method} {path}", error), _innermost(error)
        finally:
            if self.recorder is not None:
                self.recorder.keep(record)
        # Raised after the handler: the exception of requests may hold the value of a header, and a chained exception is
        # logged.
        raise failure

    def _failure(self, where: str, error: Exception) -> Rejected | Lost:
        """The failure of a request in words of our own. What the exception says is not repeated."""
        if isinstance(error, Unusable):
            smaller = isinstance(error, TooLarge)
            return Lost(str(error), processed=True, answered=smaller, final=smaller or isinstance(error, TooSlow))
        if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in repr(error):
            return Rejected(
                f"{where}: the certificate of {urlsplit(self._base_url).hostname} is not trusted. "
                "Check ICONTACT_BASE_URL and the clock of this machine."
            )
        if isinstance(error, requests.exceptions.ConnectTimeout):
            return Lost("no connection in time", processed=False)
        if isinstance(error, requests.exceptions.ProxyError):
            return Lost("no connection through the proxy that the environment names", processed=False)
        if "NewConnectionError" in repr(error) or "NameResolutionError" in repr(error):
            return Lost("no connection", processed=False)
        # requests raises a bare OSError when the file of certificates is missing. Any other error may be about the
        # answer, after iContact has acted.
        if isinstance(error, requests.exceptions.InvalidProxyURL) or type(error) is OSError:
            return Rejected(
                f"{where}: the request cannot be sent ({type(error).__name__}). "
                "Check the variables for proxies and certificates in the environment."
            )
        return Lost(f"the connection was dropped mid-response ({_innermost(error)})", processed=True)

    def _http(self) -> Http:
        if not hasattr(self._local, "http"):
            self._local.http = Http(self._answer_mb << 20)
            # Without this, requests would add what a .netrc file holds for the host.
            self._local.http.auth = lambda request: request
            # A proxy would be sent the credentials in clear where there is no TLS.
            self._local.http.trust_env = self._base_url.lower().startswith("https:")
        http: Http = self._local.http
        return http

    def _read(self, method: str, path: str, response: requests.Response, sent: bytes) -> Reply:
        status, where = response.status_code, f"{method} {path}"
        found = decode(sent, response.headers.get("Content-Type", ""))
        body, decoded = found.body, found.is_json
        if found.repaired:
            with self._count_lock:
                self.repaired += 1
        words = " ".join(self._shown(body, "errors"))[:_SHOWN]
        said = f" It said: {words}" if words else ""
        if 300 <= status < 400:
            host = _host(response.headers.get("Location", "")) or "nowhere"
            raise Rejected(
                f"{where}: answered with a redirect to {plain(host)[:100]}, which is not followed. "
                "Check ICONTACT_BASE_URL.",
                without_effect=False,
                status=status,
            )
        if status in (429, 420) or (status == 503 and decoded):
            raise Lost(f"rate limited ({status}).{said}", processed=True, pause_until=self._pause(response))
        if status == 404 or (status == 500 and "No result" in words):
            raise NotFound(f"{where}: there is no such thing.{said}")
        if status in _REFUSALS and (decoded or status != 403):
            raise Refused(f"{where}: refused with {status}.{said} {_REFUSALS[status]}", status)
        if (status >= 500 and status != 501) or status == 403:
            raise Lost(f"answered {status}.{said}", processed=True, pause_until=self._pause(response), answered=decoded)
        if status >= 400:
            raise Rejected(
                f"{where}: rejected with {status}.{said} The request itself is at fault.",
                without_effect=status in _WITHOUT_EFFECT,
                status=status,
                said=words,
            )
        if not decoded:
            kind = re.sub(r"[^\w/+.-]", "", response.headers.get("Content-Type", "").partition(";")[0])[:40]
            what = f" but {len(sent):,} bytes of {kind or 'no declared type'}" if sent else ": it is empty"
            raise Lost(f"the answer is not JSON{what}", processed=True)
        if method == "GET" and isinstance(body, dict) and body.get("errors"):
            raise Lost(f"answered 200 with errors.{said}", processed=False, answered=True)
        return Reply(status, body, (*self._shown(body, "errors"), *self._shown(body, "warnings")))

    def _shown(self, body: Any, key: str) -> list[str]:
        """What the service says under a key, fit to be shown: it may repeat a credential."""
        texts = _as_list(body.get(key)) if isinstance(body, dict) else []
        return [mask(self._secrets.sub("<credential>", str(text))) for text in texts]

    def _pause(self, response: requests.Response) -> datetime | None:
        """Send nothing until the time that the answer asks for, and return it. None if it asks for none."""
        # A date is one of the service's clock, and ours may be another.
        now = _instant_of(response.headers.get("Date", "")) or datetime.now(UTC)
        seconds = _retry_after(response.headers.get("Retry-After", ""), now)
        if seconds is None:
            return None
        pause = timedelta(seconds=seconds)
        until = datetime.now(UTC) + pause
        self._budget.hold(pause)
        if not _is_long(until):
            _log.warning("iContact answered %s and asks to wait: waiting %.0f s.", response.status_code, seconds)
        return until


def _is_long(until: datetime) -> bool:
    return until > datetime.now(UTC) + timedelta(seconds=LONGEST_WAIT)


def _host(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _innermost(error: BaseException) -> str:
    """The name of the exception that began it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return type(error).__name__


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def remarks(body: Any) -> list[str]:
    """The texts of an answer's `errors` and `warnings`, as they came: an address in them is not masked."""
    if not isinstance(body, dict):
        return []
    return [str(text) for key in ("errors", "warnings") for text in _as_list(body.get(key))]


def _instant_of(date: str) -> datetime | None:
    """The instant of a header `Date` (aware UTC). None if it cannot be read."""
    try:
        found = parsedate_to_datetime(date)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _retry_after(value: str, now: datetime) -> float | None:
    """The seconds that a header asks to wait, a day at most, where it is `now` (aware UTC) at the service. None if it
    asks for none or cannot be read."""
    if seconds := re.match(r"\s*([0-9]+)\s*(?:$|[.,;])", value):
        wait = float(seconds[1])
    else:
        try:
            wait = (parsedate_to_datetime(value) - now).total_seconds()
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return min(wait, LONGEST_PAUSE.total_seconds()) if wait > 0 else None
