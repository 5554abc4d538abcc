"""What the planner asks for: due messages, known ends, late rows, verification, forecasts, reading again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pytest
import time_machine

from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.listing import Proof
from icontact_assets.ingest import activity
from icontact_assets.ingest.activity import ActivityReader
from icontact_assets.ingest.due import Scope, days, messages
from icontact_assets.ingest.window import Window
from icontact_assets.records import REREAD_TAG
from icontact_assets.resources import forecast_window, scope_of
from icontact_assets.settings.requests import BY_AGE, AgeStep
from icontact_assets_tests.harness import ACTIVITY, ENDED, EVENTS, SCHEMA, TODAY, Ended, Project, Store, days_ago

BIG = 910001


def by_message(requests: list[dict[str, Any]]) -> Counter[str]:
    """Activity requests by the last part of their path."""
    return Counter(r["path"].rpartition("/")[2] for r in requests if "/messages/" in r["path"])


@pytest.fixture
def project(beginning: Project) -> Project:
    """Of a few messages."""
    beginning.sandbox.control("reset", contacts=60, messages=6, days=12)
    beginning.quick()
    return beginning


@pytest.fixture
def big(project: Project) -> Project:
    """A message released two days ago with 2,614 opens in ascending order on more pages than are read again at once.
    100 each are equal but for the first and last."""
    project.environment["ICONTACT_PAGE_SIZE"] = "50"
    control = project.sandbox.control
    noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=2)
    control("messages/add", message_id=BIG, released=noon.isoformat(), created=noon.isoformat())
    for n in range(40):
        at, times = noon + timedelta(seconds=n), 100 if 8 <= n < 34 else 1
        control("events/add", message_id=BIG, kind="opens", contact_id=90000001 + n, at=at.isoformat(), times=times)
    assert project.run(EVENTS, ENDED).success
    return project


def test_a_back_dated_row_in_a_long_listing_is_missed_openly_and_found_by_verification(big: Project) -> None:
    control, day = big.sandbox.control, timedelta(days=1)
    now = datetime.now(UTC)
    for n in range(10):
        at = now - timedelta(minutes=30) + timedelta(seconds=n)
        control("events/add", message_id=BIG, kind="opens", contact_id=90000001 + n, at=at.isoformat())
    late = (now - timedelta(hours=2)).isoformat()
    control("events/add", message_id=BIG, kind="opens", contact_id=90000001, at=late, position=1_300)
    asked = len(big.requests())
    with time_machine.travel(now + day):
        assert big.run(EVENTS, Window(days_ago(1), TODAY)).success
    assert sum(r["path"].endswith(f"/{BIG}/opens") for r in big.requests()[asked:]) == 2
    assert (big.true_events() - big.stored_events()).total() == 1
    ledger = "SELECT status, reported - stored FROM icontact.import_coverage WHERE message_id='910001' AND kind='opens'"
    assert big.rows(ledger) == [("stale", 1)]
    with big.tables() as connection:
        scope = scope_of(big.settings, big.settings.imports[0])
        [yesterday] = days(connection, scope, TODAY, TODAY, now + day, now + day)
    assert (yesterday.read, yesterday.settled) == (True, False)
    assert "opens: 1 rows appeared in the middle of those read before" in str(yesterday.reason)
    with time_machine.travel(now + 7 * day):
        assert big.run(EVENTS, Window(TODAY + 5 * day, TODAY + 6 * day)).success
    assert big.true_events() == big.stored_events()
    assert big.rows(ledger) == [("complete", 0)]


def test_new_rows_in_front_of_a_long_listing_cost_two_requests(project: Project) -> None:
    project.sandbox.control("switches", activity_order="descending")
    try:
        noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=2)
        control = project.sandbox.control
        control("messages/add", message_id=BIG, released=noon.isoformat(), created=noon.isoformat())
        clicks = {"message_id": BIG, "kind": "clicks", "contact_id": 90000001, "apart": 1}
        control("events/add", at=noon.isoformat(), times=1000, url="x", **clicks)
        assert project.run(EVENTS, ENDED).success
        assert project.stored_events() == project.true_events()
        at = datetime.now(UTC) - timedelta(minutes=30)
        control("events/add", at=at.isoformat(), times=25, url="y", **clicks)
        asked = len(project.requests())
        with time_machine.travel(datetime.now(UTC) + timedelta(days=1)):
            assert project.run(EVENTS, Window(days_ago(1), TODAY)).success
        assert sum(r["path"].endswith(f"/{BIG}/clicks") for r in project.requests()[asked:]) == 2
        assert project.stored_events() == project.true_events()
    finally:
        project.sandbox.control("switches", activity_order="ascending")


def test_a_listing_that_lost_all_its_rows_is_not_believed_at_once(project: Project) -> None:
    assert project.run(EVENTS, ENDED).success
    stored = project.stored_events()
    released = project.rows("SELECT message_id FROM icontact.raw_sends WHERE released_at IS NOT NULL")
    of_released = (e[0] for e in stored.elements() if e[1] == "open" and (e[0],) in released)
    [(message, opens)] = Counter(of_released).most_common(1)
    nothing = {"opens": [], "limit": 500, "offset": 0, "total": 0}
    project.sandbox.control(
        "faults",
        faults=[{"path": f"/messages/{message}/opens", "do": {"kind": "reply", "status": 200, "body": nothing}}],
    )
    again = {REREAD_TAG: "true"}
    result = project.run(ACTIVITY, ENDED, **again)
    assert not result.success
    said = Ended.of(result).red["raw_activity"]
    assert f"{message} (opens: it held 0 rows where {opens} were known" in said
    assert project.stored_events() == stored
    assert not project.run(ACTIVITY, ENDED, **again).success
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=2)):
        assert project.run(ACTIVITY, ENDED, **again).success
    assert project.stored_events() == stored
    assert project.rows("SELECT count(*) FROM icontact.missed") == [(0,)]


def test_an_empty_answer_where_figures_say_otherwise_is_asked_for_again(project: Project) -> None:
    [(message, _)] = Counter(e[0] for e in project.true_events().elements() if e[1] == "open").most_common(1)
    nothing = {"opens": [], "limit": 500, "offset": 0, "total": 0}
    path, answer = f"/messages/{message}/opens", {"kind": "reply", "status": 200, "body": nothing}
    project.sandbox.control("faults", faults=[{"path": path, "nth": 1, "do": answer}])
    assert project.run(EVENTS, ENDED).success
    assert project.stored_events() == project.true_events()


def test_what_a_run_landed_before_it_was_stopped_is_not_landed_again(project: Project, monkeypatch) -> None:
    monkeypatch.setattr(activity, "_BATCH_ROWS", 1)
    land, landed = ActivityReader._land_batch, list[int]()

    def stopped(self: ActivityReader, done: Any, polls: Any, reads: Any, **options: Any) -> None:
        if len(landed) == 3:
            raise KeyboardInterrupt
        land(self, done, polls, reads, **options)
        landed.append(len(reads))

    monkeypatch.setattr(ActivityReader, "_land_batch", stopped)
    assert not project.run(EVENTS, ENDED).success
    some = project.stored_events()
    assert 0 < some.total() < project.true_events().total()
    monkeypatch.setattr(ActivityReader, "_land_batch", land)
    asked = len(project.requests())
    assert project.run(ACTIVITY, ENDED).success
    assert project.stored_events() == project.true_events()
    assert not any(r["path"].endswith(("/opens", "/clicks")) for r in project.requests()[asked:])


def test_the_listings_of_a_message_are_read_at_once(project: Project, monkeypatch) -> None:
    project.environment["ICONTACT_WORKERS"] = "4"
    released = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    project.sandbox.control("messages/add", message_id=BIG, released=released, created=released)
    read, together = Folder.activity, threading.Barrier(4, timeout=10)

    def meets(self: Folder, message_id: str, *rest: Any) -> Proof:
        if message_id == str(BIG):
            together.wait()
        return read(self, message_id, *rest)

    monkeypatch.setattr(Folder, "activity", meets)
    assert project.run(EVENTS, ENDED).success
    assert project.stored_events() == project.true_events()


def test_verified_rows_land_while_others_are_read(project: Project, monkeypatch) -> None:
    project.environment["ICONTACT_WORKERS"] = "2"
    monkeypatch.setattr(activity, "_LAND_ROWS", 1)
    read, asked = Folder.activity, list[str]()
    store, stored = activity.land_events, threading.Event()

    def waits(self: Folder, message_id: str, kind: str, *rest: Any) -> Proof:
        asked.append(kind)
        assert len(asked) < 9 or stored.wait(10)
        return read(self, message_id, kind, *rest)

    def lands(*given: Any) -> dict[date, int]:
        found = store(*given)
        stored.set()
        return found

    monkeypatch.setattr(Folder, "activity", waits)
    monkeypatch.setattr(activity, "land_events", lands)
    assert project.run(EVENTS, ENDED).success
    assert len(asked) > 9
    assert project.stored_events() == project.true_events()


def test_a_message_without_a_send_and_without_statistics_is_read_by_its_listings(project: Project) -> None:
    control = project.sandbox.control
    control("messages/add", message_id=BIG)
    at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    control("events/add", message_id=BIG, kind="clicks", contact_id=90000001, at=at, url="https://example.com/a")
    gone = {"kind": "reply", "status": 404, "body": {"errors": ["Not Found"]}}
    control("faults", faults=[{"path": f"/messages/{BIG}/statistics", "do": gone}])
    assert project.run(EVENTS, ENDED).success
    assert project.stored_events() == project.true_events()


def test_reread_asks_everything_again_and_changes_nothing(project: Project) -> None:
    assert project.run(EVENTS, ENDED).success
    before, asked = project.stored_events(), len(project.requests())
    assert project.run(EVENTS, ENDED).success
    assert len(project.requests()) == asked
    assert project.run(window=ENDED, **{REREAD_TAG: "true"}).success
    released = project.rows("SELECT count(DISTINCT message_id) FROM icontact.raw_sends WHERE released_at IS NOT NULL")
    again = by_message(project.requests()[asked:])
    assert {
        kind: again[kind] for kind in ("statistics", "opens", "clicks", "bounces", "unsubscribes")
    } == dict.fromkeys(("statistics", "opens", "clicks", "bounces", "unsubscribes"), released[0][0])
    assert project.stored_events() == before
    assert not project.run(window=ENDED, **{REREAD_TAG: "yes"}).success


def test_the_forecast_holds_what_a_run_sends(project: Project) -> None:
    settings = project.settings
    (import_,) = settings.imports
    first = forecast_window(settings, import_, ENDED)
    asked = len(project.requests())
    assert project.run(window=ENDED).success
    sent = len(project.requests()) - asked
    # A message without a send may have activity all the same: the confirmation of a subscription, say.
    [(unsent,)] = project.rows(
        "SELECT count(*) FROM icontact.raw_messages ANTI JOIN icontact.raw_sends USING (message_id)"
    )
    assert first.least <= sent <= first.likely + 4 * unsent
    nothing = forecast_window(settings, import_, ENDED)
    assert (nothing.least, nothing.likely, nothing.messages) == (0, 0, 0)
    with time_machine.travel(datetime.now(UTC) + timedelta(days=1)):
        window = Window(days_ago(1), TODAY)
        next_day, asked = forecast_window(settings, import_, window), len(project.requests())
        assert project.run(window=window).success
    sent = len(project.requests()) - asked
    assert next_day.messages > 0
    assert next_day.least <= sent <= next_day.likely


def test_the_forecast_says_how_far_a_short_budget_reaches(project: Project) -> None:
    project.environment["ICONTACT_REQUESTS_PER_DAY"] = "16"
    settings = project.settings
    (import_,) = settings.imports
    assert project.run('key:"icontact/raw_messages" or key:"icontact/raw_sends"', window=ENDED).success
    expected = forecast_window(settings, import_, ENDED)
    assert expected.left_today == 16 - len(project.requests())
    assert 0 < expected.reached < expected.messages
    assert expected.more_days >= 1
    assert f"which reaches {expected.reached} of the messages, back to {expected.back_to}" in expected.sentence()


@pytest.fixture
def ledger(store: Store) -> Iterator[duckdb.DuckDBPyConnection]:
    with store.warehouse.write("test") as connection:
        yield connection


NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)


def put(
    connection: duckdb.DuckDBPyConnection, id_: int, released: datetime, probed: datetime | None, read: datetime | None
) -> None:
    """A message with one send, probed and read at some instants, its figures unmoved since."""
    naive = {"released": released.replace(tzinfo=None), "probed": probed and probed.replace(tzinfo=None)}
    connection.execute(
        "INSERT INTO icontact.raw_sends (send_id, message_id, released_at, status, observed_at, partition_date) "
        "VALUES ($id, $id, $released, 'released', now(), current_date)",
        {"id": str(id_), "released": naive["released"]},
    )
    if probed:
        connection.execute(
            "INSERT INTO icontact.raw_statistics (message_id, opens_total, clicks_total, bounces, unsubscribes, observed_at, "
            "partition_date) VALUES ($id, 0, 0, 0, 0, $probed, current_date)",
            {"id": str(id_), "probed": naive["probed"]},
        )
        connection.execute(
            "INSERT INTO icontact.import_coverage (resource, message_id, kind, list_id, status, read_through) "
            "VALUES ('statistics', $id, '', '', 'complete', $probed)",
            {"id": str(id_), "probed": naive["probed"]},
        )
    for kind in ("opens", "clicks", "bounces", "unsubscribes") if read else ():
        connection.execute(
            "INSERT INTO icontact.import_coverage (resource, message_id, kind, list_id, status, reported, stored, statistic, "
            "read_through, verified_at) VALUES ('activity', $id, $kind, '', 'complete', 0, 0, 0, $read, $read)",
            {"id": str(id_), "kind": kind, "read": read.replace(tzinfo=None)},
        )


SCOPE = Scope(SCHEMA, None, BY_AGE)


@pytest.mark.parametrize(("age", "most"), [(1, 0), (20, 1), (100, 7), (400, 30)])
def test_each_message_is_due_within_its_step_and_not_all_on_one_day(
    ledger: duckdb.DuckDBPyConnection, age: int, most: int
) -> None:
    for n in range(10):
        put(ledger, 310_000 + n, NOW - timedelta(days=age), NOW, NOW)

    def due_after(days: int) -> int:
        states = messages(ledger, SCOPE, NOW + timedelta(days=days))
        return sum(state.due or state.poll_days == 0 for state in states)

    assert due_after(most) == 10
    if most > 1:
        assert due_after(most // 2 - 1) == 0
        assert 0 < due_after(most - 1) < 10
    elif most:
        assert due_after(0) == 0


def test_days_are_read_and_settled_by_what_was_looked_at_since(ledger: duckdb.DuckDBPyConnection) -> None:
    day = timedelta(days=1)
    for resource in ("messages", "sends"):
        ledger.execute(
            "INSERT INTO icontact.import_coverage (resource, message_id, kind, list_id, status, read_through) "
            "VALUES (?, '', '', '', 'complete', ?)",
            [resource, NOW.replace(tzinfo=None)],
        )
    put(ledger, 1, NOW - 300 * day, NOW - 5 * day, NOW - 200 * day)
    put(ledger, 2, NOW - 2 * day, NOW - day / 4, NOW - day / 4)
    found = {d.day: d for d in days(ledger, SCOPE, date(2026, 6, 24), date(2026, 6, 30), NOW, NOW)}
    assert [found[date(2026, 6, n)].settled for n in (24, 25, 29)] == [True, False, False]
    assert found[date(2026, 6, 24)].reason is None
    assert found[date(2026, 6, 29)].read
    assert "1 messages are polled again later: 1 (next poll by 2026-07-" in str(found[date(2026, 6, 29)].reason)
    put(ledger, 3, NOW - 3 * day / 2, None, None)
    found = {d.day: d for d in days(ledger, SCOPE, date(2026, 6, 27), date(2026, 6, 30), NOW, NOW)}
    assert found[date(2026, 6, 28)].read
    assert not found[date(2026, 6, 29)].read
    assert "1 messages are due now: 3 (never read)" in str(found[date(2026, 6, 29)].reason)


def test_a_ladder_of_ones_own_decides(ledger: duckdb.DuckDBPyConnection) -> None:
    put(ledger, 1, NOW - timedelta(days=100), NOW - timedelta(days=1), NOW - timedelta(days=1))
    [state] = messages(ledger, SCOPE, NOW)
    assert not state.due
    [state] = messages(ledger, Scope(SCHEMA, None, (AgeStep(poll_days=1, verify_days=9),)), NOW)
    assert (state.due, state.poll_days) == (True, 1)
