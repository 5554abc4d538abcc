"""JSON behind a byte order mark is read."""

from __future__ import annotations

from pathlib import Path

from icontact_assets.ingest.window import Window
from icontact_assets_tests.harness import Project, days_ago

DATA = Path(__file__).parent / "data" / "11-json-with-bom"


def test_the_list_is_read(project: Project) -> None:
    text = (DATA / "lists.json").read_text()
    assert text.startswith("\ufeff")
    project.sandbox.control(
        "faults", faults=[{"path": "/lists$", "do": {"kind": "reply", "status": 200, "text": text}}]
    )
    assert project.quick().run('key:"icontact/raw_lists"', Window(days_ago(0), days_ago(0))).success
    assert project.rows("SELECT list_id, name FROM icontact.raw_lists") == [("5001", "Newsletter")]
