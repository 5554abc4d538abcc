"""How mail fares at receiving domains whose figures are known by hand."""

from __future__ import annotations

import pytest

from icontact_assets.reports.tables import DOMAINS
from icontact_assets_tests.reports.world import World, utc

BIG = [f"a{number}" for number in range(20)]
SMALL = [f"b{number}" for number in range(10)]
RARE = ["c0", "c1", "c2", "c3"]


def people(world: World) -> None:
    world.contacts(BIG, domain="Big.example")
    world.contacts(SMALL, domain="small.example")
    world.contacts(RARE, domain="rare.example")
    world.insert("raw_contacts", id="none", status="normal", observed_at=utc("01-01"))


def test_every_column_of_a_domain_is_as_counted_by_hand(world: World) -> None:
    people(world)
    world.on_list([*BIG, *SMALL])
    for message in ("1", "2"):
        world.message(message, f"06-0{message} 10:00", delivered=30)
        for number, contact in enumerate(BIG[:8]):
            world.event(message, contact, "open", f"06-0{message} 15:0{number}")
            world.event(message, contact, "open", f"06-0{message} 16:0{number}")
        world.event(message, BIG[0], "click", f"06-0{message} 15:00:05", "https://a.example/")
    world.event("1", BIG[19], "bounce", "06-01 10:01")
    world.event("1", BIG[0], "unsubscribe", "06-01 17:00")
    world.event("1", "c0", "open", "06-01 15:00")
    world.event("1", "unknown", "open", "06-01 15:00")
    found = world.domains()
    assert set(found) == {"big.example", "small.example", "(other)"}
    row = found["big.example"]
    assert tuple(row) == DOMAINS.column_names
    # The ends solve |rate - p| = 1.96 sqrt(p (1 - p) / n), by bisection.
    assert row == {
        "domain": "big.example",
        "contacts": 20,
        "deliveries": 39,
        "estimated_share": 0.0,
        "bounces": 1,
        "opens": 16,
        "clicks": 2,
        "unsubscribes": 1,
        "bounce_rate": pytest.approx(1 / 40),
        "bounce_rate_low": pytest.approx(0.004427, abs=1e-6),
        "bounce_rate_high": pytest.approx(0.128814, abs=1e-6),
        "open_rate": pytest.approx(16 / 39),
        "open_rate_low": pytest.approx(0.270793, abs=1e-6),
        "open_rate_high": pytest.approx(0.565814, abs=1e-6),
        "click_rate": pytest.approx(2 / 39),
        "click_rate_low": pytest.approx(0.014178, abs=1e-6),
        "click_rate_high": pytest.approx(0.168856, abs=1e-6),
        "unsubscribe_rate": pytest.approx(1 / 39),
        "unsubscribe_rate_low": pytest.approx(0.004541, abs=1e-6),
        "unsubscribe_rate_high": pytest.approx(0.131810, abs=1e-6),
    }
    # Too few deliveries for a rate.
    small = found["small.example"]
    assert (small["contacts"], small["deliveries"]) == (10, 20)
    assert {small[name] for name in small if "_rate" in name} == {None}
    # Domains of few people, no address, and people that no contact shows.
    assert (found["(other)"]["contacts"], found["(other)"]["opens"], found["(other)"]["deliveries"]) == (5, 2, 2)


def test_of_a_message_to_unknown_people_each_domain_has_its_share(world: World) -> None:
    people(world)
    world.message("1", "06-01 10:00", "77", delivered=350)
    found = world.domains()
    assert {name: (row["deliveries"], row["estimated_share"]) for name, row in found.items()} == {
        "big.example": (200, 1.0),
        "small.example": (100, 1.0),
        "(other)": (50, 1.0),
    }


def test_a_domain_where_all_mail_bounces_shows_that(world: World) -> None:
    world.contacts(BIG, domain="big.example")
    world.on_list(BIG)
    for message in ("1", "2"):
        world.message(message, f"06-0{message} 10:00", bounces=20, delivered=0)
        for contact in BIG:
            world.event(message, contact, "bounce", f"06-0{message} 10:01")
    row = world.domains()["big.example"]
    assert (row["deliveries"], row["bounces"], row["bounce_rate"], row["bounce_rate_high"]) == (0, 40, 1.0, 1.0)
    assert (row["open_rate"], row["estimated_share"]) == (None, None)


def test_the_latest_address_counts_and_a_deleted_contact_stays(world: World) -> None:
    world.contacts(BIG, domain="former.example")
    world.contacts(BIG, "02-01", domain="big.example")
    world.contacts(BIG[:3], "03-01", domain="big.example", deleted=True)
    assert {name: row["contacts"] for name, row in world.domains().items()} == {"big.example": 20}


def test_a_domain_is_what_follows_the_last_at(world: World) -> None:
    addresses = {
        "Somebody <x@Named.Example>": "named.example",
        " x@blank.example ": "blank.example",
        "x@y@last.example": "last.example",
        "no address": "(other)",
        "": "(other)",
        None: "(other)",
    }
    for number, address in enumerate(5 * list(addresses)):
        world.insert("raw_contacts", id=str(number), email=address, observed_at=utc("01-01"))
    found = {name: row["contacts"] for name, row in world.domains().items()}
    assert found == {"named.example": 5, "blank.example": 5, "last.example": 5, "(other)": 15}
