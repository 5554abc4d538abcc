"""Opt-outs of messages that a filter leaves out: due, read, settled and missing by the same rules as whole messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from icontact_assets.ingest.due import (
    OPT_OUTS,
    STATISTIC_OF,
    Scope,
    days,
    messages,
    missing_for_audiences,
    missing_opt_outs,
)
from icontact_assets.settings.requests import BY_AGE
from icontact_assets.warehouse.tables import TABLES, VIEWS

NOW = datetime(2026, 6, 30, 12)
WHOLE = Scope("i", None, BY_AGE)
FILTERED = Scope("i", "spring-1", BY_AGE)
HEEDED = replace(FILTERED, opt_outs=True)


@pytest.fixture(scope="module")
def database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA i")
    for table in TABLES:
        connection.execute(table.ddl("i"))
    for view in VIEWS:
        connection.execute(view.ddl("i"))
    connection.execute("USE i")
    return connection


@pytest.fixture
def ledger(database: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """A ledger in which the listings of the folder are read, undone after the test."""
    database.execute("BEGIN")
    for resource in ("contacts", "messages", "sends"):
        insert(
            database,
            "import_coverage",
            resource=resource,
            message_id="",
            kind="",
            list_id="",
            status="complete",
            read_through=NOW,
        )
    yield database
    database.execute("ROLLBACK")


def insert(connection: duckdb.DuckDBPyConnection, table: str, **row: Any) -> None:
    connection.execute(
        f"INSERT INTO i.{table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values())
    )


def message(
    connection: duckdb.DuckDBPyConnection,
    id_: str,
    released: datetime | None,
    probed: datetime | None,
    figures: dict[str, int | None],
    ledger: dict[str, dict[str, Any]],
    **row: Any,
) -> None:
    """A message with a send, as iContact shows it and as the ledger has it: the entry of each kind of listing."""
    insert(connection, "raw_messages", message_id=id_, observed_at=NOW, **row)
    if released:
        insert(connection, "raw_sends", send_id=id_, message_id=id_, released_at=released, status="released")
    if probed:
        insert(
            connection,
            "import_coverage",
            resource="statistics",
            message_id=id_,
            kind="",
            list_id="",
            read_through=probed,
        )
        columns = {STATISTIC_OF[kind]: figure for kind, figure in figures.items()}
        insert(connection, "raw_statistics", message_id=id_, observed_at=probed, **columns)
    for kind, entry in ledger.items():
        insert(connection, "import_coverage", resource="activity", message_id=id_, kind=kind, list_id="", **entry)


ages = st.none() | st.integers(0, 400 * 24).map(lambda hours: NOW - timedelta(hours=hours))
figures = st.none() | st.integers(0, 2)
entries = st.none() | st.fixed_dictionaries(
    {
        "read_through": ages,
        "status": st.sampled_from(["complete", "stale", "incomplete", "failed"]),
        "statistic": figures,
    }
)
of_each_kind = st.fixed_dictionaries(dict.fromkeys(STATISTIC_OF, st.tuples(entries, figures)))


@hypothesis_settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(ages, ages, of_each_kind), min_size=8, max_size=12))
def test_what_is_due_read_and_settled_follows_from_the_opt_outs_as_from_four_listings_that_are_alike(
    ledger: duckdb.DuckDBPyConnection,
    those: list[tuple[datetime | None, datetime | None, dict[str, tuple[dict[str, Any] | None, int | None]]]],
) -> None:
    now, found = NOW.replace(tzinfo=UTC), []
    for scope in (HEEDED, WHOLE):
        for id_, (released, probed, kinds) in enumerate(those):
            alike = kinds if scope is HEEDED else dict.fromkeys(STATISTIC_OF, kinds[OPT_OUTS])
            kept = {kind: entry for kind, (entry, _) in alike.items() if entry is not None}
            message(ledger, str(id_), released, probed, {kind: figure for kind, (_, figure) in alike.items()}, kept)
        states = messages(ledger, scope, now)
        assert {state.kinds for state in states} == {(OPT_OUTS,) if scope is HEEDED else tuple(STATISTIC_OF)}
        read = days(ledger, scope, date(2026, 6, 20), date(2026, 6, 29), now, now)
        found.append(([replace(state, kinds=()) for state in states], [replace(day, reason=None) for day in read]))
        for table in ("raw_messages", "raw_sends", "raw_statistics"):
            ledger.execute(f"DELETE FROM i.{table}")
        ledger.execute("DELETE FROM i.import_coverage WHERE message_id <> ''")
    assert found[0] == found[1]


def test_a_message_without_the_tag_counts_by_its_opt_outs_where_they_are_heeded(
    ledger: duckdb.DuckDBPyConnection,
) -> None:
    now, old = NOW.replace(tzinfo=UTC), NOW - timedelta(days=2)
    read = {"status": "complete", "read_through": NOW, "statistic": 0}
    nothing = dict.fromkeys(STATISTIC_OF, 0)
    message(ledger, "1", old, NOW, nothing, dict.fromkeys(STATISTIC_OF, read), aids=["spring-1"])
    message(ledger, "2", old, None, nothing, {}, aids=["spring-10"])
    message(ledger, "3", old, None, nothing, {}, aids=[], deleted_at=NOW)
    insert(ledger, "raw_sends", send_id="4", message_id="4", released_at=old, status="released")

    assert [state.id for state in messages(ledger, FILTERED, now)] == ["1"]
    assert missing_for_audiences(ledger, FILTERED, now) is None
    found = {state.id: state.kinds for state in messages(ledger, HEEDED, now)}
    assert found == {"1": tuple(STATISTIC_OF), "2": (OPT_OUTS,), "4": (OPT_OUTS,)}
    assert "2 released messages of i was never read completely: 4, 2" in str(missing_for_audiences(ledger, HEEDED, now))
    assert str(missing_opt_outs(ledger, HEEDED, now)).startswith("who left by 2 released messages of i was never read")
    assert missing_opt_outs(ledger, HEEDED, now - timedelta(days=2)) is None

    for id_ in ("2", "4"):
        insert(ledger, "import_coverage", resource="activity", message_id=id_, kind=OPT_OUTS, list_id="", **read)
    assert missing_for_audiences(ledger, HEEDED, now) is None
    assert missing_opt_outs(ledger, HEEDED, now) is None
    assert "2 released messages of i" in str(missing_for_audiences(ledger, WHOLE, now))
