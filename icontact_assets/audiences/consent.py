"""Who may be subscribed. Pure rules, and the only maker of the permits without which no export writes anything."""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Literal

FRESH_FOR = timedelta(minutes=10)
"""A permit older than this is not used: the contact's status is read again first."""

_SEAL = object()


class Subscription(Enum):
    """What a subscription's status is when there is none."""

    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one contact and one list. None always means unknown, and unknown is never a yes.

    `read_at` (aware): when the contact's status was asked of iContact.
    """

    contact_status: str | None
    """Status that iContact gave in this run; None: no such contact, or unreadable."""
    read_at: datetime
    subscription_status: str | Literal[Subscription.ABSENT] | None
    """Status on the list, of a whole reading of it in this run; ABSENT: that reading did not hold the contact."""
    seen_unsubscribed: bool | None
    """Whether any stored reading ever saw the contact unsubscribed from the list."""
    unsubscribed_by_message: bool | None
    """Whether there is an `unsubscribe` event on a message that went to the list, or whose lists are not known."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to subscribe one contact to one list, given by `decide` and nobody else."""

    contact_id: str
    list_id: str
    evidence: Evidence
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("a Permit is made by consent.decide only")

    def fresh(self, now: datetime) -> bool:
        """Whether the contact's status was read within the last ten minutes. `now` is aware."""
        return timedelta(0) <= now - self.evidence.read_at <= FRESH_FOR


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a contact may not be subscribed. `reason` names a rule and no person; `evidence` is what it rests on."""

    contact_id: str
    reason: str
    evidence: Evidence


_CONTACT_STATUSES = frozenset({"bounced", "donotcontact", "pending", "invitable", "deleted"})
_SUBSCRIPTION_STATUSES = frozenset({"pending", "unsubscribed"})


def decide(contact_id: str, list_id: str, evidence: Evidence) -> Permit | Denial:
    """Whether a contact may be subscribed to a list: only if every piece of evidence is known and speaks for it.

    iContact treats opt-outs as final (API reference, 6.2), and a subscription may be `normal` while its contact must
    not be mailed (3.3): so all of contact, subscription and history are asked.
    """
    reason = _against(evidence)
    if reason is not None:
        return Denial(contact_id, reason, evidence)
    return Permit(contact_id, list_id, evidence, _SEAL)


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
    if evidence.seen_unsubscribed is not False:
        return "was unsubscribed from the list before"
    if evidence.unsubscribed_by_message is not False:
        return "unsubscribed by a message that went to the list, or whose lists are not known"
    return None
