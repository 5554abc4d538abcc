"""`warehouse copy`: all of the file is in the lake then, and all of the lake in the file. Nothing else is lost by it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from icontact_assets.ingest.context import staged
from icontact_assets.ingest.staging import Poll
from icontact_assets.resources import budget_of, file_and_lake
from icontact_assets.settings.models import SettingsError
from icontact_assets.warehouse.storage import Storage
from icontact_assets.warehouse.transfer import Copied, CopyRefused, copy
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.harness import Project, execute

GUIDE = Path(__file__).parents[2] / "docs" / "lake.md"


def contents(storage: Storage) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, in the order in which it was stored, and of every view."""
    with Warehouse(storage).read() as connection:
        names = connection.execute(
            "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'icontact' ORDER BY 1"
        ).fetchall()
        return {
            name: connection.execute(
                f"FROM icontact.{name} ORDER BY {'rowid' if kind == 'BASE TABLE' else 'ALL'}"
            ).fetchall()
            for name, kind in names
        }


def copied(source: Storage, target: Storage) -> Iterator[Copied]:
    return copy(source, target, waiting=lambda _: None, tell=lambda _: None)


@pytest.fixture
def places(imported: Project, variables: dict[str, str]) -> tuple[Storage, Storage]:
    """A file in which the daily job ran, and an empty lake."""
    imported.environment |= variables
    return file_and_lake(imported.settings)


def test_the_guide_moves_to_the_lake_and_back(
    imported: Project, places: tuple[Storage, Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, lake = places
    imported.environment["ICONTACT_REQUESTS_PER_DAY"] = "100"
    in_lake = imported.settings
    in_file = in_lake.model_copy(update={"lake": None})
    budgets = [budget_of(settings, settings.imports[0]) for settings in (in_file, in_lake)]
    for _ in range(3):
        budgets[0].take()
    monkeypatch.chdir(imported.home)
    for name, value in imported.environment.items():
        monkeypatch.setenv(name, value)
    there, back = re.findall(r"^icontact-assets warehouse copy .*$", GUIDE.read_text(), re.MULTILINE)
    before = contents(file)
    assert len(before["raw_activity"]) > 100
    for place in places:
        with staged(place, "icontact", "id", purpose="a run that was killed") as (staging, _):
            staging.keep_poll(Poll("1", datetime.now(UTC), {}))
    assert "0 were there already" in execute(there)
    assert contents(lake) == before
    budgets[1].take()
    Path(file.where).rename(imported.home / "former")
    assert "0 were there already" in execute(back)
    assert contents(file) == before
    assert [budget.left_today() for budget in budgets] == [96, 96]
    with Warehouse(lake).read() as connection:
        members = connection.execute("SELECT count(*) FROM icontact.audience_on('readers', today())").fetchall()
    assert members == [(len(before["audience_members"]),)]
    # What waited in either place is older than what was copied there.
    for place in places:
        with staged(place, "icontact", "id", purpose="the next run") as (staging, _):
            assert staging.polls() == []
    # What was computed in the file counts in the lake.
    result = imported.run('key:"icontact/icontact_activity"')
    assert imported.metadata(result, "icontact_activity")["None"]["all_computed"] is False


def test_a_second_call_copies_what_is_missing_or_changed_and_loses_nothing(
    places: tuple[Storage, Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, lake = places
    # A kill, between two transactions.
    monkeypatch.setattr("icontact_assets.warehouse.transfer._BATCH", 500)
    begun = copied(file, lake)
    first = next(begun)
    begun.close()
    tables = {one.table: one.was_there for one in copied(file, lake)}
    assert tables[first.table]
    assert not all(tables.values())
    assert contents(lake) == contents(file)

    with Warehouse(file).write("a run") as connection:
        connection.execute("DELETE FROM icontact.raw_lists WHERE rowid = 1")
        connection.execute("INSERT INTO icontact.opt_outs (contact_id) VALUES ('1')")
    assert [one.table for one in copied(file, lake) if not one.was_there] == ["opt_outs", "raw_lists"]
    before = contents(file)
    assert contents(lake) == before

    with Warehouse(lake).write("a run") as connection:
        connection.execute("INSERT INTO icontact.opt_outs (contact_id) VALUES ('2')")
    with pytest.raises(CopyRefused, match=r"icontact\.opt_outs in .* not as a copy left it. Nothing was copied"):
        list(copied(file, lake))
    there = contents(lake)
    assert [id_ in row for id_, row in zip("12", there["opt_outs"][-2:], strict=True)] == [True, True]
    assert there | {"opt_outs": []} == before | {"opt_outs": []}


def test_many_rows_keep_their_order(places: tuple[Storage, Storage]) -> None:
    file, lake = places
    with Warehouse(file).write("a run") as connection:
        connection.execute("INSERT INTO icontact.touched_contacts SELECT range, NULL FROM range(600_000)")
    list(copied(file, lake))
    with Warehouse(lake).read() as connection:
        [(rows, moved)] = connection.execute(
            "SELECT count(*), count(*) FILTER (rowid <> contact_id::BIGINT) FROM icontact.touched_contacts "
            "WHERE touched_at IS NULL"
        ).fetchall()
    assert (rows, moved) == (600_000, 0)


def test_another_databases_data_is_not_replaced(places: tuple[Storage, Storage]) -> None:
    file, lake = places
    with Warehouse(lake, "icontact").write("a run of another") as connection:
        connection.execute("INSERT INTO import_source (database_id, service) VALUES ('another', 'loopback')")
    with pytest.raises(CopyRefused, match="holds other data as icontact: import_source"):
        list(copied(file, lake))
    with Warehouse(lake).read() as connection:
        assert connection.execute("SELECT database_id FROM icontact.import_source").fetchall() == [("another",)]


@pytest.mark.parametrize("name", ["icontact.staging", "icontact.exports"])
@pytest.mark.parametrize("busy", ["file", "lake"])
def test_nothing_is_copied_while_somebody_is_at_work(
    places: tuple[Storage, Storage], busy: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, lake = places
    monkeypatch.setattr("icontact_assets.warehouse.transfer._LOCK_SECONDS", 0.0)
    holder = {"file": file, "lake": lake}[busy]
    with (
        holder.lock(name, "reads contacts", wait_seconds=0, waiting=lambda _: None),
        pytest.raises(CopyRefused, match=r"icontact in .* is in use by process .*reads contacts.* Nothing was copied"),
    ):
        list(copied(file, lake))
    assert not lake.exists()


def test_a_copy_needs_room(places: tuple[Storage, Storage], monkeypatch: pytest.MonkeyPatch) -> None:
    file, lake = places
    monkeypatch.setattr(type(lake), "room", lambda _: 1_000_000)
    with pytest.raises(CopyRefused, match=r"has room for 1 MB more, and a copy may take .* MB\. Nothing was"):
        list(copied(file, lake))
    assert not lake.exists()


def test_without_a_lake_the_command_says_which_variables_are_missing(imported: Project) -> None:
    with pytest.raises(SettingsError, match="ICONTACT_ASSETS_WAREHOUSE and ICONTACT_ASSETS_DATA"):
        file_and_lake(imported.settings)
