"""One notice when an import turns red, one when it is green again. Reads Dagster's own records and nothing else.

A notice names assets, checks and runs. It has no name, no address and no error text of anybody.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.definitions.freshness import FreshnessState

from icontact_assets.settings.models import Settings

if TYPE_CHECKING:
    # Its module imports all of SQLAlchemy, which definitions need for nothing.
    from dagster._core.storage.event_log.base import AssetEntry

_UNDECIDED = None
"""What an asset is while its newest run has not ended, or was cancelled: it stays what it was."""


@dataclass(frozen=True)
class Watched:
    """The assets of one import."""

    import_name: str
    daily: tuple[dg.AssetKey, ...]
    whole: tuple[dg.AssetKey, ...]
    """Those without partitions."""
    checks: tuple[dg.AssetCheckKey, ...]


def watched(settings: Settings, assets: Iterable[dg.AssetsDefinition]) -> list[Watched]:
    """What to watch of each import."""
    definitions: dict[str, list[dg.AssetsDefinition]] = {}
    checks: dict[dg.AssetKey, list[dg.AssetCheckKey]] = {}
    for asset in assets:
        for name in {key.path[0] for key in asset.keys}:
            definitions.setdefault(name, []).append(asset)
        for check in asset.check_keys:
            checks.setdefault(check.asset_key, []).append(check)
    found = []
    for import_ in settings.imports:
        own = definitions.get(import_.name, [])
        keys = dict.fromkeys(key for each in own for key in each.keys)
        found.append(
            Watched(
                import_.name,
                daily=tuple(key for each in own for key in each.keys if each.partitions_def is not None),
                whole=tuple(key for each in own for key in each.keys if each.partitions_def is None),
                checks=tuple(check for key in keys for check in checks.get(key, ())),
            )
        )
    return found


def notice_sensor(settings: Settings, assets: Sequence[dg.AssetsDefinition], prefix: str) -> dg.SensorDefinition:
    """Sends the notices. There is one only where `ICONTACT_ASSETS_NOTICES` says where to."""
    imports = watched(settings, assets)

    def evaluate(context: dg.SensorEvaluationContext) -> Iterator[dg.SkipReason]:
        cursor, said = send_notices(context.instance, settings, imports, context.cursor)
        context.update_cursor(cursor)
        yield dg.SkipReason(said)

    return dg.SensorDefinition(
        name=f"{prefix}notices",
        evaluation_fn=evaluate,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends one notice when an import turns red, and one when it is green again.",
    )


def send_notices(
    instance: dg.DagsterInstance, settings: Settings, imports: Iterable[Watched], cursor: str | None
) -> tuple[str, str]:
    """Send a notice for each import of which assets changed between red and green. Returns the new cursor, and what was
    done. A notice that could not be sent is tried again with the next call."""
    red: set[str] = set(json.loads(cursor or "[]"))
    sent, unsent = [], []
    for import_ in imports:
        lines, after = _changes(_states(instance, import_), red)
        if not lines:
            continue
        if _send(settings, f"iContact import {import_.import_name}: {'red' if after else 'green'}", "\n".join(lines)):
            sent.append(import_.import_name)
            red = {name for name in red if name.partition("/")[0] != import_.import_name} | after
        else:
            unsent.append(import_.import_name)
    said = [f"Sent a notice about {', '.join(sent)}."] if sent else []
    if unsent:
        said.append(
            f"The notice about {', '.join(unsent)} could not be sent: correct ICONTACT_ASSETS_NOTICES, or wait until "
            "that service responds. It is sent with the next tick."
        )
    return json.dumps(sorted(red)), " ".join(said) or "No import turned red or green."


def _changes(states: Mapping[str, str | None], before: set[str]) -> tuple[list[str], set[str]]:
    """The lines of a notice, none if nothing changed, and the assets of the import that are red now."""
    red = {name for name, why in states.items() if why or (why is _UNDECIDED and name in before)}
    lines = [f"Red: {name}. {why}." for name, why in states.items() if why and name not in before]
    lines += [f"Green again: {name}." for name, why in states.items() if why == "" and name in before]
    return lines, red


def _states(instance: dg.DagsterInstance, import_: Watched) -> dict[str, str | None]:
    """For each asset why it is red, or an empty text if it is green. None: undecided."""
    keys = (*import_.daily, *import_.whole)
    found: dict[dg.AssetKey, list[str | None]] = {key: [] for key in keys}
    for key in import_.daily:
        found[key].append(_daily(instance, key))
    for record in instance.get_asset_records(import_.whole) if import_.whole else ():
        found[record.asset_entry.asset_key].append(_whole(instance, record.asset_entry))
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(import_.checks)
    for check, execution in latest.items():
        evaluation = execution.event.asset_check_evaluation if execution.event else None
        if evaluation is None:
            found[check.asset_key].append(_UNDECIDED)
        elif not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
            found[check.asset_key].append(f"The check {check.name} failed")
    for key, state in instance.get_freshness_state_records(keys).items():
        if state.freshness_state == FreshnessState.FAIL:
            found[key].append("It was not materialized in time")
    return {key.to_user_string(): _together(reasons) for key, reasons in found.items()}


def _together(reasons: Sequence[str | None]) -> str | None:
    why = [reason for reason in reasons if reason]
    return ". ".join(why) if why else _UNDECIDED if None in reasons else ""


def _daily(instance: dg.DagsterInstance, key: dg.AssetKey) -> str | None:
    open_ = instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations(key)
    statuses = _statuses(instance, {run_id for run_id, _ in open_.values()})
    failed = sorted(day for day, (run_id, _) in open_.items() if statuses.get(run_id) == dg.DagsterRunStatus.FAILURE)
    if failed:
        return f"Days that failed: {len(failed)}. The newest is {failed[-1]}, in run {open_[failed[-1]][0]}"
    return _UNDECIDED if any(status != dg.DagsterRunStatus.SUCCESS for status in statuses.values()) else ""


def _whole(instance: dg.DagsterInstance, entry: AssetEntry) -> str | None:
    run_id = entry.last_run_id
    done = entry.last_materialization_record
    if run_id is None or (done is not None and done.run_id == run_id):
        return ""
    status = _statuses(instance, {run_id}).get(run_id)
    if status == dg.DagsterRunStatus.FAILURE:
        return f"Run {run_id} failed"
    return "" if status == dg.DagsterRunStatus.SUCCESS else _UNDECIDED


def _statuses(instance: dg.DagsterInstance, run_ids: set[str]) -> dict[str, dg.DagsterRunStatus]:
    if not run_ids:
        return {}
    runs = instance.get_runs(dg.RunsFilter(run_ids=sorted(run_ids)))
    return {run.run_id: run.status for run in runs}


def _send(settings: Settings, title: str, body: str) -> bool:
    # Only a tick that has something to send pays for the import of its many services.
    from apprise import Apprise, NotifyFormat

    if settings.notices is None:
        return False
    services = Apprise()
    return bool(
        services.add(settings.notices.get_secret_value())
        and services.notify(title=title, body=body, body_format=NotifyFormat.TEXT)
    )
