"""A YAML document of settings: every value as the text that is written there, with the line it is on."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import yaml

from icontact_assets.errors import UserError

DEEPEST = 20
"""Levels of lists and mappings."""

MOST_VALUES = 100_000
"""Values of a document, those counted again that an alias repeats."""

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TEXT = frozenset({"!", "tag:yaml.org,2002:str"})
_MERGE = "<<"
# What looks like a tag or an alias may be a password that lacks its quotes.
_TAG = re.compile("found undefined tag handle.*")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")

Place = tuple[str | int, ...]


class Unreadable(UserError):
    """The text is no document of settings: the line, what was found there, the remedy."""

    def __init__(self, line: int, found: str, remedy: str) -> None:
        super().__init__(found)
        self.line = line
        self.found = found
        self.remedy = remedy


class _Value(NamedTuple):
    value: Any
    size: int


def parse(text: str) -> tuple[Any, dict[Place, int]]:
    """The content of a document, and the line of each place in it. Raises Unreadable.

    Scalars are text, or None where nothing or `null` is written: what is a number or a date is known to whoever reads
    the setting, and `08`, `1_000` or `no` may be a name.
    """
    return _Reader(text).document()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._lines: dict[Place, int] = {}
        self._anchors: dict[str, _Value] = {}

    def document(self) -> tuple[Any, dict[Place, int]]:
        try:
            self._loader = yaml.SafeLoader(self._text)
        except yaml.reader.ReaderError as error:
            line = self._text.count("\n", 0, error.position) + 1
            raise Unreadable(line, f"found the character #x{error.character:04x}", "Remove it.") from None
        value: Any = None
        self._next()
        if isinstance(self._next(), yaml.DocumentStartEvent):
            value = self._value(self._next(), (), 0).value
            self._next()
            if isinstance(event := self._next(), yaml.DocumentStartEvent):
                raise Unreadable(_line(event), "found a second document", "Keep one, and remove the line `---`.")
        return value, self._lines

    def _next(self) -> yaml.Event:
        try:
            event: yaml.Event = self._loader.get_event()  # type: ignore[no-untyped-call]
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line if error.problem_mark else self._loader.line
            problem = _TAG.sub("found a tag", error.problem or "it is not YAML")
            # Not chained: PyYAML quotes the line, on which a credential may be written.
            raise Unreadable(
                line + 1, f"not readable as YAML: {problem}", "Correct the indentation or quoting there."
            ) from None
        except (ValueError, OverflowError):
            # PyYAML does not check the number of an escaped character.
            raise Unreadable(
                self._loader.line + 1, "found an escape that is no character", "Correct or remove it."
            ) from None
        return event

    def _value(self, event: yaml.Event, at: Place, depth: int) -> _Value:
        line = _line(event)
        self._lines.setdefault(at, line)
        if depth > DEEPEST:
            raise Unreadable(line, f"found more than {DEEPEST} levels of lists and mappings", "Write fewer.")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise Unreadable(
                    line, "found an alias (*) of nothing that ends before it", "Write the value itself, or quote it."
                )
            found = self._anchors[event.anchor]
        else:
            tag = event.tag if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) else None
            if tag is not None and not (isinstance(event, yaml.ScalarEvent) and tag in _TEXT):
                raise Unreadable(line, "found a tag (!)", "Tags are not supported: remove it, or quote the value.")
            if isinstance(event, yaml.ScalarEvent):
                found = _Value(self._scalar(event), 1)
            elif isinstance(event, yaml.SequenceStartEvent):
                found = self._sequence(at, depth)
            else:
                found = self._mapping(at, depth)
            if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
                self._anchors[event.anchor] = found
        if found.size > MOST_VALUES:
            raise Unreadable(line, f"found more than {MOST_VALUES:,} values", "Write fewer, and fewer aliases.")
        return found

    def _scalar(self, event: yaml.ScalarEvent) -> str | None:
        text: str = event.value
        if event.style is None and event.tag is None and text in _NULL:
            return None
        if _NO_TEXT.search(text):
            raise Unreadable(_line(event), "found an escape that is no character", "Correct or remove it.")
        return text

    def _sequence(self, at: Place, depth: int) -> _Value:
        items: list[Any] = []
        size = 1
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            item = self._value(event, (*at, len(items)), depth + 1)
            items.append(item.value)
            size += item.size
        return _Value(items, size)

    def _mapping(self, at: Place, depth: int) -> _Value:
        items: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        size = 1
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise Unreadable(_line(event), "found a key that is not text", "Write `key: value` lines here.")
            key = event.value
            here = (*at, key)
            if key in items or (key == _MERGE and merged):
                raise Unreadable(_line(event), f"{dotted(here)}: found a second time", "Keep one of the two.")
            self._lines[here] = _line(event)
            item = self._value(self._next(), here, depth + 1)
            size += item.size
            if key == _MERGE and event.style is None:
                merged = self._merged(item.value, _line(event))
            else:
                items[key] = item.value
        return _Value(merged | items, size)

    def _merged(self, value: Any, line: int) -> dict[str, Any]:
        """What `<<` brings: the first of several mappings has precedence."""
        found: dict[str, Any] = {}
        for mapping in value if isinstance(value, list) else [value]:
            if not isinstance(mapping, dict):
                raise Unreadable(line, f"{_MERGE} is not followed by a mapping", "Write the keys themselves.")
            found = mapping | found
        return found


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def dotted(at: Place) -> str:
    """A place as errors name it: `imports[0].name`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in at).lstrip(".")
