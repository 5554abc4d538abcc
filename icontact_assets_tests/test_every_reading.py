"""Whatever the API turns out to do where its documentation is silent, the tables hold what it holds."""

from __future__ import annotations

from typing import Any

import pytest

from icontact_assets.ingest.window import Window
from icontact_assets_tests.harness import Project, days_ago
from icontact_assets_tests.ingest.faults.switches import SWITCHES

WINDOW = Window(days_ago(2), days_ago(1))

TOGETHER: dict[str, dict[str, Any]] = {
    "pages_of_7_newest_first_integers_utc": {
        "page_limit_rows": 7, "past_end": "null", "activity_order": "descending", "ids": "integer",
        "page_limit_echo": "missing",
        "activity_time": "utc", "contact_date": "utc", "message_date": "no_colon", "activity_limit_rows": 3,
    },
    "pages_of_100_unnoticed_appended_mixed_no_offset": {
        "page_limit_rows": 100, "page_limit_echo": "asked", "activity_order": "appended", "ids": "mixed",
        "activity_time": "no_offset", "listing_order": "descending", "contact_id_comparison": "warn",
        "send_date": "blank", "subscription_date": "no_offset", "messages_limit_rows": 2,
    },
    "more_than_100_refused_order_ignored_with_warning_no_colon": {
        "page_limit": "refuse", "page_limit_rows": 100, "past_end": "missing", "orderby": "warn",
        "activity_time": "no_colon", "message_date": "compact", "contact_date": "iso", "send_date": "utc",
        "limit_headers": "some", "contact_id_comparison": "refuse", "statistics": "ever",
    },
    "more_than_7_refused_filter_ignored_blank": {
        "page_limit": "refuse", "page_limit_rows": 7, "contact_id_comparison": "silent", "activity_order": "mixed",
        "totals": "missing", "ids": "mixed", "activity_time": "blank", "contact_date": "fixed", "message_date": "utc",
        "bad_limit": "empty", "unknown_message": "500", "unknown_term": "refuse",
    },
    "shuffled_order_ignored_newest_first_more_fields": {
        "activity_order": "shuffled", "orderby": "silent", "listing_order": "descending", "ids": "integer",
        "extra_fields": True, "content_type": "text/html; charset=utf-8", "gzip": False, "activity_time": "mixed",
        "contact_date": "mixed", "message_date": "other", "nulls": "blank", "send_date": "no_colon",
        "unknown_term": "empty", "contact_id_comparison": "equals",
    },
    "distinct_statistics_pages_of_7_filter_and_order_ignored_no_automation_sends": {
        "statistics": "distinct", "page_limit_rows": 7, "contact_id_comparison": "text", "orderby": "silent",
        "listing_order": "stable", "past_end": "refuse",
        "activity_time": "fixed", "message_date": "compact", "automation_sends": "exclude", "contact_date": "no_offset",
        "send_date": "fixed", "unknown_term": "silent",
    },
}  # fmt: skip
"""Each switch in each of its positions, beside others."""


@pytest.mark.parametrize("switches", TOGETHER.values(), ids=TOGETHER)
def test_rows_equal_the_truth(beginning: Project, switches: dict[str, Any]) -> None:
    project = beginning.quick()
    # Of several pages.
    contacts = 110 if switches.get("page_limit_rows") == 100 else 40
    project.sandbox.control("reset", contacts=contacts, messages=4, days=12)
    project.sandbox.control("switches", **switches)
    assert project.run(window=WINDOW).success
    truth = project.sandbox.control("truth")
    listed = {row["contact_id"] for row in truth["contacts"] if row["visible"] and row["status"] != "deleted"}
    assert {id_ for (id_,) in project.rows("SELECT id FROM icontact.raw_contacts")} == listed
    assert {id_ for (id_,) in project.rows("SELECT message_id FROM icontact.raw_messages")} == {
        row["message_id"] for row in truth["messages"] if row["visible"]
    }
    assert project.stored_events() == project.true_events()
    assert project.rows("SELECT count(*) FROM icontact.quarantine") == [(0,)]
    assert project.rows("SELECT resource, field, kind FROM icontact.known_fields WHERE NOT accepted") == []


def test_every_switch_is_set_beside_others() -> None:
    together = {setting for switches in TOGETHER.values() for setting in switches.items()}
    assert {setting for switches in SWITCHES for setting in switches.items()} <= together
