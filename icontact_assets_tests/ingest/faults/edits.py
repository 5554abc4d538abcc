"""Rows that come or go while a listing is read."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from icontact_assets_tests.harness import KINDS, READ_LIST, Project, Stage, asset_of, path_of, stored, true
from icontact_assets_tests.ingest.faults.growth import NEWS, news
from icontact_assets_tests.ingest.faults.play import Play, Row, told

PLACES = ("first", "middle", "last")


def page_of(resource: str) -> int:
    """A page size that makes a handful of pages of the stage's listings."""
    return {"contacts": 70, "subscriptions": 60, "messages": 12, "lists": 8, "sends": 12}.get(resource, 26)


def fill(stage: Stage) -> None:
    """Every listing of the folder long enough for several pages."""
    for number in range(20):
        stage.sandbox.control("messages/add", message_id=320_001 + 2 * number, subject=f"Draft {number}")
        released = (stage.now - timedelta(days=20, minutes=number)).isoformat()
        stage.sandbox.control(
            "messages/release", message_id=310_001, send_id=970_001 + 2 * number, at=released, recipients=1
        )
        stage.sandbox.control("lists/add", list_id=4001 + 2 * number, name=f"List {number}")


def edit_of(stage: Stage, resource: str, change: str, place: str) -> dict[str, Any]:
    """A control edit that inserts or deletes a row of a listing at its first, middle or last place."""
    truth = stage.sandbox.control("truth")

    def at(rows: Sequence[Any]) -> Any:
        return rows[{"first": 0, "middle": len(rows) // 2, "last": -1}[place]]

    if resource in KINDS:
        message = NEWS
        rows = [r for r in truth["activity"] if r["message_id"] == str(message) and r["kind"] == resource]
        rows = [row for row in rows if row["visible"]]
        position = {"first": 0, "middle": len(rows) // 2, "last": len(rows) - (change == "delete")}[place]
        if change == "delete":
            return {"path": "events/delete", "message_id": message, "kind": resource, "position": position}
        new = {"contact_id": 95000001, "at": rows[min(position, len(rows) - 1)]["instant"], "position": position}
        return {"path": "events/add", "message_id": message, "kind": resource, **new}
    if resource == "subscriptions":
        rows = [row for row in truth["subscriptions"] if row["list_id"] == READ_LIST and row["visible"]]
        if change == "delete":
            return {
                "path": "subscriptions/delete",
                "list_id": int(READ_LIST),
                "contact_id": int(at(rows)["contact_id"]),
            }
        on = {row["contact_id"] for row in rows}
        contact = next(row["contact_id"] for row in truth["contacts"] if row["visible"] and row["contact_id"] not in on)
        position = next(n for n, row in enumerate(truth["subscriptions"]) if row == at(rows)) + (place == "last")
        return {
            "path": "subscriptions/set",
            "list_id": int(READ_LIST),
            "contact_id": int(contact),
            "position": position,
        }
    key = {"contacts": "contact_id", "messages": "message_id", "sends": "send_id", "lists": "list_id"}[resource]
    ids = sorted(int(row[key]) for row in truth[resource] if row["visible"] and row.get("status") != "deleted")
    if change == "delete":
        return {"path": f"{resource}/delete", key: at(ids)}
    taken = {int(row[key]) for row in truth[resource]}
    middle = len(ids) // 2
    free = next(n for n in range(ids[middle] + 1, ids[-1] + 2) if n not in taken)
    wanted = {"first": ids[0] - 1, "middle": free, "last": max(taken) + 1}[place]
    kinds: dict[str, dict[str, Any]] = {
        "contacts": {"path": "contacts/add", "email": "new@example.com"},
        "messages": {"path": "messages/add", "subject": "New"},
        "sends": {"path": "messages/release", "message_id": 310_001, "recipients": 1},
        "lists": {"path": "lists/add", "name": "New"},
    }
    return {**kinds[resource], key: wanted}


def edited(
    resource: str, change: str, place: str, pages: Sequence[int] | None = None, order: str = "ascending"
) -> Callable[[Stage], str]:
    """For every k (or those of `pages`): a row comes or goes between page k and k+1; green only with every row."""

    def prepare(stage: Stage, base: Project | None, now: datetime | None) -> Project:
        """A full folder, pages of a few rows, and a home that holds what the asset stands on (that of `base`)."""
        stage.reset(**({"now": now.isoformat()} if now else {}))
        news(stage)
        fill(stage)
        stage.sandbox.control("switches", listing_order=order, activity_order=order)
        project = stage.project()
        if base is None:
            for below in {"raw_activity": ["messages", "sends"], "raw_subscriptions": ["lists"]}.get(asset, []):
                assert stage.run(project, selection=f'key:"icontact/raw_{below}"').green
        else:
            shutil.copytree(base.home, project.home, dirs_exist_ok=True)
        stage.plan({"path": path_of(resource), "do": {"kind": "cap", "limit": page_of(resource)}})
        return project

    asset = asset_of(resource)
    selection = f'key:"icontact/{asset}"'

    def play(stage: Stage) -> str:
        ends = Counter[str]()
        path = f"/messages/{NEWS}/{resource}" if resource in KINDS else f"/{resource}"
        name = "activity" if resource in KINDS else resource
        base, now = prepare(stage, None, None), stage.now
        if pages is None:
            assert stage.run(prepare(stage, base, now), selection=selection).green
        for k in pages or range(1, stage.requests(path) + 1):
            project = prepare(stage, base, now)
            edit = edit_of(stage, resource, change, place)
            before = true(project)[name]
            stage.plan({"path": path + "$", "nth": k, "do": {"kind": "edit", "edits": [edit]}})
            ended = stage.run(project, selection=selection)
            throughout = before & true(project)[name]
            if ended.green:
                held, ever = stored(project)[name], before | true(project)[name]
                assert throughout <= held, f"k={k}: {(throughout - held).total()} rows missing"
                assert held <= ever, f"k={k}: {(held - ever).total()} rows too many"
            else:
                assert set(ended.red) == {asset_of(resource)}
            assert edit_struck(stage), f"k={k}: there was no page k"
            stage.clear()
            again = stage.run(project, selection=selection)
            assert again.green, again.red
            held, there = stored(project)[name], true(project)[name]
            assert there <= held, f"k={k}: {(there - held).total()} rows missing at the end"
            # What vanished from a listing of events stays.
            gone = before - there if resource in KINDS else Counter()
            assert held - there <= gone, f"k={k}: {(held - there - gone).total()} rows too many at the end"
            ends[told(ended)] += 1
        return "; ".join(sorted(ends))

    return play


def edit_struck(stage: Stage) -> bool:
    return any(fault["struck"] for fault in stage.sandbox.control("faults") if fault["do"]["kind"] == "edit")


EDITED = ("contacts", "messages", "sends", "lists", "subscriptions", *KINDS)

EDITS = Row(
    "insert or delete between page k and k+1, for every k, on each resource",
    "equal at the end, or red",
    [
        Play(f"{change} {place} row, {resource}", edited(resource, change, place))
        for resource in EDITED
        for change in ("insert", "delete")
        for place in PLACES
    ]
    + [
        Play(f"{change} first row, {resource}, newest first", edited(resource, change, "first", order="descending"))
        for resource in ("messages", "sends", "opens")
        for change in ("insert", "delete")
    ]
    + [
        Play(
            f"{change} first row, {resource}, between pages 2 and 3",
            edited(resource, change, "first", pages=[2]),
            tested="no" if resource in ("clicks", "bounces", "unsubscribes") else "only",
        )
        for resource in EDITED
        for change in ("insert", "delete")
    ],
)
