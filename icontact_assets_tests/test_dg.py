"""Dagster's own command lines in the folder of the project: `dg`, and plain `dagster` as before."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
import yaml
from dagster._cli.workspace.cli_target import WorkspaceOpts, workspace_opts_to_load_target
from dagster._core.workspace.load_target import WorkspaceFileTarget

from icontact_assets_tests.harness import Project, days_ago, execute

ROOT = Path(__file__).parent.parent


def test_dg_loads_lists_and_launches_without_a_warning(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.home / "dagster").mkdir()
    shutil.copy(ROOT / "dagster.yaml", project.home / "dagster")
    for name, value in {**project.environment, "DAGSTER_HOME": str(project.home / "dagster")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        checked = execute("dg check defs")
        assets = {asset["asset_key"] for asset in json.loads(execute("dg list defs --json"))["assets"]}
        launched = execute(f"dg launch --assets icontact/raw_lists --partition {days_ago(1)}")
    assert checked == "All component YAML validated successfully.\nAll definitions loaded successfully.\n"
    assert "icontact/icontact_profiles" in assets
    assert "RUN_SUCCESS" in launched
    assert project.rows("SELECT count(*) > 0 FROM icontact.raw_lists") == [(True,)]
    # Ours, and those that a command gives because another should be used.
    assert [
        str(one.message) for one in warned if "icontact_assets" in one.filename or "supersed" in str(one.message)
    ] == []
    assert "arning" not in checked + launched


def test_plain_dagster_reads_the_workspace_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    target = workspace_opts_to_load_target(WorkspaceOpts())
    assert isinstance(target, WorkspaceFileTarget)
    (location,) = yaml.safe_load(Path(*target.paths).read_text())["load_from"]
    assert location["python_module"]["module_name"] == "icontact_assets.definitions"
