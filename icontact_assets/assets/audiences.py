"""The audiences of an import and their exports to lists."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from icontact_assets.assets.worker import RESOURCE, worker
from icontact_assets.audiences.audience import Membership, compute
from icontact_assets.errors import UserError
from icontact_assets.exports.choice import sources
from icontact_assets.exports.report import ExportReport
from icontact_assets.exports.run import ExportError, run_export
from icontact_assets.exports.trigger import Computed, target, version
from icontact_assets.ingest.due import missing_for_audiences
from icontact_assets.metadata import failure, metadata_table
from icontact_assets.records import (
    COMPARED_AT,
    COMPLETE,
    NEXT_AT,
    REMAINING,
    STORAGE_ID,
    TARGET,
    VERSION,
    audience_key,
    export_key,
    newest_audiences,
    table_key,
)
from icontact_assets.resources import open_import, open_place, scope_of
from icontact_assets.settings.models import Audience, Export, Settings

_SHOWN = 20


def audience_asset(settings: Settings, audience: Audience) -> dg.AssetsDefinition:
    """Computes an audience from complete data. From incomplete data it keeps the members, and its check is red."""
    schema, key = audience.import_name, audience_key(settings, audience.name)
    import_ = settings.import_named(schema)
    scope = scope_of(settings, import_)

    # Dagster does not recognise the parametrised type beside a check.
    def run() -> dg.MaterializeResult:  # type: ignore[type-arg]
        now = datetime.now(UTC)
        try:
            warehouse = open_import(settings, import_)
            with warehouse.read() as connection:
                missing = missing_for_audiences(connection, scope, now)
            membership = compute(warehouse, audience, now=now, missing=missing)
        except UserError as error:
            raise failure(error) from error
        return _audience_result(membership)

    return dg.asset(
        key=key,
        deps=[table_key(schema, "icontact_profiles")],
        description=audience.description or audience.label,
        group_name=f"{schema}_audiences",
        kinds={"duckdb"},
        resource_defs={RESOURCE: worker(settings.home)},
        required_resource_keys={RESOURCE},
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
            dg.AssetCheckResult(check_name="complete_data", passed=membership.missing is None, metadata={"why": why})
        ],
    )


def export_asset(settings: Settings, export: Export) -> dg.AssetsDefinition:
    """Brings the list closer to the audience, as far as guard, limits and pace allow, and checks what came of it."""
    import_ = settings.import_of(export)
    key = export_key(settings, export)

    def run(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        # Read before the export reads the members: what is computed in between is exported again, never left out.
        computed: list[Computed] = []
        for name, audience in newest_audiences(context.instance, settings, export).items():
            if audience is None:
                raise dg.Failure(
                    f"The audience {name} was never materialized: materialize it first.", allow_retries=False
                )
            computed.append(audience)
        storage_id = computed[0].storage_id
        try:
            report = run_export(
                open_place(settings, export),
                export,
                run_id=context.run.run_id,
                audience_storage_id=storage_id,
                waiting=context.log.warning,
            )
        except UserError as error:
            facts: dict[str, Any] = {}
            if isinstance(error, ExportError) and error.report:
                facts = _export_facts(error.report)
                # What is yielded stays, though the run fails.
                yield from _export_checks(error.report, key)
            raise failure(error, facts) from error
        yield from _export_checks(report, key)
        yield dg.MaterializeResult(
            metadata={
                **_export_facts(report),
                STORAGE_ID: storage_id,
                VERSION: version(computed),
                TARGET: target(export),
            }
        )

    return dg.asset(
        key=key,
        deps=[audience_key(settings, name) for name in sources(export)],
        description=export.description or export.label,
        group_name=f"{import_.name}_audiences",
        kinds={"duckdb"},
        resource_defs={RESOURCE: worker(settings.home)},
        required_resource_keys={RESOURCE},
        check_specs=[dg.AssetCheckSpec(name, asset=key, description=text) for name, text in _EXPORT_CHECKS.items()],
    )(run)


_EXPORT_CHECKS = {
    "list_matches_audience": "The list, as read back, holds those it should and nobody it should not.",
    "no_consent_violation": "Nobody was put on the list against whom the list or the stored history speaks.",
    "export_limits": "The plan exceeds no limit, or is approved.",
}


def _export_checks(report: ExportReport, key: dg.AssetKey) -> Iterator[dg.AssetCheckResult]:
    """What came of an export, by the facts read back."""
    unread = report.list_size_after is None
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name="list_matches_audience",
        passed=not (unread or report.missing or report.surplus or report.standing),
        severity=dg.AssetCheckSeverity.WARN,
        description="the list was not read again" if unread else None,
        metadata={"missing": report.missing, "surplus": report.surplus, "external_changes": report.standing},
    )
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name="no_consent_violation",
        passed=not report.violations,
        metadata={"people": len(report.violations), "contact_ids": list(report.violations[:_SHOWN])},
    )
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name="export_limits",
        passed=report.approved or not report.exceeded,
        description="; ".join(report.exceeded) or None,
        metadata={"exceeded": list(report.exceeded), "approved": report.approved, "plan": report.plan_hash},
    )


def _export_facts(report: ExportReport) -> dict[str, Any]:
    done = report.added + report.removed
    to_do = done + report.remaining
    return {
        "mode": report.mode,
        "list": f"{report.list_name} ({report.list_id})",
        "members": report.members,
        "planned": report.planned,
        "added": report.added,
        "removed": report.removed,
        "already_subscribed": report.already_subscribed,
        "skipped": report.skipped,
        "refused": report.refused,
        "failed": report.failed,
        "share_done": done / to_do if to_do else 1.0,
        REMAINING: report.remaining,
        NEXT_AT: dg.MetadataValue.timestamp(report.next_at) if report.next_at else "with the next run",
        COMPARED_AT: dg.MetadataValue.timestamp(report.compared_at),
        "limits": list(report.exceeded),
        "plan": report.plan_hash,
        "external_changes": report.foreign,
        "list_size_before": report.list_size_before,
        "list_size_after": report.list_size_after if report.list_size_after is not None else "not read",
        "requests": report.requests,
        "preview": metadata_table(("contact", "action", "outcome", "why"), report.preview),
    }
