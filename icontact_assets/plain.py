"""Texts of others as they are, except for what acts on a terminal or a log instead of being shown."""

from __future__ import annotations

import re

# Control characters, separators of lines, what turns the direction of the text that follows, halves of characters.
_ACTING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    r"""A text on one line, with what would act written out: a line end as \n, an escape character as \x1b."""
    return _ACTING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
