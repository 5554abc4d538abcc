"""What docs/lake.md says to do is done here: the role and its database, and reading from a notebook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from icontact_assets.resources import open_warehouse, storage_of
from icontact_assets.settings.load import load_settings
from icontact_assets_tests.harness.postgres import Postgres

PAGE = (Path(__file__).parents[2] / "docs" / "lake.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def test_the_role_and_the_database_of_the_docs_are_enough(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for statement in block("sql").strip().split("\n"):
        postgres.execute(statement)
    try:
        conninfo = postgres.conninfo("icontact", "icontact")
        variables = {
            "ICONTACT_ASSETS_WAREHOUSE": f"ducklake:postgres:{conninfo}",
            "ICONTACT_ASSETS_DATA": str(tmp_path / "data"),
        }
        settings = load_settings(variables, tmp_path)
        with open_warehouse(settings).write("a test") as connection:
            connection.execute("CREATE SCHEMA icontact")
            connection.execute("CREATE TABLE icontact.raw_contacts (id VARCHAR, status VARCHAR, observed_at TIMESTAMP)")
            connection.execute("INSERT INTO icontact.raw_contacts VALUES ('7', 'normal', '2026-09-14 12:00')")
        assert storage_of(settings).rights_too_many() is None

        monkeypatch.chdir(tmp_path)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        seen: dict[str, Any] = {}
        exec(block("python"), seen)
        assert seen["contacts"].to_dict("records")[0]["id"] == "7"
    finally:
        postgres.drop("icontact")
        postgres.execute("DROP ROLE icontact")
