"""What looks like a number in icontact.yaml stays as it is written wherever a name or an id belongs."""

from __future__ import annotations

from pathlib import Path

import pytest

from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import Settings, SettingsError

DATA = Path(__file__).parent / "data" / "08-yaml-numbers"


def load(path: Path) -> Settings:
    return load_settings({"ICONTACT_ASSETS_CONFIG": str(path), "ICONTACT_APP_ID": "x"}, path.parent)


def test_the_digits_of_the_reported_files() -> None:
    assert load(DATA / "crashes.yaml").export("everybody").list == "08"
    assert load(DATA / "other-list.yaml").export("everybody").list == "0123"
    import_ = load(DATA / "other-account.yaml").import_named("news")
    assert (import_.account_id, import_.client_folder_id) == ("01300001", "07601")


@pytest.mark.parametrize(
    "value",
    [
        "08",
        "0123",
        "0x1F",
        "0o17",
        "1_000",
        "1e3",
        ".5",
        "12:30:00",
        "+7",
        "yes",
        "No",
        "on",
        "off",
        "2026-01-01",
        "=",
        "true",
    ],
)
def test_whatever_looks_like_another_kind_is_the_text_that_is_written(tmp_path: Path, value: str) -> None:
    path = tmp_path / "icontact.yaml"
    path.write_text(
        f"authorizations:\n  - {{name: a, app_id: {value}, username: {value}, password: '${{P}}'}}\n"
        f"audiences:\n  - {{name: a, label: {value}, description: {value}, import: icontact, where: {value}}}\n"
        f"exports:\n  - {{name: e, audience: a, list: {value}, mode: mirror, remove: {{move_to: the other {value}}}}}\n"
    )
    settings = load(path)
    audience, export = settings.audience("a"), settings.export("e")
    assert (audience.label, audience.description, audience.where) == (value, value, value)
    assert (export.list, export.remove and export.remove.move_to) == (value, f"the other {value}")


def test_numbers_and_truths_are_read_where_they_belong(tmp_path: Path) -> None:
    path = tmp_path / "icontact.yaml"
    path.write_text(
        "imports:\n  - {name: a, account: 1, client_folder: 2, keep_updated: yes, limits: {per_second: .5, per_day: 08}}\n"
    )
    import_ = load(path).import_named("a")
    assert (import_.keep_updated, import_.limits.per_second, import_.limits.per_day) == (True, 0.5, 8)
    path.write_text("imports:\n  - {name: a, account: 0x1F, client_folder: 2}\n")
    with pytest.raises(SettingsError, match=r":2: imports\[0\].account: is not a number"):
        load(path)
