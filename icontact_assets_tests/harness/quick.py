"""Runs without Dagster's engine, for tests of what raw assets ask for and store: their functions, in Dagster's order."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import dagster as dg

from icontact_assets.ingest.window import Window

_SILENT = logging.Logger("quick", logging.CRITICAL)


@dataclass
class QuickResult:
    """How such a run ended."""

    red: dict[str, str] = field(default_factory=dict)
    """The assets that failed, without the prefix of their import, each with what it said."""
    green: list[dg.AssetMaterialization] = field(default_factory=list)
    """What was reported of each day that was read."""
    interrupted: bool = False

    @property
    def success(self) -> bool:
        return not self.red and not self.interrupted


@dataclass
class _Step:
    """What the functions of raw assets use of Dagster's context."""

    instance: dg.DagsterInstance
    run: dg.DagsterRun
    asset_key: dg.AssetKey
    partition_key_range: dg.PartitionKeyRange
    log: logging.Logger = _SILENT
    told: dict[str | None, dict[str, Any]] = field(default_factory=dict)

    def add_asset_metadata(self, metadata: Mapping[str, Any], partition_key: str | None = None) -> None:
        self.told.setdefault(partition_key, {}).update(metadata)

    def log_event(self, event: dg.AssetObservation) -> None:
        """Nobody looks at events here."""


def quick_run(
    assets: Iterable[dg.AssetsDefinition], instance: dg.DagsterInstance, window: Window, tags: Mapping[str, str]
) -> QuickResult:
    """Materialize raw assets for a window of days. Those that need one that failed are skipped."""
    run = instance.add_run(dg.DagsterRun(job_name="quick", tags=dict(tags)))
    result = QuickResult()
    left = {asset.key: asset for asset in assets}
    missing: set[dg.AssetKey] = set()
    while left:
        asset = _next(left)
        del left[asset.key]
        days = dg.PartitionKeyRange(window.first.isoformat(), window.last.isoformat())
        if missing & _needs(asset) or not _materialize(asset, _Step(instance, run, asset.key, days), window, result):
            missing.add(asset.key)
        if result.interrupted:
            break
    return result


def _needs(asset: dg.AssetsDefinition) -> Collection[dg.AssetKey]:
    return cast("Collection[dg.AssetKey]", asset.dependency_keys)


def _next(left: Mapping[dg.AssetKey, dg.AssetsDefinition]) -> dg.AssetsDefinition:
    """Of those that need none of the others, one of the highest priority."""
    ready = [asset for asset in left.values() if not left.keys() & _needs(asset)]
    return max(ready, key=lambda asset: int(asset.op.tags.get("dagster/priority", "0")))


def _materialize(asset: dg.AssetsDefinition, step: _Step, window: Window, result: QuickResult) -> bool:
    """Whether it succeeds."""
    name = asset.key.path[-1]
    body = cast("Any", asset.op.compute_fn).decorated_fn
    try:
        for came in body(step):
            if isinstance(came, dg.AssetMaterialization):
                result.green.append(came)
            else:
                result.green += [
                    dg.AssetMaterialization(
                        asset.key,
                        partition=day.isoformat(),
                        metadata={**(came.metadata or {}), **step.told.get(day.isoformat(), {})},
                    )
                    for day in window.days
                ]
    except dg.Failure as failure:
        result.red[name] = failure.description or ""
    except KeyboardInterrupt:
        result.interrupted = True
    return name not in result.red
