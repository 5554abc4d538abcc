"""What the answers say of times: in which form, and with which offsets in summer and winter."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from icontact_assets.icontact.values import EASTERN, as_id, as_instant, as_text
from icontact_assets.probe.findings import Finding, not_seen, unknown
from icontact_assets.probe.sight import KINDS, Sight

_TOGETHER = timedelta(minutes=10)
_PAIRS = 5
_DATE, _TIME = r"\d{4}-\d\d-\d\d", r"\d\d:\d\d:\d\d"
_FORMS = {
    form: re.compile(pattern)
    for form, pattern in {
        "iso": rf"{_DATE}T{_TIME}[+-]\d\d:\d\d",
        "no_colon": rf"{_DATE}T{_TIME}[+-]\d{{4}}",
        "utc": rf"{_DATE}T{_TIME}Z",
        "no_offset": rf"{_DATE}T{_TIME}",
        "blank": rf"{_DATE} {_TIME}",
        "compact": rf"\d{{8}} {_TIME}",
    }.items()
}
_WORDS = {
    "iso": "with an offset",
    "no_colon": "with an offset without colon",
    "utc": "in UTC",
    "no_offset": "without an offset",
    "blank": "with a blank, without an offset",
    "compact": "compact, without an offset",
    "other": "in another form, which we can read",
    "unreadable": "in a form that we cannot read",
}


def form_of(text: str) -> str:
    """The form of one time."""
    for form, pattern in _FORMS.items():
        if pattern.fullmatch(text):
            return form if as_instant(text) is not None else "unreadable"
    return "other" if as_instant(text) is not None else "unreadable"


def judge(key: str, missing: str, values: Iterable[Any], sight: Sight) -> Finding:
    """What times there are in one place. `missing`: the name of the answer that holds them."""
    texts = [text for value in values if (text := as_text(value))]
    if not texts:
        if sight.is_page(missing):
            return unknown(key, "there are no times")
        return not_seen(sight, key, missing)
    forms = Counter(map(form_of, texts))
    seen = {"times": len(texts)}
    words = ", ".join(f"{_WORDS[form]}" for form, _ in forms.most_common())
    if forms["unreadable"]:
        return Finding(key, "unreadable", f"{forms['unreadable']:,} {_WORDS['unreadable']}", seen)
    if len(forms) > 1:
        return Finding(key, "mixed", words, seen)
    (form,) = forms
    if form not in ("iso", "no_colon"):
        return Finding(key, form, words, seen)
    kind, offsets = _offsets(texts)
    return Finding(key, form if kind == "eastern" else kind, f"{words}: {offsets}", seen)


def _offsets(texts: Iterable[str]) -> tuple[str, str]:
    """`eastern`, `fixed` or `mixed`, and which offsets there are."""
    found = Counter[timedelta]()
    eastern = 0
    seasons = set[timedelta]()
    for text in texts:
        at = datetime.fromisoformat(text.strip())
        offset, here = at.utcoffset(), at.astimezone(EASTERN).utcoffset()
        if offset is not None and here is not None:
            found[offset] += 1
            seasons.add(here)
            eastern += offset == here
    shown = ", ".join(_shown(offset) for offset, _ in found.most_common(4))
    if eastern == found.total():
        both = "on both sides of a clock change" if len(seasons) > 1 else "on one side of the clock change only"
        return "eastern", f"{shown}, as Eastern, {both}"
    return ("fixed", f"{shown} all year") if len(found) == 1 else ("mixed", f"{shown} by turns")


def _shown(offset: timedelta) -> str:
    minutes = round(offset.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def activity_time(sight: Sight) -> Finding:
    values = [row.get(field) for kind, field in KINDS.items() for row in sight.rows_of(kind)]
    name = next((name for kind in KINDS for name in sight.names(f"{kind}:") if sight.is_page(name)), "opens:")
    return judge("activity_time", name, values, sight)


def contact_date(sight: Sight) -> Finding:
    """Who subscribes is created with the subscription, and that has an offset: it tells the zone of what has none."""
    found = _column("contact_date", "contacts", "contacts", ("createDate",))(sight)
    if found.answer not in ("no_offset", "blank", "compact"):
        return found
    added = {as_id(row.get("contactId")): as_text(row.get("addDate")) for row in sight.rows_of("subscriptions")}
    eastern = utc = pairs = 0
    for row in sight.rows_of("contacts"):
        text, told = as_text(row.get("createDate")), added.get(as_id(row.get("contactId")))
        if not text or not told or form_of(told) not in ("iso", "no_colon", "utc"):
            continue
        created, subscribed = datetime.fromisoformat(text.strip()), as_instant(told)
        if subscribed is not None:
            pairs += 1
            eastern += abs(created.replace(tzinfo=EASTERN) - subscribed) < _TOGETHER
            utc += abs(created.replace(tzinfo=UTC) - subscribed) < _TOGETHER
    if max(eastern, utc) < _PAIRS:
        return found
    zone = "Eastern" if eastern >= utc else "UTC"
    words = f"{found.words}; {zone}, as {max(eastern, utc):,} subscriptions show"
    answer = found.answer if zone == "Eastern" else "blank_utc"
    return Finding(found.key, answer, words, {**found.seen, "pairs": pairs})


def _column(key: str, page: str, resource: str, fields: tuple[str, ...]) -> Callable[[Sight], Finding]:
    def read(page: str, sight: Sight) -> Finding:
        return judge(key, page, (row.get(name) for row in sight.rows_of(resource) for name in fields), sight)

    return partial(read, page)


JUDGES_BY_KEY: dict[str, Callable[[Sight], Finding]] = {
    "activity_time": activity_time,
    "contact_date": contact_date,
    "message_date": _column("message_date", "messages", "messages", ("createDate",)),
    "send_date": _column("send_date", "sends", "sends", ("scheduledTime", "releasedTime")),
    "subscription_date": _column("subscription_date", "subscriptions", "subscriptions", ("addDate",)),
    "action_time": _column("action_time", "actions", "actions", ("actionTime",)),
}
