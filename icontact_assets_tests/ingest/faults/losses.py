"""Listings that shrink or are empty, and a message that cannot be read."""

from __future__ import annotations

import re
from collections.abc import Callable

from icontact_assets_tests.harness import (
    ACTIVITY,
    BESIDE,
    KINDS,
    LISTINGS,
    Stage,
    asset_of,
    check_equal,
    contents,
    differences,
    only,
    path_of,
    stored,
    travelled,
    true,
)
from icontact_assets_tests.ingest.faults.growth import grow, news
from icontact_assets_tests.ingest.faults.play import SMALL, Fault, Play, Row, told
from icontact_assets_tests.ingest.faults.reads import ERRORS


def emptied(resource: str) -> Callable[[Stage], str]:
    """A listing that was full answers 200 without rows, twice within an hour: nothing is retired."""

    def play(stage: Stage) -> str:
        project = stage.project()
        selection = only(*(["lists"] if resource == "subscriptions" else []), resource)
        assert stage.run(project, selection=selection).green
        before = contents(project)
        empty = {"kind": "reply", "status": 200, "body": {resource: [], "limit": 500, "offset": 0, "total": 0}}
        stage.plan({"path": path_of(resource), "do": empty})
        ended = stage.run(project, selection=selection)
        assert set(ended.red) == {asset_of(resource)}, f"{ended.red}"
        assert contents(project) == before
        with travelled(minutes=20) as window:
            again = stage.run(project, window, selection)
        assert set(again.red) == {asset_of(resource)}
        assert contents(project) == before
        stage.clear()
        assert stage.run(project, selection=selection).green
        assert contents(project) == before
        return told(ended)

    return play


def emptied_activity(kind: str) -> Callable[[Stage], str]:
    """A listing that was full and has grown answers 200 without rows: rows stay, and it is not called complete."""

    def play(stage: Stage) -> str:
        message = news(stage)
        project = stage.project()
        assert stage.run(project).green
        before = stored(project)["activity"]
        grow(stage, 0)
        empty = {"kind": "reply", "status": 200, "body": {kind: [], "limit": 500, "offset": 0, "total": 0}}
        stage.plan({"path": f"/{message}/{kind}$", "do": empty})
        ended = stage.run(project, selection=ACTIVITY)
        assert before <= stored(project)["activity"]
        assert set(ended.red) == {"raw_activity"}, "green with rows missing"
        stage.clear()
        assert stage.run(project, selection=ACTIVITY).green
        check_equal(project)
        return told(ended)

    return play


def fifth_gone(stage: Stage) -> str:
    """A quarter of the contacts is deleted: nothing is retired until a reading an hour later agrees."""
    project, contacts = stage.project(), only("contacts")
    assert stage.run(project, selection=contacts).green
    before = stored(project)["contacts"]
    for row in sorted(before)[:75]:
        stage.sandbox.control("contacts/delete", contact_id=int(row[0]))
    ended = stage.run(project, selection=contacts)
    assert set(ended.red) == {"raw_contacts"}
    with travelled(minutes=50) as window:
        assert set(stage.run(project, window, contacts).red) == {"raw_contacts"}
    assert stored(project)["contacts"] == before
    with travelled(minutes=61) as window:
        assert stage.run(project, window, contacts).green
    check_equal(project, leave_out=("messages", "sends", "lists", "subscriptions", "activity"))
    return told(ended).replace("equal once it is over", "an hour later 75 retired and equal")


SHRUNK = Row(
    "an empty 200, or a fifth of the contacts gone, on a listing that was full",
    "nothing retired before a second read agrees",
    [
        *(
            Play(
                f"empty 200, {resource}",
                emptied(resource),
                tested="too" if resource == "contacts" else "no",
                in_lake=resource == "lists",
            )
            for resource in LISTINGS
        ),
        *(Play(f"empty 200, {kind} that grew", emptied_activity(kind)) for kind in KINDS),
        Play("a quarter of the contacts gone", fifth_gone, tested="too", in_lake=True),
    ],
)


def failing_message(kind: str, do: Fault) -> Callable[[Stage], str]:
    """One listing of one message fails for ever: the rest is complete, that one is listed, the run is not green."""

    def play(stage: Stage) -> str:
        message = news(stage)
        project = stage.project()
        stage.plan({"path": f"/{message}/{kind}$", "do": do})
        ended = stage.run(project, selection=only("messages", "sends", "statistics", "activity"))
        red = {"raw_activity", "raw_statistics"} if kind == "statistics" else {"raw_activity"}
        assert set(ended.red) == red
        for words in ended.red.values():
            assert str(message) in words
            assert kind in words
            assert set(re.findall(r"\b3[123]\d{4}\b", words)) == {str(message)}, words
        missing = true(project)["activity"] - stored(project)["activity"]
        lost = {str(message)} if kind == "statistics" else {(str(message), kind.removesuffix("s"))}
        assert {row[0] if kind == "statistics" else row[:2] for row in missing} <= lost
        assert stored(project)["activity"] <= true(project)["activity"]
        assert differences(project, leave_out=(*BESIDE, "activity")) == {}
        failed = only(*(["statistics"] if kind == "statistics" else []), "activity")
        again = stage.run(project, selection=failed)
        assert set(again.red) == red, "it fails as long as the message does"
        stage.clear()
        assert stage.run(project, selection=failed).green
        check_equal(project, leave_out=BESIDE)
        return told(ended)

    return play


BAD_ANSWERS: dict[str, Fault] = {
    "400": {"kind": "reply", "status": 400, "body": {"errors": ["broken"]}},
    "500": {"kind": "reply", "status": 500, "body": {"errors": ["broken"]}},
    "reset": {"kind": "reset"},
    "errors in a 200": ERRORS,
}

ONE_MESSAGE = Row(
    "one message fails for ever",
    "the rest complete; that one listed; the run not green",
    [
        Play(
            f"{name}, {kind}",
            failing_message(kind, do),
            SMALL,
            tested="too" if (name, kind) == ("500", "clicks") else "no",
            in_lake=(name, kind) == ("500", "clicks"),
        )
        for kind in ("statistics", *KINDS)
        for name, do in BAD_ANSWERS.items()
    ],
)
