"""Each cause that is planted in one side is named, with its exact profiles, and nothing else is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from icontact_assets.comparison.causes import Cause
from icontact_assets.mapping.functions import hashedurls_key
from icontact_assets_tests.comparison.world import READ, Row, World, changed, iso, seconds, utc
from icontact_assets_tests.harness import Store

LINKS = [hashedurls_key(f"https://a.example/{letter}") for letter in "abcdefgh"]
ACTED = ("last_active_ts", "last_channel_activities")
OLD = "2019-03-01T12:00:00Z"


@dataclass
class Plant:
    """A contact of its own. `before` and `after` the export was made something happens here, and then the row of theirs
    is changed. `named` has for each cause the fields."""

    named: dict[Cause, tuple[str, ...]]
    change: Callable[[Row], Row] = lambda row: {}
    before: tuple[tuple[Any, ...], ...] = ()
    after: tuple[tuple[Any, ...], ...] = ()
    created: str = "2026-05-01 10:00:00"
    read: datetime = READ
    later: Row = field(default_factory=dict)
    """The contact as it is read after the export."""


def links(row: Row, change: Callable[[int], int] = lambda times: times, more: Row | None = None) -> Row:
    return {key: change(times) for key, times in row["hashedurls"].items()} | (more or {})


def thousandth(at: str) -> datetime:
    """The instant that has as many milliseconds since 1970 as this one has seconds."""
    return datetime.fromtimestamp(seconds(utc(at)) / 1000, UTC).replace(tzinfo=None)


OPEN, CLICK = ("open", "05-02 10:00"), ("click", "05-03 10:00", "https://a.example/a")
SEVERAL = (CLICK, ("click", "05-04 10:00", "https://a.example/b"))
PLANTS = [
    Plant({Cause.NEWER: ("email_open_ct", "email_last_open_ts", *ACTED)}, before=(OPEN,), after=(("open", "06-10 00:00:01"),)),
    Plant(
        {Cause.NEWER: ("email_click_ct", "email_first_click_ts", "email_last_click_ts", "hashedurls", "channels", *ACTED)},
        after=(("click", "06-12 10:00", "https://a.example/a"), ("click", "06-13 10:00", "https://a.example/a")),
    ),
    Plant({Cause.NEWER: ("hashedurls", "email_click_ct", "email_last_click_ts", *ACTED)}, before=SEVERAL, after=(("click", "06-12 10:00", "https://a.example/c?q=1"),)),
    Plant({Cause.NEWER: ("city", "ic_status", "phone")}, later={"city": "Rome", "status": "bounced", "phone": "1"}),
    Plant(
        {Cause.IDENTICAL_ROWS: ("email_click_ct", "hashedurls")},
        lambda row: {"email_click_ct": 2, "hashedurls": {LINKS[0]: 1, LINKS[1]: 1}},
        before=((*CLICK, 3), SEVERAL[1]),
    ),
    Plant(
        {Cause.IDENTICAL_ROWS: ("email_open_ct",), Cause.NEWER: ("email_last_open_ts", *ACTED)},
        lambda row: {"email_open_ct": 1},
        before=((*OPEN, None, 2),),
        after=(("open", "06-12 10:00"),),
    ),
    Plant(
        {Cause.DELIVERED_TWICE: ("email_click_ct", "hashedurls", "email_open_ct")},
        lambda row: {"email_click_ct": 4, "email_open_ct": 7, "hashedurls": links(row, lambda times: times * 2)},
        before=(OPEN, *SEVERAL),
    ),
    Plant({Cause.TIME_ZONE: ("ic_user_created",)}, lambda row: {"ic_user_created": "2026-05-01T14:00:00Z"}),
    Plant({Cause.TIME_ZONE: ("ic_user_created",)}, lambda row: {"ic_user_created": "2026-01-01T15:00:00Z"}, created="2026-01-01 10:00:00"),
    Plant({Cause.UNKNOWN: ("ic_user_created",)}, lambda row: {"ic_user_created": "2026-01-01T14:00:00Z"}, created="2026-01-01 10:00:00"),
    # The hour that comes twice, read as the first, and the one that never comes.
    Plant({Cause.TIME_ZONE: ("ic_user_created",)}, lambda row: {"ic_user_created": "2025-11-02T05:30:00Z"}, created="2025-11-02 01:30:00"),
    Plant({Cause.TIME_ZONE: ("ic_user_created",)}, lambda row: {"ic_user_created": "2026-03-08T07:30:00Z"}, created="2026-03-08 02:30:00"),
    Plant(
        {Cause.TIME_ZONE: ("email_first_open_ts", "email_last_open_ts", *ACTED)},
        lambda row: {
            **dict.fromkeys(("email_first_open_ts", "email_last_open_ts", "last_active_ts"), "2026-05-02 06:00:00"),
            "last_channel_activities": {"email": "2026-05-02 06:00:00"},
        },
        before=(OPEN,),
    ),
    Plant(
        {Cause.SECONDS: ("ic_user_created", "email_last_open_ts", "email_first_open_ts", "last_channel_activities")},
        lambda row: {
            "ic_user_created": iso(thousandth("05-01 10:00").replace(microsecond=0)),
            "email_last_open_ts": seconds(utc("05-02 10:00")) * 1_000_000,
            "email_first_open_ts": iso(thousandth("05-02 10:00")),
            "last_channel_activities": {"email": str(seconds(utc("05-02 10:00")) * 1_000_000)},
        },
        before=(OPEN,),
    ),
    Plant(
        {Cause.OLDER: ("email_open_ct", "email_first_open_ts")},
        lambda row: {"email_open_ct": 9, "email_first_open_ts": OLD},
        before=(OPEN,),
    ),
    Plant(
        {Cause.OLDER: ("email_click_ct", "email_first_click_ts", "email_last_click_ts", "hashedurls", "channels", *ACTED)},
        lambda row: {
            **dict.fromkeys(("email_first_click_ts", "email_last_click_ts", "last_active_ts"), OLD),
            "email_click_ct": "2",
            "hashedurls": {LINKS[2]: 2},
            "channels": "email",
            "last_channel_activities": {"email": OLD},
        },
    ),
    Plant(
        {Cause.UNSIGNED_KEYS: ("hashedurls",)},
        lambda row: {"hashedurls": {str(int(key) % 2**64): times for key, times in row["hashedurls"].items()}},
        before=tuple(("click", "05-03 10:00", f"https://a.example/{letter}") for letter in "abcdefgh"),
    ),
    Plant(
        {Cause.OTHER_CHANNELS: ("channels", "last_channel_activities")},
        lambda row: {
            "channels": ["web", "email"],
            "last_channel_activities": {"web": OLD, "email": iso(utc("05-02 10:00"))},
        },
        before=(OPEN,),
    ),
    Plant({Cause.OTHER_CHANNELS: ("channels",)}, lambda row: {"channels": "web, sms"}),
    Plant(
        {Cause.SPELLING: ("email", "city", "first_name")},
        lambda row: {"email": row["email"].upper(), "city": "new  york", "first_name": "\u00a0Ann"},
    ),
    Plant(
        {Cause.UNREADABLE: ("ic_user_created", "email_open_ct", "hashedurls", "last_channel_activities", "email_lastbounce_ts")},
        lambda row: {
            "ic_user_created": "yesterday",
            "email_open_ct": "many",
            "hashedurls": '{"1": "x"}',
            "last_channel_activities": "email",
            "email_lastbounce_ts": "0000-00-00",
        },
        before=(OPEN,),
    ),
    Plant(
        {Cause.UNKNOWN: ("email_open_ct", "email_first_open_ts", "email_last_open_ts", "city", "phone", "first_name")},
        lambda row: {
            "email_open_ct": 4,
            "email_first_open_ts": "2026-04-02T00:00:00Z",
            "email_last_open_ts": "2026-05-09T00:00:00Z",
            "city": "Rome",
            "phone": "1",
            "first_name": None,
        },
        before=(OPEN,),
    ),
    # No time of iContact's, and fewer than here though the first is older.
    Plant({Cause.UNKNOWN: ("email_open_ct", "email_first_open_ts")}, lambda row: {"email_open_ct": 9, "email_first_open_ts": "1999-01-01T00:00:00Z"}, before=(OPEN,)),
    Plant(
        {Cause.UNKNOWN: ("email_open_ct",), Cause.OLDER: ("email_first_open_ts",)},
        lambda row: {"email_open_ct": 1, "email_first_open_ts": OLD},
        before=(OPEN, ("open", "05-05 10:00")),
    ),
    # It was never read before the export, so what it was then is not known.
    Plant({Cause.UNKNOWN: ("city",)}, lambda row: {"city": None}, read=READ.replace(day=11)),
    Plant({Cause.UNKNOWN: ("email_open_ct", "hashedurls")}, lambda row: {"email_open_ct": 2, "hashedurls": {LINKS[0]: 1}}, before=((*OPEN, None, 4), *SEVERAL)),
]  # fmt: skip


def happen(world: World, contact: str, events: tuple[tuple[Any, ...], ...]) -> None:
    for kind, at, *more in events:
        world.event(contact, kind, at, more[0] if more else None, times=more[1] if len(more) > 1 else 1)


def test_each_cause_is_named_with_its_profiles(store: Store, tmp_path: Path) -> None:
    world = World(store, tmp_path, time=lambda at: str(seconds(at) * 1000), aid="news")
    store.insert("raw_messages", message_id="501", aids=["news"], observed_at=READ)
    world.contact("1", email="first@example.com", status="normal", phone="2")
    world.event("1", "open", "04-01 00:00")
    contacts = {str(number): plant for number, plant in enumerate(PLANTS, start=100)}
    for id_, plant in contacts.items():
        world.contact(
            id_, plant.read, email=f"p{id_}@example.com", first_name="ann", city="New York", create_date=plant.created
        )
        happen(world, id_, plant.before)
        # What the filter of the import leaves out, before and after.
        world.event(id_, "click", "03-01 00:00", "https://a.example/a", times=2, message="502")
    world.build()
    theirs = world.export()
    expected: defaultdict[tuple[str, Cause], set[str]] = defaultdict(set)
    for id_, plant in contacts.items():
        happen(world, id_, plant.after)
        world.event(id_, "open", "06-11 00:00", message="502")
        if plant.later:
            world.contact(id_, READ.replace(day=12), email=f"p{id_}@example.com", **plant.later)
        changed(theirs[id_], plant.change(theirs[id_]))
        for cause, names in plant.named.items():
            for name in names:
                expected[name, cause].add(id_)
    world.build()
    found = world.compare(theirs)
    named = {(each.name, one.cause): one for each in found.fields for one in each.causes}
    assert {key: set(one.contact_ids) for key, one in named.items()} == expected
    assert {key: one.count for key, one in named.items()} == {key: len(ids) for key, ids in expected.items()}
    for each in found.fields:
        assert sum(one.count for one in each.causes) == each.unlike
        assert each.equal + each.unlike + each.both_absent == found.compared == len(PLANTS) + 1
    assert {cause for _, cause in expected} == {*Cause} - {Cause.NO_ID}
