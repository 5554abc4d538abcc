"""The audiences of an import."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from icontact_assets.assets.worker import RESOURCE, worker
from icontact_assets.audiences.audience import Membership, compute
from icontact_assets.errors import UserError
from icontact_assets.ingest.due import missing_for_audiences
from icontact_assets.metadata import failure
from icontact_assets.records import COMPLETE, VERSION, audience_key, table_key
from icontact_assets.resources import open_import, scope_of
from icontact_assets.settings.models import Audience, Settings


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
            if not warehouse.exists():
                # Where nothing was ever read, nothing is complete: the check says so.
                warehouse.prepare()
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
