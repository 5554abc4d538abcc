"""What happens to people and lists in the tests of exports, and what became of them."""

from __future__ import annotations

from typing import Any

from icontact_assets.exports.report import ExportReport
from icontact_assets.exports.run import ExportError
from icontact_assets_tests.harness import LIST, House

LISTING = {"path": "/subscriptions$", "method": "GET"}
ON_LIST = {**LISTING, "query": f"listId={LIST}"}
LATER = 3600


def people(house: House, *ids: int) -> None:
    house.contacts(*ids)
    house.imported()
    house.store.audience(*ids)


def leaves(contact_id: int, list_id: int = LIST) -> dict[str, Any]:
    return {
        "path": "subscriptions/set",
        "list_id": list_id,
        "contact_id": contact_id,
        "status": "unsubscribed",
    }


def objects(contact_id: int) -> dict[str, Any]:
    return {"path": "contacts/update", "contact_id": contact_id, "status": "donotcontact"}


def edit(*edits: dict[str, Any], when: str = "before") -> dict[str, Any]:
    return {"kind": "edit", "when": when, "edits": list(edits)}


def gone(house: House, contact_id: int, list_id: int = LIST) -> None:
    """Somebody's row is taken off a list: nothing there tells any more that they left it."""
    house.sandbox.control("subscriptions/delete", list_id=list_id, contact_id=contact_id)


def whatever(house: House, mode: str = "add", **options: Any) -> ExportReport | None:
    """A run that may stop with an error of its own."""
    try:
        return house.export(mode, **options)
    except ExportError as error:
        return error.report


def posted(house: House) -> list[int]:
    return [id_ for post in house.posts() for id_ in post]


def outcome(house: House, contact_id: int, action: str = "subscribe") -> str:
    """What the first run that wrote about somebody says became of it."""
    [row, *_] = house.store.rows(
        f"SELECT outcome FROM export_outcomes WHERE contact_id = '{contact_id}' AND action = '{action}' "
        "AND outcome NOT IN ('already_subscribed', 'skipped') ORDER BY run_id"
    )
    return str(row[0])
