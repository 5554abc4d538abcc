"""Liberal readers of single values: ids, numbers, flags, texts and times in every form the API is known to use."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import orjson

EASTERN = ZoneInfo("America/New_York")
"""The zone of a time without an offset (API reference, unknown 16)."""

_ID = re.compile(r"\+?0*(0|[1-9][0-9]*)(?:\.0+)?")
_ID_DIGITS = 20
_EXACT_FLOATS = 2**53


def as_id(value: object) -> str | None:
    """The one normal form of an id: decimal digits without leading zeros. None for what is no id.

    An id is a whole number from 0 on, of at most 20 digits, or a text of one. In a text, blanks at the ends, characters
    that cannot be seen, a plus sign, and a fraction of zeros count for nothing. A float must hold it exactly.
    """
    if isinstance(value, str):
        if value.isascii() and value.isdigit() and value[0] != "0":
            return value if len(value) <= _ID_DIGITS else None
        return _id_of_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**_ID_DIGITS:
        return None
    if isinstance(value, float) and not (value.is_integer() and value < _EXACT_FLOATS):
        return None
    return str(int(value))


def _id_of_text(text: str) -> str | None:
    if not text.isascii():
        seen = (char for char in text if unicodedata.category(char) != "Cf")
        text = "".join(str(unicodedata.decimal(char, char)) for char in seen)
    found = _ID.fullmatch(text.strip())
    return found[1] if found and len(found[1]) <= _ID_DIGITS else None


def as_text(value: object) -> str | None:
    """Text as it is. Numbers and flags become text, objects and arrays become JSON, null stays None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, dict | list):
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return str(value)


def as_int(value: object) -> int | None:
    """An integer of 64 bits given as a number or numeric text. None for null, empty or anything else."""
    number = None
    if isinstance(value, str):
        # Python refuses to read more than 4,300 digits.
        number = int(value) if is_integer(value) and len(value.strip()) <= 20 else None
    elif isinstance(value, int | float):
        number = int(value) if is_integer(value) else None
    return number if number is not None and -(2**63) <= number < 2**63 else None


def is_integer(value: object) -> bool:
    """Whether a value is a whole number, as a number or as text, of any size."""
    if isinstance(value, str):
        return re.fullmatch(r"\s*[-+]?[0-9]+\s*", value) is not None
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def as_flag(value: object) -> bool | None:
    """0/1, "0"/"1", true/false. None for anything else."""
    return {"0": False, "1": True, "false": False, "true": True}.get(str(value).strip().lower())


def as_instant(text: str | None) -> datetime | None:
    """A time as an aware UTC instant: ISO 8601 with any offset (with or without colon), a blank for the T, compact
    dates. Without an offset it is America/New_York. None if it cannot be read."""
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text.strip())
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=EASTERN)
        return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
