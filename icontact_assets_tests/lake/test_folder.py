"""The folder of the data belongs to one lake: another one would delete its files as orphans."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from icontact_assets.warehouse import lake_folder
from icontact_assets.warehouse.lake import DuckLake
from icontact_assets.warehouse.storage import WarehouseError
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.harness.postgres import Postgres


@pytest.fixture(params=["disk", "s3"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder."""
    return str(tmp_path / "data") if request.param == "disk" else request.getfixturevalue("data_in_s3")


class Worker:
    """A process on a machine of its own: no engine of others is used."""

    made = 0

    def __init__(self, postgres: Postgres, database: str, data: str, folder: Path) -> None:
        Worker.made += 1
        self.lake = DuckLake(postgres.conninfo(database), data, folder / f"work{Worker.made}")

    def add(self, n: int) -> list[int]:
        """Write a number, and return all."""
        with Warehouse(self.lake).write("a test") as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS numbers (n INTEGER)")
            # Too many rows to be kept in the catalog.
            connection.execute("INSERT INTO numbers SELECT ? FROM range(100)", [n])
            return [n for (n,) in connection.execute("SELECT DISTINCT n FROM numbers ORDER BY n").fetchall()]

    def ends(self, n: int) -> str:
        """What became of it."""
        try:
            return str(self.add(n))
        except WarehouseError as error:
            return str(error)


def tables(postgres: Postgres, database: str) -> list[tuple[Any, ...]]:
    return postgres.execute("SELECT tablename FROM pg_tables WHERE starts_with(tablename, 'ducklake_')", database)


def test_another_lake_is_refused_before_it_is_made_and_both_are_named(
    postgres: Postgres, data: str, tmp_path: Path
) -> None:
    first, second = postgres.database(), postgres.database()
    assert Worker(postgres, first, data, tmp_path).add(1) == [1]
    with pytest.raises(WarehouseError, match="belongs to the lake of the catalog") as caught:
        Worker(postgres, second, f"{data}/", tmp_path).add(1)
    assert f"{first} on 127.0.0.1" in str(caught.value)
    assert f"{second} on 127.0.0.1" in str(caught.value)
    assert "Name another folder in ICONTACT_ASSETS_DATA" in str(caught.value)
    for folder in (f"{data}/inside", data.rpartition("/")[0]):
        with pytest.raises(WarehouseError, match=f"The folder {folder} belongs to the lake of the catalog {first} on"):
            Worker(postgres, second, folder, tmp_path).add(1)
    assert tables(postgres, second) == []
    assert Worker(postgres, first, data, tmp_path).add(2) == [1, 2]
    assert Worker(postgres, second, f"{data}-2", tmp_path).add(3) == [3]


def test_of_two_lakes_that_begin_at_once_one_is_refused(
    postgres: Postgres, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, say = threading.Barrier(2), lake_folder._Folder.say
    waits = [together.wait, together.wait]

    def say_together(folder: lake_folder._Folder, state: str) -> None:
        say(folder, state)
        if state == "wants" and waits:
            waits.pop()()

    monkeypatch.setattr(lake_folder._Folder, "say", say_together)
    databases = [postgres.database(), postgres.database()]
    workers = [Worker(postgres, database, data, tmp_path) for database in databases]
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(Worker.ends, workers, (1, 1)))
    refused = [n for n in (0, 1) if ends[n] != "[1]"]
    assert len(refused) == 1, ends
    [other] = refused
    assert "belongs to the lake of the catalog" in ends[other]
    assert tables(postgres, databases[other]) == []
    again = [Worker(postgres, database, data, tmp_path).ends(2) for database in databases]
    assert again[1 - other] == "[1, 2]"
    assert "belongs to the lake of the catalog" in again[other]


def test_a_folder_that_could_not_be_taken_is_not_used(
    postgres: Postgres, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if another lake had wanted it each time, and had left it after the last.
    monkeypatch.setattr(lake_folder, "_TRIES", 0)
    database = postgres.database()
    assert "was wanted by another lake" in Worker(postgres, database, data, tmp_path).ends(1)
    assert tables(postgres, database) == []


def test_workers_that_begin_to_use_one_lake_at_once_all_do(postgres: Postgres, catalog: str, tmp_path: Path) -> None:
    workers = [Worker(postgres, catalog, str(tmp_path / "data"), tmp_path) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        ends = list(pool.map(Worker.add, workers, range(3)))
    assert max(ends, key=len) == [0, 1, 2]
    assert len(list((tmp_path / "data").glob("icontact-lake.*.owns"))) == 1


@pytest.mark.parametrize("killed", [False, True])
def test_a_lake_whose_folder_does_not_say_so_takes_it_and_a_new_one_does_not(
    postgres: Postgres, tmp_path: Path, killed: bool
) -> None:
    first, second, data = postgres.database(), postgres.database(), tmp_path / "data"
    Worker(postgres, first, str(data), tmp_path).add(1)
    wants, owns = sorted(data.glob("icontact-lake.*"))
    owns.unlink()
    if not killed:
        wants.unlink()
    with pytest.raises(WarehouseError, match=r"holds Parquet files, .* Name an empty folder in ICONTACT_ASSETS_DATA"):
        Worker(postgres, second, str(data), tmp_path).add(1)
    assert Worker(postgres, first, str(data), tmp_path).add(2) == [1, 2]
    assert len(list(data.glob("icontact-lake.*.owns"))) == 1


def test_a_folder_that_the_catalog_does_not_name_is_not_taken(postgres: Postgres, catalog: str, tmp_path: Path) -> None:
    Worker(postgres, catalog, str(tmp_path / "data"), tmp_path).add(1)
    with pytest.raises(WarehouseError, match=r"does not match existing data path in the catalog"):
        Worker(postgres, catalog, str(tmp_path / "other"), tmp_path).add(2)
    assert not (tmp_path / "other").exists()
