"""Links of messages whose clicks are known by hand."""

from __future__ import annotations

from icontact_assets.mapping.functions import hashedurls_key
from icontact_assets.reports.tables import LINKS
from icontact_assets_tests.reports.world import World, utc


def test_a_link_counts_by_message_and_over_all_messages(world: World) -> None:
    world.event("1", "1", "click", "06-01 10:00", "https://www.example.com/offer?a=1#top")
    world.event("1", "1", "click", "06-01 11:00", "http://www.example.com/offer?a=2")
    world.event("1", "2", "click", "06-01 09:00", "https://www.example.com/offer")
    world.event("2", "1", "click", "06-02 10:00", "https://www.example.com/offer")
    world.event("2", "1", "open", "06-02 09:00")
    rows = world.links()
    assert tuple(rows[0]) == LINKS.column_names
    key = hashedurls_key("https://www.example.com/offer")
    same = {"link": "www.example.com/offer", "hashedurls_key": key}
    first, second, over_all = rows
    assert first == {
        "message_id": "1",
        **same,
        "clicks": 3,
        "people": 2,
        "human_clicks": 3,
        "human_people": 2,
        "first_click_at": utc("06-01 09:00"),
        "last_click_at": utc("06-01 11:00"),
    }
    assert (second["message_id"], second["clicks"], second["people"]) == ("2", 1, 1)
    assert over_all == {
        "message_id": None,
        **same,
        "clicks": 4,
        "people": 2,
        "human_clicks": 4,
        "human_people": 2,
        "first_click_at": utc("06-01 09:00"),
        "last_click_at": utc("06-02 10:00"),
    }


def test_the_clicks_of_machines_are_told_apart(world: World) -> None:
    world.message("1", "06-01 10:00")
    world.scan("1", "1", "06-01 10:00:10")
    world.event("1", "2", "click", "06-01 15:00", "https://a.example/0")
    [row] = [row for row in world.links() if row["message_id"] == "1" and row["link"] == "a.example/0"]
    assert (row["clicks"], row["people"], row["human_clicks"], row["human_people"]) == (2, 2, 1, 1)


def test_links_without_host_and_path_are_one_row(world: World) -> None:
    world.event("1", "1", "click", "06-01 10:00", "mailto:planted@example.com")
    world.event("1", "2", "click", "06-01 10:00", "http://[broken")
    world.event("1", "2", "click", "06-01 10:01", None)
    world.event("1", "2", "click", "06-01 10:02", "https://a.example/%FF")
    rows = [row for row in world.links() if row["message_id"]]
    assert [(row["link"], row["clicks"], row["people"]) for row in rows] == [("a.example/\ufffd", 1, 1), (None, 3, 2)]
    assert [row["hashedurls_key"] for row in rows] == [hashedurls_key("https://a.example/%FF"), None]


def test_only_a_table_of_an_earlier_version_is_made_anew(world: World) -> None:
    world.event("1", "1", "click", "06-01 10:00", "https://a.example/0")
    oid = "SELECT table_oid FROM duckdb_tables() WHERE table_name = 'links' AND schema_name = current_schema()"
    assert len(world.links()) == 2
    with world.stored() as connection:
        made = connection.execute(oid).fetchall()
    assert len(world.links()) == 2
    with world.stored() as connection:
        assert connection.execute(oid).fetchall() == made
        connection.execute("ALTER TABLE links DROP COLUMN people")
    assert [row["people"] for row in world.links()] == [1, 1]
