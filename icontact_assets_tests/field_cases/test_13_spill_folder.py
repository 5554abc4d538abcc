"""What does not fit in memory goes beside the database, whatever the working folder is, and is gone afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from icontact_assets.mapping import build
from icontact_assets.resources import open_warehouse
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import Settings
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.storage import WarehouseError
from icontact_assets.warehouse.warehouse import Warehouse

LARGE = "CREATE TEMP TABLE t AS SELECT hash(range)::VARCHAR || repeat('x', 40) AS s FROM range(400000)"


def small(warehouse: Warehouse) -> None:
    with warehouse.read() as connection:
        connection.execute("SET threads = 1")
        connection.execute(LARGE)
        [(rows,)] = connection.execute("SELECT count(*) FROM t WHERE s LIKE '%x'").fetchall()
        assert rows == 400_000
        assert list(warehouse.storage.on_this_machine("spill").iterdir())


def test_spills_go_beside_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = Warehouse(DatabaseFile(tmp_path / "warehouse.duckdb", memory_limit=20), "icontact")
    warehouse.prepare()
    monkeypatch.chdir("/proc")
    small(warehouse)
    assert not list(tmp_path.glob("*.spill"))


def test_activity_is_computed_in_little_memory_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = Warehouse(DatabaseFile(tmp_path / "warehouse.duckdb"), "icontact")
    warehouse.prepare()
    monkeypatch.chdir("/proc")
    with warehouse.write("test") as connection:
        connection.execute("SET memory_limit = '40MB'")
        connection.execute(
            "INSERT INTO icontact.raw_activity SELECT (i % 50)::VARCHAR, (hash(i) % 10000)::VARCHAR, 'open', "
            "TIMESTAMP '2026-01-01' + i * INTERVAL 1 SECOND, NULL, 0, TIMESTAMP '2026-01-01', DATE '2026-01-01' "
            "FROM range(300000) t(i)"
        )
        built = build.build_activity(connection)
        [(opens,)] = connection.execute("SELECT sum(email_open_ct) FROM icontact.icontact_activity").fetchall()
    assert (built.rows, opens) == (10_000, 300_000)


def test_the_limit_of_the_settings_holds_for_each_connection(tmp_path: Path) -> None:
    environment = {"ICONTACT_ASSETS_HOME": str(tmp_path)}
    limited = load_settings({**environment, "ICONTACT_ASSETS_MEMORY_LIMIT": "400"}, tmp_path)

    def limit(settings: Settings) -> int:
        with open_warehouse(settings).write("test") as connection:
            [(found,)] = connection.execute(
                "SELECT parse_formatted_bytes(current_setting('memory_limit')) // 1000000"
            ).fetchall()
        return int(found)

    assert abs(limit(limited) - 400) <= 1
    assert limit(load_settings(environment, tmp_path)) > 500
    assert abs(limit(limited) - 400) <= 1


def test_what_a_killed_process_spilled_is_removed(tmp_path: Path) -> None:
    warehouse = Warehouse(DatabaseFile(tmp_path / "warehouse.duckdb"), "icontact")
    left = tmp_path / "warehouse.duckdb.spill"
    left.mkdir()
    (left / "duckdb_temp_storage-0.tmp").write_text("personal")
    warehouse.prepare()
    assert not left.exists()


def test_no_room_to_spill_is_named(tmp_path: Path) -> None:
    warehouse = Warehouse(DatabaseFile(tmp_path / "warehouse.duckdb"), "icontact")
    warehouse.prepare()

    def fill() -> None:
        with warehouse.read() as connection:
            connection.execute("SET max_temp_directory_size = '1MB'")
            connection.execute("SET memory_limit = '20MB'")
            connection.execute(LARGE)

    with pytest.raises(WarehouseError, match="Give the process more memory"):
        fill()
