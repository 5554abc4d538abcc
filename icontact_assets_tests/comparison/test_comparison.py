"""A comparison: an export that equals our profiles shows no difference, and each cause that is planted is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from icontact_assets.comparison.causes import Cause
from icontact_assets.comparison.comparison import Comparison
from icontact_assets.comparison.export_file import read_export
from icontact_assets.comparison.pairs import Pairs
from icontact_assets.comparison.values import READING, fields, ours, theirs
from icontact_assets.comparison.verdict import Rule, verdict
from icontact_assets_tests.comparison.world import (
    Row,
    World,
    csv_text,
    iso,
    json_array,
    json_lines,
    marked,
    seconds,
    zipped,
)
from icontact_assets_tests.harness import Store


@pytest.fixture
def world(store: Store, tmp_path: Path) -> World:
    return World(store, tmp_path)


def people(world: World) -> World:
    """Three contacts with everything, little and nothing, and activity of one that is no contact."""
    names = ("prefix", "first_name", "last_name", "suffix", "street", "street_line_2", "city", "state", "fax", "phone")
    world.contact(
        "70010001",
        email="Ann.Lee@Example.COM",
        **{name: f'Ann\'s "{name}",; \t[1]' for name in names},
        postal_code="00501",
        business="Müller & Söhne\nBerlin",
        status="normal",
        bounce_count="2",
        create_date="2026-01-05 10:00:00",
    )
    world.contact("70010002", email="bob@bob..com", first_name=" Bob ", create_date="2026-07-01 23:30:00")
    world.contact("70010003", email="Carla <Carla@Mail.Shop.example>", status="bounced")
    for kind in ("open", "click", "bounce", "unsubscribe"):
        for at in ("05-01 09:00", "05-02 10:00:01"):
            world.event("70010001", kind, at, "https://a.example/x" if kind == "click" else None)
    world.event("70010001", "click", "05-03 10:00", "https://a.example/y", times=2)
    world.event("70010002", "click", "05-01 10:00", "https://www.example.com/offers/")
    world.event("70010004", "open", "05-03 00:00")
    return world


def differences(found: Comparison) -> dict[str, dict[str, int]]:
    """For each field that differs the causes."""
    return {field.name: {one.cause.name: one.count for one in field.causes} for field in found.fields if field.unlike}


FORMS: list[tuple[Callable[[list[Row]], bytes], Callable[[datetime], Any]]] = [
    (csv_text, iso),
    (zipped, lambda at: f"{at}"),
    (lambda rows: b"\xef\xbb\xbf" + csv_text(rows, ";", "\r\n"), lambda at: f"{at - timedelta(hours=4)}-04:00"),
    (json_lines, seconds),
    (marked, lambda at: seconds(at) * 1000),
    (json_array, lambda at: f"{at} +0000 UTC"),
]
"""What a file is, and how it writes times."""


def test_an_export_that_equals_ours_shows_no_difference_in_any_form(world: World) -> None:
    people(world).build()
    profiles = world.export()
    found = world.compare(profiles)
    assert differences(found) == {}
    assert [found.export.rows, found.pairs.here, found.compared, found.pairs.by_id] == [4] * 4
    assert Rule().beyond(found) == ()
    equal = {field.name: field.equal for field in found.fields}
    assert len(equal) == 34
    assert equal == Counter(name for row in profiles.values() for name in row)

    for content, world.time in FORMS:
        path = world.file([*world.export().values()], content)
        with world.store.warehouse.read() as connection:
            for signature, body in READING.items():
                connection.execute(f"CREATE OR REPLACE TEMP MACRO {signature} AS {body}")
            assert read_export(connection, path, {}).fields == tuple(fields())
            values = ", ".join(theirs(fields()[name], name) for name in fields())
            said = connection.execute(f"SELECT {values} FROM temp.there ORDER BY 1").fetchall()
            values = ", ".join(ours(fields()[name], name) for name in fields())
            assert said == connection.execute(f"SELECT {values} FROM icontact_profiles ORDER BY 1").fetchall()


def test_profiles_are_told_by_id_then_by_an_address_that_nobody_else_has(world: World) -> None:
    addresses = {
        "1": "one@example.com", "2": "two@example.com", "3": "three@example.com", "4": "four@example.com",
        "5": "same@example.com", "6": "same@example.com", "7": "seven@example.com", "8": "eight@example.com",
        "9": "nine@example.com",
    }  # fmt: skip
    for id_, address in addresses.items():
        world.contact(id_, email=address, create_date="2026-01-01 00:00:00")
    world.contact("10", email="ten@example.com", create_date="2026-06-09 20:00:01")
    world.event("11", "open", "06-10 00:00:01")
    for contact in ("1", "12"):
        world.event(contact, "open", "05-01 00:00")
    world.build()
    world.store.insert("import_coverage", resource="activity", message_id="501", kind="opens", status="failed")
    opened = dict.fromkeys(("email_first_open_ts", "email_last_open_ts"), "2026-05-01T00:00:00Z")
    theirs: list[Row] = [
        {"ic_contact_id": " 0001.0 ", "email": "other@example.com", "email_open_ct": 2, **opened},
        {"ic_contact_id": 2.0, "email": None},
        {"email": "<Three@EXAMPLE.com>"},
        {"ic_contact_id": "44", "email": "four@example.com"},
        {"email": "same@example.com"},
        {"ic_contact_id": "7"},
        {"ic_contact_id": "7", "email": "seven@example.com"},
        {"email": "eight@example.com"},
        {"email": "Eight@example.com"},
        {"email": "one@example.com"},
        {"email": "nobody@example.com"},
        {"ic_contact_id": "99", "email": "gone@example.com"},
        {"ic_contact_id": "98", "last_active_ts": "2020-01-01T00:00:00Z"},
        {"ic_contact_id": "unknown"},
    ]
    found = world.compare(world.file(theirs))
    assert found.pairs == Pairs(
        there=14,
        here=12,
        by_id=2,
        by_address=2,
        same_id_there=2,
        same_address_there=4,
        same_id_here=1,
        same_address_here=3,
    )
    told = [{one.cause: (one.count, one.contact_ids) for one in side} for side in (found.only_there, found.only_here)]
    assert told == [
        {Cause.NO_ID: (1, ()), Cause.UNKNOWN: (2, ("99",)), Cause.OLDER: (1, ("98",))},
        {Cause.NEWER: (2, ("10", "11")), Cause.UNKNOWN: (2, ("12", "9"))},
    ]
    assert differences(found)["ic_contact_id"] == {"UNKNOWN": 2}
    # Rows may be missing here, so that a higher count there proves nothing.
    assert differences(found)["email_open_ct"] == {"UNKNOWN": 1}
    assert [note.partition(".")[0] for note in found.notes] == [
        "Listings of activity that are not completely read here: 1"
    ]
    assert found.profiles_percent == 100 * (2 + 2 + 2 + 4) / (14 + 12 - 4)
    assert Rule({"ic_contact_id": 50.0, "email": 75.0}, 45.0).beyond(found) == (
        "profiles",
        "email_open_ct",
        "last_active_ts",
    )
    allowed = verdict(found, Rule({"profiles": 45.5, "email": 75.0}, 100.0))
    assert (allowed.good, allowed.headline) == (True, "What differs without an explanation is allowed.")
