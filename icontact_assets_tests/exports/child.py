"""An export in a process of its own, to be killed. Imports no more than an export needs."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.run import run_export
from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.session import Credentials, Session
from icontact_assets.settings.models import Export
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.warehouse import Warehouse


def start(url: str, path: Path, export: Export) -> ForkServerProcess:
    """The run `killed` of this export. All such processes fork from one that has imported this module."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_run, args=(url, path, export.model_dump_json(exclude_none=True)))
    process.start()
    return process


def _run(url: str, path: Path, export: str) -> None:
    budget = Budget(CountFile(path.parent / "budget", "a"), per_second=0, per_minute=0, per_day=0)
    session = Session(url, Credentials("sandbox-app", "sandbox-user", "sandbox-pass"), budget)
    folder = Folder(session, "1300001", "7601")
    place = ExportContext(Warehouse(DatabaseFile(path), "icontact"), folder, "icontact", lambda: datetime.now(UTC))
    run_export(place, Export.model_validate_json(export), run_id="killed")
