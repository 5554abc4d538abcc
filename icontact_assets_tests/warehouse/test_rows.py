"""Rows into and out of DuckDB: the same texts, in little memory."""

from __future__ import annotations

import subprocess
import sys

import duckdb
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from icontact_assets.warehouse.rows import each, texts

written = st.text(st.characters(exclude_categories=["Cs"])) | st.none()


@hypothesis_settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(written, written), max_size=20))
def test_texts_go_in_and_come_out_as_they_are(rows: list[tuple[str | None, str | None]]) -> None:
    with duckdb.connect() as connection:
        connection.register("given", texts({"a": (a for a, _ in rows), "b": [b for _, b in rows]}))
        assert list(each(connection, "FROM given WHERE ?", [True])) == rows


@pytest.mark.skipif(duckdb.__version__.startswith("1."), reason="DuckDB 1.5 imports it where a table is registered")
def test_neither_imports_pandas() -> None:
    program = """
import sys
import duckdb
from icontact_assets.warehouse.rows import each, texts
connection = duckdb.connect()
connection.register("given", texts({"n": map(str, range(25_000))}))
assert [int(n) for n, in each(connection, "FROM given")] == list(range(25_000))
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
