"""Decides when an export is due. Pure: compares what its caller read from Dagster's own records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from icontact_assets.settings.models import Export

FIRST_WAIT = timedelta(minutes=5)
LONGEST_WAIT = timedelta(hours=6)

EXPORT_TAG = "icontact_assets/export"
STORAGE_ID_TAG = "icontact_assets/audience_storage_id"
ATTEMPT_TAG = "icontact_assets/attempt"


@dataclass(frozen=True)
class Computed:
    """The newest materialization of an audience."""

    storage_id: str
    """Of the event in Dagster's log."""
    version: str
    """The hash of the membership."""
    complete: bool
    """Whether it was computed from complete data."""


@dataclass(frozen=True)
class Exported:
    """What the last successful export reported. Instants are aware."""

    state: str
    """`state(...)` as it was then."""
    compared_at: datetime
    """When it compared the list."""
    remaining: int = 0
    """How many people it left for a later run."""
    next_at: datetime | None = None
    """When the export of the remaining people resumes. None: at once."""


@dataclass(frozen=True)
class Attempt:
    """A finished run that was requested here, read from its tags."""

    storage_id: str
    """Of the audience that it exported."""
    number: int
    """How many runs had been requested for this audience, counting from 1."""
    ended_at: datetime
    """Aware."""
    succeeded: bool


@dataclass(frozen=True)
class Request:
    """A run to request."""

    run_key: str
    tags: dict[str, str]


@dataclass(frozen=True)
class Skip:
    """Why nothing is requested."""

    reason: str


_CHOICE = {"name", "audience", "exclude", "split", "holdout"}


def state(export: Export, audiences: Iterable[Computed]) -> str:
    """What an export would do now, as 32 hexadecimal digits.

    They stand for where and how it goes, which people its settings choose, and who is in the audiences that decide who
    is exported (in the order of `choice.sources`). An audience that was exported to another list, in a dry run, or by
    other choices, is not exported yet.
    """
    own: dict[str, Any] = dict.fromkeys({*_CHOICE, "mode", "list"}, True)
    settings = export.model_dump_json(include={**own, "before": {"__all__": _CHOICE}})
    text = "\n".join([settings, *(audience.version for audience in audiences)])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def decide(
    export: Export,
    newest: Mapping[str, Computed | str],
    exported: Exported | None,
    attempts: Sequence[Attempt],
    *,
    under_way: bool,
    now: datetime,
) -> Request | Skip:
    """Whether to request a run of an export.

    A run is requested once per change of its audiences or target, again after a failure, again for the people who
    remain, and again when the list was not compared for `export.recheck` hours. After the n-th failure in a row the
    wait is 5 min * 2^(n-1), at most 6 h.

    `newest`: every audience that decides who is exported, the export's own first, or what it waits for (a sentence).
    `exported`: the last successful materialization, however it was started. `attempts`: the finished runs that carry
    the export's tags. `under_way`: whether a run of the export is queued or running.
    """
    computed: list[Computed] = []
    for name, audience in newest.items():
        if isinstance(audience, str):
            return Skip(f"The audience {name} has not been computed yet. {audience}")
        if not audience.complete:
            return Skip(f"The audience {name} was kept as it was: its data is not read completely.")
        computed.append(audience)
    storage_id = computed[0].storage_id
    if under_way:
        return Skip("A run of this export is queued or running.")
    if exported is not None and exported.state == state(export, computed):
        rest = _nothing_to_do(exported, timedelta(hours=export.recheck), now)
        if rest is not None:
            return rest
    failures = _failures_in_a_row(attempts)
    if failures:
        again_at = failures[-1].ended_at + min(FIRST_WAIT * 2 ** min(len(failures) - 1, 20), LONGEST_WAIT)
        if now < again_at:
            tries = f"{len(failures)} time{'s' if len(failures) > 1 else ''} in a row"
            return Skip(f"The export failed {tries}; it is retried at {_text(again_at)}.")
    # The largest number, not the count: a deleted run must not bring an old key back.
    number = 1 + max((attempt.number for attempt in attempts if attempt.storage_id == storage_id), default=0)
    # Dagster never runs one key twice, so the key names the attempt too.
    return Request(
        run_key=f"{export.name}-{storage_id}-{number}",
        tags={EXPORT_TAG: export.name, STORAGE_ID_TAG: storage_id, ATTEMPT_TAG: str(number)},
    )


def _nothing_to_do(exported: Exported, recheck: timedelta, now: datetime) -> Skip | None:
    """Why an audience that was exported as it is needs no run now. None if it does."""
    if exported.remaining and (exported.next_at is None or exported.next_at <= now):
        return None
    again_at = exported.compared_at + recheck
    if again_at <= now:
        return None
    if exported.remaining and exported.next_at is not None:
        return Skip(f"{exported.remaining} people remain; the export resumes at {_text(exported.next_at)}.")
    return Skip(f"The audience is as it was last exported; the list is compared again at {_text(again_at)}.")


def _text(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _failures_in_a_row(attempts: Sequence[Attempt]) -> list[Attempt]:
    """The failed attempts since the last one that succeeded, in the order of their ends."""
    failures: list[Attempt] = []
    for attempt in sorted(attempts, key=lambda attempt: attempt.ended_at):
        failures = [] if attempt.succeeded else [*failures, attempt]
    return failures
