"""What an export leaves behind in the warehouse: a row per run, a row per person and run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from icontact_assets.settings import Export
from icontact_assets.warehouse.tables import EXPORT_OUTCOMES
from icontact_assets.warehouse.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one person. `outcome` is one of the words that export_outcomes declares."""

    contact_id: str
    outcome: str
    reason: str | None = None
    words: str | None = None


_ARROW = {"VARCHAR": pa.string(), "TIMESTAMP": pa.timestamp("us")}
_SCHEMA = pa.schema([(column.name, _ARROW[column.type]) for column in EXPORT_OUTCOMES.columns])


class Record:
    """The record of one export in one run. Each call is one short transaction of its own."""

    def __init__(self, warehouse: Warehouse, schema: str, export: Export, run_id: str) -> None:
        self._warehouse = warehouse
        self._schema = schema
        self._export = export
        self._run_id = run_id

    def run(self, **columns: Any) -> None:
        """Write the given columns of the run's row in export_runs, which is made where it is missing."""
        key = {"run_id": self._run_id, "export": self._export.name}
        with self._warehouse.write(f"recording the export {self._export.name}") as connection:
            table = f'"{self._schema}".export_runs'
            connection.execute(
                f"INSERT INTO {table} (run_id, export, audience, mode) SELECT $run_id, $export, $audience, $mode "
                f"WHERE NOT EXISTS (FROM {table} WHERE run_id = $run_id AND export = $export)",
                {**key, "audience": self._export.audience, "mode": self._export.mode},
            )
            connection.execute(
                f"UPDATE {table} SET {', '.join(f'{name} = ${name}' for name in columns)} "
                "WHERE run_id = $run_id AND export = $export",
                {**key, **columns},
            )

    def outcomes(self, outcomes: Iterable[Outcome], at: datetime) -> None:
        """Write what became of people. A later outcome replaces an earlier one of the same run, but a step that is
        tried again in its run does not forget that it added somebody: `already` does not replace `added`."""
        rows = [
            {
                "run_id": self._run_id,
                "export": self._export.name,
                "contact_id": item.contact_id,
                "action": "subscribe",
                "outcome": item.outcome,
                "reason": item.reason,
                "words": item.words,
                "recorded_at": naive(at),
            }
            for item in outcomes
        ]
        if not rows:
            return
        batch = pa.Table.from_pylist(rows, schema=_SCHEMA)
        with self._warehouse.write(f"recording the export {self._export.name}") as connection:
            connection.register("batch", batch)
            table = f'"{self._schema}".export_outcomes'
            same = "o.run_id = b.run_id AND o.export = b.export AND o.contact_id = b.contact_id AND o.action = b.action"
            keeps = "o.outcome = 'added' AND b.outcome = 'already'"
            connection.execute(f"DELETE FROM {table} o USING batch b WHERE {same} AND NOT ({keeps})")
            connection.execute(f"INSERT INTO {table} SELECT b.* FROM batch b ANTI JOIN {table} o ON {same}")
            connection.unregister("batch")


def naive(instant: datetime) -> datetime:
    """An aware time as the tables hold it: UTC without a zone."""
    return instant.astimezone(UTC).replace(tzinfo=None)
