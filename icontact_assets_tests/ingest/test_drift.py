"""Schema drift alone: what is new, missing or retyped, and that a policy tells it as often as it should."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icontact_assets.ingest.drift import Finding, KnownFields, Policy, SchemaDrift, compare
from icontact_assets.ingest.rows import (
    EVENT_TYPES,
    KINDS,
    LISTING_READERS,
    RowReader,
    activity_reader,
    fields_seen,
)
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.warehouse import Warehouse

EXAMPLES = Path(__file__).parent.parent / "sandbox" / "examples"
READERS = {**LISTING_READERS, **{kind: activity_reader(kind) for kind in EVENT_TYPES}}
NOW = datetime(2026, 11, 25, tzinfo=UTC)


def stored(warehouse: Warehouse) -> dict[tuple[str, str, str], tuple[bool, datetime, datetime]]:
    with warehouse.read() as connection:
        rows = connection.execute(
            "SELECT resource, field, kind, accepted, first_seen_at, last_seen_at FROM icontact.known_fields"
        ).fetchall()
    return {(resource, field, kind): tuple(mark) for resource, field, kind, *mark in rows}


def documented(reader: RowReader) -> dict[str, set[str]]:
    return {name: set(field.kinds) for name, field in reader.fields.items()}


def told(findings: list[Finding]) -> set[tuple[str, str, str]]:
    return {(finding.field, " or ".join(sorted(finding.found)), finding.status) for finding in findings}


class Watched(dict[str, Any]):
    """A row that remembers which of its fields were asked for."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        super().__init__(row)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


def pages() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for path in sorted(EXAMPLES.glob("*.json")):
        body = orjson.loads(path.read_bytes())
        for resource in READERS:
            if isinstance(body, dict) and isinstance(body.get(resource), list):
                yield resource, [row for row in body[resource] if isinstance(row, dict)]


def test_no_example_of_the_service_is_drift_or_holds_anything_new() -> None:
    checked = set()
    for resource, rows in pages():
        if rows:
            checked.add(resource)
            assert compare(resource, READERS[resource], {}, fields_seen(rows)) == []
    assert checked == set(READERS)


def plausible(reader: RowReader) -> dict[str, Any]:
    """A row that can be read."""
    return {name: "7" if name.endswith("Id") else "2026-01-01T00:00:00Z" for name in reader.fields}


@pytest.mark.parametrize("resource", READERS)
def test_declared_are_exactly_the_fields_that_are_read(resource: str) -> None:
    reader = READERS[resource]
    row = Watched(plausible(reader))
    reader.read([row])
    assert row.asked == set(reader.fields)
    assert not reader.unread & set(reader.fields)


@pytest.mark.parametrize("resource", READERS)
@pytest.mark.parametrize("strange", [{"a": 1}, ["a"], {}, [], True])
def test_no_retyped_value_is_stored_as_python_writes_it(resource: str, strange: Any) -> None:
    reader = READERS[resource]
    for name in reader.fields:
        row = {**plausible(reader), name: strange}
        batch, _ = reader.read([row])
        values = [value for column in batch.columns for value in column.to_pylist()]
        assert not {"{'a': 1}", "['a']", "True"}.intersection(map(str, values)) or strange in values


@pytest.mark.parametrize("resource", READERS)
def test_ids_and_numbers_in_either_form_nulls_and_texts_are_never_drift(resource: str) -> None:
    reader = READERS[resource]

    @settings(max_examples=25, deadline=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        rows = [
            {
                name: data.draw(
                    st.one_of(st.none(), st.text(max_size=3), *([st.integers(0, 9)] if "number" in field.kinds else []))
                )
                for name, field in reader.fields.items()
                if number == 0 or not field.may_be_absent
            }
            for number in range(data.draw(st.integers(1, 3)))
        ]
        known = KnownFields("fail", NOW, {})
        assert known.judge(resource, reader, fields_seen(rows)) == []

    check()


KIND_SETS = st.sets(st.sampled_from(sorted(set(KINDS.values()))), min_size=1)
SEEN = st.builds(
    lambda own, others: {**own, **others},
    st.fixed_dictionaries({}, optional=dict.fromkeys(LISTING_READERS["contacts"].fields, KIND_SETS)),
    st.dictionaries(st.sampled_from(["tier", "crm_id", "birthday"]), KIND_SETS),
)
CONTACTS = LISTING_READERS["contacts"]


@settings(max_examples=40)
@given(st.lists(SEEN, min_size=1, max_size=4))
def test_under_warn_news_is_told_once_and_drift_while_it_lasts(readings: list[dict[str, set[str]]]) -> None:
    known = KnownFields("warn", NOW, {})
    new: list[str] = []
    for seen in readings:
        first = known.judge("contacts", CONTACTS, seen)
        again = known.judge("contacts", CONTACTS, seen)
        new += [finding.field for finding in first if finding.status == "new"]
        assert told(again) == told([finding for finding in first if finding.status == "drift"])
    others = {name for seen in readings for name in seen if name not in CONTACTS.fields}
    assert sorted(new) == sorted(others)


@settings(max_examples=40)
@given(st.lists(SEEN, min_size=1, max_size=4), st.sampled_from(["warn", "fail"]))
def test_what_evolve_accepted_is_never_drift_again(readings: list[dict[str, set[str]]], later: Policy) -> None:
    known = KnownFields("evolve", NOW, {})
    findings = [known.judge("contacts", CONTACTS, seen) for seen in readings * 2]
    assert all(finding.status != "drift" for some in findings for finding in some)
    every = [(f.field, kind) for some in findings for f in some if f.status == "accepted" for kind in f.found]
    assert len(every) == len(set(every))
    known = KnownFields(later, NOW, known.marks)
    for seen in readings:
        assert known.judge("contacts", CONTACTS, seen) == []


@settings(max_examples=40)
@given(SEEN, SEEN)
def test_fail_remembers_nothing_of_what_it_refuses(before: dict[str, set[str]], seen: dict[str, set[str]]) -> None:
    evolved = KnownFields("evolve", NOW, {})
    evolved.judge("contacts", CONTACTS, before)
    held = copy.deepcopy(evolved.marks)
    refusing = KnownFields("fail", NOW, evolved.marks)
    drift = compare("contacts", CONTACTS, {field: set(kinds) for field, kinds in held["contacts"].items()}, seen)
    if any(finding.status == "drift" for finding in drift):
        with pytest.raises(SchemaDrift, match="schema_drift: evolve"):
            refusing.judge("contacts", CONTACTS, seen)
        assert refusing.marks == held
    else:
        assert refusing.judge("contacts", CONTACTS, seen) == drift


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.sampled_from([None, "", "x", 1, 1.5, True, [], {}]))))
def test_fields_of_rows_are_those_of_its_pages(rows: list[dict[str, Any]]) -> None:
    expected: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.items():
            expected.setdefault(name, set()).add(KINDS[type(value)])
    assert fields_seen(rows) == expected


def test_a_custom_field_may_turn_from_text_to_number_but_not_to_an_object() -> None:
    known = KnownFields("warn", NOW, {})
    own = documented(CONTACTS)
    assert told(known.judge("contacts", CONTACTS, {**own, "tier": {"null"}})) == {("tier", "null", "new")}
    assert known.judge("contacts", CONTACTS, {**own, "tier": {"text"}}) == []
    assert known.judge("contacts", CONTACTS, {**own, "tier": {"number", "boolean", "null"}}) == []
    for came in ({"object"}, {"object", "text"}):
        assert told(known.judge("contacts", CONTACTS, {**own, "tier": came})) == {("tier", "object", "drift")}
    assert told(known.judge("contacts", CONTACTS, own)) == {("tier", "absent", "drift")}


def test_what_no_table_holds_is_told_once_and_may_go() -> None:
    known = KnownFields("fail", NOW, {})
    reader = READERS["opens"]
    own = documented(reader)
    (finding,) = known.judge("opens", reader, {**own, "deviceType": {"text"}})
    assert str(finding) == "Field opens.deviceType (text) is new, kept in no table."
    assert known.judge("opens", reader, {**own, "deviceType": {"object"}}) == []
    assert known.judge("opens", reader, own) == []


def test_a_listing_without_rows_says_nothing() -> None:
    known = KnownFields("fail", NOW, {})
    assert known.judge("sends", READERS["sends"], None) == []
    with pytest.raises(SchemaDrift, match=r"Field sends\.sendId is in no row, expected number or text"):
        known.judge("sends", READERS["sends"], {})


def test_what_is_known_comes_back_from_the_table(tmp_path: Path) -> None:
    own = documented(READERS["lists"])
    known = KnownFields("warn", NOW, {})
    known.judge("lists", READERS["lists"], {**own, "name": {"array"}, "colour": {"text"}})
    known.judge("opens", READERS["opens"], {"contactId": {"text"}})
    warehouse = Warehouse(DatabaseFile(tmp_path / "fields.duckdb"), "icontact")
    with warehouse.write("storing fields") as connection:
        known.store(connection)
    kept, stamp = stored(warehouse), NOW.replace(tzinfo=None)
    assert kept["lists", "name", "array"] == (False, stamp, stamp)
    assert kept["lists", "colour", "text"] == (True, stamp, stamp)
    assert kept["opens", "openTime", "absent"] == (False, stamp, stamp)
    later = datetime(2026, 11, 26, tzinfo=UTC)
    with warehouse.write("judging") as connection:
        again = KnownFields.load(connection, "evolve", later)
        findings = again.judge("lists", READERS["lists"], {**own, "name": {"array"}, "colour": {"text"}})
        again.store(connection)
    assert told(findings) == {("name", "array", "accepted")}
    found = stored(warehouse)
    assert found["lists", "name", "array"] == (True, stamp, later.replace(tzinfo=None))
    assert found["opens", "openTime", "absent"] == (False, stamp, stamp)
    assert set(found) == set(kept)


def test_an_address_as_the_name_of_a_field_is_masked() -> None:
    known = KnownFields("warn", NOW, {})
    (finding,) = known.judge("contacts", CONTACTS, {**documented(CONTACTS), "ada@example.com": {"text"}})
    assert str(finding) == "Field contacts.<address> (text) is new, kept in custom_fields."
