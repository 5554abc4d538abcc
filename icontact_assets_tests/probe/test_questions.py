"""What is asked fits the sandbox, so that what was found can be set there."""

from __future__ import annotations

from typing import Any, get_args

from icontact_assets.probe.questions import BY_KEY, QUESTIONS, WRITE_QUESTIONS
from icontact_assets.sandbox.switches import Switches

NO_SWITCHES = {"offset", "missing_fields", "response_time", "move", "unsubscribe"}


def values(annotation: Any) -> tuple[Any, ...]:
    return (True, False) if annotation is bool else get_args(annotation)


def test_a_question_that_is_a_switch_takes_every_value_of_it() -> None:
    questions = (*QUESTIONS, *WRITE_QUESTIONS)
    assert len(BY_KEY) == len(questions)
    for question in questions:
        assert (question.key in Switches.model_fields) == (question.key not in NO_SWITCHES), question.key
        if question.key in Switches.model_fields:
            annotation = Switches.model_fields[question.key].annotation
            assert (question.count is not None) == (annotation is int), question.key
            assert set(values(annotation)) <= set(question.answers), question.key
