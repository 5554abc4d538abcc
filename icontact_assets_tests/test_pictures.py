"""The small pictures in the metadata of assets: what they show, how long they are, and that a run has each once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from icontact_assets.assets.pictures import contacts_by_status, events_per_day
from icontact_assets.ingest.window import Window
from icontact_assets.pictures import LONGEST, picture
from icontact_assets_tests.harness import Project, Store, days_ago

SVG = "{http://www.w3.org/2000/svg}"


def drawn(markdown: str) -> tuple[list[str], list[list[float]]]:
    """The texts of a picture, and the heights of each row in pixels."""
    found = re.fullmatch(r"!\[([^\[\]\n]*)\]\(<data:image/svg\+xml,([^<>\s]| )*>\)", markdown)
    assert found, markdown
    root = ElementTree.fromstring(unquote(markdown.split("svg+xml,")[1][:-2]))
    texts = [str(element.text) for element in root.iter(f"{SVG}text")]
    assert found[1] == "; ".join(texts), "what is read out is what is written"
    [path] = root.iter(f"{SVG}path")
    rows = []
    for outline in path.attrib["d"].removesuffix("z").split("z"):
        height, heights = 0, []
        for step, length in re.findall(r"([vh])(-?\d+)", outline):
            height -= int(length) if step == "v" else 0
            heights += [float(height)] * int(length) if step == "h" else []
        assert height == 0, "the outline ends where it began"
        rows.append(heights)
    return texts, rows


@pytest.mark.parametrize(
    ("numbers", "heights"),
    [([0, 9, 18], [0, 9, 18]), ([1, 10_000], [1, 18]), ([0, 0], [0, 0]), ([7], [18]), ([5, 5, 5], [18, 18, 18])],
)
def test_every_number_above_0_can_be_seen_and_the_largest_is_as_high_as_the_row(
    numbers: Sequence[int], heights: Sequence[int]
) -> None:
    assert drawn(picture({"opens": numbers}, "{shown} days")) == (["opens", f"{len(numbers)} days"], [heights])


def test_what_is_too_long_to_be_shown_in_place_loses_its_beginning() -> None:
    numbers = [day * 7919 % 1009 for day in range(91)]
    rows = dict.fromkeys(("opens, at most {most}", "clicks", "bounces", "unsubscribes"), numbers)
    shown = picture(rows, "a day, {shown} days to 2026-11-27 (UTC)")
    assert len(shown) <= LONGEST
    texts, heights = drawn(shown)
    count = len(heights[0])
    assert count >= 21, "three weeks of the busiest account"
    assert texts[-1] == f"a day, {count} days to 2026-11-27 (UTC)"
    assert texts[0] == f"opens, at most {max(numbers[-count:]):,}"
    assert heights[0] == [-(-number * 18 // max(numbers[-count:])) for number in numbers[-count:]]


def test_a_text_of_iContact_stays_text() -> None:
    hostile = "](x)<b onload='a'>&\"`![" + "x" * 5000
    texts, _ = drawn(picture({hostile: [1]}, "{shown} run"))
    assert texts[0].startswith("(x)b onloada")
    assert len(texts[0]) == 60


def test_contacts_are_counted_when_each_day_ends(store: Store) -> None:
    first = date(2026, 3, 1)

    def version(id_: str, day: int, status: str | None, *, deleted: bool = False) -> None:
        at = datetime(2026, 3, 1) + timedelta(days=day, hours=5)
        gone = at if deleted else None
        store.insert(
            "raw_contacts", id=id_, status=status, deleted_at=gone, observed_at=at, partition_date=at.date()
        )  # fmt: skip

    version("old", -90, "normal")
    version("bounces", -1, "normal")
    version("bounces", 1, "bounced")
    version("leaves", 0, "normal")
    version("leaves", 2, "normal", deleted=True)
    version("returns", -3, "normal", deleted=True)
    version("returns", 3, "pending")
    version("later", 9, "normal")
    version("odd", 1, None)
    with store.warehouse.read() as connection:
        rows = contacts_by_status(connection, [first + timedelta(days=day) for day in range(4)])
    assert rows == {
        "normal: 1": [3, 2, 1, 1],
        "bounced: 1": [0, 1, 1, 1],
        "pending: 1": [0, 0, 0, 1],
        "without a status: 1": [0, 1, 1, 1],
    }


def test_events_are_counted_by_day_and_kind(store: Store) -> None:
    for kind, day in [("open", 1), ("open", 1), ("click", 1), ("open", 3), ("bounce", 9)]:
        store.insert("raw_activity", event_type=kind, partition_date=date(2026, 3, day))
    with store.warehouse.read() as connection:
        rows = events_per_day(connection, [date(2026, 3, day) for day in (1, 2, 3)])
    assert rows == {
        "opens, at most {most}": [2, 0, 1],
        "clicks, at most {most}": [1, 0, 0],
        "bounces, at most {most}": [0, 0, 0],
        "unsubscribes, at most {most}": [0, 0, 0],
    }


def test_a_run_over_several_days_shows_its_pictures_once(imported: Project) -> None:
    window = Window(days_ago(3), days_ago(1))
    of_raw = imported.alone().run('key:"icontact/raw_contacts" or key:"icontact/raw_activity"', window)
    assert of_raw.success
    activity, contacts = (imported.metadata(of_raw, name) for name in ("raw_activity", "raw_contacts"))
    for of_days, names in (
        (activity, {"events_per_day", "days", "requests_per_run"}),
        (contacts, {"contacts_by_status"}),
    ):
        assert [names & of_days[str(day)].keys() for day in window.days] == [set(), set(), names]
    newest = str(window.last)
    texts, [heights, *_] = drawn(activity[newest]["events_per_day"])
    first = window.last - timedelta(days=len(heights) - 1)
    [(opens,)] = imported.rows(
        "SELECT max(n) FROM (SELECT count(*) AS n FROM icontact.raw_activity WHERE event_type = 'open' "
        f"AND partition_date BETWEEN '{first}' AND '{newest}' GROUP BY partition_date)"
    )
    assert texts[0] == f"opens, at most {opens:,}"
    assert sum(int(text.split(": ")[1]) for text in drawn(activity[newest]["days"])[0][:3]) == 40
    [(normal,)] = imported.rows(
        "SELECT count(*) FROM icontact.current_contacts WHERE status = 'normal' AND deleted_at IS NULL "
        f"AND partition_date <= '{newest}'"
    )
    assert drawn(contacts[newest]["contacts_by_status"])[0][0] == f"normal: {normal:,}"
    again = imported.metadata(imported.run('key:"icontact/raw_activity"', window), "raw_activity")
    _, [requests] = drawn(again[newest]["requests_per_run"])
    assert len(requests) == 2


def test_an_export_shows_the_size_of_its_list(imported: Project) -> None:
    imported.alone().run('key:"icontact/audience_readers"')
    sizes = []
    for _ in range(2):
        result = imported.run('key:"icontact/export_readers"')
        assert result.success
        [facts] = imported.metadata(result, "export_readers").values()
        sizes.append(facts["list_size_after"])
    texts, [heights] = drawn(facts["list_size"])
    assert texts[0] == f"normal subscriptions: {sizes[-1]:,}"
    assert len(heights) == 2
