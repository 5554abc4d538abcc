"""The only place where everything meets: settings in, Dagster definitions out. Importing it reads nothing."""

from __future__ import annotations

import warnings

import dagster as dg

from icontact_assets.assets.audiences import audience_asset
from icontact_assets.assets.exports import export_asset
from icontact_assets.assets.mapped import mapped_assets
from icontact_assets.assets.outside import outside_assets
from icontact_assets.assets.raw import raw_assets
from icontact_assets.checks import raw_checks
from icontact_assets.jobs import export_job, import_job
from icontact_assets.schedules import daily_schedule, hourly_schedule, retry_schedule
from icontact_assets.sensors import dead_runs_sensor, export_sensor, follow_raw_sensor
from icontact_assets.settings.models import Settings


def build_defs(settings: Settings) -> dg.Definitions:
    """Every asset, job, schedule and sensor of these settings. Needs no credentials and opens nothing."""
    with warnings.catch_warnings():
        # Backfill policies are marked beta. They are what keeps a range of days in one run.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return _definitions(settings)


def _definitions(settings: Settings) -> dg.Definitions:
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = []
    read: list[dg.AssetsDefinition] = []
    jobs: list[dg.UnresolvedAssetJobDefinition] = []
    schedules: list[dg.ScheduleDefinition] = []
    sensors: list[dg.SensorDefinition] = [follow_raw_sensor(settings), dead_runs_sensor(settings)]
    for import_ in settings.imports:
        job = import_job(settings, import_)
        raw = raw_assets(settings, import_)
        read += raw
        assets += [*raw, *raw_checks(settings, import_, raw), *mapped_assets(settings, import_)]
        jobs.append(job)
        schedules += [daily_schedule(import_, job, settings.schedule), retry_schedule(settings, import_, job)]
        if import_.keep_updated:
            schedules.append(hourly_schedule(import_, job))
    assets += [audience_asset(settings, audience) for audience in settings.audiences]
    assets += [export_asset(settings, export) for export in settings.exports]
    assets += outside_assets(settings, read)
    exports = {export.name: export_job(settings, export) for export in settings.exports}
    jobs += exports.values()
    if exports:
        sensors.append(export_sensor(settings, exports))
    return dg.Definitions(
        assets=assets, jobs=jobs, schedules=schedules, sensors=sensors, executor=dg.in_process_executor
    )
