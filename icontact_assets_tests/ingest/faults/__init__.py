"""Every fault the reader must stand, stated once: what breaks, what must hold. Tests play some, a script plays all."""

from __future__ import annotations

from icontact_assets_tests.ingest.faults.budget import BUDGET
from icontact_assets_tests.ingest.faults.edits import EDITS
from icontact_assets_tests.ingest.faults.losses import ONE_MESSAGE, SHRUNK
from icontact_assets_tests.ingest.faults.orders import HINTS, ORDERS, SHUFFLED
from icontact_assets_tests.ingest.faults.play import Impossible, Play, Row
from icontact_assets_tests.ingest.faults.reads import LIMITS, SHAPES, SILENT_ERRORS, TRANSPORT
from icontact_assets_tests.ingest.faults.requests import REQUESTS
from icontact_assets_tests.ingest.faults.stops import KILLS, STOPS
from icontact_assets_tests.ingest.faults.storage import STORAGE
from icontact_assets_tests.ingest.faults.workers import WORKERS

FAULTS = (
    LIMITS, TRANSPORT, SILENT_ERRORS, EDITS, ORDERS, SHUFFLED, HINTS, SHRUNK, SHAPES, ONE_MESSAGE, STOPS, KILLS,
    BUDGET, STORAGE, WORKERS,
)  # fmt: skip

__all__ = ["FAULTS", "REQUESTS", "Impossible", "Play", "Row"]
