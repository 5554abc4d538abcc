"""Where the seconds of a run go: who was on the processor, by samples, for runs over a tiny client folder.

`python -m benchmarks.profile 1 8 71 365 730` prints the table of docs/performance.md. `make bench` installs py-spy.
"""

from __future__ import annotations

import sys
from collections import Counter

from benchmarks.bench import OTHERS, Bench, Command, materialize

RATE = 50
_DAGSTER = """
import atexit, os, sys
atexit.register(lambda: open("cpu", "w").write(str(sum(os.times()[:2]))))
from dagster._cli import main
main()
"""
"""Dagster's command, which leaves behind how many seconds of the processor it took."""

PARTS = {
    "imports": ("importlib._bootstrap",),
    "Dagster's storage": ("dagster/_core/storage", "icontact_assets/event_log", "sqlalchemy/", "alembic/"),
    "our code": ("icontact_assets/",),
    "the rest of Dagster": ("dagster/",),
}
"""The first whose text is in a frame gets the sample."""


def part(stack: str) -> str:
    """Whose a sample is."""
    return next((name for name, texts in PARTS.items() if any(text in stack for text in texts)), "Python")


def profile(bench: Bench, days: int) -> dict[str, float]:
    """CPU seconds by part, of a run over so many days that reads them for the first time."""
    home = bench.folder / f"profile-{days}"
    home.mkdir()
    environment = bench.settings(home, bench.server(contacts=50, messages=4, events=50), max(days, 71))
    raw = home / "stacks"
    spy = [OTHERS / "py-spy", "record", "--format", "raw", "--rate", str(RATE), "--full-filenames", "-o", raw, "--"]
    window = (bench.first_day(days), bench.first_day(1))
    _, *asked = materialize("icontact_assets.definitions", 'key:"icontact/raw_*"', window)
    bench.run(Command([*spy, sys.executable, "-c", _DAGSTER, *asked], environment, home))
    samples = Counter[str]()
    for line in raw.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        samples[part(stack)] += int(count)
    # A process that waits for the processor is sampled too, so the samples say the shares only.
    cpu = float((home / "cpu").read_text())
    print(f"{days} days: {cpu:.1f} s", file=sys.stderr, flush=True)
    return {name: cpu * count / samples.total() for name, count in samples.items()}


def main() -> None:
    days = [int(text) for text in sys.argv[1:]] or [1, 8, 71]
    with Bench() as bench:
        found = {number: profile(bench, number) for number in days}
    names = [*PARTS, "Python"]
    print("| Days |", " | ".join(names), "| Sum |")
    print("| --- |", " | ".join("---" for _ in names), "| --- |")
    for number, seconds in found.items():
        shown = (f"{seconds.get(name, 0):.1f}" for name in names)
        print(f"| {number} |", " | ".join(shown), f"| {sum(seconds.values()):.1f} |")


if __name__ == "__main__":
    main()
