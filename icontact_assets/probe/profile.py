"""What was found as a file to send: answers, counts, names of fields, shapes of values. Never a value."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from icontact_assets.errors import UserError
from icontact_assets.private import OWNER
from icontact_assets.probe.findings import Finding
from icontact_assets.probe.people import DOCUMENTED, custom_fields
from icontact_assets.probe.sight import Row, Sight

FORMAT = 1

_NAME = re.compile(r"(?!.*[0-9]{4})[A-Za-z_][A-Za-z0-9_]{0,39}")
_HEADER = re.compile(r"(?!.*[0-9]{4})[a-z][a-z0-9-]{0,39}")
_LONG = 200
_VERY_LONG = 2_000
_MOST_RUNS = 24
_MOST_SHAPES = 12
_DEEPEST = 4
_FEW = 5
_EXACT_DIGITS = 4
_LETTERS = ((1, "a"), (4, "a{2-4}"), (12, "a{5-12}"))
_DIGITS = ((8, "9{5-8}"),)


_FIRST = "Write it with `icontact-assets probe --profile FILE` first."


class ProfileError(UserError):
    """The profile cannot be written. The text names the file and the remedy."""


def profile(sight: Sight, found: Sequence[Finding], made: datetime, package: str) -> dict[str, Any]:
    """The whole profile, fit for JSON. `made`: aware UTC. `package`: the version of this package."""
    return {
        "format": FORMAT,
        "made": made.isoformat(timespec="seconds"),
        "package": package,
        "answers": {finding.key: finding.answer for finding in found},
        "evidence": {finding.key: finding.seen for finding in found},
        "shapes": shapes(sight),
        "headers": headers(sight),
        "statuses": statuses(sight),
    }


def write_profile(path: Path, content: dict[str, Any]) -> None:
    """Write a profile, for its owner to read. Raises ProfileError."""
    try:
        OWNER.create(path)
        path.write_text(json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise ProfileError(
            f"The profile cannot be written to {path}: {error.strerror}. Name another file with --profile."
        ) from error


def read_profile(path: Path) -> dict[str, Any]:
    """A profile that was written before. Raises ProfileError."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise ProfileError(f"{path} cannot be read: {why}. {_FIRST}") from error
    parts = [content.get(name) for name in ("answers", "evidence")] if isinstance(content, dict) else []
    if not all(isinstance(part, dict) for part in parts) or not parts or content.get("format") != FORMAT:
        raise ProfileError(f"{path} is no profile of this version. {_FIRST}")
    return dict(content)


def add_answers(path: Path, found: Sequence[Finding]) -> None:
    """Add what a trial of writes found to a profile. Raises ProfileError."""
    content = read_profile(path)
    content["answers"] |= {finding.key: finding.answer for finding in found}
    content["evidence"] |= {finding.key: finding.seen for finding in found}
    write_profile(path, content)


def headers(sight: Sight) -> list[str]:
    """The names of all headers that came, in lower case."""
    names = {name for answer in sight.answers.values() if answer is not None for name in answer.headers}
    return sorted({name if _HEADER.fullmatch(name) else shape(name) for name in names})


def statuses(sight: Sight) -> dict[str, dict[str, int]]:
    """By what was asked: how often it was answered with which status. 0: not at all."""
    found: dict[str, Counter[str]] = {}
    for name, answer in sight.answers.items():
        found.setdefault(name.partition(":")[0], Counter())[str(answer.status if answer is not None else 0)] += 1
    return {name: dict(counts) for name, counts in found.items()}


def shapes(sight: Sight) -> dict[str, dict[str, dict[str, int]]]:
    """By resource and field: each shape of a value, with how many rows have it, the most frequent first."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    declared = custom_fields(sight)
    for resource in dict.fromkeys(key for key in sight.keys.values() if key):
        rows = sight.rows_of(resource)
        if rows:
            known = DOCUMENTED.get(resource, frozenset())
            found[resource] = _fields(rows, known | declared if resource == "contacts" else known)
    for what in ("errors", "warnings"):
        texts = [text for answer in sight.answers.values() if answer is not None for text in getattr(answer, what)]
        if texts:
            found[what] = {"text": _most(Counter(shape(text[:_LONG]) for text in texts))}
    for name in sight.names("statistics:")[:1]:
        value = sight.body(name).get("statistics")
        if isinstance(value, dict):
            found["statistics"] = _fields([value], DOCUMENTED["statistics"])
    return found


def _fields(rows: Sequence[Row], known: frozenset[str] | set[str]) -> dict[str, dict[str, int]]:
    """The shapes of each field of rows, those of its parts below its name."""
    often = Counter(name for row in rows for name in row)
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        for name, value in row.items():
            # A name that not all rows have may be somebody's: data as a key.
            usual = name in known or often[name] == len(rows) >= _FEW
            for path, form in _forms(_label(name, usual), value, 0):
                counts.setdefault(path, Counter())[form] += 1
    return {path: _most(forms) for path, forms in sorted(counts.items())}


def _most(forms: Counter[str]) -> dict[str, int]:
    kept = dict(forms.most_common(_MOST_SHAPES))
    others = forms.total() - sum(kept.values())
    return {**kept, "others": others} if others else kept


def _label(name: str, usual: bool) -> str:
    return name if usual and _NAME.fullmatch(name) else shape(name)


def _forms(path: str, value: Any, depth: int) -> Iterator[tuple[str, str]]:
    """The shapes of a value and of its parts, each with its path."""
    if isinstance(value, dict):
        yield path, "object" if value else "object without members"
        if depth < _DEEPEST:
            for name, part in value.items():
                # What is inside one value names no field for sure.
                yield from _forms(f"{path}.{_label(name, name in _PARTS)}", part, depth + 1)
    elif isinstance(value, list):
        yield path, "array" if value else "array without items"
        if depth < _DEEPEST:
            for part in value:
                yield from _forms(f"{path}[]", part, depth + 1)
    else:
        yield path, _kind(value)


_PARTS = {
    *("rawScore", "spamDetails", "spamDetailScore", "spamDetailName", "spamDetailDescription"),
    *("listId", "newStatus", "messageId", "unique", "total"),
}
"""Names that the API reference has inside of values."""


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int | float):
        return f"number {shape(str(value))}"
    text = str(value)
    return f"text {shape(text)}" if text else "text without characters"


def shape(text: str) -> str:
    """A text with `a` for its letters and `9` for its digits. The lengths of longer runs are told in classes."""
    if len(text) > _LONG:
        return f"of more than {_VERY_LONG if len(text) > _VERY_LONG else _LONG} characters"
    runs = [(kind, len(list(run))) for kind, run in groupby(map(_class, text))]
    parts = [_run(kind, length) for kind, length in runs[:_MOST_RUNS]]
    return "".join(parts) + ("..." if len(runs) > _MOST_RUNS else "")


def _class(character: str) -> str:
    if character.isascii() and character.isprintable() and not character.isalnum():
        return character
    category = unicodedata.category(character)
    return {"L": "a", "N": "9", "M": "a", "Z": " "}.get(category[0], "?")


def _run(kind: str, length: int) -> str:
    if kind == "a":
        return next((form for most, form in _LETTERS if length <= most), "a{13+}")
    if kind == "9":
        return "9" * length if length <= _EXACT_DIGITS else next((f for most, f in _DIGITS if length <= most), "9{9+}")
    return kind if length == 1 else f"{kind}+"
