"""What starts runs by itself: mapped assets that follow raw ones, exports that follow their audience."""

from __future__ import annotations

import dagster as dg

from icontact_assets.settings import Settings

FOLLOW = (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
).with_label("a raw partition was materialized since")
"""Condition of the mapped assets. `eager()` would wait for every historic day; see the design's measurements."""


def follow_raw_sensor(settings: Settings) -> dg.SensorDefinition:
    """Runs the mapped assets after raw partitions were materialized by hand or by a backfill. On from the start."""
    groups = dg.AssetSelection.groups(*(f"{import_.name}_mapped" for import_ in settings.imports))
    return dg.AutomationConditionSensorDefinition(
        "follow_raw_assets",
        target=groups,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description="Recomputes the mapped tables when raw partitions were materialized by hand or by a backfill.",
    )
