"""When the daily schedule runs and which days it asks for: over both changes of the clock, and after it was off."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from icontact_assets.build import build_defs
from icontact_assets.ingest.window import Window
from icontact_assets.schedules import daily_request
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import Settings

IMPORT = "imports: [{name: one, account: 1, client_folder: 2, start_date: 2026-01-01}]\n"
CHANGES = {
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25)),
    "America/New_York": (date(2026, 3, 8), date(2026, 11, 1)),
}
ACTIVITY = dg.AssetKey(["one", "raw_activity"])


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def settings(folder: Path, schedule: str) -> Settings:
    (folder / "icontact.yaml").write_text(f"{IMPORT}schedule: {schedule}\n")
    return load_settings({}, folder)


def asked_for(instance: dg.DagsterInstance, chosen: Settings, at: datetime) -> tuple[str | None, Window]:
    """The key of the run that a tick requests, and its days."""
    request = daily_request(instance, chosen.imports[0], at)
    assert isinstance(request, dg.RunRequest)
    first, last = (request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))
    return request.run_key, Window(date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("clock", ["01:30", "02:00", "02:30", "23:45"])
def test_each_day_once_over_both_changes_of_the_clock(
    zone: str, clock: str, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    chosen = settings(tmp_path, f"{{daily_at: '{clock}', time_zone: {zone}}}")
    schedule = build_defs(chosen).resolve_schedule_def("one_daily")
    assert schedule.execution_timezone == zone
    for change in CHANGES[zone]:
        first, last = change - timedelta(days=3), change + timedelta(days=4)
        begin = datetime(first.year, first.month, first.day, tzinfo=ZoneInfo(zone))
        end = datetime(last.year, last.month, last.day, 23, 59, tzinfo=ZoneInfo(zone))
        ticks = schedule_execution_time_iterator(begin.timestamp(), schedule.cron_schedule, zone)
        times = [at.astimezone(UTC) for at in takewhile(end.__ge__, ticks)]
        assert [at.astimezone(ZoneInfo(zone)).date() for at in times] == Window(first, last).days
        # A time that moves over midnight UTC may find the same day twice, which Dagster runs once, or skip one.
        asked = [asked_for(instance, chosen, at) for at in times]
        runs = dict(asked)
        assert all(runs[key].last.isoformat() == key for key in runs if key is not None)
        assert {day for window in runs.values() for day in window.days} >= set(Window(first, last).days[:-2])
        assert [window.last for _, window in asked] == [at.date() - timedelta(days=1) for at in times]


def test_days_missed_while_everything_was_off_are_asked_for_by_the_next_run(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    chosen = settings(tmp_path, "{}")
    tick = datetime(2026, 5, 30, 2, tzinfo=UTC)
    trailing = Window(date(2026, 5, 23), date(2026, 5, 29))
    assert asked_for(instance, chosen, tick)[1] == trailing
    for read, first in {
        "2026-02-01": date(2026, 2, 2),
        "2026-05-10": date(2026, 5, 11),
        "2026-05-22": trailing.first,
        "2026-05-28": trailing.first,
        "2026-05-30": trailing.first,
    }.items():
        instance.report_runless_asset_event(dg.AssetMaterialization(ACTIVITY, partition=read))
        assert asked_for(instance, chosen, tick)[1] == Window(first, trailing.last)


def test_an_asset_is_overdue_after_so_many_hours_or_never(tmp_path: Path) -> None:
    for hours, expected in ((30, dg.FreshnessPolicy.time_window(timedelta(hours=30))), (0, None)):
        graph = build_defs(settings(tmp_path, f"{{overdue_hours: {hours}}}")).resolve_asset_graph()
        policies = {key: graph.get(key).freshness_policy for key in graph.get_all_asset_keys()}
        assert {str(policy) for key, policy in policies.items() if key.path[0] == "one"} == {str(expected)}
        assert {policy for key, policy in policies.items() if key.path[0] == "iContact"} == {None}
