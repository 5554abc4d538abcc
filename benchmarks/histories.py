"""Random histories of exports, many more than the suite has time for. Prints what they were made of.

python -m benchmarks.histories [how many, by default 500]

What fails is printed as the calls that lead to it. It is not made smaller: that would take as long again.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from icontact_assets.exports import apply, live
from icontact_assets.sandbox.process import Sandbox as Service
from icontact_assets_tests.exports.machine import ExportMachine
from icontact_assets_tests.harness import SCHEMA, HeldWarehouse, Store


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    # Small batches, and no waiting for lists to show what was written.
    live.SETTLE_SECONDS, apply.BATCH = 0.0, 5
    tally = Counter[str]()
    with tempfile.TemporaryDirectory() as home, Service(contacts=0, messages=0, days=1) as service:
        warehouse = HeldWarehouse(Path(home) / "warehouse.duckdb", SCHEMA)
        Store(warehouse).profiles()
        warehouse.let_go()

        class Machine(ExportMachine):
            sandbox = service
            template = warehouse.path

            def teardown(self) -> None:
                tally.update(histories=1, runs=len(self.runs), unclear=len(self.blurred))
                tally.update(write.action for write in self.writes)
                tally.update(without_effect=sum(not write.effect for write in self.writes))
                statuses = "SELECT CASE mode WHEN 'undo' THEN 'undo ' ELSE 'run ' END || status FROM export_runs"
                tally.update(word for (word,) in self.store.rows(statuses))
                super().teardown()

        chosen = settings(
            max_examples=count,
            stateful_step_count=15,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        )
        try:
            run_state_machine_as_test(Machine, settings=chosen)  # type: ignore[no-untyped-call]
        finally:
            print(", ".join(f"{name} {number}" for name, number in tally.most_common()))


if __name__ == "__main__":
    main()
