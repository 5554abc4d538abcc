"""A world in a file: the plan it began with, and every write since. Carried out again, they give the same world."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import orjson
from filelock import FileLock, Timeout

from icontact_assets.sandbox.seed import Plan

_VERSION = 1
"""Of the file and of the worlds that plans mean. It counts up when either changes."""

AHEAD_DAYS = 400
"""A kept world is invented so far beyond its beginning."""

EDIT = "EDIT"
"""The method of a write through the back door."""


class KeptError(Exception):
    """A file that holds no world, or one that another sandbox has. The text names it and the remedy."""


class Write(NamedTuple):
    """What changed the world."""

    at: int
    """When, in Unix time on the sandbox's clock."""
    method: str
    """Of HTTP, or EDIT."""
    path: str
    body: str


class Kept:
    """The file of one world, for one sandbox at a time: a line with the plan, then one for each write.

    The world of an empty or missing file begins at `now` with `plan`. Else `plan` is what the file says. Raises
    KeptError.
    """

    def __init__(self, path: Path, plan: Plan, now: int) -> None:
        self._path = path
        self._lock = FileLock(path.with_name(f"{path.name}.lock"))
        try:
            self._lock.acquire(timeout=0)
            self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b")
        except Timeout:
            raise KeptError(f"Another sandbox has {path}. End it, or name another file.") from None
        except OSError as error:
            raise KeptError(f"{path} cannot be used: {error.strerror}. Name another file.") from error
        self.plan, self.began = replace(plan, ahead=AHEAD_DAYS), now
        self.writes: list[Write] = []
        lines = list(self._whole_lines())
        if not lines:
            self._append({"version": _VERSION, "began": now, **asdict(self.plan)})
            return
        self.plan, self.began = _beginning(path, lines[0])
        try:
            self.writes = [Write(**orjson.loads(line)) for line in lines[1:]]
        except (ValueError, TypeError) as error:
            raise _no_world(path) from error

    def _whole_lines(self) -> Iterator[bytes]:
        """The lines of the file. A last one without an end was cut by a kill, before anybody was told of the write."""
        good = 0
        for line in self._file.readlines():
            if not line.endswith(b"\n"):
                self._file.truncate(good)
                break
            good += len(line)
            yield line

    def note(self, write: Write) -> None:
        """Keep one write."""
        self._append(write._asdict())

    def _append(self, facts: dict[str, object]) -> None:
        self._file.write(orjson.dumps(facts, option=orjson.OPT_APPEND_NEWLINE))
        self._file.flush()


def began_at(path: Path) -> int:
    """When the world in a file began, in Unix time. Raises KeptError."""
    try:
        with path.open("rb") as file:
            return _beginning(path, file.readline())[1]
    except OSError as error:
        raise KeptError(f"{path} cannot be read: {error.strerror}.") from error


def _beginning(path: Path, line: bytes) -> tuple[Plan, int]:
    try:
        facts = orjson.loads(line)
        if facts.pop("version") != _VERSION:
            raise ValueError
        began = int(facts.pop("began"))
        return Plan(**facts), began
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _no_world(path) from error


def _no_world(path: Path) -> KeptError:
    return KeptError(f"{path} holds no world of this version of the sandbox. Remove it, or name another file.")
