"""Days that pass for a lake, without anybody waiting for them."""

from __future__ import annotations

import os
from pathlib import Path

from icontact_assets.catalog import Session

_DAY = 86_400


def a_day_passes(catalog: Session, data: Path) -> None:
    """What a lake holds is a day older."""
    for table, column in (
        ("ducklake_snapshot", "snapshot_time"),
        ("ducklake_files_scheduled_for_deletion", "schedule_start"),
    ):
        catalog.execute(f"UPDATE {table} SET {column} = {column} - INTERVAL '1 day'")  # type: ignore[arg-type]
    for file in data.rglob("*.parquet"):
        then = file.stat().st_mtime - _DAY
        os.utime(file, (then, then))
