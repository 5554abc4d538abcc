"""A database knows whose data it holds: another client folder, account or service is refused before anything is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from icontact_assets.cli import app
from icontact_assets.ingest.staging import Poll, Staging
from icontact_assets.ingest.window import Window
from icontact_assets.resources import open_export
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.tables import RAW_TABLES
from icontact_assets.warehouse.warehouse import OtherSource, Source, Warehouse
from icontact_assets_tests.harness import AUDIENCE, Project, days_ago

OWN = Source("app.icontact.com/icp", "1300001", "7601")


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    return [
        str(event.step_failure_data.user_failure_data.description)
        for event in result.all_events
        if event.is_step_failure and event.step_failure_data.user_failure_data
    ]


def doctor(project: Project, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.chdir(project.home)
    done = CliRunner().invoke(app, ["doctor"], env={**project.environment, "COLUMNS": "200"})
    return done.exit_code, " ".join(done.output.replace("│", " ").split())


def test_another_client_folder_is_refused_before_anything_is_asked(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.config = AUDIENCE
    window = Window(days_ago(1), days_ago(1))
    assert project.run('key:"icontact/raw_contacts" or key:"icontact/raw_lists"', window).success
    assert doctor(project, monkeypatch)[0] == 0
    counted = "SELECT " + ", ".join(f"(SELECT count(*) FROM icontact.{table.name})" for table in RAW_TABLES)
    before = project.rows(counted)

    project.environment["ICONTACT_CLIENT_FOLDER_ID"] = "7602"
    asked = len(project.requests())
    again = {"icontact_assets/reread": "true"}
    said = failures(project.run('key:"icontact/raw_contacts" or key:"icontact/raw_activity"', window, **again))
    said += failures(project.run('key:"icontact/icontact_users" or key:"icontact/audience_readers"'))
    assert len(said) == 4
    with pytest.raises(OtherSource) as caught:
        open_export(project.settings, project.settings.export("readers"))
    assert len(project.requests()) == asked
    code, told = doctor(project, monkeypatch)
    assert code == 1
    for text in (*said, str(caught.value), told):
        assert "holds, as icontact, account 1300001, client folder 7601 of loopback/icp." in text
        assert "name account 1300001, client folder 7602 of loopback/icp." in text
        assert "another name in icontact.yaml" in text
    assert project.rows(counted) == before


ELSEWHERE = """
imports:
  - {name: icontact, account: "${ICONTACT_ACCOUNT_ID}", client_folder: "${ICONTACT_CLIENT_FOLDER_ID}"}
  - {name: other, account: "${ICONTACT_ACCOUNT_ID}", client_folder: "7602"}
audiences:
  - {name: readers, import: icontact, where: "last_active_ts IS NOT NULL"}
exports:
  - {name: readers, audience: readers, list: Export target, mode: add, client_folder: "7602", match: email}
"""


def test_an_export_relies_on_the_tables_of_its_lists_folder_only_if_they_hold_its_data(project: Project) -> None:
    project.config = ELSEWHERE
    settings = project.settings
    Warehouse(DatabaseFile(settings.duckdb_path), "icontact").prepare()
    context = open_export(settings, settings.export("readers"))
    assert context.folder_schema == "other"
    # That import never ran: nobody opted out there as far as is known, and there are tables to say so.
    assert project.rows("SELECT count(*) FROM other.opt_outs") == [(0,)]

    asked = len(project.requests())
    claim(Warehouse(DatabaseFile(settings.duckdb_path), "other", source=Source("loopback/icp", "1300001", "7603")))
    with pytest.raises(OtherSource, match="holds, as other, account 1300001, client folder 7603"):
        open_export(settings, settings.export("readers"))
    assert len(project.requests()) == asked


def claim(warehouse: Warehouse) -> tuple[str, bool]:
    with warehouse.write("test") as connection:
        return warehouse.claim(connection)


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        (Source("app.icontact.com/icp", "1300002", "7601"), ""),
        (Source("app.icontact.com/icp", "1300001", "7602"), ""),
        (Source("app.sandbox.icontact.com/icp", "1300001", "7601"), "delete the row of icontact.import_source"),
    ],
)
def test_whatever_of_it_differs_is_refused(tmp_path: Path, source: Source, hint: str) -> None:
    warehouse = Warehouse(DatabaseFile(tmp_path / "warehouse.duckdb"), "icontact", source=OWN)
    id_, adopted = claim(warehouse)
    assert not adopted
    theirs = Warehouse(warehouse.storage, "icontact", source=source)
    for ask in (theirs.prepare, lambda: claim(theirs), theirs.is_claimed):
        with pytest.raises(OtherSource) as caught:
            ask()
        assert hint in str(caught.value)
        assert f"holds, as icontact, {OWN}." in str(caught.value)
        assert f"name {source}." in str(caught.value)
    zeros = Source("app.icontact.com/icp", "01300001", "7601")
    assert claim(Warehouse(warehouse.storage, "icontact", source=zeros)) == (id_, False)
    assert warehouse.is_claimed()
    # Another name is the way.
    assert claim(Warehouse(warehouse.storage, "other", source=source))[0] != id_


def test_a_database_of_an_earlier_version_is_recorded_at_the_first_run(tmp_path: Path) -> None:
    warehouse = Warehouse(DatabaseFile(tmp_path / "warehouse.duckdb"), "icontact", source=OWN)
    warehouse.prepare()
    with Warehouse(warehouse.storage).write("an earlier version") as connection:
        connection.execute("INSERT INTO icontact.import_coverage (resource) VALUES ('contacts')")
        connection.execute("DROP TABLE icontact.import_source")
    assert not warehouse.is_claimed()
    warehouse.prepare()
    assert claim(warehouse)[1]
    assert warehouse.is_claimed()


def test_pages_that_were_staged_for_another_database_never_land(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb.icontact.staging"
    with Staging(path, owner="one", heir="one") as staging:
        staging.keep_poll(Poll("1", datetime.now(UTC), {"opens_total": 1}))
    with Staging(path, owner="one", heir="one") as staging:
        assert len(staging.polls()) == 1
    with Staging(path, owner="other", heir="other") as staging:
        assert staging.polls() == []
        assert staging.verified() == []
