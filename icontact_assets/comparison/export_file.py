"""Reads the file that another system exported, CSV or JSON, into a table of texts."""

from __future__ import annotations

import csv
import gzip
import io
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, cast

import duckdb

from icontact_assets.comparison.values import fields, kept
from icontact_assets.errors import UserError
from icontact_assets.plain import mask

_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_HEAD = 1_000_000
"""Bytes in which the first line of a CSV file must end."""
_LINE = 16_000_000
"""Bytes that a row may have: somebody may have clicked many links."""
_KEYS = ("ic_contact_id", "email")


class ExportFileError(UserError):
    """The exported file cannot be read. The text names the file, the line where there is one, and no value."""


@dataclass(frozen=True)
class ExportFile:
    """What the table `there` was read from."""

    form: str
    """CSV, JSON lines or JSON."""
    fields: tuple[str, ...]
    """The fields that the file has, in the order of the vendor's tables."""
    unknown: tuple[str, ...]
    """Its columns that are not compared, fit to be shown."""
    rows: int


def read_export(connection: duckdb.DuckDBPyConnection, path: Path, renamed: Mapping[str, str]) -> ExportFile:
    """Make the temporary table `there` of an export: a row `n` from 0 for each profile, a text for each field it has.

    The file is CSV with a header, JSON lines or one JSON array, plain or gzip, in UTF-8. `renamed` has for columns of
    the file the fields they are. What is empty is NULL. Raises ExportFileError.
    """
    if wrong := [name for name in renamed.values() if name not in fields()]:
        raise ExportFileError(f"There is no field {mask(wrong[0])}. The fields are {', '.join(fields())}.")
    with _there(path):
        head, zipped = _head(path)
        with _without_mark(path, head, zipped) as (readable, is_zipped):
            source = _Source(path, readable, "gzip" if is_zipped else "none", head.removeprefix(_BOM))
            return _read(connection, source, renamed)


def made_at(path: Path) -> datetime:
    """When a file was last written (aware UTC). Raises ExportFileError."""
    with _there(path):
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)


@contextmanager
def _there(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise ExportFileError(
            f"The export {path} cannot be read ({type(error).__name__}). Check that it is there, whole, and that this "
            "user may read it."
        ) from error


@dataclass(frozen=True)
class _Source:
    path: Path
    """The file that the user named."""
    readable: Path
    """The one that DuckDB reads."""
    compression: str
    head: bytes


def _head(path: Path) -> tuple[bytes, bool]:
    """The first bytes of what the file holds, and whether it is compressed."""
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP
        file.seek(0)
        content = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if zipped else file
        return content.read(_HEAD), zipped


@contextmanager
def _without_mark(path: Path, head: bytes, zipped: bool) -> Iterator[tuple[Path, bool]]:
    """The file, or a copy of it without its byte order mark, which DuckDB does not take in JSON. And whether that is
    compressed."""
    if not head.startswith(_BOM):
        yield path, zipped
        return
    with TemporaryDirectory(prefix="icontact-assets-") as folder:
        copy = Path(folder) / "export"
        with gzip.open(path) if zipped else path.open("rb") as marked, copy.open("wb") as bare:
            marked.read(len(_BOM))
            shutil.copyfileobj(marked, bare)
        yield copy, False


def _read(connection: duckdb.DuckDBPyConnection, source: _Source, renamed: Mapping[str, str]) -> ExportFile:
    begins = source.head.lstrip()[:1]
    if not begins:
        raise ExportFileError(f"The export {source.path} is empty.")
    place = {"path": str(source.readable)}
    if begins in (b"{", b"["):
        form = "JSON lines" if begins == b"{" else "JSON"
        how = f"format = '{'newline_delimited' if begins == b'{' else 'array'}', compression = '{source.compression}'"
        how += f", maximum_object_size = {_LINE}"
        keys = f"SELECT DISTINCT unnest(json_keys(json)) FROM read_json_objects($path, {how})"
        with _explained(source.path):
            names = sorted(name for (name,) in connection.execute(keys, place).fetchall())
        found = _columns(source.path, names, renamed)
        columns = {name: f'"{_quoted(name)}"' for name in found.values()}
        listed = ", ".join(f"{_literal(name)}: 'VARCHAR'" for name in columns)
        reads = f"read_json($path, columns = {{{listed}}}, records = true, {how})"
    else:
        form = "CSV"
        delimiter, names = _header(source, renamed)
        found = _columns(source.path, names, renamed)
        columns = {name: f"c{place}" for place, name in enumerate(names)}
        listed = ", ".join(f"'{column}': 'VARCHAR'" for column in columns.values())
        reads = (
            f"read_csv($path, columns = {{{listed}}}, auto_detect = false, header = true, delim = '{delimiter}', "
            f"quote = '\"', escape = '\"', max_line_size = {_LINE}, compression = '{source.compression}')"
        )
    taken = ", ".join(f'{kept(fields()[ours], columns[theirs])} AS "{ours}"' for ours, theirs in found.items())
    with _explained(source.path):
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE there AS SELECT row_number() OVER () - 1 AS n, {taken} FROM {reads}", place
        )
    [(rows,)] = connection.execute("SELECT count(*) FROM there").fetchall()
    unknown = tuple(mask(name) for name in names if name not in found.values())
    return ExportFile(form, tuple(found), unknown, rows)


def _header(source: _Source, renamed: Mapping[str, str]) -> tuple[str, list[str]]:
    """What separates the columns of a CSV file, and their names."""
    try:
        text = source.head.decode()
    except UnicodeDecodeError as error:
        # A character may be cut at the end.
        text = source.head[: error.start].decode()
        if error.start < len(source.head) - 3:
            raise ExportFileError(
                f"The export {source.path} is not text in UTF-8. Export it in UTF-8, as CSV or as JSON lines."
            ) from error
    found = {
        delimiter: [name.strip() for name in next(csv.reader(io.StringIO(text), delimiter=delimiter))]
        for delimiter in (",", ";", "\t")
    }
    delimiter = max(found, key=lambda one: len({*found[one]} & {*fields(), *renamed}))
    return "\\t" if delimiter == "\t" else delimiter, found[delimiter]


def _columns(path: Path, names: Sequence[str], renamed: Mapping[str, str]) -> dict[str, str]:
    """For each field that the file has its column, in the order of the vendor's tables. Raises ExportFileError.

    Unless a profile can be told by a column, no name is shown: without a header, a name is somebody's address.
    """
    ours = [renamed.get(name, name) for name in names]
    if missing := [name for name in renamed if name not in names]:
        raise ExportFileError(f"The export {path} has no column {mask(missing[0])}, which --column names.")
    for name in (*fields(), *(name for name in names if _KEYS[0] in ours or _KEYS[1] in ours)):
        if (ours if name in fields() else names).count(name) > 1:
            raise ExportFileError(f"The export {path} has several columns for {mask(name)}. Remove all but one.")
    if not any(key in ours for key in _KEYS):
        raise ExportFileError(
            f"Of the {len(names)} columns of the export {path}, none is {' or '.join(_KEYS)}, by which a profile can "
            f"be told. Name it with --column, for instance --column id={_KEYS[0]}."
        )
    return {field: names[ours.index(field)] for field in fields() if field in ours}


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """DuckDB's own text may quote somebody's row."""
    try:
        yield
    except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.IOException) as error:
        line = re.search(r"[Ll]ine:? (\d+)", str(error))
        raise ExportFileError(
            f"{path}{f':{line[1]}' if line else ''}: what is there cannot be read (the text is not shown). Export the "
            "profiles as CSV with as many values in each line as names in the first, or as JSON with an object for "
            "each profile, in UTF-8."
        ) from None


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return name.replace('"', '""')
