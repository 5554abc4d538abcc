"""Search terms, comparisons, wildcards and ordering of the listings, and the warning for what is ignored."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from icontact_assets.sandbox.times import instant_of

Getter = Callable[[Any, int], Any]
PAGING = ("limit", "offset", "orderby")
OPERATORS = ("eq", "gt", "gte", "lt", "lte", "bet")


def unknown_terms(names: Sequence[str]) -> str:
    """The recorded warning of a read whose terms were not all understood."""
    return (
        "The data you received may not be what you expected. This happened because your request contained terms which "
        f"could not be recognized and so were ignored ({', '.join(names)}).\nYou can do either of the following: "
        "ignore this warning and continue, or make a new request using terms listed in the API documentation."
    )


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdigit() else None


def _instant(text: str) -> int | None:
    try:
        return instant_of(text)
    except ValueError:
        return None


def operator_of(query: Mapping[str, str], term: str) -> str:
    """The comparison asked for. One that does not exist counts as none."""
    asked = query.get(f"{term}SearchType", "eq")
    return asked if asked in OPERATORS else "eq"


def condition(value: str, operator: str, getter: Getter, kind: str) -> Callable[[Any, int], bool]:
    """A test of one row: `kind` is `id`, `time` or `text`. A value of the wrong kind matches nothing."""
    read: Callable[[str], Any] = {"id": _number, "time": _instant, "text": str.lower}[kind]
    if operator == "eq" and kind == "text":
        patterns = [
            re.compile(".*".join(re.escape(piece) for piece in part.split("*")), re.IGNORECASE | re.DOTALL)
            for part in value.split(",")
        ]
        return lambda row, now: any(pattern.fullmatch(getter(row, now) or "") for pattern in patterns)
    if operator == "eq" and kind == "time" and len(value) == 10:
        first = _instant(value)
        return lambda row, now: first is not None and first <= getter(row, now) < first + 86_400
    values = [read(part) for part in value.split(",")]
    if operator == "eq":
        wanted = set(values) - {None}
        return lambda row, now: getter(row, now) in wanted
    if None in values or len(values) != (2 if operator == "bet" else 1):
        return lambda _row, _now: False
    low, high = values[0], values[-1]

    def compare(row: Any, now: int) -> bool:
        have = getter(row, now)
        if have is None:
            return False
        if kind == "text":
            have = have.lower()
        if operator == "bet":
            return bool(low <= have <= high)
        return bool({"gt": have > low, "gte": have >= low, "lt": have < low, "lte": have <= low}[operator])

    return compare


def slice_by_id(ids: Sequence[int], operator: str, value: str) -> slice:
    """Where rows sorted by id satisfy a comparison of the id. None does for a value that is no id."""
    bounds = [_number(part) for part in value.split(",")]
    if None in bounds or len(bounds) != (2 if operator == "bet" else 1):
        return slice(0, 0)
    low, high = bounds[0], bounds[-1]
    assert low is not None and high is not None  # noqa: S101, PT018 -- for the type checker, see above
    return {
        "gt": slice(bisect_right(ids, low), None),
        "gte": slice(bisect_left(ids, low), None),
        "lt": slice(0, bisect_left(ids, low)),
        "lte": slice(0, bisect_right(ids, low)),
        "bet": slice(bisect_left(ids, low), bisect_right(ids, high)),
    }[operator]


def order(
    rows: list[Any], orderby: str, fields: Mapping[str, tuple[str, Getter]], now: int
) -> tuple[list[Any], list[str]]:
    """Rows sorted by `field1,field2:desc`, and the parts that were not understood."""
    ignored = []
    keys: list[tuple[Getter, bool]] = []
    for part in orderby.split(","):
        name, _, direction = part.partition(":")
        if name not in fields or direction not in ("", "asc", "desc"):
            ignored.append(part)
        else:
            keys.append((fields[name][1], direction == "desc"))
    for getter, descending in reversed(keys):
        rows = sorted(rows, key=_sort_key(getter, now), reverse=descending)
    return rows, ignored


def _sort_key(getter: Getter, now: int) -> Callable[[Any], tuple[int, Any]]:
    """Unset values first, text without regard to case."""

    def key(row: Any) -> tuple[int, Any]:
        value = getter(row, now)
        return (0, 0) if value is None else (1, value.lower() if isinstance(value, str) else value)

    return key
