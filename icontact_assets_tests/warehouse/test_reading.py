"""Whoever reads from outside sees whole tables of one moment while runs go on, wherever the tables are."""

from __future__ import annotations

from pathlib import Path

from icontact_assets.resources import open_warehouse, reading, storage_of
from icontact_assets.settings.load import load_settings
from icontact_assets_tests.harness import Place, on_both


@on_both
def test_a_notebook_reads_one_moment_while_runs_go_on(place: Place, tmp_path: Path) -> None:
    settings = load_settings({**place.variables(tmp_path), "ICONTACT_ASSETS_HOME": str(tmp_path / "home")}, tmp_path)

    def run(link: str) -> None:
        """What a run does to two tables that belong together."""
        with open_warehouse(settings, "icontact").write("a run") as connection:
            connection.execute("INSERT INTO hashed_links VALUES (?, NULL)", [link])
            connection.execute("INSERT INTO touched_contacts VALUES (?, now())", [link])
        storage_of(settings).publish()

    def seen(table: str, column: str) -> list[str]:
        return [v for (v,) in notebook.execute(f"SELECT {column} FROM icontact.{table} ORDER BY 1").fetchall()]

    run("a")
    with reading(settings) as notebook:
        assert seen("hashed_links", "event_url") == ["a"]
        run("b")
        assert seen("touched_contacts", "contact_id") == ["a"]
        with open_warehouse(settings, "icontact").write("another run") as connection:
            connection.execute("DELETE FROM hashed_links")
            assert seen("hashed_links", "event_url") == ["a"]
    with reading(settings) as notebook:
        assert seen("touched_contacts", "contact_id") == ["a", "b"]
