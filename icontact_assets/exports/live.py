"""What iContact shows right now: the lists, who is on one, the contacts. A read is complete, or an error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from icontact_assets.errors import UserError
from icontact_assets.exports.consent import FRESH_FOR, Subscription, Suppressed, is_fresh
from icontact_assets.exports.person import normal_address
from icontact_assets.exports.suppression import SuppressionList
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.listing import Known, Proof, Row
from icontact_assets.icontact.values import as_id, as_text
from icontact_assets.plain import plain

SETTLE_SECONDS = 3.0
"""How long to wait before a list is read again that does not show what was written (API reference, unknown 28)."""

_IDS_PER_REQUEST = 50
_CONTACTS_PER_REQUEST = 500
_LISTS_SHOWN = 30


_NEVER = datetime.min.replace(tzinfo=UTC)

Clock = Callable[[], datetime]
"""Gives aware times."""


class Addresses(Protocol):
    """Notes the address of every contact that is read."""

    def address(self, contact_id: str, email: str | None) -> None: ...


def pause() -> None:
    """Wait until iContact shows what was written a moment ago."""
    time.sleep(SETTLE_SECONDS)


class PlanError(UserError):
    """There is no plan. One paragraph: what is wrong, and the remedy."""


@dataclass
class LiveList:
    """A list as iContact has it, of a verified read. A sink of its listing."""

    list_id: str
    name: str = ""
    statuses: dict[str, str | None] = field(default_factory=dict)
    """Contact id to status. None: it cannot be read."""
    unreadable: int = 0
    """Rows that name no contact."""
    proof: Proof | None = None
    """What the last read ended with. None: the list was not read yet."""
    read_at: datetime = _NEVER
    """When the last full read began (aware)."""
    grown_at: datetime = _NEVER
    """When the last read that looked for new rows began (aware)."""
    requests: int = 0
    """What the last full read cost."""
    _alone: dict[str, datetime] = field(default_factory=dict)
    """When single contacts were read after it."""

    def start(self) -> None:
        self.statuses.clear()
        self._alone.clear()
        self.unreadable = 0
        self.proof = None

    def page(self, offset: int, rows: list[Row]) -> None:  # noqa: ARG002 (a Sink)
        for row in rows:
            contact_id = subscriber(row)
            status = _status(row)
            if contact_id is None:
                self.unreadable += 1
            elif self.statuses.get(contact_id, "normal") == "normal":
                # If a contact has two rows on a list, the one that speaks against it counts.
                self.statuses[contact_id] = status

    def read(self, folder: Folder, clock: Clock, *, whole: bool = True) -> None:
        """Read the list. Unless `whole`, only the rows after the last read, if the end of that is still there.

        Raises PlanError if a row names no contact, Incomplete, and the other errors of iContact.
        """
        known = None if whole or self.proof is None else Known(self.proof.total, self.proof.tail, head=())
        began = clock()
        self.proof = folder.subscriptions(self.list_id, self, known)
        self.grown_at = began
        if not self.proof.start:
            self.read_at, self.requests = began, self.proof.requests
        if self.unreadable:
            raise PlanError(
                f"{self.unreadable} rows of the list {self.list_id} name no contact, so it is not known who is on it. "
                "Nothing was planned. Run again, and if it stays so, ask iContact's support about the list."
            )

    def status(self, contact_id: str) -> tuple[str | Literal[Subscription.ABSENT] | None, datetime]:
        """The contact's status on the list, and when that was read. Absent: as of the last look for new rows."""
        alone = self._alone.get(contact_id, _NEVER)
        if contact_id in self.statuses:
            return self.statuses[contact_id], max(alone, self.read_at)
        return Subscription.ABSENT, max(alone, self.grown_at)

    def read_alone(self, folder: Folder, contact_id: str, clock: Clock) -> None:
        """Read one contact's subscription. Raises the errors of iContact."""
        began = clock()
        row = folder.subscription(self.list_id, contact_id)
        if row is None:
            self.statuses.pop(contact_id, None)
        else:
            self.statuses[contact_id] = _status(row)
        self._alone[contact_id] = began

    def holds(self, contact_id: str) -> bool:
        """Whether the contact's subscription is `normal`."""
        return self.statuses.get(contact_id) == "normal"

    @property
    def size(self) -> int:
        """How many subscriptions are `normal`."""
        return sum(status == "normal" for status in self.statuses.values())


def _status(row: Row) -> str | None:
    """The status of a row. The few words are kept once, not once for each of 100,000 people."""
    status = as_text(row.get("status"))
    return None if status is None else sys.intern(status)


def subscriber(row: Row) -> str | None:
    """The contact id of a subscription row: its own field, else the second half of the subscription's id."""
    contact_id = as_id(row.get("contactId")) or as_id((as_text(row.get("subscriptionId")) or "").partition("_")[2])
    # The same id comes with many reads: one text of it is enough.
    return None if contact_id is None else sys.intern(contact_id)


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact as iContact shows it."""

    status: str | None
    """None: it cannot be read."""
    read_at: datetime
    """Not later than the request that showed the contact (aware)."""
    suppressed: Suppressed | None
    """Whether, and by what, it is on the suppression list. None: that is not known."""
    address: str | None = field(repr=False)
    """In its normal form. None: it has none, or it cannot be read."""


class Contacts:
    """Reads contacts of the list's client folder and holds each against the suppression list.

    `member_ids`: contact id in this folder to contact id in the audience, by which the suppression list names people.
    `total`: how many contacts the folder roughly has. None: not known, and they are asked for by id. `watch` notes
    their addresses.
    """

    def __init__(
        self,
        folder: Folder,
        suppression: SuppressionList,
        member_ids: Mapping[str, str],
        total: int | None,
        clock: Clock,
        watch: Addresses,
    ) -> None:
        self._watch = watch
        self._folder = folder
        self._suppression = suppression
        self._member_ids = member_ids
        self._total = total
        self._clock = clock
        self._took = timedelta(0)

    def read(self, contact_ids: Sequence[str]) -> dict[str, Contact]:
        """The contacts that exist, by whichever costs fewer requests: 50 ids each, or 500 of all contacts each."""
        return self.read_all(contact_ids) if self.all_is_cheaper(len(contact_ids)) else self.read_by_id(contact_ids)

    def all_is_cheaper(self, wanted: int) -> bool:
        """Whether reading every contact of the folder costs fewer requests than asking for so many by id."""
        return self._total is not None and wanted / _IDS_PER_REQUEST > self._total / _CONTACTS_PER_REQUEST + 1

    def read_again(self, contact_ids: Sequence[str], rest: Sequence[str]) -> dict[str, Contact]:
        """These contacts anew, together with the `rest` that will be asked for next if that costs fewer requests.

        That is a read of all contacts, which is only of use if it ends while its beginning is still fresh.
        """
        if not self.all_is_cheaper(len(rest)) or self._took > FRESH_FOR / 2:
            return self.read_by_id(contact_ids)
        found = self.read_all({*contact_ids, *rest})
        now = self._clock()
        old = [id_ for id_ in contact_ids if id_ in found and not is_fresh(found[id_].read_at, now)]
        return found | self.read_by_id(old)

    def read_by_id(self, contact_ids: Sequence[str]) -> dict[str, Contact]:
        """The contacts, 50 a request."""
        found: dict[str, Contact] = {}
        for start in range(0, len(contact_ids), _IDS_PER_REQUEST):
            at = self._clock()
            rows = self._folder.contacts_by_id(contact_ids[start : start + _IDS_PER_REQUEST])
            found |= {id_: self.of(id_, row, at) for id_, row in rows.items()}
        return found

    def read_all(self, contact_ids: Iterable[str]) -> dict[str, Contact]:
        """The contacts, out of the whole listing of the folder."""
        began = self._clock()
        sink = _Chosen(self, frozenset(contact_ids), self._clock)
        self._folder.contacts(sink)
        self._took = self._clock() - began
        return sink.found

    def of(self, contact_id: str, row: Row, at: datetime) -> Contact:
        """The contact that a row of the listing shows."""
        member_id, email = self._member_ids.get(contact_id, contact_id), as_text(row.get("email"))
        self._watch.address(contact_id, email)
        address = None if email is None else normal_address(email)
        return Contact(_status(row), at, self._suppression.match(member_id, email), address)


class _Chosen:
    """A sink of the contacts listing that keeps some. A page was asked for after the one before it had come."""

    def __init__(self, contacts: Contacts, wanted: frozenset[str], clock: Clock) -> None:
        self._contacts = contacts
        self._wanted = wanted
        self._clock = clock
        self._asked = clock()
        self.found: dict[str, Contact] = {}

    def start(self) -> None:
        self.found.clear()
        self._asked = self._clock()

    def page(self, offset: int, rows: list[Row]) -> None:  # noqa: ARG002 (a Sink)
        for row in rows:
            contact_id = as_id(row.get("contactId"))
            if contact_id in self._wanted and (
                contact_id not in self.found or self.found[contact_id].status == "normal"
            ):
                self.found[contact_id] = self._contacts.of(contact_id, row, self._asked)
        self._asked = self._clock()


@dataclass
class Lists:
    """A sink of the lists listing: id to name."""

    names: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        self.names.clear()

    def page(self, offset: int, rows: list[Row]) -> None:  # noqa: ARG002 (a Sink)
        for row in rows:
            list_id = as_id(row.get("listId"))
            if list_id is not None:
                self.names[list_id] = as_text(row.get("name")) or ""

    def named(self, wanted: str, key: str) -> LiveList:
        """The list that is wanted by id, else by exact name. `key` is its place in the export. Raises PlanError."""
        if wanted in self.names:
            return LiveList(wanted, self.names[wanted])
        named = [list_id for list_id, name in self.names.items() if name == wanted]
        if len(named) == 1:
            return LiveList(named[0], wanted)
        if named:
            raise PlanError(
                f"{len(named)} lists are named {wanted!r}: {', '.join(named)}. Name the list of the export by its id."
            )
        shown = ", ".join(f"{list_id} '{plain(name)}'" for list_id, name in list(self.names.items())[:_LISTS_SHOWN])
        more = len(self.names) - _LISTS_SHOWN
        raise PlanError(
            f"There is no list {wanted!r} in this client folder. There are: {shown or 'none'}"
            f"{f' and {more} more' if more > 0 else ''}. Name one of them, by id or exact name, as `{key}` of the "
            "export."
        )


@dataclass(frozen=True)
class Targets:
    """The lists that a plan is about."""

    names: Mapping[str, str]
    """Every list of the client folder: id to name."""
    lists: tuple[LiveList, ...]
    """Those whose subscriptions the plan reads, the export's own first."""
    holding: LiveList | None
    """The one of them that people are moved to. None: they are not moved."""

    @property
    def live(self) -> LiveList:
        """The export's own list."""
        return self.lists[0]
