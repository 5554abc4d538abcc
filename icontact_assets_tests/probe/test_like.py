"""A sandbox that is set like an account is found to be like it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from icontact_assets.probe.profile import add_answers, profile, write_profile
from icontact_assets.sandbox.like import read_profile
from icontact_assets.sandbox.process import Sandbox
from icontact_assets_tests.probe.bench import DEFAULT, Bench
from icontact_assets_tests.probe.played import Sights, found
from icontact_assets_tests.probe.test_probe import SMALL, TOGETHER


@pytest.mark.parametrize("switches", TOGETHER, ids=["handled", "not_handled"])
def test_the_same_is_found_again(sandbox: Sandbox, tmp_path: Path, switches: dict[str, Any]) -> None:
    sandbox.control("reset", **SMALL)
    first = Sights(sandbox, tmp_path).probe(**switches)
    path = tmp_path / "profile.json"
    write_profile(path, profile(first, list(found(first).values()), datetime.now(UTC), "0"))
    sandbox.control("reset", **SMALL)
    like = read_profile(path)
    second = Sights(sandbox, tmp_path).probe(**like.switches)
    assert {key: finding.answer for key, finding in found(second).items()} == {
        key: finding.answer for key, finding in found(first).items()
    }
    assert like.unlike == {}


def test_the_same_is_found_again_by_writes(running_sandbox: Sandbox, tmp_path: Path) -> None:
    switches = {"bulk_failure": "refuse", "resubscribe": "pretend", "write_delay_seconds": 2, "move_existing": "409"}
    path, answers = tmp_path / "profile.json", []
    write_profile(path, {"format": 1, "answers": {}, "evidence": {}})
    for number in (1, 2):
        running_sandbox.control("reset")
        running_sandbox.control("switches", **(switches if number == 1 else read_profile(path).switches))
        bench = Bench(running_sandbox, tmp_path / str(number))
        probe = bench.probe(bench.open())
        probe.run()
        add_answers(path, probe.all_findings())
        answers.append({finding.key: finding.answer for finding in probe.all_findings()})
    running_sandbox.control("reset")
    assert read_profile(path).unlike == {}
    assert answers[0] == answers[1] == {**DEFAULT, **switches, "move_unsubscribed": "unknown"}
