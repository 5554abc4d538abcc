"""Why the values of a field differ: the usual causes, each with its rule in SQL. The first that fits is the one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum

from icontact_assets.comparison.evidence import Evidence
from icontact_assets.comparison.values import fields, ours, table_of, theirs
from icontact_assets.mapping.expressions import Call, Field, Literal, counts_links

_BEGAN = 1_041_379_200_000
"""2003-01-01, before iContact had any activity: an older time was read in a wrong way."""


class Cause(Enum):
    """Why values or profiles differ."""

    UNREADABLE = "their value cannot be read"
    NEWER = "ours changed after the export"
    IDENTICAL_ROWS = "they count identical rows once"
    DELIVERED_TWICE = "they count rows that were delivered to them again"
    TIME_ZONE = "one side reads the time as US Eastern, the other as UTC"
    SECONDS = "one side takes seconds for milliseconds"
    UNSIGNED_KEYS = "they write the keys of links without a sign"
    OTHER_CHANNELS = "they have other channels, which are not iContact's"
    OLDER = "they have activity that is older than what iContact still shows"
    SPELLING = "only case or blanks differ"
    NO_ID = "they have no contact id for it"
    UNKNOWN = "not explained"

    @property
    def explained(self) -> bool:
        """Whether nothing is wrong, as far as that can be told."""
        return self not in (Cause.UNREADABLE, Cause.UNKNOWN)


MACROS = {
    "wall(x)": "TRY(make_timestamp_ms(x))",
    "is_eastern(a, b)": (
        "coalesce(epoch_ms(TRY(timezone('America/New_York', wall(b)))) = a, false) "
        "OR coalesce(TRY(timezone('America/New_York', wall(a)::TIMESTAMPTZ)) = wall(b), false)"
    ),
    "is_thousandth(a, b)": "a = b // 1000 OR a = b // 1000000 * 1000",
    "without_blanks(x)": "coalesce(lower(regexp_replace(x, '[\\s\\p{Z}]+', '', 'g')), '')",
    "less(l, d)": (
        "list_filter(list_transform(l, lambda e: {'k': e.k, 'v': (e.v - coalesce(list_sum(list_transform("
        "list_filter(d, lambda x: x.k = e.k), lambda x: x.v)), 0))::BIGINT}), lambda e: e.v > 0)"
    ),
    "covers(a, b)": (
        "coalesce(len(list_filter(b, lambda e: len(list_filter(a, lambda x: x.k = e.k AND x.v >= e.v)) = 0)), 0) = 0"
    ),
    "keys_of(l)": "list_transform(l, lambda e: e.k)",
    "signed(l)": (
        "list_sort(list_transform(l, lambda e: {'k': CASE WHEN TRY_CAST(e.k AS UBIGINT) >= 9223372036854775808 "
        "THEN (TRY_CAST(e.k AS HUGEINT) - 18446744073709551616)::VARCHAR ELSE e.k END, 'v': e.v}))"
    ),
    "unless_empty(l)": "CASE WHEN len(l) > 0 THEN l END",
}
"""Macros that the rules use, over values as `theirs` and `ours` give them."""


def causes_of(field: Field, in_file: Sequence[str], evidence: Evidence) -> str:
    """SQL for the profiles whose values of a field, other than the id, differ: contact id and the name of the cause. It
    reads what `find_pairs` and `gather` made, and the temporary table `states`."""
    table = table_of(field)
    moment = table.removeprefix("icontact_")
    columns = {
        "written": f't."{field.name}"',
        "there": theirs(field, f't."{field.name}"'),
        "here": _then(field),
        **_same_span(field, in_file, evidence),
        **_oldest(field, in_file),
    }
    doubles = "(SELECT NULL::VARCHAR AS contact_id)"
    if _function(field) == "count":
        columns["times"] = "d.times"
        doubles = f"(SELECT contact_id, sum(times) AS times FROM temp.doubles WHERE {field.condition} GROUP BY ALL)"
    elif counts_links(field):
        columns["times"] = "d.times"
        doubles = (
            "(SELECT contact_id, list({'k': hashedurls_key, 'v': times}) AS times FROM temp.doubles "
            "WHERE hashedurls_key IS NOT NULL GROUP BY contact_id)"
        )
    selected = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    cases = " ".join(f"WHEN {sql} THEN '{cause.name}'" for cause, sql in _rules(field, columns, evidence))
    return (
        f"SELECT id, CASE {cases} ELSE 'UNKNOWN' END AS cause FROM (SELECT s.id, {selected} FROM temp.states s "
        f"JOIN temp.there t USING (n) LEFT JOIN {table} o ON o.ic_contact_id = s.id "
        f"LEFT JOIN temp.later_{moment} l ON l.id = s.id LEFT JOIN temp.then_{moment} h ON h.ic_contact_id = s.id "
        f'LEFT JOIN {doubles} d ON d.contact_id = s.id WHERE s."{field.name}" >= {DIFFERS})'
    )


DIFFERS = 2
"""The least of the states of `states` in which the two sides are not alike."""


def _rules(field: Field, columns: dict[str, str], evidence: Evidence) -> Iterator[tuple[Cause, str]]:
    """The causes that a field can have with their conditions, the first the strongest."""
    yield Cause.UNREADABLE, "written IS NOT NULL AND there IS NULL"
    yield Cause.NEWER, "there IS NOT DISTINCT FROM here"
    match _function(field):
        case "count":
            yield Cause.IDENTICAL_ROWS, "there = here - times"
        case "valuect":
            yield Cause.IDENTICAL_ROWS, "there = less(here, times)"
            yield Cause.UNSIGNED_KEYS, "signed(there) = here"
    if "same_span" in columns:
        more = (
            "there > here" if _function(field) == "count" else "covers(there, here) AND keys_of(there) = keys_of(here)"
        )
        yield Cause.DELIVERED_TWICE, f"same_span AND {more}"
    if field.sql_type == "TIMESTAMP":
        yield from _of_times("there", "here")
    if field.sql_type == "MAP(VARCHAR, TIMESTAMP)":
        yield from _of_times(_entry(field, "there"), _entry(field, "here"))
    if _function(field) in ("map", "set"):
        channel = "e.k" if _function(field) == "map" else "e"
        own = f"unless_empty(list_filter(there, lambda e: {channel} = '{_channel(field)}'))"
        yield Cause.OTHER_CHANNELS, f"{own} IS NOT DISTINCT FROM here"
    if "oldest" in columns and evidence.oldest_event is not None:
        edge = round(evidence.oldest_event.timestamp() * 1000)
        more_there = {"count": "there > coalesce(here, 0)", "valuect": "covers(there, here)", "min": "true"}
        more = more_there.get(_function(field), "here IS NULL")
        yield Cause.OLDER, f"oldest >= {_BEGAN} AND oldest < {edge} AND {more}"
    if field.sql_type == "VARCHAR":
        yield Cause.SPELLING, "without_blanks(there) = without_blanks(here)"


def _of_times(there: str, here: str) -> Iterator[tuple[Cause, str]]:
    yield Cause.TIME_ZONE, f"is_eastern({there}, {here}) OR is_eastern({here}, {there})"
    yield Cause.SECONDS, f"is_thousandth({there}, {here}) OR is_thousandth({here}, {there})"


def _then(field: Field) -> str:
    """Our value at the time of the export, where the raw tables say it, else now."""
    now, before = (ours(field, f'{table}."{field.name}"') for table in ("o", "h"))
    return f"CASE WHEN l.id IS NULL THEN {now} ELSE {before} END"


def _function(field: Field) -> str:
    return field.source.function if isinstance(field.source, Call) else ""


def _channel(field: Field) -> str:
    match field.source:
        case Call(_, (Literal(channel), *_)):
            return channel
    raise ValueError(f"{field.name} is of no channel")


def _entry(field: Field, entries: str) -> str:
    return f"list_filter({entries}, lambda e: e.k = '{_channel(field)}')[1].v"


def _beside(field: Field, function: str) -> Field | None:
    """The field of the first (`min`) or last (`max`) time of the events that a field counts."""
    condition = fields()["email_click_ct"].condition if counts_links(field) else field.condition
    found = [one for one in fields().values() if _function(one) == function and one.condition == condition]
    return found[0] if found else None


def _same_span(field: Field, in_file: Sequence[str], evidence: Evidence) -> dict[str, str]:
    """Whether the events that a field counts begin and end at the same times on both sides. Where rows may be missing
    here, a higher count of theirs is not taken for one of rows delivered again."""
    if _function(field) not in ("count", "valuect") or evidence.unread_listings:
        return {}
    both = [_beside(field, "min"), _beside(field, "max")]
    found = [one for one in both if one is not None and one.name in in_file]
    if len(found) < len(both):
        return {}
    same = (f"{theirs(one, f't.{one.name}')} = {_then(one)}" for one in found)
    return {"same_span": " AND ".join(same)}


def _oldest(field: Field, in_file: Sequence[str]) -> dict[str, str]:
    """The time of the oldest activity that their value holds, as far as the file says."""
    if table_of(field) != "icontact_activity":
        return {}
    if field.sql_type == "TIMESTAMP":
        return {"oldest": theirs(field, f"t.{field.name}")}
    if _function(field) == "map":
        return {"oldest": _entry(field, theirs(field, f"t.{field.name}"))}
    found = [one for one in (_beside(field, "min"), _beside(field, "max")) if one is not None and one.name in in_file]
    return {"oldest": theirs(found[0], f"t.{found[0].name}")} if found else {}
