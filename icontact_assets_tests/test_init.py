"""`icontact-assets init`: the folder it makes works from anywhere, shows no secret and overwrites nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster._core.secrets.env_file import get_env_var_dict
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from icontact_assets.cli import app
from icontact_assets.errors import UserError
from icontact_assets.init import Credentials, make_folder
from icontact_assets.settings.load import load_settings
from icontact_assets_tests.harness import Project

ASKED = ("ICONTACT_APP_ID", "ICONTACT_API_USERNAME", "ICONTACT_API_PASSWORD")


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing set, in an empty folder. What a command sets is gone afterwards."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("ICONTACT_", "DAGSTER_")):
            del os.environ[name]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    yield
    os.environ.clear()
    os.environ.update(before)


def run(*arguments: str, typed: str = "", **environment: str) -> Result:
    done = CliRunner().invoke(app, list(arguments), input=typed, env={"COLUMNS": "400", **environment})
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done


def test_init_asks_and_the_folder_works(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "new" / "account"
    url = project.environment["ICONTACT_BASE_URL"]
    typed = "".join(f"{project.environment[name]}\n" for name in ASKED) + "7601\n"
    made = run("init", str(folder), typed=typed, ICONTACT_BASE_URL=url)
    assert made.exit_code == 0, made.output
    assert "7602" in made.output, "what can be chosen is not shown"
    assert project.environment["ICONTACT_API_PASSWORD"] not in made.output
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        ".env",
        ".gitignore",
        "icontact.yaml",
        "icontact.example.yaml",
        "dagster/dagster.yaml",
    }
    assert not list(Path.cwd().iterdir())

    monkeypatch.chdir(folder)
    checked = run("doctor")
    assert checked.exit_code == 0, checked.output
    for path in ("icontact.yaml", ".env", ".icontact", ".icontact/warehouse.duckdb", "dagster"):
        assert f"{folder / path}" in checked.output
    assert "watches runs" in checked.output
    # Dagster reads the same, in this folder and in any other.
    assert load_settings(get_env_var_dict("."), tmp_path) == load_settings()


def test_init_with_flags_asks_nobody_and_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.csv")
    flags = ("--app-id", "app", "--username", "me", "--account", "1", "--client-folder", "2")
    made = run("init", str(tmp_path), *flags, ICONTACT_API_PASSWORD="planted secret")
    assert made.exit_code == 0, made.output
    settings = load_settings(get_env_var_dict(str(tmp_path)))
    (import_,) = settings.imports
    assert import_.ready() == ("1", "2")
    assert import_.authorization.credentials() == ("app", "me", "planted secret")
    assert (tmp_path / ".gitignore").read_text().splitlines()[:2] == ["*.csv", ".env"]

    before = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    again = run("init", str(tmp_path), *flags, ICONTACT_API_PASSWORD="another secret")
    assert again.exit_code == 1
    assert "nothing is overwritten" in again.output
    assert {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert "secret" not in made.output + again.output


def test_init_that_is_told_too_little_says_what_is_missing(tmp_path: Path) -> None:
    refused = run("init", str(tmp_path / "new"), "--app-id", "app")
    assert refused.exit_code == 1
    assert "User name (--username) was not given." in refused.output
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("password", ["it's", '"', "a\\b\\'c", "#1", "a=b", "$HOME", "`id`", "\\", "a # b", "%x"])
def test_a_password_is_read_as_it_was_given(tmp_path: Path, password: str) -> None:
    make_folder(tmp_path / "new", Credentials("app", "me", SecretStr(password)), "1", "2")
    assert get_env_var_dict(str(tmp_path / "new"))["ICONTACT_API_PASSWORD"] == password


@pytest.mark.parametrize("password", ["", "two\nlines", "${HOME}secret", " secret"])
def test_a_password_that_cannot_be_kept_is_refused_unseen(tmp_path: Path, password: str) -> None:
    with pytest.raises(UserError) as refused:
        make_folder(tmp_path / "new", Credentials("app", "me", SecretStr(password)), "1", "2")
    assert "secret" not in str(refused.value)
    assert not (tmp_path / "new").exists()


def test_what_env_says_has_precedence_as_in_dagster(tmp_path: Path) -> None:
    Path(".env").write_text("ICONTACT_START_DATE=yesterday\n")
    assert "found 'yesterday'" in run("doctor", ICONTACT_START_DATE="2026-01-01").output
    Path(".env").write_bytes(b"A=\xff")
    refused = run("doctor")
    assert refused.exit_code == 1
    assert f"{Path.cwd() / '.env'} cannot be read" in refused.output
