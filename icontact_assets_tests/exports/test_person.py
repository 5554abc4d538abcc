"""The normal forms of addresses and domains: every spelling of one person is one, and no two people are."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icontact_assets.exports.person import normal_address, normal_domain
from icontact_assets.mapping.functions import email

VECTORS = json.loads((Path(__file__).parents[1] / "mapping" / "data" / "lytics_vectors.json").read_text())

UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u202a\u202e\u2066\u2069\u061c\u034f\u180e\ufe0f\u0000\u007f"
BLANKS = " \t\r\n\u00a0\u2003\u3000\u202f\u2028\x85"
FULL_WIDTH = {ascii_: chr(ord(ascii_) + 0xFEE0) for ascii_ in map(chr, range(0x21, 0x7F))}

QUICK = settings(max_examples=60, deadline=None)

words = st.text("abcz019", min_size=1, max_size=3)
locals_ = st.tuples(words, st.lists(st.sampled_from(["", ".", "+x", "_", "-", "é", "'"]), max_size=3), words).map(
    lambda parts: "0".join((parts[0], *parts[1], parts[2]))
)
labels = st.tuples(st.sampled_from("ax"), st.sampled_from(["", "b", "0-b", "bücher", "ñ"])).map("".join)
domains = st.lists(labels, min_size=2, max_size=4).map(".".join)


def punycode(domain: str) -> str:
    return ".".join(
        label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in domain.split(".")
    )


def sprinkled(text: str, mark: str, place: int) -> str:
    place %= len(text) + 1
    return text[:place] + mark + text[place:]


SPELLED: list[Callable[[str, str], str]] = [
    lambda local, domain: f"{local}@{domain}",
    lambda local, domain: f'"{local}"@{domain}',
    lambda local, domain: f"'{local}'@{domain}",
    lambda local, domain: f"\u201c{local}\u201d@{domain}",
    lambda local, domain: f"{local}(at work)@{domain}",
    lambda local, domain: f"{local}@(the (old) shop){domain}",
    lambda local, domain: f"{local} @ {domain}",
    lambda local, domain: f"{local}@\t{domain}",
    lambda local, domain: f"{local}\uff20{domain}",
    lambda local, domain: f"{local}@" + domain.replace(".", "\u3002"),
    lambda local, domain: f"{local}@{domain}.",
    lambda local, domain: f"{local}@{punycode(domain)}",
    lambda local, domain: f"{local}@{punycode(domain).upper()}",
    lambda local, domain: f"{local.upper()}@{domain.upper()}",
    lambda local, domain: f"{local}@{domain}".translate(str.maketrans(FULL_WIDTH)),
    lambda local, domain: unicodedata.normalize("NFD", f"{local}@{domain}"),
    lambda local, domain: f"{local}@{domain}".replace("-", "\u2011"),
]
WRAPPED: list[Callable[[str], str]] = [
    lambda text: text,
    lambda text: f"<{text}>",
    lambda text: f"< {text} >",
    lambda text: f"Ann Lee <{text}>",
    lambda text: f"Lee, Ann <{text}>",
    lambda text: f'"Lee, Ann" <{text}>',
    lambda text: f"=?x-unknown?Q?Ann?= <{text}>",
    lambda text: f"'{text}'",
    lambda text: f'"{text}"' if '"' not in text else text,
    lambda text: f"\u2018{text}\u2019",
    lambda text: f"\u00ab{text}\u00bb",
    lambda text: f"<'{text}'>",
    lambda text: f"'<{text}>'",
    lambda text: f"mailto:{text}",
    lambda text: f"MailTo:{text}?subject=Hello%20there&body=x",
    lambda text: f"mailto:{quote(text)}",
    lambda text: f"mailto://{quote(text)}",
    lambda text: f"<mailto:{text}>",
    lambda text: f"{text} (Ann Lee)",
    lambda text: f"{text};",
    lambda text: f"{text} ,",
    lambda text: f"{text} <{text}>",
    lambda text: f"{text} <mailto:{text}>",
]


def whole(spelling: Callable[[str, str], str], local: str, domain: str) -> bool:
    """Whether a spelling may be said twice: quotation marks and comments within another are another's."""
    return not set('"()\u201c') & set(spelling(local, domain))


@QUICK
@given(locals_, domains, st.sampled_from(SPELLED), st.sampled_from(WRAPPED), st.data())
def test_every_spelling_of_an_address_has_one_normal_form(local, domain, spelled, wrapped, data):
    plain = f"{local}@{domain}"
    normal = normal_address(plain)
    assert normal == f"{local}@{punycode(domain)}"
    if not whole(spelled, local, domain):
        wrapped = data.draw(st.sampled_from(WRAPPED[:7] + WRAPPED[13:20]))
    text = wrapped(spelled(local, domain))
    assert normal_address(text) == normal, text
    text = sprinkled(text, data.draw(st.sampled_from(UNSEEN)), data.draw(st.integers(0, 300)))
    blank = data.draw(st.sampled_from(BLANKS))
    assert normal_address(f"{blank}{text}{blank}") == normal, text
    assert normal_address(normal) == normal


DOMAIN_SPELLED: list[Callable[[str], str]] = [
    lambda domain: domain,
    punycode,
    str.upper,
    lambda domain: punycode(domain).upper(),
    lambda domain: unicodedata.normalize("NFD", domain),
    lambda domain: domain.replace(".", "\uff0e"),
]
DOMAIN_WRAPPED: list[Callable[[str], str]] = [
    lambda domain: domain,
    lambda domain: f"{domain}.",
    lambda domain: f".{domain}",
    lambda domain: f"@{domain}",
    lambda domain: f"*.{domain}",
    lambda domain: f"*@{domain}",
    lambda domain: f"@*.{domain}",
    lambda domain: f"{domain}/",
    lambda domain: f"{domain}:8080",
    lambda domain: f"//{domain}",
    lambda domain: f"http://{domain}",
    lambda domain: f"HTTPS://www.{domain}:443/a/@b?c=d@e#f",
    lambda domain: f"https:\\\\{domain}\\",
    lambda domain: f"http://https://{domain}./*",
    lambda domain: f"{domain}?a",
    lambda domain: f"www.{domain}",
    lambda domain: f"'{domain}'",
    lambda domain: f'"{domain}"',
    lambda domain: f"<{domain}>",
    lambda domain: f"{domain};",
    lambda domain: f"{domain} (closed)",
]


@QUICK
@given(domains, st.sampled_from(DOMAIN_SPELLED), st.sampled_from(DOMAIN_WRAPPED), st.data())
def test_every_spelling_of_a_domain_has_one_normal_form(domain, spelled, wrapped, data):
    text = wrapped(spelled(domain))
    assert normal_domain(text) == punycode(domain), text
    text = sprinkled(text, data.draw(st.sampled_from(UNSEEN)), data.draw(st.integers(0, 300)))
    blank = data.draw(st.sampled_from(BLANKS))
    assert normal_domain(f"{blank}{text}{blank}") == punycode(domain), text


plain_ones = st.tuples(
    st.text("a0!#$%&+/=?^_`{|}~-", max_size=3),
    st.sampled_from(["a", "0", "a.b", "a.0+"]),
    st.sampled_from(["@x.yz", "@x-y.zz", "@a.b.cc"]),
).map("".join)


@QUICK
@given(plain_ones, plain_ones)
def test_two_plain_addresses_are_two_people(one, other):
    assert normal_address(one) == one
    assert (normal_address(one) == normal_address(other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ann+news@shop.example", "ann@shop.example"),
        ("an.n@gmail.com", "ann@gmail.com"),
        ("ann@shop.example", "ann@mail.shop.example"),
        ("ann@www.shop.example", "ann@shop.example"),
        ("ann@fa\u00df.de", "ann@fass.de"),
        ("\u0430nn@shop.example", "ann@shop.example"),
        ("ann\u0131@shop.example", "anni@shop.example"),
        ("ren\u00e9@shop.example", "rene@shop.example"),
        ("o'brien@shop.example", "obrien@shop.example"),
        ('"ann lee"@shop.example', "annlee@shop.example"),
        ("ann@[192.0.2.1]", "ann@[192.0.2.2]"),
    ],
)
def test_different_mailboxes_stay_different(one, other):
    assert None is not normal_address(one) != normal_address(other) is not None


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("o\u2019brien@shop.example", "o'brien@shop.example"),
        ("'o'brien@shop.example'", "o'brien@shop.example"),
        ("'ann@shop.example", "ann@shop.example"),
        ('""ann@shop.example""', "ann@shop.example"),
        ("Friends: ann@shop.example;", "ann@shop.example"),
        ('"ann@shop.example" <Ann@Shop.example>', "ann@shop.example"),
        ('"Ann Lee"@shop.example', '"ann lee"@shop.example'),
        ('" ann\\ lee "@shop.example', '"ann lee"@shop.example'),
        ('"a\\"\\\\b"@shop.example', '"a\\"\\\\b"@shop.example'),
        ('"ann@home"@shop.example', '"ann@home"@shop.example'),
        ('"a..b"@shop.example', '"a..b"@shop.example'),
        ("\u0130lker@shop.example", "ilker@shop.example"),
        ("I\u0307lker@shop.example", "ilker@shop.example"),
        ("i\u0307lker@\u0130x.example", "ilker@ix.example"),
        ("STRASSE@shop.example", "strasse@shop.example"),
        ("stra\u00dfe@shop.example", "strasse@shop.example"),
        ("\u039f\u03a3@shop.example", "\u03bf\u03c3@shop.example"),
        ("\u03bf\u03c2@shop.example", "\u03bf\u03c3@shop.example"),
        ("\ufb01nn@shop.example", "finn@shop.example"),
        ("ann@a_b.example", "ann@a_b.example"),
        ("ann@r3---s.example", "ann@r3---s.example"),
        ("ann@localhost", "ann@localhost"),
        ("ann@192.0.2.1", "ann@[192.0.2.1]"),
        ("ann@[192.0.2.1]", "ann@[192.0.2.1]"),
        ("ann@[2001:DB8:0::1]", "ann@[2001:db8::1]"),
        ("ann@'shop.example'", "ann@shop.example"),
        (", ;ann@shop.example;,.", "ann@shop.example"),
        ("(at work) ann@shop.example", "ann@shop.example"),
        ("ann(a \\) b)@shop.example", "ann@shop.example"),
        ('"ann(1)"(at work)@shop.example', '"ann(1)"@shop.example'),
        ('"a\\"(b"(at work)@shop.example', '"a\\"(b"@shop.example'),
        ("ann@\tshop.example <ann @ shop.example>", "ann@shop.example"),
        ("ann@" + "y." * 123 + "example", "ann@" + "y." * 123 + "example"),
        ("A" * 981 + " <ann@shop.example>", "ann@shop.example"),
        ("ann@xn--" + "a" * 55 + "-8yf.example", "ann@xn--" + "a" * 55 + "-8yf.example"),
        ("x" * 64 + "@" + "y" * 63 + ".example", "x" * 64 + "@" + "y" * 63 + ".example"),
    ],
)
def test_an_address_with_something_odd_in_it(text, normal):
    assert normal_address(text) == normal
    assert normal_address(normal) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\u200b",
        "ann",
        "Ann Lee",
        "@",
        "ann@",
        "@shop.example",
        "*@shop.example",
        "an*@shop.example",
        "%@shop.example",
        "-@shop.example",
        "ann@shop.example bob@corp.example",
        "ann@shop.example, bob@corp.example",
        "ann@shop.example; bob@corp.example",
        "ann@shop.example\nbob@corp.example",
        "ann@shop.example/bob@corp.example",
        "ann@shop.example|bob@corp.example",
        "ann@shop.example\uff0cbob@corp.example",
        "<ann@shop.example><bob@corp.example>",
        "<ann@shop.example>, Bob <bob@corp.example>",
        "Bob bob@corp.example <ann@shop.example>",
        '"bob@corp.example" <ann@shop.example>',
        "ann@shop.example (bob@corp.example)",
        "ann(bob@corp.example)@shop.example",
        "ann@shop.example <bob@corp.example>",
        "mailto:ann@shop.example,bob@corp.example",
        "mailto:ann@shop.example?cc=bob@corp.example",
        "mailto:ann@shop.example?cc=bob%40corp.example",
        "Friends: ann@shop.example, bob@corp.example;",
        "ann@@shop.example",
        "ann@shop@example",
        "Ann Lee ann@shop.example",
        "ann@shop.example Ann Lee",
        "ann lee@shop.example",
        "ann\u00a0lee@shop.example",
        "<ann@shop.example> Ann",
        "ann@shop.example (unclosed",
        "(ann@shop.example)",
        "ann at shop.example",
        ".ann@shop.example",
        "ann.@shop.example",
        "an..n@shop.example",
        "ann@.shop.example",
        "ann@shop..example",
        "ann@-shop.example",
        "ann@shop-.example",
        "ann@shop.example/",
        "ann@shop.example:25",
        "ann@sh!op.example",
        "ann@12345",
        "ann@300.0.2.1",
        "ann@[shop.example]",
        "ann@[fe80::1%eth0]",
        "ann@\U0001f4a9.example",
        "ann@xn--.example",
        "ann@xn--\u0431.example",
        "ann@shop.ex\ufffdmple",
        "\u2022ann@shop.example",
        "ann\ufffd@shop.example",
        "\U0001f600@shop.example",
        "''@shop.example",
        '"mailto:ann"@shop.example',
        "ann@" + "y" * 64 + ".example",
        "ann@" + "\u00fc" * 64 + ".example",
        "ann@xn--" + "a" * 60 + ".example",
        "ann@" + "y." * 123 + "examples",
        "A" * 982 + " <ann@shop.example>",
        "X ann@shop.example",
        "x" * 1_000 + "@shop.example",
    ],
)
def test_what_is_not_exactly_one_address(text):
    assert normal_address(text) is None


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("localhost", "localhost"),
        (".example", "example"),
        ("www.example", "www.example"),
        ("192.0.2.1", "[192.0.2.1]"),
        ("https://192.0.2.1:8080/", "[192.0.2.1]"),
        ("@[192.0.2.1]", "[192.0.2.1]"),
        ("2001:db8:0::1", "[2001:db8::1]"),
        ("http://[2001:db8::1]:25/", "[2001:db8::1]"),
        ("192.0.2.1.", "[192.0.2.1]"),
        ("'corp.example'.", "corp.example"),
        ("corp.example\u2026", None),
        ("corp.example/" + "x" * 987, "corp.example"),
        ("corp.example/" + "x" * 988, None),
        ("fe80::1%eth0", None),
        ("fa\u00df.de", "xn--fa-hia.de"),
        ("fass.de", "fass.de"),
        ("\u0130x.example", "ix.example"),
        ("xn--ix-rub.example", "ix.example"),
        ("", None),
        ("\u200b", None),
        (".", None),
        ("-", None),
        ("http://", None),
        ("https:", None),
        ("ann@corp.example", None),
        ("https://ann@corp.example/", None),
        ("mailto:ann@corp.example", None),
        ("corp.example rival.example", None),
        ("corp.example, rival.example", None),
        ("corp.example\nrival.example", None),
        ("corp example", None),
        ("corp..example", None),
        ("12345", None),
        ("90000001", None),
        ("corp.*", None),
        ("c%rp.example", None),
        ("corp.example:https", None),
        ("y." * 1_001, None),
    ],
)
def test_a_domain_with_something_odd_in_it(text, normal):
    assert normal_domain(text) == normal
    assert normal is None or normal_domain(normal) == normal


ODD = st.text(
    st.sampled_from("aA1@.<>()\"'\\,;:? %*-_+/[]\u0130\u00df\u0307\ufb01\u200b\u3002\uff20\ud800\u00a8")
    | st.characters()
)
NEAR = st.lists(
    st.sampled_from(
        [
            "ann",
            "@",
            "shop.example",
            "mailto:",
            "xn--",
            "bcher-kva",
            "%40",
            "%25",
            ".",
            "<",
            ">",
            "(",
            ")",
            '"',
            "'",
            "\\",
            " ",
        ]
    )
    | ODD,
    max_size=9,
).map("".join)


@QUICK
@given(ODD | NEAR)
def test_any_text_has_a_normal_form_that_is_its_own_or_none(text):
    for normal in (normal_address, normal_domain):
        form = normal(text)
        assert form is None or normal(form) == form


@pytest.mark.parametrize("text", [given_ for given_, _ in VECTORS["email"] if isinstance(given_, str)])
def test_the_normal_form_is_that_of_the_address_that_the_mapping_finds(text):
    found, form = email(text), normal_address(text)
    if found is not None and form is not None:
        local, _, domain = found.rpartition("@")
        assert form == normal_address('"' + local.replace("\\", "\\\\").replace('"', '\\"') + f'"@{domain}')
