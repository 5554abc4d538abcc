"""The reader under faults, and what it asks for: the plays there is time for here; benchmarks/faults.py has all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from icontact_assets.sandbox.process import Sandbox
from icontact_assets_tests.harness import Stage
from icontact_assets_tests.ingest.faults import FAULTS, REQUESTS, Impossible, Play, Row


def plays(rows: Sequence[Row]) -> list[Any]:
    return [
        pytest.param(play, id=f"{row.fault.split(',')[0].split(';')[0]}: {play.name}")
        for row in rows
        for play in row.plays
        if play.tested != "no"
    ]


@pytest.fixture
def stage(sandbox: Sandbox, tmp_path: Path) -> Stage:
    return Stage(sandbox, tmp_path)


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
