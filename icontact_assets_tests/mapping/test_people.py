"""Which contacts are joined, how fields of people are merged, what counts as a conflict, and that order does not matter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icontact_assets.mapping import joined
from icontact_assets.mapping.build import build_activity, build_users
from icontact_assets.mapping.expressions import MappingError, field_table, person_value
from icontact_assets.mapping.people import (
    People,
    build_people,
    conflicts,
    people_table,
    public_people,
    wrong_keys,
    wrong_sums,
)
from icontact_assets.mapping.profiles import NothingMapped
from icontact_assets.warehouse.tables import TABLES
from icontact_assets_tests.mapping.test_build import NOW, fresh

DAY = timedelta(days=1)
LINK = "https://a.example/x"
Contact = tuple[str, str, int, str | None, str | None]
"""Import, id, day, address, first name."""
Computed = tuple[duckdb.DuckDBPyConnection, People]
Cases = dict[str, list[dict[str, Any]]]


@contextmanager
def world() -> Iterator[duckdb.DuckDBPyConnection]:
    """Two imports, without rows."""
    with fresh() as connection:
        # Statements over so few rows take longer on several.
        connection.execute("SET threads = 1")
        connection.execute("CREATE SCHEMA shop")
        for table in TABLES:
            connection.execute(table.ddl("shop"))
        yield connection


def add(
    connection: duckdb.DuckDBPyConnection, import_: str, id_: str, day: int, email: str | None, **more: Any
) -> None:
    at = NOW + day * DAY
    row = {"id": id_, "email": email, "observed_at": at, "partition_date": at.date(), **more}
    connection.execute(
        f"INSERT INTO {import_}.raw_contacts ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
        list(row.values()),
    )


def act(connection: duckdb.DuckDBPyConnection, import_: str, id_: str, kind: str, day: int = 0) -> None:
    at = NOW + day * DAY
    url = LINK if kind == "click" else None
    connection.execute(
        f"INSERT INTO {import_}.raw_activity VALUES ('5', ?, ?, ?, ?, 0, ?, ?)", [id_, kind, at, url, at, at.date()]
    )


def compute(connection: duckdb.DuckDBPyConnection, *imports: str) -> People:
    for name in imports:
        connection.execute(f"USE {name}")
        build_users(connection)
        build_activity(connection)
    connection.execute("USE icontact")
    people = build_people(connection, imports)
    assert not any(wrong_keys(connection, imports).values())
    assert not any(wrong_sums(connection, imports).values())
    return people


def rows(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    found = connection.execute("FROM icontact_people ORDER BY person_id")
    names = [column[0] for column in found.description]
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not None} for row in found.fetchall()
    ]


def groups(connection: duckdb.DuckDBPyConnection) -> set[frozenset[str]]:
    """The people as the contacts that they are."""
    return {
        frozenset(f"{name}/{id_}" for name, ids in row["ic_contact_ids"].items() for id_ in ids)
        for row in rows(connection)
    }


@pytest.fixture(scope="module")
def computed() -> Iterator[Computed]:
    """All hand-made cases in one world: to compute people takes a third of a second, however few they are. The ids of
    a case begin with its letter."""
    with world() as connection:
        for n in range(40):
            # In an order that has nothing to do with the chain.
            add(connection, "icontact", f"c{n * 17 % 40:02}", 0, f"{n}@chain.org")
            add(connection, "icontact", f"c{n * 17 % 40:02}", 1, f"{n + 1}@chain.org")
        add(connection, "icontact", "a1", 0, "Ann@both.org", first_name="Ann", create_date="2026-01-01")
        add(connection, "shop", "a1", 0, "bob@both.org", first_name="Bob")
        add(connection, "shop", "a7", 1, "ann <ANN@both.org>", first_name="Anna", phone="5")
        for import_, kind, day in (("icontact", "click", 3), ("shop", "click", 1), ("shop", "open", 2)):
            act(connection, import_, "a1" if import_ == "icontact" else "a7", kind, day)
        for id_ in ("o1", "o2", "o3"):
            add(connection, "icontact", id_, 0, "office@x.org", status="bounced" if id_ == "o1" else "normal")
        add(connection, "icontact", "m1", 0, "former@moved.org")
        add(connection, "icontact", "m1", 1, "new@moved.org")
        for id_, email in (("n1", "none"), ("n2", "none"), ("n3", ""), ("n4", None), ("n5", None)):
            add(connection, "icontact", id_, 0, email)
        act(connection, "icontact", "u1", "open")
        add(connection, "icontact", "d1", 0, "new@day.org")
        add(connection, "icontact", "d2", 0, "former@day.org")
        add(connection, "icontact", "d3", 0, "third@day.org")
        connection.execute(
            "INSERT INTO icontact.contact_addresses SELECT * FROM (VALUES ('', 'd1', 'Former@day.org'), "
            "('9/9', 'd3', 'new@day.org')), (SELECT now()::TIMESTAMP)"
        )
        add(connection, "icontact", "e1", 0, "a@empty.org", first_name="Ann", city="Bonn")
        add(connection, "icontact", "e2", 1, "a@empty.org", first_name="Anna", city="Ulm")
        add(connection, "icontact", "e1", 2, "a@empty.org", first_name="", city="Kiel")
        add(connection, "icontact", "e2", 3, "a@empty.org", first_name="Anna", city="Ulm", deleted_at=NOW)
        for id_, day in (("g1", 1), ("g2", 2)):
            add(connection, "icontact", id_, 0, "gone@x.org")
            add(connection, "icontact", id_, day, "gone@x.org", deleted_at=NOW + day * DAY)
        for id_, created, city in (("t1", "2026-03-01", "Bonn"), ("t2", "2025-01-01", "Ulm"), ("t3", None, "Kiel")):
            add(connection, "icontact", id_, 0, "a@time.org", create_date=created, city=city)
        yield connection, compute(connection, "icontact", "shop")


@pytest.fixture
def people(computed: Computed) -> Cases:
    """The people of each case, by its letter."""
    found: Cases = {}
    for row in rows(computed[0]):
        found.setdefault(row["person_id"].partition("/")[2][0], []).append(row)
    return found


def test_a_chain_of_addresses_is_one_person(people: Cases) -> None:
    [chain] = people["c"]
    assert chain["ic_contact_ids"] == {"icontact": [f"c{n:02}" for n in range(40)]}
    assert (chain["person_id"], len(chain["emails"]), chain["contacts"]) == ("icontact/c00", 41, 40)
    assert (chain["shared_addresses"], chain["changed_addresses"]) == (39, 40)


def test_an_id_means_a_contact_of_one_import_and_an_address_joins_over_both(people: Cases) -> None:
    ann, bob = people["a"]
    assert ann["ic_contact_ids"] == {"icontact": ["a1"], "shop": ["a7"]}
    assert (ann["ic_contact_id"], ann["email"], ann["emails"]) == ("a1", "ann@both.org", ["ann@both.org"])
    assert (ann["first_name"], ann["phone"], ann["ic_user_created"]) == ("Anna", "5", datetime(2026, 1, 1))
    assert (ann["email_click_ct"], ann["email_open_ct"], "email_bouncect" in ann) == (2, 1, False)
    assert (ann["email_first_click_ts"], ann["email_last_click_ts"]) == (NOW + DAY, NOW + 3 * DAY)
    assert (ann["last_channel_activities"], ann["channels"]) == ({"email": NOW + 3 * DAY}, ["email"])
    assert list(ann["hashedurls"].values()) == [2]
    # A person of another import has no contact id in this one.
    assert (bob["person_id"], "ic_contact_id" in bob) == ("shop/a1", False)


def test_a_shared_office_address_joins_and_a_changed_one_is_kept(people: Cases) -> None:
    [office], [moved] = people["o"], people["m"]
    assert office["ic_contact_ids"] == {"icontact": ["o1", "o2", "o3"]}
    assert (office["shared_addresses"], office["changed_addresses"], office["ic_contact_id"]) == (1, 0, "o2")
    assert (moved["email"], moved["emails"]) == ("new@moved.org", ["former@moved.org", "new@moved.org"])
    assert (moved["shared_addresses"], moved["changed_addresses"]) == (0, 1)


def test_conflicts_are_counted_and_shown_by_id(computed: Computed) -> None:
    connection, found = computed
    assert found == People(16, 63, 7, shared_addresses=45, changed_addresses=42, most_contacts=40)
    columns, shown = conflicts(connection)
    assert columns == ["person_id", "contacts", "addresses", "shared_addresses", "changed_addresses"]
    assert shown[0] == ("icontact/c00", 40, 41, 39, 40)
    assert {row[0] for row in shown} == {
        *("icontact/c00", "icontact/a1", "icontact/o1", "icontact/m1"),
        *("icontact/d1", "icontact/e1", "icontact/g1", "icontact/t1"),
    }
    assert not any("@" in str(cell) for row in shown for cell in row)


def test_what_is_no_address_joins_nobody_and_activity_needs_no_contact(people: Cases) -> None:
    assert [person["contacts"] for person in people["n"]] == [1] * 5
    assert not any("emails" in person for person in people["n"])
    [unknown] = people["u"]
    assert (unknown["ic_contact_id"], unknown["email_open_ct"]) == ("u1", 1)


def test_an_address_that_was_replaced_on_its_day_joins_and_one_of_another_folder_does_not(people: Cases) -> None:
    changed, third = people["d"]
    assert (changed["contacts"], changed["emails"]) == (2, ["former@day.org", "new@day.org"])
    assert third["emails"] == ["third@day.org"]


def test_a_value_that_was_emptied_is_as_old_as_its_version_and_vanishing_is_no_news(people: Cases) -> None:
    [person], [gone] = people["e"], people["g"]
    assert (person["first_name"], person["city"], person["ic_contact_id"]) == ("Anna", "Kiel", "e1")
    assert ("deleted_at" in person, gone["deleted_at"]) == (False, NOW + 2 * DAY)


def test_contacts_read_at_one_time_go_by_their_creation_and_the_first_stands_for_all(people: Cases) -> None:
    [person] = people["t"]
    assert (person["city"], person["ic_contact_id"]) == ("Bonn", "t2")


def test_the_import_without_profiles_is_named() -> None:
    with fresh() as connection, pytest.raises(NothingMapped, match="the import icontact has no profiles"):
        build_people(connection, ["icontact"])


BROKEN = (
    ("INSERT INTO icontact_people FROM icontact_people WHERE person_id = 'icontact/u1'", True, True),
    ("DELETE FROM icontact_people WHERE person_id = 'icontact/u1'", True, True),
    ("UPDATE icontact_people SET ic_contact_ids = MAP {'icontact': ['c01']} WHERE contacts = 40", True, False),
    ("UPDATE icontact_people SET email_open_ct = 9 WHERE person_id = 'icontact/u1'", False, True),
    ("UPDATE icontact_people SET hashedurls = MAP {'1': 1} WHERE person_id = 'icontact/u1'", False, True),
)


def test_a_broken_table_is_found(computed: Computed) -> None:
    connection, imports = computed[0], ["icontact", "shop"]
    connection.execute("CREATE TABLE whole AS FROM icontact_people")
    for statement, keys, sums in BROKEN:
        connection.execute(statement)
        found = [any(wrong(connection, imports).values()) for wrong in (wrong_keys, wrong_sums)]
        assert found == [keys, sums], statement
        connection.execute("DELETE FROM icontact_people")
        connection.execute("INSERT INTO icontact_people FROM whole")


def test_every_field_of_the_vendor_is_in_it_and_none_that_is_personal_is_shown() -> None:
    fields = [*field_table("icontact_users"), *field_table("icontact_activity")]
    columns = people_table().column_names
    assert {field.name for field in fields} <= set(columns)
    assert not {"emails", *(field.name for field in fields if field.personal)} & set(public_people())
    assert len(public_people()) > 20


def test_a_rule_that_has_no_meaning_for_a_type_is_refused() -> None:
    [opens] = [field for field in field_table("icontact_activity") if field.name == "email_open_ct"]
    with pytest.raises(MappingError, match="'email_open_ct': the merge 'union' has no meaning for BIGINT"):
        person_value(type(opens)(**{**vars(opens), "merge": "union"}))


CONTACTS: st.SearchStrategy[list[Contact]] = st.lists(
    st.tuples(
        st.sampled_from(["icontact", "shop"]),
        st.integers(1, 30).map(str),
        st.integers(0, 2),
        st.sampled_from([*(f"{n}@x.org" for n in range(60)), "none", None]),
        st.sampled_from(["Ann", "Bob", "", None]),
    ),
    min_size=20,
    max_size=80,
    unique_by=lambda contact: contact[:3],
)
EVENTS = st.lists(
    st.tuples(st.sampled_from(["icontact", "shop"]), st.integers(1, 40).map(str), st.sampled_from(["open", "click"])),
    max_size=30,
)


def expected(contacts: list[Contact], events: list[tuple[str, str, str]]) -> set[frozenset[str]]:
    """The people, joined one by one."""
    of_address: dict[str, set[str]] = {}
    found = {frozenset({f"{import_}/{id_}"}) for import_, id_, *_ in [*contacts, *events]}
    for import_, id_, _, email, _ in contacts:
        if email and "@" in email:
            of_address.setdefault(email, set()).add(f"{import_}/{id_}")
    for members in of_address.values():
        touched = {group for group in found if group & members}
        found = (found - touched) | {frozenset().union(*touched)}
    return found


@settings(max_examples=2, deadline=None)
@given(CONTACTS, EVENTS)
def test_the_order_of_arrival_is_nothing_and_sums_are_those_of_the_parts(
    contacts: list[Contact], events: list[tuple[str, str, str]]
) -> None:
    with world() as connection:
        for import_, id_, day, email, name in contacts:
            add(connection, import_, id_, day, email, first_name=name)
        for import_, id_, kind in events:
            act(connection, import_, id_, kind)
        compute(connection, "icontact", "shop")
        assert groups(connection) == expected(contacts, events)
        once = rows(connection)
        assert sum(row.get("email_open_ct", 0) + row.get("email_click_ct", 0) for row in once) == len(events)
        for table in (
            f"{name}.{table}" for name in ("icontact", "shop") for table in ("raw_contacts", "icontact_users")
        ):
            connection.execute(f"CREATE TABLE {table}_2 AS FROM {table} ORDER BY random()")
            connection.execute(f"TRUNCATE {table}")
            connection.execute(f"INSERT INTO {table} FROM {table}_2")
        with mock.patch.object(joined, "_BATCH_CONTACTS", 30):
            build_people(connection, ["shop", "icontact"])
        assert rows(connection) == once
