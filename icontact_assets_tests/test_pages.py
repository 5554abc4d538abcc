"""What the pages of the assets show: owners, tags, tables, columns, where they come from, and both ends of the graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from icontact_assets.assets import audiences, exports, mapped, people, reports
from icontact_assets.assets.pages import Described, Page, described, documentation
from icontact_assets.build import build_defs
from icontact_assets.mapping.lineage import columns_named
from icontact_assets.metadata import code_block
from icontact_assets.reports.tables import REPORT_TABLES
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import Settings, SettingsError
from icontact_assets.warehouse.tables import COVERAGE, TABLES, VIEWS
from icontact_assets_tests.harness import Project, rows_of

CONFIG = """
owners: [data@example.org, "team:growth"]
imports:
  - {name: one, account: 1, client_folder: 2, people: [one]}
audiences:
  - {name: readers, import: one, where: "last_active_ts IS NOT NULL AND city <> 'email' AND email <> 'ada@example.org'"}
  - {name: others, import: one, query: "SELECT ic_contact_id FROM icontact_profiles -- ```\\n"}
exports:
  - {name: readers, audience: readers, list: Summer <b>, mode: mirror, remove: {move_to: Archive}}
  - {name: others, audience: others, list: Archive, exclude: [readers]}
  - {name: elsewhere, audience: others, account: 8, client_folder: 9, match: email, list: 77}
"""

LINEAGE = "dagster/column_lineage"
OURS = ("raw", "mapped", "report", "audience", "export")


REPORT = dg.AssetKey(["one", "report"])


@pytest.fixture
def graph(tmp_path: Path) -> dg.AssetGraph:
    (tmp_path / "icontact.yaml").write_text(CONFIG)
    return build_defs(load_settings({}, tmp_path)).resolve_asset_graph()


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Assets show the lineage that their materializations carry before there is one."""

    def with_lineage(settings: Settings, page: Page, extra: Mapping[str, Any] | None = None) -> Described:
        found = described(settings, page, extra)
        return {**found, "metadata": {**found["metadata"], LINEAGE: page.lineage}}

    for module in (audiences, exports, mapped, people, reports):
        monkeypatch.setattr(module, "described", with_lineage)


def own(graph: dg.AssetGraph) -> list[dg.AssetKey]:
    """The assets of the import that are tables."""
    keys = [key for key in graph.get_all_asset_keys() if key.path[0] == "one"]
    assert REPORT in keys
    return [key for key in keys if key != REPORT]


def test_every_asset_says_whose_it_is_what_a_row_is_and_where_to_read_on(graph: dg.AssetGraph) -> None:
    assert len(own(graph)) == 7 + 4 + 5 + 2 + 3
    for key in own(graph):
        node = graph.get(key)
        assert list(node.owners) == ["data@example.org", "team:growth"]
        assert node.tags["icontact_assets/import"] == "one"
        assert node.tags["icontact_assets/layer"] in OURS
        assert {"duckdb", "view" if key.path[-1] == "icontact_profiles" else "table"} <= node.kinds
        assert ("icontact" in node.kinds) == key.path[-1].startswith(("raw_", "export_"))
        assert node.description
        assert node.metadata["dagster/table_name"].startswith("one.")
        columns = node.metadata["dagster/column_schema"].columns
        assert columns
        assert all(column.description and column.type for column in columns)
        [reference] = node.metadata["dagster/code_references"].code_references
        assert "def " in Path(reference.file_path).read_text().splitlines()[reference.line_number - 1]
        page = node.metadata["documentation"].value
        assert (Path(__file__).parent.parent / page).exists()


def test_the_report_is_a_file_made_of_the_report_tables(graph: dg.AssetGraph) -> None:
    node = graph.get(REPORT)
    assert {key.path[-1] for key in node.parent_keys} == {table.name for table in REPORT_TABLES}
    assert list(node.owners) == ["data@example.org", "team:growth"]
    assert node.tags["icontact_assets/layer"] == "report"
    assert node.kinds == {"html"}
    assert node.description
    assert set(node.metadata) == {"dagster/code_references", "documentation"}


def test_the_documentation_is_linked_where_the_package_names_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    class Named:
        def get_all(self, _: str) -> list[str]:
            return ["Source, https://example.org/code", "Documentation, https://example.org/docs/"]

    monkeypatch.setattr("icontact_assets.assets.pages.metadata", lambda _: Named())
    assert documentation.__wrapped__("tables.md").value == "https://example.org/docs/tables/"


def test_every_table_and_view_stands_on_the_page_of_one_asset(graph: dg.AssetGraph) -> None:
    shown: dict[str, set[str]] = {}
    for key in own(graph):
        facts = graph.get(key).metadata
        kind = key.path[-1].split("_")[0]
        names = [facts["dagster/table_name"].removeprefix("one.")]
        if "tables" in facts:
            beside = rows_of(facts["tables"])
            assert all(description for _, description in beside)
            assert {f"columns of {name}" for name, _ in beside} <= facts.keys()
            names += [name for name, _ in beside]
        for name in names:
            shown.setdefault(name, set()).add(kind if kind in ("audience", "export") else key.path[-1])
    assert set(shown) == {
        *(table.name for table in (*TABLES, *VIEWS, COVERAGE, *REPORT_TABLES)),
        *("icontact_users", "icontact_activity", "icontact_profiles", "icontact_people"),
    }
    assert all(len(pages) == 1 for pages in shown.values())


def test_the_columns_of_the_coverage_view_are_those_it_has(imported: Project) -> None:
    described = imported.rows("SELECT column_name, column_type FROM (DESCRIBE icontact.coverage)")
    assert described == [(column.name, column.type) for column in COVERAGE.columns]


def sources(graph: dg.AssetGraph, asset: str) -> dict[str, set[str]]:
    lineage = graph.get(dg.AssetKey(["one", asset])).metadata[LINEAGE]
    return {
        column: {f"{dep.asset_key.path[-1]}.{dep.column_name}" for dep in deps}
        for column, deps in lineage.deps_by_column.items()
    }


def test_columns_lead_from_raw_to_audiences_and_every_one_of_them_exists(traced: None, graph: dg.AssetGraph) -> None:
    columns = {
        key: {column.name for column in graph.get(key).metadata["dagster/column_schema"].columns} for key in own(graph)
    }
    for key in own(graph):
        lineage = graph.get(key).metadata.get(LINEAGE)
        if key.path[-1].startswith("raw_"):
            continue
        for column, deps in lineage.deps_by_column.items():
            assert column in columns[key]
            assert all(dep.column_name in columns[dep.asset_key] for dep in deps)
            assert {dep.asset_key for dep in deps} <= graph.get(key).parent_keys
        if "icontact_" in key.path[-1]:
            assert set(lineage.deps_by_column) == columns[key]
    assert sources(graph, "icontact_users")["email_domain"] == {"raw_contacts.email"}
    assert sources(graph, "icontact_activity")["email_last_click_ts"] == {
        "raw_activity.event_time",
        "raw_activity.event_type",
    }
    assert sources(graph, "icontact_activity")["hashedurls"] == {"raw_activity.event_url"}
    assert sources(graph, "icontact_profiles")["city"] == {"icontact_users.city"}
    named = {f"icontact_profiles.{name}" for name in ("ic_contact_id", "last_active_ts", "city", "email")}
    assert sources(graph, "audience_readers") == {"contact_id": named}
    assert sources(graph, "export_others") == {
        "member_id": {"audience_others.contact_id", "audience_readers.contact_id"}
    }


def test_a_materialization_carries_the_lineage_that_the_ui_reads(traced: None, imported: Project) -> None:
    assert imported.run('key:"icontact/icontact_*" or key:"icontact/audience_readers"').success
    for name in ("icontact_users", "icontact_activity", "icontact_profiles", "audience_readers"):
        key = dg.AssetKey(["icontact", name])
        [record] = imported.instance.fetch_materializations(key, limit=1).records
        said = record.asset_materialization.metadata[LINEAGE].value
        assert said == imported.definitions.resolve_asset_graph().get(key).metadata[LINEAGE]
        assert record.asset_materialization.metadata["dagster/row_count"].value > 0


def test_columns_are_found_in_code_and_not_in_texts_and_comments() -> None:
    sql = "SELECT ic_contact_id FROM icontact_profiles WHERE CITY = 'it''s email' /* fax\n */ AND 1=1 -- phone\n"
    assert columns_named(sql, "icontact_profiles") == ["ic_contact_id", "city"]


def test_the_page_of_an_audience_shows_its_sql_as_code_without_addresses(graph: dg.AssetGraph) -> None:
    readers = graph.get(dg.AssetKey(["one", "audience_readers"])).metadata["where"].value
    assert readers.startswith("```sql\nlast_active_ts IS NOT NULL AND city <> 'email'")
    assert "ada@example.org" not in readers
    others = graph.get(dg.AssetKey(["one", "audience_others"])).metadata["query"].value
    assert others.startswith("````sql\n")
    assert others.endswith("\n````")


@pytest.mark.parametrize("text", ["plain", "```", "a ```` b", "<script>", "`", "```\n````\n`````"])
def test_nothing_ends_a_block_of_code_early(text: str) -> None:
    lines = str(code_block(text, "sql").value).split("\n")
    fence = re.match("`+", lines[0])
    assert fence is not None
    assert lines[-1] == fence[0]
    assert not any(fence[0] in line for line in lines[1:-1])


def test_the_graph_begins_and_ends_in_icontact(graph: dg.AssetGraph) -> None:
    for key in own(graph):
        name = key.path[-1]
        if name.startswith("raw_"):
            assert dg.AssetKey(["iContact", "one", name.removeprefix("raw_")]) in graph.get(key).parent_keys
    outside = {key for key in graph.get_all_asset_keys() if key.path[0] == "iContact"}
    assert not any(graph.get(key).is_executable for key in outside)
    lists = {
        str(graph.get(key).metadata["list"].value): (
            key.path[1],
            {parent.path[-1] for parent in graph.get(key).parent_keys},
        )
        for key in outside
        if key.path[-1].startswith("list_")
    }
    assert lists == {
        "Summer <b>": ("one", {"export_readers"}),
        "Archive": ("one", {"export_readers", "export_others"}),
        "77": ("8_9", {"export_elsewhere"}),
    }
    assert all(re.fullmatch(r"\w+", part) for key in outside for part in key.path)


def test_an_owner_is_an_address_or_a_team(tmp_path: Path) -> None:
    for wrong in ("growth", "team:", "'a b@example.org'", "a@b", "'team:a b'", "{}"):
        (tmp_path / "icontact.yaml").write_text(f"owners: [{wrong}]\n")
        with pytest.raises(SettingsError, match=r"icontact.yaml:1: owners\[0\]: .*"):
            load_settings({}, tmp_path)
    (tmp_path / "icontact.yaml").write_text("owners: []\n")
    build_defs(load_settings({}, tmp_path))
