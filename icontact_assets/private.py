"""Who may read the files that hold personal data: their owner, and one group if it is named, whatever the umask."""

from __future__ import annotations

import errno
import grp
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

# A file system without modes, or one that is mounted for reading: who may read there is up to whoever mounted it.
_NO_MODES = (errno.EPERM, errno.EROFS, errno.ENOTSUP, errno.ENOSYS)

_umask_lock = threading.Lock()
_umask_users = 0
_umask_before = 0


@dataclass(frozen=True)
class Readers:
    """Who may read what is kept. `gid`: the group whose members may, beside the owner."""

    gid: int | None = None

    @classmethod
    def of_group(cls, name: str) -> Readers:
        """The owner and the members of a group. Raises ValueError saying what is wrong with the name."""
        try:
            gid = grp.getgrnam(name).gr_gid
        except (KeyError, ValueError):
            raise ValueError("which is no group of this machine") from None
        if os.geteuid() != 0 and gid not in (os.getegid(), *os.getgroups()):
            raise ValueError("which this user is not a member of")
        return cls(gid)

    def folder(self, path: Path) -> None:
        """Create a folder, with those above it that are missing. Restrict what was created, else the folder. Raises
        OSError."""
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        self.restrict(*(missing or [path]))

    def create(self, path: Path, *, locks: bool = False) -> None:
        """Create a file where it is missing, with its folder, and restrict it. A folder that exists may hold more than
        ours, so it stays as it is. Raises OSError.

        `locks`: a file without personal data, which readers too must open for writing.
        """
        if not path.parent.exists():
            self.folder(path.parent)
        # Without O_NONBLOCK a pipe of that name would be waited for.
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NONBLOCK, 0o600))
        self._restrict(path, locks)

    def sqlite(self, path: Path) -> None:
        """Create an SQLite file where it is missing, and restrict it with those beside it. SQLite gives new ones beside
        it the mode that it has itself. Raises OSError."""
        self.create(path)
        self.restrict(*(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")))

    def restrict(self, *paths: Path) -> None:
        """Restrict those of these files and folders that exist and are ours. Raises OSError."""
        for path in paths:
            self._restrict(path, locks=False)

    def _restrict(self, path: Path, locks: bool) -> None:
        try:
            found = path.stat()
        except OSError:
            # Whoever opens it says what is in the way.
            return
        is_folder = stat.S_ISDIR(found.st_mode)
        if found.st_uid != os.geteuid() or (is_folder and _is_used_otherwise(found)):
            return
        shared = 0o050 if is_folder else 0o060 if locks else 0o040
        mode = found.st_mode & 0o700 | (shared if self.gid is not None else 0)
        try:
            if self.gid is not None and found.st_gid != self.gid:
                os.chown(path, -1, self.gid)
            if stat.S_IMODE(found.st_mode) != mode:
                path.chmod(mode)
        except OSError as error:
            if error.errno not in _NO_MODES:
                raise


def _is_used_otherwise(folder: os.stat_result) -> bool:
    """Whether a folder that a setting names is plainly not ours alone: /tmp, a home directory, the working folder."""
    others = [Path(os.path.expanduser("~"))]
    # The working folder may have been deleted.
    with suppress(FileNotFoundError):
        others += [Path.cwd(), *Path.cwd().parents]
    return bool(folder.st_mode & stat.S_ISVTX) or any(
        os.path.samestat(folder, other.stat()) for other in others if other.exists()
    )


OWNER = Readers()
"""Nobody but the owner."""


@contextmanager
def created_for_the_owner() -> Iterator[None]:
    """What this process creates inside the block, whichever library does it, only its owner may read."""
    global _umask_users, _umask_before
    # The umask is the whole process's: the first thread that comes sets it, the last one that goes puts it back.
    with _umask_lock:
        if _umask_users == 0:
            _umask_before = os.umask(0o077)
        _umask_users += 1
    try:
        yield
    finally:
        with _umask_lock:
            _umask_users -= 1
            if _umask_users == 0:
                os.umask(_umask_before)
