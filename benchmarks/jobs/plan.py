"""What a plan or a run over very many people costs: `python -m benchmarks.jobs.plan plan|run PEOPLE`, in a folder that
`python -m benchmarks.jobs.plan make-plan|make-run PEOPLE` has filled.

There is no network: answers are made up in the process, page by page, and verified and decided upon as real ones.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from icontact_assets.audiences.audience import compute
from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.facts import make_plan
from icontact_assets.exports.run import run_export
from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.session import Credentials, Reply, Session
from icontact_assets.settings.models import Audience, Export, ExportLimits, Remove
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.warehouse import Warehouse

SCHEMA = "icontact"
LIST, HOLDING = "9001", "9002"
FIRST_ID = 1_000_000


class MadeUp(Session):
    """A session that makes up its answers: contacts of ascending ids, and a list that holds some of them."""

    def __init__(self, home: Path, contacts: int, on_list: range) -> None:
        budget = Budget(CountFile(home / "budget", "a"), per_second=0, per_minute=0, per_day=0)
        super().__init__("http://127.0.0.1:1", Credentials("", "", ""), budget)
        self._contacts = range(FIRST_ID, FIRST_ID + contacts)
        self._on_list = on_list

    def get(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        usable: Callable[[Any], bool] = lambda _: True,  # noqa: ARG002 (as in Session)
    ) -> Reply:
        """A page of what was asked for."""
        self.requests += 1
        asked = params or {}
        wanted: Sequence[int]
        first, limit = int(asked.get("offset", 0)), int(asked.get("limit", 500))
        if path.endswith("/lists"):
            body = {"lists": [{"listId": LIST, "name": "Target"}, {"listId": HOLDING, "name": "Holding"}], "total": 2}
        elif path.endswith("/subscriptions"):
            on_list = self._on_list if asked["listId"] == LIST else range(0)
            rows = [
                {
                    "subscriptionId": f"{LIST}_{id_}",
                    "contactId": str(id_),
                    "listId": LIST,
                    "status": "normal",
                    "addDate": "2026-01-01 00:00:00",
                }
                for id_ in on_list[first : first + limit]
            ]
            body = {"subscriptions": rows, "total": len(on_list)}
        else:
            wanted = [int(id_) for id_ in str(asked["contactId"]).split(",")]
            if "contactIdSearchType" in asked:
                wanted = self._contacts[max(0, wanted[0] + 1 - FIRST_ID) :]
            body = {"contacts": [_contact(id_) for id_ in wanted[:limit]], "total": len(wanted)}
        return Reply(200, body, ())


def _contact(id_: int) -> dict[str, str]:
    return {"contactId": str(id_), "email": f"person.{id_}@example.com", "firstName": "P", "status": "normal"}


def fill(path: Path, people: int, members: range, on_list: range) -> None:
    """An import of so many contacts, an audience, and an export that has put the members of the list there."""
    warehouse = Warehouse(DatabaseFile(path), SCHEMA)
    with warehouse.write("benchmark") as connection:
        connection.execute(
            f"""
            INSERT INTO {SCHEMA}.raw_contacts (id, email, status, observed_at, partition_date)
            SELECT i, 'person.' || i || '@example.com', 'normal', TIMESTAMP '2026-01-01', DATE '2026-01-01'
            FROM range({FIRST_ID}, {FIRST_ID + people}) numbers(i)
            """
        )
        connection.execute(
            f"CREATE OR REPLACE TABLE {SCHEMA}.icontact_profiles AS SELECT i::VARCHAR AS ic_contact_id, "
            f"NULL::TIMESTAMP AS deleted_at FROM range({members.start}, {members.stop}) numbers(i)"
        )
        if on_list:
            now = datetime.now(UTC).replace(tzinfo=None)
            connection.execute(
                f"""
                INSERT INTO {SCHEMA}.export_members
                SELECT 'everybody', '{LIST}', i, i, 'normal', 'export', $now
                FROM range({on_list.start}, {on_list.stop}) numbers(i)
                """,
                {"now": now},
            )
            connection.execute(
                f"""
                INSERT INTO {SCHEMA}.export_outcomes
                    (run_id, export, plan_hash, contact_id, member_id, action, list_id, outcome, recorded_at)
                SELECT 'before', 'everybody', 'h', i, i, 'subscribe', '{LIST}', 'added', $now
                FROM range({on_list.start}, {on_list.stop}) numbers(i)
                """,
                {"now": now},
            )
            connection.execute(
                f"INSERT INTO {SCHEMA}.export_runs (run_id, export, list_id, mode, status, compared_at, ended_at) "
                f"VALUES ('before', 'everybody', '{LIST}', 'mirror', 'done', $now, $now)",
                {"now": now},
            )
    everybody = Audience(name="everybody", label="Everybody", import_name=SCHEMA, where="true")
    compute(warehouse, everybody, now=datetime.now(UTC), missing=None)


def export(people: int) -> Export:
    """A mirror of the audience, without limits."""
    most = people + 1
    free = ExportLimits(adds=most, removes=most, removed_share=1, empty_audience="allow", shrink=1, growth=1_000_000)
    return Export.model_validate(
        {"name": "everybody", "label": "Everybody", "audience": "everybody", "list": LIST, "mode": "mirror"}
        | {"remove": Remove(move_to=HOLDING), "limits": free}
    )


def main() -> None:
    what, people = sys.argv[1], int(sys.argv[2])
    everybody, path = range(FIRST_ID, FIRST_ID + people), Path("warehouse.duckdb").absolute()
    on_list = everybody if what.endswith("run") else everybody[:0]
    if what.startswith("make"):
        fill(path, people, everybody, on_list)
        return
    folder = Folder(MadeUp(path.parent, people, on_list), "1", "7601")
    context = ExportContext(Warehouse(DatabaseFile(path), SCHEMA), folder, SCHEMA, lambda: datetime.now(UTC))
    wall, cpu = time.perf_counter(), time.process_time()
    if what == "run":
        report = run_export(context, export(people), run_id="benchmark")
        planned = report.added + report.removed
    else:
        planned = make_plan(context, export(people)).adds
    if planned != people - len(on_list):
        raise SystemExit(f"{planned} actions are planned, not {people - len(on_list)}.")
    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps({"rows": people, "requests": folder.session.requests, **took}))


if __name__ == "__main__":
    main()
