"""A service that nobody here wrote code for: whatever it answers, each question has an answer, and nothing breaks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from icontact_assets.icontact.errors import Transient
from icontact_assets.icontact.looking import Exchange
from icontact_assets.probe.asking import Place, look
from icontact_assets.probe.client import MOST, Client
from icontact_assets.probe.profile import profile
from icontact_assets.probe.questions import BY_KEY, QUESTIONS, UNKNOWN
from icontact_assets.probe.report import findings
from icontact_assets.probe.sight import Sight

FIELDS = (
    "contactId", "messageId", "sendId", "listId", "openTime", "clickTime", "releasedTime", "createDate", "status",
    "recipientCount", "messageType", "details", "actionType", "privateName", "enabled", "email", "statistics", "opens",
)  # fmt: skip
KEYS = (
    "contacts", "messages", "sends", "lists", "subscriptions", "opens", "clicks", "bounces", "unsubscribes", "actions",
    "customfields", "accounts", "clientfolders", "statistics", "contact", "time",
)  # fmt: skip
WHOLE = st.integers(-(2**63), 2**63 - 1)
"""What is larger, the decoder turns into text."""
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    WHOLE,
    st.floats(allow_nan=False),
    st.sampled_from(["", "1", "0007", "12.0", "deleted", "normal", "released", "2026-11-20T10:00:00-05:00", "2026-13-45"]),
    st.sampled_from(["20261120 10:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "Open", "\ud7ff\u0000"]),
    st.text(max_size=6),
    st.lists(WHOLE, max_size=2),
    st.dictionaries(st.sampled_from(["total", "unique", "messageId", "opens"]), WHOLE | st.text(max_size=3), max_size=3),
)  # fmt: skip
ROWS = st.lists(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=8) | VALUES, max_size=6)
BODIES = st.one_of(
    VALUES,
    ROWS,
    st.dictionaries(
        st.sampled_from((*KEYS, "total", "limit", "offset", "warnings", "errors")),
        ROWS | VALUES | st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4),
        max_size=6,
    ),
)


def answer(status: int, body: Any, *, is_json: bool = True, headers: Mapping[str, str] | None = None) -> Exchange:
    texts = body.get("errors") if isinstance(body, dict) else None
    errors = tuple(map(str, texts)) if isinstance(texts, list) else ()
    return Exchange(status, headers or {}, body if is_json else None, is_json, 1200, 0.1, errors, ())


def probed(get: Any) -> Sight:
    sight = Sight()
    look(Client(get, sleep=lambda _: None, clock=lambda: 0.0), Place("1", "2"), sight, get)
    return sight


def check(sight: Sight) -> None:
    found = findings(sight)
    assert [finding.key for finding in found] == [question.key for question in QUESTIONS]
    for finding in found:
        assert finding.words
        assert (finding.meaning is None) == (finding.answer == UNKNOWN)
        assert finding.answer == UNKNOWN or BY_KEY[finding.key].meaning(finding.answer)
    assert sight.requests <= MOST
    assert json.dumps(profile(sight, found, datetime.now(UTC), "0"), allow_nan=False)


@settings(
    max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(st.data())
def test_any_answers_are_survived(data: st.DataObject) -> None:
    bodies = data.draw(st.lists(st.tuples(st.sampled_from((200, 200, 200, 404, 500)), BODIES), min_size=1, max_size=12))
    count = 0

    def get(path: str, params: Mapping[str, str | int]) -> Exchange:
        nonlocal count
        count += 1
        status, body = bodies[count % len(bodies)]
        return answer(status, body)

    check(probed(get))


@settings(
    max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(st.data())
def test_any_rows_are_survived(data: st.DataObject) -> None:
    rows = data.draw(st.fixed_dictionaries(dict.fromkeys(KEYS, ROWS)))
    total = data.draw(st.none() | st.integers(-1, 10_000) | st.sampled_from(["7", "many"]))

    def get(path: str, params: Mapping[str, str | int]) -> Exchange:
        key = path.rpartition("/")[2]
        return answer(200, {key: rows.get(key, []), "contact": rows["contact"][:1], "total": total})

    check(probed(get))


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 429, 500, 502, 503])
def test_a_page_for_people_is_survived(status: int) -> None:
    sight = probed(lambda path, params: answer(status, None, is_json=False))
    check(sight)
    assert {finding.answer for finding in findings(sight) if finding.key in ("ids", "activity_order", "orderby")} <= {
        UNKNOWN,
        "refuse",
    }


def test_no_answer_at_all_is_survived() -> None:
    def get(path: str, params: Mapping[str, str | int]) -> Exchange:
        raise Transient("nothing")

    sight = probed(get)
    check(sight)
    assert "6 requests in a row got no answer" in str(sight.stopped)


@pytest.mark.parametrize("status", [401, 402, 403])
def test_who_is_refused_asks_no_more(status: int) -> None:
    sight = probed(lambda path, params: answer(200 if "contacts" not in path else status, {}))
    assert f"refuses this user, account or client folder with {status}" in str(sight.stopped)
    assert sight.requests <= 8
    assert "wrong_password" not in sight.answers
