"""Whether the process of a run still lives: each run holds a lock of its own. A kill leaves its file unlocked."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout

from icontact_assets.private import OWNER

RESOURCE = "icontact_worker"
"""The key under which the assets require it. Dagster sets it up once a run, before the first step."""


@cache
def worker(home: Path) -> dg.ResourceDefinition:
    """Holds the lock of a run while its steps are executed."""

    @dg.resource(description="A lock that says that the run's process lives.")
    def held(context: dg.InitResourceContext) -> Iterator[None]:
        assert context.run is not None  # noqa: S101 -- for the type checker
        lock = FileLock(_folder(home) / f"{context.run.run_id}.lock")
        try:
            OWNER.folder(_folder(home))
            lock.acquire()
        except OSError as error:
            # The first step that needs the folder says what is wrong with it.
            assert context.log is not None  # noqa: S101 -- for the type checker
            context.log.warning(f"If this run is killed, nobody will notice: {_folder(home)}: {error.strerror}.")
            yield
            return
        try:
            yield
        finally:
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

    return held


def left_behind(home: Path) -> dict[str, Path]:
    """The runs that left a lock which no process holds, by run id. A lock may be seen so for a moment while its run
    begins or ends."""
    found = {}
    for path in sorted(_folder(home).glob("*.lock")):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        lock.release()
        found[path.stem] = path
    return found


def _folder(home: Path) -> Path:
    return home / "runs"
