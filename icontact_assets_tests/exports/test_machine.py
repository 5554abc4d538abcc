"""Random histories of exports, as long as the suite has time for; benchmarks/histories.py runs as many as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from icontact_assets.exports import apply, live
from icontact_assets.sandbox.process import Sandbox
from icontact_assets_tests.exports.machine import ExportMachine
from icontact_assets_tests.harness import Store

QUICK = settings(
    max_examples=3,
    stateful_step_count=10,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


def test_no_history_leads_to_a_forbidden_write_a_wrong_list_or_a_false_record(
    running_sandbox: Sandbox, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.warehouse.let_go()
    monkeypatch.setattr(live, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(apply, "BATCH", 5)

    class Machine(ExportMachine):
        sandbox = running_sandbox
        template: Path = store.warehouse.path

    run_state_machine_as_test(Machine, settings=QUICK)  # type: ignore[no-untyped-call]
