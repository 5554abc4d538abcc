"""Ratios of measured cases to their baselines: what got worse, and the tables of docs/performance.md."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from benchmarks.bench import ROOT, Measured
from benchmarks.cases import CASES

STORED = ROOT / "benchmarks" / "ratios.json"
PAGE = ROOT / "docs" / "performance.md"
WORSE = 1.2
"""A ratio that grew by more than this factor got worse."""
_SMALLEST = 0.02
"""Seconds that a clock tells apart: a ratio of less says nothing."""

Results = Mapping[tuple[str, int], Measured]
"""Medians by case and size."""


def ratios(results: Results) -> dict[str, float]:
    """What is compared from one time to the next: seconds as ratios to the baseline of the same run, and peaks in MB,
    which depend little on the machine. By a text that says what it is."""
    found = {}
    for (name, size), measured in results.items():
        case = CASES[name]
        for other in case.against:
            baseline = results.get((other, size))
            if baseline is not None:
                mine, theirs = (max(_SMALLEST, getattr(taken, case.by)) for taken in (measured, baseline))
                found[f"{name} {size}: {case.by} to {other}"] = round(mine / theirs, 3)
        if case.against or not _is_baseline(name):
            found[f"{name} {size}: peak MB"] = round(measured.peak_mb)
    return found


def _is_baseline(name: str) -> bool:
    return any(name in case.against for case in CASES.values())


def worse(now: Mapping[str, float], stored: Mapping[str, float]) -> list[str]:
    """A sentence for each ratio that grew by more than a fifth."""
    return [
        f"{what}: {ratio:g}, was {stored[what]:g} ({ratio / stored[what] - 1:.0%} more)."
        for what, ratio in now.items()
        if what in stored and ratio > stored[what] * WORSE
    ]


def stored() -> dict[str, float]:
    """The ratios that the repository keeps."""
    return json.loads(STORED.read_text()) if STORED.exists() else {}


def store(now: Mapping[str, float]) -> None:
    """Keep these ratios in place of those of the same name."""
    STORED.write_text(json.dumps(dict(sorted({**stored(), **now}.items())), indent=2) + "\n")


def table(results: Results) -> list[list[str]]:
    """The rows of the table of results."""
    rows = []
    for (name, size), taken in results.items():
        case = CASES[name]
        found = (
            f"{max(_SMALLEST, getattr(taken, case.by)) / max(_SMALLEST, getattr(results[other, size], case.by)):.2f} x "
            f"{other}{'' if case.by == 'cpu' else ', wall'}"
            for other in case.against
            if (other, size) in results
        )
        rows.append(
            [
                name,
                case.about,
                f"{size:,} {case.unit}",
                f"{taken.wall:.2f}",
                f"{taken.cpu:.2f}",
                f"{taken.peak_mb:.0f}",
                "" if taken.rows is None else f"{taken.rows:,}",
                "" if taken.requests is None else f"{taken.requests:,}",
                "; ".join(found),
            ]
        )
    return rows


HEAD = ["Case", "What", "Size", "Wall s", "CPU s", "Peak MB", "Rows", "Requests", "CPU against a baseline"]


def machine() -> str:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    packages = ", ".join(f"{name} {version(name)}" for name in ("dagster", "duckdb", "pandas", "pyarrow"))
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GB, {platform.system()}, "
        f"Python {platform.python_version()}, {packages}."
    )


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def write(part: str, results: Results, runs: int) -> None:
    """Put the table between the markers of its part of the page: `quick` or `full`."""
    lines = [f"Medians of {runs} runs. {machine()}", "", _line(HEAD), _line(["---"] * len(HEAD))]
    lines += [_line(row) for row in table(results)]
    begin, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    before, _, rest = PAGE.read_text().partition(begin)
    after = rest.partition(end)[2]
    PAGE.write_text(before + "\n".join([begin, "", *lines, "", end]) + after)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
