"""Who left stays away under any contact and any spelling, in whole runs."""

from __future__ import annotations

import pytest

from icontact_assets.audiences.audience import AudienceError
from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.run import ExportError, run_export
from icontact_assets.icontact.folder import Folder
from icontact_assets.settings.models import (
    Audience,
    Authorization,
    ClientFolder,
    Suppression,
)
from icontact_assets_tests.exports.steps import (
    people,
    posted,
)
from icontact_assets_tests.harness import LIST, SCHEMA, House

SPELLINGS = [
    ("Pat@Shop.example", "pat@shop.example"),
    ("pat@b\u00fccher.example", "pat@xn--bcher-kva.example"),
    ("jos\u00e9@shop.example", "jose\u0301@shop.example"),
    ("pat@shop.example", "Pat Example <PAT@SHOP.EXAMPLE>"),
]


def anew(house: House, old: str, new: str) -> None:
    """Contact 1 is deleted, and made anew as 101 with another spelling of the address."""
    house.sandbox.control("contacts/delete", contact_id=1)
    house.contact(101, email=new)
    house.imported()
    house.store.audience(2, 101)
    assert old != new


@pytest.mark.parametrize(
    ("how", "spelling"),
    [
        ("imported", 0),
        ("seen by an export", 0),
        ("donotcontact", 1),
        ("donotcontact seen by an export", 2),
        ("message", 3),
        ("refused", 0),
    ],
)
def test_who_left_is_not_added_under_another_contact(house, how, spelling):
    old, new = SPELLINGS[spelling]
    house.contact(1, email=old)
    house.contact(2, email="nobody.else@shop.example")
    house.imported()
    house.store.audience(1)
    if how in ("imported", "seen by an export"):
        house.sandbox.control("subscriptions/set", list_id=LIST, contact_id=1, status="unsubscribed")
    elif how.startswith("donotcontact"):
        house.sandbox.control("contacts/update", contact_id=1, status="donotcontact")
    elif how == "refused":
        house.sandbox.control("contacts/update", contact_id=1, refused="Contact 1 has opted out")
    else:
        house.store.insert("raw_activity", contact_id="1", event_type="unsubscribe", message_id="1")
    if how in ("imported", "donotcontact"):
        house.imported()
    elif how != "message":
        assert house.export().added == 0
    anew(house, old, new)
    house.export(external_changes="repair")
    assert house.on_list() == {2: "normal"}


def test_who_left_is_not_added_under_any_other_spelling(house):
    people(house, 2)
    for number, (old, _) in enumerate(SPELLINGS, start=11):
        house.contact(number, email=f"{number}{old}", on="unsubscribed")
    house.imported()
    for number, (_, new) in enumerate(SPELLINGS, start=11):
        house.sandbox.control("contacts/delete", contact_id=number)
        house.contact(number + 100, email=new.replace("<", f"<{number}") if "<" in new else f"{number}{new}")
    house.imported()
    house.store.audience(2, *range(111, 115))
    house.export(external_changes="repair")
    assert house.on_list() == {2: "normal"}


def test_strict_consent_is_the_persons(house):
    old, new = SPELLINGS[1]
    house.contact(1, email=old)
    house.contact(2, email="nobody.else@shop.example")
    house.sandbox.control("subscriptions/set", list_id=5003, contact_id=1, status="unsubscribed")
    house.imported()
    anew(house, old, new)
    house.export(consent="strict")
    assert house.on_list() == {2: "normal"}


def test_who_has_two_contacts_is_one_person(house, tmp_path):
    old, new = SPELLINGS[1]
    house.contact(1, email=old)
    house.contact(2, email="nobody.else@shop.example")
    house.contact(101, email=new)
    house.imported()
    house.store.audience(2, 101)
    (tmp_path / "never.csv").write_text("contact_id\n1\n")
    house.export(suppression=Suppression(file=tmp_path / "never.csv"))
    assert house.on_list() == {2: "normal"}
    house.sandbox.control("contacts/update", contact_id=1, status="donotcontact")
    house.sandbox.control("subscriptions/delete", list_id=LIST, contact_id=2)
    house.imported()
    house.export(external_changes="repair")
    assert house.on_list() == {2: "normal"}


def spelled(house: House, *ids: str) -> None:
    """The audience is a query that yields these ids."""
    query = " UNION ALL ".join(f"SELECT '{id_}' AS ic_contact_id" for id_ in ids)
    audience = Audience(name="everybody", label="Everybody", import_name=SCHEMA, query=query)
    house.store.compute(audience, house.clock())


def test_an_id_has_one_form_however_an_audience_spells_it(house, tmp_path):
    excluded, wanted, left = "0000001", ("2", "0000003", " 4 "), ("0000005", "6.0")
    people(house, *range(1, 7))
    for id_ in (5, 6):
        house.sandbox.control("subscriptions/set", list_id=LIST, contact_id=id_, status="unsubscribed")
    house.sandbox.control("switches", resubscribe="success")
    (tmp_path / "never.csv").write_text("contact_id\n1\n")
    spelled(house, excluded, *wanted, *left)
    for _ in range(2):
        house.export("mirror", suppression=Suppression(file=tmp_path / "never.csv"))
    there = {2: "normal", 3: "normal", 4: "normal", 5: "unsubscribed", 6: "unsubscribed"}
    assert house.on_list() == there
    assert sorted(posted(house)) == [2, 3, 4]


def test_what_is_no_id_stops_the_audience(house):
    people(house, 1, 2)
    for spelling in ("-1", "1.5", "1e0", "pat@shop.example", "0x1"):
        with pytest.raises((AudienceError, ExportError)) as caught:  # noqa: PT012 (either of the two may say it)
            spelled(house, spelling, "2")
            house.export()
        assert "shop.example" not in str(caught.value)
    assert house.writes() == []


OTHER = ClientFolder(
    authorization=Authorization(name="other", label="Other"), account_id="1300001", client_folder_id="7602"
)


@pytest.mark.parametrize("how", ["excluded", "donotcontact here", "left there", "donotcontact there"])
def test_in_another_folder_two_contacts_of_one_address_are_one_person(house, tmp_path, how):
    house.contact(1, email="Pat@shop.example")
    house.contact(101, email="pat@shop.example")
    house.contact(2, email="bob@shop.example")
    if how == "donotcontact here":
        house.sandbox.control("contacts/update", contact_id=1, status="donotcontact")
    house.imported()
    house.store.audience(101, 2)
    target = house.sandbox.control("truth?folder=7602")["lists"][0]["list_id"]
    house.sandbox.control("contacts/add", folder=7602, contact_id=70, email="pat@shop.example")
    house.sandbox.control("contacts/add", folder=7602, contact_id=72, email="bob@shop.example")
    if how.endswith("there"):
        status = "donotcontact" if how.startswith("do") else "normal"
        house.sandbox.control("contacts/add", folder=7602, contact_id=71, email="PAT@shop.example", status=status)
    if how == "left there":
        house.sandbox.control(
            "subscriptions/set", folder=7602, list_id=int(target), contact_id=71, status="unsubscribed"
        )
    (tmp_path / "never.csv").write_text("contact_id\n1\n" if how == "excluded" else "contact_id\n77\n")
    session = house.folder().session
    place = ExportContext(house.store.warehouse, Folder(session, "1300001", "7602"), None, house.clock)
    settings = house.settings(wanted=target, folder=OTHER, suppression=Suppression(file=tmp_path / "never.csv"))
    run_export(place, settings, run_id="one")
    rows = house.sandbox.control("truth?folder=7602")["subscriptions"]
    normal = {row["contact_id"] for row in rows if row["list_id"] == target and row["status"] == "normal"}
    assert normal == {"72"}
