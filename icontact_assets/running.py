"""Which runs have a process that lives: what says so while a run is executed, and is left behind if it is killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from icontact_assets.private import OWNER


class Running(Protocol):
    """The processes that execute steps, as everybody sees them who must notice that one was killed."""

    def during(self, run_id: str, warn: Callable[[str], None]) -> AbstractContextManager[None]:
        """Say that this process executes steps of a run, until the block ends. `warn` is called if that cannot be
        said: the run goes on."""

    def left_behind(self) -> Set[str]:
        """The ids of runs with a process that is gone and did not end. One may be among them for a moment while its
        process begins or ends. Raises CatalogError where a catalog cannot be asked."""

    def forget(self, run_id: str) -> None:
        """Remove what the gone processes of a run left."""


class RunFiles:
    """Lock files in `folder`, for processes of one machine. A kill leaves a file unlocked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def during(self, run_id: str, warn: Callable[[str], None]) -> Iterator[None]:
        """Hold the lock of a run."""
        # Of several settings with the same home, all hold it.
        lock = FileLock(self._path(run_id), is_singleton=True)
        try:
            OWNER.folder(self._folder)
            lock.acquire()
        except OSError as error:
            # The first step that needs the folder says what is wrong with it.
            warn(f"If this run is killed, nobody will notice: {self._folder}: {error.strerror}.")
            yield
            return
        try:
            yield
        finally:
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

    def left_behind(self) -> Set[str]:
        """The runs that left a lock which no process holds."""
        found = set()
        for path in self._folder.glob("*.lock"):
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            lock.release()
            found.add(path.stem)
        return found

    def forget(self, run_id: str) -> None:
        """Remove the file of a run."""
        self._path(run_id).unlink(missing_ok=True)

    def _path(self, run_id: str) -> Path:
        return self._folder / f"{run_id}.lock"
