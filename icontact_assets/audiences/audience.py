"""Evaluates an audience over the profiles of an import, and remembers who is in it, who entered and who left."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

from icontact_assets.errors import UserError
from icontact_assets.icontact.values import as_id
from icontact_assets.plain import mask
from icontact_assets.settings.models import Audience
from icontact_assets.warehouse.rows import texts
from icontact_assets.warehouse.warehouse import Warehouse

# These are about the SQL text. Any other error of DuckDB may quote a value of somebody's row.
_ABOUT_THE_TEXT = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException, duckdb.PermissionException)
_INEXACT = ("FLOAT", "BIT")
"""Types whose values, as text, may be another id."""
_AS_TEXT = "SELECT DISTINCT CAST(ic_contact_id AS VARCHAR) FROM ({})"
_VANISHED = "SELECT ic_contact_id FROM icontact_profiles WHERE deleted_at IS NOT NULL AND ic_contact_id IS NOT NULL"


class AudienceError(UserError):
    """An audience cannot be computed. The text names audience, problem and remedy, and no value of anybody's row."""


@dataclass(frozen=True)
class Membership:
    """An audience after it was computed, or kept as it was."""

    size: int
    entered: int
    left: int
    version_hash: str
    """The same for the same members."""
    moved: bool
    """Whether the members differ from before."""
    missing: str | None
    """Which data was incomplete, so that the audience was kept. None if it was computed."""


def compute(warehouse: Warehouse, audience: Audience, *, now: datetime, missing: str | None) -> Membership:
    """Compute the members of an audience and record who entered and left, and that it was computed, in one transaction.

    A member is a contact id that the audience's `where` or `query` selects from `icontact_profiles`. Each counts once,
    however it is spelled, and a value that is not an id is an error. Profiles without `ic_contact_id` do not count.
    Contacts that vanished from iContact (`deleted_at`) do not count either, whatever the condition says: they cannot be
    mailed, and their last known fields are no longer anybody's.
    `missing` says which data is incomplete: given, nothing is evaluated and the last membership stays.
    `now` is aware. Raises AudienceError.
    """
    if missing is not None:
        with warehouse.write(f"keeping the audience {audience.name}") as connection:
            kept = members(connection, audience.name)
            _record_computation(connection, audience.name, version_hash(kept), now, missing)
        return Membership(len(kept), 0, 0, version_hash(kept), moved=False, missing=missing)
    selected = select(warehouse, audience)
    version = version_hash(selected)
    with warehouse.write(f"storing the audience {audience.name}") as connection:
        entered, left = _record(connection, audience.name, selected, version, now)
        _record_computation(connection, audience.name, version, now, None)
    return Membership(len(selected), entered, left, version, moved=bool(entered or left), missing=None)


def members(connection: duckdb.DuckDBPyConnection, audience: str) -> list[str]:
    """Contact ids of an audience as last computed, those who entered first first."""
    rows = connection.execute(
        "SELECT contact_id FROM audience_members WHERE audience = ? ORDER BY entered_at, contact_id",
        [audience],
    ).fetchall()
    return [contact_id for (contact_id,) in rows]


def incomplete_reason(connection: duckdb.DuckDBPyConnection, audience: str) -> str | None:
    """Why an audience is incomplete, in one sentence. None if it was computed from complete data."""
    rows = connection.execute(
        "SELECT missing FROM audience_computations WHERE audience = ? "
        "ORDER BY computed_at DESC, missing NULLS LAST LIMIT 1",
        [audience],
    ).fetchall()
    if not rows:
        return f"the audience {audience} was never computed: materialize it first"
    [(missing,)] = rows
    return f"the audience {audience} was not computed from complete data: {missing}" if missing else None


def version_hash(contact_ids: Iterable[str]) -> str:
    """32 hexadecimal digits that stand for this set of contact ids."""
    return hashlib.blake2b("\n".join(sorted(contact_ids)).encode(), digest_size=16).hexdigest()


def select(warehouse: Warehouse, audience: Audience) -> list[str]:
    """Contact ids that an audience selects now, in no order. Nothing is recorded. Raises AudienceError."""
    try:
        sql = _sql(audience)
        with warehouse.read(users_sql=sql) as connection:
            type_ = str(connection.execute(f"DESCRIBE {sql}").fetchall()[0][1])
            rows = connection.execute(_AS_TEXT.format(sql)).fetchall()
            vanished = {as_id(contact_id) for (contact_id,) in connection.execute(_VANISHED).fetchall()}
    except duckdb.Error as error:
        raise _error(audience, problem(error)) from None
    if type_ in _INEXACT:
        raise _error(audience, f"ic_contact_id is of the type {type_}, which does not hold every id exactly")
    values = [value for (value,) in rows if value is not None and value.strip()]
    ids = dict.fromkeys(map(as_id, values))
    if None in ids:
        count = sum(as_id(value) is None for value in values)
        raise _error(
            audience, f"ic_contact_id must be a contact id, and {count} of its values are not (no value is shown)"
        )
    return [contact_id for contact_id in ids if contact_id is not None and contact_id not in vanished]


def _sql(audience: Audience) -> str:
    if audience.where is not None:
        # Parsed bare as well as in parentheses, so that it cannot close them and become something else.
        _parsed(audience, f"SELECT ic_contact_id FROM icontact_profiles WHERE {audience.where}")  # noqa: S608
        chosen = f"SELECT ic_contact_id FROM icontact_profiles WHERE ({audience.where}\n)"  # noqa: S608
    else:
        chosen = _parsed(audience, audience.query or "")
    sql = f"SELECT ic_contact_id FROM ({chosen}\n)"  # noqa: S608
    _parsed(audience, sql)
    return sql


def _parsed(audience: Audience, sql: str) -> str:
    """The SQL without a closing semicolon. Raises AudienceError unless it is exactly one SELECT."""
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
        raise _error(audience, f"it must be one SELECT, but is {kinds}")
    text: str = statements[0].query
    return text.strip().removesuffix(";")


def problem(error: duckdb.Error) -> str:
    """What is wrong with a user's SQL, in one line, without anybody's values."""
    words = " ".join(re.split(r"\bLINE \d+:", str(error))[0].split())
    if isinstance(error, _ABOUT_THE_TEXT):
        return mask(re.sub(r"'[^']*'", "'...'", words))
    column = re.search(r"when casting from source column (\w+)", words)
    where = f" of the column {column[1]}" if column else ""
    return f"{words.partition(':')[0]}: a value{where} does not fit (the value is not shown)"


def _error(audience: Audience, what: str) -> AudienceError:
    key = "where" if audience.where is not None else "query"
    wanted = "a SQL condition over icontact_profiles" if key == "where" else "one SELECT that yields ic_contact_id"
    return AudienceError(
        f"The audience {audience.name} cannot be computed: {what.rstrip('.')}. Its members stay as they were. "
        f"Correct `{key}` of the audience in icontact.yaml: {wanted}, in DuckDB's SQL."
    )


def _record_computation(
    connection: duckdb.DuckDBPyConnection, audience: str, version: str, now: datetime, missing: str | None
) -> None:
    connection.execute(
        "INSERT INTO audience_computations VALUES (?, ?, ?, ?)",
        [audience, now.astimezone(UTC).replace(tzinfo=None), version, missing],
    )


def _record(
    connection: duckdb.DuckDBPyConnection,
    audience: str,
    selected: list[str],
    version: str,
    now: datetime,
) -> tuple[int, int]:
    """Make `selected` the audience_members. Returns how many entered and left."""
    connection.register("selected", texts({"contact_id": selected}))
    values = {"audience": audience, "at": now.astimezone(UTC).replace(tzinfo=None)}
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE moves AS
        SELECT contact_id, 'entered' AS change FROM selected
        WHERE contact_id NOT IN (SELECT contact_id FROM audience_members WHERE audience = $audience)
        UNION ALL
        SELECT contact_id, 'left' FROM audience_members
        WHERE audience = $audience AND contact_id NOT IN (SELECT contact_id FROM selected)
        """,
        {"audience": audience},
    )
    connection.execute(
        "DELETE FROM audience_members WHERE audience = $audience "
        "AND contact_id IN (SELECT contact_id FROM moves WHERE change = 'left')",
        {"audience": audience},
    )
    connection.execute(
        "INSERT INTO audience_members SELECT $audience, contact_id, $at FROM moves WHERE change = 'entered'", values
    )
    connection.execute(
        "INSERT INTO audience_changes SELECT $audience, contact_id, change, $at, $version FROM moves",
        {**values, "version": version},
    )
    counts = dict(connection.execute("SELECT change, count(*) FROM moves GROUP BY change").fetchall())
    connection.unregister("selected")
    return counts.get("entered", 0), counts.get("left", 0)
