"""Makes the view icontact_profiles of the mapped tables that are there."""

from __future__ import annotations

import duckdb

from icontact_assets.errors import UserError
from icontact_assets.mapping.expressions import field_table
from icontact_assets.warehouse.relations import create_view, mark_of, mark_of_stored_view, there


class NothingMapped(UserError):
    """There is nothing that profiles could be made of. The text names what to materialize."""


def build_profiles(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the view `icontact_profiles`: users and activity joined by contact id.

    While one of the two was never computed, the profiles are those of the other. Raises NothingMapped without both.
    """
    if not any(there(connection, name) for name in ("icontact_users", "icontact_activity")):
        raise NothingMapped(
            "There are no profiles yet, because icontact_users was never computed. Materialize raw_contacts, then "
            "icontact_users, then icontact_profiles."
        )
    users = ", ".join(f'u."{f.name}"' for f in field_table("icontact_users") if f.name != "ic_contact_id")
    activity = ", ".join(f'a."{f.name}"' for f in field_table("icontact_activity") if f.name != "ic_contact_id")
    # Named with the schema, so that the view can be read from anywhere.
    [(schema,)] = connection.execute("SELECT current_schema()").fetchall()
    view = (
        f'CREATE OR REPLACE VIEW "{schema}".icontact_profiles AS SELECT '
        f"coalesce(u.ic_contact_id, a.ic_contact_id) AS ic_contact_id, {users}, u.deleted_at, {activity} "
        f"FROM {side(connection, schema, 'icontact_users')} u "
        f"FULL OUTER JOIN {side(connection, schema, 'icontact_activity')} a ON u.ic_contact_id = a.ic_contact_id"
    )
    # DuckDB refuses a view whose tables have other types than when it was made.
    types = [field.sql_type for name in ("icontact_users", "icontact_activity") for field in field_table(name)]
    mark = mark_of(view, *types)
    if mark_of_stored_view(connection, "icontact_profiles") != mark:
        create_view(connection, "icontact_profiles", view, mark)


def side(connection: duckdb.DuckDBPyConnection, schema: str, name: str) -> str:
    """SQL, to follow FROM, for one side of the profiles of a schema: the table, or no rows while it was never
    computed."""
    if there(connection, name, schema):
        return f'"{schema}".{name}'
    columns = ", ".join(f'NULL::{field.sql_type} AS "{field.name}"' for field in field_table(name))
    return f"(SELECT {columns}, NULL::TIMESTAMP AS deleted_at WHERE false)"
