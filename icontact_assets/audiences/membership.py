"""Who was in an audience, and when: read from the recorded changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import duckdb

from icontact_assets.audiences.audience import AudienceError


@dataclass(frozen=True)
class Change:
    """A contact entered or left an audience. `at` is UTC, naive."""

    change: str
    at: datetime


@dataclass(frozen=True)
class Standing:
    """A contact and an audience as last computed. Times are UTC, naive."""

    since: datetime | None
    """When the contact entered. None if it is not a member."""
    computed_at: datetime | None
    """When the audience was last computed from complete data. None if never."""
    changes: tuple[Change, ...]
    """Each time the contact entered or left, the first first."""


def members_on(connection: duckdb.DuckDBPyConnection, audience: str, day: date) -> dict[str, datetime]:
    """Who was in an audience when a day ended (UTC): contact id to when it had entered (UTC, naive), the first first.

    The same as `FROM <schema>.audience_on(audience, day)` in SQL. Raises AudienceError if the audience was not computed
    by then: who was in it is not known.
    """
    try:
        rows = connection.execute("FROM audience_on(?, ?) ORDER BY entered_at, contact_id", [audience, day]).fetchall()
    except duckdb.InvalidInputException as error:
        raise AudienceError(str(error).partition(": ")[2]) from None
    return dict(rows)


def standing(connection: duckdb.DuckDBPyConnection, audience: str, contact_id: str) -> Standing:
    """Whether a contact is in an audience, since when, and each time it entered or left, the first first."""
    since = connection.execute(
        "SELECT entered_at FROM audience_members WHERE audience = ? AND contact_id = ?",
        [audience, contact_id],
    ).fetchall()
    [(computed_at,)] = connection.execute(
        "SELECT max(computed_at) FROM audience_computations WHERE audience = ? AND missing IS NULL",
        [audience],
    ).fetchall()
    changes = connection.execute(
        "SELECT change, changed_at FROM audience_changes WHERE audience = ? AND contact_id = ? ORDER BY changed_at",
        [audience, contact_id],
    ).fetchall()
    return Standing(since[0][0] if since else None, computed_at, tuple(Change(*change) for change in changes))
