"""A worker killed under `dagster dev`, its daemon and the `dagster.yaml` that we ship. `benchmarks/kills.py` has more."""

from __future__ import annotations

import os
import signal

import dagster as dg

from icontact_assets.ingest.window import Window
from icontact_assets.partitions import range_tags
from icontact_assets_tests.dev import Dev, wait_for
from icontact_assets_tests.harness import Project, days_ago
from icontact_assets_tests.leaks import assert_not_in, files_below

DAYS = Window(days_ago(2), days_ago(1))


def test_no_process_shows_a_credential_and_after_a_worker_was_killed_the_next_run_starts(project: Project) -> None:
    names = ("ICONTACT_APP_ID", "ICONTACT_API_USERNAME", "ICONTACT_API_PASSWORD")
    credentials = [project.environment[name] for name in names]
    stuck = {"path": "/statistics$", "do": {"kind": "delay", "seconds": 100}}
    project.sandbox.control("faults", faults=[stuck])
    dev = Dev(project.home, project.environment)
    try:
        dev.start()
        killed = dev.launch("icontact_import", range_tags(DAYS))
        wait_for(lambda: any("/statistics" in row["path"] for row in project.requests()), 120)
        worker, shown = dev.worker(killed), dev.command_lines()
        assert len(shown) > 3
        assert_not_in([*shown, *files_below(project.home)], credentials)
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: dev.status(killed) == dg.DagsterRunStatus.FAILURE, 120)
        project.sandbox.control("faults/clear")
        project.sandbox.control("log/clear")
        dev.launch("icontact_import", range_tags(DAYS))
        wait_for(lambda: any("/statistics" in row["path"] for row in project.requests()), 120)
    finally:
        dev.kill()
