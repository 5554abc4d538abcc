"""The component in a Dagster project of somebody's own, as `create-dagster project` makes one, and `build_defs`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from icontact_assets import IContactComponent, build_defs
from icontact_assets.errors import UserError
from icontact_assets.ingest.window import Window
from icontact_assets.partitions import range_tags
from icontact_assets.reports.tables import REPORT_TABLES
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.values import meaning
from icontact_assets.settings.written import Written
from icontact_assets_tests.harness import Project, days_ago, execute

DOCS = Path(__file__).parent.parent / "docs"

# As create-dagster 1.13 writes them.
_PROJECT = """
[project]
name = "my_project"
requires-python = ">=3.10,<3.15"
version = "0.1.0"
dependencies = ["dagster"]

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "my_project"
registry_modules = [
    "my_project.components.*",
]
"""
_DEFINITIONS = """
from pathlib import Path

from dagster import definitions, load_from_defs_folder


@definitions
def defs():
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
"""
_REPORT = """
import dagster as dg
import duckdb


@dg.asset(
    deps=[dg.AssetKey(["newsletter", "icontact_profiles"])],
    automation_condition=dg.AutomationCondition.any_deps_updated().since_last_handled(),
)
def readers() -> dg.MaterializeResult:
    with duckdb.connect("home/warehouse.duckdb", read_only=True) as connection:
        [(count,)] = connection.execute(
            "SELECT count(*) FROM newsletter.icontact_profiles WHERE email IS NOT NULL"
        ).fetchall()
    return dg.MaterializeResult(metadata={"dagster/row_count": count})
"""
FILLED = ("raw_contacts", "icontact_users", "icontact_profiles")
_SECOND = """
type: icontact_assets.IContactComponent

attributes:
  home: second
  imports:
    - {name: "{{ 'shop' }}", account: 1300001, client_folder: 7602, start_date: 2026-01-01, keep_updated: true}
  audiences:
    - {name: buyers, import: shop, where: email_click_ct >= 3}
  exports:
    - {name: buyers, audience: buyers, list: 7, holdout: 12.5}

post_processing:
  assets:
    - target: "*"
      attributes: {group_name: shop, owners: ["team:shop"], tags: {domain: email}}
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a project of somebody's own, which is the working folder."""
    root, package = tmp_path / "my-project", tmp_path / "my-project" / "src" / "my_project"
    (package / "defs").mkdir(parents=True)
    (root / "pyproject.toml").write_text(_PROJECT)
    (package / "__init__.py").touch()
    (package / "defs" / "__init__.py").touch()
    (package / "definitions.py").write_text(_DEFINITIONS)
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_project"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(root / "src")
    monkeypatch.chdir(root)
    monkeypatch.setenv("DAGSTER_HOME", "")
    return root


def add(root: Path, folder: str, text: str) -> Path:
    path = root / "src" / "my_project" / "defs" / folder / "defs.yaml"
    path.parent.mkdir()
    path.write_text(text)
    return path


def load(root: Path) -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=root / "src" / "my_project" / "definitions.py")


def test_what_is_scaffolded_loads_and_fills_tables_and_an_asset_of_ones_own_follows(
    own: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.sandbox.control("reset", contacts=20, messages=2, days=3)
    for name, value in project.environment.items():
        monkeypatch.setenv(name, value)
    assert "icontact_assets.IContactComponent" in execute("dg list components --json")
    execute("dg scaffold defs icontact_assets.IContactComponent newsletter")
    scaffolded = own / "src" / "my_project" / "defs" / "newsletter" / "defs.yaml"
    scaffolded.write_text(scaffolded.read_text().replace("home: .icontact #", "home: home #"))
    (own / "src" / "my_project" / "defs" / "report.py").write_text(_REPORT)
    defs = load(own)
    with dg.DagsterInstance.ephemeral() as instance:
        before = dg.evaluate_automation_conditions(defs=defs, instance=instance)
        read = defs.resolve_job_def("newsletter_import").execute_in_process(
            instance=instance,
            tags=range_tags(Window(days_ago(1), days_ago(1))),
            asset_selection=[dg.AssetKey(["newsletter", name]) for name in FILLED],
        )
        after = dg.evaluate_automation_conditions(defs=defs, instance=instance, cursor=before.cursor)
        assert after.get_num_requested(dg.AssetKey("readers")) == 1
        followed = defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey("readers")]
        )
    assert read.success
    (made,) = followed.asset_materializations_for_node("readers")
    rows = made.metadata["dagster/row_count"].value
    assert isinstance(rows, int)
    assert rows > 0
    assert (own / "home" / "warehouse.duckdb").is_file()


def test_two_components_in_one_location(own: Path) -> None:
    execute("dg scaffold defs icontact_assets.IContactComponent newsletter")
    add(own, "my-shop", _SECOND)
    defs = load(own)
    # A run of assets of both has what each of them needs.
    assert defs.resolve_implicit_global_asset_job_def()
    graph = defs.resolve_asset_graph()
    keys = graph.get_all_asset_keys()
    assert {dg.AssetKey([name, "raw_contacts"]) for name in ("newsletter", "shop")} <= keys
    assert {sensor.name for sensor in defs.get_repository_def().sensor_defs} >= {
        "newsletter_follow_raw_assets",
        "newsletter_dead_runs",
        "my_shop_follow_raw_assets",
        "my_shop_dead_runs",
        "my_shop_exports",
    }
    for key in keys:
        node = graph.get(key)
        if key.path[0] == "shop":
            assert (node.group_name, node.owners, node.tags["domain"]) == ("shop", ["team:shop"], "email")
        elif key.path[0] == "newsletter":
            assert "domain" not in node.tags
    # In a group of another name they are followed all the same.
    follow = defs.resolve_sensor_def("my_shop_follow_raw_assets")
    assert isinstance(follow, dg.AutomationConditionSensorDefinition)
    assert {key.path[-1] for key in follow.asset_selection.resolve(graph)} == {
        "icontact_users",
        "icontact_activity",
        "icontact_profiles",
        *(table.name for table in REPORT_TABLES),
        "report",
        "audience_buyers",
    }


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("holdout: 12.5", "holdout: many", "defs.yaml:11: exports[0].holdout: found 'many', expected a number"),
        ("where:", "when:", "defs.yaml:9: audiences[0].when: this setting is not supported"),
        ("import: shop", "import: store", "defs.yaml:9: audiences[0].import: found 'store'. Name one of: shop."),
    ],
)
def test_an_error_names_the_file_and_the_line(own: Path, before: str, after: str, says: str) -> None:
    path = add(own, "shop", _SECOND.replace(before, after))
    with pytest.raises(Exception, match="Error while loading component") as refused:
        load(own)
    errors: list[BaseException] = [refused.value]
    while errors[-1].__cause__ is not None:
        errors.append(errors[-1].__cause__)
    assert f"{path.parent}/{says}" in str(errors[-1])


def test_the_attributes_of_a_component_are_the_settings() -> None:
    fields = IContactComponent.get_model_cls().model_fields
    assert set(fields) == {"home", "database", *Written.model_fields}
    for name, field in Written.model_fields.items():
        assert fields[name].annotation == field.annotation
        assert fields[name].description == meaning(Written, name)
    described = IContactComponent.get_model_cls().model_json_schema()["$defs"]["ImportItem"]["properties"]
    assert "hourly schedule" in described["keep_updated"]["description"]


def test_what_a_user_wants_to_be_different_of_an_asset(tmp_path: Path) -> None:
    settings = load_settings({}, tmp_path)

    def translate(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(
            group_name="marketing",
            owners=["team:marketing"],
            automation_condition=dg.AutomationCondition.on_cron("@daily"),
        ).merge_attributes(tags={"domain": "email"})

    plain, translated = build_defs(settings), build_defs(settings, translate=translate)
    graph = translated.resolve_asset_graph()
    assert graph.get_all_asset_keys() == plain.resolve_asset_graph().get_all_asset_keys()
    assert graph.asset_check_keys == plain.resolve_asset_graph().asset_check_keys
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert (node.group_name, node.owners, node.tags["domain"]) == ("marketing", ["team:marketing"], "email")
        assert node.automation_condition == dg.AutomationCondition.on_cron("@daily")
    raw = graph.get(dg.AssetKey(["icontact", "raw_activity"]))
    assert raw.backfill_policy == dg.BackfillPolicy.single_run()
    jobs = {name: defs.resolve_job_def("icontact_import") for name, defs in (("plain", plain), ("new", translated))}
    assert set(jobs["plain"].graph.node_dict) == set(jobs["new"].graph.node_dict)


def test_the_python_of_the_docs(own: Path) -> None:
    found: dict[str, Any] = {}
    code = "\n".join(re.findall(r"```python\n(.*?)```", (DOCS / "library.md").read_text(), re.DOTALL))
    exec(compile(code, "library.py", "exec", dont_inherit=True), found)
    graph = dg.Definitions.merge(found["defs"], dg.Definitions(assets=[found["readers"]])).resolve_asset_graph()
    assert graph.get(dg.AssetKey(["icontact", "icontact_users"])).owners == ["team:marketing"]
    assert graph.get(dg.AssetKey("readers")).parent_keys == {dg.AssetKey(["newsletter", "icontact_profiles"])}


def test_a_key_is_not_changed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Leave it: its first part is the name of the import"):
        build_defs(
            load_settings({}, tmp_path), translate=lambda spec: spec.replace_attributes(key=spec.key.with_prefix("x"))
        )
