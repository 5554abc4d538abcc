"""The audiences of an import and their exports to lists."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from icontact_assets.assets.raw import POOL
from icontact_assets.audiences.audience import AudienceError, Membership, compute
from icontact_assets.audiences.export import ExportError, ExportReport, run_export
from icontact_assets.audiences.trigger import target
from icontact_assets.connect import open_folder, scope_of
from icontact_assets.ingest.coverage import missing_for_audiences
from icontact_assets.settings import Audience, Export, Settings, SettingsError
from icontact_assets.warehouse.warehouse import Warehouse, WarehouseError

STORAGE_ID = "audience_storage_id"
VERSION = "audience_version"
TARGET = "target"
COMPLETE = "computed_from_complete_data"


def audience_key(settings: Settings, name: str) -> dg.AssetKey:
    """Asset key of an audience: below its import."""
    return dg.AssetKey([settings.audience(name).import_name, f"audience_{name}"])


def export_key(settings: Settings, export: Export) -> dg.AssetKey:
    """Asset key of an export: below the import of its audience."""
    return dg.AssetKey([settings.import_of(export).name, f"export_{export.name}"])


def audience_asset(settings: Settings, audience: Audience) -> dg.AssetsDefinition:
    """Computes an audience from complete data; from incomplete data it keeps the members and its check is red."""
    schema, key = audience.import_name, audience_key(settings, audience.name)
    scope = scope_of(settings.import_named(schema))

    # Dagster does not recognise the parametrised type beside a check.
    def run() -> dg.MaterializeResult:  # type: ignore[type-arg]
        now = datetime.now(UTC)
        warehouse = Warehouse(settings.duckdb_path)
        try:
            warehouse.prepare(schema)
            with warehouse.read() as connection:
                missing = missing_for_audiences(connection, scope, now)
            membership = compute(warehouse, schema, audience, now=now, missing=missing)
        except (AudienceError, WarehouseError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        return _audience_result(membership)

    return dg.asset(
        key=key,
        deps=[dg.AssetKey([schema, "icontact_profiles"])],
        description=audience.description or audience.label,
        group_name=f"{schema}_audiences",
        kinds={"duckdb"},
        check_specs=[
            dg.AssetCheckSpec(
                "complete_data", asset=key, description="The audience was computed from completely read data."
            )
        ],
    )(run)


def _audience_result(membership: Membership) -> dg.MaterializeResult[Any]:
    facts: dict[str, Any] = {
        "dagster/row_count": membership.size,
        "entered": membership.entered,
        "left": membership.left,
        VERSION: membership.version_hash,
        COMPLETE: membership.missing is None,
    }
    why = membership.missing or "contacts, messages and activity are read completely"
    return dg.MaterializeResult(
        metadata=facts,
        data_version=dg.DataVersion(membership.version_hash),
        check_results=[
            dg.AssetCheckResult(
                check_name="complete_data", passed=membership.missing is None, metadata={"why": why}, description=why
            )
        ],
    )


def export_asset(settings: Settings, export: Export) -> dg.AssetsDefinition:
    """Subscribes those members of the audience to the list who may be mailed and are not on it yet."""
    import_ = settings.import_of(export)
    audience = audience_key(settings, export.audience)

    def run(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        event = context.instance.get_latest_materialization_event(audience)
        if event is None or event.asset_materialization is None:
            raise dg.Failure(
                f"The audience {export.audience} was never materialized: materialize it first.", allow_retries=False
            )
        source = event.asset_materialization.metadata
        storage_id = str(context.instance.fetch_materializations(audience, limit=1).records[0].storage_id)
        warehouse = Warehouse(settings.duckdb_path)
        try:
            warehouse.prepare(import_.name)
            report = run_export(
                warehouse,
                import_.name,
                open_folder(settings, import_),
                export,
                audience_storage_id=storage_id,
                run_id=context.run.run_id,
                clock=lambda: datetime.now(UTC),
            )
        except (ExportError, SettingsError, WarehouseError) as error:
            facts = _export_facts(error.report) if isinstance(error, ExportError) and error.report else {}
            raise dg.Failure(str(error), metadata=facts, allow_retries=False) from error
        return dg.MaterializeResult(
            metadata={
                **_export_facts(report),
                STORAGE_ID: storage_id,
                VERSION: str(source[VERSION].value),
                TARGET: target(export.mode, export.list),
            }
        )

    return dg.asset(
        key=export_key(settings, export),
        deps=[audience],
        description=export.description or export.label,
        group_name=f"{import_.name}_audiences",
        kinds={"duckdb"},
        pool=POOL,
    )(run)


def _export_facts(report: ExportReport) -> dict[str, Any]:
    return {
        "mode": report.mode,
        "list": f"{report.list_name} ({report.list_id})",
        "members": report.members,
        "planned": report.planned,
        "added": report.added,
        "already_there": report.already,
        "skipped": report.skipped,
        "refused": report.refused,
        "remaining": report.remaining,
        "list_size_before": report.list_size_before,
        "list_size_after": report.list_size_after if report.list_size_after is not None else "not read",
        "requests": report.requests,
    }
