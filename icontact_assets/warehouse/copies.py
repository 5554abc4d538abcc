"""Whole copies of a database file, put in place by a rename. Whoever has the former file open keeps it."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icontact_assets.private import Readers

_CHUNK = 64 * 1024 * 1024
"""Bytes copied at once. A signal is handled in between."""

# What the kernel says where it cannot copy by itself: another file system, or one that does not know how.
_BY_HAND = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def is_copy(source: Path, copy: Path) -> bool:
    """Whether `copy` was made of the file as it is now. Raises OSError if there is no source."""
    wanted = source.stat()
    try:
        found = copy.stat()
    except FileNotFoundError:
        return False
    return (found.st_size, found.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns)


def publish(source: Path, target: Path, readers: Readers) -> bool:
    """Put a copy of the file at `target`, unless one of it as it is now is there. Whether a copy was made.

    Nobody may write to it, and `readers` may read it. Raises BlockingIOError if a program has the source open for
    writing, OSError.
    """
    fresh = target.with_name(f".{target.name}.new")
    # A killed process may have left it.
    fresh.unlink(missing_ok=True)
    if is_copy(source, target):
        return False
    readers.folder(target.parent)
    try:
        with _closed_to_writers(source) as original:
            _copy(original, fresh, 0o400)
        readers.restrict(fresh)
        # Left by somebody who wrote to the former copy. DuckDB would look for it beside the new one.
        target.with_name(target.name + ".wal").unlink(missing_ok=True)
        _rename(fresh, target)
    finally:
        fresh.unlink(missing_ok=True)
    return True


def replace_by_copy(path: Path, fresh: Path) -> None:
    """Put a copy of the file in its own place, with its owner and mode. `fresh` is a name on the same file system.

    Programs that have it open for reading go on reading the former file. Raises BlockingIOError if one has it open for
    writing, OSError.
    """
    path = path.resolve()
    found = path.stat()
    if found.st_nlink > 1:
        raise OSError(errno.EMLINK, "the file has a second name (a hard link)")
    try:
        with _closed_to_writers(path) as original:
            _copy(original, fresh, 0o600)
            os.chown(fresh, found.st_uid, found.st_gid)
            shutil.copystat(path, fresh)
            _rename(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def _closed_to_writers(path: Path) -> Iterator[int]:
    """The file, open for reading. No program opens it for writing meanwhile. Raises BlockingIOError if one has it."""
    original = os.open(path, os.O_RDONLY)
    try:
        # DuckDB's own lock: those who read share it, and one who writes has it alone.
        fcntl.lockf(original, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield original
    finally:
        os.close(original)


def _copy(original: int, path: Path, mode: int) -> None:
    """A file with the content and the time of change of the original, safe on the disk."""
    found = os.fstat(original)
    copy = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        done = 0
        while done < found.st_size and (copied := _copy_chunk(original, copy, done)):
            done += copied
        os.fchmod(copy, mode)
        os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.fsync(copy)
    finally:
        os.close(copy)


def _copy_chunk(original: int, copy: int, at: int) -> int:
    """Copy some bytes. How many."""
    try:
        # Where the file system can, both files share the bytes until one of them changes.
        return os.copy_file_range(original, copy, _CHUNK, at, at)
    except AttributeError:
        pass
    except OSError as error:
        if error.errno not in _BY_HAND:
            raise
    return os.pwrite(copy, os.pread(original, _CHUNK, at), at)


def _rename(fresh: Path, target: Path) -> None:
    os.replace(fresh, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
