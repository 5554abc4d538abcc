"""What a row of each iContact listing has and becomes: typed columns, its own date, or why it cannot be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson
import pyarrow as pa

from icontact_assets.icontact.listing import Row
from icontact_assets.icontact.values import as_id, as_instant, as_int, as_text, is_integer
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


class Unreadable(Exception):
    """A row that goes to quarantine. The text is the reason and holds no personal data."""


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


@dataclass(frozen=True)
class RowReader:
    """Reads the rows of one listing into columns."""

    schema: pa.Schema
    read: Callable[[Row], tuple[Any, ...]]
    """A row as the columns of `schema`. Raises Unreadable."""
    fields: Mapping[str, Field]
    """The fields that it reads."""
    unread: frozenset[str] = frozenset()
    """Fields that are known, but that no table holds."""
    keeps_others: bool = False
    """Any other field is kept in `custom_fields`."""

    def batch(self, rows: Sequence[tuple[Any, ...]]) -> pa.RecordBatch:
        """Rows in the order of `schema` as one Arrow batch."""
        columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(self.schema)
        return pa.record_batch(
            [pa.array(column, type=field.type) for column, field in zip(columns, self.schema, strict=True)],
            schema=self.schema,
        )


def fields_seen(rows: Sequence[Row]) -> Seen:
    """The fields of these rows and the kinds of their values. Every row that is ever read passes here."""
    pairs: set[tuple[str, type]] = set()
    for row in rows:
        pairs.update(zip(row, map(type, row.values()), strict=False))
    seen: dict[str, set[str]] = {}
    for name, type_ in pairs:
        seen.setdefault(name, set()).add(KINDS[type_])
    return seen


def _schema(table: Table, leave_out: tuple[str, ...], *more: tuple[str, pa.DataType]) -> pa.Schema:
    own = [(c.name, _ARROW[c.type]) for c in table.columns if c.name not in leave_out]
    return pa.schema([*own, *more])


_VERSION_COLUMNS = ("deleted_at", "observed_at", "partition_date")


def _id(row: Row, key: str) -> str:
    value = row.get(key)
    id_ = as_id(value)
    if id_ is None:
        raise Unreadable(f"no {key}" if value is None or value == "" else f"{key} is not an id")
    return id_


def _count(row: Row, key: str) -> int | None:
    value = as_int(row.get(key))
    if value is None and is_integer(row.get(key)):
        raise Unreadable(f"{key} has more than 64 bits")
    return value


def _instant(text: object) -> datetime | None:
    """UTC without a zone, as the tables hold it. None if there is none or it cannot be read."""
    instant = as_instant(as_text(text))
    return None if instant is None else instant.replace(tzinfo=None)


def _day(instant: datetime | None) -> date | None:
    return None if instant is None else instant.date()


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


def _contact(row: Row) -> tuple[Any, ...]:
    custom = {key: value for key, value in row.items() if key not in _CONTACT_FIELDS}
    return (
        _id(row, "contactId"),
        *map(as_text, map(row.get, _CONTACT_COLUMNS)),
        orjson.dumps(custom, option=orjson.OPT_SORT_KEYS).decode() if custom else None,
        _day(_instant(row.get("createDate"))),
    )


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


def _message(row: Row) -> tuple[Any, ...]:
    return (
        _id(row, "messageId"),
        as_text(row.get("campaignId")),
        as_text(row.get("messageType")),
        as_text(row.get("subject")),
        as_text(row.get("messageName")),
        as_text(row.get("createDate")),
        sorted(set(_AID.findall(as_text(row.get("htmlBody")) or ""))),
        _day(_instant(row.get("createDate"))),
    )


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


def _send(row: Row) -> tuple[Any, ...]:
    scheduled, released = _instant(row.get("scheduledTime")), _instant(row.get("releasedTime"))
    return (
        _id(row, "sendId"),
        _id(row, "messageId"),
        as_text(row.get("includeListIds")),
        as_text(row.get("excludeListIds")),
        as_text(row.get("includeSegmentIds")),
        as_text(row.get("excludeSegmentIds")),
        as_text(row.get("scheduledTime")),
        as_text(row.get("releasedTime")),
        scheduled,
        released,
        _count(row, "recipientCount"),
        as_text(row.get("status")),
        _day(released or scheduled),
    )


_LIST_FIELDS = {"listId": _ID, "name": _TEXT, "publicname": _TEXT, "description": _TEXT}
_LIST_UNREAD = frozenset(("emailOwnerOnChange", "welcomeOnManualAdd", "welcomeOnSignupAdd", "welcomeMessageId"))


def _list(row: Row) -> tuple[Any, ...]:
    return (
        _id(row, "listId"),
        as_text(row.get("name")),
        as_text(row.get("publicname")),
        as_text(row.get("description")),
        None,
    )


_SUBSCRIPTION_FIELDS = {"listId": _ID, "contactId": _ID, "status": _TEXT, "addDate": _TEXT}
_SUBSCRIPTION_UNREAD = frozenset(("subscriptionId", "confirmationMessageId"))


def _subscription(row: Row) -> tuple[Any, ...]:
    added = _instant(row.get("addDate"))
    list_id, contact_id = _id(row, "listId"), _id(row, "contactId")
    return (
        f"{list_id}_{contact_id}",
        list_id,
        contact_id,
        as_text(row.get("status")),
        as_text(row.get("addDate")),
        added,
        _day(added),
    )


_OWN_DATE = (OWN_DATE, pa.date32())

LISTING_READERS = {
    "contacts": RowReader(
        _schema(RAW_CONTACTS, _VERSION_COLUMNS, _OWN_DATE), _contact, _CONTACT_FIELDS, keeps_others=True
    ),
    "messages": RowReader(
        _schema(RAW_MESSAGES, _VERSION_COLUMNS, _OWN_DATE), _message, _MESSAGE_FIELDS, _MESSAGE_UNREAD
    ),
    "sends": RowReader(_schema(RAW_SENDS, _VERSION_COLUMNS, _OWN_DATE), _send, _SEND_FIELDS),
    "lists": RowReader(_schema(RAW_LISTS, _VERSION_COLUMNS, _OWN_DATE), _list, _LIST_FIELDS, _LIST_UNREAD),
    "subscriptions": RowReader(
        _schema(RAW_SUBSCRIPTIONS, _VERSION_COLUMNS, _OWN_DATE),
        _subscription,
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

    def read(row: Row) -> tuple[Any, ...]:
        contact_id = _id(row, "contactId")
        instant = _instant(row.get(time_key))
        if instant is None:
            raise Unreadable(f"no readable {time_key}")
        return contact_id, instant, as_text(row.get("clickLink")) if kind == "clicks" else None

    return RowReader(_EVENT_SCHEMA, read, fields)
