"""Where tests keep tables: in a file or in a lake. Only what is in here knows which."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import pytest

from icontact_assets.resources import storage_of
from icontact_assets.settings.load import load_settings
from icontact_assets.warehouse import warehouse
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.harness.held import SCHEMA, HeldWarehouse
from icontact_assets_tests.harness.postgres import Postgres

on_both = pytest.mark.parametrize("place", ["file", pytest.param("lake", marks=pytest.mark.lake)], indirect=True)
"""For tests of which `make test-lake` runs a second time, with the tables in a lake."""


class Held(Warehouse):
    """A warehouse of tests, to be let go at the end."""

    def let_go(self) -> None:
        """Close what is open. The next connection opens it again."""


class Place(Protocol):
    """A kind of storage. What is made once and copied for each test is a *template*."""

    name: str

    def variables(self, folder: Path) -> dict[str, str]:
        """The variables of settings that name an empty storage. What is a file of it is below `folder`."""

    def copied(self, variables: dict[str, str]) -> dict[str, str]:
        """The variables of a copy of a storage. Its home, if it has files in there, is copied by the caller."""

    def warehouse(self, folder: Path, template: Warehouse | None = None) -> HeldWarehouse | Held:
        """The tables of an import, in a storage of its own: a copy of the template, or empty ones."""


@dataclass(frozen=True)
class InFile:
    """The database file in the home."""

    name: str = "file"

    def variables(self, folder: Path) -> dict[str, str]:
        return {}

    def copied(self, variables: dict[str, str]) -> dict[str, str]:
        return variables

    def warehouse(self, folder: Path, template: Warehouse | None = None) -> HeldWarehouse:
        found = HeldWarehouse(folder / "warehouse.duckdb", SCHEMA)
        if template is not None:
            shutil.copy(template.storage.where, found.path)
            # As this process left it, too: to look takes longer than most steps.
            warehouse._ready[found.storage.where, SCHEMA, None] = found.storage.version()
        return found


class InLake:
    """Lakes with a PostgreSQL database each. A copy shares the folder of data: no file in it is written twice."""

    name = "lake"

    def __init__(self, postgres: Postgres, folder: Path) -> None:
        self._postgres = postgres
        self._folder = folder

    def variables(self, folder: Path) -> dict[str, str]:
        return self.copied(self._prepared)

    def copied(self, variables: dict[str, str]) -> dict[str, str]:
        template = variables["ICONTACT_ASSETS_WAREHOUSE"].rpartition("dbname=")[2]
        # Engines that are kept are connected, and nobody may be.
        self._postgres.disconnect(template)
        return {**variables, **self._named(self._postgres.database(template))}

    def warehouse(self, folder: Path, template: Warehouse | None = None) -> Held:
        variables = self._of.get(template.storage.where) if template is not None else None
        return self._open(self.copied(variables or self._prepared), folder)

    def _open(self, variables: dict[str, str], folder: Path) -> Held:
        held = Held(storage_of(load_settings(variables, folder)), SCHEMA)
        self._of[held.storage.where] = variables
        return held

    @cached_property
    def _of(self) -> dict[str, dict[str, str]]:
        """The variables of each storage."""
        return {}

    @cached_property
    def _prepared(self) -> dict[str, str]:
        """A lake with the tables of an import, made once: to make them takes longer than most tests."""
        variables = {
            **self._named(self._postgres.database()),
            "ICONTACT_ASSETS_DATA": str(self._folder / "data"),
            "ICONTACT_ASSETS_HOME": str(self._folder / "home"),
        }
        self._open(variables, self._folder).prepare()
        return variables

    def _named(self, database: str) -> dict[str, str]:
        return {"ICONTACT_ASSETS_WAREHOUSE": f"ducklake:postgres:{self._postgres.conninfo(database)}"}
