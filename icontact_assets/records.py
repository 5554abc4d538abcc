"""What Dagster's own records say, and the names by which they are found: asset keys, tags and metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg

from icontact_assets.exports.choice import sources
from icontact_assets.exports.trigger import Computed
from icontact_assets.settings.models import ClientFolder, Export, Settings

REREAD_TAG = "icontact_assets/reread"
"""On a run: `true` asks for a re-read, which reads again what would otherwise count as read."""

REREAD_SINCE_TAG = "icontact_assets/reread_since"
"""On a run that retries a re-read: when that was first asked for (ISO 8601 with an offset)."""

RETRY_AT_TAG = "icontact_assets/retry_at"
"""On a run that failed: when to ask again for what is missing (ISO 8601 with an offset)."""

IMPORT_TAG = "icontact_assets/import"
"""On an asset: the import that it belongs to."""

LAYER_TAG = "icontact_assets/layer"
"""On an asset: raw, mapped, report, audience or export."""

VERSION = "audience_version"
STATE = "exported_state"
REMAINING = "remaining"
NEXT_AT = "next_at"
COMPARED_AT = "compared_at"
COMPLETE = "computed_from_complete_data"
COMPLETE_DATA = "complete_data"
"""The check of profiles and audiences that says whether their data is read completely."""
WHY = "why"
"""Its reason, in one sentence."""

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_LONGEST = timedelta(days=1)


def under_way(instance: dg.DagsterInstance, now: datetime) -> Sequence[dg.DagsterRun]:
    """The runs that are queued or running at `now` (aware), without those created more than a day before.

    The process of such an old run may be gone without anybody having noticed. If it lives, a second run waits for the
    import's lock.
    """
    return instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED, created_after=now - _LONGEST))


@dataclass(frozen=True)
class Partitions:
    """Partition keys of an asset."""

    asked: frozenset[str]
    """Those that were ever asked for."""
    failed: Mapping[str, dg.RunRecord]
    """Those whose last run failed, with that run."""


def partitions_of(instance: dg.DagsterInstance, key: dg.AssetKey, failing: str | None = None) -> Partitions:
    """The partitions of an asset as its runs left them. The run `failing` counts as failed although it has not ended.

    A run that somebody cancelled has not failed. This takes two queries, however many partitions there are.
    """
    # `get_status_by_partition` says which partitions failed, but neither in which run nor when.
    open_ = instance.event_log_storage.get_latest_asset_partition_materialization_attempts_without_materializations(key)
    ids = sorted({run_id for run_id, _ in open_.values()})
    records = instance.get_run_records(dg.RunsFilter(run_ids=ids)) if ids else []
    failed = {
        record.dagster_run.run_id: record
        for record in records
        if record.dagster_run.status == dg.DagsterRunStatus.FAILURE or record.dagster_run.run_id == failing
    }
    return Partitions(
        asked=frozenset({*open_, *instance.get_materialized_partitions(key)}),
        failed={partition: failed[run_id] for partition, (run_id, _) in sorted(open_.items()) if run_id in failed},
    )


def table_key(import_name: str, table: str) -> dg.AssetKey:
    """Asset key of a raw, mapped or report table of an import."""
    return dg.AssetKey([import_name, table])


def service_key(folder: str, resource: str) -> dg.AssetKey:
    """Asset key of something in iContact itself. No import can have this prefix: names have no capital letters."""
    return dg.AssetKey(["iContact", folder, resource])


def audience_key(settings: Settings, name: str) -> dg.AssetKey:
    """Asset key of an audience: below its import."""
    return dg.AssetKey([settings.audience(name).import_name, f"audience_{name}"])


def export_key(settings: Settings, export: Export) -> dg.AssetKey:
    """Asset key of an export: below the import of its audience."""
    return dg.AssetKey([settings.import_of(export).name, f"export_{export.name}"])


def pool_of(folder: ClientFolder) -> str:
    """The pool of all steps that ask the account of a client folder for something. A deployment with several workers
    limits it to one run: a second one would share the request budget, and wait for it on a worker of its own."""
    return f"icontact_account_{folder.account_id or 'any'}"


def maintenance_key(prefix: str) -> dg.AssetKey:
    """Asset key of the maintenance of the storage. No import can begin with a capital letter."""
    return dg.AssetKey(["Warehouse", f"{prefix}maintenance"])


def newest_audiences(instance: dg.DagsterInstance, settings: Settings, export: Export) -> dict[str, Computed | str]:
    """The newest materialization of every audience that decides who is exported, the export's own audience first.

    A sentence says what an audience waits for that has none. One that does not say what it holds, as one that was
    reported by hand, does not count.
    """
    found: dict[str, Computed | str] = {}
    for name in sources(export):
        records = instance.fetch_materializations(audience_key(settings, name), limit=1).records
        event = records[0].asset_materialization if records else None
        found[name] = (
            Computed(
                str(records[0].storage_id), str(event.metadata[VERSION].value), bool(event.metadata[COMPLETE].value)
            )
            if event is not None and {VERSION, COMPLETE} <= event.metadata.keys()
            else _awaited(instance, settings.audience(name).import_name)
        )
    return found


def _awaited(instance: dg.DagsterInstance, import_name: str) -> str:
    """What the audiences of an import wait for, by the check of its profiles."""
    profiles = table_key(import_name, "icontact_profiles")
    record = instance.get_latest_asset_check_evaluation_record(dg.AssetCheckKey(profiles, COMPLETE_DATA))
    evaluation = record.event.asset_check_evaluation if record and record.event else None
    if evaluation is None:
        return f"It waits until {profiles.to_user_string()} is materialized."
    if evaluation.passed:
        return "The sensor follow_raw_assets asks for it, or materialize it."
    return f"It waits until all data is read: {evaluation.metadata[WHY].value}."
