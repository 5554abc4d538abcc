"""The command: what it prints, which file it writes, how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from icontact_assets import first_contact, resources
from icontact_assets.cli import app
from icontact_assets.probe.questions import QUESTIONS
from icontact_assets_tests.harness import Project


def run(project: Project, *words: str) -> tuple[int, str, str]:
    environment = {**project.environment, "COLUMNS": "400"}
    done = CliRunner().invoke(app, ["probe", *words], env=environment)
    return done.exit_code, done.stdout, done.stderr


def test_what_is_handled_ends_well_and_is_written(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    code, printed, said = run(project, "--json", "--profile", str(path))
    found = json.loads(printed)
    assert code == 0
    assert [row["key"] for row in found["findings"]] == [question.key for question in QUESTIONS]
    assert {row["verdict"] for row in found["findings"]} == {"handled", None}
    assert (found["stopped"], found["settings"]) == (None, [])
    assert "request 1 of at most 60: time" in said
    written = json.loads(path.read_text())
    assert set(written) == {"format", "made", "package", "answers", "evidence", "shapes", "headers", "statuses"}
    assert list(written["answers"]) == [question.key for question in QUESTIONS]
    assert path.stat().st_mode & 0o077 == 0


def test_what_is_not_handled_ends_with_3_and_a_setting_is_written_out(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    project.sandbox.control("switches", page_limit="refuse", page_limit_rows=100, listing_order="shuffled")
    code, printed, _ = run(project, "--profile", str(path))
    assert code == 3
    assert "│ how ids are written: string" in printed
    assert printed.index("handled as it is") < printed.index("not handled: please report")
    assert "\nICONTACT_PAGE_SIZE=100\n" in printed
    assert f"{path} holds what was found" in printed


def test_ctrl_c_shows_what_was_found(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    real = resources.open_look

    def open_look(*given: Any, **named: Any) -> Any:
        get, count = real(*given, **named), 0

        def look(path: str, params: Any) -> Any:
            nonlocal count
            count += 1
            if count == 8:
                raise KeyboardInterrupt
            return get(path, params)

        return look

    monkeypatch.setattr(resources, "open_look", open_look)
    code, printed, said = run(project)
    assert code == first_contact.INTERRUPTED
    assert "createDate of contacts: blank" in printed
    assert "whether orderby is applied: not looked at" in printed
    assert "Not everything was looked at: interrupted." in said
