"""What is known against people, by person: decides which evidence there is about a contact and a list. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from icontact_assets.exports.consent import Elsewhere, Evidence, Suppressed
from icontact_assets.exports.history import EVERYWHERE, OptOuts
from icontact_assets.exports.live import Contact, LiveList
from icontact_assets.exports.person import normal_address
from icontact_assets.exports.suppression import SuppressionList
from icontact_assets.exports.watch import Watch


class Knowledge:
    """What is known against people in a client folder. It grows while an export runs, by what its `watch` sees.

    A person is a contact, and every other contact id that ever had one of its addresses. `strict`: whoever left any
    list counts. Contact ids of another client folder, where the audience is from, carry its schema in front.
    """

    def __init__(self, watch: Watch, suppression: SuppressionList, *, strict: bool) -> None:
        self.watch = watch
        self.suppression = suppression
        self.erased: set[str] = set()
        self.elsewhere_at: datetime | None = None
        """When the other lists were read. None: they are not asked about."""
        self._strict = strict
        self._known = OptOuts()
        self._sources: dict[str, str] = {}
        self._by_address: dict[str, tuple[str, ...]] = {}
        self._addressed: set[str] = set()
        self._former: dict[str, tuple[str, ...]] = {}
        self._learned = -1
        self._alike: dict[Evidence, Evidence] = {}

    def add(self, opt_outs: OptOuts, *, schema: str = "") -> None:
        """Take in what is stored. `schema`: the contact ids are of that import's client folder, not of the list's."""
        known, prefix = self._known, f"{schema}/" if schema else ""
        known.do_not_contact |= {prefix + contact_id for contact_id in opt_outs.do_not_contact}
        if self._strict:
            known.anywhere |= {prefix + contact_id for contact_id in opt_outs.anywhere}
        if not schema:
            for kept, read in (
                (known.left, opt_outs.left),
                (known.by_message, opt_outs.by_message),
                (known.refused, opt_outs.refused),
            ):
                for list_id, ids in read.items():
                    kept.setdefault(list_id, set()).update(ids)

    def stands_for(self, contact_id: str, source_id: str) -> None:
        """A contact is the member `source_id` (schema in front) of the audience in another client folder."""
        self._sources[contact_id] = source_id

    def had(self, contact_id: str, email: str | None, *, candidate: bool = False) -> None:
        """A contact had this address at some time. `candidate`: it may be put on a list. Else it opted out."""
        address = None if email is None else normal_address(email)
        if candidate:
            if address is not None and address not in self._former.get(contact_id, ()):
                self._former[contact_id] = (*self._former.get(contact_id, ()), address)
            return
        self._addressed.add(contact_id)
        if address is not None and contact_id not in self._by_address.get(address, ()):
            self._by_address[address] = (*self._by_address.get(address, ()), contact_id)

    def unaddressed(self) -> set[str]:
        """Contact ids that opted out and whose address is not known yet. Empty if no opt-out was seen since `learned`.

        Those of another client folder are left out: their addresses are read from its tables alone.
        """
        if self._learned == self.watch.seen:
            return set()
        everybody = self._known.ids.union(*(ids for at, ids in self.watch.left.items() if self._counts(at)))
        return {id_ for id_ in everybody - self._addressed if "/" not in id_}

    def learned(self) -> None:
        """Every address that can be found for those who opted out so far is known."""
        self._learned = self.watch.seen

    def evidence(self, contact_id: str, contact: Contact | None, on: LiveList, now: datetime) -> Evidence:
        """What is known of a contact, as iContact shows it, and a list, as read. None: there is no such contact."""
        ids = self._person(contact_id, contact)
        known, seen, list_id = self._known, self.watch.left, on.list_id

        def any_of(*holding: set[str] | None) -> bool:
            return any(held and not ids.isdisjoint(held) for held in holding)

        elsewhere = (
            any_of(known.anywhere, *(left for at, left in seen.items() if at != EVERYWHERE))
            if self._strict
            else Elsewhere.NOT_ASKED
        )
        status, read_at = on.status(contact_id)
        found = Evidence(
            contact_status=contact.status if contact else None,
            read_at=contact.read_at if contact else now,
            subscription_status=status,
            list_read_at=read_at if self.elsewhere_at is None else min(read_at, self.elsewhere_at),
            seen_unsubscribed=any_of(known.left.get(list_id), seen.get(list_id)),
            unsubscribed_by_message=any_of(known.by_message.get(list_id)),
            unsubscribed_elsewhere=elsewhere,
            do_not_contact_before=any_of(known.do_not_contact, seen.get(EVERYWHERE)),
            refused_before=any_of(known.refused.get(list_id)),
            erased=contact_id in self.erased,
            suppressed=self._suppressed(contact_id, contact),
        )
        # The same is known of most people: it is kept once.
        return self._alike.setdefault(found, found)

    def _counts(self, list_id: str) -> bool:
        """Whether it matters who left a list."""
        return self._strict or list_id == EVERYWHERE or list_id in self._known.left

    def _person(self, contact_id: str, contact: Contact | None) -> set[str]:
        ids = {contact_id}
        if contact_id in self._sources:
            ids.add(self._sources[contact_id])
        for address in self._addresses(contact_id, contact):
            ids.update(self._by_address.get(address, ()))
        return ids

    def _addresses(self, contact_id: str, contact: Contact | None) -> Iterator[str]:
        yield from self._former.get(contact_id, ())
        if contact is not None and contact.address is not None:
            yield contact.address

    def _suppressed(self, contact_id: str, contact: Contact | None) -> Suppressed | None:
        """By any address that the person ever had. A domain counts only for the address that it has now."""
        if contact is None or contact.suppressed is not Suppressed.NOT_LISTED:
            return contact.suppressed if contact else None
        if any(address in self.suppression.emails for address in self._former.get(contact_id, ())):
            return Suppressed.EMAIL
        return Suppressed.NOT_LISTED
