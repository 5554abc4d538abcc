"""Every field of every listing with every odd value: stored or in quarantine, and the rows that are fine all land."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.count import CountFile
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.session import Credentials, Session
from icontact_assets.ingest.activity import ActivityReader
from icontact_assets.ingest.changes import read_changes
from icontact_assets.ingest.context import ImportContext
from icontact_assets.ingest.due import Scope
from icontact_assets.ingest.landing import Landing
from icontact_assets.ingest.staging import Listing, Rejected, Staging
from icontact_assets.ingest.window import ReadRequest, Window
from icontact_assets.mapping.build import build_activity, build_users
from icontact_assets.settings.requests import BY_AGE
from icontact_assets.warehouse.storage import Tenure
from icontact_assets.warehouse.warehouse import Source, Warehouse
from icontact_assets_tests.harness import Place, on_both
from icontact_assets_tests.harness.held import file_at, keep_open
from icontact_assets_tests.hostile import Hostile, http
from icontact_assets_tests.odd import IDS_FROM, ODD, Listings, row, rows_of

SHORT = [value for value in ODD if len(value) < 10_000]
LISTINGS = ("contacts", "messages", "sends", "lists", "subscriptions")
KINDS = ("opens", "clicks", "bounces", "unsubscribes")
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
REASON = re.compile(r"no \w+Id|\w+Id is not an id|recipientCount has more than 64 bits")
WINDOW = Window(date(2026, 11, 26), date(2026, 11, 26))


class Reading:
    """A database, and a server of listings."""

    def __init__(self, home: Path, server: Hostile) -> None:
        keep_open(home / "w.duckdb")
        self.warehouse = Warehouse(file_at(home / "w.duckdb"), "icontact", source=Source("s", "1", "1"))
        budget = Budget(CountFile(home, "a"), per_second=0, per_minute=0, per_day=0)
        session = Session(server.url, Credentials("a", "b", "c"), budget, tries=1)
        self.context = ImportContext(
            folder=Folder(session, "1", "1", page_size=500),
            warehouse=self.warehouse,
            staging=Staging(home / "w.staging"),
            tenure=Tenure(),
            scope=Scope("icontact", None, BY_AGE),
            start_date=date(2026, 1, 1),
            drift="warn",
            workers=1,
            clock=lambda: NOW,
        )

    def read(self, resource: str) -> Any:
        list_id = "5" if resource == "subscriptions" else ""
        return read_changes(self.context, resource, WINDOW, list_id=list_id)

    def read_activity(self) -> Any:
        request = ReadRequest(WINDOW, NOW)
        return ActivityReader(self.context, request, lambda _done, _due: None, lambda _findings: None).read(
            lambda _plan: None
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.warehouse.read() as connection:
            return connection.execute(sql).fetchall()


def check_listing(home: Path, resource: str, odd: Sequence[str]) -> int:
    """Read a listing of odd rows, and check that each is stored or in quarantine; returns how many they were."""
    served = list(rows_of(resource, odd))
    with Listings({resource: [text for _, text in served]}) as server:
        reading = Reading(home, server)
        changes = reading.read(resource)
    column = {"contacts": "id", "subscriptions": "contact_id"}.get(resource, f"{resource[:-1]}_id")
    stored = Counter(id_ for (id_,) in reading.rows(f"SELECT {column} FROM icontact.raw_{resource}"))
    kept = reading.rows("SELECT content, reason, occurrences FROM icontact.quarantine")
    fine = {str(IDS_FROM + n) for n, (name, _) in enumerate(served) if name is None}
    assert fine <= set(stored)
    assert stored.total() + sum(occurrences for *_, occurrences in kept) == len(served)
    assert changes.quarantined == sum(occurrences for *_, occurrences in kept)
    assert all(REASON.fullmatch(reason) for _, reason, _ in kept)
    for content, _, _ in kept:
        orjson.loads(content)
    if resource == "contacts":
        with reading.warehouse.write("mapping") as connection:
            build_users(connection)
        assert len(reading.rows("SELECT 1 FROM icontact.icontact_users")) == len(stored)
    return len(served)


@pytest.mark.parametrize("resource", LISTINGS)
def test_no_value_stops_a_listing(tmp_path: Path, resource: str) -> None:
    check_listing(tmp_path, resource, SHORT)


def check_activity(home: Path, odd: Sequence[str]) -> None:
    """The same for the four listings of a message."""
    served = {kind: list(rows_of(kind, odd)) for kind in KINDS}
    listings = {kind: [text for _, text in rows] for kind, rows in served.items()}
    with Listings({**listings, "messages": [row("messages", 1)], "sends": [row("sends", 1)]}) as server:
        reading = Reading(home, server)
        reading.read("messages")
        reading.read("sends")
        done = reading.read_activity()
    assert done.failed == {}
    stored = dict(reading.rows("SELECT event_type || 's', count(*) FROM icontact.raw_activity GROUP BY ALL"))
    kept = dict(reading.rows("SELECT resource, sum(occurrences) FROM icontact.quarantine GROUP BY ALL"))
    assert {kind: stored[kind] + kept[kind] for kind in KINDS} == {kind: len(rows) for kind, rows in served.items()}
    assert {reason for (reason,) in reading.rows("SELECT DISTINCT reason FROM icontact.quarantine")} == {
        "no contactId",
        "contactId is not an id",
        *(f"no readable {kind.removesuffix('s')}Time" for kind in KINDS),
    }
    with reading.warehouse.write("mapping") as connection:
        build_activity(connection)


def test_no_value_stops_the_activity_of_a_message(tmp_path: Path) -> None:
    check_activity(tmp_path, SHORT)


@pytest.mark.parametrize("resource", LISTINGS)
def test_equal_rows_of_one_id_are_one_row_and_told(tmp_path: Path, resource: str) -> None:
    rows = [row(resource, n) for n in range(1, 700)]
    rows[500:500] = rows[499:500] * 2
    rows[100:100] = rows[60:61]
    with Listings({resource: rows}) as server:
        reading = Reading(tmp_path, server)
        changes = reading.read(resource)
    assert (changes.total, changes.new, changes.duplicates, changes.quarantined) == (702, 699, 3, 0)
    assert reading.rows(f"SELECT count(*) FROM icontact.raw_{resource}") == [(699,)]


def test_a_known_send_that_can_no_longer_be_read_is_not_taken_for_gone(tmp_path: Path) -> None:
    with Listings({"sends": [row("sends", 1), row("sends", 2)]}) as server:
        reading = Reading(tmp_path, server)
        reading.read("sends")
        server.rows = {"sends": [row("sends", 2), row("sends", 1, "recipientCount", "9" * 30)]}
        with reading.warehouse.write("forgetting") as connection:
            connection.execute("UPDATE icontact.import_coverage SET read_through = NULL")
        assert reading.read("sends").vanished == 0
    assert reading.rows("SELECT send_id, recipient_count, deleted_at FROM icontact.raw_sends ORDER BY 1") == [
        ("1", 5, None),
        ("2", 5, None),
    ]
    assert reading.rows("SELECT reason FROM icontact.quarantine") == [("recipientCount has more than 64 bits",)]


@pytest.mark.parametrize("figures", ["[]", "null", "{}", '{"opens": [], "clicks": null, "bounces": ""}'])
def test_statistics_without_figures_are_no_error(tmp_path: Path, figures: str) -> None:
    with Hostile(http(f'{{"statistics": {figures}}}'.encode())) as server:
        assert Reading(tmp_path, server).context.folder.statistics("1").opens_total is None


@on_both
def test_a_row_is_in_quarantine_once_with_how_often_it_was_last_there(
    place: Place, prepared: Callable[[Place], Warehouse], tmp_path: Path
) -> None:
    warehouse, first, second = place.warehouse(tmp_path, prepared(place)), NOW, NOW + timedelta(days=1)
    came = {name: Rejected(name, "no contactId", "{}") for name in ("gone", "again", "new")}
    for now, names in ((first, ["again", "gone", "again"]), (second, ["again", "new"])):
        with warehouse.write("test") as connection, Staging(tmp_path / "staging") as staging:
            landing = Landing(connection, staging, "warn", now)
            landing.quarantine(Listing("activity", "1", "opens"), [came[name] for name in names])
    with warehouse.read() as connection:
        kept = connection.execute("SELECT digest, occurrences, observed_at FROM quarantine ORDER BY ALL").fetchall()
    assert kept == [
        (name, 1, at.replace(tzinfo=None)) for name, at in (("again", first), ("gone", first), ("new", second))
    ]
    warehouse.let_go()
