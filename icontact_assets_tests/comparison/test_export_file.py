"""What a file must be, and what is said of one that is not."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from icontact_assets.comparison.export_file import ExportFile, ExportFileError, read_export
from icontact_assets.comparison.values import READING
from icontact_assets.comparison.verdict import Rule, RuleError


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        for signature, body in READING.items():
            connection.execute(f"CREATE TEMP MACRO {signature} AS {body}")
        yield connection


def read(connection: duckdb.DuckDBPyConnection, folder: Path, content: bytes, **renamed: str) -> ExportFile:
    path = folder / "profiles"
    path.write_bytes(content)
    return read_export(connection, path, renamed)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf \n", "is empty"),
        (b"planted@example.com,Ann\n", "Of the 2 columns of the export"),
        (b"email,city\na@example.com,Bonn\nplanted@example.com\n", "profiles:3: what is there cannot be read"),
        (b'email\n"planted@example.com\n', "profiles:2: "),
        (b"email,city\nplanted@example.com,\xff\n", "profiles:2: "),
        (b"email,city\xff\xff,fax\nplanted@example.com,,\n", "is not text in UTF-8"),
        (b"email,city,email\n", "several columns for email"),
        (b"email,x,x\n", "several columns for x"),
        (b"email,Mail\n", "has no column mail, which --column names"),
        (b'{"email": "planted@example.com"}\n{"email": "planted\n', "cannot be read (the text is not shown)"),
        (b'{"email": "planted@example.com"}\n["planted@example.com"]\n', "cannot be read (the text is not shown)"),
        (b'[{"email": "planted@example.com"}, 1', "cannot be read (the text is not shown)"),
        (b'{"mail": "planted@example.com", "e-mail": 1}\n', "Of the 2 columns"),
        (gzip.compress(b"email\n" + b"planted@example.com\n" * 9, mtime=0)[:-9], "cannot be read"),
        (b"\x1f\x8bemail", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said_without_its_text(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, content: bytes, says: str
) -> None:
    renamed = {"mail": "email"} if b"Mail" in content else {}
    with pytest.raises(ExportFileError) as raised:
        read(connection, tmp_path, content, **renamed)
    assert says in str(raised.value)
    assert "planted" not in str(raised.value)
    assert raised.value.__cause__ is None or "planted" not in str(raised.value.__cause__)


def test_columns_have_the_names_that_the_user_gives(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    content = b'mail;"a;b";city;planted@example.com\nann@example.com;7;;\n'
    found = read(connection, tmp_path, content, **{"mail": "email", "a;b": "email_open_ct"})
    assert found == ExportFile("CSV", ("email", "city", "email_open_ct"), ("<address>",), 1)
    assert connection.execute("SELECT n, email, city, email_open_ct FROM there").fetchall() == [
        (0, "ann@example.com", None, "7")
    ]
    with pytest.raises(ExportFileError, match=r"There is no field openings\. The fields are ic_contact_id, email, "):
        read(connection, tmp_path, content, mail="openings")


def test_a_file_that_is_not_there_is_named(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    for path in (tmp_path / "profiles", tmp_path):
        with pytest.raises(ExportFileError, match=f"{path} cannot be read"):
            read_export(connection, path, {})


@pytest.mark.parametrize("text", ["", "x", "-1", "101", "nan", "city", "city=", "town=1", "=1=1"])
def test_a_rule_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(RuleError, match=r"is no rule\. Write a number from 0 to 100"):
        Rule.parsed([text])


def test_a_rule_is_for_some_fields_and_for_the_others() -> None:
    assert Rule.parsed(["2", "city=0.5", "profiles=100"]) == Rule({"city": 0.5, "profiles": 100.0}, 2.0)
    assert Rule.parsed([]) == Rule({}, 0.0)
    with pytest.raises(RuleError):
        Rule.parsed(["city=1", "city=2"])
