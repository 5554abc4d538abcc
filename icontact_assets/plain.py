"""How texts of others are shown: as they are, without what acts on a terminal or a log, and without addresses."""

from __future__ import annotations

import re

# Control characters, separators of lines, what turns the direction of the text that follows, halves of characters.
_ACTING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

# It begins where a word begins and gives no character back: a long text without a blank takes linear time.
_ADDRESS = re.compile(r"(?<![^\s@<>()\"',;:])[^\s@<>()\"',;:]++@[^\s@<>()\"',;:]++")


def plain(text: str) -> str:
    r"""A text on one line, with what would act written out: a line end as \n, an escape character as \x1b."""
    return _ACTING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def mask(text: str) -> str:
    """A text of a service, fit to be shown: every e-mail address is replaced, and nothing in it acts on a terminal."""
    return plain(_ADDRESS.sub("<address>", text))


def code(text: str) -> str:
    """A text as code in Markdown, as Dagster shows descriptions: no part of it becomes a tag, a link or an image."""
    shown = plain(text)
    # Code ends at as many backticks as it began with.
    fence = "`" * (1 + max((len(found) for found in re.findall("`+", shown)), default=0))
    # Markdown takes one space away at each end, if both have one.
    space = " " if not shown.strip("` ") or {shown[0], shown[-1]} & {"`", " "} else ""
    return f"{fence}{space}{shown}{space}{fence}"


def addresses_in(text: str) -> list[str]:
    """The e-mail addresses in a text of the service."""
    return _ADDRESS.findall(text)
