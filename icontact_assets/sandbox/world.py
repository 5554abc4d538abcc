"""The facts: folders, people, mailings, events, and the clock they are seen by. No HTTP, no JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from icontact_assets.sandbox.switches import Switches

Kind = Literal["bounces", "opens", "clicks", "unsubscribes"]
KINDS: tuple[Kind, ...] = ("bounces", "opens", "clicks", "unsubscribes")
Longs = npt.NDArray[np.int64]
NEVER = 2**62

ACCOUNT = 1300001
CLOSED_ACCOUNT = 1300002
CONTACT_FIELDS = (
    "email", "firstName", "lastName", "prefix", "suffix", "fax", "phone",
    "street", "street2", "city", "state", "postalCode", "business",
)  # fmt: skip


class Clock:
    """Sandbox time. It runs with real time or stands still. It can be set and moved, also backwards."""

    def __init__(self, now: float, frozen: bool) -> None:
        self._base = now
        self._since = time.monotonic()
        self._jumps = 0.0
        self.frozen = frozen
        self._held: int | None = None

    @contextmanager
    def held(self) -> Iterator[int]:
        """One instant for all that is done meanwhile."""
        self._held = self.now()
        try:
            yield self._held
        finally:
            self._held = None

    def now(self) -> int:
        """The present, in whole seconds of Unix time."""
        if self._held is not None:
            return self._held
        return int(self._base if self.frozen else self._base + time.monotonic() - self._since)

    def limiter(self) -> float:
        """Seconds for request limits: they run on when the clock stands still, and jump forward with it."""
        return time.monotonic() + self._jumps

    def set(self, now: float) -> None:
        self._jumps += max(0.0, now - self.now())
        self._base, self._since = now, time.monotonic()

    def freeze(self, frozen: bool) -> None:
        self._base, self._since = float(self.now()), time.monotonic()
        self.frozen = frozen


@dataclass(slots=True)
class Contact:
    id: int
    created: int
    fields: dict[str, str | None]
    status: str = "normal"
    bounce_count: int | None = None
    custom: dict[str, str | None] = field(default_factory=dict)
    bounced_at: int = NEVER
    refused: str | None = None
    """The words with which the service refuses to subscribe or move the contact, though nothing shows why."""

    def status_at(self, now: int) -> str:
        return "bounced" if self.status == "normal" and self.bounced_at <= now else self.status

    def moments(self) -> Iterable[int]:
        return (self.created, self.bounced_at)


@dataclass(slots=True)
class Message:
    id: int
    created: int
    subject: str
    html: str
    text: str = ""
    name: str = ""
    type: str = "normal"
    campaign_id: int | None = None
    preview: str | None = None
    spam: list[tuple[str, str]] = field(default_factory=list)

    def moments(self) -> Iterable[int]:
        return (self.created,)


@dataclass(slots=True)
class Send:
    id: int
    message_id: int
    made: int
    scheduled: int
    released: int
    recipients: int
    include_lists: str = ""
    exclude_lists: str = ""
    include_segments: str = ""
    exclude_segments: str = ""
    cancelled: bool = False
    automation: bool = False

    @property
    def created(self) -> int:
        return self.made

    def status_at(self, now: int) -> str:
        if self.cancelled:
            return "cancelled"
        if self.released <= now:
            return "released"
        return "sending" if self.scheduled <= now else "pending"

    def moments(self) -> Iterable[int]:
        return (self.made, self.scheduled, self.released)


@dataclass(slots=True)
class MailingList:
    id: int
    name: str
    publicname: str = ""
    description: str = ""
    owner_on_change: int = 1
    welcome_manual: int = 0
    welcome_signup: int = 0
    welcome_message: str = ""
    created: int = 0

    def moments(self) -> Iterable[int]:
        return ()


@dataclass(slots=True)
class Subscription:
    list_id: int
    contact_id: int
    status: str
    created: int
    unsubscribed_at: int = NEVER
    confirmation_message: int | None = None

    def status_at(self, now: int) -> str:
        return "unsubscribed" if self.unsubscribed_at <= now else self.status

    def moments(self) -> Iterable[int]:
        return (self.created, self.unsubscribed_at)


@dataclass(slots=True)
class Plain:
    """A row of the small resources (campaigns, custom fields, segments, web hooks), kept as the service writes it."""

    id: int | str
    row: dict[str, Any]
    criteria: list[dict[str, Any]] = field(default_factory=list)
    created: int = 0

    def moments(self) -> Iterable[int]:
        return ()


class ActivityLog:
    """The rows of one message and kind in listing order, as arrays. `visible` is from when, `link` -1 means none."""

    __slots__ = ("_figures", "at", "contact", "link", "version", "visible")

    def __init__(self, contact: Longs, at: Longs, visible: Longs, link: npt.NDArray[np.int32]) -> None:
        self.contact, self.at, self.visible, self.link = contact, at, visible, link
        self.version = 0
        self._figures: dict[tuple[Any, ...], tuple[int, int]] = {}

    @classmethod
    def empty(cls) -> ActivityLog:
        none = np.empty(0, np.int64)
        return cls(none, none, none, np.empty(0, np.int32))

    def __len__(self) -> int:
        return len(self.at)

    def insert(
        self, position: int | None, contact: int, at: int, visible: int, link: int, *, times: int = 1, apart: int = 0
    ) -> None:
        """Puts a row, or `times` of them, at a place in the listing. Without a place, behind the last that is not later.

        Rows that are seconds `apart` are of one contact after the other.
        """
        if position is None:
            position = int(np.searchsorted(self.at, at, side="right"))
        steps = np.arange(times, dtype=np.int64)
        self.contact = np.insert(self.contact, position, contact + steps * bool(apart))
        self.at = np.insert(self.at, position, at + steps * apart)
        self.visible = np.insert(self.visible, position, np.full(times, visible))
        self.link = np.insert(self.link, position, np.full(times, link, np.int32))
        self.version += 1

    def remove(self, positions: Longs) -> None:
        self.contact, self.at = np.delete(self.contact, positions), np.delete(self.at, positions)
        self.visible, self.link = np.delete(self.visible, positions), np.delete(self.link, positions)
        self.version += 1

    def shown(self, now: int, folder: Folder, kind: Kind, switches: Switches) -> Longs:
        """Positions of the rows that the service shows at an instant, in listing order, under the switches."""
        mask = self.visible + switches.latency_seconds <= now
        if switches.retention_days:
            mask &= self.at >= now - switches.retention_days * 86_400
        if switches.activity_of_deleted == "drop":
            there = [row.id for row in folder.contacts.values() if row.status != "deleted"]
            mask &= np.isin(self.contact, np.array(there, np.int64))
        positions: Longs = np.flatnonzero(mask).astype(np.int64, copy=False)
        if switches.opens_rows == "first" and kind == "opens":
            positions = positions[_firsts(self.contact[positions])]
        elif switches.identical_rows == "drop":
            positions = positions[_firsts(self.contact[positions], self.at[positions], self.link[positions])]
        return positions

    def figures(self, now: int, folder: Folder, kind: Kind, switches: Switches) -> tuple[int, int]:
        """(distinct contacts, rows) that are shown at an instant. They are remembered until something about them changes."""
        if switches.statistics == "ever":
            switches = switches.model_copy(update={"retention_days": 0, "activity_of_deleted": "keep"})
        positions = self.shown(now, folder, kind, switches)
        ends = (int(positions[0]), int(positions[-1])) if len(positions) else None
        key = (self.version, len(positions), ends, switches.statistics)
        if key not in self._figures:
            rows = len(positions)
            if switches.statistics == "distinct":
                rows = len(_firsts(self.contact[positions], self.at[positions], self.link[positions]))
            self._figures = {key: (len(np.unique(self.contact[positions])), rows)}
        return self._figures[key]


def _firsts(*columns: npt.NDArray[Any]) -> Longs:
    """Positions of the first occurrence of every distinct combination, ascending."""
    if not len(columns[0]):
        return np.empty(0, np.int64)
    table = np.stack([column.astype(np.int64) for column in columns], axis=1)
    _, first = np.unique(table, axis=0, return_index=True)
    return np.sort(first).astype(np.int64)


@dataclass
class Folder:
    """One client folder with everything in it. Who changes its rows calls `touch`, so that listings notice."""

    id: int
    name: str
    contacts: dict[int, Contact] = field(default_factory=dict)
    messages: dict[int, Message] = field(default_factory=dict)
    sends: dict[int, Send] = field(default_factory=dict)
    lists: dict[int, MailingList] = field(default_factory=dict)
    subscriptions: dict[tuple[int, int], Subscription] = field(default_factory=dict)
    campaigns: dict[int, Plain] = field(default_factory=dict)
    customfields: dict[str, Plain] = field(default_factory=dict)
    segments: dict[int, Plain] = field(default_factory=dict)
    webhooks: dict[int, Plain] = field(default_factory=dict)
    activity: dict[tuple[int, Kind], ActivityLog] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    statistics: dict[int, dict[str, Any]] = field(default_factory=dict)
    history: dict[int, list[tuple[int, str, dict[str, Any]]]] = field(default_factory=dict)
    version: int = 0
    by_email: dict[str, set[int]] = field(default_factory=dict)
    """Who has an address in lower case. The service keeps it unique, planted contacts need not."""
    lists_of: dict[int, set[int]] = field(default_factory=dict)
    pending: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)
    """Writes that show late: from when, from which request on, and the change."""
    requests: int = 0
    _link_numbers: dict[str, int] = field(default_factory=dict)
    _last_ids: dict[str, int] = field(default_factory=dict)

    def touch(self) -> None:
        self.version += 1

    def put_contact(self, row: Contact) -> None:
        self._forget_email(row.id)
        self.contacts[row.id] = row
        if row.status != "deleted":
            self.by_email.setdefault((row.fields.get("email") or "").lower(), set()).add(row.id)
        self.touch()

    def drop_contact(self, contact_id: int) -> None:
        """The contact and its subscriptions are gone without a trace. Its activity stays."""
        self._forget_email(contact_id)
        del self.contacts[contact_id]
        for list_id in list(self.lists_of.get(contact_id, ())):
            self.drop_subscription(list_id, contact_id)
        self.touch()

    def _forget_email(self, contact_id: int) -> None:
        row = self.contacts.get(contact_id)
        email = (row.fields.get("email") or "").lower() if row is not None else ""
        self.by_email.get(email, set()).discard(contact_id)

    def put_subscription(self, row: Subscription) -> None:
        self.subscriptions[row.list_id, row.contact_id] = row
        self.lists_of.setdefault(row.contact_id, set()).add(row.list_id)
        self.touch()

    def drop_subscription(self, list_id: int, contact_id: int) -> None:
        del self.subscriptions[list_id, contact_id]
        self.lists_of[contact_id].discard(list_id)
        self.touch()

    def new_id(self, resource: str, first: int, wanted: int | None = None) -> int:
        """An id that was never given out, or the wanted one. Delayed writes have theirs before they show."""
        self.keep_last_id(resource, first)
        given = self._last_ids[resource] + 1 if wanted is None else wanted
        self._last_ids[resource] = max(self._last_ids[resource], given)
        return given

    def keep_last_id(self, resource: str, first: int) -> None:
        """Remember the last id that was given out: before a row goes, whose id must not come again."""
        if resource not in self._last_ids:
            self._last_ids[resource] = max(getattr(self, resource), default=first - 1)

    def log(self, message_id: int, kind: Kind) -> ActivityLog:
        return self.activity.setdefault((message_id, kind), ActivityLog.empty())

    def link_number(self, url: str | None) -> int:
        if url is None:
            return -1
        if not self._link_numbers:
            self._link_numbers = {link: number for number, link in enumerate(self.links)}
        if url not in self._link_numbers:
            self._link_numbers[url] = len(self.links)
            self.links.append(url)
        return self._link_numbers[url]

    def on_a_list(self, contact_id: int, now: int) -> bool:
        """Whether the contact has a subscription that is neither left nor in the future."""
        for list_id in self.lists_of.get(contact_id, ()):
            row = self.subscriptions[list_id, contact_id]
            if row.created <= now and row.status_at(now) != "unsubscribed":
                return True
        return False

    def later(self, at: int, requests: int, change: Callable[[], None]) -> None:
        """Carries out a change at an instant, and after so many more requests."""
        self.pending.append((at, self.requests + requests + 1 if requests else 0, change))

    def settle(self, now: int) -> None:
        """Carries out the delayed writes whose time has come."""
        due = [change for at, number, change in self.pending if at <= now and number <= self.requests]
        self.pending = [item for item in self.pending if item[0] > now or item[1] > self.requests]
        for change in due:
            change()


def next_moment(rows: Iterable[Any], now: int) -> int:
    """The next instant at which any of the rows changes by itself."""
    return min((moment for row in rows for moment in row.moments() if moment > now), default=NEVER)


@dataclass
class World:
    """Everything one sandbox holds. `calls` numbers what must differ per call and still repeat per seed."""

    seed: int
    clock: Clock
    folders: dict[int, Folder]
    switches: Switches
    calls: Iterator[int]
