"""What SQL of users may name where it could reach more than tables."""

from __future__ import annotations

import duckdb
import pytest

from icontact_assets.warehouse.closed import check_closed

METADATA = "__ducklake_metadata_warehouse_file"


@pytest.mark.parametrize(
    "sql",
    [
        "FROM icontact_profiles",
        'SELECT * FROM "icontact".icontact_profiles p JOIN other.icontact_activity USING (ic_contact_id)',
        "SELECT p.a FROM icontact_profiles p, range(3), generate_series(1, 2), unnest([1]) WHERE a IN (1, 2)",
        "WITH a AS (SELECT 1) FROM a WHERE EXISTS (FROM audience_on('x', current_date))",
        "SELECT a FROM icontact_profiles WHERE b = 'http://x.example/y.parquet'",
        "FROM (VALUES (1)) AS t (a)",
    ],
)
def test_tables_and_harmless_functions_may_be_named(sql: str) -> None:
    check_closed(duckdb.connect(), sql)


@pytest.mark.parametrize(
    "source",
    [
        f"postgres_query('{METADATA}', 'SELECT 1')",
        "postgres_scan('host=x', 'public', 't')",
        "POSTGRES_QUERY('x', 'y')",
        f'"{METADATA}".ducklake_snapshot',
        f'"{METADATA}".public.ducklake_snapshot',
        f'"{METADATA.upper()}".public.ducklake_snapshot',
        "'data/icontact/x.parquet'",
        "'s3://bucket/x.parquet'",
        "read_parquet('x')",
        "read_text('/etc/passwd')",
        "glob('*')",
        "query('SELECT 1')",
        "query_table('x')",
        "duckdb_secrets()",
        "ducklake_list_files('x', 'y')",
        "parquet_metadata('x')",
    ],
)
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a FROM {}",
        "WITH a AS (FROM {}) FROM icontact_profiles",
        "SELECT a FROM icontact_profiles WHERE a > (SELECT max(a) FROM {})",
        "FROM icontact_profiles ORDER BY (SELECT a FROM {})",
        "FROM icontact_profiles JOIN {} USING (a)",
        "FROM icontact_profiles UNION ALL FROM {}",
        "SELECT [x FOR x IN (SELECT list(a) FROM {})]",
        "SELECT sum(a) FILTER (WHERE a IN (FROM {})) OVER (ORDER BY (SELECT 1 FROM {})) FROM icontact_profiles",
    ],
)
def test_nothing_else_may_be_named_anywhere(sql: str, source: str) -> None:
    with pytest.raises(duckdb.PermissionException):
        check_closed(duckdb.connect(), sql.replace("{}", source))


@pytest.mark.parametrize("sql", ["PIVOT x ON y USING count(*)", "DROP TABLE x", "SELECT FROM"])
def test_what_cannot_be_checked_is_refused(sql: str) -> None:
    with pytest.raises(duckdb.PermissionException, match="cannot be checked"):
        check_closed(duckdb.connect(), sql)
