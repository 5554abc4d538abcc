"""What pytest asks of this folder. The fixtures are in `fixtures.py`."""

from __future__ import annotations

import gc
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from filelock import FileLock

from icontact_assets_tests.plain_ids import plain_id

# What its modules import is of the extra `lake`.
collect_ignore = [] if find_spec("psycopg") else ["lake"]

# In a fresh checkout the first process compiles everything, and the others read it: each would compile it for itself.
_COMPILED = Path(__file__).with_name("__pycache__") / "compiled"
_compiling = FileLock(_COMPILED.with_suffix(".lock"))


def pytest_configure(config: pytest.Config) -> None:
    # Whoever only hands out tests to the processes of pytest-xdist needs neither fixtures nor what they import.
    if hasattr(config, "workerinput") or config.getoption("dist", "no") == "no":
        # What is imported stays: to look for garbage meanwhile takes a fifth of the time. `shared_records` begins again.
        gc.disable()
        if not sys.dont_write_bytecode and not _COMPILED.exists():
            _COMPILED.parent.mkdir(exist_ok=True)
            _compiling.acquire()
        config.pluginmanager.import_plugin("icontact_assets_tests.fixtures")


def pytest_collection_finish() -> None:
    if _compiling.is_locked:
        _COMPILED.touch()
        _compiling.release()


def pytest_make_parametrize_id(val: object) -> str | None:
    if isinstance(val, bytes):
        return plain_id(val.decode("latin-1"))
    text = val if isinstance(val, str) else getattr(val, "__name__", None)
    return plain_id(text) if isinstance(text, str) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "lake" in item.path.relative_to(Path(__file__).parent).parts:
            item.add_marker(pytest.mark.lake)
