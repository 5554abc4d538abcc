"""A trial of writes, against each way in which iContact may answer them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.errors import Incomplete, Refused
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.session import Credentials, Session
from icontact_assets.probe.questions import WRITE_QUESTIONS
from icontact_assets.probe.trial import MOST_WRITES, Trial, TrialError
from icontact_assets.probe.write import WriteProbe, left_behind
from icontact_assets.sandbox.process import Sandbox

ME, SOMEBODY = 11, 12
MINE, EMPTY, OTHERS = 6001, 6002, 6003
DEFAULT = {
    "bulk_failure": "skip", "post_existing_subscription": "existing", "move": "works", "move_existing": "merge",
    "unsubscribe": "works", "resubscribe": "skip", "move_unsubscribed": "carry", "refusal_names": "id",
    "write_delay_seconds": 0,
}  # fmt: skip


class Bench:
    """A client folder with a contact and lists for a trial, and one list with somebody else."""

    def __init__(self, sandbox: Sandbox, home: Path) -> None:
        self.sandbox = sandbox
        session = Session(
            sandbox.url, Credentials("sandbox-app", "sandbox-user", "sandbox-pass"),
            Budget(home, "a", per_second=0, per_minute=0, per_day=0), tries=1,
        )  # fmt: skip
        self.folder = Folder(session, "1300001", "7601")
        self.told: list[str] = []
        self.now = 0.0
        for contact_id in (ME, SOMEBODY):
            sandbox.control("contacts/add", contact_id=contact_id, email=f"planted{contact_id}@mail.example")
        for list_id, name in ((MINE, "Trial"), (EMPTY, "Second"), (OTHERS, "Others")):
            sandbox.control("lists/add", list_id=list_id, name=name)
        self.put(OTHERS, SOMEBODY)

    def put(self, list_id: int, contact_id: int = ME, status: str = "normal") -> None:
        self.sandbox.control("subscriptions/set", list_id=list_id, contact_id=contact_id, status=status)

    def open(self, home: str = "Trial", other: str | None = "Second", contact: str = str(ME)) -> Trial:
        trial = Trial(self.folder, contact, home, other, reserved=("Export target",), tell=self.told.append)
        trial.check()
        return trial

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.sandbox.control("clock", advance=seconds)

    def probe(self, trial: Trial) -> WriteProbe:
        return WriteProbe(trial, sleep=self.wait, clock=lambda: self.now)

    def run(self, trial: Trial) -> dict[str, Any]:
        probe = self.probe(trial)
        probe.run()
        return {finding.key: finding.answer for finding in probe.all_findings()}

    def states(self) -> dict[int, str]:
        rows = self.sandbox.control("truth?resource=subscriptions")
        return {int(row["list_id"]): row["status"] for row in rows if row["contact_id"] == str(ME)}

    def writes(self) -> list[dict[str, Any]]:
        return [row for row in self.sandbox.control("log") if row["method"] != "GET"]


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
        ({"move_unsubscribed": "400"}, {MINE: "unsubscribed"}),
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
    assert found == DEFAULT | dict.fromkeys(("move", "move_existing", "move_unsubscribed"), "unknown")
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
        "The contact 11 was written to, and not seen since, on the list 6001, where it was absent before: look at it in "
        "iContact."
    ]


def test_a_lost_answer_is_found_out_from_the_list(bench: Bench) -> None:
    bench.sandbox.control("faults", faults=[{"method": "POST", "nth": 1, "do": {"kind": "reset", "apply": True}}])
    assert bench.run(bench.open()) == {**DEFAULT, "bulk_failure": "other"}
    assert "  Answered: the answer was lost." in bench.told


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
