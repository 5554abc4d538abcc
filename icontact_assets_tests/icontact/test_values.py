"""Single values: every spelling of an id is one, and what is no id is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icontact_assets.icontact.values import as_id


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        *(("7", "7"), (7, "7"), ("0", "0"), (0, "0"), ("000", "0"), ("007", "7"), ("+7", "7"), (7.0, "7")),
        *(("7.0", "7"), ("007.000", "7"), (" 7\t", "7"), ("7\r\n", "7"), ("\u00a07\u3000", "7")),
        *(("\ufeff7", "7"), ("7\u200b", "7"), ("9\u00ad0", "90"), ("\uff19\u0660", "90"), ("0\uff17", "7")),
        *(("9" * 20, "9" * 20), (10**20 - 1, "9" * 20), ("0" * 5_000 + "7", "7"), (2**53 - 1.0, str(2**53 - 1))),
        *((value, None) for value in ("", " ", "\u200b", "+", "-7", "--7", "7.", ".0", "7.5", "7.0.0", "1e3", "0x7")),
        *((value, None) for value in ("12abc", "1_0", "1 0", "1,000", "5001_7", "7\0", "\u00b2", "\u2167", "\u4e03")),
        *((value, None) for value in ("9" * 21, "9" * 5_000, "0" * 5_000 + "x", 10**20, 10**1_000, -7, 7.5, 2.0**53)),
        *((value, None) for value in (1e300, float("nan"), float("inf"), True, None, [7], {"7": 7}, b"7")),
    ],
)
def test_an_id_has_one_normal_form(value, normal):
    assert as_id(value) == normal


@given(st.text(st.sampled_from("0179.+- \u200b\uff17e_") | st.characters(), max_size=30))
def test_the_normal_form_of_an_id_is_its_own(text):
    form = as_id(text)
    assert form is None or (as_id(form) == form and form.isascii() and form.isdigit() and str(int(form)) == form)


def test_a_number_of_5_000_digits_is_no_id():
    assert as_id(10**5_000) is None
