"""What is known against a person: by contact id and by address, from the tables and from every answer of the run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from icontact_assets.exports.consent import Denial, Elsewhere, Permit, Subscription, Suppressed, decide
from icontact_assets.exports.history import EVERYWHERE, OptOuts, Shelf, read_opt_outs
from icontact_assets.exports.knowledge import Knowledge
from icontact_assets.exports.live import Contact, LiveList
from icontact_assets.exports.suppression import SuppressionList
from icontact_assets.exports.watch import Watch
from icontact_assets_tests.harness import SCHEMA, Store

NOW = datetime(2026, 9, 14, 12, tzinfo=UTC)
LIST, OTHER = "5004", "5003"
SHELF = Shelf(SCHEMA, "", imported=True)


def contact(address: str | None = "pat@shop.example", status: str = "normal") -> Contact:
    return Contact(status, NOW, Suppressed.NOT_LISTED, address)


def knowledge(*, strict: bool = False, suppression: SuppressionList | None = None, **opt_outs) -> Knowledge:
    known = Knowledge(Watch(), suppression or SuppressionList(), strict=strict)
    known.add(OptOuts(**{"left": {LIST: set()}, **opt_outs}))
    return known


def live(**statuses: str) -> LiveList:
    return LiveList(
        LIST, statuses={id_.lstrip("c"): status for id_, status in statuses.items()}, read_at=NOW, grown_at=NOW
    )


def allowed(known: Knowledge, contact_id: str = "2", who: Contact | None = None, on: LiveList | None = None) -> bool:
    decision = decide(contact_id, LIST, known.evidence(contact_id, who or contact(), on or live(), NOW))
    assert isinstance(decision, Permit | Denial)
    return isinstance(decision, Permit)


def test_who_has_nothing_against_them_is_permitted():
    assert allowed(knowledge(left={LIST: {"1"}}, do_not_contact={"3"}, refused={LIST: {"4"}}))
    assert allowed(knowledge(strict=True, anywhere={"1"}))


AGAINST = [
    ({"left": {LIST: {"1"}}}, True),
    ({"by_message": {LIST: {"1"}}}, True),
    ({"refused": {LIST: {"1"}}}, True),
    ({"do_not_contact": {"1"}}, True),
    ({"left": {OTHER: {"1"}}}, False),
    ({"by_message": {OTHER: {"1"}}}, False),
    ({"refused": {OTHER: {"1"}}}, False),
    ({"anywhere": {"1"}}, False),
]


@pytest.mark.parametrize(("opt_outs", "counts"), AGAINST)
def test_what_is_held_against_a_contact_counts_for_it(opt_outs, counts):
    assert allowed(knowledge(**opt_outs), "1") != counts


@pytest.mark.parametrize(("opt_outs", "counts"), AGAINST)
@pytest.mark.parametrize("how", ["now", "before"])
def test_and_for_every_contact_with_one_of_its_addresses(opt_outs, counts, how):
    known = knowledge(**opt_outs)
    known.had("1", "Pat Lee <PAT@Shop.example>")
    known.had("1", "pat@former.example")
    if how == "before":
        known.had("2", "Pat@former.example.", candidate=True)
    who = contact("pat@shop.example" if how == "now" else "new@shop.example")
    assert allowed(known, "2", who) != counts
    assert allowed(known, "3", contact("ann@shop.example"))


def test_one_address_of_many_contacts_counts_for_all_of_them():
    known = knowledge(left={LIST: {"7"}}, do_not_contact={"1"})
    for id_ in ("1", "7"):
        known.had(id_, "pat@shop.example")
    evidence = known.evidence("2", contact(), live(), NOW)
    assert (evidence.seen_unsubscribed, evidence.do_not_contact_before) == (True, True)


def test_what_cannot_be_read_as_an_address_joins_nobody():
    known = knowledge(left={LIST: {"1"}})
    known.had("1", "no address")
    known.had("1", None)
    known.had("2", "no address", candidate=True)
    assert allowed(known, "2", contact(None))


@pytest.mark.parametrize("strict", [False, True])
def test_strict_consent_asks_about_every_list_and_message(strict):
    known = knowledge(strict=strict, anywhere={"1"})
    known.had("1", "pat@shop.example")
    assert allowed(known) != strict
    known = knowledge(strict=strict)
    known.watch.subscription({"listId": OTHER, "contactId": "2", "status": "unsubscribed"})
    assert allowed(known) != strict
    assert knowledge().evidence("2", contact(), live(), NOW).unsubscribed_elsewhere is Elsewhere.NOT_ASKED


@pytest.mark.parametrize(
    ("row", "kind", "counts"),
    [
        ({"listId": LIST, "contactId": "0002", "status": " Unsubscribed "}, "subscription", True),
        ({"subscriptionId": f"{LIST}_2", "status": "unsubscribed"}, "subscription", True),
        ({"listId": OTHER, "contactId": "2", "status": "unsubscribed"}, "subscription", False),
        ({"listId": LIST, "contactId": "2", "status": "normal"}, "subscription", False),
        ({"listId": LIST, "contactId": "3", "status": "unsubscribed"}, "subscription", False),
        ({"contactId": 2, "status": "donotcontact", "email": "other@shop.example"}, "contact", True),
        ({"contactId": 2, "status": "bounced"}, "contact", False),
        ({"contactId": None, "status": "donotcontact"}, "contact", False),
    ],
)
def test_what_an_answer_of_this_run_shows_counts_at_once(row, kind, counts):
    known = knowledge()
    getattr(known.watch, kind)(row)
    assert allowed(known) != counts


def test_who_is_unsubscribed_on_the_list_now_is_denied_by_that_alone():
    assert not allowed(knowledge(), on=live(c2="unsubscribed"))
    assert allowed(knowledge(), on=live(c2="normal"))


def test_members_of_another_folder_stand_for_their_contacts():
    known = knowledge()
    known.add(OptOuts(do_not_contact={"1", "2"}, left={LIST: {"3"}}), schema="news")
    assert allowed(known, "1")
    known.stands_for("9", "news/2")
    assert not allowed(known, "9", contact("x@shop.example"))
    known.stands_for("8", "news/3")
    assert allowed(known, "8")
    known.had("news/1", "pat@shop.example")
    assert not allowed(known, "7")


def test_a_suppressed_address_counts_though_it_is_a_former_one_and_a_domain_only_now():
    known = knowledge(
        suppression=SuppressionList(emails=frozenset({"pat@former.example"}), domains=frozenset({"old.example"}))
    )
    known.had("2", "Pat@Former.example", candidate=True)
    known.had("3", "pat@old.example", candidate=True)
    assert not allowed(known, "2")
    assert allowed(known, "3")
    assert known.evidence("2", None, live(), NOW).suppressed is None


def test_the_age_of_a_status_is_that_of_the_oldest_reading_it_rests_on():
    on = LiveList(LIST, statuses={"1": "normal"}, read_at=NOW - timedelta(minutes=9), grown_at=NOW)
    known = knowledge(strict=True)
    ages = {id_: known.evidence(id_, contact(), on, NOW).list_read_at for id_ in ("1", "2")}
    assert ages == {"1": on.read_at, "2": on.grown_at}
    known.elsewhere_at = NOW - timedelta(minutes=5)
    ages = {id_: known.evidence(id_, contact(), on, NOW).list_read_at for id_ in ("1", "2")}
    assert ages == {"1": on.read_at, "2": known.elsewhere_at}
    assert known.evidence("2", contact(), on, NOW).subscription_status is Subscription.ABSENT


def test_what_was_seen_is_stored_once_and_read_by_whoever_comes_next(store: Store):
    watch = Watch()
    for _ in range(2):
        watch.subscription({"listId": LIST, "contactId": "1", "status": "unsubscribed"})
        watch.contact({"contactId": "3", "status": "donotcontact", "email": "cy@shop.example"})
        with store.warehouse.write("test") as connection:
            watch.store(connection, SHELF, NOW)
        assert not watch.unsaved
    again = Watch()
    again.subscription({"listId": LIST, "contactId": "1", "status": "unsubscribed"})
    elsewhere = Shelf(SCHEMA, "1300001/7602", imported=False)
    with store.warehouse.write("test") as connection:
        again.store(connection, SHELF, NOW)
    assert store.rows("SELECT folder, list_id, contact_id FROM opt_outs ORDER BY list_id") == [
        ("", EVERYWHERE, "3"),
        ("", LIST, "1"),
    ]
    assert store.rows("SELECT contact_id, email FROM contact_addresses") == [("3", "cy@shop.example")]
    with store.warehouse.read() as connection:
        found = read_opt_outs(connection, SHELF, [SCHEMA], [LIST])
        other = read_opt_outs(connection, elsewhere, [SCHEMA], [LIST])
    assert (found.left, found.do_not_contact) == ({LIST: {"1"}}, {"3"})
    assert (other.left, other.do_not_contact) == ({LIST: set()}, set())
