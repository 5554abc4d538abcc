"""What the command line prints. Texts are shown as they are, whoever wrote them: none is markup, none acts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from icontact_assets.plain import plain

OK = Text("ok", style="green")
NO = Text("no", style="red")
MIND = Text("warning", style="yellow")

Cell = str | list[str] | Text
"""A text on one line, lines, or a text of our own with a style."""

_ANY_WIDTH = 1_000_000


def say(text: str, *, error: bool = False) -> None:
    """Print sentences of our own, which may hold line ends and quote texts of others."""
    stream = sys.stderr if error else sys.stdout
    print(_shown(text.split("\n"), stream), file=stream, flush=True)


def show(
    rows: Iterable[Sequence[Cell]],
    *,
    headers: Sequence[str] = (),
    title: str | None = None,
    numbers: bool = False,
    sentences: bool = False,
) -> None:
    """Print a table. No cell is cut or wrapped, so that what it holds can be copied.

    `numbers`: the last column holds numbers. `sentences`: the last column is wrapped to fit the terminal.
    """
    console = Console(markup=False, emoji=False, highlight=False)
    table = Table(*headers, show_header=bool(headers))
    if title is not None:
        table.title = Text(_shown([title], sys.stdout))
    for row in rows:
        table.add_row(*map(_cell, row))
    for column in table.columns:
        column.no_wrap = True
    if numbers:
        table.columns[-1].justify = "right"
    if sentences and console.is_terminal:
        table.columns[-1].no_wrap, table.columns[-1].overflow = False, "fold"
    else:
        options = console.options.update(width=_ANY_WIDTH)
        console.width = max(console.width, Measurement.get(console, options, table).maximum)
    console.print(table)


@contextmanager
def busy() -> Iterator[Callable[[str], None]]:
    """A way to say, on standard error, what goes on: on one line that vanishes, or line by line where none can."""
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        yield lambda text: say(text, error=True)
        return
    with console.status("") as status:
        yield lambda text: status.update(Text(_shown([text], sys.stderr)))


def _cell(cell: Cell) -> Text:
    if isinstance(cell, Text):
        return cell
    return Text(_shown([cell] if isinstance(cell, str) else cell, sys.stdout))


def _shown(lines: list[str], stream: TextIO) -> str:
    encoding = stream.encoding or "utf-8"
    return "\n".join(map(plain, lines)).encode(encoding, "backslashreplace").decode(encoding)
