"""What pytest asks of this folder. The fixtures are in `fixtures.py`."""

from __future__ import annotations

import gc
from importlib.util import find_spec
from pathlib import Path

import pytest

from icontact_assets_tests.plain_ids import plain_id

# What its modules import is of the extra `lake`.
collect_ignore = [] if find_spec("psycopg") else ["lake"]


def pytest_configure(config: pytest.Config) -> None:
    # Whoever only hands out tests to the processes of pytest-xdist needs neither fixtures nor what they import.
    if hasattr(config, "workerinput") or config.getoption("dist", "no") == "no":
        # What is imported stays: to look for garbage meanwhile takes a fifth of the time. `shared_records` begins again.
        gc.disable()
        config.pluginmanager.import_plugin("icontact_assets_tests.fixtures")


def pytest_make_parametrize_id(val: object) -> str | None:
    if isinstance(val, bytes):
        return plain_id(val.decode("latin-1"))
    text = val if isinstance(val, str) else getattr(val, "__name__", None)
    return plain_id(text) if isinstance(text, str) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "lake" in item.path.relative_to(Path(__file__).parent).parts:
            item.add_marker(pytest.mark.lake)
