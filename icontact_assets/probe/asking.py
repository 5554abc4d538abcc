"""What is asked, and in which order: the most telling first. What is not answered leaves no hole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from icontact_assets.icontact.looking import Get
from icontact_assets.icontact.values import as_id, as_instant, as_int, as_text
from icontact_assets.probe.client import Client, Stopped
from icontact_assets.probe.sight import KINDS, Row, Sight, ids_of

LARGE = 5_000
"""The largest page that is asked for."""
SMALL = 20
_SMALLER = (1_000, 500, 100, SMALL, 10, 5, 1)
_BISECT = 3
_USUAL_PAGE = 500
_ACTIVITY = (100, SMALL, 5)
_REFUSED = (401, 402, 507)
_SEARCH = 4
_SENDS_PAGES = 3
_MESSAGES = 50
_MESSAGES_MOST = 500
_MESSAGES_BYTES = 8 << 20
LIST_VALUES = (200, 50, 10)
"""How many ids one search is tried with."""
MANY_RECIPIENTS = 30
"""Of so many, some open within days."""
SOON = timedelta(days=3)
"""Half of all opens come within hours of a send: the first does within this time."""
_NO_ID = 999_999_999
_UNSENT = 4
_ALL: dict[str, str | int] = {"status": "total"}


@dataclass(frozen=True)
class Place:
    """Where is asked."""

    account_id: str
    client_folder_id: str

    @property
    def base(self) -> str:
        """What the paths of the client folder begin with."""
        return f"/a/{self.account_id}/c/{self.client_folder_id}"


def look(client: Client, place: Place, sight: Sight, wrong_password: Get) -> None:
    """Ask everything, and put it into `sight` as it comes. Whatever ends it early, what was seen until then is there.

    `wrong_password`: the way to ask that iContact refuses. It is used once, at the very end.
    """
    try:
        _Asking(client, place, sight).everything()
        sight.answers["wrong_password"] = client.ask_once(wrong_password, "a wrong password", place.base + "/lists")
    except Stopped as stopped:
        sight.stopped = str(stopped)
    finally:
        sight.requests, sight.failures, sight.refusals = client.requests, client.failures, client.refusals
        sight.limit = client.limit


class _Asking:
    def __init__(self, client: Client, place: Place, sight: Sight) -> None:
        self._client = client
        self._place = place
        self._sight = sight
        self._messages: list[str] = []
        self._most_activity = SMALL

    def everything(self) -> None:
        self._service()
        self._contacts()
        self._listings()
        self._chosen_messages()
        self._activity()
        self._people()
        self._paging()
        self._more()

    def _ask(self, name: str, path: str, params: Mapping[str, str | int], key: str = "") -> None:
        self._sight.keys[name] = key
        self._sight.lengths[name] = len(path) + sum(len(term) + len(str(value)) + 2 for term, value in params.items())
        limit = params.get("limit", 0)
        if isinstance(limit, int):
            self._sight.asked[name] = limit
        what = name.partition(":")[0].replace("_", " ")
        answer = self._client.ask(what, path, params, patient=self._sight.asked[name] <= _USUAL_PAGE)
        self._sight.answers[name] = answer
        # More of the same would only lock somebody out.
        if answer is not None and answer.status in (_REFUSED if name != "contacts" else (*_REFUSED, 403, 404)):
            raise Stopped(f"iContact refuses this user, account or client folder with {answer.status}")

    def _folder(self, name: str, path: str, key: str = "", **params: str | int) -> None:
        self._ask(name, f"{self._place.base}/{path}", params, key)

    def _service(self) -> None:
        sight = self._sight
        self._ask("time", "/time", {})
        answer = sight.seen("time")
        told = as_instant(as_text(sight.body("time").get("time")))
        if told is not None and answer is not None:
            sight.now = told
        self._ask("accounts", "/a", {}, "accounts")
        self._ask("client_folders", f"/a/{self._place.account_id}/c", {}, "clientfolders")

    def _contacts(self) -> None:
        self._folder("contacts", "contacts", "contacts", **_ALL, limit=SMALL, offset=0)
        self._largest_page("contacts")
        if not self._sight.is_page("contacts"):
            self._folder("contacts", "contacts", "contacts", **_ALL, limit=self._few(), offset=0)
        self._folder("custom_fields", "customfields", "customfields")

    def _largest_page(self, resource: str) -> None:
        """A page as large as possible: if it is refused, smaller ones until one comes, then between the two."""
        refused = LARGE
        for limit in (LARGE, *_SMALLER):
            if self._page_of(resource, limit):
                break
            refused = limit
        else:
            return
        for _ in range(_BISECT):
            if limit == LARGE or refused - limit < 2:
                break
            middle = (limit + refused) // 2
            if self._page_of(resource, middle):
                limit = middle
            else:
                refused = middle

    def _page_of(self, resource: str, limit: int) -> bool:
        name = f"{resource}_large:{limit}"
        self._folder(name, resource, resource, **_ALL, limit=limit, offset=0)
        return self._sight.is_page(name)

    def _listings(self) -> None:
        most = min(_USUAL_PAGE, self._accepted())
        for name in ("lists", "subscriptions", "sends"):
            self._folder(name, name, name, limit=most, offset=0)
            if not self._sight.is_page(name) and most > SMALL:
                self._folder(name, name, name, limit=SMALL, offset=0)
            ids = ids_of(self._sight.rows("lists"), "listId")
            if not self._sight.is_page(name) and name == "subscriptions" and ids:
                # As we read them.
                self._folder(name, name, name, listId=ids[0], limit=min(SMALL, most), offset=0)
        self._more_sends(most)
        self._folder("messages", "messages", "messages", limit=min(_MESSAGES, most), offset=0)
        answer = self._sight.seen("messages")
        if not self._sight.is_page("messages"):
            # One bad row spoils a page of many.
            self._folder("messages_few", "messages", "messages", limit=2, offset=0)
            return
        rows = self._sight.rows("messages")
        size = answer.size / len(rows) if answer is not None and rows else 0
        most = min(most, _MESSAGES_MOST if size == 0 else int(_MESSAGES_BYTES / size))
        if rows and most > len(rows):
            self._folder("messages_large", "messages", "messages", limit=most, offset=0)

    def _more_sends(self, limit: int) -> None:
        """The next pages of sends, or, where there are many, the last: nobody knows at which end the newest are."""
        total, seen = self._sight.total("sends") or 0, len(self._sight.rows("sends"))
        pages: Sequence[int] = range(seen, total, seen) if seen else ()
        if len(pages) > _SENDS_PAGES:
            pages = (max(seen, total - seen),)
        for offset in pages:
            self._folder(f"sends_from:{offset}", "sends", "sends", limit=limit, offset=offset)

    def _chosen_messages(self) -> None:
        """The statistics of a few messages: those that most people got, the newest, the oldest."""
        now, sent = self._sight.now, self._sent()
        enough = max(MANY_RECIPIENTS, max((as_int(row.get("recipientCount")) or 0 for row in sent), default=0) // 5)
        by_size = sorted(sent, key=lambda row: as_int(row.get("recipientCount")) or 0, reverse=True)
        known = [(released, row) for row in by_size if (released := released_at(row)) is not None and released < now]
        newest = [row for _, row in sorted(known, key=lambda item: item[0], reverse=True)]
        large = [row for row in reversed(newest) if (as_int(row.get("recipientCount")) or 0) >= enough]
        chosen = [*by_size[:3], *newest[:1], *large[:1], *newest[1:3]]
        ids = ids_of(chosen, "messageId") or ids_of(self._sight.rows("messages")[:5], "messageId")
        self._messages = list(dict.fromkeys(ids))[:5]
        for id_ in self._messages:
            self._folder(f"statistics:{id_}", f"messages/{id_}/statistics")

    def _sent(self) -> list[Row]:
        return [row for row in self._sight.rows_of("sends") if released_at(row) is not None]

    def _activity(self) -> None:
        """Each kind twice, of the message that has the most of it; opens of the newest and the oldest once more."""
        if not self._messages:
            return
        self._most_activity = self._accepted()
        for kind in KINDS:
            id_ = max(self._messages, key=lambda id_: reported(self._sight, id_, kind) or 0)
            self._listing(kind, id_, 1, self._most_activity)
            # Its pages may be shorter than those of contacts.
            for limit in _ACTIVITY:
                if limit < self._most_activity and not self._sight.is_page(f"{kind}:{id_}:1"):
                    self._most_activity = limit
                    self._listing(kind, id_, 1, limit)
            self._listing(kind, id_, 2, min(_USUAL_PAGE, self._most_activity))
        sends = {as_id(row.get("messageId")): released_at(row) for row in self._sent()}
        dated = sorted((at, id_) for id_ in self._messages if (at := sends.get(id_)) is not None)
        for _, id_ in dict.fromkeys([*dated[-1:], *dated[:1]]):
            self._opens(id_)
        if dated and lost_opens(self._sight, dated[0][1]):
            self._until_when(dated[0][0], dated[-1][0])

    def _opens(self, id_: str) -> None:
        if id_ not in self._sight.listings("opens"):
            self._listing("opens", id_, 1, self._most_activity)

    def _until_when(self, first: datetime, last: datetime) -> None:
        """The opens of a few messages between one that has lost them and one that has not: how old they get."""
        many = [row for row in self._sent() if (as_int(row.get("recipientCount")) or 0) >= MANY_RECIPIENTS]
        ids = {released: as_id(row.get("messageId")) for row in many if (released := released_at(row)) is not None}
        between = sorted(released for released in ids if first < released < last)
        for _ in range(_SEARCH):
            id_ = ids[between[len(between) // 2]] if between else None
            if id_ is None:
                return
            self._opens(id_)
            middle = len(between) // 2
            between = between[middle + 1 :] if lost_opens(self._sight, id_) else between[:middle]

    def _listing(self, kind: str, id_: str, number: int, limit: int) -> None:
        self._folder(f"{kind}:{id_}:{number}", f"messages/{id_}/{kind}", kind, limit=limit, offset=0)

    def _accepted(self) -> int:
        """The largest page of contacts that came."""
        pages = [name for name in self._sight.names("contacts") if self._sight.is_page(name)]
        return max((self._sight.asked.get(name, 0) for name in pages), default=SMALL) or SMALL

    def _few(self) -> int:
        return min(SMALL, self._accepted())

    def _people(self) -> None:
        sight = self._sight
        self._folder("deleted", "contacts", "contacts", status="deleted", limit=self._few(), offset=0)
        deleted = ids_of([row for row in sight.rows("deleted") if row.get("status") == "deleted"], "contactId")[:1]
        seen = Counter(id_ for kind in KINDS for id_ in ids_of(sight.rows_of(kind), "contactId"))
        people = [id_ for id_, _ in seen.most_common()]
        # Those without a row among the contacts seen first: they are more likely to be gone.
        contacts = set(ids_of(sight.rows_of("contacts"), "contactId"))
        wanted = list(dict.fromkeys([*deleted, *(id_ for id_ in people if id_ not in contacts), *people]))
        self._known(wanted)
        missing = [id_ for id_ in self._missing(wanted) if id_ not in deleted][:3]
        for id_ in [*deleted, *missing]:
            self._folder(f"contact:{id_}", f"contacts/{id_}")
        if people or contacts:
            id_ = people[0] if people else min(contacts)
            self._folder(
                "actions", f"contacts/{id_}/actions", "actions", limit=min(_USUAL_PAGE, self._accepted()), offset=0
            )

    def _known(self, wanted: list[str]) -> None:
        """One search for as many contacts as may be: it shows who is gone, and how long a list of ids may be."""
        for count in LIST_VALUES:
            # Ids of nobody make up the number.
            ids = [*wanted[:count], *(str(_NO_ID - n) for n in range(count - len(wanted[:count])))]
            limit = min(count, self._accepted())
            name = f"known:{count}"
            self._folder(name, "contacts", "contacts", **_ALL, contactId=",".join(ids), limit=limit, offset=0)
            if self._sight.is_page(name):
                break
        else:
            return
        cut = len(self._sight.rows(name))
        if not self._sight.is_whole(name) and 0 < cut < count:
            # Pages are shorter than that: who is missing shows only where all fit.
            few = ",".join(ids[:cut])
            self._folder(f"some:{cut}", "contacts", "contacts", **_ALL, contactId=few, limit=cut, offset=0)

    def _missing(self, wanted: list[str]) -> list[str]:
        """Of the contacts that were searched for, those that did not show. None if not all can have."""
        sight = self._sight
        for name in searched(sight):
            answer = sight.seen(name)
            if sight.is_whole(name) and answer is not None and not answer.warnings:
                shown = set(ids_of(sight.rows(name), "contactId"))
                return [id_ for id_ in wanted[: int(name.split(":")[1])] if id_ not in shown]
        return []

    def _paging(self) -> None:
        sight = self._sight
        self._folder("contacts_default", "contacts", "contacts", limit=1, offset=0)
        self._folder("unlisted", "contacts", "contacts", status="unlisted", limit=1, offset=0)
        ids = sorted(map(int, set(ids_of(sight.rows_of("contacts"), "contactId"))))
        if len(ids) > 2:
            middle = ids[len(ids) // 2]
            self._compare("larger", middle)
            if len(str(ids[0])) > 1:
                # As a text, it is larger than most. As a number, it is smaller than all.
                self._compare("larger_text", int("9" * (len(str(ids[0])) - 1)))
            rising = ids_of(sight.rows("contacts"), "contactId")
            way = "asc" if rising == sorted(rising, key=int, reverse=True) else "desc"
            self._folder(
                "ordered", "contacts", "contacts", **_ALL, orderby=f"contactId:{way}", limit=self._few(), offset=0
            )
        total = sight.total("contacts")
        if total is not None:
            self._folder("past_end", "contacts", "contacts", **_ALL, limit=self._few(), offset=total + 1)
        self._folder("offset", "contacts", "contacts", **_ALL, limit=self._few(), offset=1)
        self._folder("limit_zero", "contacts", "contacts", **_ALL, limit=0, offset=0)
        self._folder("limit_negative", "contacts", "contacts", **_ALL, limit=-1, offset=0)
        self._folder("unknown_term", "contacts", "contacts", **_ALL, limit=1, offset=0, assetsProbe=1)
        self._folder("unknown_path", "assetsprobe")
        self._folder("unknown_message", f"messages/{_NO_ID}/opens", "opens", limit=1, offset=0)

    def _compare(self, name: str, id_: int) -> None:
        self._sight.larger_than[name] = id_
        self._folder(
            name, "contacts", "contacts", **_ALL, contactId=id_, contactIdSearchType="gt", limit=self._few(), offset=0
        )

    def _more(self) -> None:
        """A filter on activity, and the messages that have no send."""
        sight = self._sight
        for id_ in sight.listings("opens"):
            people = ids_of(sight.rows(sight.largest("opens", id_)), "contactId")
            if len(set(people)) > 1:
                path = f"messages/{id_}/opens"
                self._folder("filtered", path, "opens", contactId=people[0], limit=self._few(), offset=0)
                break
        for id_ in unsent(sight)[:_UNSENT]:
            self._folder(f"unsent:{id_}", f"messages/{id_}/statistics")


def released_at(send: Row) -> datetime | None:
    """When a send was released (aware UTC). None if it was not, or not readably."""
    return as_instant(as_text(send.get("releasedTime")))


def reported(sight: Sight, message: str, kind: str) -> int | None:
    """What statistics say of a kind of activity. None where they do not."""
    found = sight.body(f"statistics:{message}").get("statistics")
    value = found.get(kind) if isinstance(found, dict) else None
    return as_int(value.get("total") if isinstance(value, dict) else value)


def lost_opens(sight: Sight, message: str) -> bool:
    """Whether a message that many people got long enough ago has none of the opens of its first days."""
    sends = {as_id(row.get("messageId")): row for row in sight.rows_of("sends")}
    send = sends.get(message, {})
    released = released_at(send)
    if released is None or (as_int(send.get("recipientCount")) or 0) < MANY_RECIPIENTS:
        return False
    if message not in sight.listings("opens") or sight.now - released < 2 * SOON:
        return False
    name = sight.largest("opens", message)
    times = [at for row in sight.rows(name) if (at := as_instant(as_text(row.get("openTime")))) is not None]
    return sight.is_whole(name) and all(at - released > SOON for at in times)


def all_sends(sight: Sight) -> bool:
    """Whether all sends were seen."""
    total = sight.total("sends")
    return total is not None and len(set(ids_of(sight.rows_of("sends"), "sendId"))) >= total


def searched(sight: Sight) -> list[str]:
    """The searches for contacts by id."""
    return [*sight.names("known:"), *sight.names("some:")]


def unsent(sight: Sight) -> list[str]:
    """Messages that are no confirmations and have no send, newest first. None if not all sends were seen."""
    if not all_sends(sight):
        return []
    sent = set(ids_of(sight.rows_of("sends"), "messageId"))
    rows = [
        row
        for row in sight.rows_of("messages")
        if row.get("messageType") in ("normal", "autoresponder", "welcome", None)
    ]
    rows.sort(key=lambda row: as_instant(as_text(row.get("createDate"))) or datetime.min.replace(tzinfo=UTC))
    return [id_ for id_ in dict.fromkeys(reversed(ids_of(rows, "messageId"))) if id_ not in sent]


def age_in_days(sight: Sight, at: datetime) -> float:
    """How long ago something was, by the service's clock."""
    return (sight.now - at) / timedelta(days=1)
