"""The suppression list: who is on it under any spelling, and that nothing on it is taken silently."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icontact_assets.exports.consent import Suppressed
from icontact_assets.exports.suppression import SuppressionError, SuppressionList, read_suppression_list
from icontact_assets.settings.models import Suppression

NO_TABLES = duckdb.connect()


def read(path: Path, content: str | bytes) -> SuppressionList:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_suppression_list(Suppression(file=path), NO_TABLES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "never.csv"


@pytest.mark.parametrize(
    "content",
    [
        "contact_id,email,domain\n7,,\n,ann@shop.example,\n,,corp.example\n",
        "domain,contact_id,email\n,7,\n,,ann@shop.example\ncorp.example,,\n",
        "contact_id,email,domain\n7,ann@shop.example,corp.example\n",
        "\ufeffContact_ID, E\ufeffmail ,'DOMAIN'\n7,ann@shop.example,corp.example\n",
        '"contact_id","email","domain"\n"007.0","Ann Lee <ANN@shop.example>","https://www.corp.example/"\n',
        "contact_id,email,domain\r7,ann@shop.example,\r,,.corp.example.\r",
        "\n\r\ncontact_id,email,domain\r\n\r\n+7,ann@shop.example,\r\n , ,\r\n \r\n\r\n,,@corp.example\r\n",
        'contact_id,email,domain\n7,"ann@shop.example\n",*.corp.example\n',
        "contact_id,email,domain\n\ufeff7,\ufeffann@shop.example,corp.example\u200b",
    ],
)
def test_a_list_is_read_whole_in_every_form_of_csv(path, content):
    listed = read(path, content)
    assert listed == SuppressionList(frozenset({"7"}), frozenset({"ann@shop.example"}), frozenset({"corp.example"}))


def test_a_list_with_nobody_on_it_is_empty_and_without_one_nobody_is(path):
    assert read(path, "email\n") == read(path, "contact_id,email,domain\n\n,,\n") == SuppressionList()
    assert read_suppression_list(None, NO_TABLES) == SuppressionList()


KNOWN = "these are known: "
FLOAT_IDS = (
    "The column contact_id of the suppression list never is of the type FLOAT, which does not hold every id exactly. "
    "Make it a VARCHAR or BIGINT."
)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty. It must begin with a header of one or more of the columns contact_id, email, domain"),
        ("\ufeff\n \n", "is empty"),
        ("planted@b.example\n", f":1 does not fit: of its 1 columns, {KNOWN}none (no other name is shown)"),
        ("\nplanted@b.example,email\n", f":2 does not fit: of its 2 columns, {KNOWN}email (no other"),
        ("id\n1\n", f":1 does not fit: of its 1 columns, {KNOWN}none"),
        ("E-Mail\nplanted@b.example\n", ":1 does not fit"),
        ("email,name\nplanted@b.example,Ada\n", f"of its 2 columns, {KNOWN}email (no"),
        ("email,Email\n,\n", ":1 does not fit"),
        ("XEmail\nplanted@b.example\n", ":1 does not fit"),
        ("domain,email,name\n,,\n", f"of its 3 columns, {KNOWN}email, domain (no"),
        ("email,\nplanted@b.example,\n", ":1 does not fit"),
        ("email;domain\n", ":1 does not fit: of its 1 columns"),
        ("email\tdomain\n", "In a file, commas separate them."),
        ("email\nplanted\n", ":2: email is not exactly one address"),
        ("email\nplanted@b.example;1\n", ":2: email is not exactly one address"),
        ("email\nplanted@b.example\tAda\n", ":2: email is not exactly one address"),
        (
            "email\n\n\nplanted.example\n",
            ":4: email is not exactly one address. Write each address on its own line, and",
        ),
        ("email\n@planted.example\n", "and a domain in the column domain (the value is not shown)"),
        ("email\n*@planted.example\n", ":2: email is not"),
        ('email\n"planted@b.example, a@b.example"\n', ":2: email is not"),
        ('email\n"\nplanted@b.example\n, a@b.example"\n', ":2: email is not"),
        ("email\na@b.example\n\u200b\n", ":3: email is not"),
        ("contact_id\n1\n2x\n", ":3: contact_id is not a contact id. Write its digits (the value is not shown)"),
        ("contact_id\nplanted@b.example\n", ":2: contact_id is not"),
        ("contact_id\n9.0000801E+7\n", ":2: contact_id is not"),
        (f"contact_id\n{'9' * 5_000}\n", ":2: contact_id is not"),
        ("domain\nplanted@b.example\n", ":2: domain is not exactly one domain with a full stop in it"),
        ("domain\nplanted\n", ":2: domain is not"),
        ("domain\n*@planted\n", ":2: domain is not"),
        ("domain\n90000001\n", ":2: domain is not"),
        ("domain\nX.\n", ":2: domain is not"),
        ("domain\nplanted.example rival.example\n", ":2: domain is not"),
        ("contact_id,email\n1\n", ":2: the line has 1 values, the header 2"),
        ("email\nplanted@b.example,2\n", ":2: the line has 2 values, the header 1"),
        ('email\n"Ada" <planted@b.example>\n', ":2: what begins here is not CSV (',' expected after"),
        ('email\r\na@b.example\r\n"planted@b.example\r\nb@b.example\r\n', ":3: what begins here is not CSV (unexp"),
        (f"email\n{'planted' * 20_000}\n", ":2: what begins here is not CSV (field larger than field limit"),
        (b"email\n\xff\xfe\n", ":2: the line is not text in UTF-8. Save the suppression list as CSV in UTF-8"),
        (b"email\r\n\rr\xe9n\xe9@planted.example\n", ":3: the line is not text"),
        (b"email\nplanted\0@b.example\n\xff", ":2: the line is not text"),
        (b"\0email\n\xff\n", ":1: the line is not text"),
        (b"email\n\xff\nplanted\0@b.example\n", ":2: the line is not text"),
        ("email\nplanted@b.example\n".encode("utf-16"), ":1: the line is not text"),
        ("email\nplanted@b.example\n".encode("utf-16-le"), ":1: the line is not text"),
    ],
)
def test_what_is_on_a_list_and_no_person_is_an_error_of_file_and_line(path, content, says):
    with pytest.raises(SuppressionError) as caught:
        read(path, content)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "planted" not in str(caught.value).replace(str(path), "")
    assert "\n" not in str(caught.value)


def test_a_list_that_cannot_be_opened_is_an_error(tmp_path):
    cannot = {
        tmp_path / "missing.csv": "FileNotFoundError",
        tmp_path: "IsADirectoryError",
        tmp_path / ("x" * 5_000): "OSError",
        Path(f"{tmp_path}/a\0b"): "ValueError",
    }
    for path, why in cannot.items():
        with pytest.raises(SuppressionError) as caught:
            read_suppression_list(Suppression(file=path), NO_TABLES)
        assert f"cannot be read ({why}). Check that it exists and that this user may read it." in str(caught.value)


def table(columns: str, *rows: str, never: str = "never") -> SuppressionList:
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA icontact")
    connection.execute("USE icontact")
    connection.execute(f"CREATE TABLE icontact.never ({columns})")
    for row in rows:
        connection.execute(f"INSERT INTO icontact.never VALUES ({row})")
    connection.execute("CREATE VIEW icontact.broken AS SELECT CAST('planted' || now() AS INTEGER) AS email")
    connection.execute("CREATE TEMP TABLE passing (email VARCHAR)")
    return read_suppression_list(Suppression(table=never), connection)


def test_a_table_is_read_like_a_file():
    listed = table(
        "DOMAIN VARCHAR, contact_id DOUBLE, Email VARCHAR", "'.Corp.example', 7, NULL", "'', NULL, '<A@b.cc>'"
    )
    assert listed == SuppressionList(frozenset({"7"}), frozenset({"a@b.cc"}), frozenset({"corp.example"}))
    assert table("email VARCHAR", "'a@b.cc'", never="icontact.never").emails == {"a@b.cc"}
    assert table("contact_id BIGINT", "7", "NULL").contact_ids == {"7"}


@pytest.mark.parametrize(
    ("columns", "row", "never", "says"),
    [
        (
            "email VARCHAR, planted VARCHAR",
            "NULL, NULL",
            "never",
            f"list never does not fit: of its 2 columns, {KNOWN}email",
        ),
        ("email VARCHAR", "'planted'", "never", "never:1: email is not"),
        ("contact_id INTEGER", "-7", "never", "never:1: contact_id is not"),
        ("contact_id FLOAT", "7", "never", FLOAT_IDS),
        ("email VARCHAR", "'planted'", "broken", "The suppression list broken cannot be read: Conversion Error"),
        ("email VARCHAR", "NULL", "nobody", "There is no table nobody in the database"),
        ("email VARCHAR", "NULL", "passing", "There is no table passing in the database"),
    ],
)
def test_a_table_that_does_not_fit_is_an_error(columns, row, never, says):
    with pytest.raises(SuppressionError) as caught:
        table(columns, row, never=never)
    assert says in str(caught.value)
    assert "planted" not in str(caught.value)


def test_a_table_is_named_without_quotation_marks():
    with pytest.raises(ValueError, match=r"Write table, or schema\.table"):
        Suppression(table='ne"ver')


@pytest.mark.parametrize(
    ("contact_id", "email", "found"),
    [
        ("7", "zoe@fine.example", Suppressed.CONTACT_ID),
        ("007", "zoe@fine.example", Suppressed.CONTACT_ID),
        ("7", None, Suppressed.CONTACT_ID),
        ("8", " 'ANN'@Shop.example.\u200b", Suppressed.EMAIL),
        ("8", "zoe@corp.example", Suppressed.DOMAIN),
        ("8", "zoe@mail.CORP.example.", Suppressed.DOMAIN),
        ("8", "zoe@b\u00fccher.example", Suppressed.DOMAIN),
        ("8", "zoe@mail.xn--bcher-kva.example", Suppressed.DOMAIN),
        ("8", "zoe@192.0.2.1", Suppressed.DOMAIN),
        ("8", "zoe@a.b.ru", Suppressed.DOMAIN),
        ("8", '"zoe@fine.example"@corp.example', Suppressed.DOMAIN),
        ("8", "zoe@notcorp.example", Suppressed.NOT_LISTED),
        ("8", "corp.example@fine.example", Suppressed.NOT_LISTED),
        ("8", "ann+news@shop.example", Suppressed.NOT_LISTED),
        ("8", "zoe@shop.example", Suppressed.NOT_LISTED),
        ("8", None, None),
        ("8", "", None),
        ("8", "zoe", None),
        ("8", "zoe@fine.example, ann@shop.example", None),
    ],
)
def test_who_is_on_the_list(path, contact_id, email, found):
    listed = read(
        path, "contact_id,email,domain\n7,ann@shop.example,corp.example\n,,bücher.example\n,,192.0.2.1\n,,.ru\n"
    )
    assert listed.match(contact_id, email) is found


def test_a_domain_of_one_label_is_marked_and_an_ip_address_is_one(path):
    content = "domain\n.ru\n*.de\n@.fr\n '.it' \n192.0.2.1\n[2001:DB8::1]\nhttp://2001:db8::2/\n"
    assert read(path, content).domains == {"ru", "de", "fr", "it", "[192.0.2.1]", "[2001:db8::1]", "[2001:db8::2]"}


def test_without_addresses_and_domains_nobodys_address_is_asked_for(path):
    assert read(path, "contact_id\n7\n").match("8", None) is Suppressed.NOT_LISTED
    assert read(path, "email\na@b.cc\n").match("8", None) is None
    assert read(path, "domain\nb.cc\n").match("8", "zoe") is None
    assert SuppressionList().match("8", "zoe") is Suppressed.NOT_LISTED


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["contact_id", "email", "domain"]), st.text(max_size=20) | st.text("a@.7 \"'<>;,\n", max_size=12)
)
def test_any_cell_is_read_or_is_an_error_that_does_not_show_it(tmp_path_factory, name, cell):
    path = tmp_path_factory.getbasetemp() / "cell.csv"
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows([[name], [cell]])
    content = written.getvalue().encode(errors="surrogatepass")
    with contextlib.suppress(SuppressionError):
        listed = read(path, content)
        assert sum(map(len, (listed.contact_ids, listed.emails, listed.domains))) == bool(cell.strip())
        return
    with pytest.raises(SuppressionError) as caught:
        read(path, content)
    assert re.search(f"{path}:[0-9]+: ", str(caught.value))
    assert len(cell.strip()) < 9 or cell not in str(caught.value)
