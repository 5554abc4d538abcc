"""Schema drift: the fields that rows had against those documented and seen before, and what the policy makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import duckdb

from icontact_assets.icontact.errors import IContactError
from icontact_assets.ingest.rows import RowReader, Seen
from icontact_assets.plain import mask
from icontact_assets.warehouse.times import naive

Policy = Literal["evolve", "warn", "fail"]
"""What a missing or retyped field is: accepted from then on, a warning, an error. A new field is news under each."""

ABSENT = "absent"
"""Beside the kinds of values: the field was in no row of a listing that had rows."""

_ALIKE = (frozenset(("text", "number", "boolean")), frozenset(("object", "array")))
"""Kinds that iContact may swap in a field of which no page says anything: PHP writes an empty object as []."""


class SchemaDrift(IContactError):
    """A field is missing or retyped and the policy is `fail`. The text names listing, field and remedy, no value."""


@dataclass(frozen=True)
class Finding:
    """One field that is not as it was."""

    resource: str
    field: str
    expected: str
    """Kinds, or where a new field is kept."""
    found: frozenset[str]
    """Kinds, or `absent`."""
    status: Literal["new", "accepted", "drift"]

    def __str__(self) -> str:
        what = f"Field {self.resource}.{mask(self.field)}"
        if self.status == "new":
            return f"{what} ({listed(self.found)}) is new, {self.expected}."
        found = "is in no row" if ABSENT in self.found else f"is {listed(self.found)}"
        accepted = ", accepted from now on (schema_drift: evolve)" if self.status == "accepted" else ""
        return f"{what} {found}, expected {self.expected}{accepted}."


def compare(resource: str, reader: RowReader, known: Mapping[str, Set[str]], seen: Seen) -> list[Finding]:
    """What is new (`new`), missing or retyped (`drift`) in the rows of a listing that had some, by field name.

    `known`: the fields accepted before, with their kinds (`absent` among them). Only what a table holds can drift: the
    fields read, and where others are kept in custom_fields, those.
    """
    findings = []
    for name in sorted({*reader.fields, *known, *seen}):
        field, accepted, found = reader.fields.get(name), known.get(name, frozenset()), seen.get(name, frozenset())
        if field is None and name not in known:
            if name not in reader.unread:
                kept = "kept in custom_fields" if reader.keeps_others else "kept in no table"
                findings.append(Finding(resource, name, kept, frozenset(found), "new"))
            continue
        if field is None and not reader.keeps_others:
            continue
        expected = (field.kinds if field else frozenset()) | (accepted - {ABSENT, "null"})
        allowed = expected if field else _alike(expected)
        if name not in seen:
            if ABSENT not in accepted and not (field and field.may_be_absent):
                findings.append(Finding(resource, name, listed(expected or {"any"}), frozenset((ABSENT,)), "drift"))
        elif strange := found - allowed - {"null"}:
            findings.append(Finding(resource, name, listed(expected), frozenset(strange), "drift"))
    return findings


def _alike(kinds: Set[str]) -> Set[str]:
    """The kinds that may appear where these were seen. Where none was: all."""
    groups = [group for group in _ALIKE if group & kinds] or _ALIKE
    return frozenset().union(*groups)


def listed(kinds: Set[str]) -> str:
    """Kinds as a report names them."""
    return " or ".join(sorted(kinds))


@dataclass(frozen=True)
class Mark:
    """When a kind of a field was seen (UTC without a zone), and whether it is how things should be."""

    accepted: bool
    first_seen_at: datetime
    last_seen_at: datetime


Marks = dict[str, dict[str, dict[str, Mark]]]
"""Resource to field to kind."""


class KnownFields:
    """The table `known_fields` of an import within one transaction: loaded, added to by `judge`, then stored."""

    def __init__(self, policy: Policy, now: datetime, marks: Marks) -> None:
        self.marks = marks
        self._policy = policy
        self._now = naive(now)
        self._touched: set[str] = set()

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, policy: Policy, now: datetime) -> KnownFields:
        """What is known. `now` (aware UTC) is when what is judged was seen."""
        marks: Marks = {}
        for resource, field, kind, *mark in connection.execute(
            "SELECT resource, field, kind, accepted, first_seen_at, last_seen_at FROM known_fields"
        ).fetchall():
            marks.setdefault(resource, {}).setdefault(field, {})[kind] = Mark(*mark)
        return cls(policy, now, marks)

    def judge(self, resource: str, reader: RowReader, seen: Seen | None) -> list[Finding]:
        """Compare the rows of a listing (None: it had none) with what is known, and remember them.

        Returns what is to be reported. Raises SchemaDrift under `fail`, and remembers nothing then.
        """
        if seen is None:
            return []
        marks = self.marks.setdefault(resource, {})
        known = {name: {kind for kind, mark in kinds.items() if mark.accepted} for name, kinds in marks.items()}
        findings = compare(resource, reader, known, seen)
        drifted = {finding.field: finding for finding in findings if finding.status == "drift"}
        if drifted and self._policy == "fail":
            raise SchemaDrift(
                f"{' '.join(map(str, drifted.values()))} Nothing of it was stored. Set `schema_drift: evolve` (or "
                "`warn`) on the import in icontact.yaml to store it, and run again."
            )
        self._touched.add(resource)
        for name, kinds in seen.items():
            for kind in kinds:
                self._mark(resource, name, kind, accepted=True)
        for finding in drifted.values():
            for kind in finding.found:
                self._mark(resource, finding.field, kind, accepted=self._policy == "evolve")
        if self._policy == "evolve":
            return [replace(f, status="accepted") if f.status == "drift" else f for f in findings]
        return findings

    def _mark(self, resource: str, field: str, kind: str, *, accepted: bool) -> None:
        kinds = self.marks[resource].setdefault(field, {})
        before = kinds.get(kind)
        kinds[kind] = Mark(accepted, before.first_seen_at if before else self._now, self._now)

    def store(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Write what was judged."""
        rows = [
            (resource, field, kind, mark.accepted, mark.first_seen_at, mark.last_seen_at)
            for resource in sorted(self._touched)
            for field, kinds in sorted(self.marks[resource].items())
            for kind, mark in sorted(kinds.items())
        ]
        connection.execute("DELETE FROM known_fields WHERE list_contains(?, resource)", [sorted(self._touched)])
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            connection.execute(
                "INSERT INTO known_fields SELECT unnest(?), unnest(?), unnest(?), unnest(?), unnest(?), unnest(?)",
                columns,
            )
