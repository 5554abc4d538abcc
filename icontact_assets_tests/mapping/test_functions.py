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


def wrong(name: str, cases: list[Any]) -> list[Any]:
    """Of the cases (function, text, expected) of this function, those with another result, which comes last."""
    found = [(given_, expected, FUNCTIONS[name](given_)) for of, given_, expected in cases if of == name]
    assert found
    return [each for each in found if each[1] != each[2]]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_vector_of_the_vendor_holds(name: str) -> None:
    assert wrong(name, _cases()) == []


# Worked out by hand from the rules of Go's net/mail and net/url.
EDGES = [
    ("email", "Friends: bob@bob.com;", "bob@bob.com"),
    ("email", "Friends: bob@bob.com; (late) (later)", "bob@bob.com"),
    ("email", "Friends: bob@bob.com; (unclosed", None),
    ("email", "Friends: More: bob@bob.com;;", None),
    ("email", "bob@bob.com (a (nested \\) one) here)", "bob@bob.com"),
    ("email", "bob@bob.com (one) (two)", "bob@bob.com"),
    ("email", "Bob (the builder) Jones <bob@bob.com> (work)", "bob@bob.com"),
    ("email", "..B.ob.. < bob@bob.com>", "bob@bob.com"),
    ("email", "abc@def.com<abc@def.com>", None),
    ("email", '"a\\ b"@c.de', "a b@c.de"),
    ("email", '""@c.de', None),
    ("email", '"a\nb"@c.de', None),
    ("email", "=?X-Unknown?Q?a?= <a@b.de>", None),
    ("email", "=?X-Unknown?Q?a=?= <a@b.de>", "a@b.de"),
    ("email", "=?X-Unknown?B?QQ?= <a@b.de>", "a@b.de"),
    ("email", "Bob =?X-Unknown?Q?a?= <a@b.de>", "a@b.de"),
    ("email", "a@b.de (=?X-Unknown?B?QQ==?=)", None),
    ("email", "=?u\u017f-a\u017fcii?Q?a?= <a@b.de>", "a@b.de"),
    ("email", "a\ud800@b.de", "a\ufffd@b.de"),
    ("email", "a\x7f@b.de", None),
    ("email", "a\x85@b.de", "a\x85@b.de"),
    ("email", "a@[192.168.0.01]", None),
    ("email", "\u0130A@b.de", "ia@b.de"),
    ("emaildomain", "x@\u0130.de", "i.de"),
    ("urlmain", "http://[::ffff:1.2.3.4%25e%41]:/x", "[::ffff:1.2.3.4%eA]:/x"),
    ("urlmain", "http://[fe80::1%25]/", None),
    ("urlmain", "http://[fe80::1%25a%2Fb]/", None),
    ("urlmain", "http://[fe80::1%25a%20b]/", "[fe80::1%a b]/"),
    ("urlmain", "http://[1.2.3.4]/", None),
    ("urlmain", "http://[::1]x/", None),
    ("urlmain", "http://a[::1]/", None),
    ("urlmain", "http://a]b/", "a]b/"),
    ("urlmain", "x://a:1:2/p", "a:1:2/p"),
    ("urlmain", "//a:1:2/p", "a:1:2/p"),
    ("urlmain", "http://a:1:2/p", None),
    ("urlmain", "http://us%65r:p%40ss@h/", "h/"),
    ("urlmain", "http://us%6:r@h/", None),
    ("urlmain", "http://us er@h/", None),
    ("urlmain", "http://h%25a/%25", "h%a/%"),
    ("urlmain", "http://h%C3%BC/", "h\u00fc/"),
    ("urlmain", "http://h/\x7f", None),
    ("urlmain", "http://h/#\x7f", "h/"),
    ("urlmain", "http://h/#%2", None),
    ("urlmain", "1http://h/", None),
    ("urlmain", "a/b:c", "a/b:c"),
    ("urlmain", "////h/p", "////h/p"),
    ("urlmain", "x:///p", "/p"),
    ("urlmain", "?#", ""),
    ("urlmain", "http://h/\ud800", "h/\ufffd"),
    ("todate_ms", "2026-01-05 10:00:00", 1767607200000),
    ("todate_ms", "2026-1-5T9:5", 1767603900000),
    ("todate_ms", "2026-01-05 10:00:00,25", 1767607200250),
    ("todate_ms", "2026-01-05T10:00:00.123456789+0130", 1767601800123),
    ("todate_ms", "2026-01-05T10:00+01", 1767603600000),
    ("todate_ms", "2026-01-05 10:00:00 GMT", 1767607200000),
    ("todate_ms", "2026-01-05 10:00:00 +0100 CET", 1767603600000),
    ("todate_ms", "2026-01-05 12:30:00 AM", 1767573000000),
    ("todate_ms", "2026/1/5 10:00", 1767607200000),
    ("todate_ms", "1/5/2026 1:00 PM", 1767618000000),
    ("todate_ms", "01/05/26", 1767571200000),
    ("todate_ms", "31/01/2026", None),
    ("todate_ms", "Jan 5, 2026 10:00:00 AM", 1767607200000),
    ("todate_ms", "January 5, 2026 at 10:00am", 1767607200000),
    ("todate_ms", "5 Jan 2026 10:00", 1767607200000),
    ("todate_ms", "Mon, 05 Jan 2026 10:00:00 +0100", 1767603600000),
    ("todate_ms", "Monday, 05-Jan-26 10:00:00 GMT", 1767607200000),
    ("todate_ms", "20260105100000", 1767607200000),
    ("todate_ms", "20260105 10:00:00", None),
    ("todate_ms", "1767607200", 1767607200000),
    ("todate_ms", "1767607200123", 1767607200123),
    ("todate_ms", "2026-02-29", None),
    ("todate_ms", "2026-01-05 24:00:00", None),
    ("todate_ms", "2026-01-05 10:00:00+25:00", None),
    ("todate_ms", " 2026-01-05", None),
    ("todate_ms", "0000-01-01", -62167219200000),
    ("todate_ms", "now", None),
]


@pytest.mark.parametrize("name", dict.fromkeys(name for name, *_ in EDGES))
def test_every_edge_of_the_rules_holds(name: str) -> None:
    assert wrong(name, EDGES) == []


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
