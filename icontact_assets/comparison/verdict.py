"""What a comparison comes to: the rule of the user, and the sentences for people and for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from icontact_assets.comparison.causes import Cause
from icontact_assets.comparison.comparison import Comparison, Found
from icontact_assets.comparison.values import fields
from icontact_assets.errors import UserError
from icontact_assets.plain import mask

PROFILES = "profiles"
"""What a rule names, beside the fields: the profiles that only one side has, and those that could be several."""


class RuleError(UserError):
    """A rule cannot be understood. The text names it and the remedy."""


@dataclass(frozen=True)
class Rule:
    """How much may differ without an explanation, in percent."""

    by_name: Mapping[str, float] = field(default_factory=dict)
    """For some fields, or `profiles`."""
    otherwise: float = 0.0

    @classmethod
    def parsed(cls, texts: Iterable[str]) -> Rule:
        """A rule of texts such as `city=1.5` and `2`. Raises RuleError."""
        by_name: dict[str, float] = {}
        for text in texts:
            name, _, number = text.rpartition("=")
            try:
                percent = float(number)
            except ValueError:
                percent = -1.0
            if not 0 <= percent <= 100 or (name and name not in (PROFILES, *fields())) or name in by_name:
                raise RuleError(
                    f"--allow {mask(text)} is no rule. Write a number from 0 to 100, or a field, = and the number, "
                    f"each field once. The fields are {PROFILES}, {', '.join(fields())}."
                )
            by_name[name] = percent
        otherwise = by_name.pop("", 0.0)
        return cls(by_name, otherwise)

    def beyond(self, found: Comparison) -> tuple[str, ...]:
        """The fields, and perhaps `profiles`, of which more differs without an explanation than may."""
        percents = {PROFILES: found.profiles_percent, **{one.name: one.percent for one in found.fields}}
        return tuple(name for name, percent in percents.items() if percent > self.by_name.get(name, self.otherwise))


@dataclass(frozen=True)
class Verdict:
    """What it comes to, in words."""

    good: bool
    """Whether nothing is beyond the rule."""
    headline: str
    sentences: tuple[str, ...]
    beyond: tuple[str, ...]


def verdict(found: Comparison, rule: Rule) -> Verdict:
    """What a comparison comes to by a rule."""
    beyond = rule.beyond(found)
    unlike = sum(one.unlike for one in found.fields)
    alone = sum(one.count for one in (*found.only_there, *found.only_here)) + found.ambiguous
    unexplained = sum(one.unexplained for one in found.fields)
    if beyond:
        headline = f"More differs than is explained or allowed: {', '.join(beyond)}."
    elif not unlike and not alone:
        headline = "The profiles are equal on both sides."
    elif not unexplained and not found.profiles_unexplained:
        headline = "All that differs is explained."
    else:
        headline = "What differs without an explanation is allowed."
    return Verdict(not beyond, headline, tuple(_sentences(found, unlike, unexplained)), beyond)


def _sentences(found: Comparison, unlike: int, unexplained: int) -> Iterable[str]:
    pairs = found.pairs
    yield (
        f"The export has {pairs.there:,} profiles, and {pairs.here:,} are here. {found.compared:,} are on both sides: "
        f"{pairs.by_id:,} by their contact id, {pairs.by_address:,} by their address."
    )
    equal = sum(one.equal for one in found.fields)
    yield (
        f"They have {equal + unlike:,} values in {len(found.fields)} fields. {equal:,} are equal, "
        f"{unlike - unexplained:,} differ for a known cause, and {unexplained:,} without an explanation."
    )
    for side, ones in (("in the export", found.only_there), ("here", found.only_here)):
        if ones:
            yield f"{_profiles(sum(one.count for one in ones))} only {side}: {_listed(ones)}."
    if found.ambiguous:
        yield (
            f"{_profiles(pairs.same_id_there)} in the export with a contact id that it has several times, and "
            f"{pairs.same_address_there:,} with nothing but an address that several have. Nobody was guessed: these "
            "are not compared."
        )
    lost = sum(one.count for each in found.fields for one in each.causes if one.cause is Cause.OLDER)
    if lost:
        yield (
            f"{lost:,} values hold activity that is older than what iContact still shows. It cannot be read from "
            "iContact any more: keep the export."
        )
    if found.missing_fields:
        yield f"The export does not have {', '.join(found.missing_fields)}."
    if found.export.unknown:
        yield f"Not compared, because they are no fields: {', '.join(found.export.unknown)}."
    yield from found.notes


def _profiles(count: int) -> str:
    return "1 profile is" if count == 1 else f"{count:,} profiles are"


def _listed(ones: Sequence[Found]) -> str:
    return ", ".join(
        f"{one.count:,} because {one.cause.value}"
        if one.cause is not Cause.UNKNOWN
        else f"{one.count:,} without an explanation"
        for one in ones
    )


def differences(found: Comparison) -> list[tuple[str, Found]]:
    """Every cause with what it is of: a field, or the profiles of a side."""
    return [
        *((one.name, cause) for one in found.fields for cause in one.causes),
        *(("profiles only in the export", cause) for cause in found.only_there),
        *(("profiles only here", cause) for cause in found.only_here),
    ]


def facts(found: Comparison, rule: Rule) -> dict[str, Any]:
    """All of it for a script, of values that JSON has."""
    said = verdict(found, rule)
    return {
        "verdict": {**asdict(said), "allowed": {"otherwise": rule.otherwise, **rule.by_name}},
        "exported_at": found.exported_at.isoformat(),
        "export": asdict(found.export),
        "profiles": {
            **asdict(found.pairs),
            "only_there": _facts(found.only_there),
            "only_here": _facts(found.only_here),
            "unexplained": found.profiles_unexplained,
            "percent": found.profiles_percent,
        },
        "fields": {
            one.name: {
                **{name: value for name, value in asdict(one).items() if name not in ("name", "causes")},
                "causes": _facts(one.causes),
                "unexplained": one.unexplained,
                "percent": one.percent,
            }
            for one in found.fields
        },
        "missing_fields": found.missing_fields,
        "notes": found.notes,
    }


def _facts(ones: Sequence[Found]) -> dict[str, Any]:
    return {
        one.cause.name.lower(): {
            "profiles": one.count,
            "contact_ids": one.contact_ids,
            "explained": one.cause.explained,
        }
        for one in ones
    }
