"""Texts cut in the middle of an emoji: the rows are stored, with U+FFFD for the half, and nothing fails."""

from __future__ import annotations

from pathlib import Path

from icontact_assets.ingest.window import Window
from icontact_assets_tests.harness import Project, days_ago

DATA = Path(__file__).parent / "data" / "01-half-emoji"


def test_every_row_is_stored(project: Project) -> None:
    answers = {name: (DATA / f"{name}.json").read_text() for name in ("messages", "contacts", "clicks")}
    answers |= {name: f'{{"{name}": [], "total": 0}}' for name in ("opens", "bounces", "unsubscribes")}
    project.sandbox.control(
        "faults",
        faults=[
            {"path": f"/{name}$", "do": {"kind": "reply", "status": 200, "text": text}}
            for name, text in answers.items()
        ],
    )
    read = " or ".join(f'key:"icontact/raw_{name}"' for name in ("messages", "contacts", "sends", "activity"))
    assert project.quick().run(read, Window(days_ago(0), days_ago(0))).success
    assert project.rows("SELECT message_id, subject FROM icontact.raw_messages ORDER BY ALL") == [
        ("310801", "Autumn sale"),
        ("310802", "Winter \N{GRINNING FACE} sale"),
    ]
    assert project.rows("SELECT id, first_name, custom_fields FROM icontact.raw_contacts ORDER BY ALL") == [
        ("90000801", "Zo\ufffd", '{"nickname":"\ufffdx"}'),
        ("90000802", "Ann", None),
    ]
    assert project.rows(
        "SELECT DISTINCT contact_id, event_url FROM icontact.raw_activity WHERE event_type = 'click'"
    ) == [("90000802", "https://www.shop.example/sale?q=\ufffd")]
    assert project.rows("SELECT count(*) FROM icontact.quarantine") == [(0,)]
