"""The schemas of imports in a storage: prepared, claimed, opened late and closed soon. A writer has one transaction."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

import duckdb

from icontact_assets.warehouse.engine import CATALOG
from icontact_assets.warehouse.storage import Storage, Version, WarehouseError, nothing_kept
from icontact_assets.warehouse.tables import IMPORT_SOURCE, TABLES, VIEWS, audience_on
from icontact_assets.warehouse.upgrade import pending

_SAME_SERVICE = " If it is the same service under another address, delete the row of {schema}.import_source."

_ready: dict[tuple[str, str | None, Source | None], Version] = {}
"""The schemas that are as this version wants them, and the storage as this process left it: others may replace it."""


class OtherSource(WarehouseError):
    """The schema holds the data of another account, client folder or service. The text names both and the remedies."""


@dataclass(frozen=True)
class Source:
    """Whose data it is."""

    service: str
    account_id: str
    client_folder_id: str

    def __str__(self) -> str:
        return f"account {self.account_id}, client folder {self.client_folder_id} of {self.service}"

    def is_same(self, other: Source) -> bool:
        """Whether both are one, zeros before an id set aside."""
        return self._normal() == other._normal()

    def _normal(self) -> tuple[str, ...]:
        return (self.service, self.account_id.lstrip("0"), self.client_folder_id.lstrip("0"))


class Warehouse:
    """The tables in a storage. Holds no connection: each `write()` and `read()` opens and closes its own.

    With a `schema`, that of an import, its connections find the tables there without its name, and the schema is
    prepared whenever it is not yet as this version wants it: made, upgraded, and compared with `source`, whose data it
    must hold. Without one, tables are named with their schema.

    Its writers write to `schema`, or to any if there is none, and to those that `also` names.
    """

    def __init__(
        self,
        storage: Storage,
        schema: str | None = None,
        *,
        source: Source | None = None,
        also: Collection[str] = (),
    ) -> None:
        self.storage = storage
        self.schema = schema
        self.source = source
        self.also = also
        self.left: Version | None = None
        """The storage as the last connection left it, or, if that only read, found it: nobody wrote in between."""
        self._is_known = False  # Whether the schema is ready in the storage of the connection that is open.

    @contextmanager
    def write(self, purpose: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection inside one transaction: committed at the end of the block, rolled back if it raises.

        `purpose` is shown to a process that waits. Raises WarehouseBusy, WarehouseError, OtherSource.
        """
        with self._connected(purpose) as connection:
            connection.execute("BEGIN")
            if self.schema is not None:
                self._prepare(connection, self.schema)
            self._use(connection)
            yield connection
            self.storage.check_turn()
            # A disk that is full at the end shows as a commit that failed.
            connection.execute("COMMIT")
            self._is_known = True

    @contextmanager
    def read(self, *, users_sql: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection. Raises WarehouseError if there is no database yet, WarehouseBusy, OtherSource.

        `users_sql`: a SELECT of a user that will run on it, or parts of it. It sees tables, but no files, no network
        and no variables of Python.
        """
        if not self.storage.exists():
            raise nothing_kept(self.storage.where)
        if self.schema is not None:
            with self._connected(None, users_sql) as connection:
                self._is_known = self._is_known or self._is_ready(connection, self.schema)
                if self._is_known:
                    self._use(connection)
                    yield connection
                    return
            self.prepare()
        with self._connected(None, users_sql) as connection:
            self._use(connection)
            yield connection

    def prepare(self) -> None:
        """Make the schema, its tables, columns (NULL in older rows), views and macros where they are missing. Raises
        OtherSource if the schema holds the data of another than `source`, WarehouseError, WarehouseBusy."""
        with self.write("preparing the schema"):
            pass

    def claim(self, connection: duckdb.DuckDBPyConnection) -> tuple[str, bool]:
        """Record whose data the schema holds, where that is not recorded yet: the id of the schema in this database,
        and whether it held rows of which nothing said whose they are. Raises OtherSource."""
        if self.source is None:
            raise ValueError("only the schema of an import holds the data of a source")
        if (id_ := self.claimed(connection)) is not None:
            return id_, False
        id_ = uuid.uuid4().hex
        now = datetime.now(UTC).replace(tzinfo=None)
        connection.execute(
            "INSERT INTO import_source VALUES (?, ?, ?, ?, ?)",
            [id_, self.source.service, self.source.account_id, self.source.client_folder_id, now],
        )
        [(rows,)] = connection.execute("SELECT count(*) FROM import_coverage").fetchall()
        return id_, rows > 0

    def claimed(self, connection: duckdb.DuckDBPyConnection) -> str | None:
        """The id of the schema in this database. None if it is not recorded whose data it holds. Raises OtherSource."""
        if self.schema is None or self.source is None:
            raise ValueError("only the schema of an import holds the data of a source")
        return self._check_source(connection, self.schema, self.source)

    def is_claimed(self) -> bool:
        """Whether it is recorded that the schema holds the data of `source`. Reads only, and prepares nothing. Raises
        OtherSource."""
        if self.schema is None or self.source is None:
            raise ValueError("only the schema of an import holds the data of a source")
        if not self.storage.exists():
            return False
        with self._connected(None) as connection:
            found = _columns(connection, self.schema)
            return IMPORT_SOURCE.name in found and self._check_source(connection, self.schema, self.source) is not None

    def _prepare(self, connection: duckdb.DuckDBPyConnection, schema: str) -> None:
        if self._is_known or self._is_ready(connection, schema):
            return
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        self._use(connection)
        found = _columns(connection, schema)
        for table in TABLES:
            if table.name not in found:
                connection.execute(table.ddl(schema))
        for statement in pending(found):
            connection.execute(statement)
        found = _columns(connection, schema)
        for table in TABLES:
            for column in table.columns:
                if column.name not in found[table.name]:
                    connection.execute(f'ALTER TABLE "{table.name}" ADD COLUMN "{column.name}" {column.type}')
        for statement in _definitions(schema):
            connection.execute(statement)
        connection.execute(f"COMMENT ON TABLE {IMPORT_SOURCE.name} IS '{_layout(schema)}'")
        if self.source is not None:
            self._check_source(connection, schema, self.source)

    def _is_ready(self, connection: duckdb.DuckDBPyConnection, schema: str) -> bool:
        """Whether the schema has every table, column, view and macro already. Raises OtherSource."""
        found = _columns(connection, schema)
        if any(not found.get(table.name, set()).issuperset(table.column_names) for table in TABLES):
            return False
        if any(view.name not in found for view in VIEWS):
            return False
        comments = connection.execute(
            "SELECT comment FROM duckdb_tables() WHERE database_name = ? AND schema_name = ? AND table_name = ?",
            [CATALOG, schema, IMPORT_SOURCE.name],
        ).fetchall()
        if comments != [(_layout(schema),)]:
            return False
        if self.source is not None:
            self._check_source(connection, schema, self.source)
        return True

    def _use(self, connection: duckdb.DuckDBPyConnection) -> None:
        if self.schema is not None:
            connection.execute(f'USE {CATALOG}."{self.schema}"')

    def _check_source(self, connection: duckdb.DuckDBPyConnection, schema: str, source: Source) -> str | None:
        """The recorded id of a schema. None if nothing is recorded."""
        rows = connection.execute(
            f'SELECT database_id, service, account_id, client_folder_id FROM "{schema}".{IMPORT_SOURCE.name}'  # noqa: S608
        ).fetchall()
        for id_, *recorded in rows:
            found = Source(*recorded)
            if not found.is_same(source):
                raise OtherSource(
                    f"The database {self.storage.where} holds, as {schema}, {found}. The settings of the import "
                    f"{schema} name {source}. Nothing was asked for or stored. Give the import another name in "
                    f"icontact.yaml, or name another database with {self.storage.setting}, or set the former ids again."
                    + (found.service != source.service)
                    * _SAME_SERVICE.format(schema=schema)
                )
            return str(id_)
        return None

    @contextmanager
    def _connected(self, purpose: str | None, users_sql: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for a purpose. None: it only reads."""
        read_only = purpose is None
        key = (self.storage.where, self.schema, self.source)
        written = None if self.schema is None else {self.schema, *self.also}
        with self.storage.turn(purpose, written):
            found = self.storage.version()
            self._is_known = _ready.get(key) == found
            try:
                with self.storage.attached(read_only=read_only, users_sql=users_sql) as connection:
                    yield connection
            finally:
                # Somebody may write while this one reads, if the storage admits both.
                self.left = found if read_only else self.storage.version()
                if self._is_known:
                    _ready[key] = self.left


def _columns(connection: duckdb.DuckDBPyConnection, schema: str) -> dict[str, set[str]]:
    """The columns of each table and view of a schema."""
    found: dict[str, set[str]] = {}
    for table_name, column_name in connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = ? AND schema_name = ?",
        [CATALOG, schema],
    ).fetchall():
        found.setdefault(table_name, set()).add(column_name)
    return found


def _definitions(schema: str) -> list[str]:
    """The DDL of what holds no rows, made anew by each version."""
    return [*(view.ddl(schema) for view in VIEWS), audience_on(schema)]


@cache
def _layout(schema: str) -> str:
    """What a prepared schema is marked with: another version of these definitions has another mark."""
    text = "\n".join([*(table.ddl(schema) for table in TABLES), *_definitions(schema)])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
