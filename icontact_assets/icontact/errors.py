"""What can go wrong with iContact: one small tree, caught at the height a caller needs."""

from __future__ import annotations

from datetime import datetime

from icontact_assets.errors import UserError


class IContactError(UserError):
    """Anything that iContact, or the way to it, did not do as asked. The text names request, answer and remedy."""


class Transient(IContactError):
    """There was no usable answer, however often it was asked. Later it may work."""


class PageFailed(Transient):
    """iContact answered, but with an error or without the rows: a smaller page may go around it."""


class BudgetSpent(IContactError):
    """The day's requests are used up. `resumes_at` (aware UTC): when the next one is free."""

    def __init__(self, text: str, resumes_at: datetime) -> None:
        super().__init__(text)
        self.resumes_at = resumes_at


class AskedToWait(BudgetSpent):
    """iContact asked for a pause (`Retry-After`) that is not over. `resumes_at`: its end. Nothing is sent before it."""


class BudgetUnusable(IContactError):
    """What counts the requests cannot be used, so none is sent. The text names it and the remedy."""


class RecordingUnusable(IContactError):
    """Exchanges are to be recorded, and cannot be written, so none is had. The text names the folder and the remedy."""


class Refused(IContactError):
    """iContact does not serve this caller (401, 402, 403, 507). `status` is the HTTP status."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class NotFound(IContactError):
    """There is no such thing (404, or the 500 that says "No result")."""


class Rejected(IContactError):
    """The request itself is at fault (400, 405, 406, 415, 501, a redirect): asking again changes nothing.

    `without_effect`: the API reference says that such an answer leaves everything as it was. After any other answer to
    a write, only the state shows what happened. `status`: the HTTP status, None if there was no answer. `said`:
    iContact's own words, fit to be shown.
    """

    def __init__(self, text: str, *, without_effect: bool = True, status: int | None = None, said: str = "") -> None:
        super().__init__(text)
        self.without_effect = without_effect
        self.status = status
        self.said = said


class Unconfirmed(Rejected):
    """A 200 that holds neither what was asked for nor a reason. After a write, only the state shows what happened."""

    def __init__(self, text: str) -> None:
        super().__init__(text, without_effect=False, status=200)


class Incomplete(IContactError):
    """A listing that could not be verified. `reason` says what did not fit."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TermIgnored(Incomplete):
    """A filter or an order was asked for, and a warning came with the rows: it may not have been applied."""


class UnknownOutcome(IContactError):
    """The answer to a write was lost: read the state before anything is repeated."""
