"""The mapped assets of one import: icontact_users, icontact_activity, and the profiles that join them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import dagster as dg
import duckdb

from icontact_assets.assets.pages import Page, described, keyed
from icontact_assets.assets.worker import worker
from icontact_assets.checks import mapped_results, mapped_specs
from icontact_assets.ingest.due import Scope, missing_for_audiences
from icontact_assets.mapping.build import build_activity, build_users, unmapped
from icontact_assets.mapping.expressions import field_table
from icontact_assets.mapping.lineage import lineage
from icontact_assets.mapping.profiles import build_profiles
from icontact_assets.metadata import failing_plainly, preview
from icontact_assets.records import COMPLETE_DATA, WHY, table_key
from icontact_assets.resources import open_import, scope_of
from icontact_assets.settings.models import Import, Settings
from icontact_assets.warehouse.tables import HASHED_LINKS, MAPPING_STATE, Column

_COMPLETE_PROFILES = "The profiles are made of completely read data. Audiences are computed when they are."

_DELETED = Column(
    "deleted_at", "TIMESTAMP", "when the contact was first missing in iContact (UTC), NULL while it exists"
)

_BUILDERS: dict[str, Callable[..., Any]] = {
    "icontact_users": build_users,
    "icontact_activity": build_activity,
    "icontact_profiles": build_profiles,
}


@dataclass(frozen=True)
class _Mapped:
    """A mapped table, and how it is computed."""

    name: str
    description: str
    deps: tuple[str, ...]
    """The tables of the import that it is computed from."""
    needs: tuple[str, ...]
    """Those of them without which it is not computed by itself."""
    body: Callable[[duckdb.DuckDBPyConnection], dict[str, Any]]
    """Computes it, and returns its metadata."""
    missing: Callable[[duckdb.DuckDBPyConnection], str | None] | None = None
    """Says what is not read completely. None: the table has no check about that."""


@cache
def mapped_columns(name: str) -> tuple[Column, ...]:
    """Columns of a mapped table with types and descriptions, from the field tables."""
    if name == "icontact_profiles":
        users, activity = mapped_columns("icontact_users"), mapped_columns("icontact_activity")
        return (*users, *activity[1:])
    columns = tuple(Column(field.name, field.sql_type, field.description) for field in field_table(name))
    return (*columns, _DELETED) if name == "icontact_users" else columns


def public_columns(name: str) -> list[str]:
    """The columns of a mapped table that may be shown: nothing in them identifies a person."""
    if name == "icontact_profiles":
        users, activity = public_columns("icontact_users"), public_columns("icontact_activity")
        return [*users, *activity[1:]]
    columns = [field.name for field in field_table(name) if not field.personal]
    return [*columns, _DELETED.name] if name == "icontact_users" else columns


def mapped_assets(settings: Settings, import_: Import) -> list[dg.AssetsDefinition]:
    """icontact_users, icontact_activity and icontact_profiles of an import. They follow the raw assets."""
    aid = import_.filter_by_aid
    # With a filter, users are those who did something with a message that carries the AID.
    users_deps = ("raw_contacts",) if aid is None else ("raw_contacts", "raw_messages", "raw_activity")
    activity_deps = ("raw_activity",) if aid is None else ("raw_messages", "raw_activity")

    def users(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
        return {"dagster/row_count": build_users(connection, aid=aid).rows}

    def activity(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
        built = build_activity(connection, aid=aid)
        [(outside,)] = connection.execute(
            "SELECT count(*) FROM raw_activity WHERE partition_date < ? OR partition_date > current_date",
            [import_.start_date],
        ).fetchall()
        return {
            "dagster/row_count": built.rows,
            "contacts_computed": built.computed,
            "all_computed": built.full,
            "events_outside_partitions": outside,
        }

    def profiles(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
        build_profiles(connection)
        [(rows,)] = connection.execute("SELECT count(*) FROM icontact_profiles").fetchall()
        [(shared,)] = connection.execute(
            "SELECT count(*) FROM (SELECT email FROM icontact_users WHERE email IS NOT NULL "
            "GROUP BY email HAVING count(*) > 1)"
        ).fetchall()
        return {"dagster/row_count": rows, "addresses_of_several_contacts": shared}

    tables = (
        _Mapped(
            "icontact_users",
            "One row per contact, mapped as Lytics does.",
            deps=users_deps,
            needs=users_deps,
            body=users,
        ),
        _Mapped(
            "icontact_activity",
            "One row per contact that did something: counts, first and last times, links, mapped as Lytics does.",
            deps=activity_deps,
            needs=activity_deps,
            body=activity,
        ),
        _Mapped(
            "icontact_profiles",
            "Contacts and what they did, joined by contact id. Activity of unknown contacts is kept. Before any "
            "activity is read, these are the contacts alone.",
            deps=("icontact_users", "icontact_activity"),
            needs=("icontact_users",),
            body=profiles,
            missing=lambda connection: incomplete(connection, scope_of(settings, import_), datetime.now(UTC)),
        ),
    )
    return [_asset(settings, import_, table) for table in tables]


def incomplete(connection: duckdb.DuckDBPyConnection, scope: Scope, now: datetime) -> str | None:
    """Why the profiles of an import are not made of completely read data, in one sentence. None if they are. `now` is
    aware."""
    return missing_for_audiences(connection, scope, now) or unmapped(connection)


def follow(needs: Sequence[dg.AssetKey]) -> dg.AutomationCondition[Any]:
    """Asks for a mapped or report table once for each change of what it is made of. `eager()` would wait until every
    historic day is there."""
    changed = dg.AutomationCondition.any_deps_updated().since_last_handled()
    there = dg.AutomationCondition.all_deps_match(
        ~dg.AutomationCondition.missing() | dg.AutomationCondition.will_be_requested()
    ).allow(dg.AssetSelection.assets(*needs))
    return (
        (changed | never_computed()).with_label("something that it is made of changed, or it was never computed")
        & there.with_label(f"there is something in {', '.join(key.path[-1] for key in needs)}")
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    )


@cache
def never_computed() -> dg.AutomationCondition[Any]:
    """True for an asset without a materialization, until it is asked for. If that run fails, it is not asked for again
    for this reason."""
    # `since_last_handled` would forget what is missing when a condition is evaluated for the first time.
    handled = dg.AutomationCondition.newly_requested() | dg.AutomationCondition.newly_updated()
    return dg.AutomationCondition.missing().newly_true().since(handled)


def _asset(settings: Settings, import_: Import, table: _Mapped) -> dg.AssetsDefinition:
    page = _page(import_, table.name)
    key = table_key(import_.name, table.name)

    # Dagster does not recognise the parametrised type beside a check.
    def run(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
        missing = None
        with failing_plainly():
            warehouse = open_import(settings, import_, waiting=context.log.warning)
            with warehouse.write(f"computing {table.name}") as connection:
                facts = table.body(connection)
                shown = preview(connection, table.name, public_columns(table.name))
                checks = mapped_results(connection, table.name, page.columns, import_.filter_by_aid)
                if table.missing:
                    missing = table.missing(connection)
        if table.missing:
            checks.append(complete_data(missing, severity=dg.AssetCheckSeverity.WARN))
        return dg.MaterializeResult(
            metadata={**facts, "dagster/column_lineage": page.lineage, "preview": shown},
            check_results=checks,
        )

    return dg.asset(
        key=key,
        deps=[table_key(import_.name, dep) for dep in table.deps],
        description=table.description,
        group_name=f"{import_.name}_mapped",
        automation_condition=follow([table_key(import_.name, need) for need in table.needs]),
        resource_defs=worker(settings),
        required_resource_keys={*worker(settings)},
        check_specs=[
            *mapped_specs(key),
            *([dg.AssetCheckSpec(COMPLETE_DATA, asset=key, description=_COMPLETE_PROFILES)] if table.missing else []),
        ],
        **described(settings, page),
    )(run)


def _page(import_: Import, name: str) -> Page:
    return Page(
        import_name=import_.name,
        layer="mapped",
        table=name,
        columns=mapped_columns(name),
        kinds=frozenset({"duckdb", "view" if name == "icontact_profiles" else "table"}),
        docs="tables.md",
        code=_BUILDERS[name],
        comes_from=lambda: keyed(lineage(name), import_.name),
        beside=(HASHED_LINKS, MAPPING_STATE) if name == "icontact_activity" else (),
    )


def complete_data(missing: str | None, *, severity: dg.AssetCheckSeverity) -> dg.AssetCheckResult:
    """The result of the check `complete_data`, which says what is missing."""
    return dg.AssetCheckResult(
        check_name=COMPLETE_DATA,
        passed=missing is None,
        severity=severity,
        metadata={WHY: missing or "contacts, messages and activity are read completely and mapped"},
    )
