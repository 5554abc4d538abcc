"""What became of people in a run of an export, and how the run ended: the words, and the entry for one person."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from icontact_assets.exports.consent import Evidence, RemovalEvidence, RemovalPermit


class Outcome(StrEnum):
    """What became of a person in a run. The text is the one that is stored in export_outcomes."""

    ADDED = "added"
    MOVED = "moved"
    UNSUBSCRIBED = "unsubscribed"
    ALREADY_SUBSCRIBED = "already_subscribed"
    """The person was on the list before."""
    SKIPPED = "skipped"
    """The person may not be written to, or is left out of the export."""
    REFUSED = "refused"
    """iContact refused, because the person may not be mailed. It is never tried again."""
    FAILED = "failed"
    """Not done. The next run tries again."""
    UNCONFIRMED = "unconfirmed"
    """Sent, and it is not known whether it was done. Later runs look at the list again."""
    INTENDED = "intended"
    """About to be sent. A run that leaves this behind was cut off."""
    PLANNED = "planned"
    """What a dry run would have sent."""
    WITHDRAWN = "withdrawn"
    """Intended, and certainly not sent. Never stored: it removes the row of the intent."""


DONE = (Outcome.ADDED, Outcome.MOVED, Outcome.UNSUBSCRIBED)
"""The write was sent and had its effect."""

UNRESOLVED = (Outcome.INTENDED, Outcome.UNCONFIRMED)
"""Whether the write had its effect is not known yet."""


class RunStatus(StrEnum):
    """How a run is, or ended. The text is the one that is stored in export_runs."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    """Stopped before the first write, because the plan exceeds a limit or is not approved."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """What became of one person, or is about to."""

    contact_id: str | None
    """Contact id in the list's client folder. None: there is no such contact."""
    action: str
    """subscribe, move or unsubscribe."""
    list_id: str
    """The list that the action is about."""
    outcome: Outcome
    to_list_id: str | None = None
    """Where a move leads."""
    reason: str | None = None
    response: str | None = None
    """What iContact said, cut to a length that can be stored."""
    member_id: str | None = None
    """Contact id in the audience. None: the plan knows it."""
    evidence: Evidence | RemovalEvidence | None = None
    """What a skip rests on."""


def removal_entry(permit: RemovalPermit, outcome: Outcome) -> JournalEntry:
    """The entry for somebody who is removed from a list: moved where the permit says, else unsubscribed."""
    if permit.onto is None:
        return JournalEntry(permit.contact_id, "unsubscribe", permit.list_id, outcome)
    return JournalEntry(permit.contact_id, "move", permit.list_id, outcome, to_list_id=permit.onto.list_id)
