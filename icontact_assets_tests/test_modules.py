"""Rules about the modules themselves."""

from __future__ import annotations

from pathlib import Path

import icontact_assets

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


def test_only_the_warehouse_knows_that_the_tables_are_in_a_file() -> None:
    root = Path(icontact_assets.__file__).parent
    found = {
        f"{path.relative_to(root).as_posix()}: {word}"
        for path in root.rglob("*.py")
        if path.relative_to(root).parts[0] not in ("warehouse", "sandbox")
        for word in ("duckdb.connect", "ATTACH ", "duckdb_path", "published_path", "DatabaseFile(")
        if word in path.read_text()
    }
    assert found == {
        "settings/load.py: duckdb_path",
        "settings/models.py: duckdb_path",
        "settings/models.py: published_path",
        # The one place that chooses where tables are kept.
        "resources.py: duckdb_path",
        "resources.py: published_path",
        "resources.py: DatabaseFile(",
    }


def test_only_who_chooses_the_storage_knows_that_there_are_lakes() -> None:
    root = Path(icontact_assets.__file__).parent
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if path.relative_to(root).parts[0] != "warehouse"
        for word in ("DuckLake(", "settings.lake", "warehouse.lake import", "ducklake")
        if word in path.read_text()
    }
    assert found == {"settings/lake.py", "settings/load.py", "resources.py"}
