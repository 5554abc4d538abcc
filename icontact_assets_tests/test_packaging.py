"""The sdist and the wheel: they build, and the wheel works without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

SANDBOX = ("faker", "uvicorn", "httptools", "starlette", "websockets", "watchfiles", "uvloop")
"""What only the sandbox needs: the packages of the extra `sandbox`, and those that they bring."""

LAKE = ("psycopg",)
"""What modules import that only a lake needs: of the extra `lake`."""

# As `python -m build` does: the wheel from what the sdist holds. Without a process for each of its questions, nor a
# search for garbage in what stays.
_BUILD = """
import gc, os, shutil
gc.disable()
from setuptools import build_meta
name = build_meta.build_sdist("../dist")
shutil.unpack_archive(f"../dist/{name}", "../unpacked")
os.chdir(f"../unpacked/{name.removesuffix('.tar.gz')}")
build_meta.build_wheel("../../dist")
"""

# What is imported reads neither the environment nor the folder, in which both are wrong.
_USE = f"""
import gc, importlib, os, pkgutil, sys
gc.disable()
for name in {SANDBOX}:
    sys.modules[name] = None  # An import of it fails.
import icontact_assets
assert "dagster" not in sys.modules
from icontact_assets import IContactComponent, build_defs
from icontact_assets.cli import app
del os.environ["ICONTACT_START_DATE"]
flags = ["--app-id", "app", "--username", "me", "--account", "1", "--client-folder", "2"]
app(["init", "made", *flags], standalone_mode=False)
from dotenv import load_dotenv
load_dotenv("made/.env")
from icontact_assets.reports.page import _template
assert _template().name == "page.html"
from icontact_assets.definitions import defs
keys = defs.resolve_asset_graph().get_all_asset_keys()
assert any(key.path[-1] == "icontact_profiles" for key in keys)
modules = [module.name for module in pkgutil.walk_packages(icontact_assets.__path__, "icontact_assets.")]
assert {{"icontact_assets.build", "icontact_assets.cli", "icontact_assets.sandbox"}} < set(modules), modules
for name in modules:
    if name.split(".")[1] not in ("demo", "sandbox"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            assert error.name in {LAKE}, (name, error.name)
from typer.testing import CliRunner
done = CliRunner().invoke(app, ["demo"])
assert done.exit_code == 1, done.exit_code
assert "pip install 'icontact_assets[sandbox]'" in done.output, done.output
print(icontact_assets.__file__)
"""


def files(folder: Path) -> set[str]:
    """What git keeps of the package."""
    return {
        path.relative_to(folder.parent).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """A folder with an sdist, and the wheel that was built from it."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "icontact_assets", source / "icontact_assets", ignore=shutil.ignore_patterns("__pycache__"))
    built = subprocess.run([sys.executable, "-c", _BUILD], cwd=source, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-2000:]
    return tmp_path / "dist"


def test_the_wheel_works_without_the_checkout_and_the_packages_of_the_sandbox(dist: Path, tmp_path: Path) -> None:
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == files(ROOT / "icontact_assets")
        archive.extractall(tmp_path / "installed")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        assert files(ROOT / "icontact_assets") | {"pyproject.toml", "setup.cfg", "README.md", "LICENSE"} <= names
    (described,) = (tmp_path / "installed").glob("*.dist-info")
    metadata = Parser().parsestr((described / "METADATA").read_text())
    assert metadata["Version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (metadata["License-Expression"], metadata["Requires-Python"]) == ("Apache-2.0", ">=3.11")
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert set(metadata.get_all("Provides-Extra") or []) == {"dev", "dg", "lake", "sandbox"}
    entry_points = (described / "entry_points.txt").read_text()
    assert "icontact-assets = icontact_assets.cli:app" in entry_points
    assert "[dagster_dg_cli.registry_modules]\nicontact_assets = icontact_assets" in entry_points

    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "icontact.yaml").write_text("imports: none")
    used = subprocess.run(
        [sys.executable, "-c", _USE],
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("ICONTACT_", "DAGSTER_"))},
            "PYTHONPATH": str(tmp_path / "installed"),
            "ICONTACT_START_DATE": "never",
            "ICONTACT_API_PASSWORD": "secret",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert used.returncode == 0, used.stderr[-2000:]
    assert used.stdout.endswith(f"{tmp_path / 'installed' / 'icontact_assets' / '__init__.py'}\n")
