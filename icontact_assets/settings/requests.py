"""How much, and how often, iContact is asked: limits of requests, and what is asked for again."""

from __future__ import annotations

from pydantic import Field, field_validator

from icontact_assets.settings.values import MOST, InvalidSetting, Model

_ONE_A_DAY = 0.000012


class RequestLimits(Model):
    """The most requests an account is asked. 0 lifts a limit."""

    per_second: float = Field(default=1, ge=0, le=10_000, allow_inf_nan=False)
    """Requests per second (`ICONTACT_REQUESTS_PER_SECOND`). It may be a fraction."""
    per_minute: int = Field(default=60, ge=0, le=MOST)
    """Requests per minute (`ICONTACT_REQUESTS_PER_MINUTE`)."""
    per_day: int = Field(default=5000, ge=0, le=MOST)
    """Requests in any 24 hours (`ICONTACT_REQUESTS_PER_DAY`)."""

    @field_validator("per_second")
    @classmethod
    def _one_a_day(cls, value: float) -> float:
        if 0 < value < _ONE_A_DAY:
            raise InvalidSetting(
                f"That is less than one request a day: write at least {_ONE_A_DAY}, or 0 to lift the limit."
            )
        return value


class AgeStep(Model):
    """How often messages of one age are polled and read again.

    Days of 1 and more are upper bounds. Each message has an interval of its own between half of them and all, so that
    messages first read on one day do not come due on one day again.
    """

    until_days: float | None = Field(default=None, gt=0, le=36_500)
    """The greatest age, in days since the message was released. None: all that are older."""
    poll_days: int = Field(ge=0, le=36_500)
    """The days between two polls of the statistics. 0: a poll in each run."""
    verify_days: int = Field(ge=1, le=36_500)
    """The days after which the listings are read from the first row on, whatever the statistics say."""


BY_AGE = (
    AgeStep(until_days=3, poll_days=0, verify_days=7),
    AgeStep(until_days=30, poll_days=1, verify_days=7),
    AgeStep(until_days=180, poll_days=7, verify_days=30),
    AgeStep(poll_days=30, verify_days=180),
)


class Refresh(Model):
    """How often what was read is asked for again."""

    by_age: tuple[AgeStep, ...] = BY_AGE
    """The steps, by the age of a message, youngest first."""
    reread_pages: int = Field(default=50, ge=0, le=MOST)
    """A listing in the middle of which rows turned up is read again as a whole at once if it has at most so many
    pages, else when it is verified."""

    @field_validator("by_age")
    @classmethod
    def _rises(cls, by_age: tuple[AgeStep, ...]) -> tuple[AgeStep, ...]:
        ends = [step.until_days for step in by_age]
        inner = [end for end in ends[:-1] if end is not None]
        if not by_age or ends[-1] is not None or len(inner) < len(by_age) - 1 or inner != sorted(set(inner)):
            raise InvalidSetting("Write steps with rising until_days, and a last one without.")
        return by_age
