"""The mapped tables: the worked example through the SQL, the invariants of the mapping, incremental equals full."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icontact_assets.mapping import functions
from icontact_assets.mapping.build import build_activity, build_users
from icontact_assets.mapping.expressions import field_table
from icontact_assets.warehouse.tables import TABLES

EXAMPLE = json.loads((Path(__file__).parent / "data" / "lytics_vectors.json").read_text())["worked_example"]
NOW = datetime(2026, 6, 1)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with fresh() as connection:
        yield connection


def fresh() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA icontact")
    for table in TABLES:
        connection.execute(table.ddl("icontact"))
    return connection


def add_contact(connection: duckdb.DuckDBPyConnection, observed_at: datetime = NOW, **values: Any) -> None:
    row = {**values, "observed_at": observed_at, "partition_date": observed_at.date()}
    names = ", ".join(row)
    connection.execute(
        f"INSERT INTO icontact.raw_contacts ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values())
    )


def add_event(connection: duckdb.DuckDBPyConnection, kind: str, contact: str, at: datetime, url: str | None) -> None:
    connection.execute(
        "INSERT INTO icontact.raw_activity VALUES ('501', ?, ?, ?, ?, 0, ?, ?)",
        [contact, kind, at, url, NOW, at.date()],
    )
    connection.execute("INSERT INTO icontact.touched_contacts VALUES (?, ?)", [contact, NOW])


def milliseconds(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    if isinstance(value, dict):
        return {key: milliseconds(item) for key, item in value.items()}
    return value


def profiles(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Any]]:
    cursor = connection.execute("SELECT * EXCLUDE (deleted_at) FROM icontact.icontact_profiles")
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return {
        row["ic_contact_id"]: {name: milliseconds(value) for name, value in row.items() if value is not None}
        for row in rows
    }


def test_worked_example(connection: duckdb.DuckDBPyConnection) -> None:
    for contact in EXAMPLE["icontact_users"]:
        add_contact(connection, **contact)
    for event in EXAMPLE["icontact_activity"]:
        at = datetime.fromisoformat(event["ts"].replace("Z", "+00:00")).astimezone(UTC).replace(tzinfo=None)
        add_event(connection, event["event_type"], event["contact_id"], at, event.get("event_url"))
    build_users(connection, "icontact")
    build_activity(connection, "icontact")
    expected = EXAMPLE["expected_profiles"]
    rows = expected.values() if isinstance(expected, dict) else expected
    assert profiles(connection) == {row["ic_contact_id"]: row for row in rows}


def test_field_tables_are_the_vendors() -> None:
    assert len(field_table("icontact_users")) == 18
    assert len(field_table("icontact_activity")) == 17


def test_a_missing_value_leaves_what_an_earlier_version_gave(connection: duckdb.DuckDBPyConnection) -> None:
    add_contact(connection, NOW, id="1", email="a@b.de", first_name="Ann", status="normal")
    add_contact(connection, NOW + timedelta(days=1), id="1", email="no address", first_name="", status="bounced")
    build_users(connection, "icontact")
    build_activity(connection, "icontact")
    assert profiles(connection) == {
        "1": {
            "ic_contact_id": "1",
            "email": "a@b.de",
            "email_domain": "b.de",
            "first_name": "Ann",
            "ic_status": "bounced",
        }
    }


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["open", "click", "bounce", "unsubscribe"]),
        st.sampled_from(["1", "2", "3"]),
        st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 9)).map(lambda at: at.replace(microsecond=0)),
        st.sampled_from([None, "https://a.example/x", "http://a.example/x?y=1", "mailto:z", "b.example"]),
    ),
    max_size=25,
)


@settings(max_examples=30, deadline=None)
@given(EVENTS, st.randoms(use_true_random=False), st.integers(0, 25))
def test_invariants_hold_and_neither_order_nor_increments_matter(events: list[Any], random: Any, cut: int) -> None:
    with fresh() as whole, fresh() as parts:
        for connection in (whole, parts):
            build_users(connection, "icontact")
        for event in events:
            add_event(whole, *event)
        build_activity(whole, "icontact")
        shuffled = random.sample(events, len(events))
        for event in shuffled[:cut]:
            add_event(parts, *event)
        build_activity(parts, "icontact")
        for event in shuffled[cut:]:
            add_event(parts, *event)
        built = build_activity(parts, "icontact")
        assert not built.full
        found = profiles(whole)
        assert profiles(parts) == found
        assert set(found) == {event[1] for event in events}
        names = {"open": ("open_ct", "{}_open"), "click": ("click_ct", "{}_click")}
        names |= {"bounce": ("bouncect", "{}bounce"), "unsubscribe": ("unsubscribect", "{}unsubscribe")}
        for contact, row in found.items():
            mine = [event for event in events if event[1] == contact]
            for kind, (count, pattern) in names.items():
                times = [milliseconds(event[2]) for event in mine if event[0] == kind]
                assert row.get(f"email_{count}") == (len(times) or None)
                assert row.get(f"email_{pattern.format('first')}_ts") == (min(times) if times else None)
                assert row.get(f"email_{pattern.format('last')}_ts") == (max(times) if times else None)
            active = [milliseconds(event[2]) for event in mine if event[0] != "bounce"]
            assert row.get("last_active_ts") == (max(active) if active else None)
            assert row.get("last_channel_activities") == ({"email": max(active)} if active else None)
            assert row.get("channels") == (["email"] if active else None)
            hashable = [event for event in mine if functions.hashedurls_key(event[3])]
            assert sum(row.get("hashedurls", {}).values()) == len(hashable)
