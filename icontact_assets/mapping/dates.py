"""Dates as the vendor's date parser reads them (its fork of araddon/dateparse), and nothing else.

That parser takes a text apart to guess a layout, then reads the text by the layout. The patterns here are the layouts
it guesses right. Where it guesses wrong (an offset whose digits end up as month or second), a text is no date here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

PLAIN = r"[1-9]\d{3}-\d\d-\d\d (?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
"""Regular expression of the form that iContact uses. A cast to a timestamp reads it as `milliseconds` does."""

_DAY = r"(?P<day>\d\d?)"
_MONTH = r"(?P<month>\d\d?)"
_YEAR = r"(?P<year>\d{4}|\d\d)"
_LONG_YEAR = r"(?P<year>\d{4})"
_SHORT = r"(?P<name>[A-Za-z]{3})"
_FULL = r"(?P<name>[A-Za-z]{4,9})"
_WEEKDAY = r"(?:mon|tue|wed|thu|fri|sat|sun|[a-z]{4,9}), "
_OFFSET = r"(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d)"
_BASIC_OFFSET = r"(?P<sign>[+-])(?P<hours>\d\d)(?P<minutes>\d\d)"
_LETTERS = r"(?:[A-Z]{3}T?|WITA)"

_DATES = tuple(
    (re.compile(date, re.ASCII | re.IGNORECASE), re.compile(before_clock))
    for date, before_clock in (
        (rf"{_LONG_YEAR}-{_MONTH}-{_DAY}", r"[T ] *"),
        (rf"{_LONG_YEAR}/{_MONTH}/{_DAY}", r"[ :] *"),
        (rf"{_MONTH}/{_DAY}/{_YEAR}", r" +"),
        (rf"(?P<day>\d\d)/{_SHORT}/{_YEAR}", r"[ :]"),
        (rf"{_DAY} {_SHORT} {_YEAR}", r",? "),
        (rf"{_DAY}-{_SHORT}-{_YEAR}", r" "),
        (rf"{_SHORT}\.? {_DAY} {_LONG_YEAR}", r" (?:at )?"),
        (rf"{_SHORT}\.? {_DAY}, {_LONG_YEAR}", r",? (?:at )?"),
        (rf"{_FULL} {_DAY},? {_LONG_YEAR}", r",? (?:at )?"),
        (rf"{_WEEKDAY}{_DAY}(?P<dash>[ -]){_SHORT}(?P=dash){_YEAR}", r" "),
        (r"(?P<year>\d\d)(?P<month>\d\d)(?P<day>\d\d)(?= )", r" +"),
    )
)
"""Dates that a time of day may follow, and what is between them. Numbers with slashes are month first."""

_ALONE = tuple(
    re.compile(date, re.ASCII)
    for date in (
        rf"{_LONG_YEAR}[-/.]{_MONTH}",
        rf"{_LONG_YEAR}\.{_MONTH}\.{_DAY}",
        rf"{_MONTH}\.{_DAY}\.{_YEAR}",
        rf"{_LONG_YEAR}-{_SHORT}-{_DAY}",
        rf"{_LONG_YEAR}-{_MONTH}-{_DAY}{_OFFSET}",
        rf"{_DAY} {_FULL} {_LONG_YEAR}",
        r"(?P<year>\d{4})(?:(?P<month>\d\d)(?P<day>\d\d))?",
        r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)",
    )
)
"""Dates that stand alone."""

_CLOCK = re.compile(r"(?P<hour>\d\d?):(?P<minute>\d\d?)(?::(?P<second>\d\d?)(?:[.,](?P<fraction>\d*))?)?", re.ASCII)
_ZONES = tuple(
    re.compile(zone, re.ASCII)
    for zone in (
        r" *",
        r"Z *",
        _OFFSET,
        r"(?P<sign>[+-])(?P<hours>\d\d)",
        rf" +{_OFFSET}",
        rf" +(?![AP]M)(?:{_LETTERS}|[A-Z]{{4}})",
        rf" +{_BASIC_OFFSET} (?:{_LETTERS}|\([A-Za-z ]+\))",
        r" \+00:00 (?:UTC|GMT)",
        r" (?P<half>AM|PM)",
        rf"(?P<glued>am|pm|AM|PM)(?: +{_LETTERS})?",
    )
)
_ZONES_AFTER_FRACTION = tuple(
    re.compile(zone, re.ASCII)
    for zone in (
        r" ?",
        r"Z",
        _OFFSET,
        rf" {_BASIC_OFFSET}(?: {_LETTERS})?",
        rf" (?![AP]M){_LETTERS}",
        r" \+00:00(?: UTC| GMT)?",
    )
)
"""Letters do not move the time: without an offset it is UTC whatever they say, as long as the vendor runs in UTC."""

_MONTHS = [
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
]
_UNIX = {10: (1_000, 1), 13: (1, 1), 16: (1, 1_000), 19: (1, 1_000_000)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def milliseconds(text: str) -> int | None:
    """Milliseconds since 1970-01-01 UTC of a date. An offset is honoured, text without one is UTC. None if no date."""
    if text.isascii() and text.isdigit() and len(text) in _UNIX:
        factor, divisor = _UNIX[len(text)]
        return int(text) * factor // divisor if int(text) < 2**63 else None
    for date, before_clock in _DATES:
        if (found := date.match(text)) is not None:
            parts = _after_date(text[found.end() :], before_clock)
            if parts is not None:
                return _instant({**found.groupdict(), **parts})
    for date in _ALONE:
        if (found := date.fullmatch(text)) is not None:
            return _instant(found.groupdict())
    return None


def _after_date(text: str, before_clock: re.Pattern[str]) -> dict[str, str | None] | None:
    if not text:
        return {}
    if (gap := before_clock.match(text)) is None:
        return None
    rest = text[gap.end() :]
    if not rest and gap.group().strip() in ("", "T"):
        return {}
    if (clock := _CLOCK.match(rest)) is None:
        return None
    parts = clock.groupdict()
    for zone in _ZONES if parts["fraction"] is None else _ZONES_AFTER_FRACTION:
        if (found := zone.fullmatch(rest, clock.end())) is not None:
            return {**parts, **found.groupdict()}
    return None


def _instant(parts: dict[str, str | None]) -> int | None:
    """The instant of a text's parts. None if one of them is out of its range, as February 30 is."""
    year, month = int(parts["year"] or 0), int(parts.get("month") or 1)
    if len(parts["year"] or "") == 2:
        year += 1900 if year >= 69 else 2000
    if name := parts.get("name"):
        names = [full for full in _MONTHS if name.lower() in (full, full[:3])]
        if not names:
            return None
        month = _MONTHS.index(names[0]) + 1
    hour = int(parts.get("hour") or 0)
    if parts.get("half") and hour > 12:
        return None
    half = (parts.get("half") or parts.get("glued") or "").upper()
    if half == "PM" and hour < 12:
        hour += 12
    elif half == "AM" and hour == 12:
        hour = 0
    hours, minutes = int(parts.get("hours") or 0), int(parts.get("minutes") or 0)
    if hours > 24 or minutes > 60:
        return None
    try:
        # datetime has no year 0; the calendar repeats every 400 years.
        instant = datetime(
            year or 400,
            month,
            int(parts.get("day") or 1),
            hour,
            int(parts.get("minute") or 0),
            int(parts.get("second") or 0),
            tzinfo=UTC,
        )
    except ValueError:
        return None
    seconds = round((instant - _EPOCH).total_seconds()) - (0 if year else 146_097 * 86_400)
    seconds -= (hours * 60 + minutes) * 60 * (-1 if parts.get("sign") == "-" else 1)
    return seconds * 1_000 + int((parts.get("fraction") or "").ljust(3, "0")[:3])
