"""Folders of this machine for what does not fit in memory, gone with the process that made them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from icontact_assets.private import OWNER


class Spill:
    """A folder of its own below `parent`, for one engine. Others that killed processes left there are removed.

    Raises OSError if the folder cannot be made.
    """

    def __init__(self, parent: Path) -> None:
        OWNER.folder(parent)
        _remove_left(parent)
        self._folder = Path(tempfile.mkdtemp(dir=parent))
        self.path = self._folder / "spill"
        """Where DuckDB may make a folder, and remove it."""
        # A kill releases it, and so tells others that nobody uses the folder any more.
        self._lock = FileLock(_lock_of(self._folder))
        self._lock.acquire(timeout=0)

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.release()
        _lock_of(self._folder).unlink(missing_ok=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _remove_left(parent: Path) -> None:
    for folder in parent.iterdir():
        if not folder.is_dir():
            continue
        lock = FileLock(_lock_of(folder))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        _lock_of(folder).unlink(missing_ok=True)
