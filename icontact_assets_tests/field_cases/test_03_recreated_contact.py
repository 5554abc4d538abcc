"""An opt-out follows the address: who left, was deleted and made anew under another contact id is not added."""

from __future__ import annotations

import pytest

from icontact_assets.ingest.window import Window
from icontact_assets_tests.harness import Project, days_ago

CONFIG = """
audiences:
  - {name: everybody, import: icontact, where: "true"}
exports:
  - {name: everybody, audience: everybody, list: Target, mode: add, limits: {growth: 1000}}
  - {name: careful, audience: everybody, list: Target, mode: add, consent: strict, limits: {growth: 1000}}
"""
RAW = 'key:"icontact/raw_contacts" or key:"icontact/raw_lists" or key:"icontact/raw_subscriptions"'
REST = 'key:"icontact/raw_messages" or key:"icontact/raw_sends" or key:"icontact/raw_activity"'
LEFT, FINE, THERE, BACK = 90000901, 90000902, 90000903, 90000911


@pytest.fixture
def empty(project: Project) -> Project:
    project.sandbox.control("reset", contacts=0, messages=0, days=1)
    project.config = CONFIG
    project.keeps_open = True
    return project


def test_an_opt_out_follows_the_address(empty: Project) -> None:
    control, day = empty.sandbox.control, Window(days_ago(1), days_ago(1))
    list_id = control("lists/add", name="Target")["list_id"]
    control("contacts/add", contact_id=LEFT, email="pat@shop.example", lists=[int(list_id)])
    control("subscriptions/set", list_id=list_id, contact_id=LEFT, status="unsubscribed")
    # A listing that loses all of its rows would wait for a second reading.
    control("contacts/add", contact_id=THERE, email="there@shop.example", lists=[int(list_id)])
    control("contacts/add", contact_id=FINE, email="fine@shop.example")
    assert empty.read(RAW, day).success

    control("contacts/delete", contact_id=LEFT)
    control("contacts/add", contact_id=BACK, email="Pat@shop.example")
    computed = 'key:"icontact/icontact_*" or key:"icontact/audience_everybody"'
    assert empty.read(f"{RAW} or {REST}", day, **{"icontact_assets/reread": "true"}).success
    assert empty.run(computed).success
    assert empty.rows("SELECT contact_id FROM icontact.audience_members ORDER BY 1") == [
        (str(FINE),),
        (str(THERE),),
        (str(BACK),),
    ]

    for name in ("careful", "everybody"):
        assert empty.run(f'key:"icontact/export_{name}"').success
        on_list = {
            row["contact_id"]: row["status"]
            for row in control("truth?resource=subscriptions")
            if row["list_id"] == str(list_id)
        }
        assert BACK not in map(int, on_list)
        assert on_list[str(FINE)] == "normal"
    reasons = empty.rows("SELECT DISTINCT reason FROM icontact.export_outcomes WHERE outcome = 'skipped'")
    assert reasons == [("was unsubscribed from the list before",)]
