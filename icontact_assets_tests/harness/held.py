"""A database that stays open between the steps of a test: opening and closing it takes longer than most steps do."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from icontact_assets import resources
from icontact_assets.warehouse import file
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.warehouse import Warehouse

SCHEMA = "icontact"


@dataclass
class _Held:
    """A file that is open, and its lock."""

    connection: Any = None
    opened: ExitStack = field(default_factory=ExitStack)
    lock: ExitStack = field(default_factory=ExitStack)
    in_use: bool = False


_held: dict[Path, _Held] = {}
_kept: set[Path] = set()
"""The databases that the project under test keeps open too."""


class _HeldFile(DatabaseFile):
    def let_go(self) -> None:
        held = _held.pop(self.path, None)
        if held is not None:
            held.opened.close()
            held.lock.close()

    @contextmanager
    def turn(self, purpose: str | None, schemas: Collection[str] | None = None) -> Iterator[None]:
        if self.path not in _held:
            held = _Held()
            held.lock.enter_context(super().turn("a test"))
            _held[self.path] = held
        held = _held[self.path]
        assert not held.in_use, "a connection inside another would wait for its lock for ever"
        held.in_use = True
        try:
            yield
        finally:
            held.in_use = False

    @contextmanager
    def attached(self, *, read_only: bool, users_sql: str | None = None) -> Iterator[Any]:
        """Without what a file needs that is opened anew: its modes, its spill folder, a thread that heeds signals."""
        held = _held[self.path]
        if held.connection is None:
            spill = self.path.with_name(f"{self.path.name}.spill")
            held.connection = held.opened.enter_context(self._opened(spill, ""))
        connection = held.connection.cursor()
        connection.execute("USE warehouse_file")
        try:
            if users_sql is not None:
                file.close_to_users(connection)
            yield connection
        finally:
            connection.close()
            if users_sql is not None:
                # Its configuration is locked for good.
                held.opened.close()
                held.connection = None


class HeldWarehouse(Warehouse):
    """The warehouse in the file at `path`, whose connections are cursors of one that is open until `let_go`. All of a
    file share it.

    That a reading cannot write is not so here. Everything that is written is in the file when it is let go. Until then its lock is kept, and others wait for it.
    """

    def __init__(self, path: Path, schema: str | None = None) -> None:
        self._file = _HeldFile(path)
        super().__init__(self._file, schema)

    @property
    def path(self) -> Path:
        return self._file.path

    def let_go(self) -> None:
        """Close the file, for another process or to look at it otherwise. The next connection opens it again."""
        self._file.let_go()


@cache
def _prepared() -> tuple[Path, TemporaryDirectory[str]]:
    """A database with the tables of an import, as an empty one gets them, and the folder that it is in."""
    folder = TemporaryDirectory()
    warehouse = HeldWarehouse(Path(folder.name) / "prepared.duckdb", SCHEMA)
    warehouse.prepare()
    warehouse.let_go()
    return warehouse.path, folder


def keep_open(path: Path) -> None:
    """From now on the project, in this process, opens the database at `path` once. Until it is let go, others wait. A
    new one has its tables already: to make them takes longer than to copy them.

    Only inside `databases_kept_open`."""
    if path in _kept or resources.DatabaseFile is not file_at:
        return
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_prepared()[0], path)
    _kept.add(path)


def let_go(path: Path) -> None:
    """Close a database that is kept open, for another process or to look at its file. It is opened again when it is
    asked for."""
    _HeldFile(path).let_go()


def let_all_go() -> None:
    """Close those that the project keeps open. From now on it opens each anew for each step."""
    for path in _kept:
        let_go(path)
    _kept.clear()


def file_at(path: Path, **options: Any) -> DatabaseFile:
    """What the project makes of its settings in place of a `DatabaseFile`."""
    return (_HeldFile if path in _kept else DatabaseFile)(path, **options)


@contextmanager
def databases_kept_open() -> Iterator[None]:
    """Those of projects that ask for it."""
    with mock.patch.object(resources, "DatabaseFile", file_at):
        yield
