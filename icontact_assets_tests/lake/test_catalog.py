"""Sessions with the catalog: what they keep apart, and what a lost one leaves."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from icontact_assets.catalog import Catalog, CatalogError
from icontact_assets.warehouse.lake import DuckLake
from icontact_assets.warehouse.lock import LockTaken
from icontact_assets.warehouse.storage import WarehouseBusy
from icontact_assets_tests.harness.postgres import Postgres


def test_a_lock_holds_whatever_each_worker_calls_the_server_and_the_data(
    postgres: Postgres, catalog: str, tmp_path: Path
) -> None:
    here, there = (
        DuckLake(f"host={host} port={postgres.port} user=lake dbname={catalog}", data, tmp_path, wait_seconds=0.1)
        for host, data in (("127.0.0.1", "/mnt/data"), (postgres.folder, "/mnt/data/"))
    )

    def locked(lake: DuckLake, name: str) -> AbstractContextManager[None]:
        return lake.lock(name, f"holding {name}", wait_seconds=0.1, waiting=lambda _: None)

    with locked(here, "a"), locked(there, "b"), pytest.raises(LockTaken, match=r"process .* holding a, since 2"):
        locked(there, "a").__enter__()
    with here.turn("one"), pytest.raises(WarehouseBusy, match=r"in use by process .* one for more than 0 s"):
        there.turn("other").__enter__()
    with there.turn("other"):
        pass


def test_a_session_that_is_used_again_is_one_that_answers(postgres: Postgres, catalog: str) -> None:
    lent = Catalog(postgres.conninfo(catalog)).lent

    def asked() -> int:
        with lent() as session:
            return session.info.backend_pid

    first = asked()
    assert asked() == first
    postgres.disconnect(catalog)
    assert asked() != first
    with pytest.raises(CatalogError, match="The catalog test_"), lent() as session:
        session.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert asked() > 0


def _asks(lent: Callable[[], AbstractContextManager[object]], parent: int) -> None:
    with lent() as session:
        assert session.info.backend_pid != parent  # type: ignore[attr-defined]


def test_a_session_is_not_shared_with_a_child(postgres: Postgres, catalog: str) -> None:
    lent = Catalog(postgres.conninfo(catalog)).lent
    with lent() as session:
        pid = session.info.backend_pid
    child = multiprocessing.get_context("fork").Process(target=_asks, args=(lent, pid))
    child.start()
    child.join()
    assert child.exitcode == 0
    with lent() as session:
        assert session.info.backend_pid == pid


@pytest.mark.parametrize("fault", ["port=1", "dbname=nowhere", "user=nobody"])
def test_a_catalog_that_cannot_be_reached_is_named_without_its_password(
    postgres: Postgres, catalog: str, fault: str
) -> None:
    conninfo = f"{postgres.conninfo(catalog)} password=hidden {fault}"
    with pytest.raises(CatalogError, match="ICONTACT_ASSETS_WAREHOUSE") as caught, Catalog(conninfo).lent():
        pass
    assert "hidden" not in str(caught.value)
