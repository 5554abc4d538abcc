"""Small pictures of a few rows of numbers, as Markdown that the Dagster UI shows without a click."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from urllib.parse import quote

LONGEST = 999
"""The UI shows Markdown of so many characters in place. What is longer is behind a link to a dialog."""

_WIDTH = 364
_LINE = 13
"""Height of the text above a row."""
_HEIGHT = 18
"""Height of the largest number of a row."""
_ROW = _LINE + _HEIGHT + 4
# A picture is not told whether the UI is dark. This blue can be read on white and on black.
_COLOR = "#27c"


def picture(rows: Mapping[str, Sequence[int]], axis: str) -> str:
    """Each row of numbers, none below 0, as steps under the row's text, on a scale of its own from 0 on.

    All rows have as many numbers. If they do not all fit into LONGEST characters, the first ones are left out. `axis`
    is the last line. "{shown}" in it becomes how many numbers are shown, and "{most}" in a text the largest of these.
    Of the texts, only what is text both in Markdown and in SVG is shown, and only its beginning. They are read out in
    place of the picture.
    """
    shown = max(map(len, rows.values()), default=0)
    while len(text := _markdown(rows, shown, axis)) > LONGEST and shown > 1:
        shown -= 1
    return text


_ACTING = re.compile(r"[^\w ,.:;()-]")
_TEXT = 60
_AS_THEY_ARE = " '/:=-.,+()"


def _markdown(rows: Mapping[str, Sequence[int]], shown: int, axis: str) -> str:
    numbers = [each[-shown:] for each in rows.values()]
    texts = [text.replace("{most}", f"{max(each, default=0):,}") for text, each in zip(rows, numbers, strict=True)]
    lines = [_ACTING.sub("", line)[:_TEXT] for line in (*texts, axis.replace("{shown}", str(shown)))]
    written = "".join(f"<text y='{place * _ROW + 10}'>{line}</text>" for place, line in enumerate(lines))
    outlines = "".join(f"M0 {(place + 1) * _ROW - 4}{_steps(each)}z" for place, each in enumerate(numbers))
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{len(rows) * _ROW + _LINE}' "
        f"fill='{_COLOR}' style='font:11px sans-serif'>{written}"
        f"<path transform='scale({_WIDTH / max(1, shown):.4g} 1)' d='{outlines}'/></svg>"
    )
    return f"![{'; '.join(lines)}](<data:image/svg+xml,{quote(svg, safe=_AS_THEY_ARE)}>)"


def _steps(numbers: Sequence[int]) -> str:
    """The way over the numbers and back to 0. Every number above 0 can be seen."""
    largest = max(numbers, default=0) or 1
    way, at = "", 0
    for height, alike in groupby(-(-number * _HEIGHT // largest) for number in numbers):
        way += f"v{at - height}h{len(list(alike))}"
        at = height
    return f"{way}v{at}"
