"""A database filled by hand, and a sandbox with an export."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import orjson
import pyarrow as pa

from icontact_assets.audiences import audience
from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.report import ExportReport
from icontact_assets.exports.run import run_export
from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.session import Credentials, Session
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.settings.models import Audience, Export
from icontact_assets.warehouse.tables import TABLES
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.harness.held import HeldWarehouse
from icontact_assets_tests.harness.place import SCHEMA, Held

LIST = 5004
HOLDING = 5001
FREE = {"removes": 10_000, "removed_share": 1, "shrink": 1, "growth": 1_000, "empty_audience": "allow"}
"""Limits that stop nothing."""
NOW = datetime(2026, 9, 14, 12, 0, tzinfo=UTC)
EVERYBODY = Audience(name="everybody", label="Everybody", import_name="icontact", where="true")

_read = Warehouse.read


def read_trusting(warehouse: Warehouse, *, users_sql: str | None = None) -> AbstractContextManager[Any]:
    """`Warehouse.read` where what users wrote is ours: an engine that is closed to them could not be used again."""
    return _read(warehouse)


PROFILE = pa.schema(
    [
        ("ic_contact_id", pa.string()),
        ("email", pa.string()),
        ("first_name", pa.string()),
        ("email_open_ct", pa.int64()),
        ("last_active_ts", pa.timestamp("us")),
        ("deleted_at", pa.timestamp("us")),
    ]
)
"""The part of the view of profiles that these tests ask for."""
_ONLY_IDS = f"""
    CREATE OR REPLACE TABLE {SCHEMA}.icontact_profiles AS
    SELECT unnest(?::VARCHAR[]) AS ic_contact_id, NULL::VARCHAR AS email, NULL::VARCHAR AS first_name,
        NULL::BIGINT AS email_open_ct, NULL::TIMESTAMP AS last_active_ts, NULL::TIMESTAMP AS deleted_at
"""


@dataclass
class Store:
    """A database with the tables of an import and a stand-in for the view of profiles."""

    warehouse: HeldWarehouse | Held

    def profiles(self, *rows: dict[str, Any]) -> None:
        """Replace all profiles; columns left out are NULL."""
        batch = pa.Table.from_pylist([{name: row.get(name) for name in PROFILE.names} for row in rows], PROFILE)
        with self.warehouse.write("test") as connection:
            connection.register("batch", batch)
            connection.execute(f"CREATE OR REPLACE TABLE {SCHEMA}.icontact_profiles AS FROM batch")

    def insert(self, table: str, **row: Any) -> None:
        names = ", ".join(row)
        self.run(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values()))

    def run(self, sql: str, values: list[Any] | None = None) -> None:
        with self.warehouse.write("test") as connection:
            connection.execute(sql, values)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.warehouse.read() as connection:
            return connection.execute(sql).fetchall()

    def audience(self, *contact_ids: int | str, now: datetime = NOW) -> None:
        """Make these the members of the audience `everybody`, without its SQL, which would select all profiles."""
        ids = [str(id_) for id_ in contact_ids]
        self.run(_ONLY_IDS, [ids])
        with mock.patch.object(audience, "select", return_value=ids):
            audience.compute(self.warehouse, EVERYBODY, now=now, missing=None)

    def compute(self, chosen: Audience, now: datetime = NOW, missing: str | None = None) -> None:
        """Compute an audience of ours. No user wrote its SQL: an engine that it locked could not be used again."""
        with mock.patch.object(Warehouse, "read", read_trusting):
            audience.compute(self.warehouse, chosen, now=now, missing=missing)

    def incomplete(self, missing: str | None) -> None:
        """Compute the audience `everybody` while that data is incomplete; None: complete."""
        self.compute(EVERYBODY, missing=missing)


@dataclass
class Clock:
    """A clock that stands still until it is moved, or moves by `step` at each look."""

    now: datetime = NOW
    step: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        self.now += self.step
        return self.now


@dataclass
class House:
    """The sandbox, and everything an export needs."""

    sandbox: Sandbox
    store: Store
    home: Path
    clock: Clock = field(default_factory=Clock)
    runs: int = 0

    def folder(self, **limits: Any) -> Folder:
        budget = Budget(CountFile(self.home, "a"), **{"per_second": 0, "per_minute": 0, "per_day": 0, **limits})
        session = Session(
            self.sandbox.url,
            Credentials("sandbox-app", "sandbox-user", "sandbox-pass"),
            budget,
            tries=2,
            first_wait=0.01,
        )
        return Folder(session, "1300001", "7601")

    def contact(
        self, contact_id: int, status: str = "normal", *, on: str | None = None, email: str | None = None
    ) -> None:
        """A contact; `on`: its status on the target list."""
        email = email or f"planted{contact_id}@example.com"
        self.sandbox.control("contacts/add", contact_id=contact_id, email=email, status=status)
        if on is not None:
            self.sandbox.control("subscriptions/set", list_id=LIST, contact_id=contact_id, status=on)

    def contacts(self, *contact_ids: int, on: str | None = None) -> None:
        """The same for each of these."""
        edits: list[dict[str, Any]] = []
        for id_ in contact_ids:
            edits.append({"path": "contacts/add", "contact_id": id_, "email": f"planted{id_}@example.com"})
            if on is not None:
                edits.append({"path": "subscriptions/set", "list_id": LIST, "contact_id": id_, "status": on})
        self.sandbox.control("edits", edits=edits)

    def imported(self) -> None:
        """Contacts and subscriptions of the sandbox become the tables' latest versions: a stand-in for the import."""
        self.clock.now += timedelta(minutes=1)
        at = self.clock.now.replace(tzinfo=None)
        people = self.sandbox.control("truth?resource=contacts")
        subscriptions = self.sandbox.control("truth?resource=subscriptions")
        contacts = [
            {"id": row["contact_id"], "email": row["fields"]["email"], "status": row["status"]} for row in people
        ]
        rows = [{name: row[name] for name in ("list_id", "contact_id", "status")} for row in subscriptions]
        with self.store.warehouse.write("test") as connection:
            for table, found in (("raw_contacts", contacts), ("raw_subscriptions", rows)):
                if found:
                    connection.register("found", pa.Table.from_pylist(found))
                    connection.execute(
                        f"INSERT INTO {table} BY NAME "
                        "SELECT *, $at AS observed_at, CAST($at AS DATE) AS partition_date FROM found",
                        {"at": at},
                    )
                    connection.unregister("found")
            connection.execute(
                "INSERT INTO raw_contacts BY NAME SELECT * REPLACE ($at AS observed_at, $at AS deleted_at) "
                "FROM raw_contacts WHERE NOT list_contains($there, id) "
                "QUALIFY row_number() OVER (PARTITION BY id ORDER BY observed_at DESC) = 1",
                {"at": at, "there": [row["id"] for row in contacts]},
            )

    def place(self, **limits: Any) -> ExportContext:
        return ExportContext(self.store.warehouse, self.folder(**limits), SCHEMA, self.clock)

    def settings(self, mode: str = "add", wanted: str = str(LIST), **options: Any) -> Export:
        """The export `to_list` of the audience `everybody`, with the options of an export in icontact.yaml."""
        options = {"limits": FREE, **({"remove": {"move_to": str(HOLDING)}} if mode == "mirror" else {}), **options}
        return Export(name="to_list", label="To list", audience="everybody", list=wanted, mode=mode, **options)

    def export(
        self,
        mode: str = "add",
        wanted: str = str(LIST),
        *,
        run_id: str | None = None,
        exactly: str | None = None,
        requests: dict[str, int] | None = None,
        **options: Any,
    ) -> ExportReport:
        """Run the export; `requests`: the budget, not limited by default."""
        self.runs += 1
        return run_export(
            self.place(**(requests or {})),
            self.settings(mode, wanted, **options),
            audience_storage_id="77",
            run_id=run_id or f"run{self.runs}",
            exactly=exactly,
        )

    def on_list(self) -> dict[int, str]:
        """Who is on the target list, and how, by the sandbox's own truth."""
        return self.on(LIST)

    def on(self, list_id: int) -> dict[int, str]:
        """Who is on a list, and how."""
        rows = self.sandbox.control("truth?resource=subscriptions")
        return {int(row["contact_id"]): row["status"] for row in rows if row["list_id"] == str(list_id)}

    def posts(self) -> list[list[int]]:
        """The contact ids of each bulk subscription that reached the sandbox, in order."""
        return [
            [int(row["contactId"]) for row in orjson.loads(entry["body"])]
            for entry in self.writes()
            if entry["method"] == "POST" and entry["path"].endswith("/subscriptions")
        ]

    def writes(self) -> list[dict[str, Any]]:
        """The log entries of everything that was no GET; nothing else than lists is ever written to."""
        log = self.sandbox.control("log")
        assert {row["method"] for row in log} <= {"GET", "POST", "PUT"}
        written = [entry for entry in log if entry["method"] != "GET"]
        assert all("/subscriptions" in entry["path"] for entry in written)
        return written

    def removals(self) -> list[tuple[str, int]]:
        """Method and contact id of each request that was to take somebody off a list, in order."""
        return [
            (entry["method"], int(entry["path"].rpartition("_")[2]))
            for entry in self.writes()
            if not entry["path"].endswith("/subscriptions")
        ]

    def outcomes(self, run_id: str | None = None) -> dict[int, str]:
        """Contact id to outcome of a run, by default the last."""
        rows = self.store.rows(
            f"SELECT contact_id, outcome FROM export_outcomes WHERE run_id = '{run_id or f'run{self.runs}'}'"
        )
        assert len(rows) == len({row[0] for row in rows})
        return {int(contact_id): outcome for contact_id, outcome in rows}

    def forget(self) -> None:
        """A new sandbox and empty tables."""
        self.sandbox.control("reset")
        self.store.run("; ".join(f"DELETE FROM {table.name}" for table in TABLES))

    def fault(self, **fault: Any) -> None:
        self.sandbox.control("faults", faults=[fault])
