"""The mapping functions against the vendor's vectors, and that they never fail on any text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icontact_assets.mapping import functions

VECTORS = json.loads((Path(__file__).parent / "data" / "lytics_vectors.json").read_text())


def _urlmain_text(value: Any) -> str | None:
    result = functions.urlmain(value)
    return None if result is None else result.decode("utf-8", "surrogateescape")


FUNCTIONS = {
    "urlmain": _urlmain_text,
    "hash": functions.hash_sip,
    "email": functions.email,
    "emaildomain": functions.emaildomain,
    "hashedurls_key": functions.hashedurls_key,
    "todate_ms": functions.todate_ms,
}


def _cases() -> list[Any]:
    cases = [(name, *pair) for name in FUNCTIONS for pair in VECTORS[name]]
    for group in ("list_input", "non_string_input", "version_sensitive"):
        cases += [(name, *pair) for name in FUNCTIONS for pair in VECTORS[group].get(name, [])]
    return cases


@pytest.mark.parametrize(("name", "given_", "expected"), _cases())
def test_vector(name: str, given_: Any, expected: Any) -> None:
    assert FUNCTIONS[name](given_) == expected


@given(st.text() | st.text(alphabet='ab.@<>()[]:;,"\\ \t=?qQ%') | st.text(alphabet="ht:/?#[]@%2F5.a&=-1"))
def test_no_text_makes_a_function_fail(text: str) -> None:
    address = functions.email(text)
    assert (functions.emaildomain(text) is None) == (address is None) or not text.isascii()
    assert (functions.hashedurls_key(text) is None) == (not functions.urlmain(text))
    functions.todate_ms(text)


@given(st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,8}){0,2}@[a-z0-9]{1,8}(\.[a-z]{2,5}){1,2}", fullmatch=True))
def test_a_plain_address_is_itself_bare_named_and_shouted(address: str) -> None:
    assert functions.email(address) == address
    assert functions.email(f"Some Body <{address.upper()}>") == address
    assert functions.emaildomain(address) == address.split("@")[1]
