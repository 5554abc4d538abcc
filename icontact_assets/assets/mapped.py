"""The mapped assets of one import: icontact_users, icontact_activity, and the profiles that join them."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import duckdb

from icontact_assets.assets.worker import RESOURCE, worker
from icontact_assets.errors import UserError
from icontact_assets.mapping.build import build_activity, build_users
from icontact_assets.mapping.expressions import field_table
from icontact_assets.metadata import column_schema, failure, preview
from icontact_assets.records import table_key
from icontact_assets.resources import open_import
from icontact_assets.settings.models import Import, Settings
from icontact_assets.warehouse.tables import Column

FOLLOW = (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
).with_label("an upstream asset was materialized since")
"""Condition of the mapped assets. `eager()` would wait until every historic day is there."""

_DELETED = Column(
    "deleted_at", "TIMESTAMP", "when the contact was first missing in iContact (UTC), NULL while it exists"
)

_Body = Callable[[duckdb.DuckDBPyConnection], dict[str, Any]]


def mapped_columns(name: str) -> list[Column]:
    """Columns of a mapped table with types and descriptions, from the field tables."""
    if name == "icontact_profiles":
        users, activity = mapped_columns("icontact_users"), mapped_columns("icontact_activity")
        return [*users, *activity[1:]]
    columns = [Column(field.name, field.sql_type, field.description) for field in field_table(name)]
    return [*columns, _DELETED] if name == "icontact_users" else columns


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
        [(rows,)] = connection.execute("SELECT count(*) FROM icontact_profiles").fetchall()
        [(shared,)] = connection.execute(
            "SELECT count(*) FROM (SELECT email FROM icontact_users WHERE email IS NOT NULL "
            "GROUP BY email HAVING count(*) > 1)"
        ).fetchall()
        return {"dagster/row_count": rows, "addresses_of_several_contacts": shared}

    return [
        _asset(settings, import_, "icontact_users", users_deps, users, "One row per contact, mapped as Lytics does."),
        _asset(
            settings,
            import_,
            "icontact_activity",
            activity_deps,
            activity,
            "One row per contact that did something: counts, first and last times, links, mapped as Lytics does.",
        ),
        _asset(
            settings,
            import_,
            "icontact_profiles",
            ("icontact_users", "icontact_activity"),
            profiles,
            "Contacts and what they did, joined by contact id. Activity of unknown contacts is kept.",
        ),
    ]


def _asset(
    settings: Settings, import_: Import, name: str, deps: tuple[str, ...], body: _Body, description: str
) -> dg.AssetsDefinition:
    columns = mapped_columns(name)

    def run() -> dg.MaterializeResult[Any]:
        try:
            warehouse = open_import(settings, import_)
            with warehouse.write(f"computing {name}") as connection:
                facts = body(connection)
                shown = preview(connection, name, public_columns(name))
        except UserError as error:
            raise failure(error) from error
        return dg.MaterializeResult(metadata={**facts, "preview": shown})

    return dg.asset(
        name=name,
        key_prefix=[import_.name],
        deps=[table_key(import_.name, dep) for dep in deps],
        description=description,
        metadata={"dagster/column_schema": column_schema(columns), "dagster/table_name": f"{import_.name}.{name}"},
        group_name=f"{import_.name}_mapped",
        kinds={"duckdb"},
        automation_condition=FOLLOW,
        resource_defs={RESOURCE: worker(settings.home)},
        required_resource_keys={RESOURCE},
    )(run)
