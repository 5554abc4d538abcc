"""What DuckLake leaves to its users: replaces at once, conflicts, keys, macros, and a catalog that goes away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import duckdb
import pytest

from icontact_assets.resources import open_warehouse, reading, storage_of
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import Settings
from icontact_assets.warehouse.lake import DuckLake
from icontact_assets.warehouse.storage import WarehouseError
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.harness.place import InLake
from icontact_assets_tests.harness.postgres import Postgres

DAY = date(2026, 9, 14)


@pytest.fixture
def settings(variables: dict[str, str], tmp_path: Path) -> Settings:
    """A lake with a table of days."""
    settings = load_settings(variables, tmp_path)
    with open_warehouse(settings).write("a test") as connection:
        connection.execute("CREATE TABLE days (day DATE, n INTEGER)")
        connection.execute("CREATE TABLE others (n INTEGER)")
    return settings


def rows(settings: Settings, table: str = "days") -> list[tuple[object, ...]]:
    with reading(settings) as connection:
        return connection.execute(f"FROM {table} ORDER BY ALL").fetchall()


def replace(connection: duckdb.DuckDBPyConnection, n: int, day: date = DAY) -> None:
    connection.execute("DELETE FROM days WHERE day = ?", [day])
    connection.execute("INSERT INTO days VALUES (?, ?)", [day, n])


@pytest.fixture
def no_lock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Writers do not wait for each other."""
    monkeypatch.setattr(DuckLake, "_lock_schemas", lambda *_: None)
    return


def inside(settings: Settings, n: int) -> None:
    """A whole transaction of another thread."""

    def write() -> None:
        with open_warehouse(settings).write("the other") as connection:
            replace(connection, n)

    with ThreadPoolExecutor(1) as other:
        other.submit(write).result()


def test_two_replaces_of_a_day_that_is_not_there_yet_leave_it_once(settings: Settings) -> None:
    together = threading.Barrier(2)

    def write(n: int) -> None:
        for day in range(1, 6):
            together.wait()
            with open_warehouse(settings).write("a test") as connection:
                replace(connection, n, DAY.replace(day=day))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, (1, 2)))
    assert [day for day, _ in rows(settings)] == [DAY.replace(day=day) for day in range(1, 6)]


def test_two_that_make_the_lake_at_once_both_write_to_it(variables: dict[str, str], tmp_path: Path) -> None:
    settings, together = load_settings(variables, tmp_path), threading.Barrier(2)

    def prepare(schema: str) -> list[tuple[object, ...]]:
        warehouse = Warehouse(storage_of(settings), schema)
        together.wait()
        warehouse.prepare()
        with warehouse.read() as connection:
            return connection.execute("SELECT count(*) FROM raw_contacts").fetchall()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(prepare, ("one", "two"))) == [[(0,)], [(0,)]]


@pytest.mark.usefixtures("no_lock")
def test_without_the_lock_such_a_day_would_be_there_twice(settings: Settings) -> None:
    with open_warehouse(settings).write("a test") as connection:
        replace(connection, 1)
        inside(settings, 2)
    assert rows(settings) == [(DAY, 1), (DAY, 2)]


@pytest.mark.usefixtures("no_lock")
def test_two_deletions_of_one_row_conflict_and_nothing_of_the_second_is_kept(settings: Settings) -> None:
    inside(settings, 1)

    def write() -> None:
        with open_warehouse(settings).write("a test") as connection:
            connection.execute("INSERT INTO others VALUES (7)")
            replace(connection, 3)
            inside(settings, 2)

    with pytest.raises(WarehouseError, match=r"cannot be used: .*Failed to commit"):
        write()
    assert (rows(settings), rows(settings, "others")) == ([(DAY, 2)], [])


def test_macros_views_and_maps_are_as_in_a_file(lakes: InLake, tmp_path: Path) -> None:
    warehouse = lakes.warehouse(tmp_path)
    with warehouse.write("a test") as connection:
        connection.execute("CREATE TABLE maps (n INTEGER)")
        connection.execute("ALTER TABLE maps ADD COLUMN counts MAP(VARCHAR, BIGINT)")
        connection.execute("INSERT INTO maps VALUES (1, MAP {'a': 2}), (2, MAP {}), (3, NULL)")
        connection.execute("INSERT INTO audience_computations VALUES ('everybody', '2026-09-14 12:00', 'v', NULL)")
        connection.execute(
            "INSERT INTO audience_changes SELECT 'everybody', range, 'entered', '2026-09-14 12:00', 'v' FROM range(3)"
        )
    with warehouse.read() as connection:
        assert connection.execute("FROM maps ORDER BY n").fetchall() == [(1, {"a": 2}), (2, {}), (3, None)]
        for macro in ("audience_on", "icontact.audience_on", "warehouse_file.icontact.audience_on"):
            assert connection.execute(f"SELECT count(*) FROM {macro}('everybody', '2026-09-15')").fetchall() == [(3,)]
        assert connection.execute("FROM labelled_activity").fetchall() == []
        with pytest.raises(duckdb.Error, match="was not computed by the end of 2026-09-13"):
            connection.execute("FROM audience_on('everybody', DATE '2026-09-13')")


def test_while_the_catalog_is_gone_nothing_is_half_written_and_the_next_run_is_right(
    settings: Settings, postgres: Postgres
) -> None:
    inside(settings, 1)

    def write() -> None:
        with open_warehouse(settings).write("a test") as connection:
            replace(connection, 2)
            connection.execute("INSERT INTO others VALUES (2)")
            postgres.stop()

    try:
        with pytest.raises(WarehouseError, match=r"Check that PostgreSQL runs"):
            write()
        for ask in (storage_of(settings).exists, lambda: rows(settings)):
            with pytest.raises(WarehouseError, match=r"cannot be used: .*Check that PostgreSQL runs"):
                ask()
    finally:
        postgres.start()
    assert (rows(settings), rows(settings, "others")) == ([(DAY, 1)], [])
    inside(settings, 3)
    assert rows(settings) == [(DAY, 3)]
