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
