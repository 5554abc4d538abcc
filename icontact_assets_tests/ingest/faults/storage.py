"""A full disk, a locked database, a folder that cannot be written to."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from icontact_assets_tests.harness import ACTIVITY, Stage, check_equal, contents, only
from icontact_assets_tests.ingest.faults.growth import grow, news
from icontact_assets_tests.ingest.faults.play import SMALL, Impossible, Play, Row, told

SOME = only("contacts", "messages", "sends", "activity")
OTHERS = ("lists", "subscriptions")


def check_untouched(before: Mapping[str, list[Any]], after: Mapping[str, list[Any]]) -> None:
    """Every row that was stored is stored; what was stored whole before the error stays."""
    for table in before:
        if table != "statistics":
            assert not Counter(map(str, before[table])) - Counter(map(str, after[table])), table


def much_comes(stage: Stage) -> None:
    for round_ in range(2):
        grow(stage, round_)
    for number in range(300):
        stage.sandbox.control("contacts/add", email=f"new{number}@example.com")


def disk_small(left: int) -> Callable[[Stage], str]:
    """A file system with only so many bytes left (needs the right to mount one): a clear error, tables as they were."""

    def play(stage: Stage) -> str:
        disk = stage.folder / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(disk)], capture_output=True)
        if mounted.returncode:
            raise Impossible("this user may not mount a small file system")
        try:
            news(stage)
            stage.keeps_open = False
            project, changed = stage.project(ICONTACT_ASSETS_HOME=str(disk / "state")), only("contacts", "activity")
            assert stage.run(project, selection=SOME).green
            much_comes(stage)
            before = contents(project)
            filler = disk / "filler"
            filler.write_bytes(b"x" * (shutil.disk_usage(disk).free - left))
            ended = stage.run(project, selection=changed)
            assert ended.red
            check_untouched(before, contents(project))
            filler.unlink()
            assert stage.run(project, selection=changed).green
            check_equal(project, leave_out=OTHERS)
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
        return told(ended)

    return play


HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Another program has the database open, and does not know our lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        try:
            yield
        finally:
            other.kill()


def locked(stage: Stage) -> str:
    news(stage)
    project = stage.project(ICONTACT_ASSETS_LOCK_WAIT="1", ICONTACT_ASSETS_PUBLISH="true")
    assert stage.run(project, selection=SOME).green
    before = contents(project)
    grow(stage, 0)
    with held(project.settings.duckdb_path):
        ended = stage.run(project, selection=only("contacts", "activity"))
    assert ended.red
    for words in ended.red.values():
        assert "is open in another program" in words
        assert "Close it there" in words
        assert f"To read, open {project.settings.published_path} instead" in words
    assert contents(project) == before
    assert stage.run(project, selection=ACTIVITY).green
    check_equal(project, leave_out=OTHERS)
    return told(ended)


_WRITE_AND_READ_ANYTHING = 1 << 1 | 1 << 2
"""Linux's CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""


@contextmanager
def without_rights() -> Iterator[None]:
    """Root may write anywhere: this thread, and those that it starts, give that up for a while."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    # Effective, permitted and inheritable rights, the first 32 of each and then the others.
    rights = (ctypes.c_uint32 * 6)()
    if libc.capget(header, rights):
        raise Impossible("this machine does not tell which rights a thread has")
    effective = rights[0]
    rights[0] = effective & ~_WRITE_AND_READ_ANYTHING
    assert libc.capset(header, rights) == 0
    try:
        yield
    finally:
        rights[0] = effective
        assert libc.capset(header, rights) == 0


def unwritable(stage: Stage) -> str:
    """The folder of the database cannot be written to. Root may write anywhere: its right to do so is given up."""
    news(stage)
    stage.keeps_open = False
    project = stage.project()
    assert stage.run(project, selection=SOME).green
    before = contents(project)
    grow(stage, 0)
    folder = project.settings.duckdb_path.parent
    paths = [folder, *folder.rglob("*")]
    modes = [path.stat().st_mode for path in paths]
    for path, mode in zip(paths, modes, strict=True):
        path.chmod(mode & ~0o222)
    try:
        with without_rights():
            ended = stage.run(project, selection=SOME)
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)
    assert ended.red
    for words in ended.red.values():
        assert "cannot be used" in words or "cannot be written" in words
        assert str(folder) in words
    assert contents(project) == before
    assert stage.run(project, selection=ACTIVITY).green
    check_equal(project, leave_out=OTHERS)
    return told(ended)


def no_folder(stage: Stage) -> str:
    """The database's folder cannot be made: a file stands where it should be."""
    blocked = stage.folder / "file"
    blocked.write_text("")
    stage.keeps_open = False
    project = stage.project(ICONTACT_ASSETS_DUCKDB=str(blocked / "folder" / "warehouse.duckdb"))
    ended = stage.run(project)
    assert ended.red
    for words in ended.red.values():
        assert "cannot be used" in words
        assert str(blocked) in words
    return told(ended).removesuffix("; equal once it is over")


STORAGE = Row(
    "disk full, database locked by another program, read-only folder",
    "clear error; old tables intact",
    [
        Play("a disk with 0 kB left", disk_small(0), SMALL),
        Play("a disk with 60 kB left", disk_small(60_000), SMALL, tested="too"),
        Play("a disk with 300 kB left", disk_small(300_000), SMALL),
        Play("locked by another program", locked, SMALL, tested="too"),
        Play("read-only folder", unwritable, SMALL, tested="too"),
        Play("a file in place of the folder", no_folder, tested="too"),
    ],
)
