"""The copy of the database for reading. Opening it takes no lock of ours, and no run waits for whoever has it open."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from icontact_assets.warehouse.engine import CATALOG, new_engine
from icontact_assets.warehouse.foreign import holder
from icontact_assets.warehouse.remedies import first_line
from icontact_assets.warehouse.signals import interrupted_by_signals
from icontact_assets.warehouse.storage import WarehouseError


@contextmanager
def read_published(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to the copy, as it is now. It sees that copy to its end, whatever is published meanwhile.

    Raises WarehouseError if the copy cannot be opened, duckdb.Error for what is wrong with a query.
    """
    # Whoever reads may be another user, who may not write beside the copy.
    with tempfile.TemporaryDirectory(prefix="icontact-assets-") as folder:
        connection = new_engine(Path(folder) / "spill")
        try:
            quoted = str(path).replace("'", "''")
            try:
                connection.execute(f"ATTACH '{quoted}' AS {CATALOG} (TYPE duckdb, READ_ONLY)")
            except duckdb.Error as error:
                who = holder(error)
                raise WarehouseError(
                    f"The published copy {path} cannot be read: "
                    + (f"it is open for writing in {who}. Close it there." if who else first_line(error))
                    + " Or delete it: the next run makes a new one."
                ) from error
            connection.execute(f"USE {CATALOG}")
            with interrupted_by_signals(connection):
                yield connection
        finally:
            connection.close()
