"""A contact and lists that somebody made for a trial, and the only writes of the probe. They are to nobody else.

The rules of the exports do not hold here: what iContact does with somebody who left can only be found out with somebody
who left. So nothing is written before the lists were found to hold nobody but that one contact.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from icontact_assets.errors import UserError
from icontact_assets.icontact.errors import NotFound, Rejected, UnknownOutcome
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.listing import Row
from icontact_assets.icontact.values import as_id, as_text

MOST_WRITES = 12
ABSENT = "absent"
"""The status of a contact on a list that it is not on, and never was."""
NORMAL = "normal"
UNSUBSCRIBED = "unsubscribed"
_NOBODY = "0"
"""No contact has this id: a row with it is bad, and is about nobody."""


class TrialError(UserError):
    """A trial is refused, or stopped. The text names the contact or the list, and the remedy."""


@dataclass(frozen=True)
class TrialList:
    """A list of the trial."""

    list_id: str
    name: str


@dataclass(frozen=True)
class Outcome:
    """What iContact answered to a write."""

    status: int | None
    """Of HTTP. None: the answer was lost."""
    row: str | None
    """The status of the contact's subscription in the answer. None: the answer has none."""
    said: str
    """iContact's words, addresses masked."""
    named: frozenset[str]
    """How the words name the contact: `id`, `address`, both or neither."""


class Trial:
    """One contact, one list that holds nobody else, and perhaps an empty one beside it.

    Lists are named by id or exact name. `reserved`: ids and names of lists that are in use. `tell` gets a sentence
    before and after each write. Raises TrialError, and the errors of iContact.
    """

    def __init__(
        self,
        folder: Folder,
        contact_id: str,
        home: str,
        other: str | None = None,
        *,
        reserved: Collection[str] = (),
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        id_ = as_id(contact_id)
        if id_ is None:
            raise TrialError(f"--contact {contact_id} is no contact id: expected a number, as iContact shows it.")
        self._folder = folder
        self._tell = tell
        self.contact_id = id_
        lists = _rows(folder.lists)
        self.home = _named(lists, home, "--list")
        self.other = None if other is None else _named(lists, other, "--other-list")
        if self.other is not None and self.other.list_id == self.home.list_id:
            raise TrialError("--list and --other-list are the same list: name another, empty one.")
        if used := next((list_ for list_ in self.lists if {list_.list_id, list_.name} & set(reserved)), None):
            raise TrialError(f"An export is about the list {used.list_id}: nothing is tried on it. Make an empty list.")
        self.writes = 0
        self.before: dict[str, str] = {}
        """The contact's status on each list before the first write."""
        self.now: dict[str, str] = {}
        """The status as it was last seen."""
        self.unseen: set[str] = set()
        """The ids of the lists that a write is about which was sent, and may show later."""
        self._at: set[str] = set()
        """The ids of the lists that a write under way is about."""

    @property
    def lists(self) -> tuple[TrialList, ...]:
        """The lists of the trial."""
        return (self.home,) if self.other is None else (self.home, self.other)

    def check(self) -> None:
        """Read contact and lists. Raises TrialError unless the contact is `normal` and the lists hold nobody else."""
        id_ = self.contact_id
        try:
            contact = self._folder.contact(id_)
        except NotFound as error:
            raise TrialError(f"There is no contact {id_}: make one for this, with an address of your own.") from error
        if as_id(contact.get("contactId")) != id_ or as_text(contact.get("status")) != NORMAL:
            raise TrialError(f"The contact {id_} is not `normal`: make one for this, with an address of your own.")
        for list_ in self.lists:
            self.before[list_.list_id] = self.now[list_.list_id] = self._only_status(list_)

    def _only_status(self, list_: TrialList) -> str:
        rows = _rows(lambda sink: self._folder.subscriptions(list_.list_id, sink))
        mine = [row for row in rows if as_id(row.get("contactId")) == self.contact_id]
        if others := len(rows) - len(mine):
            raise TrialError(
                f"The list {list_.list_id} has {others} other members: nothing is written to it. Make an empty list."
            )
        status = _status(mine[0]) if mine else ABSENT
        allowed = (ABSENT, NORMAL) if list_ == self.home else (ABSENT,)
        if status not in allowed or len(mine) > 1:
            raise TrialError(
                f"The contact {self.contact_id} is {status} on the list {list_.list_id}, so that nothing can be tried "
                "there. Make an empty list."
            )
        return status

    def look(self, list_: TrialList) -> str:
        """The contact's status on a list now."""
        row = self._folder.subscription(list_.list_id, self.contact_id)
        self.now[list_.list_id] = ABSENT if row is None else _status(row)
        return self.now[list_.list_id]

    # Writes

    def try_subscribe(self, list_: TrialList, *, with_bad_row: bool = False) -> Outcome:
        """Subscribe the contact, by a batch with a bad row or alone."""
        ids = [self.contact_id, *([_NOBODY] if with_bad_row else [])]
        what = f"subscribe it to the list {list_.list_id}{', in a batch with a bad row' if with_bad_row else ''}"

        def write() -> Outcome:
            reply = self._folder.subscribe(list_.list_id, ids, self._count)
            mine = next((row for row in reply.rows if as_id(row.get("contactId")) == self.contact_id), None)
            return self._outcome(200, mine, " ".join(remark.words for remark in reply.remarks))

        return self._write(what, write, list_)

    def try_unsubscribe(self, list_: TrialList) -> Outcome:
        """Unsubscribe the contact."""
        return self._write(
            f"unsubscribe it from the list {list_.list_id}",
            lambda: self._outcome(200, self._folder.unsubscribe(list_.list_id, self.contact_id, self._count), ""),
            list_,
        )

    def try_move(self, from_: TrialList, to: TrialList) -> Outcome:
        """Move the contact's subscription."""

        def write() -> Outcome:
            row = self._folder.move_subscription(from_.list_id, self.contact_id, to.list_id, self._count)
            return self._outcome(200, row, "")

        return self._write(f"move it from the list {from_.list_id} to the list {to.list_id}", write, from_, to)

    def _count(self) -> None:
        """Right before a write is sent."""
        if self.writes >= MOST_WRITES:
            raise TrialError(f"All {MOST_WRITES} writes are used: begin another trial, with another list.")
        self.writes += 1
        self.unseen |= self._at

    def _write(self, what: str, write: Callable[[], Outcome], *lists: TrialList) -> Outcome:
        self._tell(f"Write {self.writes + 1} of at most {MOST_WRITES}, contact {self.contact_id}: {what}.")
        self._at = {list_.list_id for list_ in lists}
        try:
            outcome = write()
        except Rejected as error:
            if error.status is None:
                # It was not sent.
                raise
            outcome = self._outcome(error.status, None, error.said)
        except NotFound:
            outcome = self._outcome(404, None, "")
        except UnknownOutcome:
            outcome = self._outcome(None, None, "")
        self._tell(f"  Answered: {_words(outcome)}")
        return outcome

    def _outcome(self, status: int | None, row: Row | None, said: str) -> Outcome:
        named = {"address"} if "<address>" in said else set()
        if re.search(rf"(?<!\d)0*{self.contact_id}(?!\d)", said):
            named.add("id")
        return Outcome(status, None if row is None else _status(row), said[:300], frozenset(named))


def _words(outcome: Outcome) -> str:
    if outcome.status is None:
        return "the answer was lost."
    what = f"{outcome.status}, {'no subscription' if outcome.row is None else f'the subscription as {outcome.row}'}"
    return f"{what}. It said: {outcome.said}" if outcome.said else f"{what}."


def _status(row: Row) -> str:
    """A status in words of ours."""
    status = as_text(row.get("status"))
    return status if status in (NORMAL, UNSUBSCRIBED, "pending") else "in a status we do not know"


def _named(lists: list[Row], wanted: str, option: str) -> TrialList:
    by_id = [row for row in lists if as_id(row.get("listId")) == wanted]
    found = by_id or [row for row in lists if as_text(row.get("name")) == wanted]
    ids = [id_ for row in found if (id_ := as_id(row.get("listId"))) is not None]
    if len(ids) != 1:
        problem = f"is the name of {len(ids)} lists: name it by its id" if ids else "is no list of this client folder"
        raise TrialError(f"{option} {wanted} {problem}. `icontact-assets discover` shows them.")
    return TrialList(ids[0], as_text(found[0].get("name")) or "")


class _Rows:
    """A sink that keeps the rows."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def start(self) -> None:
        self.rows = []

    def page(self, offset: int, rows: list[Row]) -> None:  # noqa: ARG002 (a Sink)
        self.rows += rows


def _rows(read: Callable[[_Rows], object]) -> list[Row]:
    sink = _Rows()
    read(sink)
    return sink.rows
