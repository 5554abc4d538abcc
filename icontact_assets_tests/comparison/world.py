"""Profiles of ours in a real warehouse, and the export of a system that has the same, until a test changes one side."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from icontact_assets.comparison.comparison import Comparison, compare
from icontact_assets.comparison.values import fields
from icontact_assets.mapping.build import build_activity, build_users
from icontact_assets_tests.harness import Store

Row = dict[str, Any]

EXPORTED = datetime(2026, 6, 10, tzinfo=UTC)
READ = datetime(2026, 6, 1)
"""When contacts were read, unless a test says otherwise (UTC)."""


def utc(text: str) -> datetime:
    """An instant of 2026, as in `05-01 09:30`."""
    return datetime.fromisoformat(f"2026-{text}")


def iso(at: datetime) -> str:
    return f"{at.isoformat(timespec='milliseconds')}Z"


def seconds(at: datetime) -> int:
    return int(at.replace(tzinfo=UTC).timestamp())


@dataclass
class World:
    """`time` says how an export writes an instant."""

    store: Store
    folder: Path
    time: Callable[[datetime], Any] = iso
    renamed: dict[str, str] = field(default_factory=dict)
    aid: str | None = None

    _waiting: dict[str, list[Row]] = field(default_factory=lambda: {"raw_contacts": [], "raw_activity": []})

    def __post_init__(self) -> None:
        # A stand-in, in whose place comes the view.
        self.store.run("DROP TABLE icontact_profiles")

    def contact(self, id_: str, read: datetime = READ, **values: Any) -> None:
        row = {"id": id_, "observed_at": read, "partition_date": read.date(), **values}
        self._waiting["raw_contacts"].append(row)

    def event(
        self, contact: str, kind: str, at: str, url: str | None = None, *, times: int = 1, message: str = "501"
    ) -> None:
        """Something that happened, in as many identical rows."""
        row = {
            "message_id": message,
            "contact_id": contact,
            "event_type": kind,
            "event_time": utc(at),
            "event_url": url,
            "extracted_at": READ,
            "partition_date": utc(at).date(),
        }
        self._waiting["raw_activity"] += [{**row, "ordinal": ordinal} for ordinal in range(times)]

    def build(self) -> None:
        """Store what waits, and compute the profiles."""
        with self.store.warehouse.write("test") as connection:
            for table, rows in self._waiting.items():
                if rows:
                    names = dict.fromkeys(name for row in rows for name in row)
                    columns = {name: [row.get(name) for row in rows] for name in names}
                    connection.register("batch", pa.table(columns))
                    connection.execute(f"INSERT INTO {table} BY NAME FROM batch")
                    connection.unregister("batch")
                    rows.clear()
            build_users(connection)
            build_activity(connection, aid=self.aid)

    def export(self) -> dict[str, Row]:
        """Our profiles, once they are built, as the other system has them: by contact id, without what is absent."""
        with self.store.warehouse.read() as connection:
            found = connection.execute("SELECT * EXCLUDE (deleted_at) FROM icontact_profiles")
            names = [column[0] for column in found.description]
            rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        return {
            row["ic_contact_id"]: {name: self._written(value) for name, value in row.items() if value is not None}
            for row in rows
        }

    def _written(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._written(item) for key, item in value.items()}
        return self.time(value) if isinstance(value, datetime) else value

    def file(self, rows: list[Row], content: Callable[[list[Row]], bytes] | None = None) -> Path:
        path = self.folder / "export"
        path.write_bytes((content or json_lines)(rows))
        return path

    def compare(self, theirs: dict[str, Row] | Path, *, exported_at: datetime = EXPORTED) -> Comparison:
        path = theirs if isinstance(theirs, Path) else self.file([*theirs.values()])
        with self.store.warehouse.read() as connection:
            return compare(connection, path, renamed=self.renamed, exported_at=exported_at, aid=self.aid)


def json_lines(rows: list[Row]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def json_array(rows: list[Row]) -> bytes:
    return json.dumps(rows, indent=1).encode()


def csv_text(rows: list[Row], delimiter: str = ",", end: str = "\n") -> bytes:
    """All fields, in the order of the vendor's tables. Lists and maps are JSON."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerow(fields())
    for row in rows:
        cells = [row.get(name, "") for name in fields()]
        writer.writerow([json.dumps(cell) if isinstance(cell, dict | list) else cell for cell in cells])
    return text.getvalue().encode()


def zipped(rows: list[Row]) -> bytes:
    return gzip.compress(csv_text(rows))


def marked(rows: list[Row]) -> bytes:
    return b"\xef\xbb\xbf" + json_lines(rows)


def changed(row: Row, changes: Row) -> None:
    """Change a profile of an export. None: it no longer has the field."""
    for name, value in changes.items():
        if value is None:
            row.pop(name, None)
        else:
            row[name] = value
