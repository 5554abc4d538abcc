"""What an account and a client folder of iContact offer, as plain methods."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from icontact_assets.icontact.by_key import KeyPagingUnsupported, read_by_key
from icontact_assets.icontact.errors import Incomplete, NotFound, Rejected, TermIgnored, Transient, Unconfirmed
from icontact_assets.icontact.listing import (
    Known,
    Page,
    Proof,
    Row,
    Sink,
    read_by_offset,
)
from icontact_assets.icontact.session import Before, Reply, Session, remarks
from icontact_assets.icontact.values import as_id, as_instant, as_int, as_text
from icontact_assets.plain import addresses_in

MESSAGES_PAGE = 50
"""A page of messages carries all their bodies."""

_IDS_PER_REQUEST = 50
_SUBSCRIBE_AT_MOST = 100
_REMARK_LENGTH = 2000
_NUMBER = re.compile(r"[0-9]{1,30}")
_LITERAL = re.compile(r"[^\s,*@]+@[^\s,*@]+")
_ALL = {"status": "total"}
"""Without it, contacts on no list may be left out (API reference, 3.1)."""
_IN_ORDER = {"orderby": "createDate:asc,messageId:asc"}
"""The one order of messages that is known to work. There is none unless it is asked for (API reference, 2.2)."""


@dataclass(frozen=True)
class Statistics:
    """iContact's own numbers of a message. None where the answer has none."""

    bounces: int | None
    delivered: int | None
    unsubscribes: int | None
    opens_unique: int | None
    opens_total: int | None
    clicks_unique: int | None
    clicks_total: int | None
    forwards: int | None
    comments: int | None
    complaints: int | None


class Observer(Protocol):
    """Is shown every row of contacts and subscriptions that any response holds, also of a read that then fails."""

    def contact(self, row: Row) -> None: ...

    def subscription(self, row: Row) -> None: ...


@dataclass(frozen=True)
class Remark:
    """A text of the service: `words` with every e-mail address masked, and what it names: numbers as ids, addresses as
    they came."""

    words: str
    ids: frozenset[str]
    addresses: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True)
class SubscribeReply:
    """What a bulk subscription answered: the rows that came back, and the service's remarks about the others."""

    rows: list[Row]
    remarks: tuple[Remark, ...]


class Account:
    """What can be asked before a client folder is known."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def time(self) -> datetime:
        """The service's clock (aware UTC)."""
        body = self._session.get("/time").body
        stamp = as_instant(as_text(body.get("time"))) if isinstance(body, dict) else None
        if stamp is None:
            raise Transient("GET /time: the answer holds no readable time.")
        return stamp

    def accounts(self) -> list[Row]:
        """The accounts this user may see."""
        return _collection(self._session.get("/a", None, _holds("accounts")).body, "accounts").rows

    def client_folders(self, account_id: str) -> list[Row]:
        """The client folders of an account."""
        reply = self._session.get(f"/a/{account_id}/c", None, _holds("clientfolders"))
        return _collection(reply.body, "clientfolders").rows


class Folder:
    """One client folder of one account. `page_size`: rows asked for at once. `reread_pages`: see `read_by_offset`."""

    def __init__(
        self,
        session: Session,
        account_id: str,
        client_folder_id: str,
        *,
        page_size: int = 500,
        reread_pages: int = 0,
    ) -> None:
        self.session = session
        self._base = f"/a/{account_id}/c/{client_folder_id}"
        self._page_size = page_size
        self._reread_pages = reread_pages
        self._by_key = True
        self._in_order = True
        self._observer: Observer | None = None
        self.key = f"{account_id}/{client_folder_id}"

    def watched(self, observer: Observer) -> Folder:
        """The same client folder, with an observer of everything that is read from now on."""
        folder = copy.copy(self)
        folder._observer = observer
        return folder

    def contacts(self, sink: Sink, known: Known | None = None) -> Proof:
        """Every contact, on a list or not: by ascending id where the service takes that, else by offset."""
        if self._by_key:
            try:
                return read_by_key(
                    self._contacts_after,
                    lambda: self.count("contacts"),
                    sink,
                    id_key="contactId",
                    page_size=self._page_size,
                    known=known,
                )
            except KeyPagingUnsupported:
                self._by_key = False
                known = None
        return self._by_offset("contacts", sink, known, id_key="contactId", params=_ALL)

    def messages(self, sink: Sink, known: Known | None = None) -> Proof:
        """Every message, with its bodies, in the order of their creation where the service takes `orderby`."""
        size = min(MESSAGES_PAGE, self._page_size)
        if self._in_order:
            try:
                return self._by_offset("messages", sink, known, id_key="messageId", page_size=size, params=_IN_ORDER)
            except (Rejected, TermIgnored):
                self._in_order = False
                known = None
        return self._by_offset("messages", sink, known, id_key="messageId", page_size=size)

    def sends(self, sink: Sink, known: Known | None = None) -> Proof:
        """Every send."""
        return self._by_offset("sends", sink, known, id_key="sendId")

    def lists(self, sink: Sink, known: Known | None = None) -> Proof:
        """Every list."""
        return self._by_offset("lists", sink, known, id_key="listId")

    def subscriptions(self, list_id: str, sink: Sink, known: Known | None = None) -> Proof:
        """Every subscription to one list. Raises Incomplete if the service did not apply the filter."""
        return self._by_offset(
            "subscriptions",
            sink,
            known,
            id_key="contactId",
            params={"listId": list_id},
            belongs=lambda row: as_id(row.get("listId")) == list_id,
        )

    def activity(self, message_id: str, kind: str, sink: Sink, known: Known | None = None) -> Proof:
        """One of the four listings of a message: `bounces`, `opens`, `clicks`, `unsubscribes`."""
        return self._by_offset(f"messages/{message_id}/{kind}", sink, known)

    def count(self, resource: str) -> int | None:
        """How many rows a listing of the folder announces (`contacts`, `messages`, ...), for one request."""
        params: dict[str, str | int] = {"limit": 1, "offset": 0}
        return self._page(resource, resource, {**_ALL, **params} if resource == "contacts" else params).total

    def statistics(self, message_id: str) -> Statistics:
        """iContact's own statistics of a message."""
        path = f"{self._base}/messages/{message_id}/statistics"
        found = self.session.get(path, None, _holds_statistics).body["statistics"] or {}
        opens, clicks = found.get("opens"), found.get("clicks")
        opens = opens if isinstance(opens, dict) else {}
        clicks = clicks if isinstance(clicks, dict) else {}
        return Statistics(
            bounces=as_int(found.get("bounces")),
            delivered=as_int(found.get("delivered")),
            unsubscribes=as_int(found.get("unsubscribes")),
            opens_unique=as_int(opens.get("unique")),
            opens_total=as_int(opens.get("total")),
            clicks_unique=as_int(clicks.get("unique")),
            clicks_total=as_int(clicks.get("total")),
            forwards=as_int(found.get("forwards")),
            comments=as_int(found.get("comments")),
            complaints=as_int(found.get("complaints")),
        )

    def contact(self, contact_id: str) -> Row:
        """One contact, deleted or not. Raises NotFound."""
        return self._single(f"contacts/{contact_id}", "contact")

    def contacts_by_id(self, ids: Sequence[str]) -> dict[str, Row]:
        """The contacts of these ids as they are now, 50 a request. Those that do not exist are left out."""
        found = self.contacts_shown(ids)
        for id_ in dict.fromkeys(ids):
            if id_ not in found:
                try:
                    found[id_] = self.contact(id_)
                except NotFound:
                    continue
        return found

    def contacts_shown(self, ids: Sequence[str]) -> dict[str, Row]:
        """Those of the contacts that a search by id shows, 50 a request: deleted ones may be left out."""
        found: dict[str, Row] = {}
        for start in range(0, len(ids), _IDS_PER_REQUEST):
            wanted = list(dict.fromkeys(ids[start : start + _IDS_PER_REQUEST]))
            params: dict[str, str | int] = {**_ALL, "contactId": ",".join(wanted), "limit": len(wanted), "offset": 0}
            reply = self.session.get(f"{self._base}/contacts", params, _holds("contacts"))
            page = self._seen(_collection(reply.body, "contacts"), "contacts")
            rows = {} if reply.warnings else {as_id(row.get("contactId")): row for row in page.rows}
            found |= {id_: rows[id_] for id_ in wanted if id_ in rows}
        return found

    def contacts_by_email(self, address: str, same: Callable[[str, str], bool]) -> list[Row]:
        """The contacts with exactly this address, on a list or not. `same` says whether two texts are one address.

        Raises ValueError for an address that iContact would read as a pattern or as several, and Incomplete if the
        answer may not be about this address alone. Neither shows it.
        """
        if not _LITERAL.fullmatch(address):
            raise ValueError("the address cannot be looked up exactly")
        params: dict[str, str | int] = {**_ALL, "email": address, "limit": 10, "offset": 0}
        page = self._page("contacts", "contacts", params)
        mine = [row for row in page.rows if same(str(row.get("email")), address)]
        if len(mine) < len(page.rows) or page.total not in (None, len(mine)):
            raise Incomplete("iContact ignored the filter on contacts by address: others came too")
        return mine

    def subscription(self, list_id: str, contact_id: str) -> Row | None:
        """One subscription, None if there is none."""
        try:
            return self._single(f"subscriptions/{list_id}_{contact_id}", "subscription")
        except NotFound:
            return None

    def subscribe(self, list_id: str, contact_ids: Sequence[str], before: Before) -> SubscribeReply:
        """Subscribe at most 100 contacts in one POST. A 200 may hold refusals: see the rows that did not come back.

        `before` as in `Session.post`, here and for the other writes.
        """
        if not 0 < len(contact_ids) <= _SUBSCRIBE_AT_MOST:
            raise ValueError(f"a batch has 1 to {_SUBSCRIBE_AT_MOST} contacts, not {len(contact_ids)}")
        body = [{"contactId": id_, "listId": list_id, "status": "normal"} for id_ in contact_ids]
        reply = self.session.post(f"{self._base}/subscriptions", body, before)
        found = reply.body.get("subscriptions") if isinstance(reply.body, dict) else None
        rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
        self._seen(Page(rows, None), "subscriptions")
        return SubscribeReply(rows, tuple(map(_remark, remarks(reply.body), reply.warnings)))

    def unsubscribe(self, list_id: str, contact_id: str, before: Before) -> Row:
        """Unsubscribe a contact from a list, for good. Returns the subscription as iContact then has it.

        Raises Unconfirmed if the answer does not hold it.
        """
        path = f"{self._base}/subscriptions/{list_id}_{contact_id}"
        return self._one(self.session.post(path, {"status": "unsubscribed"}, before), "subscription", path)

    def move_subscription(self, list_id: str, contact_id: str, to_list_id: str, before: Before) -> Row:
        """Move a subscription to another list. Returns the new one. Raises Unconfirmed if the answer has none."""
        path = f"{self._base}/subscriptions/{list_id}_{contact_id}"
        return self._one(self.session.put(path, {"listId": to_list_id}, before), "subscription", path)

    def _single(self, path: str, key: str) -> Row:
        full = f"{self._base}/{path}"
        return self._one(self.session.get(full), key, full)

    def _one(self, reply: Reply, key: str, path: str) -> Row:
        row = _one(reply, key, path)
        self._seen(Page([row], None), f"{key}s")
        return row

    def _seen(self, page: Page, key: str) -> Page:
        if self._observer is not None and key in ("contacts", "subscriptions"):
            show = self._observer.contact if key == "contacts" else self._observer.subscription
            for row in page.rows:
                show(row)
        return page

    def _contacts_after(self, after: str, limit: int) -> Page:
        params: dict[str, str | int] = {
            **_ALL,
            "contactId": after,
            "contactIdSearchType": "gt",
            "orderby": "contactId",
            "limit": limit,
            "offset": 0,
        }
        try:
            reply = self.session.get(f"{self._base}/contacts", params, _holds("contacts"))
        except Rejected as error:
            raise KeyPagingUnsupported from error
        if reply.warnings:
            raise KeyPagingUnsupported
        return self._seen(_collection(reply.body, "contacts"), "contacts")

    def _page(self, path: str, key: str, params: Mapping[str, str | int]) -> Page:
        reply = self.session.get(f"{self._base}/{path}", params, _holds(key))
        page = self._seen(_collection(reply.body, key), key)
        if reply.warnings and params.keys() - {"limit", "offset"}:
            raise TermIgnored(f"iContact may have ignored the filter on {path}: {' '.join(reply.warnings)[:300]}")
        return page

    def _by_offset(
        self,
        path: str,
        sink: Sink,
        known: Known | None,
        *,
        id_key: str | None = None,
        params: Mapping[str, str | int] | None = None,
        page_size: int | None = None,
        belongs: Callable[[Row], bool] | None = None,
    ) -> Proof:
        key = path.rpartition("/")[2]

        def fetch(offset: int, limit: int) -> Page:
            page = self._page(path, key, {**(params or {}), "limit": limit, "offset": offset})
            if belongs is not None and not all(belongs(row) for row in page.rows):
                raise Incomplete(f"iContact ignored the filter on {path}: rows of others came too")
            return page

        return read_by_offset(
            fetch,
            sink,
            page_size=page_size or self._page_size,
            id_key=id_key,
            known=known,
            reread_pages=self._reread_pages,
        )


def _holds(key: str) -> Callable[[Any], bool]:
    """Whether a body is a collection of `key`: that may be null, {} or missing where `total` says there are none."""

    def holds(body: Any) -> bool:
        if not isinstance(body, dict):
            return False
        rows = body.get(key)
        if isinstance(rows, list):
            return set(map(type, rows)) <= {dict}
        total, offset = as_int(body.get("total")), as_int(body.get("offset")) or 0
        return not rows and total is not None and (total == 0 or offset >= total)

    return holds


def _holds_statistics(body: Any) -> bool:
    """Whether a body holds statistics. Those of a draft may be null, or [] as PHP writes an object without members."""
    if not isinstance(body, dict) or "statistics" not in body:
        return False
    return isinstance(body["statistics"], dict) or body["statistics"] in (None, [])


def _collection(body: Any, key: str) -> Page:
    return Page(body.get(key) or [], as_int(body.get("total")))


def _one(reply: Reply, key: str, path: str) -> Row:
    row = reply.body.get(key) if isinstance(reply.body, dict) else None
    if not isinstance(row, dict):
        said = " ".join(reply.warnings)[:300]
        text = f"{path}: the answer holds no {key}. {said}"
        raise Rejected(text, without_effect=False, status=200, said=said) if said else Unconfirmed(text)
    return row


def _remark(text: str, shown: str) -> Remark:
    text = text[:_REMARK_LENGTH]
    numbers = (as_id(number) for number in _NUMBER.findall(text))
    return Remark(shown[:_REMARK_LENGTH], frozenset(i for i in numbers if i is not None), tuple(addresses_in(text)))
