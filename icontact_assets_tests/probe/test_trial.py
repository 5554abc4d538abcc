"""`probe --write` as it is typed: what it asks, what it prints, how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from icontact_assets.cli import app
from icontact_assets.icontact.folder import Folder
from icontact_assets_tests.harness import AUDIENCE, Project

WORDS = ("--write", "--contact", "11", "--list", "Trial")


@pytest.fixture
def ready(project: Project) -> Project:
    """A project, and a contact and a list for a trial."""
    project.sandbox.control("contacts/add", contact_id=11, email="planted@mail.example")
    project.sandbox.control("lists/add", list_id=6001, name="Trial")
    return project


def run(project: Project, *words: str, typed: str = "Trial") -> tuple[int, str, str]:
    environment = {**project.environment, "COLUMNS": "400"}
    done = CliRunner().invoke(app, ["probe", *words], env=environment, input=f"{typed}\n")
    return done.exit_code, done.stdout, done.stderr


def writes(project: Project) -> int:
    return sum(row["method"] != "GET" for row in project.sandbox.control("log"))


def test_it_writes_once_the_name_was_typed_and_adds_to_a_profile(ready: Project, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text('{"format": 1, "answers": {"ids": "string"}, "evidence": {}}')
    code, printed, said = run(ready, *WORDS, "--json", "--profile", str(path))
    found = json.loads(printed)
    assert code == 0
    assert found["writes"] == writes(ready) == 4
    assert found["left"] == [
        "The contact 11 is unsubscribed on the list 6001, where it was absent before. No request takes that away: delete "
        "the list in iContact."
    ]
    answers = {row["key"]: row["answer"] for row in found["findings"]}
    assert (answers["resubscribe"], answers["move"]) == ("skip", "unknown")
    assert json.loads(path.read_text())["answers"] == {"ids": "string", **answers}
    assert "Write 1 of at most 12, contact 11: subscribe it to the list 6001, in a batch with a bad row." in said
    assert "To begin, type the name of the list 6001" in said
    assert "@" not in printed + said


def test_nothing_is_written_unless_the_name_is_typed(ready: Project) -> None:
    for typed in ("", "trial", "y", "6001"):
        code, _, said = run(ready, *WORDS, typed=typed)
        assert (code, writes(ready)) == (1, 0)
        assert "nothing was written" in said


def test_nothing_is_written_if_a_member_came_while_it_was_asked(ready: Project) -> None:
    member = {"path": "contacts/add", "contact_id": 12, "email": "x@mail.example", "lists": [6001]}
    edit = {"kind": "edit", "edits": [member], "when": "after"}
    ready.sandbox.control("faults", faults=[{"path": "/subscriptions$", "nth": 1, "do": edit}])
    code, _, said = run(ready, *WORDS)
    assert (code, writes(ready)) == (1, 0)
    assert "has 1 other members" in said


def test_the_list_of_an_export_is_refused(ready: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (ready.home / "icontact.yaml").write_text(AUDIENCE)
    monkeypatch.chdir(ready.home)
    code, _, said = run(ready, *WORDS[:-1], "5004")
    assert (code, writes(ready)) == (1, 0)
    assert "An export is about the list 5004" in said


def test_a_profile_that_is_none_stops_it_before_it_begins(ready: Project, tmp_path: Path) -> None:
    code, _, said = run(ready, *WORDS, "--profile", str(tmp_path / "none.json"))
    assert (code, writes(ready)) == (1, 0)
    assert "probe --profile FILE` first" in said


def test_half_of_the_options_is_a_wrong_call(ready: Project) -> None:
    for words in (WORDS[:-2], WORDS[1:], ("--write",), ("--other-list", "6001")):
        code, _, said = run(ready, *words)
        assert (code, writes(ready)) == (2, 0)
        assert "go together" in said


def test_ctrl_c_shows_what_was_changed(ready: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Folder.subscription

    def interrupted(folder: Folder, list_id: str, contact_id: str) -> Any:
        if writes(ready) == 3:
            raise KeyboardInterrupt
        return real(folder, list_id, contact_id)

    monkeypatch.setattr(Folder, "subscription", interrupted)
    code, printed, _ = run(ready, *WORDS)
    assert code == 130
    assert "3 of at most 12 writes." in printed
    assert "The contact 11 was written to on the list 6001, where it was absent before. That may show late" in printed
    assert "post_existing_subscription" in printed
