"""Raw tables filled by hand, and the report tables computed from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb

from icontact_assets.ingest.due import Scope
from icontact_assets.reports.build import Task, build_reports
from icontact_assets.reports.tables import CAMPAIGNS, DOMAINS, ENGAGEMENT, LINKS, LIST_HEALTH
from icontact_assets.settings.models import Reports
from icontact_assets.settings.requests import Refresh
from icontact_assets.warehouse.tables import Table
from icontact_assets_tests.harness import SCHEMA, Store

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
START = date(2026, 1, 1)


def utc(text: str) -> datetime:
    """An instant as the tables hold it, as in `06-01 10:00`, of the year 2026."""
    return datetime.fromisoformat(f"2026-{text}")


@dataclass
class World:
    """A database filled by hand."""

    store: Store
    now: datetime = NOW
    rules: Reports = field(default_factory=Reports)
    aid: str | None = None
    waiting: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def insert(self, table: str, **row: Any) -> None:
        """A row, which is stored with all others when something is computed: a transaction takes longer than a row."""
        self.waiting.append((table, row))

    @contextmanager
    def stored(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the database, with all rows."""
        with self.store.warehouse.write("test") as connection:
            for table, row in self.waiting:
                marks = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))
            self.waiting.clear()
            yield connection

    def contacts(
        self,
        ids: Sequence[str],
        at: str = "01-01",
        *,
        domain: str = "example.com",
        status: str = "normal",
        deleted: bool = False,
    ) -> None:
        """A version of each of these contacts, found at that time."""
        for id_ in ids:
            self.insert(
                "raw_contacts",
                id=id_,
                email=f"planted{id_}@{domain}",
                state="CA",
                status=status,
                deleted_at=utc(at) if deleted else None,
                observed_at=utc(at),
                partition_date=utc(at).date(),
            )

    def on_list(
        self, ids: Sequence[str], list_id: str = "7", at: str = "01-01", *, status: str = "normal", **more: str | None
    ) -> None:
        """A version of the subscriptions of these contacts, found at that time. `added`: when. `deleted`: when."""
        for id_ in ids:
            self.insert(
                "raw_subscriptions",
                subscription_id=f"{list_id}_{id_}",
                list_id=list_id,
                contact_id=id_,
                status=status,
                added_at=utc(more.get("added") or at),
                deleted_at=utc(more["deleted"]) if more.get("deleted") else None,
                observed_at=utc(at),
            )

    def message(self, id_: str, sent: str | None = None, lists: str = "7", **more: Any) -> None:
        """A message, and its send. `more`: columns of its statistics, or of the message."""
        message = {key: more.pop(key) for key in ("subject", "message_name", "aids", "deleted_at") if key in more}
        self.insert("raw_messages", message_id=id_, observed_at=utc("01-01"), **message)
        if sent:
            self.send(id_, sent, lists)
        if more:
            self.insert("raw_statistics", message_id=id_, observed_at=utc("01-01"), **more)

    def send(self, id_: str, sent: str, lists: str = "7", **more: Any) -> None:
        values = {"released_at": utc(sent), "status": "released", **more}
        self.insert(
            "raw_sends",
            send_id=f"{id_}-{sent}",
            message_id=id_,
            include_list_ids=lists,
            observed_at=utc("01-01"),
            **values,
        )

    def event(
        self, message: str, contact: str, kind: str, at: str | datetime, url: str | None = None, ordinal: int = 0
    ) -> None:
        self.insert(
            "raw_activity",
            message_id=message,
            contact_id=contact,
            event_type=kind,
            event_time=utc(at) if isinstance(at, str) else at,
            event_url=url,
            ordinal=ordinal,
        )

    def scan(self, message: str, contact: str, at: str) -> None:
        """A scanner clicks all links of a message at once."""
        for number in range(4):
            self.event(message, contact, "click", utc(at) + timedelta(seconds=number), f"https://a.example/{number}")

    @property
    def scope(self) -> Scope:
        return Scope(SCHEMA, self.aid, Refresh().by_age)

    def build(self, table: Table) -> list[dict[str, Any]]:
        """The rows of a report table, computed."""
        with self.stored() as connection:
            build_reports(connection, [table], Task(self.scope, self.rules, START, self.now))
        return self.rows(table.name)

    def campaigns(self) -> dict[str, dict[str, Any]]:
        return {row["message_id"]: row for row in self.build(CAMPAIGNS)}

    def links(self) -> list[dict[str, Any]]:
        return self.build(LINKS)

    def engagement(self) -> dict[str, dict[str, Any]]:
        return {row["contact_id"]: row for row in self.build(ENGAGEMENT)}

    def domains(self) -> dict[str, dict[str, Any]]:
        return {row["domain"]: row for row in self.build(DOMAINS)}

    def list_health(self) -> dict[tuple[str, date], dict[str, Any]]:
        return {(row["list_id"], row["day"]): row for row in self.build(LIST_HEALTH)}

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table, by column."""
        with self.store.warehouse.read() as connection:
            found = connection.execute(f"SELECT * FROM {table} ORDER BY ALL")
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
