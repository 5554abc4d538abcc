"""The jobs: all of an import for a window of days, an export, the maintenance of the storage."""

from __future__ import annotations

import dagster as dg

from icontact_assets.plain import code
from icontact_assets.records import export_key, maintenance_key
from icontact_assets.settings.models import Export, Import, Settings


def import_job(settings: Settings, import_: Import) -> dg.UnresolvedAssetJobDefinition:
    """Import, mapping, audiences and reports of one import. Exports are the sensor's business."""
    exports = [export_key(settings, export) for export in settings.exports_of(import_)]
    return dg.define_asset_job(
        f"{import_.name}_import",
        selection=dg.AssetSelection.key_prefixes([import_.name]) - dg.AssetSelection.assets(*exports),
        description=f"Reads {code(import_.label)}, maps it, computes its audiences and reports.",
        executor_def=dg.in_process_executor,
    )


def export_job(settings: Settings, export: Export) -> dg.UnresolvedAssetJobDefinition:
    """One export, as its sensor requests it."""
    return dg.define_asset_job(
        f"export_{export.name}",
        selection=dg.AssetSelection.assets(export_key(settings, export)),
        description=f"Puts the audience {export.audience} on the list {code(export.list)}.",
        executor_def=dg.in_process_executor,
    )


def maintenance_job(prefix: str) -> dg.UnresolvedAssetJobDefinition:
    """The maintenance of the storage."""
    return dg.define_asset_job(
        f"{prefix}maintenance",
        selection=dg.AssetSelection.assets(maintenance_key(prefix)),
        description="Keeps the lake small and quick.",
        executor_def=dg.in_process_executor,
    )
