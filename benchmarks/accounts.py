"""How fast workers read the accounts of an agency, in the environment of `make test-lake` with PostgreSQL and Redis.

An account answers after 100 ms, and is asked for one request a second at most. With two workers, then with one, each
account is read by one run. Then the tables are compared with those of single runs into a file.

.venv-lake/bin/python -m benchmarks.accounts [accounts, by default 20] [messages of each, by default 4]
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg

from icontact_assets.settings.load import load_settings
from icontact_assets_tests.harness import days_ago
from icontact_assets_tests.harness.agency import Agency
from icontact_assets_tests.harness.postgres import started
from icontact_assets_tests.harness.workers import Services
from icontact_assets_tests.lake.test_workers import RAW, YESTERDAY, raw_rows, read_alone


def main(accounts: int = 20, messages: int = 4) -> None:
    with (
        TemporaryDirectory(prefix="accounts-") as folder,
        started() as postgres,
        Agency(accounts, contacts=20, messages=messages, per_second=1, latency=0.1) as agency,
    ):
        rates, tables = [], []
        for workers in (2, 1):
            place = Path(folder) / str(workers)
            place.mkdir()
            (place / "icontact.yaml").write_text(agency.config(days_ago(2).isoformat()))
            before = sum(len(agency.log(number)) for number in range(accounts))
            with Services(place, postgres, agency.environment(), workers) as services:
                runs = read(services, agency)
                took = max(run.end_time or 0 for run in runs) - min(run.start_time or 0 for run in runs)
                asked = sum(len(agency.log(number)) for number in range(accounts)) - before
                environment = {**services.environment("worker"), "ICONTACT_ASSETS_HOME": str(place / "reader")}
                tables.append({name: raw_rows(load_settings(environment, place), name) for name in agency.names})
            rates.append(asked / took)
            print(f"{workers} workers: {accounts} accounts, {asked} requests in {took:.0f} s, {rates[-1]:.2f} a second")
        most = max(agency.most_within(number, 60) for number in range(accounts))
        print(f"ratio {rates[0] / rates[1]:.2f}; most requests to one account in a minute: {most}", flush=True)
        same = 0
        for name in agency.names:
            alone = {"ICONTACT_REQUESTS_PER_SECOND": "0", "ICONTACT_ASSETS_HOME": f"{folder}/{name}"}
            settings = load_settings({**agency.environment(), **alone}, place)
            read_alone(settings, name)
            same += all(found[name] == raw_rows(settings, name) for found in tables)
        print(f"{same} of {accounts} accounts have the tables of a single run")


def read(services: Services, agency: Agency) -> list[dg.RunRecord]:
    """The runs that read the raw tables of all accounts, one each."""
    ids = [
        services.launch("", (YESTERDAY, YESTERDAY), *(f"{name}/{table.name}" for table in RAW)) for name in agency.names
    ]
    began = time.monotonic()
    runs = services.wait(ids, 3600)
    failed = [run.dagster_run for run in runs if run.dagster_run.status != dg.DagsterRunStatus.SUCCESS]
    assert not failed, "\n".join(why(services, run) for run in failed) + services.logs()
    print(f"all runs ended {time.monotonic() - began:.0f} s after the last was asked for", flush=True)
    return runs


def why(services: Services, run: dg.DagsterRun) -> str:
    """What a run that did not succeed says of itself."""
    ends = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED}
    said = [entry.dagster_event for entry in services.instance.all_logs(run.run_id, of_type=ends)]
    ended = [f"{event.step_key}: {event.event_specific_data}" for event in said if event]
    return "\n".join([f"{run.status} {run.tags}", *ended])


if __name__ == "__main__":
    # Whoever stops it stops the services that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    main(*map(int, sys.argv[1:]))
