"""The words that say what became of a person in a run of an export, and how the run itself ended."""

from enum import StrEnum


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
