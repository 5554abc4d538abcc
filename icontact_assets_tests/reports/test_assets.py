"""The report assets in a Dagster run over what the daily job has read."""

from __future__ import annotations

import re
from pathlib import Path

import dagster as dg

from icontact_assets.ingest.window import Window
from icontact_assets.reports.lineage import LINEAGE
from icontact_assets.reports.tables import REPORT_TABLES
from icontact_assets_tests.harness import Project, days_ago

REPORTS = " or ".join(f'key:"icontact/{table.name}"' for table in REPORT_TABLES)


def test_every_column_says_what_it_is_computed_from() -> None:
    for table in REPORT_TABLES:
        assert tuple(sorted(LINEAGE[table.name])) == tuple(sorted(table.column_names))
        assert all(LINEAGE[table.name].values())


def test_a_run_computes_them_and_shows_nobody(imported: Project) -> None:
    result = imported.alone().run(REPORTS)
    assert result.success
    checks = result.get_asset_check_evaluations()
    assert len(checks) == 2 * len(REPORT_TABLES)
    assert [check.check_name for check in checks if not check.passed] == []
    [(events, people)] = imported.rows(
        "SELECT count(*), count(DISTINCT contact_id) FROM icontact.raw_activity WHERE event_type = 'open'"
    )
    assert events > 0
    assert imported.rows("SELECT sum(opens) FROM icontact.campaigns") == [(events,)]
    assert imported.rows(
        "SELECT count(last_open_at) <= $people FROM icontact.engagement".replace("$people", str(people))
    ) == [(True,)]
    page = (Path(__file__).parents[2] / "docs" / "reports.md").read_text()
    queries = re.findall(r"```sql\n(.*?);\n```", page, re.DOTALL)
    assert len(queries) == 2
    assert all(imported.rows(query) for query in queries)
    rates = imported.rows("SELECT max(open_rate), max(bounce_rate), count(open_rate) FROM icontact.campaigns")[0]
    assert 0 < rates[0] <= 1
    assert 0 <= rates[1] <= 1
    materialized = result.asset_materializations_for_node("icontact__reports")
    shown = str([event.metadata for event in materialized])
    addresses = imported.rows("SELECT DISTINCT email, first_name || ' ' || last_name FROM icontact.raw_contacts")
    assert addresses
    assert [text for row in addresses for text in row if text and text in shown] == []
    for table in REPORT_TABLES:
        [event] = [found for found in materialized if found.asset_key.path[-1] == table.name]
        [(rows,)] = imported.rows(f"SELECT count(*) FROM icontact.{table.name}")
        assert event.metadata["dagster/row_count"].value == rows
        assert rows > 0 or table.name == "list_health"
        assert isinstance(event.metadata["preview"], dg.TableMetadataValue)


LISTED = """
imports:
  - {name: icontact, account: 1300001, client_folder: 7601, lists: [Export target]}
"""


def test_a_list_without_an_export_is_read_where_the_import_names_it(project: Project) -> None:
    project.config = LISTED
    project.quick()
    read = 'key:"icontact/raw_contacts" or key:"icontact/raw_lists" or key:"icontact/raw_subscriptions"'
    assert project.run(read, Window(days_ago(1), days_ago(0))).success
    assert project.run('key:"icontact/list_health"').success
    assert project.rows("SELECT DISTINCT list_name FROM icontact.list_health") == [("Export target",)]
    [(size,)] = project.rows("SELECT size FROM icontact.list_health ORDER BY day DESC LIMIT 1")
    people = {row["contact_id"]: row["status"] for row in project.sandbox.control("truth?resource=contacts")}
    [target] = project.rows("SELECT list_id FROM icontact.current_lists WHERE name = 'Export target'")
    on_it = [
        row["contact_id"]
        for row in project.sandbox.control("truth?resource=subscriptions")
        if row["list_id"] == target[0] and row["status"] == "normal" and people[row["contact_id"]] == "normal"
    ]
    assert size == len(on_it) > 0


def test_a_second_run_finds_no_change_of_tier(imported: Project) -> None:
    first = imported.alone().run('key:"icontact/engagement"')
    second = imported.run('key:"icontact/engagement"')
    assert first.success
    assert second.success
    [(contacts,)] = imported.rows("SELECT count(*) FROM icontact.engagement")
    found = [
        run.asset_materializations_for_node("icontact__reports")[0].metadata["tier_changes"].value
        for run in (first, second)
    ]
    # The job that the world was made by computed them already.
    assert found == [0, 0]
    assert imported.rows("SELECT count(*), count(from_tier) FROM icontact.engagement_changes") == [(contacts, 0)]
