"""Why a contact is, or is not, in an audience: on rows, with every kind of condition."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icontact_assets.audiences.audience import AudienceError, compute
from icontact_assets.audiences.explain import Explanation, Part, explain, render
from icontact_assets.audiences.membership import Change
from icontact_assets.settings.models import Audience
from icontact_assets.warehouse.storage import WarehouseError
from icontact_assets_tests.audiences.test_audience import NAME, PLANTED, query, where
from icontact_assets_tests.harness import NOW, Store

PUBLIC = frozenset({"ic_contact_id", "email_open_ct", "last_active_ts", "deleted_at"})
NOON = datetime(2026, 9, 14, 12)


def why(store: Store, audience: Audience, contact_id: str = "1") -> Explanation:
    return explain(store.warehouse, audience, contact_id, public=PUBLIC)


def condition(store: Store, text: str) -> Part:
    part = why(store, where(text)).condition
    assert part is not None
    return part


def leaves(part: Part) -> Iterator[Part]:
    if part.kind == "test":
        yield part
    for inner in part.parts:
        yield from leaves(inner)


def outline(part: Part) -> Any:
    return (part.text, part.truth) if part.kind == "test" else (part.kind, part.truth, [outline(p) for p in part.parts])


@pytest.fixture
def person(store: Store, unlocked: None) -> Store:
    """One contact with some values, and another one whose values must never show."""
    store.profiles(
        {
            "ic_contact_id": "1",
            "email": PLANTED,
            "first_name": NAME,
            "email_open_ct": 3,
            "last_active_ts": datetime(2026, 9, 10, 8, 30),
        },
        {"ic_contact_id": "2", "email": f"other.{PLANTED}", "email_open_ct": 987654},
    )
    return store


def test_a_member_with_its_comings_and_goings_and_the_parts_of_the_condition(person):
    text = "email_open_ct > 2 AND (last_active_ts IS NULL OR NOT (email LIKE '%.org' OR first_name IS NULL)) -- readers"
    readers = where(text)
    for day, opens in enumerate((3, 1, 3)):
        person.run(f"UPDATE icontact_profiles SET email_open_ct = {opens} WHERE ic_contact_id = '1'")
        compute(person.warehouse, readers, now=NOW + timedelta(days=day), missing=None)
    found = why(person, readers)
    assert (found.standing.since, found.standing.computed_at) == (NOON + timedelta(days=2), NOON + timedelta(days=2))
    assert found.standing.changes == (
        Change("entered", NOON),
        Change("left", NOON + timedelta(days=1)),
        Change("entered", NOON + timedelta(days=2)),
    )
    assert (found.selected, found.problem, found.kept, found.has_profile) == (True, None, None, True)
    condition = found.condition
    assert condition is not None
    assert (condition.kind, condition.truth) == ("all", "true")
    opens, rest = condition.parts
    assert opens == Part("test", "true", "email_open_ct > 2", {"email_open_ct": 3})
    assert (rest.kind, rest.truth) == ("any", "true")
    active, neither = rest.parts
    assert active == Part("test", "false", "last_active_ts IS NULL", {"last_active_ts": datetime(2026, 9, 10, 8, 30)})
    assert (neither.kind, neither.truth) == ("not", "true")
    address, name = neither.parts[0].parts
    assert (address.truth, address.values) == ("false", {"email": "(personal)"})
    assert name == Part("test", "false", "first_name IS NULL", {"first_name": "(personal)"})
    lines = render(found).splitlines()
    assert lines[:6] == [
        "Contact 1 is in the audience readers since 2026-09-16 12:00 UTC.",
        "  entered  2026-09-14 12:00 UTC",
        "  left     2026-09-15 12:00 UTC",
        "  entered  2026-09-16 12:00 UTC",
        "The audience was last computed at 2026-09-16 12:00 UTC.",
        "Computed now, it would hold this contact.",
    ]
    assert [line for line in lines if "email_open_ct" in line] == [
        "     true     email_open_ct > 2",
        "                  email_open_ct: 3",
    ]
    assert [line.strip() for line in lines if "last_active_ts:" in line] == ["last_active_ts: 2026-09-10 08:30:00"]


def test_a_membership_that_is_out_of_date_is_said_to_be(person):
    compute(person.warehouse, where("email_open_ct > 2"), now=NOW, missing=None)
    found = why(person, where("email_open_ct > 5"))
    assert (found.standing.since, found.selected) == (NOON, False)
    text = render(found)
    assert "Contact 1 is in the audience readers since 2026-09-14 12:00 UTC." in text
    assert "Computed now, it would not hold this contact.\nThat differs from what is recorded" in text
    assert "Materialize audience_readers" in text
    assert "differs" not in render(why(person, where("email_open_ct > 2")))


def test_an_audience_that_was_kept_says_why(person):
    compute(person.warehouse, where("true"), now=NOW, missing=None)
    later = NOW + timedelta(days=1)
    compute(person.warehouse, where("true"), now=later, missing="message 310001 is half read.")
    found = why(person, where("true"))
    assert found.standing.computed_at == NOON
    assert "not computed from complete data: message 310001 is half read.\n" in render(found)


def test_an_audience_that_was_never_computed(person):
    text = render(why(person, where("email_open_ct > 2")))
    assert text.startswith("The audience readers was never computed: nobody is in it yet.\nComputed now, it would hold")
    assert "differs" not in text


def test_a_contact_without_a_profile(person):
    compute(person.warehouse, where("true"), now=NOW, missing=None)
    found = why(person, where("true"), "77")
    assert (found.has_profile, found.condition, found.selected, found.standing.changes) == (False, None, False, ())
    assert "There is no contact 77 in icontact_profiles" in render(found)


@pytest.mark.usefixtures("unlocked")
def test_a_contact_that_vanished_is_in_no_audience_whatever_the_condition_says(store):
    store.profiles({"ic_contact_id": "1", "deleted_at": datetime(2026, 9, 1, 7)})
    compute(store.warehouse, where("true"), now=NOW, missing=None)
    found = why(store, where("true"))
    assert (found.selected, found.deleted_at) == (False, datetime(2026, 9, 1, 7))
    assert found.condition is not None
    assert found.condition.truth == "true"
    assert "first missing in iContact at 2026-09-01 07:00 UTC" in render(found)


def test_an_audience_by_query_has_no_parts_but_a_verdict(person):
    readers = query("SELECT ic_contact_id FROM icontact_profiles WHERE email_open_ct = 3")
    compute(person.warehouse, readers, now=NOW, missing=None)
    found = why(person, readers)
    assert (found.standing.since, found.selected, found.condition) == (NOON, True, None)
    assert "The audience is chosen by a query, which has no parts" in render(found)
    assert why(person, readers, "2").selected is False


@pytest.mark.usefixtures("unlocked")
def test_unknown_is_neither_true_nor_false(store):
    store.profiles({"ic_contact_id": "1"})
    opens, name = ("email_open_ct > 2", "unknown"), ("first_name IS NOT NULL", "false")
    assert outline(condition(store, "email_open_ct > 2 OR NOT (email_open_ct > 2 OR first_name IS NOT NULL)")) == (
        "any",
        "unknown",
        [opens, ("not", "unknown", [("any", "unknown", [opens, name])])],
    )
    assert "email_open_ct: NULL" in render(why(store, where("email_open_ct > 2")))


def test_a_part_that_fails_says_so_without_the_value(person):
    found = why(person, where("ic_contact_id = '1' AND CAST(first_name AS INTEGER) > 1"))
    assert found.condition is not None
    assert (found.condition.kind, found.condition.truth) == ("all", "fails")
    good, bad = found.condition.parts
    assert (good.truth, bad.truth) == ("true", "fails")
    assert bad.problem is not None
    assert "a value of the column first_name does not fit (the value is not shown)" in bad.problem
    assert (found.selected, found.standing.since) == (None, None)
    assert found.problem is not None
    assert found.problem.startswith("The audience readers cannot be computed")
    assert NAME not in render(found)


def test_a_failing_part_does_not_decide_what_others_decide(person):
    fails = "CAST(first_name AS INTEGER) > 1"
    assert condition(person, f"{fails} OR email_open_ct = 3").truth == "true"
    assert condition(person, f"{fails} AND email_open_ct = 4").truth == "false"
    assert condition(person, f"NOT {fails}").truth == "fails"
    assert condition(person, f"{fails} AND (NULL = 1 OR NULL = 2)").truth == "fails"


@pytest.mark.parametrize(
    "text", ["email_open_ct >", "true) OR (true", "true; DROP TABLE icontact_profiles", "emial = 'x'"]
)
def test_a_text_that_is_no_condition_is_a_clear_problem(person, text):
    found = why(person, where(text))
    assert found.selected is None
    assert found.problem is not None
    assert found.problem in render(found)
    assert "Correct `where`" in found.problem
    assert person.rows("SELECT count(*) FROM icontact_profiles") == [(2,)]


def test_nobodys_address_or_name_is_shown(person):
    text = (
        f"email = '{PLANTED}' AND first_name LIKE 'P%' AND upper(email) <> first_name AND email LIKE '%@example.com' "
        "AND icontact_profiles.email IS NOT NULL AND COLUMNS('^email') IS NOT NULL"
    )
    compute(person.warehouse, where(text), now=NOW, missing=None)
    found = why(person, where(text))
    assert (found.selected, found.standing.since) == (True, NOON)
    shown = render(found) + orjson.dumps(found).decode()
    assert PLANTED not in shown
    assert NAME not in shown
    assert "email = '<address>'" in shown
    assert "'%@example.com'" in shown


def test_a_column_that_is_not_declared_public_is_not_shown(store):
    store.run(
        "CREATE OR REPLACE TABLE icontact_profiles AS SELECT '1' AS ic_contact_id, 'secret' AS shoe, NULL AS deleted_at"
    )
    assert condition(store, "Shoe = 'x'") == Part("test", "false", "Shoe = 'x'", {"shoe": "(personal)"})


def test_a_subquery_is_one_part_and_its_columns_are_not_this_contacts(person):
    part = condition(person, "ic_contact_id IN (SELECT ic_contact_id FROM icontact_profiles WHERE email_open_ct > 900)")
    assert (part.kind, part.truth, part.values) == ("test", "false", {"ic_contact_id": "1"})
    part = condition(person, "email_open_ct < (SELECT max(p.email_open_ct) FROM icontact_profiles p)")
    assert (part.kind, part.truth, part.values) == ("test", "true", {"email_open_ct": 3})
    part = condition(
        person, "NOT EXISTS (SELECT 1 FROM audience_members m WHERE m.contact_id = icontact_profiles.ic_contact_id)"
    )
    assert (part.kind, part.truth, part.parts[0].truth) == ("not", "true", "false")


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("email_open_ct BETWEEN 1 AND 3", "true"),
        ("(email_open_ct + 1) BETWEEN 1 AND 3", "false"),
        ("email_open_ct", "true"),
        ("true", "true"),
        ("email_open_ct::VARCHAR = '3'", "true"),
        ("CASE WHEN email_open_ct = 3 AND true THEN false END", "false"),
        ("first_name COLLATE NOCASE = 'plantagenet'", "true"),
        ("coalesce(email_open_ct = 4 OR NULL, true)", "true"),
        ("last_active_ts >= TIMESTAMP '2026-09-11' - INTERVAL 30 DAY", "true"),
        ("first_name = 'ÄÖ' || 'Ü'", "false"),
        ("first_name ~ 'AND|OR'", "false"),
    ],
)
def test_what_is_no_and_or_not_stays_whole(person, text, truth):
    part = condition(person, text)
    assert (part.kind, part.truth) == ("test", truth)
    other = condition(person, f"ic_contact_id = '1' AND {text}")
    assert (other.parts[1].kind, other.parts[1].truth) == ("test", truth)


def test_without_tables_it_says_what_to_materialize(store, tmp_path):
    store.run("DROP TABLE icontact_profiles")
    with pytest.raises(
        AudienceError, match="materialize icontact/icontact_profiles and icontact/audience_readers first"
    ):
        why(store, where("true"))
    store.warehouse.let_go()
    store.warehouse.path.unlink()
    with pytest.raises(WarehouseError, match="There is no database"):
        why(store, where("true"))


def test_a_contact_is_named_by_digits_only(store):
    with pytest.raises(ValueError, match="digits"):
        why(store, where("true"), "1' OR '1' = '1")


LEAVES = st.sampled_from(
    [
        "email_open_ct > 2",
        "email_open_ct IS NULL",
        "email_open_ct NOT BETWEEN 1 AND 2",
        "first_name LIKE 'P%'",
        "first_name NOT IN ('Ann', 'NOT', 'a AND b')",
        "last_active_ts < TIMESTAMP '2026-01-01'",
        "email_open_ct IN (1, NULL)",
        "coalesce(first_name = 'Ann' OR email_open_ct = 1, false)",
        "(email_open_ct = 1) IS DISTINCT FROM (first_name IS NULL)",
        "NULL",
        "true",
        "false",
    ]
)


def _joined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    word = st.sampled_from([" AND ", " OR ", " and\n", " or -- or\n"])
    return st.one_of(
        st.tuples(inner, word, inner).map("".join),
        inner.map("({})".format),
        inner.map("NOT ({})".format),
        inner.map("not {}".format),
    )


CONDITIONS = st.recursive(LEAVES, _joined, max_leaves=8)
PEOPLE = st.fixed_dictionaries(
    {
        "email_open_ct": st.sampled_from([None, 1, 3]),
        "first_name": st.sampled_from([None, "Ann", "Paul"]),
        "last_active_ts": st.sampled_from([None, datetime(2025, 6, 1), datetime(2026, 6, 1)]),
    }
)
TRUTH = {True: "true", False: "false", None: "unknown"}


@pytest.mark.usefixtures("unlocked")
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(CONDITIONS, PEOPLE)
def test_the_parts_together_say_what_the_whole_condition_says(store, text, values):
    store.profiles({"ic_contact_id": "1", **values})
    found = why(store, where(text))
    part = found.condition
    assert part is not None
    tests = list(leaves(part))
    judged = [f"CAST(({sql}\n) AS BOOLEAN)" for sql in (text, *(str(test.text) for test in tests))]
    [(whole, *alone)] = store.rows(f"SELECT {', '.join(judged)} FROM icontact_profiles")
    assert part.truth == TRUTH[whole]
    assert found.selected is (whole is True)
    assert [test.truth for test in tests] == [TRUTH[value] for value in alone]
    for test in tests:
        for name, value in (test.values or {}).items():
            assert value == (values[name] if name in PUBLIC else "(personal)")


def test_now_is_now(store):
    now = datetime.now(UTC).replace(tzinfo=None)
    store.profiles({"ic_contact_id": "1", "last_active_ts": now - timedelta(days=29)})
    text = (
        "last_active_ts >= now()::TIMESTAMP - INTERVAL 30 DAY AND last_active_ts < now()::TIMESTAMP - INTERVAL 28 DAY"
    )
    assert [part.truth for part in leaves(condition(store, text))] == ["true", "true"]
