"""docs/moving-from-lytics.md: every field is in it, and each rule of a segment is a condition that means the same."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest
import yaml

from icontact_assets.assets.mapped import mapped_columns
from icontact_assets.mapping.expressions import field_table, source_text
from icontact_assets_tests.harness import Project
from icontact_assets_tests.test_docs import DOCS, blocks

PAGE = DOCS / "moving-from-lytics.md"
STREAMS = ("icontact_users", "icontact_activity")
NOW = datetime.now()
READER = {
    "email": "ann@example.com",
    "email_domain": "example.com",
    "ic_status": "normal",
    "city": "Raleigh",
    "last_name": "Lee",
    "region": "NC",
    "postal_code": "27601",
    "phone": "919",
    "ic_bounce_count": "2",
    "email_open_ct": 2,
    "email_click_ct": 2,
    "channels": ["email"],
    "hashedurls": {"-3268356259511631509": 2},
    **dict.fromkeys(("last_active_ts", "email_last_open_ts", "email_last_click_ts"), NOW - timedelta(days=3)),
    "ic_user_created": datetime(2026, 1, 5),
    "last_channel_activities": {"email": NOW - timedelta(days=3)},
}
SLEEPER = {"email_last_click_ts": NOW - timedelta(days=200)}


def table(page: Path, head: str) -> list[list[str]]:
    """The cells of the tables with this head."""
    found = re.findall(rf"^\| {re.escape(head)} \|.*\n\|[ |-]+\|\n((?:\|.*\n)+)", page.read_text(), re.MULTILINE)
    return [
        [cell.strip() for cell in re.split(r" \| ", row.strip("| "))] for rows in found for row in rows.splitlines()
    ]


def test_every_field_is_named_with_its_types() -> None:
    theirs = {row["field"]: row["type"] for name in STREAMS for row in yaml.safe_load(source_text(name))}
    ours = {field.name: field.sql_type for name in STREAMS for field in field_table(name)}
    rows = table(PAGE, "Field | In Lytics | Here | What may differ")
    assert {name.strip("`"): (left, right) for name, left, right, _ in rows} == {
        name: (theirs[name], ours[name]) for name in ours
    }
    assert len(rows) == 35


RULES = table(PAGE, "Rule | FilterQL | `where:` | Without")


@pytest.fixture(scope="module")
def people() -> duckdb.DuckDBPyConnection:
    """Somebody who reads, somebody who does not any more, and somebody without any field."""
    connection = duckdb.connect()
    columns = mapped_columns("icontact_profiles")
    connection.execute(f"CREATE TABLE profiles (who VARCHAR, {', '.join(f'{c.name} {c.type}' for c in columns)})")
    for who, fields in (("reader", READER), ("sleeper", SLEEPER), ("without", {})):
        row = {"who": who, **fields}
        connection.execute(
            f"INSERT INTO profiles ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values())
        )
    return connection


@pytest.mark.parametrize("rule", RULES, ids=[rule[0].replace(" ", "_") for rule in RULES])
def test_a_rule_is_about_its_field_and_takes_those_without_it_as_said(
    people: duckdb.DuckDBPyConnection, rule: list[str]
) -> None:
    _, _, where, without = rule
    rows = people.execute(f"SELECT who, coalesce({where.strip('`')}, false) FROM profiles").fetchall()
    found = {who: "in" if chosen else "out" for who, chosen in rows}
    assert found["without"] == without
    assert {found["reader"], found["sleeper"]} != {without}


def test_its_examples_run_and_load(imported: Project) -> None:
    [config] = blocks("yaml", [PAGE])
    imported.config = config
    assert [audience.name for audience in imported.settings.audiences] == ["active_in_raleigh", "loyal"]
    environment = imported.environment
    imported.config = config.replace("1300001", environment["ICONTACT_ACCOUNT_ID"]).replace(
        "7601", environment["ICONTACT_CLIENT_FOLDER_ID"]
    )
    imported.quick()
    assert imported.run('key:"icontact/icontact_people" or key:"icontact/audience_*"').success
    queries = blocks("sql", [PAGE])
    assert len(queries) == 3
    results = [imported.rows(query) for query in queries]
    assert results[1]
    assert results[2]
