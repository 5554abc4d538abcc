"""The queue of runs: accounts run side by side, and one account never twice, whoever asks for the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.instance.ref import InstanceRef
from dagster._core.instance.runs.run_domain import RunDomain
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator import SubmitRunContext
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from icontact_assets.build import build_defs
from icontact_assets.settings.load import load_settings

WORKERS = Path(__file__).parent.parent / "deploy" / "compose" / "dagster.yaml"
AGENCY = """
imports:
  - name: clients
    start_date: 2026-01-02
    accounts:
      - {name: acme, account: 1, client_folder: 11}
      - {name: acme_shop, account: 1, client_folder: 12}
      - {name: bolt, account: 2, client_folder: 21}
audiences:
  - {name: fans, import: clients, where: ic_email_click_ct > 2}
exports:
  - {name: fans, audience: fans, list: Fans}
"""


@pytest.fixture
def agency(tmp_path: Path) -> dg.Definitions:
    (tmp_path / "icontact.yaml").write_text(AGENCY)
    return build_defs(load_settings({"ICONTACT_ASSETS_HOME": str(tmp_path / "home")}, tmp_path))


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """One with the queue of deploy/compose/, and Dagster's usual records, but for the hundreds of assets and checks that
    runs announce: no queue reads them."""
    monkeypatch.setattr(RunDomain, "_log_asset_planned_events", lambda *_: None)
    monkeypatch.setenv("DAGSTER_WORKERS", "10")
    written = yaml.safe_load(WORKERS.read_text())
    chosen: Any = {name: written[name] for name in ("concurrency", "run_coordinator")}
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path / "dagster"), overrides=chosen)) as found:
        yield found


def queued(instance: dg.DagsterInstance, agency: dg.Definitions, asked: str) -> str:
    """A run of a job, or of one asset as the UI, a backfill and a sensor ask for it. It is queued."""
    if "/" in asked:
        job, selection = agency.resolve_implicit_global_asset_job_def(), {dg.AssetKey(asked.split("/"))}
    else:
        job, selection = agency.resolve_job_def(asked), None
    subset = job.get_subset(asset_selection=selection) if selection else job
    location = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("icontact_assets"), "__repository__")
    run = instance.create_run_for_job(
        subset,
        asset_selection=frozenset(selection) if selection else None,
        remote_job_origin=RemoteJobOrigin(location, job.name),
    )
    instance.run_coordinator.submit_run(SubmitRunContext(run, workspace=None))  # type: ignore[arg-type]
    return run.run_id


def started(instance: dg.DagsterInstance) -> list[str]:
    """Starts those of the queue that may run now, as the daemon does."""
    daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)
    runs = daemon._get_runs_to_dequeue(instance, instance.get_concurrency_config(), None)
    for run in runs:
        starting = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, run.job_name)
        instance.report_dagster_event(starting, run_id=run.run_id)
    return [run.run_id for run in runs]


ASKED = ("acme_import", "acme/raw_contacts", "acme_shop_import", "export_acme_fans", "acme/export_acme_fans")
"""Who asks the same account: a schedule or a sensor by a job, the UI or a backfill by assets."""


def test_an_account_is_asked_by_one_run_at_a_time_from_the_first_one_on(
    instance: dg.DagsterInstance, agency: dg.Definitions
) -> None:
    running, *others = (queued(instance, agency, asked) for asked in ASKED)
    bolt, computing = queued(instance, agency, "bolt_import"), queued(instance, agency, "acme/icontact_users")

    assert set(started(instance)) == {running, bolt, computing}
    assert started(instance) == []

    # Whoever marks a killed run as failed, as the sensor dead_runs does, gives the account to the next.
    for _ in others:
        ended = instance.get_run_by_id(running)
        assert ended is not None
        instance.report_run_failed(ended)
        (running,) = started(instance)
        assert running in others
        assert started(instance) == []


def test_the_chart_queues_runs_as_compose_does() -> None:
    chart = yaml.safe_load((WORKERS.parents[1] / "helm" / "values.yaml").read_text())
    compose = yaml.safe_load(WORKERS.read_text())
    queue = chart["dagsterDaemon"]["runCoordinator"]["config"]["customRunCoordinator"]
    assert {key: queue[key] for key in ("module", "class")} == {
        key: compose["run_coordinator"][key] for key in ("module", "class")
    }
    pools = chart["concurrency"]["pools"]
    assert {"granularity": pools["granularity"], "default_limit": pools["defaultLimit"]} == compose["concurrency"][
        "pools"
    ]
    # All who queue runs know this queue.
    (code,) = chart["dagster-user-deployments"]["deployments"]
    assert chart["dagsterWebserver"]["image"] == chart["dagsterDaemon"]["image"] == code["image"]
