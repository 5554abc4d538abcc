"""What an export sees while it runs: an observer of every answer notes opt-outs and addresses, and stores them."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from datetime import UTC, datetime

import duckdb
import numpy as np

from icontact_assets.exports.history import EVERYWHERE, Shelf, within
from icontact_assets.exports.live import subscriber
from icontact_assets.icontact.listing import Row
from icontact_assets.icontact.values import as_id, as_text
from icontact_assets.warehouse.rows import texts

_STORE_OPT_OUTS = """
    INSERT INTO opt_outs
    SELECT $folder, one, other, $at FROM pairs
    WHERE NOT EXISTS (FROM opt_outs WHERE folder = $folder AND list_id = one AND contact_id = other)
"""
_STORE_ADDRESSES = """
    INSERT INTO contact_addresses
    SELECT $folder, one, other, $at FROM pairs
    WHERE NOT EXISTS (
        FROM contact_addresses WHERE folder = $folder AND contact_id = one AND email IS NOT DISTINCT FROM other
    ) AND NOT ($imported AND EXISTS (FROM raw_contacts WHERE id = one AND email = other))
"""


class Watch:
    """An observer of everything that an export reads: the opt-outs in it, and addresses. It holds what is not stored
    yet, and the opt-outs that were seen in this run."""

    def __init__(self) -> None:
        self.left: dict[str, set[str]] = {}
        """List id to contact ids that were seen unsubscribed. EVERYWHERE: do-not-contact."""
        self.seen = 0
        """How many opt-outs were seen so far, each once."""
        self._opt_outs: list[tuple[str, str]] = []
        self._addresses: dict[tuple[str, str | None], None] = {}
        # Sorted hashes, since there may be as many as the audience has members: a set of texts takes 20 times as much.
        self._stored = array("q")

    def contact(self, row: Row) -> None:
        """Notes a do-not-contact and its address."""
        contact_id = as_id(row.get("contactId"))
        if contact_id is not None and _word(row) == "donotcontact":
            self.opted_out(EVERYWHERE, contact_id)
            self.address(contact_id, as_text(row.get("email")))

    def subscription(self, row: Row) -> None:
        """Notes an unsubscribed."""
        if _word(row) != "unsubscribed":
            return
        contact_id = subscriber(row)
        list_id = as_id(row.get("listId")) or as_id((as_text(row.get("subscriptionId")) or "").partition("_")[0])
        if contact_id is not None and list_id:
            self.opted_out(list_id, contact_id)

    def address(self, contact_id: str, email: str | None) -> None:
        """Notes that a contact has this address. None: it was asked for and has none."""
        key = hash((contact_id, email))
        at = bisect_left(self._stored, key)
        if at == len(self._stored) or self._stored[at] != key:
            self._addresses[contact_id, email] = None

    def are_stored(self, addresses: Iterable[tuple[str, str | None]]) -> None:
        """These addresses need not be stored again."""
        self._stored.extend(map(hash, addresses))
        # In place, where `sorted` would make as many objects.
        np.frombuffer(self._stored, np.int64).sort()

    def opted_out(self, list_id: str, contact_id: str) -> None:
        """Notes that a contact left a list. EVERYWHERE: it is do-not-contact."""
        ids = self.left.setdefault(list_id, set())
        if contact_id not in ids:
            ids.add(contact_id)
            self.seen += 1
            self._opt_outs.append((list_id, contact_id))

    @property
    def unsaved(self) -> bool:
        """Whether there is something to store."""
        return bool(self._opt_outs or self._addresses)

    def store(self, connection: duckdb.DuckDBPyConnection, shelf: Shelf, at: datetime) -> None:
        """Store what was seen since the last call. `at` is aware."""
        if not self.unsaved:
            return
        values = {"folder": shelf.folder, "at": at.astimezone(UTC).replace(tzinfo=None)}
        with within(connection, shelf.schema):
            if self._opt_outs:
                _insert(connection, _STORE_OPT_OUTS, self._opt_outs, values)
            if self._addresses:
                _insert(connection, _STORE_ADDRESSES, self._addresses, {**values, "imported": shelf.imported})
        self._opt_outs.clear()
        self._addresses.clear()


def _insert(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    pairs: Iterable[tuple[str, str | None]],
    values: dict[str, object],
) -> None:
    """Run a statement that takes these pairs from the table `pairs`."""
    ones, others = zip(*pairs, strict=True)
    connection.register("pairs", texts({"one": ones, "other": others}))
    connection.execute(sql, values)
    connection.unregister("pairs")


def _word(row: Row) -> str:
    return (as_text(row.get("status")) or "").strip().casefold()
