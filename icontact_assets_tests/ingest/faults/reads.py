"""Reads under switches and faults of the transport, from the first request on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from icontact_assets_tests.harness import (
    KINDS,
    LISTINGS,
    RESOURCES,
    Stage,
    asset_of,
    check_equal,
    differences,
    only,
    path_of,
)
from icontact_assets_tests.ingest.faults.play import (
    SMALL,
    TINY,
    TRIES,
    Fault,
    Play,
    Row,
    most_tries,
    told,
    without,
)
from icontact_assets_tests.ingest.faults.switches import SWITCHES


def reading(
    *,
    switches: Mapping[str, Any] | None = None,
    faults: Sequence[Fault] = (),
    may_be_red: Sequence[str] = (),
    must_be_red: bool = False,
    resources: Sequence[str] = RESOURCES,
    struck: Sequence[str] = (),
) -> Callable[[Stage], str]:
    """A first reading under switches and faults, and another when the faults are gone: never green with rows missing.

    Of the assets only those in `may_be_red` may fail, and then the others are equal. Only assets of `resources` are read,
    or, on a brief stage, those of `struck`.
    """

    def play(stage: Stage) -> str:
        read = struck if stage.brief and struck else resources
        selection = only(*read)
        stored_as = {resource if resource in LISTINGS else "activity" for resource in read}
        aside = tuple(name for name in (*LISTINGS, "activity") if name not in stored_as)
        stage.sandbox.control("switches", **(switches or {"ids": "string"}))
        project = stage.project()
        stage.plan(*faults)
        ended = stage.run(project, selection=selection)
        assert set(ended.red) <= set(may_be_red), ended.red
        assert not (must_be_red and ended.green), "green"
        assert most_tries(stage) <= 2 * TRIES, "a request was tried without end"
        left_out = (*without(ended), *aside)
        assert differences(project, leave_out=left_out) == {}
        if faults:
            stage.clear()
            assert stage.run(project, selection=selection).red == {}
            check_equal(project, leave_out=aside)
        return told(ended)

    return play


def cap(limit: int, *, refuse: bool = False) -> Fault:
    return {"path": "", "do": {"kind": "cap", "limit": limit, "refuse": refuse}}


_NO_TOTAL: Fault = {"do": {"kind": "envelope", "drop": ["total"]}}

_LIMITS: list[tuple[str, dict[str, Any] | None, list[Fault], dict[str, int], Literal["no", "too"]]] = [
    ("none", None, [], {}, "no"),
    ("cap 100", {"page_limit_rows": 100}, [], {}, "no"),
    ("cap 7", {"page_limit_rows": 7}, [], {}, "no"),
    ("cap 1", {"page_limit_rows": 1}, [], TINY, "too"),
    ("cap 100, the asked limit echoed", {"page_limit_rows": 100, "page_limit_echo": "asked"}, [], {}, "no"),
    ("refused above 100", {"page_limit": "refuse", "page_limit_rows": 100}, [], {}, "no"),
    ("refused above 7", {"page_limit": "refuse", "page_limit_rows": 7}, [], {}, "no"),
    ("refused above 1", {"page_limit": "refuse", "page_limit_rows": 1}, [], SMALL, "no"),
    ("no total beside the rows", None, [_NO_TOTAL], {}, "no"),
    ("no total beside the rows, cap 7", None, [_NO_TOTAL, cap(7)], {}, "no"),
]

LIMITS = Row(
    "none; page cap 100, 7 and 1; limit clamped or refused",
    "all row sets equal the truth",
    [
        Play(
            name, reading(switches=switches, faults=faults, struck=["contacts"]), world, tested, in_lake=len(faults) < 2
        )
        for name, switches, faults, world, tested in _LIMITS
    ],
)

BROKEN: dict[str, Fault] = {
    "503": {"kind": "reply", "status": 503},
    "503 with Retry-After": {"kind": "reply", "status": 503, "headers": {"Retry-After": "1"}},
    "503 HTML": {"kind": "reply", "status": 503, "text": "<html>Service Temporarily Unavailable</html>"},
    "429": {"kind": "reply", "status": 429, "body": {"errors": ["Too Many Requests"]}},
    "420": {"kind": "reply", "status": 420, "body": {"errors": ["Enhance Your Calm"]}},
    "reset": {"kind": "reset"},
    "cut body": {"kind": "cut"},
    "cut body that looks complete": {"kind": "cut", "clean": True},
    "HTML": {"kind": "reply", "status": 200, "text": "<html>Maintenance</html>"},
    "slow bytes": {"kind": "slow", "chunk": 2000, "pause": 0.01},
    "empty body": {"kind": "reply", "status": 200, "text": ""},
}

TRANSPORT = Row(
    "503 every 9th answer; 429 and 420; resets; cut bodies; HTML; slow bytes; empty bodies",
    "equal; bounded tries",
    [Play(f"{name}, every 9th answer", reading(faults=[{"every": 9, "do": do}])) for name, do in BROKEN.items()]
    + [
        Play(
            "every 9th answer, each in another way",
            reading(
                switches={"page_limit_rows": 30},
                faults=[
                    {"every": 9 * len(BROKEN), "after": 9 * number, "do": do}
                    for number, do in enumerate(BROKEN.values())
                ],
            ),
            tested="too",
            in_lake=True,
        )
    ]
    + [
        Play(
            f"{name}, {resource} for ever",
            reading(
                faults=[{"path": path_of(resource), "do": do}],
                may_be_red=[asset_of(resource)],
                must_be_red=name != "slow bytes",
                struck=[resource] if resource == "contacts" else (),
            ),
            in_lake=resource == "contacts",
        )
        for resource in ("contacts", "opens")
        for name, do in BROKEN.items()
        if name not in ("503 with Retry-After", "420", "cut body that looks complete")
    ],
)

ERRORS: Fault = {"kind": "reply", "status": 200, "body": {"errors": ["An error occurred."]}}
WARNING = "The data you received may not be what you expected. Terms could not be recognized and so were ignored."


def errors_for_ever(*resources: str, beside: Sequence[str] = RESOURCES) -> Callable[[Stage], str]:
    """The assets are red, and say which listing they could not read. `beside`: what is read in all."""
    red = [asset_of(resource) for resource in resources]
    if "statistics" in resources:
        red.append("raw_activity")
    faults = [{"path": path_of(resource), "do": ERRORS} for resource in resources]
    play = reading(faults=faults, may_be_red=red, must_be_red=True, resources=beside, struck=resources)

    def named(stage: Stage) -> str:
        words = play(stage)
        assert all(resource in words for resource in resources)
        return words

    return named


def ignored(resource: str, term: str, *, silent: bool = False) -> Fault:
    """A filter of a listing that iContact does not heed."""
    return {"path": path_of(resource), "do": {"kind": "ignore", "terms": [term], "silent": silent}}


SILENT_ERRORS = Row(
    "200 with only `errors`, on each resource in turn; `warnings` on a filtered read",
    "equal, or the resource is red and named; never green with rows missing",
    [
        *(
            Play(
                f"errors once, {resource}",
                reading(faults=[{"path": path_of(resource), "nth": 1, "do": ERRORS}], struck=[resource]),
                in_lake=resource == "lists",
            )
            for resource in RESOURCES
        ),
        *(
            Play(
                f"errors for ever, {resource}",
                errors_for_ever(resource),
                in_lake=resource in ("messages", "sends"),
            )
            for resource in RESOURCES
        ),
        Play(
            "errors for ever, lists and clicks",
            errors_for_ever("lists", "clicks", beside=("lists", "subscriptions", "messages", "sends", *KINDS)),
            SMALL,
            tested="only",
        ),
        *(
            Play(
                f"warnings, {resource}",
                reading(
                    faults=[{"path": path_of(resource), "do": {"kind": "warn", "texts": [WARNING]}}],
                    may_be_red=[asset_of(resource)] if resource in ("contacts", "subscriptions") else [],
                ),
            )
            for resource in RESOURCES
            if resource != "statistics"
        ),
        *(
            Play(
                f"{term} of {resource} ignored{', nothing said' if silent else ' with a warning'}",
                reading(
                    faults=[ignored(resource, term, silent=silent)],
                    may_be_red=[asset_of(resource)],
                    struck=[resource],
                ),
                in_lake=term == "contactId" and silent,
            )
            for resource, term, silent in (
                ("contacts", "status", False),
                ("contacts", "contactId", False),
                ("contacts", "contactId", True),
                ("subscriptions", "listId", False),
                ("subscriptions", "listId", True),
            )
        ),
        Play(
            "contactId of contacts and listId of subscriptions ignored with a warning",
            reading(
                faults=[ignored("contacts", "contactId"), ignored("subscriptions", "listId")],
                may_be_red=["raw_contacts", "raw_subscriptions"],
                resources=["contacts", "lists", "subscriptions"],
            ),
            tested="only",
        ),
        Play(
            "status of contacts ignored with a warning, contacts alone",
            reading(faults=[ignored("contacts", "status")], may_be_red=["raw_contacts"], resources=["contacts"]),
            tested="only",
            in_lake=True,
        ),
        *(
            Play(
                f"{resource} announces {total} rows",
                reading(
                    faults=[{"path": path_of(resource), "do": {"kind": "envelope", "set": {"total": total}}}],
                    may_be_red=[asset_of(resource)],
                    must_be_red=True,
                    struck=[resource],
                ),
                in_lake=(resource, total) == ("sends", 999),
            )
            for resource in ("messages", "sends")
            for total in (3, 999)
        ),
    ],
)


_OF_MESSAGES = {"message_date", "orderby", "past_end"}
_OF_ACTIVITY = {"activity_order", "activity_time"}

SHAPES = Row(
    "ids as numbers, strings, mixed; every time format of the reference; unknown extra fields",
    "equal",
    [
        Play(
            ", ".join(f"{name} {value}" for name, value in switches.items()),
            reading(switches=switches, struck=["messages" if switches.keys() & _OF_MESSAGES else "contacts"]),
            in_lake=not switches.keys() & _OF_ACTIVITY,
        )
        for switches in SWITCHES
        if not switches.keys() & {"page_limit_rows", "statistics", "automation_sends"}
    ],
)
