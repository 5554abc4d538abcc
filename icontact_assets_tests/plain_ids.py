"""Ids of parametrized tests: whole words that no tool cuts at a comma, a bracket or a blank."""

from __future__ import annotations

import re

_LONGEST = 60


def plain_id(text: str) -> str:
    """The words of a text. What has none, or the same as another, gets a number from pytest."""
    return "_".join(re.findall(r"[A-Za-z0-9.]+", text))[:_LONGEST].strip("_.") or "text"
