"""The guard: any piece of evidence that is bad or unknown means no, and there is no way around it."""

from __future__ import annotations

import ast
import copy
import itertools
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import icontact_assets
from icontact_assets.exports.apply import _remove, _subscribe
from icontact_assets.exports.consent import (
    Denial,
    Elsewhere,
    Evidence,
    Permit,
    RemovalEvidence,
    RemovalPermit,
    Subscription,
    Suppressed,
    decide,
    decide_removal,
    speaks_of_consent,
    speaks_of_presence,
)
from icontact_assets.exports.progress import Stale

READ_AT = datetime(2026, 9, 14, 12, tzinfo=UTC)
GOOD = Evidence(
    contact_status="normal",
    read_at=READ_AT,
    subscription_status=Subscription.ABSENT,
    list_read_at=READ_AT,
    seen_unsubscribed=False,
    unsubscribed_by_message=False,
    unsubscribed_elsewhere=False,
    do_not_contact_before=False,
    refused_before=False,
    erased=False,
    suppressed=Suppressed.NOT_LISTED,
)

CONTACT = [
    None, "normal", "bounced", "donotcontact", "pending", "invitable", "deleted", "total", "Normal", " normal", "",
]  # fmt: skip
ON_LIST = [None, Subscription.ABSENT, "normal", "pending", "unsubscribed", "NORMAL", "absent", ""]
ANSWERS = [None, True, False]
ELSEWHERE = [*ANSWERS, Elsewhere.NOT_ASKED]
SUPPRESSED = [None, *Suppressed]

# Per field: every value worth trying, and those that speak for the contact.
VALUES = {
    "contact_status": (CONTACT, ["normal"]),
    "subscription_status": (ON_LIST, ["normal", Subscription.ABSENT]),
    "seen_unsubscribed": (ANSWERS, [False]),
    "unsubscribed_by_message": (ANSWERS, [False]),
    "unsubscribed_elsewhere": (ELSEWHERE, [False, Elsewhere.NOT_ASKED]),
    "do_not_contact_before": (ANSWERS, [False]),
    "refused_before": (ANSWERS, [False]),
    "erased": (ANSWERS, [False]),
    "suppressed": (SUPPRESSED, [Suppressed.NOT_LISTED]),
}


def check(values):
    evidence = replace(GOOD, **values)
    good = all(any(value is fine or value == fine for fine in VALUES[name][1]) for name, value in values.items())
    decision = decide("90000001", "5004", evidence)
    assert isinstance(decision, Permit if good else Denial)
    assert (decision.contact_id, decision.evidence) == ("90000001", evidence)
    if isinstance(decision, Permit):
        assert decision.list_id == "5004"


def test_every_field_of_the_evidence_is_tried():
    assert {field.name for field in fields(Evidence)} == {*VALUES, "read_at", "list_read_at"}


@pytest.mark.parametrize("names", list(itertools.combinations(VALUES, 2)))
def test_only_evidence_that_is_good_throughout_gives_a_permit(names):
    for combination in itertools.product(*(VALUES[name][0] for name in names)):
        check(dict(zip(names, combination, strict=True)))


@given(st.fixed_dictionaries({name: st.sampled_from(values) for name, (values, _) in VALUES.items()}))
def test_no_combination_slips_through(values):
    check(values)


@given(st.sampled_from(["normal"]) | st.text(), st.sampled_from([Subscription.ABSENT]) | st.text())
def test_no_wording_of_a_status_slips_through(contact, on_list):
    check({"contact_status": contact, "subscription_status": on_list})


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
        ({"unsubscribed_elsewhere": True}, "unsubscribed from another list"),
        ({"do_not_contact_before": True}, "was do-not-contact before"),
        ({"refused_before": True}, "iContact refused it before, because the contact may not be mailed"),
        ({"erased": True}, "the contact was deleted or vanished from iContact"),
        ({"suppressed": Suppressed.EMAIL}, "on the suppression list (by address)"),
        ({"suppressed": Suppressed.DOMAIN}, "on the suppression list (by domain)"),
        ({"suppressed": None}, "on the suppression list (by unreadable address)"),
    ],
)
def test_a_denial_names_the_rule_and_no_value_of_a_person(bad, reason):
    decision = decide("90000001", "5004", replace(GOOD, **bad))
    assert isinstance(decision, Denial)
    assert decision.reason == reason


def onto(contact_id: str = "90000001", list_id: str = "5001") -> Permit | Denial:
    return decide(contact_id, list_id, GOOD)


DENIED = decide("90000001", "5001", replace(GOOD, contact_status="bounced"))
LEAVING = RemovalEvidence(subscription_status="normal", list_read_at=READ_AT, ours=True, wanted=False, onto=None)


MOVES = [
    (None, True),
    (onto(), True),
    (DENIED, False),
    (onto(contact_id="90000002"), False),
    (onto(list_id="5004"), False),
]


def test_only_those_the_export_put_there_and_does_not_want_there_are_removed():
    for on_list, ours, wanted, (move, fine) in itertools.product(ON_LIST, ANSWERS, ANSWERS, MOVES):
        evidence = RemovalEvidence(on_list, READ_AT, ours, wanted, move)
        decision = decide_removal("90000001", "5004", evidence)
        good = on_list == "normal" and ours is True and wanted is False and fine
        assert isinstance(decision, RemovalPermit if good else Denial)
        assert (decision.contact_id, decision.evidence) == ("90000001", evidence)
        if isinstance(decision, RemovalPermit):
            assert (decision.list_id, decision.onto) == ("5004", move)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"subscription_status": Subscription.ABSENT}, "is not on the list as normal"),
        ({"wanted": True}, "belongs on the list"),
        ({"wanted": None}, "belongs on the list"),
        ({"ours": False}, "was not put on the list by this export"),
        ({"ours": None}, "was not put on the list by this export"),
        ({"onto": DENIED}, "may not be moved: the contact is bounced"),
        ({"onto": onto(contact_id="90000002")}, "the permit to move is another's"),
    ],
)
def test_a_denied_removal_says_why(bad, reason):
    decision = decide_removal("90000001", "5004", replace(LEAVING, **bad))
    assert isinstance(decision, Denial)
    assert decision.reason == reason


def test_permits_are_made_by_decisions_only():
    with pytest.raises(TypeError, match=r"^a Permit is made by consent\.decide only$"):
        Permit("90000001", "5004", GOOD, object())
    with pytest.raises(TypeError, match=r"^a RemovalPermit is made by consent\.decide_removal only$"):
        RemovalPermit("90000001", "5004", None, LEAVING, object())
    for permit in (decide("90000001", "5004", GOOD), decide_removal("90000001", "5004", LEAVING)):
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
    fresh = timedelta(0) <= age <= timedelta(minutes=10)
    assert permit.fresh(READ_AT + age) == fresh
    old_list = decide("90000001", "5004", replace(GOOD, read_at=READ_AT + age, list_read_at=READ_AT))
    old_contact = decide("90000001", "5004", replace(GOOD, list_read_at=READ_AT + age))
    assert (old_list.fresh(READ_AT + age), old_contact.fresh(READ_AT + age)) == (fresh, fresh)
    moving = decide_removal("90000001", "5004", replace(LEAVING, onto=onto()))
    moved_late = decide_removal(
        "90000001",
        "5004",
        replace(
            LEAVING, onto=decide("90000001", "5001", replace(GOOD, read_at=READ_AT + age, list_read_at=READ_AT + age))
        ),
    )
    assert moved_late.fresh(READ_AT + age) == fresh
    leaving = decide_removal("90000001", "5004", LEAVING)
    assert (moving.fresh(READ_AT + age), leaving.fresh(READ_AT + age)) == (fresh, True)


def test_one_place_in_the_package_writes_to_lists_beside_the_trial_on_a_list_without_others():
    package = Path(icontact_assets.__file__).parent
    writes = {"subscribe", "unsubscribe", "move_subscription"}
    callers = {
        (node.attr, str(path.relative_to(package)))
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in writes
    }
    # What iContact does with somebody who left can only be tried on somebody who left: `probe --write` does so with the
    # user's own contact, on lists that hold nobody else. No permit would be given for that.
    assert callers == {(name, path) for name in writes for path in ("exports/apply.py", "probe/trial.py")}
    permit = decide("90000001", "5004", GOOD)
    for permits in (
        ["90000001"],
        [decide("90000001", "5003", GOOD)],
        [decide_removal("90000001", "5004", LEAVING)],
    ):
        with pytest.raises(TypeError, match="permit"):
            _subscribe(None, "5004", permits, lambda: READ_AT)
    with pytest.raises(TypeError, match="permit"):
        _remove(None, permit, lambda: READ_AT)


class Tries:
    """In place of a client folder: calls what is to be called before each of three tries, and counts them."""

    def __init__(self):
        self.made = 0

    def tried(self, *args):
        for _ in range(3):
            args[-1]()
            self.made += 1

    subscribe = unsubscribe = move_subscription = tried


@pytest.mark.parametrize("late_at", [1, 2, 3])
def test_the_age_of_a_permit_is_checked_at_each_try(late_at):
    ages = iter([timedelta(minutes=11 if n == late_at else 1) for n in (1, 2, 3)])
    folder = Tries()
    with pytest.raises(Stale):
        _subscribe(folder, "5004", [decide("90000001", "5004", GOOD)], lambda: READ_AT + next(ages))
    assert folder.made == late_at - 1
    ages = iter([timedelta(minutes=11 if n == late_at else 1) for n in (1, 2, 3)])
    folder = Tries()
    with pytest.raises(Stale):
        _remove(folder, decide_removal("90000001", "5004", replace(LEAVING, onto=onto())), lambda: READ_AT + next(ages))
    assert folder.made == late_at - 1


def test_nothing_in_the_package_writes_to_contacts():
    source = (Path(icontact_assets.__file__).parent / "icontact" / "folder.py").read_text()
    written = [
        ast.unparse(node.args[0])
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("post", "put")
    ]
    assert len(written) == 3
    assert all("contacts" not in path for path in written)
    assert "delete" not in source.lower().replace("deleted", "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("Contact 2 must not be contacted and was not subscribed to list 5004", True),
        ("Contact 2 is unsubscribed from list 5004", True),
        ("This person opted out.", True),
        ("status donotcontact", True),
        ("POST /a/1/c/2/subscriptions: rejected with 400. It said: The listId you provided was not valid", False),
        ("Contact 2 could not be found and was not subscribed to list 5004", False),
        ("", False),
    ],
)
def test_words_that_speak_of_consent(words, says):
    assert speaks_of_consent(words) == says


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("Contact 2 is already subscribed to list 5004", True),
        ("The subscription exists.", True),
        ("DUPLICATE subscription", True),
        ("Contact 2 could not be found and was not subscribed to list 5004", False),
        ("", False),
    ],
)
def test_words_that_speak_of_presence(words, says):
    assert speaks_of_presence(words) == says
