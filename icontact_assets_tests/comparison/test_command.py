"""The command `compare` as a user runs it, and the page that it makes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from icontact_assets.comparison.causes import Cause
from icontact_assets.comparison.page import MEANINGS
from icontact_assets_tests.harness import Project
from icontact_assets_tests.reports.parsed import Parsed
from icontact_assets_tests.test_cli import run

DOCS = Path(__file__).parents[2] / "docs"


def exported(project: Project) -> list[dict[str, Any]]:
    return json.loads(run(project, "query", "SELECT * EXCLUDE (deleted_at) FROM icontact_profiles", "--json").stdout)


def test_a_comparison_is_shown_as_a_table_as_json_and_as_a_page(imported: Project) -> None:
    rows = exported(imported)
    file, page = imported.home / "theirs.json", imported.home / "page.html"
    file.write_text(json.dumps(rows))
    same = run(imported, "compare", str(file), "--html", str(page), "--exported-at", "2026-01-01")
    assert same.exit_code == 0, same.stderr
    assert same.stdout.endswith("The profiles are equal on both sides.\n")
    assert Parsed(page.read_text()).said("The profiles are equal on both sides.")

    named = next(row["ic_contact_id"] for row in rows if row["first_name"])
    for row in rows:
        row["planted-column"] = "planted"
        row["id"] = row.pop("ic_contact_id")
        if row["id"] == named:
            row |= {"first_name": "planted <b>", "city": "planted9@example.com", "email_open_ct": "planted"}
    rows.append({"id": "999999", "email": "planted8@example.com"})
    file.write_text(json.dumps(rows))
    shown = run(imported, "compare", str(file), "--column", "id=ic_contact_id", "--json", "--html", str(page))
    assert shown.exit_code == 3, shown.stderr
    found = json.loads(shown.stdout)
    assert found["verdict"]["beyond"] == ["profiles", "first_name", "city", "email_open_ct"]
    assert found["profiles"]["only_there"] == {
        "unknown": {"profiles": 1, "contact_ids": ["999999"], "explained": False}
    }
    assert found["fields"]["first_name"]["causes"]["unknown"] == {
        "profiles": 1,
        "contact_ids": [named],
        "explained": False,
    }
    assert found["fields"]["email_open_ct"]["causes"].keys() == {"unreadable"}
    assert found["export"]["unknown"] == ["planted-column"]
    parsed = Parsed(page.read_text())
    [table] = [rows for label, rows in parsed.tables.items() if label.startswith("Differences of each field")]
    assert ["first_name", "Not explained.", "1", named] in table
    assert not re.findall(r"(?:src|href)=|url\(|@import|https?:", parsed.html)
    assert {"script", "img", "link", "b"}.isdisjoint(tag for tag, _ in parsed.elements)
    for text in (shown.stdout, parsed.html):
        assert "@" not in text.replace("@media", "")
        assert text.count("planted") == text.count("planted-column")


def test_what_cannot_be_understood_is_said(project: Project) -> None:
    for arguments, code, says in (
        (["--column", "id"], 2, "--column THEIRS=OURS"),
        (["--column", "id=email", "--column", "id=city"], 2, "each column once"),
        (["--exported-at", "yesterday"], 2, "--exported-at yesterday is no time"),
        (["--allow", "town=1"], 1, "--allow town=1 is no rule"),
        ([], 1, "Check that it is there"),
    ):
        done = run(project, "compare", "none", *arguments)
        assert (done.exit_code, done.stdout) == (code, "")
        assert says in re.sub(r"\s*[│\n]\s*", " ", done.stderr)


def test_every_cause_is_in_the_docs_with_its_meaning() -> None:
    page = (DOCS / "compare.md").read_text()
    assert [cause for cause in Cause if f"| {cause.value} |" not in page] == []
    assert {*MEANINGS} == {*Cause}
