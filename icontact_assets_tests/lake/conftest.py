"""Fixtures of the lake: empty ones, each with a database of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from icontact_assets_tests.harness.postgres import Postgres


@pytest.fixture
def catalog(postgres: Postgres) -> str:
    """The name of an empty database."""
    return postgres.database()


@pytest.fixture
def variables(postgres: Postgres, catalog: str, tmp_path: Path) -> dict[str, str]:
    """The variables that name an empty lake."""
    return {
        "ICONTACT_ASSETS_WAREHOUSE": f"ducklake:postgres:{postgres.conninfo(catalog)}",
        "ICONTACT_ASSETS_DATA": str(tmp_path / "data"),
    }
