"""What surrounds a run: a lock that says that its process lives, and at its end the published copy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import cache

import dagster as dg

from icontact_assets.errors import UserError
from icontact_assets.resources import running_of, storage_of
from icontact_assets.settings.models import Settings


@cache
def worker(settings: Settings) -> Mapping[str, dg.ResourceDefinition]:
    """Holds the lock of a run while its steps are executed, and then renews the published copy.

    By the key under which assets require it: Dagster sets it up once a run, before the first step. In one run there may
    be assets of other settings too, which have imports of other names.
    """

    @dg.resource(description="A lock that says that the run's process lives. At the end, the copy for reading.")
    def held(context: dg.InitResourceContext) -> Iterator[None]:
        assert context.run is not None  # noqa: S101 -- for the type checker
        assert context.log is not None  # noqa: S101 -- for the type checker
        with running_of(settings).during(context.run.run_id, context.log.warning):
            yield
            _publish(settings, context.log)

    return {f"icontact_worker_{settings.imports[0].name}": held}


def _publish(settings: Settings, log: dg.DagsterLogManager) -> None:
    began = time.monotonic()
    try:
        if copy := storage_of(settings, waiting=log.warning).publish():
            log.info(f"Published the tables in {copy} in {time.monotonic() - began:.1f} s.")
    except UserError as error:
        # What the run has read is stored. The next run that changes a table publishes again.
        log.warning(f"Whoever reads the published copy sees the tables of an earlier run. {error}")
