"""Who is exported: the audience, less those left out by exclusions, priorities, splits and holdouts."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from icontact_assets.audiences.audience import incomplete_reason
from icontact_assets.errors import UserError
from icontact_assets.settings.models import Export, Split
from icontact_assets.warehouse.rows import each

OLDEST = timedelta(hours=24)
"""How much older than the export's own audience the others may be that decide who is left out."""


class ChoiceError(UserError):
    """It is not known who is exported. One paragraph: which audience is at fault, and the remedy."""


@dataclass(frozen=True)
class Choice:
    """Every member of an audience, in one of the two."""

    members: list[str]
    """Who is exported, as contact ids. Those who entered the audience first come first."""
    left_out: dict[str, str]
    """Who is not: contact id to the reason."""


def sources(export: Export) -> tuple[str, ...]:
    """The audiences that decide who is exported, each once, the export's own first."""
    names = [name for item in (export, *export.before) for name in (item.audience, *item.exclude)]
    return tuple(dict.fromkeys(names))


def chosen(connection: duckdb.DuckDBPyConnection, export: Export) -> Choice:
    """Who is exported, by the audiences as last computed, and why the other members are left out.

    Of several reasons the first is given, in this order: a member of an audience that is excluded, taken by an export
    that comes before, outside the split, held out. So only chance tells those held out from those exported. An export
    takes its people whatever its mode is, and whether or not they may be on its list.

    Raises ChoiceError if one of the audiences was never computed, was last kept because data was incomplete, or was
    computed more than 24 hours before the export's own.
    """
    _check_computed(connection, export)
    reasons = [
        *((_member(name), f"in the audience {name}, which is excluded") for name in export.exclude),
        *((_fits(other), f"taken by the export {other.name}, which comes first") for other in export.before),
    ]
    if export.split is not None:
        reasons.append((f"NOT ({_within(export.split)})", f"outside this part of the split {export.split.of}"))
    if export.holdout:
        reasons.append((_held_out(export), "held out"))
    cases = " ".join(f"WHEN {condition} THEN '{reason}'" for condition, reason in reasons)
    reason = f"CASE {cases} END" if cases else "NULL"
    members: list[str] = []
    left_out: dict[str, str] = {}
    # Each id is kept once, since other readers show it too.
    for contact_id, why in each(
        connection,
        # The conditions are made of names that the settings allow: lower-case letters, digits and underscores.
        f"SELECT contact_id, {reason} FROM audience_members WHERE audience = ? "  # noqa: S608
        "ORDER BY entered_at, contact_id",
        [export.audience],
    ):
        if why is None:
            members.append(sys.intern(contact_id))
        else:
            left_out[sys.intern(contact_id)] = sys.intern(why)
    return Choice(members=members, left_out=left_out)


def _check_computed(connection: duckdb.DuckDBPyConnection, export: Export) -> None:
    wanted = f"It decides who is exported by {export.name}."
    for name in sources(export):
        [(other_form,)] = connection.execute(
            "SELECT count(*) FROM audience_members "
            "WHERE audience = ? AND NOT regexp_full_match(contact_id, '0|[1-9][0-9]*')",
            [name],
        ).fetchall()
        if other_form:
            raise ChoiceError(
                f"The audience {name} was computed by an earlier version, and holds {other_form} ids in another form: "
                f"materialize it, and export again. {wanted}"
            )
        problem = incomplete_reason(connection, name)
        if problem is not None:
            raise ChoiceError(f"{problem[0].upper()}{problem[1:].rstrip('.')}. {wanted}")
    computed: dict[str, datetime] = dict(
        connection.execute("SELECT audience, max(computed_at) FROM audience_computations GROUP BY audience").fetchall()
    )
    for name in sources(export):
        if computed[export.audience] - computed[name] > OLDEST:
            raise ChoiceError(
                f"The audience {name} was last computed at {computed[name]:%Y-%m-%d %H:%M} UTC, more than 24 hours "
                f"before {export.audience}: materialize it, and export again. {wanted}"
            )


def _fits(export: Export) -> str:
    """The SQL condition that an export takes a contact, unless an export before it does."""
    conditions = [_member(export.audience), *(f"NOT {_member(name)}" for name in export.exclude)]
    if export.split is not None:
        conditions.append(f"({_within(export.split)})")
    if export.holdout:
        conditions.append(f"NOT ({_held_out(export)})")
    return f"({' AND '.join(conditions)})"


def _member(audience: str) -> str:
    return f"(contact_id IN (SELECT contact_id FROM audience_members WHERE audience = '{audience}'))"  # noqa: S608


def _within(split: Split) -> str:
    place = _place("split", split.of)
    return f"{place} >= {int(split.start * 100)} AND {place} < {int(split.end * 100)}"


def _held_out(export: Export) -> str:
    # Part of the hash: with another text, other people would be held out.
    return f"{_place('hold_out', export.name)} < {int(export.holdout * 100)}"


def _place(kind: str, name: str) -> str:
    """A contact's place, by chance, from 0 to 9999: the first 8 bytes, as a number, of the SHA-256 of
    `<kind>/<name>/<contact id>`, modulo 10,000. The same for ever and everywhere, and independent for other names."""
    return f"(CAST('0x' || sha256('{kind}/{name}/' || contact_id)[:16] AS UBIGINT) % 10000)"
