"""What was found for one question, with what it was seen on."""

from __future__ import annotations

from dataclasses import dataclass, field

from icontact_assets.probe.questions import BY_KEY, UNKNOWN, Meaning, Value, Verdict
from icontact_assets.probe.sight import Sight


@dataclass(frozen=True)
class Setting:
    """A setting to change: a variable of the environment, or keys of an import in icontact.yaml."""

    name: str
    """As a person looks for it in the docs."""
    lines: tuple[str, ...]
    """To be written."""
    in_yaml: bool


@dataclass(frozen=True)
class Finding:
    """An answer. Its words are ours: they hold no value that the account holds."""

    key: str
    answer: Value
    words: str
    """What was found, in words."""
    seen: dict[str, int] = field(default_factory=dict)
    """What it was seen on, by name: rows, reads."""
    instead: Meaning | None = None
    """What it means in this case, if that is not what the answer means."""
    setting: Setting | None = None

    @property
    def meaning(self) -> Meaning | None:
        """What it means for us. None where nothing was found."""
        return self.instead or BY_KEY[self.key].meaning(self.answer)

    @property
    def verdict(self) -> Verdict | None:
        """What is to be done. None where nothing was found."""
        return "set" if self.setting is not None else self.meaning.verdict if self.meaning else None


def unknown(key: str, why: str, **seen: int) -> Finding:
    """There was nothing to see it on."""
    return Finding(key, UNKNOWN, why, seen)


def not_seen(sight: Sight, key: str, name: str) -> Finding:
    """An answer that is needed is not there, or is none that can be read."""
    if name not in sight.answers:
        return unknown(key, "not looked at")
    answer = sight.answers[name]
    if answer is None:
        return unknown(key, "no answer came")
    what = "" if answer.is_json else " without JSON"
    return unknown(key, f"the answer was {answer.status}{what}, which shows nothing of it")
