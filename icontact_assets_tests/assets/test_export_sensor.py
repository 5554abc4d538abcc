"""The sensor over what happens to Dagster's records: restarts, errors, deleted runs. Each change is exported, once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import time_machine
from dagster._core.storage.tags import RUN_KEY_TAG

from icontact_assets.build import build_defs
from icontact_assets_tests.harness import AUDIENCE, Project

FEWER = AUDIENCE.replace("last_active_ts IS NOT NULL", "email_open_ct > 1")
EXPORT = dg.AssetKey(["icontact", "export_readers"])


class Daemon:
    """What Dagster's sensor daemon does with a tick: no run key runs twice."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.restart()

    def restart(self) -> None:
        """Dagster keeps its records. The code location keeps nothing: it is built anew."""
        self.defs = build_defs(self.project.settings)

    def tick(self) -> list[str] | str:
        """The ids of the runs that were started, or why there were none."""
        instance = self.project.instance
        sensor = self.defs.resolve_sensor_def("exports")
        tick = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, sensor_name=sensor.name))
        if not tick.run_requests:
            assert tick.skip_message
            assert tick.skip_message.startswith("readers: ")
            return tick.skip_message
        ids = []
        for request in tick.run_requests:
            assert request.run_key is not None
            if instance.get_runs(dg.RunsFilter(tags={RUN_KEY_TAG: request.run_key})):
                continue
            assert request.job_name == "export_readers"
            tags = {**request.tags, RUN_KEY_TAG: request.run_key}
            ids.append(self.project.run('key:"icontact/export_readers"', None, **tags).run_id)
        return ids

    def written(self) -> list[str]:
        return [row["body"] for row in self.project.requests() if row["method"] != "GET"]

    def compute(self, config: str) -> str:
        """The audience by another condition; returns the id of the run."""
        self.project.config = config
        self.restart()
        result = self.project.run('key:"icontact/audience_readers"')
        assert result.success
        return result.run_id


def test_each_change_is_exported_once_over_restarts_errors_and_deleted_runs(imported: Project) -> None:
    project = imported.alone()
    daemon = Daemon(project)
    assert "has not been computed yet" in daemon.tick()
    daemon.compute(FEWER)
    daemon.restart()
    [first] = daemon.tick()
    written = daemon.written()
    assert written
    daemon.restart()
    assert "The audience is as it was last exported" in daemon.tick()

    # A deleted run takes its materialization along: the list is compared again, and nobody is written to.
    project.instance.delete_run(first)
    assert len(daemon.tick()) == 1
    assert "The audience is as it was last exported" in daemon.tick()
    assert daemon.written() == written

    # An export that failed, whose run is deleted at once, comes again: its key is not in the way.
    newest = daemon.compute(AUDIENCE)
    down = {"kind": "reply", "status": 402, "body": {"errors": ["unpaid"]}}
    project.sandbox.control("faults", faults=[{"path": "/subscriptions", "do": down}])
    [failed] = daemon.tick()
    daemon.restart()
    assert "The export failed 1 time in a row; it is retried at" in daemon.tick()
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=6)):
        [failed_again] = daemon.tick()
    project.instance.delete_run(failed_again)
    project.instance.delete_run(failed)
    project.sandbox.control("faults/clear")
    assert daemon.written() == written
    assert len(daemon.tick()) == 1
    more = daemon.written()
    assert len(more) > len(written)
    assert "The audience is as it was last exported" in daemon.tick()

    # Without the record of the newest audience the one before counts: the list is compared, and stays as it is.
    project.instance.delete_run(newest)
    assert len(daemon.tick()) == 1
    assert "The audience is as it was last exported" in daemon.tick()
    daemon.compute(AUDIENCE)
    assert len(daemon.tick()) == 1
    assert "The audience is as it was last exported" in daemon.tick()
    assert daemon.written() == more


def test_a_run_that_was_killed_is_waited_for_until_dagster_says_that_it_ended(imported: Project) -> None:
    project = imported.alone()
    daemon = Daemon(project)
    daemon.compute(AUDIENCE)
    tags = {
        "icontact_assets/export": "readers",
        "icontact_assets/audience_storage_id": "1",
        "icontact_assets/attempt": "1",
    }
    job = project.definitions.resolve_job_def("export_readers")
    run = project.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
    daemon.restart()
    assert "A run of this export is queued or running" in daemon.tick()
    project.instance.report_run_failed(run, "the process is gone")
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=6)):
        assert len(daemon.tick()) == 1
    assert daemon.written()
