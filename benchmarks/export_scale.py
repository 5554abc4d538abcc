"""How many requests, how much memory and time an export of 100,000 members takes, the sandbox unthrottled.

python benchmarks/export_scale.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from icontact_assets.audiences.audience import compute
from icontact_assets.audiences.export import run_export
from icontact_assets.audiences.plan import Place
from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.session import Credentials, Session
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.sandbox.service import APP_ID, PASSWORD, USERNAME
from icontact_assets.sandbox.world import ACCOUNT
from icontact_assets.settings import Audience, Export, ExportLimits
from icontact_assets.warehouse.warehouse import Warehouse

MEMBERS = 100_000
SCHEMA = "icontact"


def prepare(sandbox: Sandbox, path: Path) -> str:
    """A new list, and an audience of contacts that may be mailed; returns the list's id."""
    truth = sandbox.control("truth?resource=contacts")
    ids = [row["contact_id"] for row in truth if row["status"] == "normal" and row["visible"]][:MEMBERS]
    if len(ids) < MEMBERS:
        raise SystemExit(f"only {len(ids)} contacts may be mailed")
    warehouse = Warehouse(path)
    warehouse.prepare(SCHEMA)
    with warehouse.write("benchmark") as connection:
        connection.execute(
            f"CREATE TABLE {SCHEMA}.icontact_profiles AS "
            "SELECT unnest(?::VARCHAR[]) AS ic_contact_id, NULL::TIMESTAMP AS deleted_at",
            [ids],
        )
        connection.execute(f"INSERT INTO {SCHEMA}.raw_contacts (id) SELECT unnest(?::VARCHAR[])", [ids])
    everybody = Audience(name="everybody", label="Everybody", import_name=SCHEMA, where="true")
    compute(warehouse, SCHEMA, everybody, now=datetime.now(UTC), missing=None)
    return str(sandbox.control("lists/add", list_id=9001, name="Benchmark")["list_id"])


def export(url: str, path: Path, list_id: str) -> None:
    """The export, in a process of its own, whose peak memory it prints."""
    budget = Budget(path.parent / "budget", "a", per_second=0, per_minute=0, per_day=0)
    folder = Folder(Session(url, Credentials(APP_ID, USERNAME, PASSWORD), budget), str(ACCOUNT), "7601")
    place = Place(Warehouse(path), SCHEMA, folder, SCHEMA, lambda: datetime.now(UTC))
    chosen = Export(
        name="everybody",
        label="Everybody",
        audience="everybody",
        list=list_id,
        mode="add",
        limits=ExportLimits(adds=MEMBERS),
    )
    for run_id in ("first", "second"):
        began = time.perf_counter()
        report = run_export(place, chosen, run_id=run_id)
        pages = -(-(report.list_size_after or 0) // 490)
        # Not getrusage: its peak begins with that of the parent process.
        status = Path("/proc/self/status").read_text()
        peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
        print(
            f"{run_id} run: {report.added} added, {report.already} there, {report.requests} requests "
            f"(members/100 {MEMBERS // 100}, pages of the list {pages}), {time.perf_counter() - began:.0f} s, "
            f"peak {peak:.0f} MB, duckdb {duckdb.__version__}"
        )


def main() -> None:
    if len(sys.argv) > 1:
        export(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
        return
    with tempfile.TemporaryDirectory() as home, Sandbox(contacts=115_000, messages=0, days=1) as sandbox:
        path = Path(home) / "warehouse.duckdb"
        list_id = prepare(sandbox, path)
        sandbox.control("log/clear")
        subprocess.run([sys.executable, __file__, sandbox.url, str(path), list_id], check=True)
        counts = sandbox.control("log")
        print(f"methods in the log: {sorted({row['method'] for row in counts})}, {len(counts)} requests")


if __name__ == "__main__":
    main()
