"""The request budget of workers on several machines: what all of them together never exceed."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from icontact_assets.catalog import Catalog, key_of
from icontact_assets.icontact.budget import LONGEST_WAIT, Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.count_table import CountTable
from icontact_assets.icontact.errors import AskedToWait, BudgetSpent, BudgetUnusable
from icontact_assets.icontact.session import Session
from icontact_assets.resources import budget_of
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.settings.load import load_settings
from icontact_assets_tests.harness.postgres import Postgres
from icontact_assets_tests.icontact.test_session import CREDENTIALS

# The time zone of a worker, and how far its clock is off. PGTZ is what libpq asks the server to calculate in.
WORKERS = (
    ("America/New_York", timedelta(0)),
    ("Asia/Kolkata", timedelta(days=2)),
    ("Pacific/Auckland", timedelta(hours=-30)),
    ("UTC", timedelta(seconds=-7)),
)


def budget(conninfo: str, *, second: float = 0, day: int = 0) -> Budget:
    return Budget(CountTable(Catalog(conninfo), "a"), per_second=second, per_minute=0, per_day=day)


def side_by_side(work: Callable[..., None], *arguments: object) -> list[int | None]:
    """The exit codes of the workers."""
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_in_a_place, args=(*place, work, *arguments)) for place in WORKERS]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return [worker.exitcode for worker in workers]


def _in_a_place(zone: str, off: timedelta, work: Callable[..., None], *arguments: object) -> None:
    os.environ["TZ"] = os.environ["PGTZ"] = zone
    time.tzset()
    with time_machine.travel(datetime.now(UTC) + off):
        work(*arguments)


def _ask_until_the_day_ends(url: str, conninfo: str) -> None:
    session = Session(url, CREDENTIALS, budget(conninfo, day=40), tries=1)
    try:
        while True:
            session.get("/time")
    except BudgetSpent:
        return


def test_workers_of_any_zone_and_clock_send_no_more_than_the_account_may(
    running_sandbox: Sandbox, postgres: Postgres, catalog: str
) -> None:
    running_sandbox.control("reset")
    assert side_by_side(_ask_until_the_day_ends, running_sandbox.url, postgres.conninfo(catalog)) == [0] * 4
    assert [request["status"] for request in running_sandbox.control("log")] == [200] * 40
    assert budget(postgres.conninfo(catalog), day=40).left_today() == 0


def _take(times: int, conninfo: str) -> None:
    limited = budget(conninfo, second=25, day=1000)
    for _ in range(times):
        limited.take()


def test_no_second_ever_holds_more_than_the_account_may(postgres: Postgres, catalog: str) -> None:
    assert side_by_side(_take, 15, postgres.conninfo(catalog)) == [0] * 4
    at = [at for (at,) in postgres.execute("SELECT at FROM icontact_requests ORDER BY at", catalog)]
    assert len(at) == 60
    assert [late - early for early, late in zip(at, at[25:], strict=False) if late - early <= 1000] == []


def _hold(conninfo: str) -> None:
    budget(conninfo).hold(timedelta(hours=1))


def test_a_pause_lasts_as_long_as_it_was_asked_for_whatever_clock_asked(postgres: Postgres, catalog: str) -> None:
    assert side_by_side(_hold, postgres.conninfo(catalog)) == [0] * 4
    with pytest.raises(AskedToWait, match="icontact_pauses of test_") as caught:
        budget(postgres.conninfo(catalog)).take()
    left = caught.value.resumes_at - datetime.now(UTC)
    assert timedelta(seconds=LONGEST_WAIT) < timedelta(minutes=59) < left <= timedelta(hours=1)


def test_without_its_catalog_nothing_is_sent_and_with_it_all_goes_on(
    running_sandbox: Sandbox, postgres: Postgres, catalog: str
) -> None:
    running_sandbox.control("reset")
    nowhere = budget(f"{postgres.conninfo(catalog)} password=hidden port=1", day=9)
    with pytest.raises(BudgetUnusable, match="so nothing is sent: The catalog test_") as caught:
        Session(running_sandbox.url, CREDENTIALS, nowhere, tries=1).get("/time")
    assert "hidden" not in str(caught.value)
    assert running_sandbox.control("log") == []
    kept = budget(postgres.conninfo(catalog), day=9)
    kept.take()
    assert postgres.disconnect(catalog) > 0
    kept.take()
    assert kept.left_today() == 7


def test_a_request_that_was_cut_off_while_it_was_counted_denies_no_other(postgres: Postgres, catalog: str) -> None:
    with Catalog(postgres.conninfo(catalog)).session("a worker that was killed") as session, session.transaction():
        session.execute("SELECT pg_advisory_xact_lock(%s)", [key_of("budget a")])
        waiting = threading.Thread(target=budget(postgres.conninfo(catalog), day=1).take)
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        session.pgconn.finish()
    waiting.join(10)
    assert not waiting.is_alive()


def test_a_budget_goes_on_in_another_place_and_counts_nothing_twice(
    postgres: Postgres, catalog: str, tmp_path: Path
) -> None:
    lake = budget(postgres.conninfo(catalog), day=9)
    file, other = (
        Budget(CountFile(tmp_path, name), per_second=0, per_minute=0, per_day=9) for name in ("a", "another")
    )
    for place in (file, file, lake, other):
        place.take()
    assert [lake.take_over(file) for _ in range(2)] == [2, 0]
    lake.take()
    assert [file.take_over(lake) for _ in range(2)] == [2, 0]
    assert [place.left_today() for place in (file, lake, other)] == [5, 5, 8]
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=25)):
        other.take_over(file)
        assert other.left_today() == 9


def test_a_pause_and_a_budget_that_is_not_known_go_on_in_another_place(
    postgres: Postgres, catalog: str, tmp_path: Path
) -> None:
    lake = budget(postgres.conninfo(catalog), day=9)
    (tmp_path / "a.sqlite").write_text("damaged")
    damaged = Budget(CountFile(tmp_path, "a"), per_second=0, per_minute=0, per_day=9)
    assert lake.take_over(damaged) == 9
    with pytest.raises(BudgetSpent) as caught:
        lake.take()
    assert timedelta(hours=23) < caught.value.resumes_at - datetime.now(UTC) < timedelta(hours=25)
    lake.hold(timedelta(hours=2))
    fresh = Budget(CountFile(tmp_path, "b"), per_second=0, per_minute=0, per_day=0)
    for _ in range(2):
        fresh.take_over(lake)
        with pytest.raises(AskedToWait) as held:
            fresh.take()
    assert timedelta(hours=1) < held.value.resumes_at - datetime.now(UTC) < timedelta(hours=3)
    lake.take_over(fresh)
    with pytest.raises(AskedToWait):
        lake.take()


def test_homes_that_name_one_lake_share_the_budget_of_an_account(
    variables: dict[str, str], postgres: Postgres, tmp_path: Path
) -> None:
    left = []
    for host in ("127.0.0.1", "localhost"):
        environment = {name: value.replace("127.0.0.1", host) for name, value in variables.items()}
        environment |= {"ICONTACT_ASSETS_HOME": str(tmp_path / host), "ICONTACT_REQUESTS_PER_DAY": "5"}
        settings = load_settings(environment, tmp_path)
        shared = budget_of(settings, settings.imports[0])
        shared.take()
        left.append(shared.left_today())
        assert not (settings.home / "budget").exists()
    assert left == [4, 3]
