"""The only place where everything meets: settings in, Dagster definitions out. Importing it reads nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import dagster as dg

from icontact_assets.assets.audiences import audience_asset
from icontact_assets.assets.exports import export_asset
from icontact_assets.assets.maintenance import maintenance_asset
from icontact_assets.assets.mapped import mapped_assets
from icontact_assets.assets.outside import outside_assets
from icontact_assets.assets.people import people_assets
from icontact_assets.assets.raw import raw_assets
from icontact_assets.assets.reports import report_assets
from icontact_assets.errors import UserError
from icontact_assets.jobs import export_job, import_job, maintenance_job
from icontact_assets.notices import notice_sensor
from icontact_assets.schedules import daily_schedule, hourly_schedule, maintenance_schedule, retry_schedule
from icontact_assets.sensors import dead_runs_sensor, export_sensor, follow_raw_sensor
from icontact_assets.settings.models import Settings

Translate = Callable[[dg.AssetSpec], dg.AssetSpec]
"""What is to be different of an asset, as `lambda spec: spec.replace_attributes(group_name="marketing")`."""


def build_defs(settings: Settings, *, prefix: str = "", translate: Translate | None = None) -> dg.Definitions:
    """Every asset, job, schedule and sensor of these settings. Needs no credentials and opens nothing.

    `translate` is applied to every asset. It may change all but the key: owners, group, tags, kinds, description,
    metadata, automation condition. The first part of a key is the name of the import, the name of the schema in the
    database too. `prefix` comes before the names of sensors and of the maintenance, which are otherwise the same for
    all settings. Names of imports and exports must differ between settings that are loaded together.

    Raises UserError if `translate` changes a key.
    """
    with warnings.catch_warnings():
        # Backfill policies are marked beta. They are what keeps a range of days in one run.
        warnings.simplefilter("ignore", dg.BetaWarning)
        definitions = _definitions(settings, prefix)
        if translate is None:
            return definitions
        return definitions.map_asset_specs(func=lambda spec: _translated(spec, translate))


def _translated(spec: dg.AssetSpec, translate: Translate) -> dg.AssetSpec:
    found = translate(spec)
    if found.key != spec.key:
        raise UserError(
            f"The key of {spec.key.to_user_string()} was changed to {found.key.to_user_string()}. Leave it: its first "
            "part is the name of the import, which the settings say."
        )
    return found


def _definitions(settings: Settings, prefix: str) -> dg.Definitions:
    read: list[dg.AssetsDefinition] = []
    following: list[dg.AssetsDefinition] = []
    jobs: list[dg.UnresolvedAssetJobDefinition] = []
    schedules: list[dg.ScheduleDefinition] = []
    for import_ in settings.imports:
        job = import_job(settings, import_)
        raw = raw_assets(settings, import_)
        read += raw
        following += mapped_assets(settings, import_)
        following += people_assets(settings, import_)
        following += report_assets(settings, import_, {asset.key.path[-1] for asset in raw})
        jobs.append(job)
        schedules += [daily_schedule(import_, job, settings.schedule), retry_schedule(settings, import_, job)]
        if import_.keep_updated:
            schedules.append(hourly_schedule(import_, job))
    following += [audience_asset(settings, audience) for audience in settings.audiences]
    assets = [*read, *following, *(export_asset(settings, export) for export in settings.exports)]
    if (maintenance := maintenance_asset(settings, prefix)) is not None:
        job = maintenance_job(prefix)
        assets.append(maintenance)
        jobs.append(job)
        schedules.append(maintenance_schedule(job, settings.schedule))
    exports = {export.name: export_job(settings, export) for export in settings.exports}
    jobs += exports.values()
    sensors: list[dg.SensorDefinition] = [
        follow_raw_sensor((key for asset in following for key in asset.keys), prefix),
        dead_runs_sensor(settings, prefix),
    ]
    if settings.notices is not None:
        sensors.append(notice_sensor(settings, assets, prefix))
    if exports:
        sensors.append(export_sensor(settings, exports, prefix))
    return dg.Definitions(
        assets=[*assets, *outside_assets(settings, read)], jobs=jobs, schedules=schedules, sensors=sensors
    )
