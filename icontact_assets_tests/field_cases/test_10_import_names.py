"""Names that DuckDB takes for itself in a connection of ours are refused when the settings are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import SettingsError
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.warehouse import Warehouse

DATA = Path(__file__).parent / "data" / "10-import-names"


def test_the_reported_name_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"icontact.yaml:4: imports\[0\].name: found 'memory'. A name is"):
        load_settings({}, DATA)


def test_every_name_that_duckdb_has_in_a_connection_of_ours_is_refused(tmp_path: Path) -> None:
    warehouse = Warehouse(DatabaseFile(tmp_path / "warehouse.duckdb"))
    with warehouse.write("test") as connection:
        taken = connection.execute(
            "SELECT database_name FROM duckdb_databases() UNION SELECT schema_name FROM duckdb_schemas()"
        ).fetchall()
    assert len(taken) > 5
    for (name,) in taken:
        (tmp_path / "icontact.yaml").write_text(f"imports:\n  - {{name: {name}, account: 1, client_folder: 2}}\n")
        with pytest.raises(SettingsError, match=re.escape("imports[0].name")):
            load_settings({}, tmp_path)


@pytest.mark.parametrize("name", ["select", "order", "warehouse", "raw_contacts"])
def test_every_other_word_of_sql_works(tmp_path: Path, name: str) -> None:
    (tmp_path / "icontact.yaml").write_text(f"imports:\n  - {{name: {name}, account: 1, client_folder: 2}}\n")
    warehouse = Warehouse(DatabaseFile(tmp_path / "warehouse.duckdb"), load_settings({}, tmp_path).imports[0].name)
    with warehouse.write("test") as connection:
        connection.execute(f"INSERT INTO \"{name}\".hashed_links VALUES ('a', NULL)")
    with warehouse.read() as connection:
        assert connection.execute(f'SELECT event_url FROM "{name}".hashed_links').fetchall() == [("a",)]
