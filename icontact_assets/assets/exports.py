"""The exports of audiences to lists."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import duckdb

from icontact_assets.assets.pages import Page, described
from icontact_assets.assets.pictures import list_size
from icontact_assets.assets.worker import worker
from icontact_assets.errors import UserError
from icontact_assets.exports.choice import sources
from icontact_assets.exports.report import ExportReport
from icontact_assets.exports.run import ExportError, run_export
from icontact_assets.exports.trigger import Computed, state
from icontact_assets.metadata import failure, metadata_table
from icontact_assets.plain import code, plain
from icontact_assets.records import (
    COMPARED_AT,
    NEXT_AT,
    REMAINING,
    STATE,
    audience_key,
    export_key,
    newest_audiences,
    pool_of,
)
from icontact_assets.resources import open_export
from icontact_assets.settings.models import Export, Settings
from icontact_assets.warehouse.remedies import query_failed
from icontact_assets.warehouse.tables import (
    CONTACT_ADDRESSES,
    EXPORT_MEMBERS,
    EXPORT_OUTCOMES,
    EXPORT_PLANS,
    EXPORT_RUNS,
    OPT_OUTS,
)

_SHOWN = 20

_CHECKS = {
    "list_matches_audience": "The list, as read back, has everybody it should have and nobody else.",
    "no_consent_violation": "Nobody was added who may not be mailed, by what the list and the stored history show.",
    "export_limits": "The plan exceeds no limit, or it was approved.",
}


def export_asset(settings: Settings, export: Export) -> dg.AssetsDefinition:
    """Brings the list closer to the audience, as far as guard, limits and pace allow, and checks the result."""
    import_ = settings.import_of(export)
    key = export_key(settings, export)
    page = _page(settings, export)

    def run(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        # Read before the export reads the members: an audience that is computed in between is exported again, and never
        # left out.
        computed: list[Computed] = []
        for name, audience in newest_audiences(context.instance, settings, export).items():
            if isinstance(audience, str):
                raise dg.Failure(
                    f"The audience {name} was never materialized. {audience} Materialize it first.", allow_retries=False
                )
            computed.append(audience)
        storage_id = computed[0].storage_id
        try:
            report = run_export(
                open_export(settings, export, waiting=context.log.warning),
                export,
                run_id=context.run.run_id,
                audience_storage_id=storage_id,
                waiting=context.log.warning,
            )
        except UserError as error:
            facts: dict[str, Any] = {}
            if isinstance(error, ExportError) and error.report:
                facts = _facts(error.report)
                # The results of checks that are yielded stay, although the run fails.
                yield from _check_results(error.report, key)
            raise failure(error, facts) from error
        except duckdb.Error as error:
            raise failure(query_failed(error)) from None
        yield from _check_results(report, key)
        yield dg.MaterializeResult(
            metadata={
                **_facts(report),
                **list_size(settings, export, report.list_id),
                STATE: state(export, computed),
                "dagster/column_lineage": page.lineage,
            }
        )

    return dg.asset(
        key=key,
        deps=[audience_key(settings, name) for name in sources(export)],
        description=export.description or _described(export),
        group_name=f"{import_.name}_audiences",
        pool=pool_of(settings.target_of(export)),
        resource_defs=worker(settings),
        required_resource_keys={*worker(settings)},
        check_specs=[dg.AssetCheckSpec(name, asset=key, description=text) for name, text in _CHECKS.items()],
        **described(settings, page),
    )(run)


def _page(settings: Settings, export: Export) -> Page:
    name = settings.import_of(export).name
    return Page(
        import_name=name,
        layer="export",
        table=EXPORT_OUTCOMES.name,
        columns=EXPORT_OUTCOMES.columns,
        kinds=frozenset({"icontact", "duckdb", "table"}),
        docs="exports.md",
        code=run_export,
        comes_from=lambda: {
            "member_id": [(audience_key(settings, source), "contact_id") for source in sources(export)]
        },
        beside=(EXPORT_RUNS, EXPORT_MEMBERS, EXPORT_PLANS, OPT_OUTS, CONTACT_ADDRESSES),
    )


def _check_results(report: ExportReport, key: dg.AssetKey) -> Iterator[dg.AssetCheckResult]:
    """The checks of an export, by what was read back. A dry run writes nothing, so nothing is wrong with the list."""
    unread = report.list_size_after is None and not report.dry
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name="list_matches_audience",
        passed=report.dry or not (unread or report.missing or report.surplus or report.external_remaining),
        severity=dg.AssetCheckSeverity.WARN,
        description="the list was not read again" if unread else report.result,
        metadata={"missing": report.missing, "surplus": report.surplus, "external_changes": report.external_remaining},
    )
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name="no_consent_violation",
        passed=not report.violations,
        metadata={"people": len(report.violations), "contact_ids": _listed(report.violations[:_SHOWN])},
    )
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name="export_limits",
        passed=report.approved or not report.exceeded,
        description="; ".join(report.exceeded) or None,
        metadata={"limits_exceeded": _listed(report.exceeded), "approved": report.approved, "plan": report.plan_hash},
    )


_DOES = {
    "dry_run": "Says who would be put on the list {list}, of the audience {audience}, and writes nothing.",
    "add": "Puts the audience {audience} on the list {list}.",
    "mirror": "Puts the audience {audience} on the list {list}, and takes off it who left.",
}


def _described(export: Export) -> str:
    """What an export does, in words. The name, or the label where there is one, comes first."""
    does = _DOES[export.mode].format(list=code(export.list), audience=code(export.audience))
    return f"{code(export.label)}: {does}"


def _listed(texts: Sequence[str]) -> str:
    return "; ".join(texts) or "none"


def _counted(people: Mapping[str, int]) -> str:
    """Reasons with how many people each is about, the most first."""
    ordered = sorted(people.items(), key=lambda item: -item[1])
    return _listed([f"{count}: {reason}" for reason, count in ordered])


def _facts(report: ExportReport) -> dict[str, Any]:
    done = report.added + report.removed
    to_do = done + report.remaining
    return {
        "result": report.result,
        "mode": report.mode,
        "list": f"{plain(report.list_name)} ({report.list_id})",
        "members": report.members,
        "planned": report.planned,
        "added": report.added,
        "removed": report.removed,
        "already_subscribed": report.already_subscribed,
        "skipped": _counted(report.skipped),
        "refused": _counted(report.refused),
        "failed": _counted(report.failed),
        "share_done": done / to_do if to_do else 1.0,
        REMAINING: report.remaining,
        NEXT_AT: dg.MetadataValue.timestamp(report.next_at) if report.next_at else "with the next run",
        COMPARED_AT: dg.MetadataValue.timestamp(report.compared_at),
        "limits_exceeded": _listed(report.exceeded),
        "plan": report.plan_hash,
        "external_changes": report.external_changes,
        "list_size_before": report.list_size_before,
        "list_size_after": report.list_size_after if report.list_size_after is not None else "not read",
        "requests": report.requests,
        "preview": metadata_table(("contact", "action", "outcome", "reason"), report.preview),
    }
