"""The folder of a lake's data, and the files in it that say which lake it belongs to."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import duckdb

from icontact_assets.catalog import Session, create_once, key_of
from icontact_assets.warehouse.storage import WarehouseError

SETTING = "ICONTACT_ASSETS_DATA"
"""The variable that names the folder."""

_OWNS, _WANTS, _LEAVES = "owns", "wants", "leaves"
"""What a lake says of itself."""

_PATTERN = "icontact-lake.*"
_NAME = re.compile(rf"icontact-lake\.([0-9a-f-]{{36}})\.(\d+)\.({_OWNS}|{_WANTS}|{_LEAVES})")

_TRIES = 6
"""How often a lake looks whether another one that wants the folder too has left it."""


class _Said(NamedTuple):
    """A file that a lake wrote into the folder. What it wrote last counts. None is written twice: whoever reads such a
    file in S3 meanwhile would get an error."""

    lake: str
    """The id."""
    number: int
    state: str
    path: str

    @classmethod
    def all_of(cls, paths: Iterable[str]) -> dict[str, _Said]:
        """What each lake wrote last."""
        found = [(_NAME.fullmatch(PurePosixPath(path).name), path) for path in paths]
        return {said.lake: said for said in sorted(cls(m[1], int(m[2]), m[3], path) for m, path in found if m)}


def is_lake(session: Session) -> bool:
    """Whether a catalog has a lake's tables."""
    return bool(session.execute("SELECT to_regclass('ducklake_snapshot') IS NOT NULL").fetchall() == [(True,)])


def take_folder(connection: duckdb.DuckDBPyConnection, session: Session, data: str, catalog: str) -> None:
    """See that the folder `data` belongs to the lake of a catalog, and take it if it is nobody's.

    To a lake, the files of another one are orphans, and it deletes them. `connection` reaches the folder. `session` is
    one with the catalog, which texts call `catalog`.

    A folder in S3 has no locks. So a lake says first that it wants the folder. Then it looks whether another one says
    so, and if none does, it owns the folder. Of two that begin at once, at least one sees the other.

    Raises WarehouseError where the folder belongs to another lake or could not be taken, is in a folder that does or
    holds one, or holds Parquet files before the lake has any.
    """
    folder = _Folder(connection, data, _id(session), catalog)
    if folder.mine() == _OWNS:
        return
    with session.transaction():
        # Workers that begin to use one lake at once.
        session.execute("SELECT pg_advisory_xact_lock(%s)", [key_of("folder")])
        if folder.mine() == _OWNS:
            return
        folder.refuse(_OWNS)
        if not is_lake(session) and folder.files("**/*.parquet"):
            raise WarehouseError(
                f"The folder {data} holds Parquet files, and the catalog {catalog} has no tables yet. Another lake may "
                f"need them. Name an empty folder in {SETTING}, or remove them if no lake does."
            )
        for number in range(_TRIES):
            folder.refuse(_OWNS)
            folder.say(_WANTS)
            if not folder.others(_OWNS, _WANTS):
                folder.say(_OWNS)
                return
            folder.say(_LEAVES)
            time.sleep(random.uniform(0, 0.5 * 2**number))  # noqa: S311
        folder.refuse(_OWNS, _WANTS)
        raise WarehouseError(
            f"The folder {data} was wanted by another lake each time that this one looked. Nothing was made. Run this "
            f"again, or name another folder in {SETTING}."
        )


class _Folder:
    """The folder, as the lake of that id sees it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, data: str, lake: str, catalog: str) -> None:
        self._connection = connection
        self._data = data.rstrip("/")
        self._lake = lake
        self._catalog = catalog

    def mine(self) -> str | None:
        """What the lake says of itself."""
        said = self._here().get(self._lake)
        return said.state if said else None

    def say(self, state: str) -> None:
        """Let the lake say something else."""
        if "://" not in self._data:
            try:
                Path(self._data).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise WarehouseError(
                    f"The folder {self._data} cannot be made: {error.strerror}. Check that this user may write there, "
                    f"or name another one in {SETTING}."
                ) from error
        former = self._here().get(self._lake)
        path = f"{self._data}/icontact-lake.{self._lake}.{former.number + 1 if former else 1}.{state}"
        quoted = path.replace("'", "''")
        self._connection.execute(f"COPY (SELECT ?) TO '{quoted}' (FORMAT csv, HEADER false)", [self._catalog])

    def others(self, *states: str) -> Collection[_Said]:
        """The other lakes that say one of these of this folder, of one in it, or of one that it is in."""
        paths = self.files(f"**/{_PATTERN}")
        parts = self._data.split("/")
        for number in range(3 if "://" in self._data else 1, len(parts)):
            # Whoever may use a folder of a bucket need not have the right to list what is above it.
            with suppress(duckdb.Error):
                paths += self._glob(f"{'/'.join(parts[:number])}/{_PATTERN}")
        said = _Said.all_of(paths)
        return [one for lake, one in said.items() if lake != self._lake and one.state in states]

    def refuse(self, *states: str) -> None:
        """Raise WarehouseError if another lake says one of these."""
        for said in self.others(*states):
            [(content,)] = self._connection.execute("SELECT content FROM read_text(?)", [said.path]).fetchall()
            other = content.strip()
            raise WarehouseError(
                f"The folder {self._data} belongs to the lake of the catalog {other}, and not to that of "
                f"{self._catalog}, as {said.path} says. Each would delete the files of the other. Name another folder "
                f"in {SETTING}, which is in none of another lake and holds none. If the other lake is gone for good, "
                "remove all that is in its folder."
            )

    def files(self, pattern: str) -> list[str]:
        """The files of a pattern."""
        return self._glob(f"{self._data}/{pattern}")

    def _here(self) -> dict[str, _Said]:
        """What each lake says of this folder."""
        return _Said.all_of(self.files(_PATTERN))

    def _glob(self, pattern: str) -> list[str]:
        return [file for (file,) in self._connection.execute("SELECT file FROM glob(?)", [pattern]).fetchall()]


def _id(session: Session) -> str:
    """The id of a lake, which is drawn once."""
    create_once(
        session,
        "icontact_lake",
        "CREATE TABLE icontact_lake (id uuid NOT NULL)",
        "INSERT INTO icontact_lake VALUES (gen_random_uuid())",
    )
    [(id_,)] = session.execute("SELECT id FROM icontact_lake").fetchall()
    return str(id_)
