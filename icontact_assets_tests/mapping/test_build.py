"""The mapped tables: the worked example through the SQL, the invariants of the mapping, incremental equals full."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icontact_assets.mapping import build, functions
from icontact_assets.mapping.build import build_activity, build_users, unmapped
from icontact_assets.mapping.expressions import field_table
from icontact_assets.mapping.functions import NAMED_ADDRESS
from icontact_assets.mapping.profiles import NothingMapped, build_profiles
from icontact_assets.warehouse.tables import TABLES

EXAMPLE = json.loads((Path(__file__).parent / "data" / "lytics_vectors.json").read_text())["worked_example"]
NOW = datetime(2026, 6, 1)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with fresh() as connection:
        yield connection


_idle: list[duckdb.DuckDBPyConnection] = []


@contextmanager
def fresh() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database with empty tables. As in the warehouse, everything happens in a transaction that is still open: rolled
    back, it leaves them empty for the next."""
    connection = _idle.pop() if _idle else made()
    connection.execute("BEGIN")
    yield connection
    connection.execute("ROLLBACK")
    _idle.append(connection)


def made() -> duckdb.DuckDBPyConnection:
    """A database with empty tables."""
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA icontact")
    connection.execute("USE icontact")
    for table in TABLES:
        connection.execute(table.ddl("icontact"))
    return connection


def add_contact(connection: duckdb.DuckDBPyConnection, observed_at: datetime = NOW, **values: Any) -> None:
    row = {**values, "observed_at": observed_at, "partition_date": observed_at.date()}
    names = ", ".join(row)
    connection.execute(
        f"INSERT INTO icontact.raw_contacts ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values())
    )


def add_event(
    connection: duckdb.DuckDBPyConnection, kind: str, contact: str, at: datetime, url: str | None, message: str = "501"
) -> None:
    connection.execute(
        "INSERT INTO icontact.raw_activity VALUES (?, ?, ?, ?, ?, 0, ?, ?)",
        [message, contact, kind, at, url, NOW, at.date()],
    )
    connection.execute("INSERT INTO icontact.touched_contacts VALUES (?, ?)", [contact, NOW])


def add_message(
    connection: duckdb.DuckDBPyConnection, message: str, aids: list[str] | None, observed_at: datetime = NOW
) -> None:
    connection.execute(
        "INSERT INTO icontact.raw_messages (message_id, aids, observed_at, partition_date) VALUES (?, ?, ?, ?)",
        [message, aids, observed_at, observed_at.date()],
    )


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
    build_users(connection)
    build_activity(connection)
    expected = EXAMPLE["expected_profiles"]
    rows = expected.values() if isinstance(expected, dict) else expected
    assert profiles(connection) == {row["ic_contact_id"]: row for row in rows}


def test_field_tables_are_the_vendors() -> None:
    assert len(field_table("icontact_users")) == 18
    assert len(field_table("icontact_activity")) == 17


def test_a_missing_value_leaves_what_an_earlier_version_gave(connection: duckdb.DuckDBPyConnection) -> None:
    add_contact(connection, NOW, id="1", email="a@b.de", first_name="Ann", status="normal")
    add_contact(connection, NOW + timedelta(days=1), id="1", email="no address", first_name="", status="bounced")
    build_users(connection)
    build_activity(connection)
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


@settings(max_examples=8, deadline=None)
@given(EVENTS, st.randoms(use_true_random=False), st.integers(0, 25))
def test_invariants_hold_and_neither_order_nor_increments_matter(events: list[Any], random: Any, cut: int) -> None:
    with fresh() as whole, fresh() as parts:
        for connection in (whole, parts):
            build_users(connection)
        for event in events:
            add_event(whole, *event)
        build_activity(whole)
        shuffled = random.sample(events, len(events))
        for event in shuffled[:cut]:
            add_event(parts, *event)
        build_activity(parts)
        for event in shuffled[cut:]:
            add_event(parts, *event)
        built = build_activity(parts)
        assert built.full == (len(shuffled[cut:]) > len(shuffled[:cut]))
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


def test_times_have_milliseconds(connection: duckdb.DuckDBPyConnection) -> None:
    add_event(connection, "open", "1", datetime(2026, 1, 1, 0, 0, 0, 123456), None)
    build_users(connection)
    build_activity(connection)
    assert profiles(connection)["1"]["last_active_ts"] == 1767225600123
    [(exact,)] = connection.execute("SELECT email_first_open_ts FROM icontact.icontact_activity").fetchall()
    assert exact == datetime(2026, 1, 1, 0, 0, 0, 123000)


TEXTS = st.from_regex(NAMED_ADDRESS, fullmatch=True) | st.text() | st.text(alphabet='aB.@<>"% =\n\u0130', max_size=12)
CLOCKS = st.from_regex(r"[0-3][0-9]{3}-[01][0-9]-[0-3][0-9][ T][0-2][0-9]:[0-6][0-9]:[0-6][0-9]", fullmatch=True)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(TEXTS.filter(lambda text: "\0" not in text), CLOCKS | TEXTS), min_size=1, max_size=30))
def test_sql_gives_what_the_functions_give(texts: list[tuple[str, str]]) -> None:
    addresses = [*texts, ("Ann.Lee@Example.COM", "2026-01-05 10:00:00"), ("a@b..c", "0000-00-00 00:00:00")]
    with fresh() as connection:
        for number, (address, created) in enumerate(addresses):
            add_contact(connection, id=str(number), email=address, create_date=created)
        build_users(connection)
        rows = connection.execute(
            "SELECT ic_contact_id, email, email_domain, epoch_ms(ic_user_created) FROM icontact.icontact_users"
        ).fetchall()
    found = {row[0]: row[1:] for row in rows}
    assert found == {
        str(number): (functions.email(address), functions.emaildomain(address), functions.todate_ms(created))
        for number, (address, created) in enumerate(addresses)
    }


@pytest.mark.parametrize("order", [("A", None, "B", "A"), ("nobody's", "A", "nobody's")])
def test_filter_by_aid_gives_the_same_whatever_came_before(order: tuple[str | None, ...]) -> None:
    expected = {None: {"1", "2", "3", "4"}, "A": {"1", "2"}, "B": {"2"}, "nobody's": set()}
    with fresh() as connection:
        for contact in ("1", "2", "3"):
            add_contact(connection, id=contact, email=f"p{contact}@a.de")
        add_message(connection, "501", ["A"])
        add_message(connection, "502", ["A", "B"])
        add_message(connection, "503", ["A"])
        add_message(connection, "503", [], NOW + timedelta(days=1))
        at = datetime(2026, 1, 1)
        for contact, message in (("1", "501"), ("2", "502"), ("3", "503"), ("4", "504")):
            add_event(connection, "click", contact, at, "http://a.de", message)
        add_event(connection, "open", "1", at, None, "504")
        for aid in order:
            build_users(connection, aid=aid)
            build_activity(connection, aid=aid)
            found = profiles(connection)
            assert set(found) == expected[aid]
            if "1" in found:
                assert found["1"].get("email_open_ct") == (1 if aid is None else None)
        add_message(connection, "504", ["A"], NOW)
        build_users(connection, aid="A")
        assert build_activity(connection, aid="A").full
        assert set(profiles(connection)) == {"1", "2", "4"}
        add_event(connection, "open", "3", at, None, "504")
        assert not build_activity(connection, aid="A").full
        assert set(profiles(connection)) == {"1", "2", "3", "4"}


def test_another_mapping_computes_and_hashes_everything_anew(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_event(connection, "click", "1", datetime(2026, 1, 1), "http://a.de/x")
    assert build_activity(connection).full
    assert connection.execute("SELECT count(*) FROM icontact.touched_contacts").fetchall() == [(0,)]
    assert build_activity(connection).computed == 0
    connection.execute("UPDATE icontact.hashed_links SET hashedurls_key = 'of an older version'")
    connection.execute("DELETE FROM icontact.icontact_activity")
    monkeypatch.setattr(build, "_VERSION", "another")
    assert build_activity(connection).full
    assert connection.execute("SELECT hashedurls FROM icontact.icontact_activity").fetchall() == [
        ({functions.hashedurls_key("http://a.de/x"): 1},)
    ]


def test_full_computation_in_buckets_and_batches_is_the_same(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        add_contact(connection, id=str(number), email=f"P {number} <p{number}@a.de>", create_date="1/5/2026")
        add_event(connection, "click", str(number % 13), datetime(2026, 1, 1), f"http://a.de/{number}")
    build_users(connection)
    build_activity(connection)
    at_once = profiles(connection)
    monkeypatch.setattr(build, "_BATCH_LINKS", 7)
    monkeypatch.setattr(build, "_BATCH_TEXTS", 6)
    connection.execute("DELETE FROM icontact.hashed_links")
    build_users(connection)
    build_activity(connection, everything=True)
    assert profiles(connection) == at_once
    assert sum(len(row.get("hashedurls", {})) for row in at_once.values()) == 40


def test_profiles_are_those_of_what_is_computed_and_what_is_not_is_said(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(NothingMapped):
        build_profiles(connection)
    add_contact(connection, id="1", email="reader@example.org")
    assert unmapped(connection) == "icontact_users was never computed"
    build_users(connection)
    assert {id_: row.get("email_open_ct") for id_, row in profiles(connection).items()} == {"1": None}
    assert unmapped(connection) == "icontact_activity was never computed"
    add_event(connection, "open", "2", NOW, None)
    build_activity(connection)
    assert {id_: row.get("email_open_ct") for id_, row in profiles(connection).items()} == {"1": None, "2": 1}
    assert unmapped(connection) is None
    add_event(connection, "open", "2", NOW + timedelta(days=1), None)
    assert unmapped(connection) == "new activity of 1 contacts is not in icontact_activity yet"
    build_activity(connection)
    assert unmapped(connection) is None


def test_where_nothing_is_new_nothing_is_written(connection: duckdb.DuckDBPyConnection) -> None:
    def written() -> list[tuple[Any, ...]]:
        return connection.execute(
            "SELECT table_name, computed_at, (SELECT view_oid FROM duckdb_views() WHERE view_name = 'icontact_profiles') "
            "FROM icontact.mapping_state ORDER BY table_name"
        ).fetchall()

    def build_all() -> tuple[int, int]:
        computed = build_users(connection).computed, build_activity(connection).computed
        build_profiles(connection)
        return computed

    add_contact(connection, id="1")
    add_event(connection, "open", "1", NOW, None)
    assert build_all() == (1, 1)
    before = written()
    assert build_all() == (0, 0)
    assert written() == before
    # Contacts may be touched by what left no event.
    connection.execute("INSERT INTO icontact.touched_contacts VALUES ('1', ?)", [NOW])
    assert build_all() == (0, 0)
    assert connection.execute("SELECT count(*) FROM icontact.touched_contacts").fetchall() == [(0,)]
    # A view of another version, or of somebody's own, does not stay.
    connection.execute("CREATE OR REPLACE VIEW icontact.icontact_profiles AS SELECT 1 AS x")
    assert build_all() == (0, 0)
    assert connection.execute("SELECT ic_contact_id FROM icontact.icontact_profiles").fetchall() == [("1",)]


def test_activity_alone_makes_profiles_with_every_column(connection: duckdb.DuckDBPyConnection) -> None:
    add_event(connection, "open", "2", NOW, None)
    build_activity(connection)
    columns = connection.execute("DESCRIBE icontact.icontact_profiles").fetchall()
    build_users(connection)
    assert connection.execute("DESCRIBE icontact.icontact_profiles").fetchall() == columns
