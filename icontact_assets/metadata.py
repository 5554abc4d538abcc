"""How tables, their columns and errors of ours are shown in Dagster.

Whoever shows rows of a table chooses columns that are not personal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import dagster as dg
import duckdb

from icontact_assets.errors import UserError
from icontact_assets.warehouse.remedies import query_failed
from icontact_assets.warehouse.tables import Column


def column_schema(columns: Iterable[Column]) -> dg.TableSchema:
    """Columns with their types and descriptions, for the asset's page."""
    return dg.TableSchema(columns=[dg.TableColumn(c.name, type=c.type, description=c.description) for c in columns])


def preview(connection: duckdb.DuckDBPyConnection, table: str, columns: Iterable[str]) -> dg.TableMetadataValue:
    """The first rows of a table, with the given columns, none of which may be personal."""
    names = list(columns)
    rows = connection.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY ALL LIMIT 10").fetchall()  # noqa: S608
    return metadata_table(names, rows)


def metadata_table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> dg.TableMetadataValue:
    """Rows under the names of their columns, none of which may be personal.

    A table shows texts of others as they are. Markdown would make links, images and HTML of them.
    """
    return dg.MetadataValue.table(
        [dg.TableRecord({name: _cell(value) for name, value in zip(names, row, strict=True)}) for row in rows],
        schema=dg.TableSchema(columns=[dg.TableColumn(name) for name in names]),
    )


def _cell(value: object) -> str | int | float | bool | None:
    return value if isinstance(value, int | float | bool | None) else _words(value)


def _words(value: object) -> str:
    """A value as people read it. Times to the minute."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(key)}: {_words(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    # Dagster stores no text of a subclass, as a member of a StrEnum is.
    return str(value)


def code_block(text: str, language: str) -> dg.MetadataValue[Any]:
    """Text of a user as code, whatever is in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return dg.MetadataValue.md(f"{fence}{language}\n{text}\n{fence}")


def failure(error: UserError, metadata: Mapping[str, Any] | None = None) -> dg.Failure:
    """The failure of a step that shows an error of ours. Dagster does not retry the step: the user, or time, has to
    change something first."""
    return dg.Failure(str(error), metadata=metadata, allow_retries=False)


@contextmanager
def failing_plainly() -> Iterator[None]:
    """Shows an error of ours, or one of DuckDB, as the failure of a step, without anybody's values."""
    try:
        yield
    except UserError as error:
        raise failure(error) from error
    except duckdb.Error as error:
        raise failure(query_failed(error)) from None
