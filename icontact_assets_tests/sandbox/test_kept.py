"""A world that is kept in a file goes on when a sandbox is started on it again."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from icontact_assets.exports import live
from icontact_assets.sandbox.control import State, truth
from icontact_assets.sandbox.kept import Kept, KeptError
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.sandbox.seed import DAY, Plan
from icontact_assets.sandbox.switches import Switches
from icontact_assets.sandbox.times import instant_of
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.harness import House, InFile, Place, Store

PLAN = Plan(seed=3, contacts=60, messages=6, days=12)


def go_on(path: Path) -> State:
    return State(PLAN, Switches(), kept=Kept(path, PLAN, 0))


def test_the_list_that_an_export_filled_is_still_filled(
    computed: Callable[[Place], Warehouse], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "SETTLE_SECONDS", 0.0)
    world = tmp_path / "world"
    warehouse = InFile().warehouse(tmp_path, computed(InFile()))
    with Sandbox(contacts=0, messages=0, days=1, state=world) as sandbox:
        house = House(sandbox, Store(warehouse), tmp_path / "home")
        for id_ in (1, 2, 3):
            house.contact(id_)
        house.store.audience(1, 2, 3)
        assert house.export().added == 3
        subscriptions = sandbox.control("truth?resource=subscriptions")
        stopped_at = instant_of(sandbox.control("clock")["now"])
    with Sandbox(state=world) as sandbox:
        house.sandbox = sandbox
        assert sandbox.control("truth?resource=subscriptions") == subscriptions
        assert stopped_at <= instant_of(sandbox.control("clock")["now"]) <= time.time()
        report = house.export()
        assert (report.added, report.already_subscribed) == (0, 3)
        assert "others added 0 people to the list and removed 0, and 0 left it" in report.external_changes
        with pytest.raises(ValueError, match="kept in a file"):
            sandbox.control("reset")
    warehouse.let_go()
    assert world.stat().st_mode & 0o077 == 0


def test_what_happens_day_by_day_does_not_depend_on_when_it_is_started(tmp_path: Path) -> None:
    path, began = tmp_path / "world", int(time.time()) - 60 * DAY
    Kept(path, PLAN, began)
    first = go_on(path)
    folder, now = first.world.folders[7601], first.world.clock.now()
    assert abs(now - time.time()) < 30
    assert not first.world.clock.frozen
    rows = truth(folder, now, None)
    happened = [row for row in rows["activity"] if row["visible"]]
    assert max(instant_of(row["instant"]) for row in happened) > began + 30 * DAY
    assert any(row["visible"] for row in rows["sends"] if row["released"] and instant_of(row["released"]) > began)
    first.kept = None
    del first
    assert truth(go_on(path).world.folders[7601], now, None) == rows


def test_a_write_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "world"
    Kept(path, PLAN, int(time.time()))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"at": 17')
    assert go_on(path).world.folders[7601].contacts
    assert path.read_bytes() == whole


def test_a_file_that_holds_no_world_is_named(tmp_path: Path) -> None:
    path = tmp_path / "world"
    path.write_text('{"some": "json"}\n')
    with pytest.raises(KeptError, match=f"{path} holds no world"):
        Kept(path, PLAN, 0)
    path.unlink()
    with_it = Kept(path, PLAN, 0)
    with pytest.raises(KeptError, match="Another sandbox"):
        Kept(path, PLAN, 0)
    del with_it


@pytest.mark.parametrize(
    ("switch", "words"),
    [
        ("foo=bar", "There are action_details, "),
        ("id=mixed", "there is no switch 'id'. Did you mean ids?"),
        ("ids=some", "ids=some: expected 'string', 'integer' or 'mixed'"),
        ("bulk_limit", "bulk_limit=: expected a valid integer"),
    ],
)
def test_a_wrong_switch_is_named(switch: str, words: str, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    from icontact_assets.sandbox.__main__ import main

    monkeypatch.setattr(sys, "argv", ["sandbox", "--switch", switch])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert words in capsys.readouterr().err


def test_it_prints_what_to_set() -> None:
    command = [sys.executable, "-m", "icontact_assets.sandbox", "--port", "0", "--contacts", "0", "--messages", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready, _, *exports = [process.stdout.readline().strip() for _ in range(8)]
        process.terminate()
    found = dict(line.removeprefix("export ").split("=", 1) for line in exports)
    assert found["ICONTACT_BASE_URL"] == ready.removeprefix("ready ")
    assert set(Sandbox().environment()) - set(found) == {f"ICONTACT_REQUESTS_PER_{each}" for each in ("SECOND", "MINUTE", "DAY")}  # fmt: skip
