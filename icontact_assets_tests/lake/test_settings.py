"""The variables that name a lake: what they may hold, and that no error shows a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from icontact_assets.settings import lake
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import SettingsError

GOOD = "ducklake:postgres:host=127.0.0.1 dbname=x user=u password=planted-secret"


def refused(folder: Path, **variables: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings({f"ICONTACT_ASSETS_{name.upper()}": text for name, text in variables.items()}, folder)
    assert "planted-secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


@pytest.mark.parametrize(
    "address", [GOOD, "ducklake:postgres:postgresql://u:planted-secret@127.0.0.1:5433/x?connect_timeout=3"]
)
def test_both_variables_name_a_lake(tmp_path: Path, address: str) -> None:
    settings = load_settings({"ICONTACT_ASSETS_WAREHOUSE": address, "ICONTACT_ASSETS_DATA": "here"}, tmp_path)
    assert settings.lake is not None
    assert settings.lake.data == str(tmp_path / "here")
    assert "planted-secret" not in repr(settings)


@pytest.mark.parametrize(
    "address",
    [
        "postgres:dbname=x password=planted-secret",
        "ducklake:sqlite:planted-secret.db",
        "ducklake:postgres:",
        "ducklake:postgres:planted-secret",
        "ducklake:postgres:host=x user=y",
        "ducklake:postgres:dbname=x unknown=planted-secret",
        "ducklake:postgres:dbname=x\nuser=y",
        "ducklake:postgres:postgresql://u:planted-secret@[::1/x",
    ],
)
def test_an_address_of_something_else_is_refused_without_its_value(tmp_path: Path, address: str) -> None:
    said = refused(tmp_path, warehouse=address, data="here")
    assert said.startswith("ICONTACT_ASSETS_WAREHOUSE ")
    assert "Write ducklake:postgres:host=" in said


def test_a_catalog_in_sqlite_is_refused_for_what_it_loses(tmp_path: Path) -> None:
    assert "SQLite loses what two runs commit at once" in refused(tmp_path, warehouse="ducklake:sqlite:x.db", data="d")


@pytest.mark.parametrize("variables", [{"warehouse": GOOD}, {"data": "here"}])
def test_one_of_both_is_refused(tmp_path: Path, variables: dict[str, str]) -> None:
    said = refused(tmp_path, **variables)
    assert "ICONTACT_ASSETS_WAREHOUSE" in said
    assert "ICONTACT_ASSETS_DATA" in said
    assert "Set " in said


@pytest.mark.parametrize("data", ["gs://bucket/x", "https://x.example", "s3://", "s3://a\nb"])
def test_data_elsewhere_is_refused(tmp_path: Path, data: str) -> None:
    assert refused(tmp_path, warehouse=GOOD, data=data).startswith("ICONTACT_ASSETS_DATA is ")


def test_missing_packages_are_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake, "find_spec", lambda name: None if name == "duckdb_extension_ducklake" else object())
    said = refused(tmp_path, warehouse=GOOD, data="here")
    assert "duckdb_extension_ducklake" in said
    assert "pip install 'icontact_assets[lake]'" in said
