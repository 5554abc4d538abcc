"""Runs without Dagster's engine, for tests of what raw assets ask for and store: their functions, in Dagster's order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from unittest import mock

import dagster as dg

from icontact_assets.assets.raw import raw_assets
from icontact_assets.ingest.window import Window
from icontact_assets.settings.models import Import, Settings


@dataclass(frozen=True)
class QuickAsset:
    """What a quick run takes of the definition of an asset."""

    key: dg.AssetKey
    needs: frozenset[dg.AssetKey]
    priority: int
    body: Callable[[Any], Iterator[Any]]


def quick_assets(settings: Settings, import_: Import) -> list[QuickAsset]:
    """The raw assets of an import. Dagster's own objects for them take as long as a short run."""

    def asset(
        name: str, key_prefix: Sequence[str], deps: Iterable[dg.AssetKey], op_tags: Mapping[str, str] | None, **_: Any
    ) -> Callable[[Callable[[Any], Iterator[Any]]], QuickAsset]:
        key, priority = dg.AssetKey([*key_prefix, name]), int((op_tags or {}).get("dagster/priority", "0"))
        return lambda body: QuickAsset(key, frozenset(deps), priority, body)

    with mock.patch.object(dg, "asset", asset):
        return cast("list[QuickAsset]", raw_assets(settings, import_))


@dataclass
class QuickResult:
    """How such a run ended."""

    red: dict[str, str] = field(default_factory=dict)
    """The assets that failed, without the prefix of their import, each with what it said."""
    green: list[dg.AssetMaterialization] = field(default_factory=list)
    """What was reported of each day that was read."""
    said: list[tuple[int, str]] = field(default_factory=list)
    """What was logged, each with its level."""
    interrupted: bool = False

    @property
    def success(self) -> bool:
        return not self.red and not self.interrupted


class _Kept(logging.Handler):
    def __init__(self, said: list[tuple[int, str]]) -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append((record.levelno, record.getMessage()))


@dataclass
class _Step:
    """What the functions of raw assets use of Dagster's context."""

    instance: dg.DagsterInstance
    run: dg.DagsterRun
    asset_key: dg.AssetKey
    partition_key_range: dg.PartitionKeyRange
    log: logging.Logger
    told: dict[str | None, dict[str, Any]] = field(default_factory=dict)

    def add_asset_metadata(self, metadata: Mapping[str, Any], partition_key: str | None = None) -> None:
        self.told.setdefault(partition_key, {}).update(metadata)

    def log_event(self, event: dg.AssetObservation) -> None:
        """Nobody looks at events here."""


def quick_run(
    assets: Iterable[QuickAsset], instance: dg.DagsterInstance, window: Window, tags: Mapping[str, str]
) -> QuickResult:
    """Materialize raw assets for a window of days. Those that need one that failed are skipped."""
    run = instance.add_run(dg.DagsterRun(job_name="quick", tags=dict(tags)))
    result = QuickResult()
    log = logging.Logger("quick")
    log.addHandler(_Kept(result.said))
    left = {asset.key: asset for asset in assets}
    missing: set[dg.AssetKey] = set()
    while left:
        # Of those that need none of the others, one of the highest priority.
        asset = max((a for a in left.values() if not left.keys() & a.needs), key=lambda asset: asset.priority)
        del left[asset.key]
        days = dg.PartitionKeyRange(window.first.isoformat(), window.last.isoformat())
        if missing & asset.needs or not _materialize(asset, _Step(instance, run, asset.key, days, log), window, result):
            missing.add(asset.key)
        if result.interrupted:
            break
    return result


def _materialize(asset: QuickAsset, step: _Step, window: Window, result: QuickResult) -> bool:
    """Whether it succeeds."""
    name = asset.key.path[-1]
    try:
        for came in asset.body(step):
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
