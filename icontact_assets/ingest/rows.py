"""What a row of each iContact listing has and becomes: typed columns, its own date, or why it cannot be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from operator import itemgetter
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from icontact_assets.icontact.listing import Row
from icontact_assets.icontact.values import as_id, as_instant, as_int, as_text, is_integer
from icontact_assets.warehouse.arrays import list_array, number_array, text_array
from icontact_assets.warehouse.tables import (
    RAW_ACTIVITY,
    RAW_CONTACTS,
    RAW_LISTS,
    RAW_MESSAGES,
    RAW_SENDS,
    RAW_SUBSCRIPTIONS,
    Table,
)

_ARROW = {
    "VARCHAR": pa.string(),
    "VARCHAR[]": pa.list_(pa.string()),
    "BIGINT": pa.int64(),
    "TIMESTAMP": pa.timestamp("us"),
    "DATE": pa.date32(),
}

OWN_DATE = "own_date"
"""Column beside a listing's own ones: the UTC day the row itself names (creation, release), NULL without one."""


KINDS = {
    str: "text",
    int: "number",
    float: "number",
    bool: "boolean",
    dict: "object",
    list: "array",
    type(None): "null",
}
"""The kinds of JSON values, as reports name them."""

Seen = Mapping[str, Set[str]]
"""Field names of the rows of a listing to the kinds of their values."""


@dataclass(frozen=True)
class Field:
    """A field that is read."""

    kinds: frozenset[str]
    """The kinds that its values are known to have, beside null."""
    may_be_absent: bool = False
    """Perhaps no row of a listing has it."""


_EPOCH, _UNIT = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_PLAIN_ID = "^[1-9][0-9]{0,19}$"
_PLAIN_INSTANT = (
    "^(19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](Z|[+-](0[0-9]|1[0-4]):?[0-5][0-9])$"
)
"""A time with an offset, that Arrow reads as `as_instant` does."""


class _Page:
    """Rows of a listing, column by column. Where all values of a column have their usual form, Arrow converts them at
    once. Else `values.py` reads each."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.unreadable: dict[int, str] = {}
        """Places of the rows that go to quarantine, and why. The reasons hold no personal data."""

    def values(self, key: str) -> list[Any]:
        return [row.get(key) for row in self.rows]

    def texts(self, key: str) -> pa.Array:
        values = self.values(key)
        try:
            return text_array(values)
        except TypeError:
            return text_array([as_text(value) for value in values])

    def ids(self, key: str) -> pa.Array:
        values = self.values(key)
        try:
            found = text_array(values)
            if not found.null_count and _all_match(found, _PLAIN_ID):
                return found
        except TypeError:
            pass
        ids = [as_id(value) for value in values]
        for place, (id_, value) in enumerate(zip(ids, values, strict=True)):
            if id_ is None:
                self._refuse(place, f"no {key}" if value is None or value == "" else f"{key} is not an id")
        return text_array(ids)

    def counts(self, key: str) -> pa.Array:
        values = self.values(key)
        counts = [as_int(value) for value in values]
        for place, (count, value) in enumerate(zip(counts, values, strict=True)):
            if count is None and is_integer(value):
                self._refuse(place, f"{key} has more than 64 bits")
        return number_array(counts, pa.int64())

    def instants(self, key: str) -> pa.Array:
        """UTC without a zone, as the tables hold it. NULL if there is none or it cannot be read."""
        texts = self.texts(key)
        if _all_match(texts, _PLAIN_INSTANT):
            try:
                return texts.cast(pa.timestamp("us", "UTC")).view(pa.timestamp("us"))
            except pa.ArrowInvalid:
                # The 30th of February.
                pass
        instants = map(as_instant, texts.to_pylist())
        since = [None if instant is None else (instant - _EPOCH) // _UNIT for instant in instants]
        return number_array(since, pa.timestamp("us"))

    def times_of_events(self, key: str) -> pa.Array:
        """The same, but a row without one cannot be read."""
        instants = self.instants(key)
        if instants.null_count:
            for place, missing in enumerate(instants.is_null().to_pylist()):
                if missing:
                    self._refuse(place, f"no readable {key}")
        return instants

    def _refuse(self, place: int, reason: str) -> None:
        self.unreadable.setdefault(place, reason)


def _all_match(texts: pa.Array, pattern: str) -> bool:
    """Whether all texts that are not NULL match a pattern."""
    return pc.all(pc.match_substring_regex(texts, pattern), min_count=0).as_py()  # type: ignore[no-any-return]


def _days(instants: pa.Array) -> pa.Array:
    return instants.cast(pa.date32())


@dataclass(frozen=True)
class RowReader:
    """Reads the rows of one listing into columns."""

    schema: pa.Schema
    columns: Callable[[_Page], Sequence[pa.Array]]
    """Rows as the columns of `schema`."""
    fields: Mapping[str, Field]
    """The fields that it reads."""
    unread: frozenset[str] = frozenset()
    """Fields that are known, but that no table holds."""
    keeps_others: bool = False
    """Any other field is kept in `custom_fields`."""

    def read(self, rows: Sequence[Row]) -> tuple[pa.RecordBatch, dict[int, str]]:
        """The rows that can be read, in their order, and the places of the others with the reason.

        A reason holds no personal data.
        """
        page = _Page(rows)
        batch = pa.record_batch(self.columns(page), schema=self.schema)
        if page.unreadable:
            readable = [place for place in range(len(rows)) if place not in page.unreadable]
            batch = batch.take(number_array(readable, pa.int64()))
        return batch, dict(sorted(page.unreadable.items()))


def fields_seen(rows: Sequence[Row]) -> Seen:
    """The fields of these rows and the kinds of their values. Every row that is ever read passes here."""
    return {name: {KINDS[type_] for type_ in _types(rows, name)} for name in set(chain.from_iterable(rows))}


def _types(rows: Sequence[Row], name: str) -> set[type]:
    try:
        return set(map(type, map(itemgetter(name), rows)))
    except KeyError:
        return {type(row[name]) for row in rows if name in row}


def _schema(table: Table, leave_out: tuple[str, ...], *more: tuple[str, pa.DataType]) -> pa.Schema:
    own = [(c.name, _ARROW[c.type]) for c in table.columns if c.name not in leave_out]
    return pa.schema([*own, *more])


_VERSION_COLUMNS = ("deleted_at", "observed_at", "partition_date")


_ID = Field(frozenset(("text", "number")))
_TEXT = Field(frozenset(("text",)))
_NUMBER = Field(frozenset(("text", "number")))
# No recorded reply shows whether iContact leaves out what is empty in every row of a folder.
_ID_OR_ABSENT = Field(_ID.kinds, may_be_absent=True)
_TEXT_OR_ABSENT = Field(_TEXT.kinds, may_be_absent=True)

_CONTACT_COLUMNS = {
    "email": _TEXT,
    "prefix": _TEXT,
    "firstName": _TEXT,
    "lastName": _TEXT,
    "suffix": _TEXT,
    "street": _TEXT,
    "street2": _TEXT,
    "city": _TEXT,
    "state": _TEXT,
    "postalCode": _TEXT,
    "phone": _TEXT,
    "fax": _TEXT,
    "business": _TEXT_OR_ABSENT,
    "status": _TEXT,
    "bounceCount": _NUMBER,
    "createDate": _TEXT,
}
_CONTACT_FIELDS = {"contactId": _ID, **_CONTACT_COLUMNS}


def _contacts(page: _Page) -> list[pa.Array]:
    others = set(chain.from_iterable(page.rows)) - _CONTACT_FIELDS.keys()
    return [
        page.ids("contactId"),
        *map(page.texts, _CONTACT_COLUMNS),
        text_array([_json({key: row[key] for key in others if key in row}) for row in page.rows]),
        _days(page.instants("createDate")),
    ]


def _json(fields: Row) -> str | None:
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode() if fields else None


_MESSAGE_FIELDS = {
    "messageId": _ID,
    "campaignId": _ID,
    "messageType": _TEXT,
    "subject": _TEXT,
    "messageName": _TEXT_OR_ABSENT,
    "createDate": _TEXT,
    "htmlBody": _TEXT,
}
_MESSAGE_UNREAD = frozenset(("textBody", "previewText", "replyToCampaignId", "spamCheck"))

# The exact comment of the vendor's "Filter by AID" setting.
_AID = re.compile(r"<!-- lytics-aid:(.+?) -->")


def _messages(page: _Page) -> list[pa.Array]:
    return [
        page.ids("messageId"),
        page.texts("campaignId"),
        page.texts("messageType"),
        page.texts("subject"),
        page.texts("messageName"),
        page.texts("createDate"),
        list_array([sorted(set(_AID.findall(as_text(body) or ""))) for body in page.values("htmlBody")]),
        _days(page.instants("createDate")),
    ]


_SEND_FIELDS = {
    "sendId": _ID,
    "messageId": _ID,
    "includeListIds": _ID_OR_ABSENT,
    "excludeListIds": _ID_OR_ABSENT,
    "includeSegmentIds": _ID_OR_ABSENT,
    "excludeSegmentIds": _ID_OR_ABSENT,
    "scheduledTime": _TEXT,
    "releasedTime": _TEXT,
    "recipientCount": _NUMBER,
    "status": _TEXT,
}


def _sends(page: _Page) -> list[pa.Array]:
    scheduled, released = page.instants("scheduledTime"), page.instants("releasedTime")
    return [
        page.ids("sendId"),
        page.ids("messageId"),
        page.texts("includeListIds"),
        page.texts("excludeListIds"),
        page.texts("includeSegmentIds"),
        page.texts("excludeSegmentIds"),
        page.texts("scheduledTime"),
        page.texts("releasedTime"),
        scheduled,
        released,
        page.counts("recipientCount"),
        page.texts("status"),
        _days(pc.coalesce(released, scheduled)),
    ]


_LIST_FIELDS = {"listId": _ID, "name": _TEXT, "publicname": _TEXT, "description": _TEXT}
_LIST_UNREAD = frozenset(("emailOwnerOnChange", "welcomeOnManualAdd", "welcomeOnSignupAdd", "welcomeMessageId"))


def _lists(page: _Page) -> list[pa.Array]:
    return [
        page.ids("listId"),
        page.texts("name"),
        page.texts("publicname"),
        page.texts("description"),
        pa.nulls(len(page.rows), pa.date32()),
    ]


_SUBSCRIPTION_FIELDS = {"listId": _ID, "contactId": _ID, "status": _TEXT, "addDate": _TEXT}
_SUBSCRIPTION_UNREAD = frozenset(("subscriptionId", "confirmationMessageId"))


def _subscriptions(page: _Page) -> list[pa.Array]:
    added = page.instants("addDate")
    list_ids, contact_ids = page.ids("listId"), page.ids("contactId")
    ids = zip(list_ids.to_pylist(), contact_ids.to_pylist(), strict=True)
    return [
        text_array([f"{list_id}_{contact_id}" for list_id, contact_id in ids]),
        list_ids,
        contact_ids,
        page.texts("status"),
        page.texts("addDate"),
        added,
        _days(added),
    ]


_OWN_DATE = (OWN_DATE, pa.date32())

LISTING_READERS = {
    "contacts": RowReader(
        _schema(RAW_CONTACTS, _VERSION_COLUMNS, _OWN_DATE), _contacts, _CONTACT_FIELDS, keeps_others=True
    ),
    "messages": RowReader(
        _schema(RAW_MESSAGES, _VERSION_COLUMNS, _OWN_DATE), _messages, _MESSAGE_FIELDS, _MESSAGE_UNREAD
    ),
    "sends": RowReader(_schema(RAW_SENDS, _VERSION_COLUMNS, _OWN_DATE), _sends, _SEND_FIELDS),
    "lists": RowReader(_schema(RAW_LISTS, _VERSION_COLUMNS, _OWN_DATE), _lists, _LIST_FIELDS, _LIST_UNREAD),
    "subscriptions": RowReader(
        _schema(RAW_SUBSCRIPTIONS, _VERSION_COLUMNS, _OWN_DATE),
        _subscriptions,
        _SUBSCRIPTION_FIELDS,
        _SUBSCRIPTION_UNREAD,
    ),
}

EVENT_TYPES = {"opens": "open", "clicks": "click", "bounces": "bounce", "unsubscribes": "unsubscribe"}
"""iContact's four listings of a message, and the event type their rows become."""

_EVENT_SCHEMA = _schema(RAW_ACTIVITY, ("message_id", "event_type", "ordinal", "extracted_at", "partition_date"))


def activity_reader(kind: str) -> RowReader:
    """Reads rows of one of the four listings: contact_id, event_time (UTC), event_url."""
    time_key = f"{EVENT_TYPES[kind]}Time"
    fields = {"contactId": _ID, time_key: _TEXT, **({"clickLink": _TEXT} if kind == "clicks" else {})}

    def columns(page: _Page) -> list[pa.Array]:
        links = page.texts("clickLink") if kind == "clicks" else pa.nulls(len(page.rows), pa.string())
        return [page.ids("contactId"), page.times_of_events(time_key), links]

    return RowReader(_EVENT_SCHEMA, columns, fields)
