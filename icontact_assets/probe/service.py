"""What the answers say of the service itself: limits, failures, headers, how long it takes."""

from __future__ import annotations

import re
from statistics import median

from icontact_assets.icontact.looking import Exchange
from icontact_assets.probe.findings import Finding, Setting, not_seen, unknown
from icontact_assets.probe.sight import Sight

_SMALL_ANSWER = 1_000
"""Bytes below which nobody compresses."""
_OF_LIMITS = {"limit", "limits", "quota", "rate", "ratelimit", "remaining", "throttle", "throttling"}
_NUMBER = re.compile(r"[0-9]{1,7}")


def _answers(sight: Sight) -> list[Exchange]:
    return [answer for answer in sight.answers.values() if answer is not None]


def _per_minute(count: int) -> Setting:
    return Setting("limits.per_minute", ("limits:", f"  per_minute: {count}"), in_yaml=True)


def requests_per_minute(sight: Sight) -> Finding:
    key, limit = "requests_per_minute", sight.limit
    if limit is None:
        return unknown(key, "no limit was met", requests=sight.requests)
    if not limit.over:
        return unknown(key, f"refused after {limit.answered} requests, for more than a minute")
    words = f"refused after {limit.answered} requests in a minute"
    return Finding(key, limit.answered, words, {"requests": sight.requests}, setting=_per_minute(limit.answered))


def requests_per_day(sight: Sight) -> Finding:
    key, limit = "requests_per_day", sight.limit
    if limit is None or limit.over:
        return unknown(key, "no limit was met", requests=sight.requests)
    return unknown(key, "refused for more than a minute: a limit of the day, or maintenance", requests=sight.requests)


def limit_reply(sight: Sight) -> Finding:
    key, limit = "limit_reply", sight.limit
    if limit is None:
        why = "no limit was met"
        if sight.refusals:
            why += f": {sight.refusals} refusals were over at the next try"
        return unknown(key, why, requests=sight.requests)
    known = ("503", "503_retry_after", "503_html", "429", "420")
    answer = limit.form if limit.form in known else "other"
    return Finding(key, answer, f"status {limit.form[:3]}", {"refusals": sight.refusals})


def limit_headers(sight: Sight) -> Finding:
    key, answers = "limit_headers", _answers(sight)
    if not answers:
        return not_seen(sight, key, "time")
    found: dict[str, str] = {}
    for answer in answers:
        for name, value in answer.headers.items():
            if name != "retry-after" and _OF_LIMITS & set(re.split("[-_]", name)):
                found.setdefault(name[:40], value)
    seen = {"answers": len(answers)}
    if not found:
        return Finding(key, "none", "none", seen)
    shown = [f"{name}: {value}" if _NUMBER.fullmatch(value) else name for name, value in sorted(found.items())]
    return Finding(key, "some", ", ".join(shown[:6]), seen)


def page_errors(sight: Sight) -> Finding:
    key = "page_errors"
    pages = [name for name in ("contacts", "lists", "subscriptions", "sends", "messages") if sight.seen(name)]
    if not pages:
        return not_seen(sight, key, "contacts")
    for name in pages:
        answer = sight.seen(name)
        if answer is not None and not sight.is_page(name) and answer.is_json and answer.status in (200, 500):
            return Finding(key, str(answer.status), f"{name}: errors, at each of two tries", {"pages": len(pages)})
    words = "none failed" if not sight.failures else f"{sight.failures} failures were over at the next try"
    return Finding(key, "none", words, {"requests": sight.requests})


def content_type(sight: Sight) -> Finding:
    key = "content_type"
    types = sorted(
        {
            answer.headers.get("content-type", "")
            for answer in _answers(sight)
            if answer.is_json and answer.status == 200
        }
    )
    types = [kind for kind in types if kind]
    if not types:
        return not_seen(sight, key, "time")
    seen = {"answers": len(_answers(sight))}
    if all(kind.partition(";")[0].strip().lower() == "application/json" for kind in types):
        return Finding(key, "application/json", "as JSON", seen)
    if all(kind.partition(";")[0].strip().lower() == "text/html" for kind in types):
        return Finding(key, "text/html; charset=utf-8", "as HTML", seen)
    return Finding(key, "other", "as something else", seen)


def gzip(sight: Sight) -> Finding:
    key = "gzip"
    large = [answer for answer in _answers(sight) if answer.size > _SMALL_ANSWER]
    if not large:
        return unknown(key, "no answer was large enough")
    packed = sum("gzip" in answer.headers.get("content-encoding", "").lower() for answer in large)
    return Finding(key, packed > 0, f"{packed} of {len(large)} answers", {"answers": len(large)})


def response_time(sight: Sight) -> Finding:
    key, seconds = "response_time", [answer.seconds for answer in _answers(sight)]
    if not seconds:
        return not_seen(sight, key, "time")
    middle = median(seconds)
    answer = "under_1s" if middle < 1 else "under_10s" if middle < 10 else "over_10s"
    return Finding(
        key, answer, f"half within {middle:.2f} s, all within {max(seconds):.2f} s", {"answers": len(seconds)}
    )


def auth_status(sight: Sight) -> Finding:
    key, answer = "auth_status", sight.seen("wrong_password")
    if answer is None:
        return not_seen(sight, key, "wrong_password")
    status = str(answer.status)
    return Finding(key, status if status in ("401", "403") else "other", f"status {status}", {"requests": 1})


def auth_body(sight: Sight) -> Finding:
    key, answer = "auth_body", sight.seen("wrong_password")
    if answer is None or (not answer.errors and answer.is_json):
        return not_seen(sight, key, "wrong_password")
    if not answer.is_json:
        return Finding(key, "html", "no JSON", {"requests": 1})
    named = any("password" in text.lower() for text in answer.errors)
    words = "words that name the password" if named else "words that do not name the password"
    return Finding(key, "each" if named else "one", words, {"requests": 1})


def unknown_path(sight: Sight) -> Finding:
    key, answer = "unknown_path", sight.seen("unknown_path")
    if answer is None:
        return not_seen(sight, key, "unknown_path")
    status = str(answer.status)
    return Finding(key, status if status in ("501", "404") else "other", f"status {status}", {"requests": 1})


JUDGES = (
    requests_per_minute, requests_per_day, limit_reply, limit_headers, page_errors, content_type, gzip, response_time,
    auth_status, auth_body, unknown_path,
)  # fmt: skip
