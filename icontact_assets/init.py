"""The folder of an account, as `icontact-assets init` makes it: settings, secrets, Dagster's own settings."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import typer
from dotenv import dotenv_values
from pydantic import SecretStr

from icontact_assets.credentials import address_fault, header_fault, id_fault
from icontact_assets.discover import visible_accounts
from icontact_assets.errors import UserError
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import PRODUCTION
from icontact_assets.terminal import say, show

DAGSTER = Path(__file__).with_name("dagster.yaml")
"""Dagster's own settings, which belong in DAGSTER_HOME."""

EXAMPLE = Path(__file__).with_name("icontact.example.yaml")
"""Settings with every key."""

_CONFIG = """\
# What is read and where to it goes. The credentials are in .env. Every key is in icontact.example.yaml.
imports:
  - name: icontact # the schema in DuckDB, and the first part of each asset key
    label: iContact
    account: {account_id}
    client_folder: {client_folder_id}
    # start_date: 2024-01-01 # the first day that can be read
    # keep_updated: true # an hourly schedule as well as the daily one
    # limits: {{per_minute: 60, per_day: 5000}} # the most requests that are asked

# People chosen from the profiles, by a SQL condition.
# audiences:
#   - name: active_readers
#     import: icontact
#     where: last_active_ts >= now()::TIMESTAMP - INTERVAL 30 DAY

# Audiences put on lists. A dry run writes nothing.
# exports:
#   - name: active_readers
#     audience: active_readers
#     list: Active readers # its id, or its exact name
#     mode: dry_run

# schedule:
#   daily_at: "02:00"
#   time_zone: UTC
"""
_ENVIRONMENT = """\
# Secrets, and where things are. `icontact-assets`, `dg` and `dagster` read this file in the folder they are started in.
# It has precedence over variables that are set elsewhere.
"""
_IGNORED = (".env", ".icontact/", "dagster/*", "!dagster/dagster.yaml", ".tmp_dagster_home_*/", "tmp*/", ".venv/")


class Credentials(NamedTuple):
    """Who asks iContact, and at which address."""

    app_id: str
    username: str
    password: SecretStr
    base_url: str = PRODUCTION

    def check(self) -> None:
        """Raise UserError naming what cannot be sent, without its value."""
        values = {"app id": self.app_id, "user name": self.username, "password": self.password.get_secret_value()}
        for name, value in values.items():
            if fault := header_fault(value) if value else "is empty":
                raise UserError(f"The {name} {fault}. Give it again. Its value is not shown.")
        if fault := address_fault(self.base_url):
            raise UserError(f"ICONTACT_BASE_URL {fault}. Write {PRODUCTION}, or unset the variable.")

    def variables(self) -> dict[str, str]:
        """The environment that they are read from."""
        found = {
            "ICONTACT_APP_ID": self.app_id,
            "ICONTACT_API_USERNAME": self.username,
            "ICONTACT_API_PASSWORD": self.password.get_secret_value(),
        }
        return found if self.base_url == PRODUCTION else {**found, "ICONTACT_BASE_URL": self.base_url}


def ask(app_id: str | None, username: str | None) -> Credentials:
    """The credentials: what is not given, and not in the environment, is asked for. Raises UserError if it cannot be
    used."""
    password = os.environ.get("ICONTACT_API_PASSWORD")
    credentials = Credentials(
        app_id or _ask("Application id (--app-id)"),
        username or _ask("User name (--username)"),
        SecretStr(password or _ask("Password (ICONTACT_API_PASSWORD)", hidden=True)),
        os.environ.get("ICONTACT_BASE_URL") or PRODUCTION,
    )
    credentials.check()
    return credentials


def choose_client_folder(credentials: Credentials, account: str | None, client_folder: str | None) -> tuple[str, str]:
    """Account and client folder: the only ones that the credentials may see, or those that the user names.

    Raises UserError if there are none, and the errors of iContact.
    """
    with TemporaryDirectory() as home:
        settings = load_settings({**credentials.variables(), "ICONTACT_ASSETS_HOME": home}, Path(home))
        found = [
            (seen.account_id, folder.client_folder_id, ", ".join(str(list_.name or "") for list_ in folder.lists))
            for seen in visible_accounts(settings)
            for folder in seen.client_folders
            if account in (None, seen.account_id) and client_folder in (None, folder.client_folder_id)
        ]
    if not found:
        raise UserError(
            "These credentials may see no such client folder: leave out --account and --client-folder, and enable the "
            "application on the account, as docs/settings.md says."
        )
    if len(found) > 1:
        show(found, headers=("account", "client folder", "lists"))
        chosen = _ask("Client folder (--client-folder)")
        found = [one for one in found if one[1] == chosen]
        if len(found) != 1:
            raise UserError(f"{chosen} is not the id of one of these client folders: name --account and it.")
    ((account_id, client_folder_id, _),) = found
    say(f"Account {account_id}, client folder {client_folder_id}.")
    return account_id, client_folder_id


def where(folder: Path) -> dict[str, str]:
    """The variables that say where everything of a folder is, whatever the working directory."""
    root = folder.resolve()
    return {
        "ICONTACT_ASSETS_CONFIG": str(root / "icontact.yaml"),
        "ICONTACT_ASSETS_HOME": str(root / ".icontact"),
        "DAGSTER_HOME": str(root / "dagster"),
    }


def refuse_if_used(folder: Path) -> None:
    """Raise UserError if a file that would be written exists."""
    paths = [folder / name for name in ("icontact.yaml", ".env", "dagster/dagster.yaml")]
    used = [str(path) for path in paths if os.path.lexists(path)]
    if used:
        raise UserError(f"{', '.join(used)}: nothing is overwritten. Name another folder, or move the file away.")


def make_folder(folder: Path, credentials: Credentials, account_id: str, client_folder_id: str) -> None:
    """Write the files of a folder, which is created where it is missing. `.env` can be read by its owner only.

    Raises UserError if a file exists, a value cannot be used, or the folder cannot be written.
    """
    credentials.check()
    for name, value in (("account", account_id), ("client folder", client_folder_id)):
        if fault := id_fault(value):
            raise UserError(f"The id of the {name} {fault}. `icontact-assets discover` shows the ids.")
    environment = _environment(credentials.variables() | where(folder))
    try:
        refuse_if_used(folder)
        if not folder.exists():
            folder.mkdir(parents=True, mode=0o700)
        _create(folder / ".env", environment, 0o600)
        _create(folder / "icontact.yaml", _CONFIG.format(account_id=account_id, client_folder_id=client_folder_id))
        (folder / EXAMPLE.name).write_text(EXAMPLE.read_text())
        (folder / "dagster").mkdir(exist_ok=True)
        _create(folder / "dagster" / "dagster.yaml", DAGSTER.read_text())
        _ignore(folder / ".gitignore", _IGNORED)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error}. Name another folder.") from error


def _ask(what: str, *, hidden: bool = False) -> str:
    try:
        return str(typer.prompt(what, hide_input=hidden)).strip()
    except typer.Abort:
        raise UserError(f"{what} was not given.") from None


def _environment(variables: Mapping[str, str]) -> str:
    lines = [_ENVIRONMENT]
    for name, value in variables.items():
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        lines.append(f"{name}='{quoted}'\n")
        if dotenv_values(stream=io.StringIO(lines[-1])) != {name: value}:
            # ${...} stands for a variable, and nothing takes that away.
            raise UserError(f"{name} cannot be written in .env: it holds ${{...}}. Choose another value.")
    return "".join(lines)


def _create(path: Path, text: str, mode: int = 0o644) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)


def _ignore(path: Path, patterns: Iterable[str]) -> None:
    """Add patterns to a .gitignore, which may be somebody's own."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    missing = [pattern for pattern in patterns if pattern not in text.splitlines()]
    if missing:
        path.write_text(text + ("\n" if text and not text.endswith("\n") else "") + "\n".join(missing) + "\n")
