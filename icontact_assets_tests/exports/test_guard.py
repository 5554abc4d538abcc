"""Whom an export never adds, in whole runs: consent, suppression list, erasure, remembered refusals, other folders."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
import pytest

from icontact_assets.exports.consent import Suppressed
from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.facts import make_plan
from icontact_assets.exports.live import PlanError
from icontact_assets.exports.plan import Plan
from icontact_assets.exports.run import ExportError, run_export
from icontact_assets.exports.suppression import SuppressionError, SuppressionList, read_suppression_list
from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.session import Credentials, Session
from icontact_assets.settings.models import Audience, Authorization, ClientFolder, Export, Remove, Suppression
from icontact_assets_tests.harness import FREE, HOLDING, LIST, SCHEMA, HeldWarehouse, House, Store

THEN = datetime(2026, 9, 1)


def people(house: House, *ids: int) -> None:
    house.contacts(*ids)
    house.store.audience(*ids)


def version(house: House, table: str, observed_at: datetime = THEN, **columns: Any) -> None:
    house.store.insert(table, **columns, observed_at=observed_at, partition_date=observed_at.date())


def test_strict_consent_denies_whoever_left_any_list(house):
    people(house, 1, 2, 3, 4, 5)
    house.sandbox.control("subscriptions/set", list_id=HOLDING, contact_id=1, status="unsubscribed")
    version(house, "raw_subscriptions", list_id="5003", contact_id="2", status="unsubscribed")
    version(house, "raw_sends", send_id="1", message_id="310001", include_list_ids="5003", status="released")
    house.store.insert("raw_activity", contact_id="3", event_type="unsubscribe", message_id="310001")
    content = '{"contactId": 4, "unsubscribeTime": "soon"}'
    house.store.insert("quarantine", resource="unsubscribes", message_id="310001", content=content)
    report = house.export(consent="strict")
    assert report.skipped == {"unsubscribed from another list": 4}
    assert house.on_list() == {5: "normal"}
    assert house.export(consent="list").added == 4


def test_each_skip_carries_its_evidence(house):
    people(house, 1)
    house.export("mirror")
    people(house, 2)
    house.sandbox.control("contacts/update", contact_id=1, status="bounced")
    house.sandbox.control("contacts/update", contact_id=2, status="pending")
    house.export("mirror")
    rows = dict(house.store.rows("SELECT contact_id, evidence FROM export_outcomes WHERE outcome = 'skipped'"))
    denied, kept = orjson.loads(rows["2"]), orjson.loads(rows["1"])
    assert (denied["contact_status"], denied["subscription_status"]) == ("pending", "absent")
    assert (denied["unsubscribed_elsewhere"], denied["suppressed"]) == ("not asked", "not listed")
    assert denied["read_at"] == "2026-09-14T12:00:00+00:00"
    assert (kept["subscription_status"], kept["ours"], kept["wanted"]) == ("normal", True, False)
    assert kept["onto"]["contact_status"] == "bounced"


def test_whom_any_export_saw_leave_a_list_is_never_put_there(house):
    people(house, 1, 2)
    house.export("mirror")
    # Both leave, the first the list itself, the second the one that those who left the audience are moved to.
    house.sandbox.control("subscriptions/set", list_id=LIST, contact_id=1, status="unsubscribed")
    house.sandbox.control("subscriptions/set", list_id=HOLDING, contact_id=2, status="unsubscribed")
    house.export("mirror")
    other = house.settings("add", str(HOLDING)).model_copy(update={"name": "to_holding"})
    run_export(house.place(), other, run_id="other")
    for list_id, contact_id in ((LIST, 1), (HOLDING, 2)):
        house.sandbox.control("subscriptions/delete", list_id=list_id, contact_id=contact_id)
    house.store.audience(1)
    second = house.settings("add").model_copy(update={"name": "second"})
    assert run_export(house.place(), second, run_id="second").skipped == {"was unsubscribed from the list before": 1}
    assert house.export("mirror").skipped["may not be moved: was unsubscribed from the list before"] == 1
    strict = house.settings("add", "5003", consent="strict").model_copy(update={"name": "strict"})
    assert run_export(house.place(), strict, run_id="strict").skipped == {"unsubscribed from another list": 1}


def test_strict_consent_needs_every_list(house):
    people(house, 1)
    house.sandbox.control("subscriptions/set", list_id=HOLDING, contact_id=1)
    house.fault(path="subscriptions", query=f"listId={HOLDING}", do={"kind": "reply", "status": 500})
    with pytest.raises(ExportError, match="made no plan"):
        house.export(consent="strict")
    assert house.writes() == []


def test_the_erased_are_never_added(house):
    people(house, 1, 2, 3)
    later = datetime(2026, 9, 2)
    version(house, "raw_contacts", id="1", status="normal")
    version(house, "raw_contacts", later, id="1", status="normal", deleted_at=later)
    version(house, "raw_contacts", id="2", status="deleted")
    version(house, "raw_contacts", id="3", status="normal", deleted_at=THEN)
    version(house, "raw_contacts", later, id="3", status="normal")
    report = house.export()
    assert report.skipped == {"the contact was deleted or vanished from iContact": 2}
    assert house.on_list() == {3: "normal"}


def test_a_suppression_file_counts_by_id_address_and_domain(house, tmp_path):
    people(house, 1, 2, 3, 4)
    house.sandbox.control("contacts/update", contact_id=3, fields={"email": "Somebody@Mail.Rival.example"})
    path = tmp_path / "never.csv"
    path.write_text("contact_id,email,domain\n1,,\n,PLANTED2@example.com,\n,,rival.example\n")
    report = house.export(suppression=Suppression(file=path))
    assert report.skipped == {
        "on the suppression list (by contact id)": 1,
        "on the suppression list (by address)": 1,
        "on the suppression list (by domain)": 1,
    }
    assert house.on_list() == {4: "normal"}
    assert "@" not in str(house.store.rows("SELECT * FROM export_outcomes"))


def test_an_audience_that_spells_a_contact_id_otherwise_adds_nobody_who_left(house, tmp_path):
    people(house, 1, 2, 3)
    house.contact(4, on="unsubscribed")
    version(house, "raw_subscriptions", list_id=str(LIST), contact_id="3", status="unsubscribed")
    query = "SELECT unnest(['0001', '2.0', ' 3', '004', '5']) AS ic_contact_id"
    spelled = Audience(name="everybody", label="Everybody", import_name=SCHEMA, query=query)
    house.store.compute(spelled, house.clock.now)
    path = tmp_path / "never.csv"
    path.write_text("contact_id\n01\n5.0\n")
    house.contact(5)
    assert house.export(suppression=Suppression(file=path)).skipped == {
        "on the suppression list (by contact id)": 2,
        "the subscription to the list is unsubscribed": 1,
        "was unsubscribed from the list before": 1,
    }
    assert house.on_list() == {2: "normal", 4: "unsubscribed"}


def test_a_suppression_table_counts_too(house):
    people(house, 1, 2)
    house.store.run("CREATE TABLE objections (email VARCHAR)")
    house.store.run("INSERT INTO objections VALUES ('planted1@example.com'), (NULL)")
    assert house.export(suppression=Suppression(table="objections")).added == 1
    assert house.export(suppression=Suppression(table=f"{SCHEMA}.objections")).skipped == {
        "on the suppression list (by address)": 1
    }


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        ("planted@b.example\n", ":1 does not fit"),
        ("email\nplanted\n", ":2: email is not exactly one address"),
    ],
)
def test_a_suppression_list_that_is_not_read_whole_makes_no_plan(house, tmp_path, content, says):
    people(house, 1)
    path = tmp_path / "never.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(PlanError, match=says) as caught:
        make_plan(house.place(), house.settings(suppression=Suppression(file=path)))
    assert "planted" not in str(caught.value)


def test_a_table_that_does_not_exist_makes_no_plan(house):
    with house.store.warehouse.read() as connection, pytest.raises(SuppressionError, match="There is no table nobody"):
        read_suppression_list(Suppression(table="nobody"), connection)


def test_a_contact_without_a_readable_address_is_excluded_only_where_addresses_count():
    by_id = SuppressionList(frozenset({"1"}))
    by_domain = SuppressionList(domains=frozenset({"rival.example"}))
    assert by_id.match("2", None) is Suppressed.NOT_LISTED
    assert by_domain.match("2", None) is None
    assert by_domain.match("2", "a@notrival.example") is Suppressed.NOT_LISTED
    assert by_domain.match("2", "a@sub.rival.example.") is Suppressed.DOMAIN


def test_whom_icontact_refused_for_consent_is_not_posted_again_and_a_failure_is(house):
    people(house, 1, 2, 3)
    house.fault(
        method="POST",
        nth=1,
        do={
            "kind": "reply",
            "status": 200,
            "body": {
                "subscriptions": [],
                "warnings": ["Contact 1 opted out of all mail", "Contact 2 met an unexpected condition"],
            },
        },
    )
    report = house.export()
    assert house.outcomes() == {1: "refused", 2: "failed", 3: "unconfirmed"}
    assert report.refused == {"Contact N opted out of all mail": 1}
    report = house.export()
    assert house.posts() == [[1, 2, 3], [2, 3]]
    assert report.skipped == {"iContact refused it before, because the contact may not be mailed": 1}
    assert house.on_list() == {2: "normal", 3: "normal"}


def test_a_refusal_by_status_is_remembered_for_the_one_person(house):
    people(house, 1, 2, 3, 4)
    words = {"errors": ["Contact is unsubscribed from the list"]}
    for n in (1, 2, 3):
        # The batch, its first half, and the first person.
        house.fault(method="POST", nth=n, do={"kind": "reply", "status": 400, "body": words})
    report = house.export()
    assert house.outcomes() == {1: "refused", 2: "added", 3: "added", 4: "added"}
    assert report.added == 3
    house.export()
    assert house.posts() == [[1, 2, 3, 4], [1, 2], [1], [2], [3, 4]]


def test_no_batch_of_which_everyone_is_refused_is_taken_for_a_decision_about_people(house):
    people(house, 1, 2)
    words = {"errors": ["This account must not be mailed from: opted out"]}
    house.fault(method="POST", do={"kind": "reply", "status": 400, "body": words})
    with pytest.raises(ExportError):
        house.export()
    assert house.outcomes() == {1: "failed", 2: "failed"}
    house.sandbox.control("faults/clear")
    assert house.export().added == 2


def test_a_pretended_subscription_is_found_and_not_counted(house):
    people(house, 1, 2)
    house.sandbox.control("switches", resubscribe="pretend")
    leave = [{"path": "contacts/update", "contact_id": 2, "status": "donotcontact"}]
    house.fault(method="POST", nth=1, do={"kind": "edit", "when": "before", "edits": leave})
    report = house.export()
    assert (report.added, report.missing, house.outcomes()) == (1, 1, {1: "added", 2: "unconfirmed"})
    report = house.export()
    assert house.posts() == [[1, 2]]
    assert report.skipped == {"the contact is donotcontact": 1}
    assert house.store.rows("SELECT outcome FROM export_outcomes WHERE run_id = 'run1' AND contact_id = '2'") == [
        ("unconfirmed",)
    ]


CUSTOMERS = Audience(name="customers", label="Customers", import_name=SCHEMA, where="ic_contact_id = '2'")
OTHER = ClientFolder(
    authorization=Authorization(name="other", label="Other"), account_id="1300001", client_folder_id="7602"
)


def elsewhere(house: House, folder_schema: str | None = None) -> ExportContext:
    session = Session(
        house.sandbox.url,
        Credentials("sandbox-app", "sandbox-user", "sandbox-pass"),
        Budget(CountFile(house.home, "a"), per_second=0, per_minute=0, per_day=0),
        tries=2,
        first_wait=0.01,
    )
    folder = Folder(session, "1300001", "7602")
    return ExportContext(house.store.warehouse, folder, folder_schema, house.clock)


def other_list(house: House) -> str:
    lists = house.sandbox.control("truth?folder=7602")["lists"]
    return str(lists[0]["list_id"])


def to_other(house: House, **options: Any) -> Export:
    return house.settings(wanted=other_list(house), folder=OTHER, **options)


def there(house: House, contact_id: int, email: str, status: str = "normal") -> None:
    house.sandbox.control("contacts/add", folder=7602, contact_id=contact_id, email=email, status=status)


def member(house: House, contact_id: int, email: str | None) -> None:
    version(house, "raw_contacts", id=str(contact_id), email=email, status="normal")


def plan_elsewhere(house: House, **options: Any) -> Plan:
    return make_plan(elsewhere(house), to_other(house, **options))


def test_another_folder_is_reached_by_exact_address_and_by_its_own_ids(house):
    member(house, 1, "ada@example.com")
    member(house, 2, "bob+news@example.com")
    member(house, 3, "cy@example.com")
    member(house, 4, "nobody@example.com")
    member(house, 5, "d*@example.com")
    member(house, 6, None)
    house.store.audience(1, 2, 3, 4, 5, 6)
    there(house, 2, "Ada@Example.com")
    there(house, 71, "bob+news@example.com")
    there(house, 72, "cy@example.com", "donotcontact")
    there(house, 73, "dan@example.com")
    report = run_export(elsewhere(house), to_other(house), run_id="one")
    target = other_list(house)
    rows = house.sandbox.control("truth?folder=7602")["subscriptions"]
    assert {row["contact_id"] for row in rows if row["list_id"] == target} == {"2", "71"}
    assert report.skipped == {
        "the contact is donotcontact": 1,
        "is not in the list's client folder": 1,
        "the address cannot be looked up exactly": 1,
        "has no address in the audience's client folder": 1,
    }
    outcomes = "SELECT member_id, contact_id, outcome FROM export_outcomes ORDER BY member_id"
    assert house.store.rows(outcomes) == [
        ("1", "2", "added"),
        ("2", "71", "added"),
        ("3", "72", "skipped"),
        ("4", None, "skipped"),
        ("5", None, "skipped"),
        ("6", None, "skipped"),
    ]
    assert all("status=total" in row["query"] for row in house.sandbox.control("log") if "email=" in row["query"])
    for table in ("export_runs", "export_outcomes", "export_members", "export_plans"):
        assert "@" not in str(house.store.rows(f"SELECT * FROM {table}"))


def test_what_the_import_of_the_other_folder_holds_counts(house):
    for number, email in ((1, "ada@example.com"), (2, "bob@example.com"), (3, "cy@example.com"), (4, "di@example.com")):
        member(house, number, email)
        there(house, 70 + number, email)
    house.store.audience(1, 2, 3, 4)
    news = Store(HeldWarehouse(house.store.warehouse.path, "news"))
    news.insert("raw_subscriptions", list_id=other_list(house), contact_id="71", status="unsubscribed")
    news.insert("raw_contacts", id="72", deleted_at=datetime(2026, 9, 1))
    news.insert("raw_contacts", id="60", email="Cy@Example.com", status="donotcontact")
    made = make_plan(elsewhere(house, "news"), to_other(house))
    assert [permit.contact_id for permit in made.additions] == ["74"]
    assert {denial.contact_id: denial.reason for denial in made.denials} == {
        "71": "was unsubscribed from the list before",
        "72": "the contact was deleted or vanished from iContact",
        "73": "was do-not-contact before",
    }
    addresses = "SELECT DISTINCT email FROM {}.contact_addresses WHERE contact_id = '74'"
    assert house.store.rows(addresses.format("news")) == [("di@example.com",)]
    assert house.store.rows(addresses.format(SCHEMA)) == []


def test_an_export_needs_a_database_that_is_bound_to_an_import(house):
    with pytest.raises(ValueError, match="bound to the schema of an import"):
        ExportContext(HeldWarehouse(house.store.warehouse.path), house.folder(), None, house.clock)


def test_a_member_who_cannot_be_found_any_more_is_not_removed(house):
    member(house, 1, "ada@example.com")
    member(house, 2, "bob@example.com")
    house.store.audience(1, 2)
    there(house, 70, "ada@example.com")
    there(house, 71, "bob@example.com")
    mirror = to_other(house, mode="mirror", remove=Remove())
    assert run_export(elsewhere(house), mirror, run_id="one").added == 2
    version(house, "raw_contacts", datetime(2026, 9, 2), id="1", email="ada.new@example.com", status="normal")
    assert run_export(elsewhere(house), mirror, run_id="two").removed == 0
    house.store.audience(1)
    assert run_export(elsewhere(house), mirror, run_id="three").removed == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "warn", "texts": ["terms were ignored (email)"]},
        {
            "kind": "reply",
            "status": 200,
            "body": {"contacts": [{"contactId": 9, "email": "other@example.com"}], "total": 1},
        },
        {"kind": "reply", "status": 400, "body": {"errors": ["ada@example.com is odd"]}},
    ],
)
def test_a_doubtful_answer_about_an_address_makes_no_plan(house, fault):
    member(house, 1, "ada@example.com")
    house.store.audience(1)
    there(house, 70, "ada@example.com")
    house.fault(path="contacts", do=fault)
    with pytest.raises(ExportError) as caught:
        run_export(elsewhere(house), to_other(house), run_id="one")
    assert "@" not in str(caught.value)
    assert house.writes() == []


def test_the_suppression_list_names_members_by_the_id_of_their_own_folder(house, tmp_path):
    member(house, 1, "ada@example.com")
    member(house, 2, "bob@example.com")
    house.store.audience(1, 2)
    there(house, 2, "ada@example.com")
    there(house, 70, "bob@example.com")
    path = tmp_path / "never.csv"
    path.write_text("contact_id\n2\n")
    made = plan_elsewhere(house, suppression=Suppression(file=path))
    assert [permit.contact_id for permit in made.additions] == ["2"]
    assert [denial.contact_id for denial in made.denials] == ["70"]


def test_strict_consent_counts_what_the_person_did_in_the_audiences_folder(house):
    member(house, 1, "ada@example.com")
    house.store.audience(1)
    there(house, 70, "ada@example.com")
    house.store.insert("raw_activity", contact_id="1", event_type="unsubscribe", message_id="1")
    assert len(plan_elsewhere(house).additions) == 1
    made = plan_elsewhere(house, consent="strict", limits=FREE)
    assert [denial.reason for denial in made.denials] == ["unsubscribed from another list"]


def test_those_left_out_are_not_looked_up_in_another_folder_and_go_by_the_id_of_their_own(house):
    house.store.audience(1, 2)
    house.store.compute(CUSTOMERS, house.clock.now)
    member(house, 1, "ada@example.com")
    member(house, 2, "bob@example.com")
    there(house, 2, "ada@example.com")
    there(house, 70, "bob@example.com")
    holding = str(house.sandbox.control("truth?folder=7602")["lists"][1]["list_id"])
    mirror = {"mode": "mirror", "remove": Remove(move_to=holding)}
    assert run_export(elsewhere(house), to_other(house, **mirror), run_id="one").added == 2
    house.sandbox.control("log/clear")
    report = run_export(elsewhere(house), to_other(house, **mirror, exclude=("customers",)), run_id="two")
    assert (report.members, report.already_subscribed, report.removed) == (2, 1, 1)
    assert sum("email=" in row["query"] for row in house.sandbox.control("log")) == 1
    outcomes = "SELECT member_id, contact_id, action, outcome FROM export_outcomes WHERE run_id = 'two' ORDER BY ALL"
    assert house.store.rows(outcomes) == [
        ("1", "2", "subscribe", "already_subscribed"),
        ("2", "70", "move", "moved"),
        ("2", None, "subscribe", "skipped"),
    ]
    rows = house.sandbox.control("truth?folder=7602")["subscriptions"]
    normal = {(row["list_id"], row["contact_id"]) for row in rows if row["status"] == "normal"}
    assert normal == {(other_list(house), "2"), (holding, "70")}


def test_a_member_that_others_put_on_the_list_is_left_alone(house):
    people(house, 1)
    house.sandbox.control("subscriptions/set", list_id=LIST, contact_id=1)
    assert house.export().already_subscribed == 1
    assert house.writes() == []
