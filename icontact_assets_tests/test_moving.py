"""docs/moving-from-lytics.md: every field is in it, and each rule of a segment is a condition that means the same."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest
import yaml

from icontact_assets.assets.mapped import mapped_columns
from icontact_assets.mapping.build import build_activity, build_users
from icontact_assets.mapping.expressions import field_table, source_text
from icontact_assets.mapping.people import build_people
from icontact_assets.settings.load import load_settings
from icontact_assets_tests.mapping.test_build import add_contact, add_event, fresh
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


def test_its_examples_load_and_choose(tmp_path: Path) -> None:
    [config] = blocks("yaml", [PAGE])
    (tmp_path / "icontact.yaml").write_text(config)
    recent, loyal = load_settings({}, tmp_path).audiences
    links, people, sizes = blocks("sql", [PAGE])
    with fresh() as connection:
        add_contact(connection, id="1", email="ann@example.com", city="Raleigh")
        add_contact(connection, id="2", email="Ann@example.com", city="Cary", create_date="2026-01-01")
        for number in range(4):
            url = f"http://www.example.com/offers?{number}"
            add_event(connection, "click", str(1 + number // 3), NOW - timedelta(days=number), url)
        add_event(connection, "click", "1", NOW, "https://www.example.com/offers")
        build_users(connection)
        build_activity(connection)
        build_people(connection, ["icontact"])
        assert connection.execute(links).fetchall() == [("1",)]
        assert connection.execute(people).fetchall() == [("2",)]
        assert connection.execute(loyal.query or "").fetchall() == [("2",)]
        chosen = f"SELECT ic_contact_id FROM icontact_profiles WHERE {recent.where}"
        assert connection.execute(chosen).fetchall() == [("1",)]
        connection.execute("INSERT INTO audience_members VALUES ('loyal', '2', now()::TIMESTAMP)")
        assert connection.execute(sizes).fetchall() == [("loyal", 1)]
