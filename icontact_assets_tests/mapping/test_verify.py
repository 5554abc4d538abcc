"""The checks of mapped tables: green on what the mapping makes, red on every way to break it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import duckdb
import pytest

from icontact_assets.assets import mapped
from icontact_assets.assets.mapped import mapped_columns
from icontact_assets.mapping.build import Built, build_activity, build_users
from icontact_assets.mapping.verify import QUESTIONS, verify
from icontact_assets_tests.harness import Project
from icontact_assets_tests.mapping.test_build import NOW, add_contact, add_event, add_message, fresh, made


def fill(connection: duckdb.DuckDBPyConnection) -> None:
    for n in range(1, 6):
        add_contact(connection, id=str(n), email=f"p{n}@example.org", city="Ulm", create_date="2020-01-01 00:00:00")
    later = NOW + timedelta(days=1)
    add_contact(connection, later, id="1", email="p1@example.org", city="", deleted_at=later)
    add_message(connection, "501", ["spring"])
    for n, kind in enumerate(["open", "open", "click", "bounce", "unsubscribe"]):
        add_event(connection, kind, str(n + 2), NOW, "https://example.org/a" if kind == "click" else None)
    add_event(connection, "open", "3", NOW, None, message="502")


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with fresh() as connection:
        fill(connection)
        yield connection


@pytest.fixture(scope="module")
def mapped_once() -> duckdb.DuckDBPyConnection:
    connection = made()
    fill(connection)
    compute(connection)
    connection.execute("CREATE TABLE icontact_profiles_before AS FROM icontact_profiles")
    return connection


@pytest.fixture
def computed(mapped_once: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """With everything computed. What a test does to it is undone."""
    mapped_once.execute("BEGIN")
    yield mapped_once
    mapped_once.execute("ROLLBACK")


def compute(connection: duckdb.DuckDBPyConnection, aid: str | None = None) -> None:
    build_users(connection, aid=aid)
    build_activity(connection, aid=aid)


def red(connection: duckdb.DuckDBPyConnection, name: str, aid: str | None = None) -> set[str]:
    answers = verify(connection, name, mapped_columns(name), aid=aid)
    assert [answer.question for answer in answers] == list(QUESTIONS[name])
    return {answer.question for answer in answers if not answer.holds}


@pytest.mark.parametrize("aid", [None, "spring", "nobody"])
def test_what_the_mapping_makes_is_green(connection: duckdb.DuckDBPyConnection, aid: str | None) -> None:
    compute(connection, aid)
    assert {name: red(connection, name, aid) for name in QUESTIONS} == {name: set() for name in QUESTIONS}


def test_profiles_of_contacts_alone_are_green(connection: duckdb.DuckDBPyConnection) -> None:
    build_users(connection)
    assert red(connection, "icontact_profiles") == set()


BROKEN = {
    "INSERT INTO icontact_users FROM icontact_users LIMIT 1": ("icontact_users", {"keys_unique"}),
    "DELETE FROM icontact_users WHERE ic_contact_id = '2'": ("icontact_users", {"rows_match_source"}),
    "UPDATE icontact_users SET ic_contact_id = NULL WHERE ic_contact_id = '2'": (
        "icontact_users",
        {"keys_unique", "rows_match_source"},
    ),
    "UPDATE icontact_users SET ic_contact_id = '99' WHERE ic_contact_id = '2'": (
        "icontact_users",
        {"rows_match_source"},
    ),
    "UPDATE icontact_users SET city = 'Bonn' WHERE ic_contact_id = '2'": (
        "icontact_users",
        {"values_match_raw_contacts"},
    ),
    "UPDATE icontact_users SET deleted_at = NULL": ("icontact_users", {"values_match_raw_contacts"}),
    "INSERT INTO icontact_users FROM icontact_users WHERE ic_contact_id = '1'": ("icontact_users", {"keys_unique"}),
    "DELETE FROM icontact_users WHERE ic_contact_id = '1'": ("icontact_users", {"rows_match_source"}),
    "UPDATE raw_contacts SET city = 'Bonn' WHERE id = '2'": ("icontact_users", {"values_match_raw_contacts"}),
    "ALTER TABLE icontact_users ALTER ic_user_created TYPE VARCHAR": ("icontact_users", {"types_as_declared"}),
    "ALTER TABLE icontact_activity DROP channels": ("icontact_activity", {"types_as_declared"}),
    "ALTER TABLE icontact_activity ADD more INTEGER": ("icontact_activity", {"types_as_declared"}),
    "UPDATE icontact_activity SET email_open_ct = 7 WHERE ic_contact_id = '3'": (
        "icontact_activity",
        {"counts_match_raw_activity"},
    ),
    "DELETE FROM icontact_activity WHERE ic_contact_id = '3'": (
        "icontact_activity",
        {"rows_match_source", "counts_match_raw_activity"},
    ),
    "UPDATE icontact_activity SET ic_contact_id = '99' WHERE ic_contact_id = '3'": (
        "icontact_activity",
        {"rows_match_source"},
    ),
    "INSERT INTO icontact_activity (ic_contact_id) VALUES ('99')": ("icontact_activity", {"rows_match_source"}),
    "CREATE OR REPLACE VIEW icontact_profiles AS FROM icontact.icontact_profiles_before WHERE ic_contact_id <> '3'": (
        "icontact_profiles",
        {"rows_match_source"},
    ),
    "CREATE OR REPLACE VIEW icontact_profiles AS FROM icontact.icontact_profiles_before "
    "UNION ALL FROM icontact.icontact_profiles_before": ("icontact_profiles", {"keys_unique"}),
}


@pytest.mark.parametrize("statement", BROKEN)
def test_a_broken_table_is_red(computed: duckdb.DuckDBPyConnection, statement: str) -> None:
    computed.execute(statement)
    name, expected = BROKEN[statement]
    assert red(computed, name) == expected


def kept(connection: duckdb.DuckDBPyConnection) -> list[tuple[int | None, int | None]]:
    return connection.execute(
        "SELECT summed_end - source_end, summed_hashes FROM mapping_state WHERE table_name = 'icontact_activity'"
    ).fetchall()


def test_an_update_is_compared_with_what_the_events_before_it_were_found_to_make(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    compute(connection)
    assert kept(connection) == [(None, None)]
    assert red(connection, "icontact_activity") == set()
    add_event(connection, "open", "2", NOW, None)
    add_event(connection, "open", "7", NOW, None)
    assert not build_activity(connection).full
    assert red(connection, "icontact_activity") == set()
    [(total,)] = connection.execute("SELECT sum(hash(contact_id)) FROM raw_activity").fetchall()
    assert kept(connection) == [(0, total)]
    connection.execute("UPDATE mapping_state SET summed_hashes = summed_hashes + 1")
    assert red(connection, "icontact_activity") == set()
    assert kept(connection) == [(0, total)]
    add_event(connection, "open", "8", NOW, None)
    assert not build_activity(connection).full
    connection.execute("UPDATE icontact_activity SET ic_contact_id = '99' WHERE ic_contact_id = '3'")
    assert red(connection, "icontact_activity") == {"rows_match_source"}
    build_activity(connection, everything=True)
    assert kept(connection) == [(None, None)]


def test_an_event_that_somebody_changed_is_red(computed: duckdb.DuckDBPyConnection) -> None:
    computed.execute("UPDATE raw_activity SET event_type = 'open' WHERE event_type = 'bounce'")
    build_activity(computed)
    assert red(computed, "icontact_activity") == {"counts_match_raw_activity"}


def test_the_step_of_the_asset_reports_them(imported: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    imported.alone()

    def broken(connection: duckdb.DuckDBPyConnection, *, aid: str | None = None) -> Built:
        built = build_users(connection, aid=aid)
        connection.execute(
            "DELETE FROM icontact_users WHERE ic_contact_id = (SELECT min(ic_contact_id) FROM icontact_users)"
        )
        return built

    monkeypatch.setattr(mapped, "build_users", broken)
    result = imported.run('key:"icontact/icontact_*"')
    assert result.success
    evaluations = {
        (evaluation.asset_key.path[-1], evaluation.check_name): evaluation
        for evaluation in result.get_asset_check_evaluations()
    }
    assert len(evaluations) == 4 + 4 + 4
    failed = {key for key, evaluation in evaluations.items() if not evaluation.passed}
    assert failed == {("icontact_users", "rows_match_source")}
    evaluation = evaluations["icontact_users", "rows_match_source"]
    assert evaluation.severity == dg.AssetCheckSeverity.ERROR
    assert {name: value.value for name, value in evaluation.metadata.items()} == {"missing": 1, "surplus": 0}
