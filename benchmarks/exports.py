"""What an export costs at scale, and what is left of it when it is killed. Prints the tables of docs/measurements.md.

python benchmarks/exports.py scale    # 100,000 members, the sandbox unthrottled
python benchmarks/exports.py kills    # kill -9 at 50 random moments, half of them of a mirror that moves people
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson

from icontact_assets.audiences.audience import compute
from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.report import ExportReport
from icontact_assets.exports.run import run_export
from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.session import Credentials, Session
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.sandbox.service import APP_ID, PASSWORD, USERNAME
from icontact_assets.sandbox.world import ACCOUNT
from icontact_assets.settings.models import Audience, Export, ExportLimits, Remove
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.warehouse import Warehouse

SCHEMA = "icontact"
LIST, HOLDING = 9001, 9002
MEMBERS = 100_000
FREE = ExportLimits(adds=MEMBERS, removes=MEMBERS, removed_share=1, empty_audience="allow", shrink=1, growth=1_000_000)
KILLS = 50


def context(url: str, path: Path) -> ExportContext:
    """What the export works with. Its budget is unlimited."""
    budget = Budget(CountFile(path.parent / "budget", "a"), per_second=0, per_minute=0, per_day=0)
    folder = Folder(Session(url, Credentials(APP_ID, USERNAME, PASSWORD), budget), str(ACCOUNT), "7601")
    return ExportContext(Warehouse(DatabaseFile(path), SCHEMA), folder, SCHEMA, lambda: datetime.now(UTC))


def export(url: str, path: Path, run_id: str, mode: str) -> ExportReport:
    """One run of the export."""
    chosen = Export.model_validate(
        {
            "name": "everybody",
            "label": "Everybody",
            "audience": "everybody",
            "list": str(LIST),
            "mode": mode,
            "remove": Remove(move_to=str(HOLDING)) if mode == "mirror" else None,
            "limits": FREE,
        }
    )
    return run_export(context(url, path), chosen, run_id=run_id)


def lists(sandbox: Sandbox) -> None:
    """Two new lists."""
    sandbox.control("lists/add", list_id=LIST, name="Target")
    sandbox.control("lists/add", list_id=HOLDING, name="Holding")


def audience(path: Path, ids: list[str]) -> None:
    """Make these contacts the members of the audience."""
    warehouse = Warehouse(DatabaseFile(path), SCHEMA)
    with warehouse.write("benchmark") as connection:
        connection.execute(
            f"CREATE OR REPLACE TABLE {SCHEMA}.icontact_profiles AS "
            "SELECT unnest(?::VARCHAR[]) AS ic_contact_id, NULL::TIMESTAMP AS deleted_at",
            [ids],
        )
        connection.execute(f"INSERT INTO {SCHEMA}.raw_contacts (id) SELECT unnest(?::VARCHAR[])", [ids])
    everybody = Audience(name="everybody", label="Everybody", import_name=SCHEMA, where="true")
    compute(warehouse, everybody, now=datetime.now(UTC), missing=None)


def mailable(sandbox: Sandbox, count: int) -> list[str]:
    """The ids of so many contacts that may be mailed."""
    truth = sandbox.control("truth?resource=contacts")
    ids = [row["contact_id"] for row in truth if row["status"] == "normal" and row["visible"]][:count]
    if len(ids) < count:
        raise SystemExit(f"only {len(ids)} contacts may be mailed")
    return ids


# Scale


def measured(url: str, path: Path, run_id: str) -> None:
    """A run in a process of its own; prints what it took."""
    began = time.perf_counter()
    report = export(url, path, run_id, "add")
    # Not getrusage: its peak begins with that of the parent process.
    status = Path("/proc/self/status").read_text()
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    print(
        f"{run_id} run: {report.added} added, {report.already_subscribed} there, {report.requests} requests, "
        f"{time.perf_counter() - began:.0f} s, peak {peak:.0f} MB, duckdb {duckdb.__version__}",
        flush=True,
    )


def scale() -> None:
    """100,000 members to an empty list, and again."""
    with tempfile.TemporaryDirectory() as home, Sandbox(contacts=115_000, messages=0, days=1) as sandbox:
        path = Path(home) / "warehouse.duckdb"
        lists(sandbox)
        audience(path, mailable(sandbox, MEMBERS))
        for run_id in ("first", "second"):
            sandbox.control("log/clear")
            subprocess.run([sys.executable, __file__, "measured", sandbox.url, str(path), run_id], check=True)
            kinds = Counter(f"{row['method']} {row['path'].split('/')[5]}" for row in sandbox.control("log"))
            print(f"its requests: {dict(kinds.most_common())}", flush=True)


# Kills


@dataclass(frozen=True)
class Aftermath:
    """What was found after one kill and one more run. `wrote`: requests that wrote before the kill; `left`: the
    status that the killed run left behind, None if not even that."""

    moment: int
    """Requests that had reached the sandbox; of the whole run, if it was not killed."""
    wrote: int
    left: str | None
    twice: int
    right: bool


def killed(sandbox: Sandbox, home: Path, mode: str, moment: int | None, delay: float, people: int) -> Aftermath:
    """Kill an export when so many requests have come and `delay` seconds more have gone by, None: do not, and run it
    again. `add` puts `people` on an empty list; `mirror` moves half of them off it and puts as many others there."""
    path = home / "warehouse.duckdb"
    sandbox.control("reset")
    lists(sandbox)
    ids = mailable(sandbox, people * 3 // 2)
    for file in home.glob("warehouse*"):
        file.unlink()
    audience(path, ids[:people])
    if mode == "mirror":
        export(sandbox.url, path, "before", mode)
        audience(path, ids[people // 2 :])
    wanted = set(ids[:people] if mode == "add" else ids[people // 2 :])
    sandbox.control("log/clear")
    process = subprocess.Popen(
        [sys.executable, __file__, "child", sandbox.url, str(path), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    process.stdin.write(b"go\n")
    process.stdin.flush()
    if moment is not None:
        while process.poll() is None and len(sandbox.control("log")) < moment:
            pass
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
    process.wait()
    moment = len(sandbox.control("log"))
    before = sum(row["method"] != "GET" for row in sandbox.control("log"))
    with Warehouse(DatabaseFile(path, wait_seconds=1)).read() as connection:
        statuses = connection.execute(f"SELECT status FROM {SCHEMA}.export_runs WHERE run_id = 'killed'").fetchall()
    export(sandbox.url, path, "again", mode)
    rows = sandbox.control("truth?resource=subscriptions")
    there = {row["contact_id"] for row in rows if row["list_id"] == str(LIST) and row["status"] == "normal"}
    held = {row["contact_id"] for row in rows if row["list_id"] == str(HOLDING) and row["status"] == "normal"}
    gone = set(ids[: people // 2]) if mode == "mirror" else set()
    with Warehouse(DatabaseFile(path, wait_seconds=1)).read() as connection:
        [(open_,)] = connection.execute(
            f"SELECT count(*) FROM {SCHEMA}.export_outcomes WHERE outcome IN ('intended', 'unconfirmed')"
        ).fetchall()
    times = Counter(key for row in sandbox.control("log") for key in _written(row))
    return Aftermath(
        moment,
        before,
        statuses[0][0] if statuses else None,
        sum(count > 1 for count in times.values()),
        (there, held, open_) == (wanted, gone, 0),
    )


def _written(row: dict[str, Any]) -> list[str]:
    """Whom a request of the log wrote to. One that a kill cut off on its way is turned away with 400."""
    if row["method"] == "GET" or row["status"] != 200:
        return []
    if row["path"].endswith("/subscriptions"):
        return [f"subscribe {entry['contactId']}" for entry in orjson.loads(row["body"])]
    return [f"{row['method']} {row['path'].rpartition('_')[2]}"]


def child(url: str, path: Path, mode: str) -> None:
    """The process that is killed: says when it is ready, and waits for the start."""
    print("ready", flush=True)
    sys.stdin.readline()
    export(url, path, "killed", mode)


def kills(count: int, people: int, seed: int = 1) -> None:
    """So many kills at random moments of exports in processes of their own, every second one of a mirror; prints what
    was found by mode and by how far the killed run had come."""
    found = Counter[tuple[str, str]]()
    bad = Counter[tuple[str, str]]()
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as home, Sandbox(contacts=people * 2, messages=0, days=1) as sandbox:
        whole = {mode: killed(sandbox, Path(home), mode, None, 0, people) for mode in ("add", "mirror")}
        for number in range(count):
            mode = ("add", "mirror")[number % 2]
            # Transactions between two requests take a while too.
            moment, delay = chance.randint(0, whole[mode].moment - 1), chance.uniform(0, 0.05)
            after = killed(sandbox, Path(home), mode, moment, delay, people)
            key = (mode, _phase(after, whole[mode].wrote))
            found[key] += 1
            bad[key] += not after.right or after.twice > 0
            print(f"{number + 1}: {mode}, {after}", file=sys.stderr, flush=True)
    print("| `mode` | Killed | Kills | Right list, resolved outcomes, nobody written to twice, database opens |")
    print("| --- | --- | --- | --- |")
    for (mode, phase), kills in sorted(found.items()):
        print(f"| `{mode}` | {phase} | {kills} | {kills - bad[mode, phase]} |")


def _phase(after: Aftermath, writes: int) -> str:
    if after.left is None:
        return "before it left a trace"
    if after.left == "done":
        return "when it had just ended"
    if after.wrote == 0:
        return "while it read and planned"
    return "among its writes" if after.wrote < writes else "after its last write"


def main() -> None:
    match sys.argv[1:]:
        case ["scale"]:
            scale()
        case ["measured", url, path, run_id]:
            measured(url, Path(path), run_id)
        case ["kills"]:
            kills(KILLS, 400)
        case ["child", url, path, mode]:
            child(url, Path(path), mode)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
