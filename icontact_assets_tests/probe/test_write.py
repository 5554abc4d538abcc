"""A trial of writes, against each way in which iContact may answer them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.first_contact import PAGE, written_line
from icontact_assets.icontact.errors import Incomplete, Refused
from icontact_assets.probe.profile import add_answers, write_profile
from icontact_assets.probe.questions import WRITE_QUESTIONS
from icontact_assets.probe.trial import MOST_WRITES, TrialError
from icontact_assets.probe.write import WriteProbe, left_behind
from icontact_assets.sandbox.like import read_profile
from icontact_assets.sandbox.process import Sandbox
from icontact_assets_tests.probe.bench import DEFAULT, EMPTY, MINE, Bench, write_plays

MOVES = ("move", "move_existing", "move_unsubscribed")


@pytest.fixture
def bench(running_sandbox: Sandbox, tmp_path: Path) -> Iterator[Bench]:
    running_sandbox.control("reset")
    yield Bench(running_sandbox, tmp_path)
    running_sandbox.control("reset")


@pytest.mark.parametrize(
    ("switches", "instead"),
    [
        ({}, {}),
        ({"bulk_failure": "refuse", "resubscribe": "400", "refusal_names": "address"}, {}),
        # The contact stays on both lists, so that the last move would be another case.
        ({"post_existing_subscription": "warning", "move_existing": "400"}, {"move_unsubscribed": "unknown"}),
        ({"post_existing_subscription": "409", "resubscribe": "success", "refusal_names": "both"}, {}),
        ({"resubscribe": "409", "move_existing": "409"}, {"move_unsubscribed": "unknown"}),
        ({"resubscribe": "success", "move_unsubscribed": "400", "write_delay_seconds": 5}, {}),
        (
            {"resubscribe": "pretend", "move_unsubscribed": "subscribe", "write_delay_seconds": 3},
            {"refusal_names": "unknown"},
        ),
    ],
    ids=str,
)
def test_each_switch_is_named_rightly(bench: Bench, switches: dict[str, Any], instead: dict[str, Any]) -> None:
    bench.sandbox.control("switches", **switches)
    trial = bench.open()
    assert bench.run(trial) == {**DEFAULT, **switches, **instead}
    assert len(bench.writes()) == trial.writes <= MOST_WRITES
    assert "@" not in str(bench.told)
    assert sum(line.startswith("Write ") for line in bench.told) == trial.writes
    left = bench.states()
    assert trial.now == {str(list_): left.get(list_, "absent") for list_ in (MINE, EMPTY)}
    assert len(left_behind(trial)) == len(left)


@pytest.mark.parametrize(
    ("switches", "left"),
    [
        ({}, {EMPTY: "unsubscribed", MINE: "normal"}),
        ({"move_unsubscribed": "subscribe"}, {MINE: "normal"}),
        ({"move_unsubscribed": "400", "write_delay_seconds": 4}, {MINE: "unsubscribed"}),
        ({"move_unsubscribed": "400", "resubscribe": "success", "bulk_failure": "refuse"}, {MINE: "normal"}),
    ],
    ids=str,
)
def test_what_can_be_put_back_is(bench: Bench, switches: dict[str, Any], left: dict[int, str]) -> None:
    bench.put(MINE)
    bench.sandbox.control("switches", **switches)
    trial = bench.open()
    found = bench.run(trial)
    assert found == {**DEFAULT, **switches}
    assert bench.states() == left
    changed = {list_ for list_, status in left.items() if (list_, status) != (MINE, "normal")}
    assert {line.split(" on the list ")[1][:4] for line in left_behind(trial)} == {str(list_) for list_ in changed}
    assert trial.writes <= MOST_WRITES


def test_one_list_is_enough_for_what_is_not_about_moves(bench: Bench) -> None:
    bench.put(MINE)
    found = bench.run(trial := bench.open(other=None))
    assert found == DEFAULT | dict.fromkeys(MOVES, "unknown")
    assert bench.states() == {MINE: "unsubscribed"}
    assert "was normal before" in left_behind(trial)[0]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"home": "Others"}, "has 1 other members"),
        ({"other": "Others"}, "has 1 other members"),
        ({"home": "6009"}, "--list 6009 is no list"),
        ({"home": "Twice"}, "is the name of 2 lists"),
        ({"other": "6001"}, "the same list"),
        ({"home": "Export target"}, "An export is about the list 5004"),
        ({"home": "Left"}, "is unsubscribed on the list 6004"),
        ({"other": "Pending"}, "is pending on the list 6005"),
        ({"contact": "99"}, "There is no contact 99"),
        ({"contact": "13"}, "The contact 13 is not `normal`"),
        ({"contact": "me@mail.example"}, "is no contact id"),
    ],
    ids=str,
)
def test_a_trial_is_refused_before_anything_is_written(bench: Bench, asked: dict[str, Any], says: str) -> None:
    for list_id, name in ((6004, "Left"), (6005, "Pending"), (6006, "Twice"), (6007, "Twice")):
        bench.sandbox.control("lists/add", list_id=list_id, name=name)
    bench.put(6004, status="unsubscribed")
    bench.put(6005, status="pending")
    bench.sandbox.control("contacts/add", contact_id=13, email="x@mail.example", status="bounced")
    with pytest.raises(TrialError, match=re.escape(says)):
        bench.open(**asked)
    assert bench.writes() == []


def test_a_list_whose_members_cannot_be_read_is_refused(bench: Bench) -> None:
    ignored = {"path": "/subscriptions$", "do": {"kind": "ignore", "terms": ["listId"], "silent": True}}
    bench.sandbox.control("faults", faults=[ignored])
    with pytest.raises(Incomplete):
        bench.open()


def test_a_write_that_does_not_show_ends_the_trial(bench: Bench) -> None:
    bench.sandbox.control("switches", write_delay_seconds=1000)
    probe = WriteProbe(trial := bench.open(), sleep=lambda _: bench.wait(20), clock=lambda: bench.now)
    with pytest.raises(TrialError, match="does not show after 60 s"):
        probe.run()
    assert trial.writes == 1
    assert left_behind(trial) == [
        "The contact 11 was written to on the list 6001, where it was absent before. That may show late: look at it in "
        "iContact."
    ]


def test_what_ends_a_trial_while_a_write_does_not_show_yet_is_told(bench: Bench) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    bench.sandbox.control("switches", write_delay_seconds=1000)
    probe = WriteProbe(trial := bench.open(), sleep=interrupt)
    with pytest.raises(KeyboardInterrupt):
        probe.run()
    assert "was written to on the list 6001" in left_behind(trial)[0]


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_leaves_its_question_open_and_the_lists_tell_the_rest(bench: Bench, applied: bool) -> None:
    lost = {"method": "POST", "nth": [1, 2], "do": {"kind": "reset", "apply": applied}}
    bench.sandbox.control("faults", faults=[lost])
    found = bench.run(trial := bench.open())
    # The second write subscribes the contact again if the first did, else for the first time.
    open_ = ("bulk_failure", "post_existing_subscription") if applied else DEFAULT
    assert found == DEFAULT | dict.fromkeys(open_, "unknown")
    assert bench.told.count("  Answered: the answer was lost.") == 2
    assert trial.unseen == set()


def test_a_list_that_asks_for_confirmation_ends_in_open_questions(bench: Bench) -> None:
    pending = {"path": "/subscriptions", "do": {"kind": "fields", "set": {"status": "pending"}}}
    trial = bench.open()
    bench.sandbox.control("faults", faults=[pending])
    found = bench.findings(trial)
    assert found["bulk_failure"].words == "answered 200 with the row pending, and then the contact was pending"
    assert {found[key].answer for key in ("move", "unsubscribe", "resubscribe")} == {"unknown"}
    assert trial.writes == 1
    assert "is pending on the list 6001" in left_behind(trial)[0]


def test_no_more_than_twelve_writes_are_sent(bench: Bench) -> None:
    trial = bench.open()
    trial.writes = MOST_WRITES
    with pytest.raises(TrialError, match="All 12 writes are used"):
        trial.try_subscribe(trial.home)
    assert (bench.writes(), left_behind(trial)) == ([], [])


@pytest.mark.parametrize("after", [1, 4, 7])
def test_whatever_ends_a_trial_says_what_is_left_behind(bench: Bench, after: int) -> None:
    stop = {"method": "GET", "query": "^$", "after": after + 2, "do": {"kind": "reply", "status": 402}}
    bench.sandbox.control("faults", faults=[stop])
    probe = bench.probe(trial := bench.open())
    with pytest.raises(Refused):
        probe.run()
    truth = {str(list_): bench.states().get(list_, "absent") for list_ in (MINE, EMPTY)}
    told = {line.split(" on the list ")[1][:4] for line in left_behind(trial)}
    assert {list_ for list_, status in truth.items() if status != "absent"} <= told
    assert [finding.key for finding in probe.all_findings()] == [question.key for question in WRITE_QUESTIONS]


def test_the_page_shows_what_is_found_now(running_sandbox: Sandbox, tmp_path: Path) -> None:
    lines = PAGE.read_text().splitlines()
    for key, switches in write_plays():
        if key in ("resubscribe", "move_existing", "write_delay_seconds"):
            now = written_line(running_sandbox, tmp_path, key, switches)
            assert now in lines, f"run `python -m benchmarks.first_contact`: {now}"
        assert f"| `{key}={switches[key]}` | `{switches[key]}` |" in PAGE.read_text()
    running_sandbox.control("reset")


def test_the_same_is_found_again_in_a_sandbox_like_it(running_sandbox: Sandbox, tmp_path: Path) -> None:
    switches = {"bulk_failure": "refuse", "resubscribe": "pretend", "write_delay_seconds": 2, "move_existing": "409"}
    path, answers = tmp_path / "profile.json", []
    write_profile(path, {"format": 1, "answers": {}, "evidence": {}})
    for number in (1, 2):
        running_sandbox.control("reset")
        running_sandbox.control("switches", **(switches if number == 1 else read_profile(path).switches))
        bench = Bench(running_sandbox, tmp_path / str(number))
        probe = bench.probe(bench.open())
        probe.run()
        add_answers(path, probe.all_findings())
        answers.append({finding.key: finding.answer for finding in probe.all_findings()})
    running_sandbox.control("reset")
    assert read_profile(path).unlike == {}
    assert answers[0] == answers[1] == {**DEFAULT, **switches, "move_unsubscribed": "unknown"}
