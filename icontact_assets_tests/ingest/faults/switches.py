"""What the API may turn out to do where its documentation is silent, as switches of the sandbox."""

from __future__ import annotations

from typing import Any

SWITCHES: list[dict[str, Any]] = [
    {"page_limit_rows": 7},
    {"page_limit_rows": 100, "page_limit_echo": "asked"},
    {"page_limit": "refuse", "page_limit_rows": 100},
    {"past_end": "null"},
    {"past_end": "missing"},
    {"listing_order": "descending", "contact_id_comparison": "warn"},
    {"contact_id_comparison": "silent"},
    {"orderby": "warn"},
    {"orderby": "silent", "listing_order": "descending"},
    {"activity_order": "descending"},
    {"activity_order": "appended"},
    {"activity_order": "shuffled"},
    {"ids": "integer"},
    {"ids": "mixed"},
    {"activity_time": "utc"},
    {"activity_time": "no_offset"},
    {"activity_time": "no_colon"},
    {"activity_time": "blank"},
    {"message_date": "compact"},
    {"extra_fields": True, "content_type": "text/html; charset=utf-8", "gzip": False},
    {"automation_sends": "exclude"},
    {"statistics": "distinct"},
]
