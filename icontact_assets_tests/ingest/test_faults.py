"""The reader under faults, and what it asks for: the plays there is time for here; benchmarks/faults.py has all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from icontact_assets.sandbox.process import Sandbox
from icontact_assets_tests.harness import Place, Stage
from icontact_assets_tests.ingest.faults import FAULTS, REQUESTS, Impossible, Play, Row
from icontact_assets_tests.plain_ids import plain_id


def plays(rows: Sequence[Row]) -> list[Any]:
    return [
        pytest.param(play, place, id=f"{plain_id(row.fault)}-{plain_id(play.name)}-{place}", marks=marks)
        for row in rows
        for play in row.plays
        for place, played, marks in (("file", play.tested != "no", ()), ("lake", play.in_lake, pytest.mark.lake))
        if played
    ]


@pytest.fixture
def stage(shared_sandbox: Sandbox, place: Place, tmp_path: Path) -> Stage:
    """Each play resets the sandbox to a world of its own."""
    return Stage(shared_sandbox, tmp_path, place, brief=place.name == "lake")


@pytest.mark.parametrize(("play", "place"), plays(FAULTS), indirect=["place"])
def test_fault(stage: Stage, play: Play) -> None:
    stage.reset(**play.world)
    try:
        play.play(stage)
    except Impossible as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize(("play", "place"), plays(REQUESTS), indirect=["place"])
def test_requests(stage: Stage, play: Play) -> None:
    stage.reset(**play.world)
    play.play(stage)
