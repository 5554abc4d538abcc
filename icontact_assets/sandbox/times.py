"""How the service writes and reads instants, which are whole seconds of Unix time everywhere in the sandbox."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

EASTERN = ZoneInfo("America/New_York")
Style = Literal["iso", "utc", "no_offset", "no_colon", "blank", "compact", "fixed", "mixed", "other", "unreadable"]
DateStyle = Literal[Style, "blank_utc"]
"""Beside the others: UTC that does not say so."""

MINUTES = [f"{second // 60:02}:{second % 60:02}" for second in range(3600)]
_DAY = {"compact": "%Y%m%d", "unreadable": "%m/%d/%Y"}
_BETWEEN = {"blank": " ", "blank_utc": " ", "compact": " ", "unreadable": " "}
_ZONES: dict[DateStyle, tzinfo] = {"utc": UTC, "blank_utc": UTC, "fixed": timezone(timedelta(hours=-5))}
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?\s*(Z|[+-]\d\d:?\d\d)?)?",
    re.IGNORECASE,
)


@lru_cache(maxsize=200_000)
def hour_frame(style: DateStyle, hour: int) -> tuple[str, str]:
    """What is around `MINUTES[second]` in a whole hour of Unix time. Offsets change on whole hours only."""
    local = datetime.fromtimestamp(hour * 3600, _ZONES.get(style, EASTERN))
    before = local.strftime(_DAY.get(style, "%Y-%m-%d")) + _BETWEEN.get(style, "T") + local.strftime("%H:")
    offset = local.strftime("%z")
    colon = f"{offset[:3]}:{offset[3:]}"
    after = {"iso": colon, "fixed": colon, "no_colon": offset, "utc": "Z", "other": f".000{colon}"}
    return before, after.get(style, "")


def in_turn(style: DateStyle, instant: int) -> DateStyle:
    """The style of one instant: `mixed` writes every other second in UTC."""
    return style if style != "mixed" else "utc" if instant % 2 else "iso"


def stamp(instant: int, style: DateStyle = "iso") -> str:
    """An instant as the service writes it: Eastern wall time, with the offset of that moment if the style has one."""
    hour, second = divmod(instant, 3600)
    before, after = hour_frame(in_turn(style, instant), hour)
    return before + MINUTES[second] + after


def utc_text(instant: int) -> str:
    """An instant for tests and people: ISO 8601 in UTC with `Z`."""
    return stamp(instant, "utc")


def instant_of(text: str) -> int:
    """Reads `YYYY-MM-DD[THH:MM[:SS][offset]]`. Without an offset it is Eastern. Raises ValueError for anything else."""
    match = _ISO.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a date or a time of the form YYYY-MM-DD[THH:MM:SS[+HH:MM]]")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    zone = match[7]
    local = datetime(year, month, day, hour, minute, second)
    if zone is None:
        return int(local.replace(tzinfo=EASTERN).timestamp())
    if zone in "Zz":
        return int(local.replace(tzinfo=UTC).timestamp())
    sign = -1 if zone[0] == "-" else 1
    shift = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:])) * sign
    return int((local.replace(tzinfo=UTC) - shift).timestamp())
