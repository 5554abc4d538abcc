"""Audiences over a real database: who belongs, who entered and left, and what a wrong condition says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icontact_assets.audiences.audience import AudienceError, compute, select, version_hash
from icontact_assets.settings.models import Audience
from icontact_assets_tests.harness import EVERYBODY, NOW, Store

PLANTED = "planted.person@example.com"
NAME = "Plantagenet"


def where(condition: str) -> Audience:
    return Audience(name="readers", label="Readers", import_name="icontact", where=condition)


def query(sql: str) -> Audience:
    return Audience(name="readers", label="Readers", import_name="icontact", query=sql)


def members(store: Store, audience: Audience) -> list[str]:
    compute(store.warehouse, audience, now=NOW, missing=None)
    return [
        row[0]
        for row in store.rows(
            f"SELECT contact_id FROM audience_members WHERE audience = '{audience.name}' ORDER BY contact_id"
        )
    ]


@pytest.mark.usefixtures("unlocked")
def test_a_condition_chooses_profiles(store):
    store.profiles(
        {"ic_contact_id": "1", "email_open_ct": 3},
        {"ic_contact_id": "2", "email_open_ct": 1},
        {"ic_contact_id": "3"},
    )
    assert members(store, where("email_open_ct > 2")) == ["1"]
    assert members(store, where("email_open_ct > 2 OR email_open_ct IS NULL -- quiet ones")) == ["1", "3"]


@pytest.mark.usefixtures("unlocked")
def test_a_query_chooses_contacts_each_once(store):
    store.profiles({"ic_contact_id": "1"}, {"ic_contact_id": "2"})
    sql = "SELECT ic_contact_id FROM icontact_profiles UNION ALL SELECT 2 UNION ALL SELECT NULL UNION ALL SELECT ' ';\n"
    assert members(store, query(sql)) == ["1", "2"]
    assert members(store, query("WITH a AS (SELECT '7' AS ic_contact_id, 1 AS more) FROM a -- the end")) == ["7"]


SPELLINGS = (
    *("'0090000001'", "' 90000001\t'", "'\u200b90000001'", "'90000001.0'", "'+90000001'", "'\uff190000001'"),
    *("90000001", "90000001::BIGINT", "90000001::DOUBLE", "90000001::DECIMAL(18, 3)", "90000001::HUGEINT"),
    *("'90000001'::JSON", "'90000001'::ENUM('90000001')"),
)


@pytest.mark.usefixtures("unlocked")
def test_every_spelling_of_a_contact_id_is_one_member(store):
    store.profiles({"ic_contact_id": "90000001"})
    for value in SPELLINGS:
        assert select(store.warehouse, query(f"SELECT {value} AS ic_contact_id")) == ["90000001"]
    each = " UNION ALL ".join(f"SELECT CAST({value} AS VARCHAR) AS ic_contact_id" for value in (*SPELLINGS, "NULL"))
    assert members(store, query(each)) == ["90000001"]


def test_a_contact_that_vanished_is_nobody_under_any_spelling(store):
    store.profiles({"ic_contact_id": "7", "deleted_at": datetime(2026, 9, 1)})
    assert members(store, query("SELECT '007' AS ic_contact_id UNION ALL SELECT '8.0'")) == ["8"]


NO_IDS = (
    *("'12abc'", "'-7'", "'1e3'", "'7.5'", "'1_0'", "'7 8'", "'5001_7'", "'\u200b'", "'9' || repeat('0', 5000)"),
    *("true", "[7]", "7.5", "1e17::DOUBLE", "DATE '2026-09-14'", f"'{PLANTED}'"),
)


@pytest.mark.usefixtures("unlocked")
def test_what_is_not_a_contact_id_is_an_error_of_the_audience(store):
    store.profiles({"ic_contact_id": "1"})
    assert members(store, query("SELECT 1 AS ic_contact_id")) == ["1"]
    wrong = dict.fromkeys(NO_IDS, "a contact id, and 1 of its values are not")
    wrong |= {
        "90000001::FLOAT": "of the type FLOAT, which does not hold every id exactly",
        "'0101'::BIT": "of the type BIT, which does not hold every id exactly",
    }
    for value, says in wrong.items():
        with pytest.raises(AudienceError) as caught:
            members(store, query(f"SELECT {value} AS ic_contact_id"))
        assert says in str(caught.value)
        assert str(caught.value).startswith("The audience readers cannot be computed: ic_contact_id ")
        assert "icontact.yaml" in str(caught.value)
        assert "planted" not in str(caught.value)
    assert store.rows("SELECT contact_id FROM audience_members") == [("1",)]


@pytest.mark.usefixtures("unlocked")
def test_profiles_without_a_contact_id_do_not_count_nor_do_contacts_that_vanished(store):
    store.profiles(
        {"ic_contact_id": None, "email": PLANTED},
        {"ic_contact_id": "1"},
        {"ic_contact_id": "2", "deleted_at": datetime(2026, 9, 1)},
    )
    assert members(store, where("true")) == ["1"]
    assert members(store, query("SELECT '2' AS ic_contact_id UNION ALL SELECT '3'")) == ["3"]


def test_times_compare_with_now_in_utc(store):
    now = datetime.now(UTC).replace(tzinfo=None)
    store.profiles(
        {"ic_contact_id": "1", "last_active_ts": now - timedelta(minutes=55)},
        {"ic_contact_id": "2", "last_active_ts": now - timedelta(minutes=65)},
    )
    assert members(store, where("last_active_ts >= now() - INTERVAL 1 HOUR")) == ["1"]


@pytest.mark.usefixtures("unlocked")
def test_who_entered_and_left_is_recorded_with_the_version(store):
    later = NOW + timedelta(days=1)
    store.profiles({"ic_contact_id": "1"}, {"ic_contact_id": "2"})
    first = compute(store.warehouse, EVERYBODY, now=NOW, missing=None)
    store.profiles({"ic_contact_id": "2"}, {"ic_contact_id": "3"})
    second = compute(store.warehouse, EVERYBODY, now=later, missing=None)
    third = compute(store.warehouse, EVERYBODY, now=later + timedelta(days=1), missing=None)

    assert (first.size, first.entered, first.left, first.moved) == (2, 2, 0, True)
    assert (second.size, second.entered, second.left, second.moved) == (2, 1, 1, True)
    assert (third.size, third.entered, third.left, third.moved) == (2, 0, 0, False)
    assert first.version_hash != second.version_hash == third.version_hash
    noon, day_after = datetime(2026, 9, 14, 12), datetime(2026, 9, 15, 12)
    assert store.rows("SELECT contact_id, entered_at FROM audience_members ORDER BY contact_id") == [
        ("2", noon),
        ("3", day_after),
    ]
    assert store.rows(
        "SELECT contact_id, change, changed_at, version FROM audience_changes ORDER BY changed_at, contact_id"
    ) == [
        ("1", "entered", noon, first.version_hash),
        ("2", "entered", noon, first.version_hash),
        ("1", "left", day_after, second.version_hash),
        ("3", "entered", day_after, second.version_hash),
    ]


def test_two_audiences_do_not_mix(store):
    store.profiles({"ic_contact_id": "1"})
    compute(store.warehouse, EVERYBODY, now=NOW, missing=None)
    assert members(store, where("false")) == []
    assert store.rows("SELECT audience, contact_id FROM audience_members") == [("everybody", "1")]


@pytest.mark.usefixtures("unlocked")
def test_incomplete_data_keeps_the_last_membership_and_says_why(store):
    store.profiles({"ic_contact_id": "1"})
    before = compute(store.warehouse, EVERYBODY, now=NOW, missing=None)
    store.profiles({"ic_contact_id": "2"})
    kept = compute(store.warehouse, EVERYBODY, now=NOW, missing="the opens of message 310001 are half read")
    assert (kept.size, kept.entered, kept.left, kept.moved) == (1, 0, 0, False)
    assert kept.version_hash == before.version_hash
    assert kept.missing == "the opens of message 310001 are half read"
    assert store.rows("SELECT contact_id FROM audience_members") == [("1",)]


@pytest.mark.parametrize(
    ("audience", "says"),
    [
        (where("emial_open_ct > 1"), "email_open_ct"),
        (where("email_open_ct >"), "syntax error"),
        (where("true) OR (true"), "syntax error"),
        (where("true ORDER BY 1"), "syntax error"),
        (where("true; DROP TABLE icontact_profiles"), "it must be one SELECT, but is SELECT, DROP"),
        (query("DELETE FROM icontact_profiles"), "it must be one SELECT, but is DELETE"),
        (query("SELECT 1; SELECT 2"), "it must be one SELECT, but is SELECT, SELECT"),
        (query("-- nothing"), "it must be one SELECT, but is nothing"),
        (query("SELECT email FROM icontact_profiles"), "ic_contact_id"),
        (query("SELECT * FROM read_csv('/etc/passwd')"), "disabled by configuration"),
        (query("SELECT ic_contact_id FROM store"), "store does not exist"),
        (where("CAST(email AS INTEGER) = 1"), "a value of the column email does not fit (the value is not shown)"),
        (where("strptime(email, '%Y') > now()"), "the value is not shown"),
        (where("error(first_name)"), "the value is not shown"),
        (where(f'email = "{PLANTED}"'), "<address>"),
        (where(f"nothing = '{NAME}'"), "nothing"),
        (where("ic_contact_id = ?"), "the value is not shown"),
    ],
)
def test_a_wrong_condition_is_one_paragraph_without_anybodys_values(store, audience, says):
    store.profiles({"ic_contact_id": "1", "email": PLANTED, "first_name": NAME})
    compute(store.warehouse, where("true"), now=NOW, missing=None)
    with pytest.raises(AudienceError) as caught:
        compute(store.warehouse, audience, now=NOW, missing=None)
    text = str(caught.value)
    assert says in text
    assert text.startswith("The audience readers cannot be computed: ")
    assert "icontact.yaml" in text
    assert "\n" not in text
    assert PLANTED not in text
    assert NAME not in text
    assert caught.value.__cause__ is None
    assert store.rows("SELECT contact_id FROM audience_members") == [("1",)]


def test_a_query_cannot_write_files(store, tmp_path: Path):
    with pytest.raises(AudienceError):
        compute(store.warehouse, query(f"COPY icontact_profiles TO '{tmp_path}/out.csv'"), now=NOW, missing=None)
    assert not (tmp_path / "out.csv").exists()


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.frozensets(st.integers(1, 6).map(str)), min_size=1, max_size=4))
def test_the_changes_always_add_up_to_the_members(store, history):
    store.run("DELETE FROM audience_members")
    store.run("DELETE FROM audience_changes")
    for day, ids in enumerate(history):
        store.audience(*ids, now=NOW + timedelta(days=day))
    standing: set[str] = set()
    for contact_id, change in store.rows("SELECT contact_id, change FROM audience_changes ORDER BY changed_at"):
        (standing.add if change == "entered" else standing.remove)(contact_id)
    assert standing == set(history[-1])
    assert {row[0] for row in store.rows("SELECT contact_id FROM audience_members")} == set(history[-1])


def test_the_version_stands_for_the_set():
    assert version_hash(["1", "23"]) == version_hash(["23", "1"])
    assert len({version_hash(ids) for ids in ([], ["123"], ["1", "23"], ["12", "3"])}) == 4
