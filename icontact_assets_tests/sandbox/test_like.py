"""A profile of the probe becomes switches of a sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from icontact_assets.sandbox.__main__ import arguments, state_of
from icontact_assets.sandbox.like import LikeError, read_profile
from icontact_assets.sandbox.switches import Switches

SMALL = ("--contacts", "0", "--messages", "0", "--days", "1")


def profile(path: Path, **answers: Any) -> Path:
    path.write_text(json.dumps({"format": 1, "made": "2026-11-28T10:00:00Z", "package": "0.1.0", "answers": answers}))
    return path


def test_every_value_of_every_switch_can_be_set(tmp_path: Path) -> None:
    for name, field in Switches.model_fields.items():
        for value in {bool: (True, False), int: (7,)}.get(field.annotation, get_args(field.annotation)):
            found = read_profile(profile(tmp_path / "p.json", **{name: value}))
            assert (found.switches, found.unseen, found.unlike) == ({name: value}, [], {})
        assert read_profile(profile(tmp_path / "p.json", **{name: "unknown"})).unseen == [name]


def test_switches_by_hand_have_precedence_and_the_rest_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = profile(
        tmp_path / "p.json", ids="integer", gzip=False, page_limit_rows=100, page_limit="other", offset="rows",
        missing_fields="some", retention_days="unknown", latest=True, opens_rows="unknown", statistics="other",
    )  # fmt: skip
    words = [
        "--like",
        str(path),
        "--switch",
        "ids=mixed",
        "--switch",
        "statistics=ever",
        "--switch",
        "opens_rows=first",
    ]
    switches = state_of(arguments().parse_args([*SMALL, *words])).world.switches
    asked = Switches(ids="mixed", gzip=False, page_limit_rows=100, statistics="ever", opens_rows="first")
    assert switches == asked
    assert capsys.readouterr().err.splitlines() == [
        "2 switches are set as the profile says.",
        "No switch answers as the account did: page_limit=other, missing_fields=some, latest=True.",
        "The probe had nothing to see these on, so they keep their default: retention_days.",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read"),
        ("nothing", "is not JSON"),
        ("[]", "expected an object"),
        ("{}", "`format` is None, expected 1"),
        ('{"format": 2, "answers": {}}', "`format` is 2, expected 1"),
        ('{"format": 1}', "`answers` is missing"),
        ('{"format": 1, "answers": {"ids": ["x"]}}', "`answers.ids` must be"),
    ],
)
def test_a_file_that_is_no_profile_is_refused_with_the_remedy(tmp_path: Path, text: str | None, says: str) -> None:
    path = tmp_path / "p.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(LikeError) as refused:
        read_profile(path)
    assert str(path) in str(refused.value)
    assert says in str(refused.value)
    assert "probe --profile FILE" in str(refused.value)
    with pytest.raises(SystemExit):
        arguments().parse_args(["--like", str(path)])
