"""What `icontact-assets probe` found out about an account, as switches: a sandbox that answers like it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from icontact_assets.sandbox.switches import Switches

FORMAT = 1
UNKNOWN = "unknown"
_ANYWAY = {
    "offset": "rows", "missing_fields": "none", "response_time": "under_1s", "move": "works", "unsubscribe": "works",
}  # fmt: skip
"""What the sandbox does without a switch."""


class LikeError(Exception):
    """A file that is no profile. The text names file, key and the remedy."""


@dataclass
class Likeness:
    """A profile as far as switches can follow it."""

    switches: dict[str, Any] = field(default_factory=dict)
    """Name of each switch that it sets, and the value."""
    unseen: list[str] = field(default_factory=list)
    """Questions that the probe had nothing to see on."""
    unlike: dict[str, Any] = field(default_factory=dict)
    """Answers that no switch gives."""


def read_profile(path: Path) -> Likeness:
    """The likeness that a profile asks for. Raises LikeError."""
    found = Likeness()
    for key, answer in _answers(path).items():
        if answer == UNKNOWN:
            found.unseen.append(key)
        elif key in Switches.model_fields and _is_value(key, answer):
            found.switches[key] = answer
        elif _ANYWAY.get(key) != answer:
            found.unlike[key] = answer
    return found


def _answers(path: Path) -> dict[str, Any]:
    try:
        profile = orjson.loads(path.read_bytes())
    except OSError as error:
        raise LikeError(f"{path} cannot be read: {error.strerror}. {_REMEDY}") from error
    except orjson.JSONDecodeError as error:
        raise LikeError(f"{path} is not JSON: {error}. {_REMEDY}") from error
    if not isinstance(profile, dict):
        raise LikeError(f"{path} is no profile: expected an object. {_REMEDY}")
    if profile.get("format") != FORMAT:
        raise LikeError(f"{path}: `format` is {profile.get('format')!r}, expected {FORMAT}. {_REMEDY}")
    answers = profile.get("answers")
    if not isinstance(answers, dict):
        raise LikeError(f"{path}: `answers` is missing, or no object. {_REMEDY}")
    odd = next((key for key, answer in answers.items() if not isinstance(answer, str | int | bool)), None)
    if odd is not None:
        raise LikeError(f"{path}: `answers.{odd}` must be a text, a whole number, true or false. {_REMEDY}")
    return answers


def _is_value(switch: str, answer: Any) -> bool:
    try:
        Switches.model_validate({switch: answer}, strict=True)
    except ValidationError:
        return False
    return True


_REMEDY = "Name a file that `icontact-assets probe --profile FILE` of this version wrote."
