"""Each column of `campaigns` of messages whose figures are known by hand."""

from __future__ import annotations

import pytest

from icontact_assets.reports.tables import CAMPAIGNS
from icontact_assets_tests.reports.world import World, utc

URL = "https://a.example/offer"


def one_message(world: World) -> None:
    """Sent to 12 people. The mail of 2 bounced, 4 opened, and 2 of those clicked. A scanner clicked too."""
    world.insert("raw_lists", list_id="7", name="Readers", observed_at=utc("01-01"))
    world.message(
        "1",
        "06-01 10:00",
        "7, 8",
        subject="June",
        message_name="june-1",
        delivered=10,
        bounces=2,
        opens_total=6,
        opens_unique=5,
        clicks_total=6,
        clicks_unique=3,
        unsubscribes=1,
        forwards=3,
        complaints=1,
    )
    for contact in ("11", "12"):
        world.event("1", contact, "bounce", "06-01 10:00:30")
    for contact, at in (("1", "06-01 10:30"), ("1", "06-01 11:00"), ("2", "06-01 12:00"), ("3", "06-02 10:00")):
        world.event("1", contact, "open", at)
    world.event("1", "4", "open", "06-05 10:00")
    # An equal line of a listing, which iContact counts once.
    world.event("1", "4", "open", "06-05 10:00", ordinal=1)
    world.event("1", "1", "click", "06-01 11:00:01", URL)
    world.event("1", "2", "click", "06-04 10:00:00", URL)
    world.event("1", "4", "unsubscribe", "06-05 10:01")
    world.scan("1", "5", "06-01 10:00:20")


def test_every_column_of_a_message_is_as_counted_by_hand(world: World) -> None:
    one_message(world)
    row = world.campaigns()["1"]
    assert tuple(row) == CAMPAIGNS.column_names
    differences = row.pop("differences")
    assert row == {
        "message_id": "1",
        "subject": "June",
        "name": "june-1",
        "lists": ["8", "Readers"],
        "first_send_at": utc("06-01 10:00"),
        "sent": 12,
        "delivered": 10,
        "bounces": 2,
        "unique_bounces": 2,
        "opens": 6,
        "unique_opens": 4,
        "clicks": 6,
        "unique_clicks": 3,
        "human_opens": 6,
        "human_unique_opens": 4,
        "human_clicks": 2,
        "human_unique_clicks": 2,
        "unsubscribes": 1,
        "complaints": 1,
        "forwards": 3,
        "open_rate": 0.4,
        "click_rate": 0.3,
        "click_to_open_rate": 0.75,
        "human_open_rate": 0.4,
        "human_click_rate": 0.2,
        "human_click_to_open_rate": 0.5,
        "bounce_rate": pytest.approx(2 / 12),
        "unsubscribe_rate": 0.1,
        # The third of six opens.
        "hours_to_half_of_opens": 2.0,
        "opens_1h": 2,
        "unique_opens_1h": 1,
        "clicks_1h": 4,
        "unique_clicks_1h": 1,
        "opens_24h": 4,
        "unique_opens_24h": 3,
        "clicks_24h": 5,
        "unique_clicks_24h": 2,
        "opens_72h": 4,
        "unique_opens_72h": 3,
        "clicks_72h": 6,
        "unique_clicks_72h": 3,
        "icontact_opens": 6,
        "icontact_unique_opens": 5,
        "icontact_clicks": 6,
        "icontact_unique_clicks": 3,
        "icontact_bounces": 2,
        "icontact_unsubscribes": 1,
        "read_through": None,
    }
    assert differences is None


def test_where_icontact_counts_otherwise_the_reason_is_said(world: World) -> None:
    world.message("1", "06-01 10:00", delivered=10, opens_total=3, clicks_total=0, bounces=0, unsubscribes=0)
    world.event("1", "1", "open", "06-01 11:00")
    world.event("1", "1", "click", "06-01 11:00:05", URL)
    for kind, statistic in (("opens", 3), ("clicks", 1), ("bounces", 0), ("unsubscribes", 0)):
        world.insert(
            "import_coverage",
            resource="activity",
            message_id="1",
            kind=kind,
            list_id="",
            status="complete",
            statistic=statistic,
            read_through=utc("06-03"),
        )
    row = world.campaigns()["1"]
    assert row["differences"] == "clicks: 1 stored, 0 by iContact (stale); opens: 1 stored, 3 by iContact (unexplained)"
    assert row["read_through"] == utc("06-03")


def test_a_message_that_was_never_sent_is_a_row_without_rates(world: World) -> None:
    world.message("1", subject="a draft", delivered=0, bounces=0)
    world.message("2", subject="cancelled")
    world.send("2", "06-01 10:00", status="cancelled")
    world.message("3", subject="planned")
    world.send("3", "07-01 10:00", released_at=None, scheduled_at=utc("07-01 10:00"), status="pending")
    found = world.campaigns()
    assert set(found) == {"1", "2", "3"}
    for row in found.values():
        assert {row[name] for name in ("opens", "clicks", "bounces", "unsubscribes")} == {0}
        empty = [name for name in row if "rate" in name or "hours" in name or name.endswith("h")]
        assert len(empty) > 18
        assert {row[name] for name in (*empty, "first_send_at", "lists", "sent", "delivered")} == {None}


def test_nothing_delivered_gives_no_rate(world: World) -> None:
    world.message("1", "06-01 10:00", delivered=0, bounces=2)
    for contact in ("1", "2"):
        world.event("1", contact, "bounce", "06-01 10:01")
    row = world.campaigns()["1"]
    assert (row["sent"], row["delivered"], row["bounce_rate"]) == (2, 0, 1.0)
    assert {row[name] for name in row if name.endswith("_rate") and name != "bounce_rate"} == {None}


def test_a_mail_that_bounced_twice_for_somebody_bounced_for_one(world: World) -> None:
    world.message("1", "06-01 10:00", delivered=9, bounces=1)
    world.event("1", "1", "bounce", "06-01 10:01")
    world.event("1", "1", "bounce", "06-01 10:01", ordinal=1)
    row = world.campaigns()["1"]
    assert (row["bounces"], row["unique_bounces"], row["delivered"], row["bounce_rate"]) == (2, 1, 9, 0.1)


def test_deleted_messages_and_contacts_and_unknown_ones_are_counted(world: World) -> None:
    world.contacts(["1"])
    world.contacts(["1"], "06-10", deleted=True)
    world.message("1", "06-01 10:00", deleted_at=utc("06-20"), subject="gone", delivered=10)
    world.send("2", "06-02 10:00", recipient_count=5)
    for message in ("1", "2", "3"):
        world.event(message, "1", "open", "06-02 11:00")
        world.event(message, "never seen", "open", "06-02 12:00")
    found = world.campaigns()
    assert {id_: (row["subject"], row["unique_opens"], row["open_rate"]) for id_, row in found.items()} == {
        "1": ("gone", 2, 0.2),
        "2": (None, 2, 0.4),
        "3": (None, 2, None),
    }


def test_figures_of_hours_that_are_not_over_are_not_known_yet(world: World) -> None:
    world.message("1", "06-29 12:00", delivered=10)
    world.event("1", "1", "open", "06-29 12:30")
    row = world.campaigns()["1"]
    assert (row["opens_1h"], row["opens_24h"], row["opens_72h"]) == (1, 1, None)


def test_a_message_sent_twice_counts_from_its_first_send(world: World) -> None:
    world.message("1", "06-02 10:00", "8")
    world.send("1", "06-01 10:00", "7", recipient_count=4)
    world.send("1", "06-01 09:00", "9", status="cancelled")
    row = world.campaigns()["1"]
    assert (row["first_send_at"], row["lists"], row["sent"]) == (utc("06-01 10:00"), ["7", "8"], 4)


def test_a_filter_keeps_to_the_messages_with_the_tag(world: World) -> None:
    world.message("1", "06-01 10:00", aids=["spring"])
    world.message("2", "06-01 10:00", aids=["summer"])
    world.message("3", "06-01 10:00")
    world.event("2", "1", "unsubscribe", "06-01 11:00")
    world.aid = "spring"
    assert set(world.campaigns()) == {"1"}


def test_an_account_with_nothing_has_no_rows(world: World) -> None:
    assert world.campaigns() == {}
    assert world.links() == []
    assert world.domains() == {}
    assert world.engagement() == {}
    assert world.list_health() == {}
    assert world.rows("engagement_changes") == []
