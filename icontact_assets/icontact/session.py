"""One request in, one decoded reply or one typed error out."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from urllib3.exceptions import HTTPError

from icontact_assets.credentials import address_fault, header_fault
from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.errors import (
    NotFound,
    PageFailed,
    Refused,
    Rejected,
    Transient,
    UnknownOutcome,
)
from icontact_assets.plain import plain

_ADDRESS = re.compile(r"[^\s@<>()\"',;:]+@[^\s@<>()\"',;:]+")
_LONGEST_WAIT = 300.0

ENABLE_REMEDY = (
    "Enable the application on the account: open https://app.icontact.com/icp/core/externallogin as the account's "
    "owner, enter the application id and choose a password there. The password is the application's own, not the "
    "login password."
)

_REFUSALS = {
    401: ENABLE_REMEDY,
    402: "iContact says that the account's bill is unpaid: settle it, then run again.",
    403: "This user may not read that account or client folder: check both ids with `icontact-assets discover`.",
    507: "The account's storage at iContact is used up: free some, then run again.",
}


@dataclass(frozen=True)
class Credentials:
    """What signs a request. Shown nowhere."""

    app_id: str = field(repr=False)
    username: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True)
class Reply:
    """A decoded answer: the body as it came, and the texts of its `warnings`."""

    status: int
    body: Any
    warnings: tuple[str, ...]


class _Lost(Exception):
    """No usable answer to one attempt. `processed`: whether iContact may have acted on the request."""

    def __init__(self, why: str, *, processed: bool, retry_after: float | None = None, answered: bool = False) -> None:
        super().__init__(why)
        self.processed = processed
        self.retry_after = retry_after
        self.answered = answered


class Session:
    """Signed requests to one iContact. Safe for several threads; `requests` counts those sent.

    Only `base_url`'s host is ever called, over verified TLS (plain http for loopback). A GET is tried `tries` times; a
    POST is repeated only if iContact cannot have acted on it (not connected; 429, 420 or a JSON 503, which the
    documentation gives for requests turned away).
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        budget: Budget,
        *,
        connect_timeout: float = 10,
        read_timeout: float = 120,
        tries: int = 5,
        first_wait: float = 5,
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
        self._timeouts = (connect_timeout, read_timeout)
        self._tries = tries
        self._first_wait = first_wait
        self._local = threading.local()
        self._count_lock = threading.Lock()
        self.requests = 0

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
        """GET below the base address; an answer that is not `usable` is asked for again. Raises the errors of
        `errors.py`."""
        return self._ask("GET", path, params, None, usable)

    def post(self, path: str, body: Any) -> Reply:
        """POST a JSON body. Raises UnknownOutcome when the answer was lost and iContact may have acted."""
        return self._ask("POST", path, None, orjson.dumps(body), lambda _: True)

    def put(self, path: str, body: Any) -> Reply:
        """PUT a JSON body: used for moving a subscription, nothing else. Raises as `post`."""
        return self._ask("PUT", path, None, orjson.dumps(body), lambda _: True)

    def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None,
        body: bytes | None,
        usable: Callable[[Any], bool],
    ) -> Reply:
        attempts = Retrying(
            retry=retry_if_exception_type(_Lost),
            stop=lambda state: stop_after_attempt(self._tries)(state) or not self._may_repeat(method, state),
            wait=self._wait,
            reraise=True,
        )
        try:
            return attempts(self._once, method, path, params, body, usable)
        except _Lost as error:
            where = f"{method} {path}"
            if method != "GET" and error.processed:
                raise UnknownOutcome(
                    f"{where}: {error}. Whether iContact acted on it is not known: read the state before repeating it."
                ) from error
            kind = PageFailed if error.answered else Transient
            raise kind(f"{where}: {error}, after {self._tries} tries. Run again later.") from error

    @staticmethod
    def _may_repeat(method: str, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        return method == "GET" or (isinstance(error, _Lost) and not error.processed)

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, _Lost) and error.retry_after is not None:
            return min(error.retry_after, _LONGEST_WAIT)
        return float(wait_random_exponential(multiplier=self._first_wait, max=_LONGEST_WAIT)(state))

    def _once(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None,
        body: bytes | None,
        usable: Callable[[Any], bool],
    ) -> Reply:
        self._budget.take()
        with self._count_lock:
            self.requests += 1
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        failure: Rejected | _Lost | None = None
        try:
            with self._http().request(
                method,
                self._base_url + path,
                params=params,
                data=body,
                headers=headers,
                timeout=self._timeouts,
                allow_redirects=False,
                stream=True,
            ) as response:
                content = self._content(response)
        except (OSError, ValueError, HTTPError, HTTPException) as error:
            failure = self._failure(f"{method} {path}", error)
        if failure is not None:
            # Raised after the handler: the exception of requests may hold the value of a header, and a chained
            # exception is logged.
            raise failure
        reply = self._read(method, path, response, content)
        if not usable(reply.body):
            raise _Lost("the answer lacks what was asked for", processed=False, answered=True)
        return reply

    def _failure(self, where: str, error: Exception) -> Rejected | _Lost:
        """The failure of a request in words of our own. What the exception says is not repeated."""
        if isinstance(error, requests.exceptions.SSLError):
            return Rejected(
                f"{where}: the certificate of {urlsplit(self._base_url).hostname} is not trusted. "
                "Check ICONTACT_BASE_URL and the clock of this machine."
            )
        if isinstance(error, requests.exceptions.ConnectTimeout):
            return _Lost("no connection in time", processed=False)
        if isinstance(error, requests.exceptions.ProxyError):
            return _Lost("no connection through the proxy that the environment names", processed=False)
        if "NewConnectionError" in repr(error) or "NameResolutionError" in repr(error):
            return _Lost("no connection", processed=False)
        # A bare OSError is how requests tells of a file of certificates that is not there. Any other error may be about
        # the answer, after iContact has acted.
        if isinstance(error, requests.exceptions.InvalidProxyURL) or type(error) is OSError:
            return Rejected(
                f"{where}: the request cannot be sent ({type(error).__name__}). "
                "Check the variables for proxies and certificates in the environment."
            )
        return _Lost(f"the answer broke off ({type(error).__name__})", processed=True)

    def _http(self) -> requests.Session:
        if not hasattr(self._local, "http"):
            self._local.http = requests.Session()
            # Without this, requests would add what a .netrc file holds for the host.
            self._local.http.auth = lambda request: request
            # A proxy would be sent the credentials in clear where there is no TLS.
            self._local.http.trust_env = self._base_url.lower().startswith("https:")
        http: requests.Session = self._local.http
        return http

    def _content(self, response: requests.Response) -> bytes:
        deadline = time.monotonic() + 2 * self._timeouts[1]
        chunks = []
        for chunk in response.iter_content(1 << 16):
            chunks.append(chunk)
            if time.monotonic() > deadline:
                raise _Lost(f"the answer took more than {2 * self._timeouts[1]:.0f} s", processed=True)
        return b"".join(chunks)

    def _read(self, method: str, path: str, response: requests.Response, content: bytes) -> Reply:
        status, where = response.status_code, f"{method} {path}"
        body, decoded = _decode(content)
        words = " ".join(self._shown(body, "errors"))[:500]
        said = f" It said: {words}" if words else ""
        if 300 <= status < 400:
            host = urlsplit(response.headers.get("Location", "")).hostname or "nowhere"
            raise Rejected(
                f"{where}: answered with a redirect to {plain(host)[:100]}, which is not followed. "
                "Check ICONTACT_BASE_URL."
            )
        if status in (429, 420) or (status == 503 and decoded):
            raise _Lost(f"turned away with {status}.{said}", processed=False, retry_after=_retry_after(response))
        if status == 404 or (status == 500 and "No result" in words):
            raise NotFound(f"{where}: there is no such thing.{said}")
        if status in _REFUSALS and (decoded or status != 403):
            raise Refused(f"{where}: refused with {status}.{said} {_REFUSALS[status]}", status)
        if (status >= 500 and status != 501) or status == 403:
            raise _Lost(
                f"answered {status}.{said}", processed=True, retry_after=_retry_after(response), answered=decoded
            )
        if status >= 400:
            raise Rejected(f"{where}: rejected with {status}.{said} The request itself is at fault.")
        if not decoded:
            raise _Lost("the answer is not JSON", processed=True)
        if isinstance(body, dict) and body.get("errors"):
            if method != "GET":
                raise Rejected(f"{where}: rejected in a 200.{said}")
            raise _Lost(f"answered 200 with errors.{said}", processed=False, answered=True)
        return Reply(status, body, tuple(self._shown(body, "warnings")))

    def _shown(self, body: Any, key: str) -> list[str]:
        """What the service says under a key, fit to be shown: it may repeat a credential."""
        texts = _as_list(body.get(key)) if isinstance(body, dict) else []
        return [mask(self._secrets.sub("<credential>", str(text))) for text in texts]


def mask(text: str) -> str:
    """What the service says, fit to be shown: every e-mail address replaced, and nothing in it acts on a terminal."""
    return plain(_ADDRESS.sub("<address>", text))


def _decode(content: bytes) -> tuple[Any, bool]:
    try:
        return orjson.loads(content), True
    except orjson.JSONDecodeError:
        pass
    try:
        # Bodies of old messages may hold control characters and broken encodings (API reference, quirk 22).
        return json.loads(content.decode("utf-8", errors="replace"), strict=False), True
    except ValueError:
        return None, False


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
