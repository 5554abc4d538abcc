"""Makes the page of a comparison, for people who decide: one HTML file that can be sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Template

from icontact_assets.comparison.causes import Cause
from icontact_assets.comparison.comparison import Comparison
from icontact_assets.comparison.verdict import Verdict, differences
from icontact_assets.pages import page_template

MEANINGS = {
    Cause.UNREADABLE: "The export holds something that is no value of this field. Look at how it was exported.",
    Cause.NEWER: "Something happened after the export was made. It is only here because it is newer.",
    Cause.IDENTICAL_ROWS: "iContact lists some events in several identical rows. Each counts here, and once there.",
    Cause.DELIVERED_TWICE: "The other system got some rows of iContact again, and counted them again.",
    Cause.TIME_ZONE: "iContact writes some times without a zone. The two systems read them in different zones.",
    Cause.SECONDS: "A time was written in seconds and read in milliseconds, or the other way round.",
    Cause.UNSIGNED_KEYS: "The links are counted equally. Only the numbers that stand for them are written otherwise.",
    Cause.OTHER_CHANNELS: "The other system knows of channels beside e-mail, from other sources than iContact.",
    Cause.OLDER: "The other system has kept what iContact no longer shows. Only the export has it, so keep it.",
    Cause.SPELLING: "The text is the same but for blanks, or for small and capital letters.",
    Cause.NO_ID: "The profile comes from another source than iContact, or is not known as a contact there.",
    Cause.UNKNOWN: "No usual cause fits. Somebody should look at these contacts.",
}
"""What each cause means for whoever decides."""


def render(found: Comparison, verdict: Verdict, label: str, now: datetime) -> str:
    """The page of a comparison with the profiles of an import named `label`, as HTML, made at `now` (aware)."""
    listed = differences(found)
    totals: Counter[Cause] = Counter()
    for _, each in listed:
        totals[each.cause] += each.count
    return _template().render(
        found=found,
        verdict=verdict,
        label=label,
        made_at=now,
        causes=totals.most_common(),
        meanings=MEANINGS,
        differences=listed,
    )


@cache
def _template() -> Template:
    filters: dict[str, Callable[..., str]] = {"number": "{:,}".format, "moment": _moment, "sentence": _sentence}
    return page_template(Path(__file__).parent, filters)


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
