"""The audiences of an import."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from icontact_assets.assets.mapped import complete_data, incomplete, never_computed
from icontact_assets.assets.pages import Page, described
from icontact_assets.assets.worker import worker
from icontact_assets.audiences.audience import Membership, compute
from icontact_assets.mapping.lineage import columns_named, is_named
from icontact_assets.mapping.people import people_table
from icontact_assets.metadata import code_block, failing_plainly
from icontact_assets.plain import code, mask
from icontact_assets.records import COMPLETE, COMPLETE_DATA, VERSION, audience_key, table_key
from icontact_assets.resources import open_import, scope_of
from icontact_assets.settings.models import Audience, Import, Settings
from icontact_assets.warehouse.tables import AUDIENCE_CHANGES, AUDIENCE_COMPUTATIONS, AUDIENCE_MEMBERS


def audience_asset(settings: Settings, audience: Audience) -> dg.AssetsDefinition:
    """Computes an audience from complete data. From incomplete data it keeps the members, and its check is red."""
    schema, key = audience.import_name, audience_key(settings, audience.name)
    import_ = settings.import_named(schema)
    profiles = table_key(schema, "icontact_profiles")
    made_of = _made_of(settings, audience)
    page = _page(audience, is_of_people=bool(made_of))

    # Dagster does not recognise the parametrised type beside a check.
    def run(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
        now = datetime.now(UTC)
        with failing_plainly():
            warehouse = open_import(settings, import_, waiting=context.log.warning)
            if not warehouse.storage.exists():
                # Where nothing was ever read, nothing is complete: the check says so.
                warehouse.prepare()
            missing = None
            for one in made_of or [import_]:
                with open_import(settings, one, waiting=context.log.warning).read() as connection:
                    missing = missing or incomplete(connection, scope_of(settings, one), now)
            membership = compute(warehouse, audience, now=now, missing=missing)
        return _audience_result(membership, page.lineage)

    return dg.asset(
        key=key,
        deps=[profiles, *([_people(schema)] if made_of else [])],
        description=audience.description or f"Who is in the audience {code(audience.label)}. A row is a member.",
        group_name=f"{schema}_audiences",
        automation_condition=_follow(profiles),
        resource_defs=worker(settings),
        required_resource_keys={*worker(settings)},
        check_specs=[
            dg.AssetCheckSpec(
                COMPLETE_DATA, asset=key, description="The audience was computed from completely read data."
            )
        ],
        **described(settings, page, {_sql_label(audience): code_block(_shown(audience), "sql")}),
    )(run)


def _people(schema: str) -> dg.AssetKey:
    return table_key(schema, people_table().name)


def _made_of(settings: Settings, audience: Audience) -> list[Import]:
    """The imports whose contacts are in the people that an audience is chosen from. Empty if it names no people."""
    if not is_named(_sql(audience), people_table().name):
        return []
    return [settings.import_named(name) for name in settings.import_named(audience.import_name).people]


def _sql(audience: Audience) -> str:
    return audience.where or audience.query or ""


def _shown(audience: Audience) -> str:
    """The SQL in its lines, without addresses."""
    return "\n".join(map(mask, _sql(audience).splitlines()))


def _sql_label(audience: Audience) -> str:
    return "where" if audience.where is not None else "query"


def _page(audience: Audience, *, is_of_people: bool) -> Page:
    profiles = table_key(audience.import_name, "icontact_profiles")

    def comes_from() -> dict[str, list[tuple[dg.AssetKey, str]]]:
        people = [(_people(audience.import_name), "ic_contact_id")] if is_of_people else []
        named = columns_named(_sql(audience), "icontact_profiles")
        return {"contact_id": [*((profiles, name) for name in dict.fromkeys(["ic_contact_id", *named])), *people]}

    return Page(
        import_name=audience.import_name,
        layer="audience",
        table=AUDIENCE_MEMBERS.name,
        columns=AUDIENCE_MEMBERS.columns,
        kinds=frozenset({"duckdb", "table"}),
        docs="audiences.md",
        code=compute,
        comes_from=comes_from,
        beside=(AUDIENCE_CHANGES, AUDIENCE_COMPUTATIONS),
    )


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


def _audience_result(membership: Membership, comes_from: dg.TableColumnLineage) -> dg.MaterializeResult[Any]:
    facts: dict[str, Any] = {
        "dagster/column_lineage": comes_from,
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
