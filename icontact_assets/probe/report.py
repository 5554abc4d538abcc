"""All that was found, question by question, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable

from icontact_assets.probe import activity, paging, people, service, times
from icontact_assets.probe.findings import Finding, Setting
from icontact_assets.probe.questions import QUESTIONS, UNKNOWN
from icontact_assets.probe.sight import Sight

_JUDGES: dict[str, Callable[[Sight], Finding]] = {
    **{judge.__name__: judge for judge in (*paging.JUDGES, *people.JUDGES, *activity.JUDGES, *service.JUDGES)},
    **times.JUDGES_BY_KEY,
}


def findings(sight: Sight) -> list[Finding]:
    """The answer to each question, in their order."""
    return [_JUDGES[question.key](sight) for question in QUESTIONS]


def settings(found: list[Finding]) -> list[Setting]:
    """The settings to change, each once."""
    return list({finding.setting.name: finding.setting for finding in found if finding.setting is not None}.values())


def is_handled(found: list[Finding]) -> bool:
    """Whether nothing was found that we do not handle."""
    return all(finding.answer == UNKNOWN or finding.verdict != "report" for finding in found)
