"""Rules about the modules themselves."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import icontact_assets

SANDBOX = ("faker", "uvicorn", "httptools", "starlette", "websockets", "watchfiles", "uvloop")
"""What only the sandbox needs: the packages of the extra `sandbox`, and those that they bring."""


MOST_LINES = 450
LONGER = {"warehouse/tables.py"}
"""A list of tables is read one table at a time."""


def test_no_module_is_too_long_to_be_read_at_once() -> None:
    root = Path(icontact_assets.__file__).parent
    lengths = {
        path.relative_to(root).as_posix(): len(path.read_text().splitlines())
        for path in root.rglob("*.py")
        if path.relative_to(root).parts[0] != "sandbox"
    }
    assert len(lengths) > 50
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES and name not in LONGER} == {}


def test_the_production_code_needs_no_package_of_the_sandbox(tmp_path: Path) -> None:
    modules = [
        module.name
        for module in pkgutil.walk_packages(icontact_assets.__path__, "icontact_assets.")
        if module.name.split(".")[1] not in ("demo", "sandbox")
    ]
    assert {"icontact_assets.build", "icontact_assets.cli", "icontact_assets.definitions"} < set(modules)
    code = f"""
import importlib, sys
for name in {SANDBOX}:
    sys.modules[name] = None  # An import of it fails.
for name in {modules}:
    importlib.import_module(name)
from typer.testing import CliRunner
from icontact_assets.cli import app
done = CliRunner().invoke(app, ["demo"])
assert done.exit_code == 1, done.exit_code
assert "pip install 'icontact_assets[sandbox]'" in done.output, done.output
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
