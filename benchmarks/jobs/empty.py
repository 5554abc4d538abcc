"""As many assets as the raw ones with the same partitions, which do nothing. A module of Dagster definitions."""

from __future__ import annotations

import os

import dagster as dg

_days = dg.DailyPartitionsDefinition(os.environ["ICONTACT_START_DATE"], timezone="UTC", end_offset=1)


def _asset(name: str) -> dg.AssetsDefinition:
    @dg.asset(name=name, partitions_def=_days, backfill_policy=dg.BackfillPolicy.single_run())
    def empty() -> dg.MaterializeResult:
        return dg.MaterializeResult()

    return empty


defs = dg.Definitions(assets=[_asset(f"raw_{number}") for number in range(7)], executor=dg.in_process_executor)
