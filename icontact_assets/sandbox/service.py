"""One request in, one answer out: credentials, accounts, folders, routes, request limits."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from icontact_assets.sandbox.reading import NOT_FOUND, RESOURCES, Answer, Query, Reader, Tweaks, error, reply
from icontact_assets.sandbox.switches import Switches
from icontact_assets.sandbox.times import stamp
from icontact_assets.sandbox.world import ACCOUNT, CLOSED_ACCOUNT, KINDS, Folder, World
from icontact_assets.sandbox.writing import Writer

APP_ID, USERNAME, PASSWORD = "sandbox-app", "sandbox-user", "sandbox-pass"
VERSIONS = ("2.0", "2.1", "2.2")
_USERNAME_INVALID = "Api username invalid"
_SIGNED = {
    "api-username": (USERNAME, _USERNAME_INVALID),
    "api-appid": (
        APP_ID,
        "The application was not recognized.  Possible reasons are: the Api-AppId was entered incorrectly; the "
        "application is not registered for that user.",
    ),
    "api-password": (PASSWORD, "The password you provided was not recognized."),
}
"""Headers that sign a request, in the order in which they are checked: the right value, and what is said of another."""

EDGE_HTML = (
    b"<html><head><title>503 Service Temporarily Unavailable</title></head>"
    b"<body><h1>503 Service Temporarily Unavailable</h1></body></html>"
)


def variables(url: str, folder: int = 7601) -> dict[str, str]:
    """The variables with which the project speaks to the sandbox at this base address."""
    return {
        "ICONTACT_BASE_URL": url,
        "ICONTACT_APP_ID": APP_ID,
        "ICONTACT_API_USERNAME": USERNAME,
        "ICONTACT_API_PASSWORD": PASSWORD,
        "ICONTACT_ACCOUNT_ID": str(ACCOUNT),
        "ICONTACT_CLIENT_FOLDER_ID": str(folder),
    }


class Service:
    """The service over one world. Headers are given with lower-case names."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.reader, self.writer = Reader(world), Writer(world)
        self._minute: deque[float] = deque()
        self._day: deque[float] = deque()

    def change_switches(self, values: dict[str, Any]) -> None:
        """Sets switches by name, all or none. Raises pydantic.ValidationError for an unknown name or value."""
        self.world.switches = Switches.model_validate({**self.world.switches.model_dump(), **values})
        self.reader.forget()

    def answer(
        self, method: str, path: str, query: Query, headers: Mapping[str, str], body: bytes, tweaks: Tweaks
    ) -> Answer:
        """The answer to one request. `path` is what follows `/icp`."""
        answer = self._answer(method, path, query, headers, body, tweaks)
        if self.world.switches.limit_headers == "some":
            answer.headers |= self._limit_headers()
        return answer

    def _limit_headers(self) -> dict[str, str]:
        """What is left of the present minute."""
        most = self.world.switches.requests_per_minute or 60
        used = [at for at in self._day if at > self.world.clock.limiter() - 60]
        reset = round(60 - (self.world.clock.limiter() - used[0])) if used else 60
        left = max(0, most - len(used))
        return {"X-RateLimit-Limit": str(most), "X-RateLimit-Remaining": str(left), "X-RateLimit-Reset": str(reset)}

    def _answer(
        self, method: str, path: str, query: Query, headers: Mapping[str, str], body: bytes, tweaks: Tweaks
    ) -> Answer:
        refused = self._limited()
        if refused is not None:
            return refused
        switches = self.world.switches
        if (
            switches.max_url_length
            and len(path) + sum(len(k) + len(v) + 2 for k, v in query.items()) > switches.max_url_length
        ):
            return error(414, "Request-URI Too Long")
        parts = path.strip("/").split("/")
        if parts == ["time"]:
            now = self.world.clock.now()
            return (
                reply({"time": stamp(now), "timestamp": now}) if method == "GET" else error(405, "Method Not Allowed")
            )
        refused = self._headers(method, headers)
        if refused is not None:
            return refused
        if parts[0] != "a":
            return self._no_such_path()
        if len(parts) < 3:
            return self._accounts(method, parts[1:], query, tweaks)
        foreign = error(403, "Forbidden") if switches.foreign_status == "403" else error(*NOT_FOUND)
        if parts[1] != str(ACCOUNT):
            return foreign
        if parts[2] != "c":
            return self._no_such_path()
        if len(parts) == 3:
            return self._folders(method)
        folder = self.world.folders.get(int(parts[3])) if parts[3].isdigit() else None
        if folder is None:
            return foreign
        folder.requests += 1
        folder.settle(self.world.clock.now())
        if len(parts) == 4:
            return (
                reply({"clientfolder": self._folder_row(folder)})
                if method == "GET"
                else error(405, "Method Not Allowed")
            )
        return self._resource(method, folder, parts[4:], query, body, tweaks)

    def repeat(self, method: str, path: str, body: bytes) -> Answer:
        """Carry out a write again that was answered before. It counts nowhere, and needs no credentials."""
        parts = path.strip("/").split("/")
        folder = self.world.folders[int(parts[3])]
        folder.settle(self.world.clock.now())
        return self._resource(method, folder, parts[4:], {}, body, Tweaks())

    def _limited(self) -> Answer | None:
        """Counts the request in both sliding windows. Returns the refusal if one is full. Refused requests do not count."""
        switches = self.world.switches
        now = self.world.clock.limiter()
        full = False
        for window, seconds, most in (
            (self._minute, 60, switches.requests_per_minute),
            (self._day, 86_400, switches.requests_per_day),
        ):
            while window and window[0] <= now - seconds:
                window.popleft()
            full = full or bool(most and len(window) >= most)
        if not full:
            self._minute.append(now)
            self._day.append(now)
            return None
        kind = switches.limit_reply
        if kind == "503_html":
            return Answer(503, EDGE_HTML, "text/html")
        answer = error(
            int(kind[:3]), {"429": "Too Many Requests", "420": "Enhance Your Calm"}.get(kind, "Service Unavailable")
        )
        if kind == "503_retry_after":
            answer.headers["Retry-After"] = "5"
        return answer

    def _no_such_path(self) -> Answer:
        as_missing = self.world.switches.unknown_path == "404"
        return error(*NOT_FOUND) if as_missing else error(501, "Not Implemented")

    def _headers(self, method: str, headers: Mapping[str, str]) -> Answer | None:
        if headers.get("api-version") not in VERSIONS:
            return error(501, "Not Implemented")
        if "application/json" not in headers.get("accept", ""):
            return error(406, "Not Acceptable")
        if method in ("POST", "PUT") and not headers.get("content-type", "").startswith("application/json"):
            return error(415, "Unsupported Media Type")
        wrong = next((words for name, (right, words) in _SIGNED.items() if headers.get(name) != right), None)
        return None if wrong is None else self._unsigned(wrong)

    def _unsigned(self, words: str) -> Answer:
        status, how = int(self.world.switches.auth_status), self.world.switches.auth_body
        if how == "html":
            return Answer(status, b"<html><head><title>Sign in</title></head><body></body></html>", "text/html")
        return error(status, words if how == "each" else _USERNAME_INVALID)

    def _accounts(self, method: str, rest: list[str], query: Query, tweaks: Tweaks) -> Answer:
        if method != "GET":
            return error(405, "Method Not Allowed")
        rows = [_account(ACCOUNT, "Example Widgets", enabled=True)]
        if self.world.switches.second_account == "disabled":
            rows.insert(0, _account(CLOSED_ACCOUNT, "Example Widgets (closed)", enabled=False))
        if rest:
            row = next((row for row in rows if row["accountId"] == rest[0]), None)
            return error(*NOT_FOUND) if row is None else reply({"account": row})
        page = self.reader.page(query, tweaks)
        if isinstance(page, Answer):
            return page
        chosen = rows[page.offset : page.offset + page.limit]
        return reply({"accounts": chosen, "total": len(rows), "limit": page.written_limit, "offset": page.offset})

    def _folders(self, method: str) -> Answer:
        if method != "GET":
            return error(405, "Method Not Allowed")
        rows = [self._folder_row(folder) for folder in self.world.folders.values()]
        paging = {"limit": 20, "offset": 0} if self.world.switches.folders == "agency" else {}
        return reply({"clientfolders": rows, "total": len(rows), **paging})

    def _folder_row(self, folder: Folder) -> dict[str, Any]:
        row: dict[str, Any] = {"clientFolderId": str(folder.id), "logoId": None, "emailRecipient": "owner@example.com"}
        if self.world.switches.folders == "agency":
            row |= {
                "name": folder.name, "fromName": "Dana Owner", "fromEmail": "news@example.com",
                "street": "1 Sample Way", "city": "Springfield", "state": "NC", "postalCode": "00000",
                "country": "United States", "enabled": "1", "footerLogoUrl": "", "useLogoInFooter": "0",
            }  # fmt: skip
        return row

    def _resource(
        self, method: str, folder: Folder, parts: list[str], query: Query, body: bytes, tweaks: Tweaks
    ) -> Answer:
        name, *rest = parts
        if name not in RESOURCES:
            return self._no_such_path()
        if len(rest) == 2:
            below = (name, rest[1])
            if below[0] == "messages" and below[1] in (*KINDS, "statistics"):
                if method != "GET":
                    return error(405, "Method Not Allowed")
                if below[1] == "statistics":
                    return self.reader.statistics(folder, rest[0], tweaks)
                kind = next(kind for kind in KINDS if kind == below[1])
                return self.reader.activity(folder, rest[0], kind, query, tweaks)
            if method == "GET" and below == ("contacts", "actions"):
                return self.reader.actions(folder, rest[0], query, tweaks)
            if method == "GET" and below == ("segments", "criteria"):
                return self.reader.criteria(folder, rest[0])
            return self._no_such_path()
        if len(rest) > 2:
            return self._no_such_path()
        if method == "GET":
            return (
                self.reader.single(folder, name, rest[0]) if rest else self.reader.listing(folder, name, query, tweaks)
            )
        if method in ("POST", "PUT", "DELETE"):
            if method == "DELETE" and not rest:
                return error(405, "Method Not Allowed")
            return self.writer.answer(method, folder, name, rest[0] if rest else None, body, tweaks)
        return error(405, "Method Not Allowed")


def _account(account_id: int, company: str, *, enabled: bool) -> dict[str, str]:
    return {
        "billingStreet": "", "billingCity": "", "billingState": "", "billingPostalCode": "", "billingCountry": "",
        "city": "Springfield", "accountId": str(account_id), "companyName": company, "country": "United States",
        "email": "owner@example.com", "enabled": "1" if enabled else "0", "fax": "", "firstName": "Dana",
        "lastName": "Owner", "multiClientFolder": "0", "multiUser": "0", "phone": "", "postalCode": "00000",
        "state": "NC", "street": "1 Sample Way", "title": "", "accountType": "0", "subscriberLimit": "250000",
    }  # fmt: skip
