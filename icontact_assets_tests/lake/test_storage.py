"""The lake as a storage: who writes at once, what a lost lock costs, and what SQL of users reaches."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from icontact_assets import catalog as catalog_module
from icontact_assets import doctor
from icontact_assets.audiences.audience import AudienceError, select
from icontact_assets.resources import open_warehouse, reading, storage_of
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import Audience, Settings
from icontact_assets.warehouse.lake import DuckLake
from icontact_assets.warehouse.storage import WarehouseBusy, WarehouseError
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.harness.postgres import ADMIN, Postgres

IMPORTS = "imports:\n  - {name: one, account: 1, client_folder: 2}\n  - {name: two, account: 1, client_folder: 3}\n"


@pytest.fixture
def settings(variables: dict[str, str], tmp_path: Path) -> Settings:
    """Two imports in a lake whose schemas are there. Whoever waits gives up soon."""
    (tmp_path / "icontact.yaml").write_text(IMPORTS)
    settings = load_settings({**variables, "ICONTACT_ASSETS_LOCK_WAIT": "0"}, tmp_path)
    with open_warehouse(settings).write("a test") as connection:
        for schema in ("one", "two"):
            connection.execute(f"CREATE SCHEMA {schema}")
            connection.execute(f"CREATE TABLE {schema}.t (n INTEGER)")
    return settings


def writer(settings: Settings, *schemas: str, wait: float = 0) -> Warehouse:
    """Who writes to these schemas. Nothing is prepared in them: that is another test's."""
    storage = storage_of(settings, wait_seconds=wait)

    class _Bare(Warehouse):
        def _prepare(self, connection: duckdb.DuckDBPyConnection, schema: str) -> None:
            pass

    return _Bare(storage, schemas[0], also=schemas[1:]) if schemas else Warehouse(storage)


def numbers(settings: Settings, schema: str) -> list[int]:
    with reading(settings) as connection:
        return [n for (n,) in connection.execute(f"SELECT n FROM {schema}.t ORDER BY n").fetchall()]


@pytest.mark.parametrize(
    ("first", "second", "at_once"),
    [
        (("one",), ("two",), True),
        (("one",), ("one",), False),
        (("one", "two"), ("two",), False),
        (("two",), ("one", "two"), False),
        ((), ("one",), False),
        (("one",), (), False),
    ],
)
def test_who_writes_at_once(settings: Settings, first: tuple[str, ...], second: tuple[str, ...], at_once: bool) -> None:
    def write_inside() -> None:
        with ThreadPoolExecutor(1) as other:
            other.submit(write, second).result()

    def write(schemas: tuple[str, ...], inside: Callable[[], None] = lambda: None) -> None:
        with writer(settings, *schemas).write("storing") as connection:
            connection.execute(f"INSERT INTO {(schemas or ('two',))[0]}.t VALUES (1)")
            inside()

    if at_once:
        write(first, write_inside)
        assert (numbers(settings, "one"), numbers(settings, "two")) == ([1], [1])
    else:
        with pytest.raises(WarehouseBusy, match=rf"is in use by process {os.getpid()}@.* storing"):
            write(first, write_inside)
        assert (numbers(settings, "one"), numbers(settings, "two")) == ([], [])


def test_who_waits_to_write_is_told_for_whom(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_module, "_FIRST_WORD_SECONDS", 0.05)
    told = list[str]()
    waits = storage_of(settings, wait_seconds=0.2, waiting=told.append)
    for schemas in (("one",), None):
        with (
            storage_of(settings).turn("storing", ("one",)),
            pytest.raises(WarehouseBusy),
            waits.turn("waiting", schemas),
        ):
            pass
    assert ["storing" in words for words in told] == [True, True]


def test_commits_of_several_imports_at_once_are_all_kept(settings: Settings) -> None:
    together = threading.Barrier(2)

    def write(schema: str) -> None:
        warehouse = writer(settings, schema, wait=60)
        together.wait()
        for n in range(12):
            with warehouse.write("a test") as connection:
                connection.execute(f"INSERT INTO {schema}.t VALUES (?)", [n])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ("one", "two")))
    assert numbers(settings, "one") == numbers(settings, "two") == list(range(12))


def test_a_transaction_whose_lock_is_lost_writes_nothing(settings: Settings, postgres: Postgres, catalog: str) -> None:
    def write() -> None:
        with writer(settings, "one").write("storing it") as connection:
            connection.execute("INSERT INTO one.t VALUES (1)")
            # Only that session: the one that commits is alive.
            ended = postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%storing it%' "
                f"AND datname = '{catalog}'"
            )
            assert ended == [(True,)]

    with pytest.raises(WarehouseError, match=r"lock of the tables in the catalog was lost: .*run again"):
        write()
    assert numbers(settings, "one") == []


def test_sql_of_users_reaches_tables_and_nothing_else(settings: Settings, tmp_path: Path) -> None:
    with open_warehouse(settings, "one").write("a test") as connection:
        connection.execute("CREATE TABLE icontact_profiles AS SELECT '7' AS ic_contact_id, NULL::TIMESTAMP deleted_at")
        connection.execute("INSERT INTO icontact_profiles SELECT range, NULL FROM range(1000, 2000)")
    (parquet,) = (tmp_path / "data").rglob("icontact_profiles/*.parquet")

    def ask(query: str) -> list[str]:
        warehouse = open_warehouse(settings, "one")
        return select(warehouse, Audience(name="a", label="A", import_name="one", query=query))

    assert len(ask("FROM icontact_profiles")) == 1001
    for source in (
        "postgres_query('__ducklake_metadata_warehouse_file', 'SELECT 1 AS ic_contact_id')",
        f"'{parquet}'",
    ):
        with pytest.raises(AudienceError, match="Permission Error"):
            ask(f"SELECT ic_contact_id FROM {source}")


def test_no_query_shows_the_password(variables: dict[str, str], tmp_path: Path) -> None:
    secret = "planted-secret"
    environ = {**variables, "ICONTACT_ASSETS_WAREHOUSE": f"{variables['ICONTACT_ASSETS_WAREHOUSE']} password={secret}"}
    settings = load_settings(environ, tmp_path)
    open_warehouse(settings, "icontact").prepare()
    with reading(settings) as connection:
        shown = [
            connection.execute(f"FROM {name}()").fetchall()
            for name in ("duckdb_databases", "duckdb_secrets", "duckdb_settings")
        ]
        with pytest.raises(duckdb.Error) as caught:
            connection.execute("SELECT 1 FROM nothing")
    assert secret not in f"{shown} {caught.value} {storage_of(settings).where}"


def test_no_error_of_connecting_shows_the_password(tmp_path: Path) -> None:
    lake = DuckLake("host=127.0.0.1 port=1 dbname=x password=planted-secret", str(tmp_path), tmp_path)
    with pytest.raises(WarehouseError, match="Check that PostgreSQL runs") as caught:
        lake.exists()
    assert "planted-secret" not in f"{caught.value} {caught.value.__cause__}"


def test_doctor_names_rights_that_nobody_needs(
    settings: Settings, postgres: Postgres, catalog: str, variables: dict[str, str], tmp_path: Path
) -> None:
    def rights(user: str) -> list[str]:
        environ = {**variables, "ICONTACT_ASSETS_WAREHOUSE": f"ducklake:postgres:{postgres.conninfo(catalog, user)}"}
        found = doctor.examine(load_settings(environ, tmp_path), None, None)
        return [finding.text for finding in found if finding.name == "rights"]

    postgres.execute("CREATE ROLE reads LOGIN IN ROLE pg_read_server_files, lake")
    try:
        assert rights("lake") == []
        [said] = rights(ADMIN)
        assert "has BYPASSRLS, CREATEDB, CREATEROLE, REPLICATION, SUPERUSER, and" in said
        [said] = rights("reads")
        assert "has pg_read_server_files, and" in said
    finally:
        postgres.execute("DROP ROLE reads")


def test_what_does_not_fit_is_gone_with_the_engine(settings: Settings, variables: dict[str, str]) -> None:
    spill = storage_of(settings).on_this_machine("spill")
    left = spill / "left"
    left.mkdir(parents=True)
    (left / "duckdb_temp_storage").write_text("of a killed process")
    used = open_warehouse(settings, wait_seconds=5)
    with pytest.raises(duckdb.BinderException), used.write("a test") as connection:
        connection.execute("SELECT nothing")
    with used.write("a test"):
        # An engine that an error may have harmed was not kept.
        assert not left.exists()


def test_who_reads_with_the_engine_that_wrote_cannot_write_and_loads_nothing_unsigned(settings: Settings) -> None:
    warehouse = open_warehouse(settings)
    with warehouse.write("a test") as connection:
        connection.execute("INSERT INTO one.t VALUES (1)")
    with warehouse.read() as connection:
        assert connection.execute("SELECT current_setting('allow_unsigned_extensions')").fetchall() == [(False,)]
        connection.execute("CREATE TEMP TABLE own AS FROM one.t")
        with pytest.raises(duckdb.TransactionException, match="read-only"):
            connection.execute("DELETE FROM one.t")
    with (
        warehouse.read() as connection,
        pytest.raises(duckdb.InvalidInputException, match="allow_unsigned_extensions"),
    ):
        connection.execute("SET allow_unsigned_extensions = true")
    with warehouse.write("a test") as connection:
        assert connection.execute("SELECT n FROM one.t").fetchall() == [(1,)]
