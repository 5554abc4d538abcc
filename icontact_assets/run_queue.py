"""Dagster's queue of runs, which holds one run of an account at a time from the first one on. Nothing of iContact."""

from __future__ import annotations

from dagster import DagsterRun, QueuedRunCoordinator
from dagster._core.run_coordinator import SubmitRunContext


class AccountQueue(QueuedRunCoordinator):
    """Dagster's queue. It knows the pools of a run once that is queued, where `dagster.yaml` limits pools by default.

    The queue of Dagster limits a pool that it has never seen from its second look on. In the first, it starts all runs
    of the pool that are queued.
    """

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        storage = self._instance.event_log_storage
        concurrency = context.dagster_run.run_op_concurrency
        pools = concurrency.all_pools if concurrency else None
        for pool in (pools or set()) - storage.get_concurrency_keys():
            storage.initialize_concurrency_limit_to_default(pool)
        return super().submit_run(context)
