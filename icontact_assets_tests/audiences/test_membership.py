"""Who was in an audience on a day, by the function and by the table macro in the database file."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icontact_assets.audiences.audience import AudienceError, compute
from icontact_assets.audiences.membership import Change, Standing, members_on, standing
from icontact_assets_tests.harness import EVERYBODY, NOW, Store

DAY = NOW.date()


def on(store: Store, day: date, audience: str = "everybody") -> dict[str, datetime]:
    with store.warehouse.read() as connection:
        return members_on(connection, audience, day)


def of(store: Store, contact_id: str) -> Standing:
    with store.warehouse.read() as connection:
        return standing(connection, "everybody", contact_id)


def test_a_day_holds_who_was_in_when_it_ended(store):
    store.audience(1, 2, now=datetime.fromisoformat("2026-09-14T00:00:00+00:00"))
    store.audience(2, 3, now=datetime.fromisoformat("2026-09-14T23:59:59.999999+00:00"))
    store.audience(2, 4, now=datetime.fromisoformat("2026-09-16T00:00:00+00:00"))
    first, second, third = datetime(2026, 9, 14), datetime(2026, 9, 14, 23, 59, 59, 999999), datetime(2026, 9, 16)
    assert on(store, date(2026, 9, 14)) == {"2": first, "3": second}
    assert on(store, date(2026, 9, 15)) == {"2": first, "3": second}
    assert on(store, date(2026, 9, 16)) == {"2": first, "4": third}
    assert on(store, date(2026, 12, 24)) == {"2": first, "4": third}


def test_who_comes_back_is_in_since_the_last_time(store):
    for day, ids in enumerate([(1,), (), (1, 2)]):
        store.audience(*ids, now=NOW + timedelta(days=day))
    noon = datetime(2026, 9, 14, 12)
    assert [on(store, DAY + timedelta(days=day)) for day in range(3)] == [
        {"1": noon},
        {},
        {"1": noon + timedelta(days=2), "2": noon + timedelta(days=2)},
    ]
    changes = tuple(
        Change(change, noon + timedelta(days=day)) for day, change in enumerate(["entered", "left", "entered"])
    )
    assert of(store, "1") == Standing(noon + timedelta(days=2), noon + timedelta(days=2), changes)
    assert of(store, "9") == Standing(None, noon + timedelta(days=2), ())


def test_what_is_not_known_is_an_error_and_not_an_empty_audience(store):
    with pytest.raises(AudienceError) as caught:
        on(store, DAY)
    assert str(caught.value) == (
        "The audience everybody was not computed by the end of 2026-09-14 (UTC): who was in it then is not known."
    )
    assert of(store, "1") == Standing(None, None, ())
    compute(store.warehouse, EVERYBODY, now=NOW, missing="nothing is read yet")
    with pytest.raises(AudienceError, match="by the end of 2026-09-14"):
        on(store, DAY)
    store.audience()
    assert on(store, DAY) == {}
    with pytest.raises(AudienceError, match="by the end of 2026-09-13"):
        on(store, DAY - timedelta(days=1))
    with pytest.raises(AudienceError, match="The audience every_body was not computed"):
        on(store, DAY, "every_body")


def test_the_macro_serves_any_program_that_opens_the_file(store):
    store.audience(1, 2)
    store.warehouse.prepare()
    store.warehouse.let_go()
    with duckdb.connect(str(store.warehouse.path), read_only=True) as connection:

        def ask(columns: str, day: str) -> list[tuple[str | int, ...]]:
            return connection.execute(f"SELECT {columns} FROM icontact.audience_on('everybody', {day})").fetchall()

        assert sorted(ask("contact_id", "DATE '2026-09-14'")) == [("1",), ("2",)]
        assert ask("count(*)", "'2026-09-15'") == [(2,)]
        with pytest.raises(duckdb.Error, match="was not computed by the end of 2026-09-13"):
            ask("count(*)", "DATE '2026-09-13'")


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.frozensets(st.integers(1, 5).map(str)), min_size=1, max_size=4))
def test_every_day_is_remembered_as_it_was(store, days):
    for table in ("audience_members", "audience_changes", "audience_computations"):
        store.run(f"DELETE FROM {table}")
    for number, ids in enumerate(days):
        store.audience(*ids, now=NOW + timedelta(days=number))
    for number, ids in enumerate(days):
        assert set(on(store, DAY + timedelta(days=number))) == ids
    assert len(store.rows("FROM audience_computations")) == len(days)
