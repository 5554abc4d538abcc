"""The suite of `make bench`: what it measures against what, and how it says that something got worse."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import ratios
from benchmarks.__main__ import median, tasks
from benchmarks.bench import Bench, Command, Failed, Measured
from benchmarks.cases import CASES


def measured(cpu: float, peak_mb: float = 100) -> Measured:
    return Measured(wall=cpu, cpu=cpu, peak_mb=peak_mb)


def test_what_grew_by_more_than_a_fifth_got_worse_on_a_machine_of_any_speed() -> None:
    before = ratios.ratios({("dlt", 1): measured(10), ("extract", 1): measured(5)})
    slower_machine = ratios.ratios({("dlt", 1): measured(30), ("extract", 1): measured(17)})
    slower_code = ratios.ratios({("dlt", 1): measured(30), ("extract", 1): measured(19, 121)})
    assert ratios.worse(slower_machine, before) == []
    assert ratios.worse(slower_code, before) == [
        "extract 1: cpu to dlt: 0.633, was 0.5 (27% more).",
        "extract 1: peak MB: 121, was 100 (21% more).",
    ]


def test_what_is_compared_is_measured_at_the_same_size_before_it() -> None:
    assert tasks(["cli"], full=False) == [("python", 1), ("cli", 1)]
    for full in (False, True):
        found = tasks([], full=full)
        assert {name for name, _ in found} == set(CASES)
        for number, (name, size) in enumerate(found):
            assert {(other, size) for other in CASES[name].against} <= set(found[:number])


def test_a_median_is_of_each_figure() -> None:
    assert median([measured(3, 10), measured(1, 30), measured(2, 20)]) == measured(2, 20)


def test_children_count_and_a_failure_says_why() -> None:
    busy = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(10**7))'])"
    with Bench() as bench:
        assert bench.run(Command([sys.executable, "-c", busy])).cpu > 0.1
        with pytest.raises(Failed, match="no such thing"):
            bench.run(Command([sys.executable, "-c", "raise SystemExit('no such thing')"]))


def test_the_command_measures_a_case() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", "cli", "--runs", "1"],
        cwd=Path(ratios.ROOT),
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert "x python" in ended.stdout
