"""What the credentials may see in iContact: accounts, client folders and lists, with their ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from icontact_assets.icontact.folder import Account, Folder
from icontact_assets.icontact.session import Session
from icontact_assets.icontact.values import as_flag, as_id
from icontact_assets.resources import open_session
from icontact_assets.settings.models import Settings


@dataclass(frozen=True)
class VisibleList:
    """A list of a client folder."""

    list_id: str | None
    name: object
    """As iContact sent it."""


@dataclass(frozen=True)
class VisibleFolder:
    """A client folder of an account."""

    client_folder_id: str
    lists: tuple[VisibleList, ...]


@dataclass(frozen=True)
class VisibleAccount:
    """An account of the user."""

    account_id: str
    company: object
    """As iContact sent it."""
    enabled: bool
    client_folders: tuple[VisibleFolder, ...]
    """None are read of an account that is not enabled."""


def visible_accounts(settings: Settings) -> list[VisibleAccount]:
    """What each authorization of the settings may see. Raises SettingsError and the errors of iContact."""
    found = []
    for import_ in {import_.authorization.name: import_ for import_ in settings.imports}.values():
        session = open_session(settings, import_, tries=2)
        for row in Account(session).accounts():
            account_id, enabled = str(as_id(row.get("accountId"))), bool(as_flag(row.get("enabled")))
            folders = _folders(session, account_id) if enabled else ()
            found.append(VisibleAccount(account_id, row.get("companyName"), enabled, folders))
    return found


def _folders(session: Session, account_id: str) -> tuple[VisibleFolder, ...]:
    folders = []
    for row in Account(session).client_folders(account_id):
        folder_id, lists = str(as_id(row.get("clientFolderId"))), _Rows()
        Folder(session, account_id, folder_id).lists(lists)
        folders.append(
            VisibleFolder(folder_id, tuple(VisibleList(as_id(r.get("listId")), r.get("name")) for r in lists.rows))
        )
    return tuple(folders)


class _Rows:
    """A sink that keeps the rows."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def start(self) -> None:
        self.rows = []

    def page(self, offset: int, rows: list[dict[str, Any]]) -> None:  # noqa: ARG002 (a Sink)
        self.rows += rows
