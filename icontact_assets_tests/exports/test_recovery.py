"""Exports that were cut off: what may have been written is read before anything is written again."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from contextlib import nullcontext

import orjson
import pytest

from icontact_assets.exports.run import ExportError
from icontact_assets.settings.models import Remove
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.storage import Tenure, WarehouseError
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.exports import child
from icontact_assets_tests.harness import HOLDING, LIST, House


def people(house: House, *ids: int) -> None:
    house.contacts(*ids)
    house.store.audience(*ids)


def killed(house: House, method: str, number: int, *, applied: bool, mode: str = "add") -> None:
    """An export in a process of its own, killed with -9 while it waits for the answer to its n-th write."""
    # Applied: the answer is late. Not applied: the request is answered by somebody else, late.
    house.fault(method=method, nth=number, do={"kind": "delay", "seconds": 30})
    if not applied:
        house.fault(method=method, nth=number, do={"kind": "reset"})
    before = len([row for row in house.writes() if row["method"] == method])
    house.store.warehouse.let_go()
    process = child.start(house.sandbox.url, house.store.warehouse.path, house.settings(mode))
    deadline = time.monotonic() + 120
    while len([row for row in house.writes() if row["method"] == method]) < before + number:
        assert time.monotonic() < deadline
        assert process.is_alive()
        time.sleep(0.05)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    house.sandbox.control("faults/clear")


@pytest.mark.parametrize("applied", [True, False])
def test_killed_while_it_subscribes_the_next_run_resolves_it_first(house, applied):
    people(house, *range(1, 251))
    killed(house, "POST", 2, applied=applied)
    assert house.store.rows("SELECT outcome, count(*) FROM export_outcomes GROUP BY ALL ORDER BY ALL") == [
        ("added", 100),
        ("intended", 100),
    ]
    report = house.export()
    posts = house.posts()
    assert house.on_list() == dict.fromkeys(range(1, 251), "normal")
    assert [len(post) for post in posts] == ([100, 100, 50] if applied else [100, 100, 100, 50])
    assert sorted({id_ for post in posts for id_ in post}) == list(range(1, 251))
    resolved = "SELECT outcome, count(*) FROM export_outcomes WHERE run_id = 'killed' GROUP BY ALL ORDER BY ALL"
    assert house.store.rows(resolved) == ([("added", 200)] if applied else [("added", 100), ("failed", 100)])
    assert report.added == (50 if applied else 150)
    assert house.store.rows("SELECT changed_by, count(*) FROM export_members GROUP BY ALL") == [("export", 250)]


def test_a_run_whose_lock_is_lost_between_two_batches_writes_no_more(house, monkeypatch):
    people(house, *range(1, 151))

    class Lost(Tenure):
        def confirm(self) -> None:
            if house.posts():
                raise WarehouseError("The lock was lost.")

    monkeypatch.setattr(DatabaseFile, "lock", lambda *_, **__: nullcontext(Lost()))
    with pytest.raises(WarehouseError, match="The lock was lost"):
        house.export()
    assert [len(post) for post in house.posts()] == [100]
    assert Counter(house.outcomes().values())["added"] == 100
    monkeypatch.undo()
    assert house.export().added == 50
    assert [len(post) for post in house.posts()] == [100, 50]


def test_killed_while_it_moves_the_next_run_resolves_it_first(house):
    people(house, 1, 2, 3)
    house.export("mirror")
    house.store.audience()
    killed(house, "PUT", 2, applied=True, mode="mirror")
    house.export("mirror")
    assert house.on_list() == {}
    assert house.on(HOLDING) == {1: "normal", 2: "normal", 3: "normal"}
    assert house.removals() == [("PUT", 1), ("PUT", 2), ("PUT", 3)]
    moved = "SELECT contact_id, outcome FROM export_outcomes WHERE action = 'move' AND outcome <> 'failed' ORDER BY ALL"
    assert house.store.rows(moved) == [("1", "moved"), ("2", "moved"), ("3", "moved")]


@pytest.mark.usefixtures("heeds_signals")
def test_stopped_by_a_signal_the_run_has_ended_and_the_next_one_resolves_it(house):
    people(house, 1, 2)
    house.fault(method="POST", nth=1, do={"kind": "delay", "seconds": 30})

    def stop() -> None:
        while not house.writes():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop).start()
    with pytest.raises(KeyboardInterrupt):
        house.export()
    assert house.store.rows("SELECT status, reason FROM export_runs") == [("failed", "the run was interrupted")]
    assert house.outcomes() == {1: "intended", 2: "intended"}
    house.sandbox.control("faults/clear")
    house.export()
    assert house.on_list() == {1: "normal", 2: "normal"}
    assert house.store.rows("SELECT count(*) FROM export_outcomes WHERE outcome = 'intended'") == [(0,)]


@pytest.mark.parametrize("requests", [6, 12])
def test_killed_in_the_middle_of_a_mirror_the_next_run_finishes_it_and_writes_to_nobody_twice(house, requests):
    people(house, *range(1, 41))
    house.store.audience(*range(1, 21))
    house.export("mirror")
    house.store.audience(*range(11, 41))
    house.sandbox.control("log/clear")
    house.fault(nth=requests, do={"kind": "delay", "seconds": 30})
    house.store.warehouse.let_go()
    process = child.start(house.sandbox.url, house.store.warehouse.path, house.settings("mirror"))
    deadline = time.monotonic() + 120
    while len(house.sandbox.control("log")) < requests:
        assert time.monotonic() < deadline
        assert process.is_alive()
        time.sleep(0.05)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    house.sandbox.control("faults/clear")
    with Warehouse(DatabaseFile(house.store.warehouse.path, wait_seconds=1)).read():
        pass
    house.export("mirror")
    assert house.on_list() == dict.fromkeys(range(11, 41), "normal")
    assert house.on(HOLDING) == dict.fromkeys(range(1, 11), "normal")
    # A request that was cut off by the kill is turned away with 400, and may come again.
    accepted = [row for row in house.writes() if row["status"] == 200]
    moved = [int(row["path"].rpartition("_")[2]) for row in accepted if row["method"] == "PUT"]
    added = [
        int(each["contactId"]) for row in accepted if row["method"] == "POST" for each in orjson.loads(row["body"])
    ]
    assert (sorted(moved), sorted(added)) == (list(range(1, 11)), list(range(21, 41)))
    assert house.store.rows("SELECT count(*) FROM export_outcomes WHERE outcome IN ('intended', 'unconfirmed')") == [
        (0,)
    ]


def test_what_shows_late_is_not_written_again(house):
    people(house, 1)
    house.sandbox.control("switches", write_delay_seconds=60)
    assert house.export().failed == {"iContact confirmed it, but the list does not show it": 1}
    house.sandbox.control("clock", advance=61)
    report = house.export()
    assert (report.already_subscribed, report.added) == (1, 0)
    assert house.posts() == [[1]]
    assert house.store.rows("SELECT outcome, reason FROM export_outcomes WHERE run_id = 'run1'") == [
        ("added", "its effect was not known, and the list showed it later")
    ]
    assert house.store.rows("SELECT changed_by FROM export_members") == [("export",)]


def test_who_was_added_by_a_run_that_was_cut_off_belongs_to_the_export(house):
    people(house, 1, 2)
    house.fault(method="POST", nth=[1, 2], do={"kind": "reset"})
    with pytest.raises(ExportError):
        house.export("mirror")
    assert house.outcomes() == {1: "intended", 2: "intended"}
    house.sandbox.control("subscriptions/set", list_id=LIST, contact_id=1)
    house.sandbox.control("subscriptions/set", list_id=LIST, contact_id=2)
    house.store.audience()
    assert house.export("mirror", remove=Remove()).removed == 2
    assert house.on_list() == {1: "unsubscribed", 2: "unsubscribed"}


def test_what_was_certainly_not_written_leaves_no_intent(house):
    people(house, 1, 2)
    house.fault(method="POST", do={"kind": "reply", "status": 402})
    with pytest.raises(ExportError):
        house.export()
    assert house.outcomes() == {}


def test_an_export_that_is_read_after_a_lost_answer_in_vain_keeps_its_intent(house):
    people(house, 1)
    house.fault(method="POST", nth=1, do={"kind": "reset", "apply": True})
    house.fault(path="subscriptions", method="GET", after=1, do={"kind": "reply", "status": 402})
    with pytest.raises(ExportError):
        house.export()
    assert house.outcomes() == {1: "intended"}
    house.sandbox.control("faults/clear")
    assert house.export().already_subscribed == 1
    assert house.posts() == [[1]]


def test_only_one_export_runs_at_a_time(house, monkeypatch):
    from filelock import FileLock

    path = house.store.warehouse.path
    monkeypatch.setattr("icontact_assets.exports.run._LOCK_SECONDS", 0.1)
    with FileLock(path.with_name(f"{path.name}.icontact.exports.lock")), pytest.raises(ExportError, match="Another"):
        house.export()
    assert house.store.rows("SELECT * FROM export_runs") == []
