"""Tables as pandas frames, for people who work in notebooks. Read-only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from icontact_assets.settings.load import load_settings
from icontact_assets.warehouse.warehouse import Warehouse


def read(
    table: str,
    *,
    import_name: str = "icontact",
    columns: Sequence[str] | None = None,
    where: str | None = None,
    database: Path | None = None,
) -> pd.DataFrame:
    """A frame of a table or view of an import, times in UTC without a zone.

    `columns` chooses columns, `where` is a SQL condition, `database` another file than the settings name.
    Raises WarehouseError if the database is missing or busy, duckdb.Error if the table or the condition is wrong.
    """
    chosen = ", ".join(f'"{column}"' for column in columns) if columns else "*"
    condition = f" WHERE {where}" if where else ""
    settings = load_settings()
    with Warehouse(database or settings.duckdb_path, readers=settings.readers).read() as connection:
        return connection.execute(f'SELECT {chosen} FROM "{import_name}"."{table}"{condition}').df()  # noqa: S608
