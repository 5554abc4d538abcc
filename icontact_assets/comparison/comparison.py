"""Compares the profiles of an export with ours: for each field how many are alike, and why the others are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from icontact_assets.comparison.causes import DIFFERS, MACROS, Cause, causes_of
from icontact_assets.comparison.evidence import Evidence, gather
from icontact_assets.comparison.export_file import ExportFile, read_export
from icontact_assets.comparison.pairs import Pairs, find_pairs
from icontact_assets.comparison.values import ID, READING, TABLES, fields, ours, table_of, theirs
from icontact_assets.errors import UserError
from icontact_assets.ingest.coverage import read_through
from icontact_assets.mapping.build import unmapped, working
from icontact_assets.warehouse.relations import there
from icontact_assets.warehouse.remedies import query_failed

_MEMORY = "700MB"
_AT_ONCE = 6
"""Fields that are compared in one pass: of a million profiles, that many fit in memory."""
_SAMPLE = 5
"""Contact ids that are named for a cause at most."""


class NothingToCompare(UserError):
    """There are no profiles here yet. The text names what to materialize."""


@dataclass(frozen=True)
class Found:
    """How many differ for one cause, and the contact ids of some."""

    cause: Cause
    count: int
    contact_ids: tuple[str, ...]


@dataclass(frozen=True)
class FieldResult:
    """How a field compares over the profiles that both sides have."""

    name: str
    equal: int
    differing: int
    only_there: int
    only_here: int
    both_absent: int
    causes: tuple[Found, ...]
    """Of those that are not alike, the most frequent first."""

    @property
    def unlike(self) -> int:
        return self.differing + self.only_there + self.only_here

    @property
    def unexplained(self) -> int:
        return sum(found.count for found in self.causes if not found.cause.explained)

    @property
    def percent(self) -> float:
        """Of the profiles that have the field on a side, those whose difference is not explained."""
        return _percent(self.unexplained, self.equal + self.unlike)


@dataclass(frozen=True)
class Comparison:
    """What a comparison found. Nothing in it is anything of a person but contact ids."""

    export: ExportFile
    exported_at: datetime
    pairs: Pairs
    only_there: tuple[Found, ...]
    only_here: tuple[Found, ...]
    """Profiles that only one side has."""
    fields: tuple[FieldResult, ...]
    """Those that the file has."""
    notes: tuple[str, ...]
    """What is not complete here, in sentences."""

    @property
    def compared(self) -> int:
        """Profiles that both sides have."""
        return self.pairs.by_id + self.pairs.by_address

    @property
    def missing_fields(self) -> tuple[str, ...]:
        """The fields that the file does not have."""
        return tuple(name for name in fields() if name not in self.export.fields)

    @property
    def ambiguous(self) -> int:
        """Profiles of the export that could be several of ours, or that it has several times."""
        return self.pairs.same_id_there + self.pairs.same_address_there

    @property
    def profiles_unexplained(self) -> int:
        """Profiles that only one side has and nothing explains, and ambiguous ones."""
        alone = sum(found.count for found in (*self.only_there, *self.only_here) if not found.cause.explained)
        return alone + self.ambiguous

    @property
    def profiles_percent(self) -> float:
        """Those of all profiles of both sides."""
        return _percent(self.profiles_unexplained, self.pairs.there + self.pairs.here - self.compared)


def compare(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    *,
    renamed: Mapping[str, str],
    exported_at: datetime,
    aid: str | None,
) -> Comparison:
    """Compare the export in a file with `icontact_profiles`. The connection is bound to the schema of the import, and
    only its temporary tables are written.

    `renamed` has for columns of the file the fields they are. `exported_at` (aware) is when the export was made. `aid`
    is that of the import. Raises ExportFileError, NothingToCompare,
    QueryFailed.
    """
    missing = [name for name in ("icontact_users", "icontact_activity") if not there(connection, name)]
    if missing:
        raise NothingToCompare(
            f"There is nothing to compare with, because {missing[0]} was never computed. Materialize it, then "
            "icontact_profiles."
        )
    for signature, body in (READING | MACROS).items():
        connection.execute(f"CREATE OR REPLACE TEMP MACRO {signature} AS {body}")
    with _without_texts(), working(connection, _MEMORY):
        export = read_export(connection, path, renamed)
        pairs = find_pairs(connection, export.fields)
        evidence = gather(connection, exported_at, aid)
        return Comparison(
            export,
            exported_at,
            pairs,
            _found(connection, _only_there(export.fields, evidence)),
            _found(connection, _only_here(exported_at)),
            tuple(_compare_fields(connection, export.fields, evidence)),
            tuple(_notes(connection, evidence)),
        )


@contextmanager
def _without_texts() -> Iterator[None]:
    """An error of DuckDB's may quote somebody's row."""
    try:
        yield
    except duckdb.Error as error:
        raise query_failed(error) from None


def _compare_fields(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str], evidence: Evidence
) -> Iterator[FieldResult]:
    if ID in names:
        # Both in their normal forms. Whoever was told by an address may have another id there, or none.
        state = f"CASE WHEN k.id = p.id THEN 1 WHEN k.id IS NULL THEN 4 ELSE {DIFFERS} END AS {ID}"
        _make_states(connection, state, "temp.pairs p JOIN temp.keys k USING (n)")
        yield _result(connection, ID, f"SELECT id, 'UNKNOWN' AS cause FROM temp.states WHERE {ID} >= {DIFFERS}")
    for table in TABLES:
        own = [name for name in names if table_of(fields()[name]) == table and name != ID]
        for first in range(0, len(own), _AT_ONCE):
            group = own[first : first + _AT_ONCE]
            states = ", ".join(f'{_state(name)} AS "{name}"' for name in group)
            _make_states(
                connection,
                states,
                f"temp.pairs p JOIN temp.there t USING (n) LEFT JOIN {table} o ON o.ic_contact_id = p.id",
            )
            for name in group:
                yield _result(connection, name, causes_of(fields()[name], names, evidence))


def _make_states(connection: duckdb.DuckDBPyConnection, states: str, source: str) -> None:
    """Make the temporary table `states` (n, id, a number for each of some fields)."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE states AS SELECT p.n, p.id, {states} FROM {source}")


def _result(connection: duckdb.DuckDBPyConnection, name: str, causes: str) -> FieldResult:
    counts = dict(connection.execute(f'SELECT "{name}", count(*) FROM temp.states GROUP BY ALL').fetchall())
    absent, equal, differing, only_there, only_here = (counts.get(state, 0) for state in range(5))
    found = _found(connection, causes) if differing + only_there + only_here else ()
    return FieldResult(name, equal, differing, only_there, only_here, absent, found)


def _state(name: str) -> str:
    """SQL for how two values compare: 0 both are absent, 1 equal, 2 differing, 3 only there, 4 only here."""
    field, value, own = fields()[name], f't."{name}"', f'o."{name}"'
    return (
        f"(CASE WHEN {value} IS NULL THEN CASE WHEN {own} IS NULL THEN 0 ELSE 4 END WHEN {own} IS NULL THEN 3 "
        f"WHEN {theirs(field, value)} = {ours(field, own)} THEN 1 ELSE {DIFFERS} END)::UTINYINT"
    )


def _only_there(names: Sequence[str], evidence: Evidence) -> str:
    """SQL for the profiles that only the file has: contact id and cause."""
    cases = []
    if "ic_contact_id" in names:
        cases.append(f"WHEN t.ic_contact_id IS NULL THEN '{Cause.NO_ID.name}'")
    if "ic_contact_id" in names and "email" in names and "last_active_ts" in names and evidence.oldest_event:
        edge = round(evidence.oldest_event.timestamp() * 1000)
        seen = theirs(fields()["last_active_ts"], "t.last_active_ts")
        cases.append(f"WHEN t.email IS NULL AND {seen} < {edge} THEN '{Cause.OLDER.name}'")
    cause = f"CASE {' '.join(cases)} ELSE 'UNKNOWN' END" if cases else "'UNKNOWN'"
    return f"SELECT id, {cause} AS cause FROM temp.only_there JOIN temp.there t USING (n)"


def _only_here(exported_at: datetime) -> str:
    """SQL for the profiles that only we have: contact id and cause. A contact is created at a US Eastern time."""
    instant = f"TIMESTAMPTZ '{exported_at.isoformat()}'"
    return (
        f"SELECT id, CASE WHEN coalesce(timezone('America/New_York', o.ic_user_created), a.first::TIMESTAMPTZ) "
        f"> {instant} THEN '{Cause.NEWER.name}' ELSE 'UNKNOWN' END AS cause FROM temp.only_here "
        "JOIN icontact_profiles o ON o.ic_contact_id = id LEFT JOIN (SELECT contact_id, min(event_time) AS first "
        "FROM raw_activity SEMI JOIN temp.only_here ON contact_id = id GROUP BY contact_id) a ON a.contact_id = id"
    )


def _found(connection: duckdb.DuckDBPyConnection, causes: str) -> tuple[Found, ...]:
    rows = connection.execute(
        f"SELECT cause, count(*) AS profiles, min(id, {_SAMPLE}) FROM ({causes}) GROUP BY cause ORDER BY profiles DESC"
    ).fetchall()
    return tuple(Found(Cause[cause], profiles, tuple(ids or ())) for cause, profiles, ids in rows)


def _notes(connection: duckdb.DuckDBPyConnection, evidence: Evidence) -> list[str]:
    notes = []
    if (waiting := unmapped(connection)) is not None:
        notes.append(f"Here, {waiting}. Materialize it, and compare again.")
    if evidence.unread_listings:
        notes.append(
            f"Listings of activity that are not completely read here: {evidence.unread_listings:,}. Our counts may be "
            "too low. Materialize raw_activity, and compare again."
        )
    read = read_through(connection, "contacts")["contacts"]
    if read is not None and read < evidence.exported_at:
        notes.append(
            f"The contacts were last read here at {read:%Y-%m-%d %H:%M} UTC, before the export was made. What "
            "changed in between is not here: materialize raw_contacts, and compare again."
        )
    return notes


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0
