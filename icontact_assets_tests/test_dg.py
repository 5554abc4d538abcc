"""Dagster's own command lines in the folder of the project: `dg`, and plain `dagster` as before."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from dagster._cli.workspace.cli_target import WorkspaceOpts, workspace_opts_to_load_target
from dagster._core.workspace.load_target import WorkspaceFileTarget

from icontact_assets_tests.harness import execute

ROOT = Path(__file__).parent.parent


def ours(warned: Iterable[warnings.WarningMessage]) -> list[str]:
    """Warnings about our code, and those that a command gives because another should be used."""
    return [str(one.message) for one in warned if "icontact_assets" in one.filename or "supersed" in str(one.message)]


def test_dg_loads_and_lists_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the guide launches with it."""
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.chdir(ROOT)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        checked = execute("dg check defs")
        assets = {asset["asset_key"] for asset in json.loads(execute("dg list defs --json"))["assets"]}
    assert checked == "All component YAML validated successfully.\nAll definitions loaded successfully.\n"
    assert "icontact/icontact_profiles" in assets
    assert ours(warned) == []
    assert "arning" not in checked


def test_plain_dagster_reads_the_workspace_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    target = workspace_opts_to_load_target(WorkspaceOpts())
    assert isinstance(target, WorkspaceFileTarget)
    (location,) = yaml.safe_load(Path(*target.paths).read_text())["load_from"]
    assert location["python_module"]["module_name"] == "icontact_assets.definitions"
