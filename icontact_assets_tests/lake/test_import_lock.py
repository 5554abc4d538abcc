"""Two workers and one import: one has it at a time, and what the other one kept never lands over what is newer."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from icontact_assets import catalog as catalog_module
from icontact_assets.ingest import changes
from icontact_assets.ingest.changes import read_changes
from icontact_assets.ingest.context import ImportContext, staged
from icontact_assets.ingest.staging import Listing, StagingError
from icontact_assets.ingest.window import Window
from icontact_assets.resources import open_context, reading, storage_of
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import Settings
from icontact_assets.warehouse.storage import WarehouseError
from icontact_assets_tests.harness import Project, days_ago
from icontact_assets_tests.harness.postgres import Postgres

YESTERDAY = Window(days_ago(1), days_ago(1))
TODAY = Window(days_ago(0), days_ago(0))

CONTACTS = Listing("contacts")


@pytest.fixture
def workers(project: Project, variables: dict[str, str], tmp_path: Path) -> tuple[Settings, Settings]:
    """The settings of two machines that share a lake, and no disk."""
    first, other = (
        load_settings({**project.environment, **variables, "ICONTACT_ASSETS_HOME": str(tmp_path / home)}, tmp_path)
        for home in ("first", "other")
    )
    return first, other


def context(settings: Settings) -> AbstractContextManager[ImportContext]:
    return open_context(settings, settings.imports[0], purpose="run 1", warn=lambda _: None)


def read_and_die(settings: Settings) -> None:
    """Leave a verified read of all contacts that did not land."""
    with context(settings) as reading:
        changes._read(reading, CONTACTS, not_before=reading.clock())


def rename(project: Project, name: str) -> str:
    """Change a contact, and return its id."""
    contact: str = project.sandbox.control("truth")["contacts"][0]["contact_id"]
    project.sandbox.control("contacts/update", contact_id=int(contact), fields={"firstName": name})
    return contact


def names(settings: Settings, contact: str) -> list[tuple[Any, ...]]:
    with reading(settings) as connection:
        return connection.execute(
            "SELECT first_name FROM icontact.raw_contacts WHERE id = ? ORDER BY partition_date", [contact]
        ).fetchall()


def test_one_worker_at_a_time_has_an_import_and_the_other_is_told_which(
    workers: tuple[Settings, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_module, "_FIRST_WORD_SECONDS", 0.05)
    first, other = map(storage_of, workers)
    told = list[str]()
    with staged(first, "icontact", "id", purpose="run 1"):
        second = staged(other, "icontact", "id", purpose="run 2", wait_seconds=1, waiting=told.append)
        with pytest.raises(StagingError, match=r"Another run is reading this import: process \d+@\S+ run 1, since 2"):
            second.__enter__()
        with staged(other, "another", "id", purpose="run 3", wait_seconds=0):
            pass
    assert "run 1" in told[0]
    with staged(other, "icontact", "id", purpose="run 2", wait_seconds=0):
        pass


def test_what_a_worker_kept_lands_when_nobody_came_between_and_never_over_what_is_newer(
    project: Project, workers: tuple[Settings, Settings], postgres: Postgres, catalog: str
) -> None:
    first, other = workers
    contact = rename(project, "Before")
    read_and_die(first)
    asked = len(project.requests())
    with context(first) as reading:
        read_changes(reading, "contacts", YESTERDAY)
    assert len(project.requests()) == asked
    assert names(first, contact) == [("Before",)]

    rename(project, "Stale")
    read_and_die(first)
    rename(project, "Newer")
    with context(other) as reading:
        read_changes(reading, "contacts", TODAY)
    with context(first) as reading:
        read_changes(reading, "contacts", TODAY)
        assert names(first, contact)[-1] == ("Newer",)

        # A worker that lives, and whose lock is lost.
        read = changes._read(reading, CONTACTS, not_before=reading.clock())
        postgres.disconnect(catalog)
        rename(project, "Newest")
        with context(other) as taken_over:
            read_changes(taken_over, "contacts", TODAY)
        with pytest.raises(WarehouseError, match=r"The lock of icontact\.staging in the catalog was lost"):
            changes._land(reading, read, TODAY)
    assert names(other, contact)[-1] == ("Newest",)
