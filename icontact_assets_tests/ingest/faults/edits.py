"""Rows that come or go while a listing is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from icontact_assets_tests.harness import KINDS, READ_LIST, Project, Stage, asset_of, only, path_of, stored, true
from icontact_assets_tests.ingest.faults.growth import NEWS, news
from icontact_assets_tests.ingest.faults.play import Play, Row, told

PLACES = ("first", "middle", "last")
EVENTS_NEED = ("messages", "sends")


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
    resources: Sequence[str], change: str, place: str, pages: Sequence[int] | None = None, order: str = "ascending"
) -> Callable[[Stage], str]:
    """For every k (or those of `pages`): in each of these listings, none of which is read for another, a row comes or
    goes between page k and k+1; green only with every row."""
    selection = only(*resources)
    stands_on = {
        *(["lists"] if "subscriptions" in resources else []),
        *(EVENTS_NEED if {*KINDS} & {*resources} else []),
    }

    def prepare(stage: Stage, base: Project | None, now: datetime | None) -> Project:
        """A full folder, pages of a few rows, and a home that holds what the assets stand on (that of `base`)."""
        stage.reset(**({"now": now.isoformat()} if now else {}))
        news(stage)
        fill(stage)
        stage.sandbox.control("switches", listing_order=order, activity_order=order)
        project = stage.project(base)
        if base is None and stands_on:
            assert stage.run(project, selection=only(*sorted(stands_on))).green
        return project

    def play(stage: Stage) -> str:
        ends = Counter[str]()
        paths = {name: f"/messages/{NEWS}/{name}" if name in KINDS else f"/{name}" for name in resources}
        caps = [{"path": path_of(name), "do": {"kind": "cap", "limit": page_of(name)}} for name in resources]
        base, now = prepare(stage, None, None), stage.now
        if pages is None:
            project = prepare(stage, base, now)
            stage.plan(*caps)
            assert stage.run(project, selection=selection).green
        for k in pages or range(1, stage.requests(paths[resources[0]]) + 1):
            project = prepare(stage, base, now)
            edits = [
                {"path": path + "$", "nth": k, "do": {"kind": "edit", "edits": [edit_of(stage, name, change, place)]}}
                for name, path in paths.items()
            ]
            before = true(project)
            stage.plan(*caps, *edits)
            ended = stage.run(project, selection=selection)
            assert set(ended.red) <= {asset_of(name) for name in resources}
            held, after = stored(project), true(project)
            for name in map(table_of, resources):
                if f"raw_{name}" not in ended.red:
                    throughout, ever = before[name] & after[name], before[name] | after[name]
                    assert throughout <= held[name], f"k={k}: {(throughout - held[name]).total()} {name} missing"
                    assert held[name] <= ever, f"k={k}: {(held[name] - ever).total()} {name} too many"
            assert edits_struck(stage) == len(resources), f"k={k}: there was no page k"
            stage.clear()
            again = stage.run(project, selection=selection)
            assert again.green, again.red
            held, after = stored(project), true(project)
            for name in map(table_of, resources):
                missing = after[name] - held[name]
                assert not missing, f"k={k}: {missing.total()} {name} missing at the end"
                # What vanished from a listing of events stays.
                gone = before[name] - after[name] if name == "activity" else Counter()
                extra = held[name] - after[name] - gone
                assert not extra, f"k={k}: {extra.total()} {name} too many at the end"
            ends[told(ended)] += 1
        return "; ".join(sorted(ends))

    return play


def table_of(resource: str) -> str:
    return asset_of(resource).removeprefix("raw_")


def edits_struck(stage: Stage) -> int:
    return sum(fault["struck"] > 0 for fault in stage.sandbox.control("faults") if fault["do"]["kind"] == "edit")


EDITED = ("contacts", "messages", "sends", "lists", "subscriptions", *KINDS)

EDITS = Row(
    "insert or delete between page k and k+1, for every k, on each resource",
    "equal at the end, or red",
    [
        Play(f"{change} {place} row, {resource}", edited([resource], change, place))
        for resource in EDITED
        for change in ("insert", "delete")
        for place in PLACES
    ]
    + [
        Play(f"{change} first row, {resource}, newest first", edited([resource], change, "first", order="descending"))
        for resource in ("messages", "sends", "opens")
        for change in ("insert", "delete")
    ]
    + [
        Play(
            f"{change} first row, {' and '.join(resources)}, between pages 2 and 3",
            edited(resources, change, "first", pages=[2]),
            tested="only",
        )
        for change, resources in (
            ("delete", ["contacts", "messages", "sends", "lists"]),
            ("insert", ["subscriptions", "opens"]),
        )
    ],
)
