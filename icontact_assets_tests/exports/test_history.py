"""What the tables hold of people: which stored addresses SQL may compare, and that no other one is passed over."""

from __future__ import annotations

import duckdb
from hypothesis import example, given, settings
from hypothesis import strategies as st

from icontact_assets.exports.history import PLAIN_ADDRESS, Shelf, other_addresses
from icontact_assets.exports.person import normal_address
from icontact_assets_tests.harness import SCHEMA, House

# The Kelvin sign and the long s are k and s in another case. Some labels are longer than a domain may have.
PIECES = [*"aZk09.-_+@@ ,\n'\"<>\u212a\u017f\u0130\u00e9\u200b", "xn--", "XN--", "a" * 61, "a" * 64, "shop.example"]
texts = st.lists(st.sampled_from(PIECES), max_size=9).map("".join)
addresses = st.tuples(texts, st.sampled_from(["@Shop.example", "@b.xn--p1ai", "@a.b-", "@1.2", "@x"])).map("".join)


@settings(max_examples=25, deadline=None)
@given(st.lists(texts | addresses, max_size=40))
@example(["Person.1+x@Shop.example"])
def test_a_plain_address_is_its_own_normal_form_in_lower_case(written):
    with duckdb.connect() as connection:
        plain = connection.execute(
            f"SELECT email FROM (SELECT unnest(?::VARCHAR[]) AS email) WHERE {PLAIN_ADDRESS}", [written]
        ).fetchall()
    for (text,) in plain:
        assert normal_address(text) == text.lower()
    if written == ["Person.1+x@Shop.example"]:
        assert plain


def test_only_plain_spellings_of_the_known_address_are_passed_over(house: House):
    stored = {
        "1": ["Pat@Shop.example", "pat@shop.example", "old@shop.example"],
        "2": ["Pat Example <pat@shop.example>", "\u212aim@shop.example"],
        "3": ["pat@shop.example"],
    }
    with house.store.warehouse.write("test") as connection:
        connection.executemany(
            "INSERT INTO contact_addresses VALUES ('', ?, ?, TIMESTAMP '2026-01-01')",
            [[id_, text] for id_, texts in stored.items() for text in texts],
        )
    known = {"1": "pat@shop.example", "2": "kim@shop.example", "3": None}
    with house.store.warehouse.read() as connection:
        found = set(other_addresses(connection, Shelf(SCHEMA, "", imported=True), known, known.values()))
    assert found == {
        ("1", "old@shop.example"),
        ("2", "Pat Example <pat@shop.example>"),
        ("2", "\u212aim@shop.example"),
        ("3", "pat@shop.example"),
    }
