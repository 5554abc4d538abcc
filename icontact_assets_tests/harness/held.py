"""A database that stays open between the steps of a test: opening and closing it takes longer than most steps do."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from icontact_assets.warehouse import file
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.warehouse import Warehouse


@dataclass
class _Held:
    """A file that is open, and its lock."""

    connection: Any = None
    opened: ExitStack = field(default_factory=ExitStack)
    lock: ExitStack = field(default_factory=ExitStack)
    in_use: bool = False


_held: dict[Path, _Held] = {}


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
        try:
            connection = _cursor(held.connection) if held.connection else None
        except duckdb.InvalidInputException:
            # Whoever runs SQL of the settings locks the configuration: that is for good.
            held.opened.close()
            connection = None
        if connection is None:
            spill = self.path.with_name(f"{self.path.name}.spill")
            held.connection = held.opened.enter_context(self._opened(spill, ""))
            connection = _cursor(held.connection)
        try:
            if users_sql is not None:
                file.close_to_users(connection)
            yield connection
        finally:
            connection.close()


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


def _cursor(engine: Any) -> Any:
    connection = engine.cursor()
    connection.execute("USE warehouse_file")
    return connection
