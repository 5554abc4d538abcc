"""Listings of activity that grow: at the end, in the middle, with identical rows."""

from __future__ import annotations

from datetime import timedelta

from icontact_assets_tests.harness import KINDS, Stage

NEWS = 330_001
"""A message released a day ago: each run looks at it."""


def news(stage: Stage) -> int:
    """Releases NEWS, with some rows in each of its listings."""
    at = stage.now - timedelta(days=1)
    control = stage.sandbox.control
    control("messages/add", message_id=NEWS, created=at.isoformat(), released=at.isoformat(), recipients=100)
    for kind in KINDS:
        url = {"url": "https://example.com/news"} if kind == "clicks" else {}
        first = (at + timedelta(minutes=5)).isoformat()
        control("events/add", message_id=NEWS, kind=kind, contact_id=94000001, at=first, times=50, apart=60, **url)
    return NEWS


def grow(stage: Stage, round_: int) -> None:
    """New rows at the end, late ones in the middle, many identical ones, in each of the four listings of NEWS."""
    message, now = NEWS, stage.now
    for kind in KINDS:
        url = {"url": "https://example.com/late"} if kind == "clicks" else {}
        add = {"message_id": message, "kind": kind, **url}
        control = stage.sandbox.control
        for contact in (1, 2, 3):
            control("events/add", contact_id=96000000 + 10 * round_ + contact, at=now.isoformat(), **add)
        late = (now - timedelta(hours=30, minutes=round_)).isoformat()
        control("events/add", contact_id=97000001 + round_, at=late, visible_from=now.isoformat(), **add)
        same = (now - timedelta(minutes=5, seconds=round_)).isoformat()
        control("events/add", contact_id=98000001, at=same, visible_from=now.isoformat(), times=30, **add)
