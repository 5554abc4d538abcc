"""A database of an earlier version is brought to the tables of this one, with its rows."""

from __future__ import annotations

from pathlib import Path

import duckdb

from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.tables import IMPORT_COVERAGE
from icontact_assets.warehouse.warehouse import Warehouse


def earlier(path: Path, *statements: str) -> Warehouse:
    """A database of this version, changed by these statements to what an earlier one had left behind."""
    Warehouse(DatabaseFile(path), "icontact").prepare()
    with duckdb.connect(str(path)) as connection:
        connection.execute("USE icontact")
        for statement in statements:
            connection.execute(statement)
    return Warehouse(DatabaseFile(path), "icontact")


def test_runs_outcomes_and_members_of_exports_keep_their_rows_under_new_words(tmp_path: Path) -> None:
    warehouse = earlier(
        tmp_path / "icontact.duckdb",
        "ALTER TABLE export_runs RENAME status TO verdict",
        "ALTER TABLE export_runs RENAME already_subscribed TO already",
        "ALTER TABLE export_outcomes RENAME response TO words",
        "INSERT INTO export_runs (run_id, export, verdict, already) VALUES ('one', 'to_list', 'done', 3)",
        "INSERT INTO export_outcomes (run_id, contact_id, outcome, words) VALUES "
        "('one', '1', 'already', NULL), ('one', '2', 'refused', 'opted out')",
        "INSERT INTO export_members (contact_id, changed_by) VALUES ('1', 'others'), ('2', 'export')",
    )
    warehouse.prepare()
    warehouse.prepare()
    with warehouse.read() as connection:

        def rows(sql: str) -> list[tuple[object, ...]]:
            return connection.execute(sql).fetchall()

        assert rows("SELECT run_id, status, already_subscribed FROM export_runs") == [("one", "done", 3)]
        assert rows("SELECT contact_id, outcome, response FROM export_outcomes ORDER BY ALL") == [
            ("1", "already_subscribed", None),
            ("2", "refused", "opted out"),
        ]
        assert rows("SELECT contact_id, changed_by FROM export_members ORDER BY ALL") == [
            ("1", "external"),
            ("2", "export"),
        ]
        assert "verdict" not in [row[0] for row in rows("DESCRIBE export_runs")]


def test_a_file_that_lacks_a_table_and_a_column_besides_is_upgraded(tmp_path: Path) -> None:
    warehouse = earlier(
        tmp_path / "icontact.duckdb",
        "ALTER TABLE export_runs RENAME status TO verdict",
        "ALTER TABLE export_runs RENAME already_subscribed TO already",
        "ALTER TABLE export_outcomes RENAME response TO words",
        "ALTER TABLE export_outcomes DROP evidence",
        "DROP TABLE export_members",
        "INSERT INTO export_outcomes (run_id, contact_id, outcome) VALUES ('one', '1', 'already')",
    )
    with warehouse.read() as connection:
        assert connection.execute("SELECT outcome, evidence FROM export_outcomes").fetchall() == [
            ("already_subscribed", None)
        ]
        assert connection.execute("SELECT changed_by FROM export_members").fetchall() == []


def test_coverage_keeps_its_rows_under_new_words(tmp_path: Path) -> None:
    warehouse = earlier(
        tmp_path / "icontact.duckdb",
        "ALTER TABLE import_coverage RENAME status TO verdict",
        "ALTER TABLE import_coverage RENAME reported TO announced",
        "ALTER TABLE import_coverage RENAME statistic TO figure",
        "ALTER TABLE import_coverage RENAME read_id TO reading",
        "ALTER TABLE import_coverage RENAME changed_at TO moved_at",
        "ALTER TABLE import_coverage DROP list_id",
        "CREATE VIEW coverage AS SELECT verdict FROM import_coverage",
        "INSERT INTO import_coverage (resource, message_id, kind, verdict, announced, figure, reading) VALUES "
        "('contacts', '', '', 'complete', 7, NULL, 'a'), ('subscriptions', '', '5001', 'failed', 3, NULL, 'b'), "
        "('activity', '9', 'opens', 'late', 4, 2, 'c')",
    )
    warehouse.prepare()
    warehouse.prepare()
    with warehouse.read() as connection:
        found = connection.execute(
            "SELECT resource, message_id, kind, list_id, status, reported, statistic, read_id "
            "FROM import_coverage ORDER BY read_id"
        ).fetchall()
        left = {row[0] for row in connection.execute("DESCRIBE import_coverage").fetchall()}
    assert found == [
        ("contacts", "", "", "", "complete", 7, None, "a"),
        ("subscriptions", "", "", "5001", "failed", 3, None, "b"),
        ("activity", "9", "opens", "", "stale", 4, 2, "c"),
    ]
    assert left == set(IMPORT_COVERAGE.column_names)


def test_hashed_links_keep_their_rows_under_another_name(tmp_path: Path) -> None:
    warehouse = earlier(
        tmp_path / "icontact.duckdb",
        "ALTER TABLE hashed_links RENAME TO links",
        "INSERT INTO links VALUES ('https://www.example.com/', '7')",
    )
    warehouse.prepare()
    with warehouse.write("the report of that name") as connection:
        connection.execute("CREATE TABLE links (link VARCHAR)")
    warehouse.prepare()
    with warehouse.read() as connection:
        assert connection.execute("FROM hashed_links").fetchall() == [("https://www.example.com/", "7")]
        assert connection.execute("SELECT link FROM links").fetchall() == []
