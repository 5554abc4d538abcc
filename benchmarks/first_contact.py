"""Probes a sandbox under every reading of every unknown, and writes the tables of docs/first-contact.md.

Run `python -m benchmarks.first_contact` in the project's folder: about a minute.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from docs.generate.markers import filled
from icontact_assets.probe.findings import Finding
from icontact_assets.probe.questions import UNKNOWN
from icontact_assets.sandbox.process import Sandbox
from icontact_assets_tests.probe.bench import Bench, write_plays
from icontact_assets_tests.probe.played import WORLD, Sights, found, plays

PAGE = Path("docs/first-contact.md")
HEAD = ("| Switches | Found | Seen | Means |", "| --- | --- | --- | --- |")


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def first_cell(switches: dict[str, Any]) -> str:
    """What tells a row from the others."""
    return "| " + ", ".join(f"`{name}={_written(value)}`" for name, value in switches.items())


def line(switches: dict[str, Any], finding: Finding) -> str:
    """A row of the table."""
    means = "" if finding.meaning is None else f"{finding.verdict}: {finding.meaning.text}"
    return f"{first_cell(switches)} | `{_written(finding.answer)}` | {finding.words} | {means} |"


def main() -> None:
    lines: list[str] = []
    wrong = 0
    with Sandbox(**WORLD) as sandbox, tempfile.TemporaryDirectory() as folder:
        for key, switches in plays():
            sandbox.control("reset", **WORLD)
            sight = Sights(sandbox, Path(folder)).probe(**switches)
            finding = found(sight)[key]
            lines.append(line(switches, finding))
            if finding.answer != switches[key]:
                wrong += finding.answer == UNKNOWN or isinstance(switches[key], str | bool)
                print(f"{lines[-1]} {sight.requests} requests, {sight.stopped}", file=sys.stderr, flush=True)
    with Sandbox(contacts=0, messages=0, days=1) as sandbox, tempfile.TemporaryDirectory() as folder:
        written = [written_line(sandbox, Path(folder), key, switches) for key, switches in write_plays()]
    page = filled(PAGE.read_text(), "switches", (*HEAD, *lines))
    PAGE.write_text(filled(page, "writes", (*HEAD, *written)))
    print(f"{len(lines)} readings, {wrong} of them not named, and {len(written)} tried by writes.", file=sys.stderr)


def written_line(sandbox: Sandbox, folder: Path, key: str, switches: dict[str, Any]) -> str:
    """A row of the table of writes. The sandbox has no contacts."""
    sandbox.control("reset")
    sandbox.control("switches", **switches)
    bench = Bench(sandbox, folder)
    return line(switches, bench.findings(bench.open())[key])


if __name__ == "__main__":
    main()
