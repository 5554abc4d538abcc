"""Why iContact's figures and the stored rows differ: every reason, on a real database."""

from __future__ import annotations

import duckdb
import pytest

from icontact_assets.ingest.due import STATISTIC_OF, MessageState
from icontact_assets.ingest.tie_out import Difference, tie_out
from icontact_assets.warehouse.tables import TABLES, VIEWS


@pytest.fixture
def database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA s")
    for table in TABLES:
        connection.execute(table.ddl("s"))
    for view in VIEWS:
        connection.execute(view.ddl("s"))
    connection.execute("USE s")
    connection.execute(
        "INSERT INTO s.raw_contacts (id, status, observed_at) VALUES ('1', 'normal', now()), ('2', 'deleted', now())"
    )
    return connection


def store(
    database: duckdb.DuckDBPyConnection,
    contacts: list[str],
    figure: int | None,
    *,
    read_at: int | None = None,
    status: str | None = "complete",
    unreadable: int = 0,
) -> list[Difference]:
    """A message with an open at one instant by each of the contacts, and what iContact counts of it."""
    database.execute(
        "INSERT INTO s.raw_statistics (message_id, opens_total, clicks_total, bounces, unsubscribes, observed_at) "
        "VALUES ('9', $figure, 0, 0, 0, now())",
        {"figure": figure},
    )
    seen: dict[str, int] = {}
    for contact in contacts:
        database.execute(
            "INSERT INTO s.raw_activity (message_id, contact_id, event_type, event_time, ordinal) "
            "VALUES ('9', $contact, 'open', TIMESTAMP '2026-05-01', $ordinal)",
            {"contact": contact, "ordinal": seen.get(contact, 0)},
        )
        seen[contact] = seen.get(contact, 0) + 1
    if status is not None:
        database.execute(
            "INSERT INTO s.import_coverage (resource, message_id, kind, stored, read_through, status, statistic) "
            "VALUES ('activity', '9', 'opens', $stored, now(), $status, $figure)",
            {"stored": len(contacts), "status": status, "figure": figure if read_at is None else read_at},
        )
    if unreadable:
        database.execute(
            "INSERT INTO s.quarantine (resource, message_id, occurrences) VALUES ('opens', '9', $n)", {"n": unreadable}
        )
    compared, differing = tie_out(database, [message(*STATISTIC_OF)])
    assert compared == 4
    return differing


def message(*kinds: str) -> MessageState:
    """The message, of which these listings count."""
    return MessageState("9", kinds, None, None, None, 0, 0, due=False)


def reason(differing: list[Difference]) -> str:
    (difference,) = differing
    assert (difference.message_id, difference.kind) == ("9", "opens")
    return difference.reason


def test_equal_counts_are_no_difference(database: duckdb.DuckDBPyConnection) -> None:
    assert store(database, ["1", "1", "3"], 3) == []


def test_messages_and_listings_out_of_scope_are_not_compared(database: duckdb.DuckDBPyConnection) -> None:
    store(database, ["1"], 7)
    assert tie_out(database, []) == (0, [])
    assert tie_out(database, [message("unsubscribes")]) == (1, [])


def test_each_difference_has_its_reason(database: duckdb.DuckDBPyConnection) -> None:
    cases = [
        ("no statistic", store_args(["1"], None)),
        ("not read", store_args([], 4, status=None)),
        ("stale", store_args(["1"], 4, status="stale")),
        ("stale", store_args(["1"], 4, read_at=1)),
        ("unreadable", store_args(["1"], 3, unreadable=2)),
        ("duplicates", store_args(["1", "1", "1"], 1)),
        ("deleted contact", store_args(["1", "2", "3"], 1)),
        ("unexplained", store_args(["1"], 5)),
        ("unexplained", store_args(["1", "1", "1"], 2)),
    ]
    for expected, (contacts, figure, more) in cases:
        database.execute("BEGIN")
        assert reason(store(database, contacts, figure, **more)) == expected  # type: ignore[arg-type]
        database.execute("ROLLBACK")


def store_args(
    contacts: list[str], figure: int | None, **more: int | str | None
) -> tuple[list[str], int | None, dict[str, int | str | None]]:
    return contacts, figure, more
