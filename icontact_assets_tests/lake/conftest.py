"""Fixtures of the lake: empty ones, each with a database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from icontact_assets_tests.harness.postgres import Postgres
from icontact_assets_tests.harness.s3 import BUCKET, moto_s3


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


@pytest.fixture
def data_in_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty folder in S3. The service is found as AWS's programs find it."""
    with moto_s3() as found:
        for name, value in found.items():
            monkeypatch.setenv(name, value)
        yield f"s3://{BUCKET}/tables"
