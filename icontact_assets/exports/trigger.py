"""Decides when an export is due. Pure: compares what its caller read from Dagster's own records."""

from __future__ import annotations

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
    """The newest materialization of an audience: its storage id in Dagster's event log, its membership's hash, and
    whether it was computed from complete data."""

    storage_id: str
    version: str
    complete: bool


@dataclass(frozen=True)
class Exported:
    """What the last successful export named: `version(...)` and `target(...)` as they were then, when it compared the
    list, how many people remain, and when they go on (None: at once). Times are aware."""

    version: str
    target: str
    compared_at: datetime
    remaining: int = 0
    next_at: datetime | None = None


@dataclass(frozen=True)
class Attempt:
    """A finished run that was requested here, from its tags. `ended_at` is aware."""

    storage_id: str
    number: int
    ended_at: datetime
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


_WHOM = {"name", "audience", "exclude", "split", "holdout"}


def target(export: Export) -> str:
    """Where and how an export goes, and whom its settings choose, as JSON: an audience exported elsewhere, or only
    tried, or chosen from otherwise, is not exported yet."""
    own: dict[str, Any] = dict.fromkeys({*_WHOM, "mode", "list"}, True)
    return export.model_dump_json(include={**own, "before": {"__all__": _WHOM}})


def version(audiences: Iterable[Computed]) -> str:
    """What the audiences that decide whom an export is for hold, in the order of `choice.sources`."""
    return " ".join(audience.version for audience in audiences)


def decide(
    export: str,
    wanted: str,
    newest: Mapping[str, Computed | None],
    exported: Exported | None,
    attempts: Sequence[Attempt],
    *,
    under_way: bool,
    recheck: timedelta,
    now: datetime,
) -> Request | Skip:
    """Whether to request a run of an export: once per change of its audiences or target, again after a failure, again
    for those who remain, and again when the list was not compared for as long as `recheck`.

    `newest` holds every audience that decides whom the export is for, its own first; `wanted` is the export's
    `target(...)` now; `exported` its last successful materialization, however started; `attempts` the finished runs
    that carry its tags; `under_way` whether a run of it is queued or running. After the n-th failure in a row it waits
    5 min * 2^(n-1), at most 6 h. `run_key` names export, materialization of its own audience and attempt, since Dagster
    never runs one key twice.
    """
    computed: list[Computed] = []
    for name, audience in newest.items():
        if audience is None:
            return Skip(f"The audience {name} has not been computed yet.")
        if not audience.complete:
            return Skip(f"The audience {name} was kept as it was: its data is not read completely.")
        computed.append(audience)
    storage_id = computed[0].storage_id
    if under_way:
        return Skip("A run of this export is queued or running.")
    if exported is not None and (exported.version, exported.target) == (version(computed), wanted):
        rest = _nothing_to_do(exported, recheck, now)
        if rest is not None:
            return rest
    failures = _failures_in_a_row(attempts)
    if failures:
        again_at = failures[-1].ended_at + min(FIRST_WAIT * 2 ** min(len(failures) - 1, 20), LONGEST_WAIT)
        if now < again_at:
            tries = f"{len(failures)} time{'s' if len(failures) > 1 else ''} in a row"
            return Skip(f"The export failed {tries}; it is tried again at {_text(again_at)}.")
    # The largest number, not the count: a deleted run must not bring an old key back.
    number = 1 + max((attempt.number for attempt in attempts if attempt.storage_id == storage_id), default=0)
    return Request(
        run_key=f"{export}-{storage_id}-{number}",
        tags={EXPORT_TAG: export, STORAGE_ID_TAG: storage_id, ATTEMPT_TAG: str(number)},
    )


def _nothing_to_do(exported: Exported, recheck: timedelta, now: datetime) -> Skip | None:
    """Why an audience that was exported as it is needs no run now; None if it does."""
    if exported.remaining and (exported.next_at is None or exported.next_at <= now):
        return None
    again_at = exported.compared_at + recheck
    if again_at <= now:
        return None
    if exported.remaining and exported.next_at is not None:
        return Skip(f"{exported.remaining} people remain; the export goes on at {_text(exported.next_at)}.")
    return Skip(f"The audience is as it was last exported; the list is compared again at {_text(again_at)}.")


def _text(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _failures_in_a_row(attempts: Sequence[Attempt]) -> list[Attempt]:
    """The failed attempts since the last one that succeeded, in the order of their ends."""
    failures: list[Attempt] = []
    for attempt in sorted(attempts, key=lambda attempt: attempt.ended_at):
        failures = [] if attempt.succeeded else [*failures, attempt]
    return failures
