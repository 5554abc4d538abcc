"""What the storage of the tables needs once a day, as an asset. Where it needs nothing, there is none."""

from dataclasses import asdict
from datetime import timedelta

import dagster as dg

from icontact_assets.metadata import failing_plainly
from icontact_assets.records import maintenance_key
from icontact_assets.resources import storage_of
from icontact_assets.settings.models import Settings


def maintenance_asset(settings: Settings, prefix: str) -> dg.AssetsDefinition | None:
    """The maintenance of the storage that the settings name. None if it needs none."""
    if storage_of(settings).maintenance is None:
        return None

    @dg.asset(
        key=maintenance_key(prefix),
        description="Merges small files of the lake, and removes former states that are older than "
        f"{settings.sharing.snapshot_days} days, with the files that only they need and those that killed runs left. "
        "Runs go on beside it.",
        kinds={"duckdb"},
    )
    def maintenance(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
        maintain = storage_of(settings, waiting=context.log.warning).maintenance
        assert maintain is not None  # noqa: S101 -- for the type checker
        with failing_plainly():
            done = maintain(timedelta(days=settings.sharing.snapshot_days))
        facts = asdict(done)
        return dg.MaterializeResult(
            metadata={
                **{
                    f"{what}_{when}": number for when in ("before", "after") for what, number in facts.pop(when).items()
                },
                **facts,
            }
        )

    return maintenance
