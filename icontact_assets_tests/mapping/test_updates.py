"""What an update of the mapped tables computes when the raw tables changed since, and that it is what all would give."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from icontact_assets.mapping.build import build_activity, build_users
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.mapping.test_build import NOW, add_contact, add_event, fresh

DAY = timedelta(days=1)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Twelve events of four contacts, mapped in a transaction of their own."""
    warehouse = Warehouse(DatabaseFile(tmp_path / "warehouse.duckdb"), "icontact")
    with warehouse.write("test") as connection:
        for n in range(12):
            kind = ("open", "click", "bounce")[n % 3]
            url = f"https://example.org/{n % 2}" if kind == "click" else None
            add_event(connection, kind, str(n % 4), NOW + n * DAY, url)
    with warehouse.write("test") as connection:
        assert build_activity(connection).full
    return warehouse


def rows(connection: duckdb.DuckDBPyConnection, table: str) -> list[tuple[object, ...]]:
    return connection.execute(f"SELECT * FROM icontact.{table} ORDER BY ic_contact_id").fetchall()


def test_new_events_are_merged_into_the_rows_of_their_contacts(warehouse: Warehouse) -> None:
    with warehouse.write("test") as connection:
        before = rows(connection, "icontact_activity")
        add_event(connection, "click", "1", NOW - DAY, "https://example.org/1?again")
        add_event(connection, "click", "1", NOW + 90 * DAY, "https://example.org/new")
        add_event(connection, "open", "2", NOW, None)
        add_event(connection, "unsubscribe", "9", NOW, None)
    with warehouse.write("test") as connection:
        built = build_activity(connection)
        assert (built.rows, built.computed, built.full) == (5, 3, False)
        merged = rows(connection, "icontact_activity")
        assert [row[0] for row in merged if row not in before] == ["1", "2", "9"]
        assert before[2][-1]
        assert merged[2][-1] == before[2][-1]
        assert build_activity(connection, everything=True).full
        assert rows(connection, "icontact_activity") == merged


@pytest.mark.parametrize("come", [0, 1, 5])
def test_events_that_somebody_removed_are_noticed(warehouse: Warehouse, come: int) -> None:
    with warehouse.write("test") as connection:
        connection.execute("DELETE FROM raw_activity WHERE contact_id = '1'")
    with warehouse.write("test") as connection:
        connection.execute(
            "INSERT INTO raw_activity SELECT '501', '2', 'open', $at, NULL, n, $at, $at::DATE FROM range($n) t(n)",
            {"at": NOW + 99 * DAY, "n": come},
        )
    with warehouse.write("test") as connection:
        assert build_activity(connection).full
        assert [row[0] for row in rows(connection, "icontact_activity")] == ["0", "2", "3"]


def test_a_database_of_an_earlier_version_is_computed_in_full_once(warehouse: Warehouse) -> None:
    with warehouse.write("test") as connection:
        connection.execute("UPDATE mapping_state SET table_name = NULL, source_rows = NULL, source_end = NULL")
    for full in (True, False):
        with warehouse.write("test") as connection:
            assert build_activity(connection).full is full
            assert connection.execute("SELECT count(*) FROM mapping_state").fetchall() == [(1,)]


def test_only_contacts_with_a_new_version_are_computed() -> None:
    with fresh() as connection:
        for n in range(9):
            add_contact(connection, id=str(n), email=f"p{n}@example.org", city="Ulm", first_name="Ann")
        assert build_users(connection).full
        assert build_users(connection).computed == 0
        add_contact(connection, NOW + DAY, id="3", email="P Three <P3@Example.org>", city="", first_name="Eve")
        add_contact(connection, NOW + DAY, id="9", email="p9@example.org")
        built = build_users(connection)
        assert (built.rows, built.computed, built.full) == (10, 2, False)
        updated = rows(connection, "icontact_users")
        connection.execute("DELETE FROM mapping_state")
        assert build_users(connection).full
        assert rows(connection, "icontact_users") == updated
        assert build_users(connection).computed == 0


def test_a_version_that_replaced_another_of_its_day_is_computed() -> None:
    with fresh() as connection:
        for n in range(9):
            add_contact(connection, id=str(n), city="Ulm")
        build_users(connection)
        connection.execute("UPDATE raw_contacts SET city = 'Bonn' WHERE id = '3'")
        connection.execute("INSERT INTO changed_contacts VALUES ('3', ?)", [NOW])
        assert build_users(connection).computed == 1
        cities = connection.execute("SELECT ic_contact_id FROM icontact_users WHERE city = 'Bonn'").fetchall()
        assert cities == [("3",)]
        connection.execute("DELETE FROM raw_contacts WHERE id = '5'")
        assert build_users(connection).full
