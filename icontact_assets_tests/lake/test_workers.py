"""Several workers: the services of deploy/compose/, and an agency whose accounts they read."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from icontact_assets.assets.raw import raw_assets
from icontact_assets.ingest.window import Window
from icontact_assets.partitions import range_tags
from icontact_assets.resources import reading
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import Settings
from icontact_assets.warehouse.tables import RAW_SUBSCRIPTIONS, RAW_TABLES
from icontact_assets_tests.harness import days_ago
from icontact_assets_tests.harness.agency import Agency
from icontact_assets_tests.harness.postgres import Postgres
from icontact_assets_tests.harness.records import without_records
from icontact_assets_tests.harness.workers import Services

YESTERDAY = days_ago(1).isoformat()
RAW = [table for table in RAW_TABLES if table is not RAW_SUBSCRIPTIONS]
# Of each run: its times, and ids that are drawn.
OF_THE_RUN = ("_at", "read_id")


def raw_rows(settings: Settings, name: str) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of the raw tables of an import, without what differs between runs."""
    found = {}
    with reading(settings) as connection:
        for table in RAW:
            columns = [f'"{column.name}"' for column in table.columns if not column.name.endswith(OF_THE_RUN)]
            query = f"SELECT {', '.join(columns)} FROM {name}.{table.name} ORDER BY ALL"
            found[table.name] = connection.execute(query).fetchall()
    return found


def read_alone(settings: Settings, name: str) -> None:
    """The same import by one run of its own, in this process and into a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets = raw_assets(settings, settings.import_named(name))
    window = range_tags(Window(days_ago(1), days_ago(1)))
    assert dg.materialize(assets, instance=without_records(), tags=window).success


@pytest.mark.skipif(not shutil.which("redis-server"), reason="needs redis-server")
def test_two_workers_read_accounts_side_by_side_and_none_twice(postgres: Postgres, tmp_path: Path) -> None:
    with Agency(accounts=2, contacts=20, messages=2, per_second=2, latency=0.1) as agency:
        (tmp_path / "icontact.yaml").write_text(agency.config(days_ago(2).isoformat()))
        with Services(tmp_path, postgres, agency.environment()) as services:
            # The second one asks the first account, as the third does.
            asked = [agency.names[0], *agency.names]
            ids = [
                services.launch("", (YESTERDAY, YESTERDAY), *(f"{name}/{table.name}" for table in RAW))
                for name in asked
            ]
            runs = {record.dagster_run.run_id: record for record in services.wait(ids, 300)}
            assert {run.dagster_run.status for run in runs.values()} == {dg.DagsterRunStatus.SUCCESS}, services.logs()
            times = [(runs[id_].start_time or 0, runs[id_].end_time or 0) for id_ in ids]
            environment = {**services.environment("worker"), "ICONTACT_ASSETS_HOME": str(tmp_path / "reader")}
            kept = {name: raw_rows(load_settings(environment, tmp_path), name) for name in agency.names}

        (first, again, *others) = times
        assert overlaps(first, again) == 0
        assert sum(overlaps(first, other) + overlaps(again, other) for other in others) > 0
        for number, name in enumerate(agency.names):
            # A request takes its time to arrive, so some of the second before are among those of five.
            assert agency.most_within(number, 5) <= 5 * agency.per_second + 2
            alone = {
                **agency.environment(),
                "ICONTACT_REQUESTS_PER_SECOND": "0",
                "ICONTACT_ASSETS_HOME": str(tmp_path / name),
            }
            settings = load_settings(alone, tmp_path)
            read_alone(settings, name)
            assert raw_rows(settings, name) == kept[name]
            assert kept[name]["raw_activity"]


def overlaps(one: tuple[float, float], other: tuple[float, float]) -> float:
    """For how many seconds both last."""
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
