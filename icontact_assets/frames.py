"""Tables as pandas frames, for people who work in notebooks. Read-only."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import duckdb
import pandas as pd

from icontact_assets.resources import reading
from icontact_assets.settings.load import load_settings
from icontact_assets.warehouse.published import read_published
from icontact_assets.warehouse.storage import WarehouseError


def read(
    table: str,
    *,
    import_name: str = "icontact",
    columns: Sequence[str] | None = None,
    where: str | None = None,
    database: Path | None = None,
) -> pd.DataFrame:
    """A frame of a table or view of an import, as last published, times in UTC without a zone.

    `columns` chooses columns, `where` is a SQL condition, `database` another published copy than that of the settings.
    It waits for no run, unless the settings publish nothing: then the database itself is read. Raises WarehouseError if
    there is nothing to read or no such table, duckdb.Error if a column or the condition is wrong.
    """
    chosen = ", ".join(f'"{column}"' for column in columns) if columns else "*"
    condition = f" WHERE {where}" if where else ""
    opened: AbstractContextManager[duckdb.DuckDBPyConnection] = (
        read_published(database) if database else reading(load_settings())
    )
    with opened as connection:
        try:
            return connection.execute(f'SELECT {chosen} FROM "{import_name}"."{table}"{condition}').df()  # noqa: S608
        except duckdb.CatalogException as error:
            if "Table with name" not in str(error):
                raise
            raise WarehouseError(
                f"There is no {import_name}.{table}. Materialize it, or name another: `icontact-assets query "
                '"SHOW ALL TABLES"` lists them.'
            ) from error
