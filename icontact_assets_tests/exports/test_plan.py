"""Plans against the sandbox's live list and contacts, and the stored history."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from icontact_assets import cli
from icontact_assets.exports.facts import make_plan
from icontact_assets.exports.live import PlanError
from icontact_assets.exports.plan import Plan
from icontact_assets.icontact.errors import IContactError, Incomplete
from icontact_assets_tests.harness import LIST, House

THEN = datetime(2026, 9, 1)
BY_MESSAGE = "unsubscribed by a message that went to the list, or whose lists are not known"


def plan(house: House, wanted: str = str(LIST), mode: str = "add", **options: Any) -> Plan:
    return make_plan(house.place(), house.settings(mode, wanted, **options))


def additions(made: Plan) -> list[int]:
    return [int(permit.contact_id) for permit in made.additions]


def denials(made: Plan) -> dict[int, str]:
    return {int(denial.contact_id): denial.reason for denial in made.denials}


def version(house: House, table: str, **columns: Any) -> None:
    house.store.insert(table, **columns, observed_at=THEN, partition_date=THEN.date())


def test_members_are_added_already_there_or_denied(house):
    for number, (status, on) in enumerate(
        [
            ("normal", None),
            ("normal", "normal"),
            ("normal", "unsubscribed"),
            ("normal", "pending"),
            ("bounced", None),
            ("donotcontact", None),
            ("pending", None),
            ("invitable", None),
            ("bounced", "normal"),
        ],
        start=1,
    ):
        house.contact(number, status, on=on)
    house.sandbox.control("contacts/delete", contact_id=7, hard=False)
    house.store.audience(*range(1, 11))
    made = plan(house)
    assert additions(made) == [1]
    assert made.already == ("2", "9")
    assert denials(made) == {
        3: "the subscription to the list is unsubscribed",
        4: "the subscription to the list is pending",
        5: "the contact is bounced",
        6: "the contact is donotcontact",
        7: "the contact is deleted",
        8: "the contact is invitable",
        10: "iContact shows no such contact, or no status of it",
    }
    assert made.live.size == 2


@pytest.mark.parametrize("ids", ["string", "integer", "mixed"])
def test_ids_may_be_text_or_numbers(house, ids):
    house.sandbox.control("switches", ids=ids)
    house.contact(1)
    house.contact(2, on="normal")
    house.contact(3, on="unsubscribed")
    house.store.audience(1, 2, 3)
    made = plan(house)
    assert (additions(made), made.already, list(denials(made))) == ([1], ("2",), [3])


def test_any_reading_that_ever_saw_it_unsubscribed_counts(house):
    for number in (1, 2, 3):
        house.contact(number)
    version(house, "raw_subscriptions", list_id=str(LIST), contact_id="1", status="unsubscribed", deleted_at=THEN)
    version(house, "raw_subscriptions", list_id=str(LIST), contact_id="1", status="normal")
    version(house, "raw_subscriptions", list_id="5001", contact_id="2", status="unsubscribed")
    version(house, "raw_subscriptions", list_id=str(LIST), contact_id="3", status="normal")
    house.store.audience(1, 2, 3)
    made = plan(house)
    assert additions(made) == [2, 3]
    assert denials(made) == {1: "was unsubscribed from the list before"}


WENT_TO: list[tuple[list[dict[str, Any]], bool]] = [
    ([], True),
    ([{"include_list_ids": "5001,5004"}], True),
    ([{"include_list_ids": "5001, 5004 "}], True),
    ([{"include_list_ids": "5001,\t005004"}], True),
    ([{"include_list_ids": "5001"}], False),
    ([{"include_list_ids": "15004,50041"}], False),
    ([{"include_list_ids": ""}], True),
    ([{"include_list_ids": None}], True),
    ([{"include_list_ids": "everyone"}], True),
    ([{"include_list_ids": "5001", "include_segment_ids": "880001"}], True),
    ([{"include_list_ids": "5001", "status": "cancelled"}], True),
    ([{"include_list_ids": "5001"}, {"include_list_ids": "5004", "status": "canceled"}], True),
    ([{"include_list_ids": "5001"}, {"include_list_ids": "5002"}], False),
    ([{"include_list_ids": "5001"}, {"include_list_ids": None}], True),
    ([{"include_list_ids": "5001", "deleted_at": THEN}], False),
]
"""The sends of a message, and whether an unsubscription by it counts for the list 5004."""


def test_an_unsubscription_counts_unless_its_message_certainly_went_elsewhere(house):
    for contact_id, (sends, _) in enumerate(WENT_TO, start=1):
        house.contact(contact_id)
        message_id = str(310000 + contact_id)
        for number, send in enumerate(sends):
            row = {"status": "released", "include_segment_ids": "", **send}
            version(house, "raw_sends", send_id=f"{contact_id}-{number}", message_id=message_id, **row)
        at = {"message_id": message_id, "event_time": THEN, "partition_date": THEN.date()}
        house.store.insert("raw_activity", contact_id=str(contact_id), event_type="unsubscribe", **at)
        house.store.insert("raw_activity", contact_id="999", event_type="open", **at)
    house.contact(999)
    house.store.audience(*range(1, len(WENT_TO) + 1), 999)
    made = plan(house)
    denied = [contact_id for contact_id, (_, counts) in enumerate(WENT_TO, start=1) if counts]
    assert denials(made) == dict.fromkeys(denied, BY_MESSAGE)
    assert sorted(additions(made)) == sorted({*range(1, len(WENT_TO) + 1), 999} - set(denied))


@pytest.mark.parametrize("contact_id", ['"1"', "1", '" 1 "'])
def test_an_unsubscription_in_quarantine_is_one_all_the_same(house, contact_id):
    house.contact(1)
    house.store.insert(
        "quarantine",
        resource="unsubscribes",
        message_id="310001",
        content=f'{{"contactId": {contact_id}, "unsubscribeTime": "soon"}}',
    )
    house.store.audience(1)
    assert denials(plan(house)) == {1: BY_MESSAGE}


def test_the_list_is_named_by_id_or_exact_name(house):
    assert plan(house, "5004").live.name == "Export target"
    assert plan(house, "Export target").live.list_id == "5004"
    house.sandbox.control("lists/add", list_id=6001, name="5003")
    assert plan(house, "5003").live.list_id == "5003"


def test_an_unknown_list_is_an_error_that_lists_the_known_ones(house):
    with pytest.raises(PlanError) as caught:
        plan(house, "export target")
    assert str(caught.value) == (
        "There is no list 'export target' in this client folder. There are: 5001 'Customers', 5002 'Prospects', "
        "5003 'Newsletter', 5004 'Export target'. Name one of them, by id or exact name, as `list` of the export."
    )


def test_a_name_that_two_lists_have_is_an_error(house):
    house.sandbox.control("lists/add", list_id=6001, name="Customers")
    with pytest.raises(PlanError, match="2 lists are named 'Customers': 5001, 6001"):
        plan(house, "Customers")


def test_a_list_that_is_not_read_whole_makes_no_plan(house):
    house.contacts(*range(1, 30), on="normal")
    house.store.audience(1)
    house.fault(path="subscriptions", do={"kind": "order", "order": "shuffled"})
    house.sandbox.control("switches", page_limit_rows=12)
    with pytest.raises(Incomplete):
        plan(house)


def test_contacts_that_cannot_be_read_make_no_plan(house):
    house.contact(1)
    house.store.audience(1)
    house.fault(path="contacts", do={"kind": "reply", "status": 500})
    with pytest.raises(IContactError):
        plan(house)


def test_a_row_that_names_no_contact_makes_no_plan(house):
    house.store.audience()
    house.contact(1, on="normal")
    house.fault(path="subscriptions", do={"kind": "fields", "drop": ["contactId"], "set": {"subscriptionId": "5004"}})
    with pytest.raises(PlanError, match="1 rows of the list 5004 name no contact"):
        plan(house)


def test_a_row_without_a_status_is_never_a_yes(house):
    house.contact(1, on="normal")
    house.contact(2)
    house.store.audience(1, 2)
    house.fault(path="subscriptions", do={"kind": "fields", "drop": ["contactId", "status"]})
    assert denials(plan(house)) == {1: "the status on the list cannot be read"}
    house.fault(path="contacts", do={"kind": "fields", "drop": ["status"]})
    assert denials(plan(house))[2] == "iContact shows no such contact, or no status of it"


def test_statuses_of_many_members_come_from_the_contacts_listing(house):
    ids = range(1, 131)
    for number in ids:
        house.contact(number, "bounced" if number % 2 else "normal")
    house.store.audience(*ids)
    house.sandbox.control("log/clear")
    made = plan(house)
    assert sorted(additions(made)) == list(range(2, 131, 2))
    asked = [row for row in house.sandbox.control("log") if row["path"].endswith("/contacts")]
    assert len(asked) == 1


def test_statuses_of_few_members_are_asked_by_id(house):
    ids = range(1, 61)
    for number in ids:
        house.contact(number, "bounced" if number % 2 else "normal")
    house.store.audience(*range(1, 41))
    house.sandbox.control("log/clear")
    made = plan(house)
    assert sorted(additions(made)) == list(range(2, 41, 2))
    asked = [row for row in house.sandbox.control("log") if row["path"].endswith("/contacts")]
    assert ["contactId=1," in row["query"] for row in asked] == [True]


def test_the_hash_stands_for_what_is_to_be_done(house):
    for number in (1, 2, 3):
        house.contact(number)
    house.store.audience(1, 2)
    first, again = plan(house), plan(house)
    assert first.hash == again.hash
    house.store.audience(1, 2, 3)
    assert plan(house).hash != first.hash
    house.store.audience(1, 2)
    house.sandbox.control("contacts/update", contact_id=2, status="bounced")
    assert plan(house).hash != first.hash


def test_a_plan_is_shown_with_the_name_of_the_list_as_it_is(house, monkeypatch):
    name = f"News [/archive] it's \\ :smile: \x1b[31m{'long ' * 40}[end]"
    shown = name.replace("\x1b", "\\x1b")
    house.sandbox.control("lists/add", list_id=6001, name=name)
    monkeypatch.setattr(cli, "_export", lambda _: (house.place(), house.settings(wanted=name)))
    done = CliRunner().invoke(cli.app, ["plan", "to_list"])
    assert (done.exit_code, f"{shown} (6001), " in done.output) == (
        0,
        True,
    )
    monkeypatch.setattr(cli, "_export", lambda _: (house.place(), house.settings(wanted="[/archive]")))
    done = CliRunner().invoke(cli.app, ["plan", "to_list"])
    assert (done.exit_code, f"6001 '{shown}'" in done.output, type(done.exception)) == (1, True, SystemExit)
    assert "\x1b" not in done.output
