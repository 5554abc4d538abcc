"""`~` in a path is the home directory, though no shell expanded it."""

from __future__ import annotations

from pathlib import Path

import pytest

from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import SettingsError

EXPORT = """
audiences:
  - {name: a, import: icontact, where: "true"}
exports:
  - {name: e, audience: a, list: 1, suppression: {file: "~/never.csv"}}
"""


def test_a_tilde_is_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    (tmp_path / "me").mkdir()
    (tmp_path / "me" / "icontact.yaml").write_text(EXPORT)
    environment = {"ICONTACT_ASSETS_HOME": "~/icontact", "ICONTACT_ASSETS_CONFIG": "~/icontact.yaml"}
    for folder in ("one", "other"):
        settings = load_settings(environment, tmp_path / folder)
        assert settings.home == tmp_path / "me" / "icontact"
        assert settings.duckdb_path == tmp_path / "me" / "icontact" / "warehouse.duckdb"
        suppression = settings.export("e").suppression
        assert suppression is not None
        assert suppression.file == tmp_path / "me" / "never.csv"
    settings = load_settings(environment | {"ICONTACT_ASSETS_DUCKDB": "~/a.duckdb"}, tmp_path)
    assert settings.duckdb_path == tmp_path / "me" / "a.duckdb"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ICONTACT_ASSETS_HOME", "~nobody-of-that-name/x", "there is no such home directory"),
        ("ICONTACT_ASSETS_DUCKDB", "x\x1by", "a character that no path should"),
        ("ICONTACT_ASSETS_DUCKDB", "x" * 5000, "too long for a path"),
        ("ICONTACT_ASSETS_CONFIG", "x/" * 3000, "too long for a path"),
        ("ICONTACT_ASSETS_HOME", "\udcff", "a character that no path should"),
    ],
)
def test_what_is_no_path_is_named(tmp_path: Path, name: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({name: value}, tmp_path)
    assert str(caught.value).startswith(name)
    assert says in str(caught.value)
    assert len(str(caught.value).encode()) < 300
