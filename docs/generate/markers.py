"""Puts what is generated into a page, between the markers `<!-- NAME: begin -->` and `<!-- NAME: end -->`."""

from __future__ import annotations

import re
from collections.abc import Iterable


def filled(page: str, name: str, lines: Iterable[str]) -> str:
    """The page with these lines between its markers."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    inside = "\n".join([begin, *lines, end])
    page, count = re.subn(f"{begin}.*?{end}", lambda _: inside, page, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{begin} and {end} must be in the page once, and are there {count} times")
    return page
