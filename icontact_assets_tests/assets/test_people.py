"""The asset of people: it is computed with the profiles, shows its conflicts without an address, and is off by itself."""

from __future__ import annotations

import dagster as dg

from icontact_assets_tests.assets.test_follow import Follower
from icontact_assets_tests.harness import AUDIENCE, Project, rows_of

PEOPLE = """
imports:
  - name: icontact
    account: ${ICONTACT_ACCOUNT_ID}
    client_folder: ${ICONTACT_CLIENT_FOLDER_ID}
    people: [icontact]
"""
CHOSEN = """
  - {name: chosen, import: icontact, query: SELECT ic_contact_id FROM icontact_people WHERE email_open_ct > 0}
"""
OTHER = PEOPLE.replace("[icontact]", "[icontact, other]") + "  - {name: other, account: 9, client_folder: 9}\n"


def test_people_follow_the_profiles_and_are_shown_without_an_address(imported: Project) -> None:
    assert not imported.rows("SELECT 1 FROM duckdb_tables() WHERE table_name = 'icontact_people'")
    imported.alone().config = AUDIENCE + PEOPLE
    sensor = Follower(imported)
    assert sensor.ask() == set()
    result = imported.run('key:"icontact/icontact_profiles" or key:"icontact/icontact_people"')
    assert result.success
    assert sensor.ask() == {"audience_readers"}
    assert imported.run('key:"icontact/icontact_profiles"').success
    assert "icontact_people" in sensor.ask()
    key = dg.AssetKey(["icontact", "icontact_people"])
    checks = {
        check.check_name: check.passed for check in result.get_asset_check_evaluations() if check.asset_key == key
    }
    assert checks == {"keys_unique": True, "sums_match_profiles": True}
    [said] = imported.metadata(result, "icontact_people").values()
    [(people, contacts, joined)] = imported.rows(
        "SELECT count(*), sum(contacts), count(*) FILTER (contacts > 1) FROM icontact.icontact_people"
    )
    assert (said["dagster/row_count"], said["contacts"], said["people_of_several_contacts"]) == (
        people,
        contacts,
        joined,
    )
    assert imported.rows("SELECT count(*) FROM icontact.icontact_profiles") == [(contacts,)]
    [materialized] = [event for event in result.get_asset_materialization_events() if event.asset_key == key]
    metadata = materialized.step_materialization_data.materialization.metadata
    shown = [
        cell for name in ("preview", "conflicts") if name in metadata for row in rows_of(metadata[name]) for cell in row
    ]
    assert len(shown) > 100
    assert not [cell for cell in shown if "@" in str(cell)]


def test_an_audience_of_people_waits_for_all_imports_that_they_come_from(imported: Project) -> None:
    imported.quick()
    audiences = AUDIENCE.replace("\nexports:", f"{CHOSEN}\nexports:")
    imported.config = audiences + PEOPLE
    people, audience = (dg.AssetKey(["icontact", name]) for name in ("icontact_people", "audience_chosen"))
    node = imported.definitions.resolve_asset_graph().get(audience)
    assert node.parent_keys == {people, dg.AssetKey(["icontact", "icontact_profiles"])}
    assert imported.run('key:"icontact/icontact_people" or key:"icontact/audience_chosen"').success
    members = "SELECT count(*) FROM icontact.audience_members WHERE audience = 'chosen'"
    [(size,)] = imported.rows(members)
    assert [(size,)] == imported.rows(
        "SELECT count(ic_contact_id) FROM icontact.icontact_people WHERE email_open_ct > 0 AND deleted_at IS NULL"
    )
    assert size > 0
    imported.config = audiences + OTHER
    result = imported.run('key:"icontact/audience_chosen"')
    [check] = [check for check in result.get_asset_check_evaluations() if check.asset_key == audience]
    assert (result.success, check.passed) == (True, False)
    assert imported.rows(members) == [(size,)]
