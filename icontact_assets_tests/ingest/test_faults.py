"""The reader under faults, and what it asks for: the plays there is time for here; benchmarks/faults.py has all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from icontact_assets.sandbox.process import Sandbox
from icontact_assets_tests.harness import Stage
from icontact_assets_tests.ingest.faults import FAULTS, REQUESTS, Impossible, Play, Row
from icontact_assets_tests.plain_ids import plain_id


def plays(rows: Sequence[Row]) -> list[Any]:
    return [
        pytest.param(play, id=f"{plain_id(row.fault)}-{plain_id(play.name)}")
        for row in rows
        for play in row.plays
        if play.tested != "no"
    ]


@pytest.fixture
def stage(shared_sandbox: Sandbox, tmp_path: Path) -> Stage:
    """Each play resets the sandbox to a world of its own."""
    return Stage(shared_sandbox, tmp_path)


@pytest.mark.parametrize("play", plays(FAULTS))
def test_fault(stage: Stage, play: Play) -> None:
    stage.reset(**play.world)
    try:
        play.play(stage)
    except Impossible as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("play", plays(REQUESTS))
def test_requests(stage: Stage, play: Play) -> None:
    stage.reset(**play.world)
    play.play(stage)
