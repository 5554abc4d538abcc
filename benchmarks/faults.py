"""Plays every fault of the reader and counts its requests, against a sandbox, and writes docs/faults.md.

Run `python -m benchmarks.faults [WORD ...]` in the project's folder: about half an hour. With words, only the rows that
hold one of them are played and written anew. With `--lake`, the first plays of most rows are played with tables in a
lake, and nothing is written.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from icontact_assets.sandbox.process import Sandbox
from icontact_assets_tests.harness import InFile, Place, Stage
from icontact_assets_tests.harness.place import InLake
from icontact_assets_tests.harness.postgres import started
from icontact_assets_tests.ingest.faults import FAULTS, REQUESTS, Impossible, Row
from icontact_assets_tests.ingest.faults.losses import ONE_MESSAGE, SHRUNK
from icontact_assets_tests.ingest.faults.orders import HINTS, ORDERS, SHUFFLED
from icontact_assets_tests.ingest.faults.reads import LIMITS, SHAPES, SILENT_ERRORS, TRANSPORT

PAGE = Path("docs/faults.md")
KEPT = "## Cases from the field"
HEAD = """# Faults, played against the reader

Written by `python -m benchmarks.faults`. Every row is played over HTTP against the sandbox, with real Dagster runs and
a real database, and with processes that are killed where it says so.

- **Equal**: every row of contacts, messages, sends, lists, subscriptions and activity is in the tables exactly as often
  as iContact shows it, and nothing else is.
- **Red** names the asset that fails and its error. What must hold is checked then too, and what the next run brings.

Pauses between tries are skipped. `icontact_assets_tests/ingest/faults/` has each play. Some of them run as tests, and
`make test-lake` plays 40 with the tables in a lake.
"""
COLUMNS = "| {} | {} | Measured | Plays | Runs | Requests |\n| --- | --- | --- | --- | --- | --- |"


_OF_ANSWERS = (LIMITS, TRANSPORT, SILENT_ERRORS, ORDERS, SHUFFLED, HINTS, SHRUNK, SHAPES, ONE_MESSAGE)
_IN_A_LAKE = 5
"""Plays of each of these rows that are played in a lake too."""


@dataclass
class Seen:
    """What was seen of one row."""

    plays: int = 0
    runs: int = 0
    requests: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


def play_row(sandbox: Sandbox, row: Row, place: Place, at_most: int | None = None) -> Seen:
    """Plays a row, without the short plays that are there for the tests only."""
    seen = Seen()
    for play in [play for play in row.plays if play.tested != "only"][:at_most]:
        sandbox.control("reset")
        with tempfile.TemporaryDirectory() as folder:
            stage, began = Stage(sandbox, Path(folder), place), time.monotonic()
            stage.reset(**play.world)
            try:
                end = play.play(stage)
                seen.ends[end] += 1
            except Impossible as reason:
                end = f"not played: {reason}"
                seen.ends[end] += 1
            except Exception:  # noqa: BLE001 -- shown in the table, and the other plays follow
                end = traceback.format_exc()
                seen.broken.append(play.name)
            seen.plays += 1
            seen.runs += stage.runs
            seen.requests += stage.asked
        print(f"{time.monotonic() - began:7.1f} s  {row.fault[:40]}: {play.name}: {end}", file=sys.stderr, flush=True)
    return seen


def first_cells(row: Row) -> str:
    return f"| {row.fault} | {row.holds} |"


def line(row: Row, seen: Seen) -> str:
    """A row of the table."""
    ends = [
        f"{end} ({count} {'play' if count == 1 else 'plays'})" if len(seen.ends) > 1 else end
        for end, count in seen.ends.most_common()
    ]
    ends += [f"**does not hold**: {name}" for name in seen.broken]
    measured = "<br>".join(ends).replace("|", "\\|")
    return f"{first_cells(row)} {measured} | {seen.plays} | {seen.runs} | {seen.requests:,} |"


def written() -> dict[Row, str]:
    """The rows that are in the page."""
    lines = PAGE.read_text().splitlines() if PAGE.exists() else []
    return {row: line for row in FAULTS + REQUESTS for line in lines if line.startswith(first_cells(row))}


def page(lines: Mapping[Row, str]) -> str:
    """The whole page; rows that were never played say so."""
    parts = [HEAD]
    for title, heads, rows in (
        ("## Faults", ("Fault", "Must hold"), FAULTS),
        ("## Requests", ("Requests", "At most"), REQUESTS),
    ):
        parts += [title, "", COLUMNS.format(*heads)]
        parts += [lines.get(row, f"{first_cells(row)} not played | | | |") for row in rows]
        parts.append("")
    return "\n".join([*parts, kept()])


def kept() -> str:
    """What follows the tables in the page, which is written by hand."""
    text = PAGE.read_text() if PAGE.exists() else ""
    return text[text.index(KEPT) :] if KEPT in text else ""


def play_in_a_lake() -> None:
    """The first plays of the rows that are about what iContact answers. Raises SystemExit if one does not hold."""
    seen = Seen()
    with (
        Sandbox(seed=5, contacts=300, messages=10, days=20) as sandbox,
        started() as postgres,
        tempfile.TemporaryDirectory() as folder,
    ):
        place = InLake(postgres, Path(folder))
        for row in _OF_ANSWERS:
            of_row = play_row(sandbox, row, place, _IN_A_LAKE)
            seen.plays += of_row.plays
            seen.runs += of_row.runs
            seen.broken += of_row.broken
    print(f"{seen.plays} plays, {seen.runs} runs. Do not hold: {', '.join(seen.broken) or 'none'}")
    if seen.broken:
        raise SystemExit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--lake", action="store_true")
    arguments = parser.parse_args()
    words: Sequence[str] = arguments.words
    if arguments.lake:
        play_in_a_lake()
        return
    broken = 0
    with Sandbox(seed=5, contacts=300, messages=10, days=20) as sandbox:
        for row in FAULTS + REQUESTS:
            if words and not any(word in row.fault for word in words):
                continue
            seen = play_row(sandbox, row, InFile())
            broken += len(seen.broken)
            PAGE.write_text(page({**written(), row: line(row, seen)}))
    if broken:
        raise SystemExit(f"{broken} plays do not hold.")


if __name__ == "__main__":
    main()
