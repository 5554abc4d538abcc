"""Measures how fast the project is, case by case, each in a process of its own.

`python -m benchmarks` measures all at a quick size, `python -m benchmarks extract cli` only these and what they are
compared with.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks import ratios
from benchmarks.bench import OTHERS, Bench, Failed, Measured
from benchmarks.cases import CASES

_QUICK_RUNS, _FULL_RUNS = 3, 5


def tasks(names: Sequence[str], *, full: bool) -> list[tuple[str, int]]:
    """The cases of these names and their sizes, each with its baselines before it. No names: all of them."""
    found: dict[tuple[str, int], None] = {}
    for name in names or CASES:
        case = CASES[name]
        for size in case.full if full else case.quick:
            found |= dict.fromkeys((other, size) for other in case.against)
            found[name, size] = None
    return list(found)


def measure(asked: Sequence[tuple[str, int]], runs: int, say: Console) -> dict[tuple[str, int], Measured]:
    """Each of them so often, in rounds, so that a machine that becomes slower meets all of them. Returns medians.

    One that fails is left out, and what it said is shown.
    """
    taken: dict[tuple[str, int], list[Measured]] = {task: [] for task in asked}
    with Bench() as bench:
        for number in range(runs):
            for name, size in asked:
                case = CASES[name]
                if number > (0 if case.once else len(taken[name, size])):
                    continue
                say.print(f"{number + 1} of {runs}: {name}, {size:,} {case.unit}", highlight=False)
                try:
                    taken[name, size].append(bench.run(case.command(bench, size)))
                except Failed as error:
                    say.print(str(error), style="red", markup=False, highlight=False)
    return {task: median(many) for task, many in taken.items() if many}


def median(many: Sequence[Measured]) -> Measured:
    """The median of each figure."""
    last = many[-1]
    middle = (statistics.median(getattr(one, key) for one in many) for key in ("wall", "cpu", "peak_mb"))
    return Measured(*middle, last.rows, last.requests)


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    arguments.add_argument("case", nargs="*", help=", ".join(CASES))
    arguments.add_argument("--full", action="store_true", help="full sizes, which take hours")
    arguments.add_argument("--runs", type=int, help=f"{_QUICK_RUNS} unless told otherwise, {_FULL_RUNS} with --full")
    arguments.add_argument(
        "--write", action="store_true", help="store the ratios and, of all cases, the table in the docs"
    )
    arguments.add_argument("--check", action="store_true", help="say what got worse by more than a fifth, and fail")
    given = arguments.parse_args()
    if unknown := set(given.case) - set(CASES):
        raise SystemExit(f"There is no case {', '.join(sorted(unknown))}. There are {', '.join(CASES)}.")
    asked = tasks(given.case, full=given.full)
    if any(name == "dlt" for name, _ in asked) and not OTHERS.exists():
        raise SystemExit(f"dlt is not installed in {OTHERS.parent}. Run `make bench`, which installs it.")
    runs = given.runs or (_FULL_RUNS if given.full else _QUICK_RUNS)
    results = measure(asked, runs, Console(stderr=True))
    shown = Table(*ratios.HEAD)
    for row in ratios.table(results):
        shown.add_row(*row)
    Console(width=None if Console().is_terminal else 200).print(shown)
    found = ratios.ratios(results)
    bad = ratios.worse(found, ratios.stored()) if given.check else []
    failed = [f"{name}, {size:,}" for name, size in asked if (name, size) not in results]
    if given.write and not failed:
        ratios.store(found)
        if not given.case:
            ratios.write("full" if given.full else "quick", results, runs)
    if bad or failed:
        raise SystemExit("\n".join([*bad, *(f"{one}: failed." for one in failed)]))


if __name__ == "__main__":
    main()
