"""How often a message is looked at, by its age. Numbers only: no reading, no database."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Step:
    """Messages released at most `until_days` ago (None: all older ones) are looked at every `probe_days` (0: in each
    run), and read from the first row on every `verify_days`, whatever iContact's statistics say.

    Days of 1 and more are upper bounds: each message has an interval of its own between half of them and all, so that
    messages first read on one day do not come due on one day again.
    """

    probe_days: Annotated[int, Field(ge=0, le=36_500)]
    verify_days: Annotated[int, Field(ge=1, le=36_500)]
    until_days: Annotated[float | None, Field(gt=0, le=36_500)] = None


LADDER = (
    Step(until_days=3, probe_days=0, verify_days=7),
    Step(until_days=30, probe_days=1, verify_days=7),
    Step(until_days=180, probe_days=7, verify_days=30),
    Step(probe_days=30, verify_days=180),
)
