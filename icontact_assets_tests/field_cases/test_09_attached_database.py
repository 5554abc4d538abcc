"""A session of one's own that attaches the file, under whatever name, is told the same as one that opens it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.warehouse import Warehouse


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("attached") / "warehouse.duckdb"
    for schema in ("icontact", "news"):
        warehouse = Warehouse(DatabaseFile(path), schema)
        with warehouse.write("test") as connection:
            at = datetime(2026, 9, 14, 12, tzinfo=UTC).replace(tzinfo=None)
            connection.execute(f"INSERT INTO {schema}.audience_computations VALUES ('everybody', ?, 'v', NULL)", [at])
            connection.execute(
                f"INSERT INTO {schema}.audience_changes SELECT 'everybody', range, 'entered', ?, 'v' FROM range(?)",
                [at, 3 if schema == "icontact" else 5],
            )
    return path


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("w", "w.icontact.audience_on"),
        ("w", "W . ICONTACT\n. audience_on "),
        ("w", '"w"."icontact"."audience_on"'),
        ("icontact", "icontact.icontact.audience_on"),
        ("Übersicht", "Übersicht.icontact.audience_on"),
        ('"the file"', '"the file".icontact.audience_on'),
    ],
)
def test_audience_on_works_under_whatever_name_the_file_is_attached(path: Path, name: str, call: str) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path}' AS {name} (READ_ONLY)")
        assert connection.execute(f"SELECT count(*) FROM {call}('everybody', DATE '2026-09-14')").fetchall() == [(3,)]
        assert len(connection.execute(f"FROM {call}(?, ?)", ["everybody", "2026-09-15"]).fetchall()) == 3
        [(both,)] = connection.execute(
            f"WITH a AS (FROM {call}('everybody', DATE '2026-09-14')) "
            f"SELECT count(*) FROM a SEMI JOIN {call}('everybody', DATE '2026-09-16') USING (contact_id)"
        ).fetchall()
        assert both == 3
        with pytest.raises(duckdb.Error, match="was not computed by the end of 2026-09-13"):
            connection.execute(f"FROM {call}('everybody', DATE '2026-09-13')")


def test_audience_on_works_where_the_file_is_opened_or_used(path: Path) -> None:
    question = "SELECT count(*) FROM {}audience_on('everybody', current_date)"
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute("USE warehouse.icontact")
        assert connection.execute(question.format("")).fetchall() == [(3,)]
        assert connection.sql(question.format("news.")).fetchall() == [(5,)]
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path}' AS w (READ_ONLY)")
        connection.execute("USE w")
        assert connection.sql(question.format("icontact.")).fetchall() == [(3,)]


def test_two_databases_in_one_query_are_never_mixed_up(path: Path) -> None:
    other = path.with_name("other.duckdb")
    Warehouse(DatabaseFile(other), "icontact").prepare()
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path}' AS w (READ_ONLY)")
        connection.execute(f"ATTACH '{other}' AS x (READ_ONLY)")
        day = "('everybody', current_date)"
        assert connection.execute(
            f"SELECT (SELECT count(*) FROM w.icontact.audience_on{day}), (SELECT count(*) FROM w.news.audience_on{day})"
        ).fetchall() == [(3, 5)]
        with pytest.raises(duckdb.Error, match="this query names several"):
            connection.execute(f"FROM w.icontact.audience_on{day} UNION ALL FROM x.icontact.audience_on{day}")
        with pytest.raises(duckdb.Error, match="was not computed"):
            connection.execute(f"FROM x.icontact.audience_on{day}")
