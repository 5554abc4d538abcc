"""Engines with a lake attached: how it is attached, and that they are kept to be used again."""

from __future__ import annotations

import atexit
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from icontact_assets.catalog import Catalog
from icontact_assets.errors import UserError
from icontact_assets.warehouse.engine import CATALOG, new_engine
from icontact_assets.warehouse.lake_folder import is_lake, take_folder
from icontact_assets.warehouse.spill import Spill

_EXTENSIONS = ("postgres_scanner", "ducklake")
_S3_EXTENSIONS = ("httpfs", "aws")

_SECRET = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "DATABASE"}
"""How DuckDB's secrets call what libpq connects with."""

_RETRIES = 100
"""How often a commit is tried again, by itself, that others came before. They write to other schemas."""


@dataclass(frozen=True)
class Attachment:
    """A lake, and how it is attached."""

    conninfo: str
    """How libpq connects to the catalog."""
    data: str
    read_only: bool
    """Nothing can be written by any statement."""
    work: Path
    """The folder of this machine for what does not fit in memory."""


@dataclass(frozen=True)
class _Engine:
    connection: duckdb.DuckDBPyConnection
    spill: Spill

    def close(self) -> None:
        self.connection.close()
        self.spill.remove()


_idle: dict[Attachment, list[_Engine]] = {}
"""To attach a lake takes longer than most of what is then asked."""
_of_parent: list[_Engine] = []


def _leave_to_parent() -> None:
    # See `engine.py`. A session with the catalog is the parent's too.
    _of_parent.extend(engine for kept in _idle.values() for engine in kept)
    _idle.clear()


@atexit.register
def _close_idle() -> None:
    for kept in _idle.values():
        while kept:
            kept.pop().close()


os.register_at_fork(after_in_child=_leave_to_parent)


@contextmanager
def lake_engine(
    attachment: Attachment, memory_limit: int | None = None, *, reads: bool
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to an engine that has the lake attached and in use, which this process may have used before. One
    that `reads` is in a transaction that does nothing else, and sees one snapshot. `memory_limit`: MB that it may use.
    None: as many as DuckDB chooses.

    Whoever changes a setting in it, other than `threads`, sets it back. Raises what DuckDB raises, OSError where the
    folder of this machine cannot be used, CatalogError, and WarehouseError where the data is not of this lake."""
    engine, connection = _begun(attachment, memory_limit, reads)
    unharmed = False
    try:
        yield connection
        unharmed = True
    finally:
        # Where the catalog is gone, to close a transaction that is open would end this process.
        with suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        connection.close()
        if unharmed and _takes_settings(engine.connection):
            _idle.setdefault(attachment, []).append(engine)
        else:
            engine.close()


def _begun(attachment: Attachment, memory_limit: int | None, reads: bool) -> tuple[_Engine, duckdb.DuckDBPyConnection]:
    """An engine whose catalog answers, and a connection to it."""
    while True:
        kept = _idle.setdefault(attachment, [])
        try:
            engine, is_new = kept.pop(), False
        except IndexError:
            engine, is_new = _attach(attachment), True
        try:
            connection = engine.connection.cursor()
            if memory_limit is not None:
                connection.execute(f"SET memory_limit = '{memory_limit}MB'")
            connection.execute(f"USE {CATALOG}")
            if reads:
                # All that it reads is of one snapshot.
                connection.execute("BEGIN TRANSACTION READ ONLY")
            if reads or not is_new:
                connection.execute(f"FROM ducklake_current_snapshot('{CATALOG}')").fetchall()
        except duckdb.Error:
            engine.close()
            if is_new:
                raise
            # The catalog may have been started again since.
        else:
            return engine, connection


def _attach(attachment: Attachment) -> _Engine:
    spill = Spill(attachment.work)
    in_s3 = attachment.data.startswith("s3://")
    connection = new_engine(spill.path, [_extension(name) for name in _EXTENSIONS + _S3_EXTENSIONS * in_s3])
    engine = _Engine(connection, spill)
    try:
        if in_s3:
            # As every program of AWS finds them: in variables, files, or from the machine that it runs on.
            connection.execute(f"CREATE SECRET data (TYPE s3, PROVIDER credential_chain{_endpoint()})")
        # Any query sees how a lake was attached. What is in a secret is shown as "redacted".
        named = conninfo_to_dict(attachment.conninfo)
        hidden = {_SECRET[name]: str(named.pop(name)) for name in _SECRET if name in named}
        secret = "".join(f", {name} '{_quoted(value)}'" for name, value in hidden.items())
        connection.execute(f"CREATE SECRET catalog (TYPE postgres{secret})")
        connection.execute(f"SET ducklake_max_retry_count = {_RETRIES}")
        # By default each pause is half as long again: the 20th would take more than two minutes.
        connection.execute("SET ducklake_retry_backoff = 1")
        catalog = f"ducklake:postgres:{make_conninfo(**{name: str(value) for name, value in named.items()})}"
        options = f"DATA_PATH '{_quoted(attachment.data)}', META_SECRET catalog" + ", READ_ONLY" * attachment.read_only
        attach = f"ATTACH '{_quoted(catalog)}' AS {CATALOG} ({options})"
        if attachment.read_only:
            connection.execute(attach)
        else:
            _attach_to_write(connection, attachment, attach)
        if in_s3:
            # A file of a lake's tables is never written again: what was read of it once need not be asked for.
            connection.execute("SET validate_external_file_cache = 'NO_VALIDATION'")
            connection.execute("SET parquet_metadata_cache = true")
        # Where SQL of a user may see no files, the tables are seen: they are files here.
        connection.execute(f"SET allowed_directories = ['{_quoted(attachment.data)}']")
    except (duckdb.Error, UserError):
        engine.close()
        raise
    return engine


def _attach_to_write(connection: duckdb.DuckDBPyConnection, attachment: Attachment, attach: str) -> None:
    """Attach a lake whose folder of data is its own. Raises UserError if it is not, before anything is made."""
    catalog = Catalog(attachment.conninfo)
    with catalog.lent() as session:
        is_new = not is_lake(session)
        if is_new:
            take_folder(connection, session, attachment.data, catalog.where)
    # To a lake that is there, DuckLake says whether the folder is the one that its catalog names.
    connection.execute(attach)
    if not is_new:
        with catalog.lent() as session:
            take_folder(connection, session, attachment.data, catalog.where)


def _takes_settings(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether an engine can be used again: not where it was closed to users, or an error has damaged it."""
    try:
        connection.execute("RESET threads")
        connection.execute("RESET memory_limit")
    except duckdb.Error:
        return False
    return True


def _endpoint() -> str:
    """SQL for the service that AWS's own variables name in place of AWS. The chain of credentials passes it over."""
    url = urlsplit(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "")
    if not url.netloc:
        return ""
    return f", ENDPOINT '{_quoted(url.netloc)}', USE_SSL {url.scheme == 'https'}, URL_STYLE 'path'"


def _extension(name: str) -> Path:
    """The file of an extension, which a package brings."""
    package = Path(str(importlib.import_module(f"duckdb_extension_{name}").__file__)).parent
    return next(package.rglob("*.duckdb_extension"))


def _quoted(text: str) -> str:
    return text.replace("'", "''")
