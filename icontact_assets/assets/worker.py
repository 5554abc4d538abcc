"""What surrounds a run: a lock that says that its process lives, and at its end the published copy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout

from icontact_assets.errors import UserError
from icontact_assets.private import OWNER
from icontact_assets.resources import storage_of
from icontact_assets.settings.models import Settings


@cache
def worker(settings: Settings) -> Mapping[str, dg.ResourceDefinition]:
    """Holds the lock of a run while its steps are executed, and then renews the published copy.

    By the key under which assets require it: Dagster sets it up once a run, before the first step. In one run there may
    be assets of other settings too, which have imports of other names.
    """

    @dg.resource(description="A lock that says that the run's process lives. At the end, the copy for reading.")
    def held(context: dg.InitResourceContext) -> Iterator[None]:
        assert context.run is not None  # noqa: S101 -- for the type checker
        assert context.log is not None  # noqa: S101 -- for the type checker
        with _alive(settings.home, context.run.run_id, context.log):
            yield
            _publish(settings, context.log)

    return {f"icontact_worker_{settings.imports[0].name}": held}


@contextmanager
def _alive(home: Path, run_id: str, log: dg.DagsterLogManager) -> Iterator[None]:
    """The lock of a run. A kill leaves its file unlocked."""
    # Of several settings with the same home, all hold it.
    lock = FileLock(_folder(home) / f"{run_id}.lock", is_singleton=True)
    try:
        OWNER.folder(_folder(home))
        lock.acquire()
    except OSError as error:
        # The first step that needs the folder says what is wrong with it.
        log.warning(f"If this run is killed, nobody will notice: {_folder(home)}: {error.strerror}.")
        yield
        return
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _publish(settings: Settings, log: dg.DagsterLogManager) -> None:
    began = time.monotonic()
    try:
        if copy := storage_of(settings, waiting=log.warning).publish():
            log.info(f"Published the tables in {copy} in {time.monotonic() - began:.1f} s.")
    except UserError as error:
        # What the run has read is stored. The next run that changes a table publishes again.
        log.warning(f"Whoever reads the published copy sees the tables of an earlier run. {error}")


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
