"""A database of an earlier version is brought to the tables of this one, with its rows."""

from __future__ import annotations

from pathlib import Path

import duckdb

from icontact_assets.warehouse.warehouse import Warehouse


def earlier(path: Path, *statements: str) -> Warehouse:
    """A database of this version, changed by these statements to what an earlier one had left behind."""
    Warehouse(path, "icontact").prepare()
    with duckdb.connect(str(path)) as connection:
        connection.execute("USE icontact")
        for statement in statements:
            connection.execute(statement)
    return Warehouse(path, "icontact")


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
