"""False values: nothing of a person is left, one person stays one person, and the shape of everything stays."""

from __future__ import annotations

import json
import unicodedata
from urllib.parse import quote, unquote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from icontact_assets.icontact.decoding import decode
from icontact_assets.icontact.disguise import Disguise, numbers_in

FALSE = Disguise(bytes(range(32)))
QUICK = settings(max_examples=40, deadline=None)
WORD = st.text(st.characters(categories=["Lu", "Ll", "Lo", "Nd"], max_codepoint=0x2FFF), min_size=1, max_size=12)


def test_one_person_stays_one_person_however_the_address_is_written() -> None:
    address = FALSE.text("ada.lovelace@mail.example.co.uk")
    assert address != "ada.lovelace@mail.example.co.uk"
    assert FALSE.text("ADA.Lovelace@Mail.Example.co.uk").lower() == address
    assert FALSE.text("Ada Lovelace <ada.lovelace@mail.example.co.uk>").endswith(f" <{address}>")
    assert address in FALSE.text('"mailto:ada.lovelace@mail.example.co.uk"')
    assert address in FALSE.remark("The address (ada.lovelace@mail.example.co.uk) is not valid.", frozenset())
    link = FALSE.text("https://www.example.com/?e=ada.lovelace%40mail.example.co.uk")
    assert link.startswith("https://www.")
    assert unquote(link).endswith(f"={address}")
    body = json.loads(FALSE.body(b'{"email": "ada\\u002elovelace\\u0040mail.example.co.uk"}'))
    assert body == {"email": address}
    assert address.endswith(".uk")


def test_composed_and_decomposed_letters_are_one_word() -> None:
    composed = FALSE.text("Jos\u00e9 M\u00fcller")
    decomposed = FALSE.text(unicodedata.normalize("NFD", "Jos\u00e9 M\u00fcller"))
    assert composed.isalpha() is False
    assert unicodedata.normalize("NFC", decomposed) == composed
    assert len(decomposed) == len(composed) + 2


@QUICK
@given(st.lists(WORD, min_size=2, max_size=4, unique_by=lambda word: unicodedata.normalize("NFC", word.casefold())))
def test_words_stay_apart_and_none_of_their_letters_stays(words: list[str]) -> None:
    assume(all(len(word.upper().lower()) == len(word) for word in words))
    false = [FALSE.text(word) for word in words]
    for word, other in zip(words, false, strict=True):
        assert [len(char.encode()) for char in other] == [len(char.encode()) for char in word]
        assert not any(map(str.__eq__, word, other)), (word, other)
        assert [char.isupper() for char in other if char.isascii()] == [c.isupper() for c in word if c.isascii()]
    ascii_only = [other.lower() for word, other in zip(words, false, strict=True) if word.isascii()]
    assert len(set(ascii_only)) == len(ascii_only)


def test_no_two_short_words_become_one() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    pairs = [a + b for a in letters for b in letters]
    assert len({FALSE.text(pair) for pair in pairs}) == len(pairs)
    assert sorted(FALSE.text(digit) for digit in "0123456789") == list("0123456789")


def test_what_makes_a_text_odd_stays() -> None:
    for text in (" Ada", "Ada\t", "\ud83d Ada", "A\u200bda\x00", "'Ada\"", "100%", "%zz", "", "\U0001f600"):
        false = FALSE.text(text)
        assert [char for char in false if not char.isalnum()] == [char for char in text if not char.isalnum()]
        assert len(false) == len(text)


def test_ids_keep_their_order_and_their_type() -> None:
    ids = [1, 9, 10, 99, 5001, 5002, 9999, 10_000, 90_000_001, 90_000_002, 123_456_789_012, 10**19]
    false = [int(FALSE.id(str(id_))) for id_ in ids]
    assert false == sorted(set(false))
    assert not any(map(int.__eq__, false, ids))
    assert FALSE.id("0") == "0"
    assert FALSE.id("5001_90000001") == f"{FALSE.id('5001')}_{FALSE.id('90000001')}"
    assert FALSE.id("5001,5002").split(",") == [FALSE.id("5001"), FALSE.id("5002")]
    assert len(FALSE.id("0005001")) == 7
    body = json.loads(FALSE.body(b'{"contactId": 90000001, "listId": "90000001", "x": 90000001}'))
    assert body["contactId"] == int(body["listId"]) == int(FALSE.id("90000001")) != list(body.values())[2]


def test_what_decides_stays_and_a_person_in_its_place_does_not() -> None:
    body = {
        "contacts": [{"status": "donotcontact", "createDate": "2026-05-04 18:31:07", "bounceCount": "3"}],
        "total": 1, "limit": 500, "offset": 0,
    }  # fmt: skip
    assert json.loads(FALSE.body(json.dumps(body).encode())) == body
    for row in (
        {"status": "Lovelace"}, {"createDate": "Lovelace"}, {"createDate": "5551234567"}, {"bounceCount": "5551234567"},
        {"total": 5551234567}, {"contactId": "Lovelace"}, {"Lovelace": None}, {"orderby": "Lovelace"},
        {"messageType": "Lovelace"}, {"actionType": ["Lovelace"]}, {"details": {"Lovelace": {"Lovelace": 5551234567}}},
    ):  # fmt: skip
        found = FALSE.body(json.dumps(row).encode())
        assert b"Lovelace" not in found
        assert b"5551234567" not in found
        assert len(found) == len(json.dumps(row))


def test_a_remark_keeps_the_words_of_the_service_and_the_ids_that_rows_have() -> None:
    ids = numbers_in(['[{"contactId": "90000005", "listId": "5001"}]'])
    words = FALSE.remark(
        "Contact 90000005 (ada@example.com) is unsubscribed from list 5001. Ask Lovelace, 5551234", ids
    )
    false = FALSE.id("90000005"), FALSE.text("ada@example.com"), FALSE.id("5001")
    assert words.startswith("Contact {} ({}) is unsubscribed from list {}. ".format(*false))
    assert "Lovelace" not in words
    assert "5551234" not in words
    sent = FALSE.remark("Message [messageId=310001] already scheduled for send [sendId=978001]", frozenset())
    assert sent == f"Message [messageId={FALSE.id('310001')}] already scheduled for send [sendId={FALSE.id('978001')}]"


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_a_body_stays_in_its_charset(charset: str) -> None:
    found = FALSE.body('{"subject": "Sommer \u00fc \U0001f600"}'.encode(charset))
    assert found[:4] == '{"subject"'.encode(charset)[:4]
    assert len(found) == len('{"subject": "Sommer \u00fc \U0001f600"}'.encode(charset))
    assert decode(found).body["subject"].endswith(" \U0001f600")


def test_a_body_that_is_no_json_or_is_cut_keeps_its_shape() -> None:
    page = b"<html><body>Lovelace is <b>not</b> here</body></html>"
    assert [chr(byte) for byte in FALSE.body(page) if not chr(byte).isalnum()] == list("<><>  <></> </></>")
    whole = (
        b'{"contacts": [{"email": "ada@example.com", "firstName": "Lovelace \\ud83d\\u00e9", "n": 1e400}], "total": 1}'
    )
    for end in range(len(whole)):
        cut = FALSE.body(whole[:end])
        assert len(cut) == end or b"\\u" in whole[end - 6 : end]
        assert b"Lovelace" not in cut
    broken = FALSE.body(b"{Lovelace: 'Lovelace', \"a\": Lovelace, 5551234567: 1} Lovelace")
    assert b"Lovelace" not in broken
    assert b"5551234567" not in broken
    assert b"\\ud83d" in FALSE.body(whole)
    assert b"e400" in FALSE.body(whole)
    latin = FALSE.body(b'{"firstName": "J\xfcrgen"}')
    assert (len(latin), b"J\xfcrgen" in latin, decode(latin).repaired) == (23, False, True)


@QUICK
@given(st.binary(max_size=60), st.sampled_from([b"", b"{", b'{"email": "', b'{"errors": ["']))
def test_any_bytes_can_be_disguised(content: bytes, before: bytes) -> None:
    FALSE.body(before + content)


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()))
def test_json_stays_json_of_the_same_shape(value: object) -> None:
    def shape(item: object) -> object:
        if isinstance(item, dict):
            return [shape(inner) for inner in item.values()]
        return [shape(inner) for inner in item] if isinstance(item, list) else type(item)

    assert shape(json.loads(FALSE.body(json.dumps({"x": [value]}).encode()))) == [[shape(value)]]


def test_percent_escapes_stay_well_formed() -> None:
    link = "https://example.com/J%C3%BCrgen/%e6%97%a5?x=%FC%3D#Lovelace"
    false = FALSE.text(link)
    assert len(false) == len(link)
    assert false.count("%") == link.count("%")
    assert unquote(false).encode() != unquote(link).encode()
    assert quote(unquote(false[26:32])) == false[26:32]
    assert "%3D#" in false
