"""Columns of a page are what its values are one by one, whatever form they have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from icontact_assets.icontact.values import as_id, as_instant, as_text
from icontact_assets.ingest.rows import LISTING_READERS, activity_reader

PLAIN_TIMES = st.sampled_from(
    [
        "2026-11-01T01:30:00-04:00",
        "2026-03-08 02:30:00-0500",
        "1969-12-31T23:59:59Z",
        "2026-05-04T23:59:59+14:00",
        "1900-01-01T00:00:00-00:30",
    ]
)
ODD_TIMES = st.sampled_from(
    [
        *("", " ", "never", "2026-02-30T09:20:00-04:00", "2026-05-04T09:20:60Z", "2026-05-04T24:00:00Z"),
        *(
            "2026-05-04T09:20:00-24:00",
            "2026-05-04T09:20:00.5Z",
            "20260504T092000Z",
            "2026-05-04",
            "0000-01-01T00:00:00Z",
        ),
        *(
            "2026-03-08 02:30:00",
            "2026-11-01 01:30:00",
            " 2026-05-04T09:20:00Z\n",
            "2026-05-04T09:20:00Z\n",
            "٢026-05-04",
        ),
        *("9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00", None, 7, True, ["2026"], {}),
    ]
)
IDS = st.sampled_from(
    [
        *("1", "90000001", "9" * 20, "9" * 21, "0", "007", " 7", "7\n", "7.0", "+7", "-7", "", "x", "٧", "\u200b7"),
        *(7, 7.5, 2**70, True, None, [], {}),
    ]
)


def pages(times: st.SearchStrategy[Any], ids: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    row = st.fixed_dictionaries({}, optional={"contactId": ids, "clickTime": times, "clickLink": IDS, "addDate": times})
    return st.lists(row, max_size=6)


@settings(max_examples=300, deadline=None)
@given(st.one_of(pages(PLAIN_TIMES, st.just("7")), pages(st.one_of(PLAIN_TIMES, ODD_TIMES), IDS)))
def test_an_event_of_a_page_is_what_its_values_are(rows: list[dict[str, Any]]) -> None:
    batch, unreadable = activity_reader("clicks").read(rows)
    expected, places = [], []
    for place, row in enumerate(rows):
        id_, instant = as_id(row.get("contactId")), as_instant(as_text(row.get("clickTime")))
        if id_ is None or instant is None:
            places.append(place)
        else:
            expected.append((id_, instant.replace(tzinfo=None), as_text(row.get("clickLink"))))
    assert [tuple(row.values()) for row in batch.to_pylist()] == expected
    assert list(unreadable) == places


@settings(max_examples=100, deadline=None)
@given(st.one_of(pages(PLAIN_TIMES, st.just("7")), pages(st.one_of(PLAIN_TIMES, ODD_TIMES), IDS)))
def test_a_day_of_a_page_is_that_of_its_time(rows: list[dict[str, Any]]) -> None:
    batch, unreadable = LISTING_READERS["subscriptions"].read([{"listId": 5, **row} for row in rows])
    good = [row for place, row in enumerate(rows) if place not in unreadable]
    instants = [as_instant(as_text(row.get("addDate"))) for row in good]
    assert batch.column("own_date").to_pylist() == [instant and instant.date() for instant in instants]
    assert batch.column("subscription_id").to_pylist() == [f"5_{as_id(row.get('contactId'))}" for row in good]


def test_no_page_takes_the_memory_of_pandas(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from icontact_assets.ingest.rows import LISTING_READERS, activity_reader
from icontact_assets.ingest.staging import Listing, Staging
readers = {{**LISTING_READERS, "clicks": activity_reader("clicks")}}
row = {{"contactId": 5, "clickTime": "2026-01-01", "messageId": "1", "sendId": "2", "listId": "3", "createDate": None}}
with Staging(Path({str(tmp_path)!r}) / "staging") as staging:
    for name, reader in readers.items():
        staging.open(Listing(name), reader)[0].page(0, [row, {{}}])
print("pandas" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
