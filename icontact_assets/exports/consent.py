"""Who may be put on a list, and who may be removed from it. Pure rules, and the only maker of the permits without
which no export writes anything."""

from __future__ import annotations

import re
from dataclasses import InitVar, dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Literal

FRESH_FOR = timedelta(minutes=10)
"""A permit older than this is not used: the statuses of contact and list are read again first."""

_SEAL = object()


class Subscription(Enum):
    """What a subscription's status is when there is none."""

    ABSENT = "absent"


class Elsewhere(Enum):
    """What is known of the other lists when the export's consent is about its own list alone."""

    NOT_ASKED = "not asked"


class Suppressed(Enum):
    """Whether, and by what, a contact is on the export's suppression list."""

    NOT_LISTED = "not listed"
    CONTACT_ID = "contact id"
    EMAIL = "address"
    DOMAIN = "domain"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one person and one list. None always means unknown, and unknown is never a yes.

    A person is a contact and every other contact id that ever had one of its addresses. What history holds against one
    of them counts for all.
    """

    contact_status: str | None
    """Status that iContact gave in this run. None: no such contact, or unreadable."""
    read_at: datetime
    """When that was asked of iContact (aware)."""
    subscription_status: str | Literal[Subscription.ABSENT] | None
    """Status on the list, by a full read of it in this run. ABSENT: that read did not show the contact."""
    list_read_at: datetime
    """When that was asked of iContact (aware)."""
    seen_unsubscribed: bool | None
    """Whether any answer that we ever had showed the person unsubscribed from the list."""
    unsubscribed_by_message: bool | None
    """Whether there is an `unsubscribe` event on a message that went to the list, or whose lists are not known."""
    unsubscribed_elsewhere: bool | Literal[Elsewhere.NOT_ASKED] | None
    """Whether the person left any list at all. It is asked for `consent: strict` only."""
    do_not_contact_before: bool | None
    """Whether any answer that we ever had showed the person as do-not-contact."""
    refused_before: bool | None
    """Whether iContact ever refused to put the person on the list because it may not be mailed."""
    erased: bool | None
    """Whether the contact vanished from iContact or was deleted there, by the last full read."""
    suppressed: Suppressed | None
    """Whether, and by what, the contact is on the suppression list."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to put one contact on one list, given by `decide` and nobody else."""

    contact_id: str
    list_id: str
    evidence: Evidence
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("a Permit is made by consent.decide only")

    def fresh(self, now: datetime) -> bool:
        """Whether the statuses of contact and list were read within the last ten minutes. `now` is aware."""
        return is_fresh(self.evidence.read_at, now) and is_fresh(self.evidence.list_read_at, now)


@dataclass(frozen=True, slots=True)
class RemovalEvidence:
    """What is known of one contact that is to leave one list. None always means unknown, and unknown is never a yes."""

    subscription_status: str | Literal[Subscription.ABSENT] | None
    """Status on the list, as read in this run."""
    list_read_at: datetime
    """When that was asked of iContact (aware)."""
    ours: bool | None
    """Whether this export itself put the contact there, or may adopt those who were there before."""
    wanted: bool | None
    """Whether the contact belongs on the list."""
    onto: Permit | Denial | None
    """The decision about the list to move to; None: the contact is to be unsubscribed."""


@dataclass(frozen=True, slots=True)
class RemovalPermit:
    """Leave to remove one contact from one list, given by `decide_removal` and nobody else."""

    contact_id: str
    list_id: str
    onto: Permit | None
    """The permit for the list to move to. None: leave to unsubscribe."""
    evidence: RemovalEvidence
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("a RemovalPermit is made by consent.decide_removal only")

    def fresh(self, now: datetime) -> bool:
        """Whether the statuses that a move rests on were read within the last ten minutes. `now` is aware.

        To unsubscribe somebody needs no fresh status: it takes nothing from people who left in the meantime.
        """
        return self.onto is None or (self.onto.fresh(now) and is_fresh(self.evidence.list_read_at, now))


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a contact may not be written to."""

    contact_id: str
    reason: str
    """Names a rule and no person."""
    evidence: Evidence | RemovalEvidence
    """What it rests on."""


_CONTACT_STATUSES = frozenset({"bounced", "donotcontact", "pending", "invitable", "deleted"})
_SUBSCRIPTION_STATUSES = frozenset({"pending", "unsubscribed"})


def is_fresh(read_at: datetime, now: datetime) -> bool:
    """Whether what was read at `read_at` may be relied on at `now` (both aware)."""
    return timedelta(0) <= now - read_at <= FRESH_FOR


def decide(contact_id: str, list_id: str, evidence: Evidence) -> Permit | Denial:
    """Whether a contact may be put on a list: only if every piece of evidence is known and speaks for it.

    iContact treats opt-outs as final (API reference, 6.2), and a subscription may be `normal` while its contact must
    not be mailed (3.3): so all of contact, subscription, history and suppression list are asked.
    """
    reason = _against(evidence)
    if reason is not None:
        return Denial(contact_id, reason, evidence)
    return Permit(contact_id, list_id, evidence, _SEAL)


def decide_removal(contact_id: str, list_id: str, evidence: RemovalEvidence) -> RemovalPermit | Denial:
    """Whether a contact may be removed from a list: only one that the export put there and that does not belong there.

    To be moved, it must also be permitted on the other list.
    """
    onto = evidence.onto
    reason = _against_removal(contact_id, list_id, evidence)
    if reason is not None or isinstance(onto, Denial):
        return Denial(contact_id, reason or "may not be moved", evidence)
    return RemovalPermit(contact_id, list_id, onto, evidence, _SEAL)


def _against(evidence: Evidence) -> str | None:
    contact, subscription = evidence.contact_status, evidence.subscription_status
    if contact is None:
        return "iContact shows no such contact, or no status of it"
    if contact != "normal":
        return f"the contact is {contact if contact in _CONTACT_STATUSES else 'in a status we do not know'}"
    if subscription is None:
        return "the status on the list cannot be read"
    if subscription not in ("normal", Subscription.ABSENT):
        known = subscription in _SUBSCRIPTION_STATUSES
        return f"the subscription to the list is {subscription if known else 'in a status we do not know'}"
    if evidence.erased is not False:
        return "the contact was deleted or vanished from iContact"
    if evidence.seen_unsubscribed is not False:
        return "was unsubscribed from the list before"
    if evidence.do_not_contact_before is not False:
        return "was do-not-contact before"
    if evidence.unsubscribed_by_message is not False:
        return "unsubscribed by a message that went to the list, or whose lists are not known"
    if evidence.unsubscribed_elsewhere not in (False, Elsewhere.NOT_ASKED):
        return "unsubscribed from another list"
    if evidence.refused_before is not False:
        return "iContact refused it before, because the contact may not be mailed"
    if evidence.suppressed is not Suppressed.NOT_LISTED:
        by = "unreadable address" if evidence.suppressed is None else evidence.suppressed.value
        return f"on the suppression list (by {by})"
    return None


def _against_removal(contact_id: str, list_id: str, evidence: RemovalEvidence) -> str | None:
    onto = evidence.onto
    if evidence.subscription_status != "normal":
        return "is not on the list as normal"
    if evidence.wanted is not False:
        return "belongs on the list"
    if evidence.ours is not True:
        return "was not put on the list by this export"
    if isinstance(onto, Denial):
        return f"may not be moved: {onto.reason}"
    if onto is not None and (onto.contact_id != contact_id or onto.list_id == list_id):
        return "the permit to move is another's"
    return None


_CONSENT_WORDS = re.compile(
    r"unsubscri|opt(ed)?[ -]?out|do[ -]?not[ -]?contact|not be (contacted|mailed|emailed)|suppress|global(ly)? remove",
    re.IGNORECASE,
)


def speaks_of_consent(words: str) -> bool:
    """Whether a refusal in the service's words says that the person may not be mailed. Then it is never tried again.

    No wording is documented (API reference, 6.2). One that is not recognised counts as a failure, tried next time.
    """
    return _CONSENT_WORDS.search(words) is not None


_PRESENCE_WORDS = re.compile(r"already|exist|duplicate", re.IGNORECASE)


def speaks_of_presence(words: str) -> bool:
    """Whether a refusal in the service's words says that the person was on the list before. No wording is documented
    (API reference, 6.2)."""
    return _PRESENCE_WORDS.search(words) is not None
