"""The audiences of an import."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from icontact_assets.assets.mapped import complete_data, incomplete, never_computed
from icontact_assets.assets.worker import RESOURCE, worker
from icontact_assets.audiences.audience import Membership, compute
from icontact_assets.metadata import failing_plainly
from icontact_assets.plain import code
from icontact_assets.records import COMPLETE, COMPLETE_DATA, VERSION, audience_key, table_key
from icontact_assets.resources import open_import, scope_of
from icontact_assets.settings.models import Audience, Settings


def audience_asset(settings: Settings, audience: Audience) -> dg.AssetsDefinition:
    """Computes an audience from complete data. From incomplete data it keeps the members, and its check is red."""
    schema, key = audience.import_name, audience_key(settings, audience.name)
    import_ = settings.import_named(schema)
    scope = scope_of(settings, import_)
    profiles = table_key(schema, "icontact_profiles")

    # Dagster does not recognise the parametrised type beside a check.
    def run() -> dg.MaterializeResult:  # type: ignore[type-arg]
        now = datetime.now(UTC)
        with failing_plainly():
            warehouse = open_import(settings, import_)
            if not warehouse.exists():
                # Where nothing was ever read, nothing is complete: the check says so.
                warehouse.prepare()
            with warehouse.read() as connection:
                missing = incomplete(connection, scope, now)
            membership = compute(warehouse, audience, now=now, missing=missing)
        return _audience_result(membership)

    return dg.asset(
        key=key,
        deps=[profiles],
        description=audience.description or f"Who is in the audience {code(audience.label)}.",
        group_name=f"{schema}_audiences",
        kinds={"duckdb"},
        automation_condition=_follow(profiles),
        resource_defs={RESOURCE: worker(settings.home)},
        required_resource_keys={RESOURCE},
        check_specs=[
            dg.AssetCheckSpec(
                COMPLETE_DATA, asset=key, description="The audience was computed from completely read data."
            )
        ],
    )(run)


def _follow(profiles: dg.AssetKey) -> dg.AutomationCondition[Any]:
    """Asks for an audience once for each change of the profiles that leaves them complete, as their check says."""
    # Not those that this tick asks for, as `any_deps_updated` does: whether they are complete is known afterwards.
    updated = dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.newly_updated() & ~dg.AutomationCondition.executed_with_root_target()
    ).since_last_handled()
    complete = dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.any_checks_match(dg.AutomationCondition.check_passed()).allow(
            dg.AssetSelection.checks(dg.AssetCheckKey(profiles, COMPLETE_DATA))
        )
    )
    return (
        (updated | never_computed()).with_label("the profiles changed, or it was never computed")
        & complete.with_label(f"the check {COMPLETE_DATA} of the profiles passed: all that they are made of is read")
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    )


def _audience_result(membership: Membership) -> dg.MaterializeResult[Any]:
    facts: dict[str, Any] = {
        "dagster/row_count": membership.size,
        "entered": membership.entered,
        "left": membership.left,
        VERSION: membership.version_hash,
        COMPLETE: membership.missing is None,
    }
    return dg.MaterializeResult(
        metadata=facts,
        data_version=dg.DataVersion(membership.version_hash),
        check_results=[complete_data(membership.missing, severity=dg.AssetCheckSeverity.ERROR)],
    )
