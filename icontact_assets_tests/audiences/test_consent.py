"""The guard: any piece of evidence that is bad or unknown means no, and there is no way around it."""

from __future__ import annotations

import ast
import copy
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import icontact_assets
from icontact_assets.audiences.consent import Denial, Evidence, Permit, Subscription, decide
from icontact_assets.audiences.export import _subscribe

READ_AT = datetime(2026, 9, 14, 12, tzinfo=UTC)
GOOD = Evidence("normal", READ_AT, Subscription.ABSENT, seen_unsubscribed=False, unsubscribed_by_message=False)

CONTACT = [
    None, "normal", "bounced", "donotcontact", "pending", "invitable", "deleted", "total", "Normal", " normal", "",
]  # fmt: skip
ON_LIST = [None, Subscription.ABSENT, "normal", "pending", "unsubscribed", "NORMAL", "absent", ""]
ANSWERS = [None, True, False]


def check(contact, on_list, seen, by_message):
    evidence = Evidence(contact, READ_AT, on_list, seen, by_message)
    good = contact == "normal" and on_list in ("normal", Subscription.ABSENT) and seen is False and by_message is False
    decision = decide("90000001", "5004", evidence)
    assert isinstance(decision, Permit if good else Denial)
    assert (decision.contact_id, decision.evidence) == ("90000001", evidence)


def test_only_evidence_that_is_good_throughout_gives_a_permit():
    for combination in itertools.product(CONTACT, ON_LIST, ANSWERS, ANSWERS):
        check(*combination)


@given(
    st.sampled_from(["normal"]) | st.text(),
    st.sampled_from([Subscription.ABSENT]) | st.text(),
    st.sampled_from(ANSWERS),
    st.sampled_from(ANSWERS),
)
def test_no_wording_of_a_status_slips_through(contact, on_list, seen, by_message):
    check(contact, on_list, seen, by_message)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"contact_status": None}, "iContact shows no such contact, or no status of it"),
        ({"contact_status": "donotcontact"}, "the contact is donotcontact"),
        ({"contact_status": "ada@example.com"}, "the contact is in a status we do not know"),
        ({"subscription_status": None}, "the status on the list cannot be read"),
        ({"subscription_status": "unsubscribed"}, "the subscription to the list is unsubscribed"),
        ({"subscription_status": "Ada"}, "the subscription to the list is in a status we do not know"),
        ({"seen_unsubscribed": True}, "was unsubscribed from the list before"),
        ({"seen_unsubscribed": None}, "was unsubscribed from the list before"),
        (
            {"unsubscribed_by_message": True},
            "unsubscribed by a message that went to the list, or whose lists are not known",
        ),
    ],
)
def test_a_denial_names_the_rule_and_no_value_of_a_person(bad, reason):
    decision = decide("90000001", "5004", replace(GOOD, **bad))
    assert isinstance(decision, Denial)
    assert decision.reason == reason


def test_permits_are_made_by_decide_only():
    with pytest.raises(TypeError, match=r"consent\.decide"):
        Permit("90000001", "5004", GOOD, object())
    permit = decide("90000001", "5004", GOOD)
    with pytest.raises((TypeError, ValueError)):
        replace(permit, contact_id="90000002")
    with pytest.raises(AttributeError):
        permit.contact_id = "90000002"
    assert copy.copy(permit) == permit


@given(st.timedeltas(timedelta(days=-1), timedelta(days=1)))
@example(timedelta(0))
@example(timedelta(minutes=10))
def test_a_permit_is_fresh_for_ten_minutes_after_the_reading(age):
    permit = decide("90000001", "5004", GOOD)
    assert isinstance(permit, Permit)
    assert permit.fresh(READ_AT + age) == (timedelta(0) <= age <= timedelta(minutes=10))


def test_one_place_in_the_package_puts_people_on_lists():
    package = Path(icontact_assets.__file__).parent
    writes = {"subscribe", "set_subscription", "move_subscription"}
    callers = {
        (node.attr, str(path.relative_to(package)))
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in writes
    }
    assert callers == {("subscribe", "audiences/export.py")}
    with pytest.raises(TypeError, match="permit"):
        _subscribe(None, "5004", ["90000001"])
    with pytest.raises(TypeError, match="permit"):
        _subscribe(None, "5004", [decide("90000001", "5003", GOOD)])
