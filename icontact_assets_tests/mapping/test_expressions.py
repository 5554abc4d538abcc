"""Expressions, conditions and field tables: what is read, what is compiled, what a mistake is told."""

from __future__ import annotations

import pytest

from icontact_assets.mapping.expressions import (
    Call,
    Column,
    Literal,
    MappingError,
    activity_value,
    compile_condition,
    field_table,
    parse_expression,
    parse_table,
)

ROW = "- {field: f, source: '%s', type: %s, merge: sum, description: d}"


def test_an_expression_is_read() -> None:
    assert parse_expression('map("email", epochms())') == Call("map", (Literal("email"), Call("epochms", ())))
    assert parse_expression(" valuect( hash(urlmain(event_url)) ) ") == Call(
        "valuect", (Call("hash", (Call("urlmain", (Column("event_url"),)),)),)
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an expression is a column"),
        ("count(", "the call of count is not closed"),
        ("count(event_type", "the call of count is not closed"),
        ("count(event_type))", "found ')' after the expression's end"),
        ("map(a b)", "found 'b' where a comma"),
        ("map(a,)", "an expression is a column"),
        ("count(event-type)", "found '-'"),
        ('set("email)', "found '\"'"),
    ],
)
def test_a_mistake_in_an_expression_is_told(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="^" + said.replace("(", r"\(").replace(")", r"\)")):
        parse_expression(text)


def test_a_condition_is_compiled() -> None:
    assert compile_condition('event_type = "op\'en"') == "\"event_type\" = 'op''en'"
    assert compile_condition('event_type IN ("open", "click")') == "\"event_type\" IN ('open', 'click')"


@pytest.mark.parametrize(
    "text", ["", "event_type", "event_type = open", "event_type in ()", 'event_type in ("a" "b")', 'a = "b" c']
)
def test_a_mistake_in_a_condition_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="a condition reads"):
        compile_condition(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- just text", "x.yaml, row 1: found 'just text'. Write a row"),
        ("- {field: f}", "x.yaml, row 1, field 'f': description, merge, source, type is missing. Add it."),
        (ROW % ("count(", "int"), "x.yaml, row 1, field 'f': the call of count is not closed. Correct the expression."),
        (ROW % ("a", "number"), "x.yaml, row 1, field 'f': found type 'number'. Write one of string, int"),
        (ROW % ("a", "int") + "\n" + ROW % ("b", "int"), "x.yaml, row 2, field 'f': the field is defined twice."),
        ("- {field: f, sauce: a, source: a, type: int, merge: sum, description: d}", "found sauce"),
    ],
)
def test_a_mistake_in_a_table_names_file_row_field_and_remedy(text: str, said: str) -> None:
    with pytest.raises(MappingError) as error:
        parse_table(text, "x.yaml")
    assert said in str(error.value)


def test_an_expression_without_a_meaning_names_the_field() -> None:
    [field] = parse_table(ROW % ("sum(event_type)", "int"), "x.yaml")
    with pytest.raises(MappingError, match="field 'f'"):
        activity_value(field)


def test_columns_are_described() -> None:
    for name in ("icontact_users", "icontact_activity"):
        assert all(field.description and field.sql_type for field in field_table(name))
