"""What the service does on POST, PUT and DELETE: bulk rows with 200-and-warnings, merge, replace, moves, refusals."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import orjson

from icontact_assets.sandbox import render
from icontact_assets.sandbox.reading import (
    NOT_FOUND,
    RESOURCES,
    SINGULAR,
    Answer,
    Tweaks,
    changed,
    error,
    find,
    reply,
)
from icontact_assets.sandbox.times import instant_of
from icontact_assets.sandbox.world import (
    CONTACT_FIELDS,
    NEVER,
    Contact,
    Folder,
    MailingList,
    Message,
    Plain,
    Send,
    Subscription,
    World,
)

Json = Any
BAD_STATUS = (
    "The status value you provided was not valid. status can be either donotcontact or normal. "
    "Please provide a valid status"
)
NO_EMAIL = "You did not provide an email field, which is required. Please provide an email field"
FINAL = ("donotcontact", "pending", "invitable")
SUBSCRIPTION_STATUSES = ("normal", "pending", "unsubscribed")
LIST_FIELDS = {
    "name": "name",
    "publicname": "publicname",
    "description": "description",
    "emailOwnerOnChange": "owner_on_change",
    "welcomeOnManualAdd": "welcome_manual",
    "welcomeOnSignupAdd": "welcome_signup",
    "welcomeMessageId": "welcome_message",
}
MESSAGE_FIELDS = {
    "subject": "subject",
    "htmlBody": "html",
    "textBody": "text",
    "messageName": "name",
    "messageType": "type",
    "previewText": "preview",
}


class Refusal(Exception):
    """A row that is not written: the service's words, and the status if it stands alone or the whole POST fails."""

    def __init__(self, text: str, status: int = 400, *, whole: bool = False) -> None:
        super().__init__(text)
        self.text, self.status, self.whole = text, status, whole


class Writer:
    """Answers writes to one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._tweaks = Tweaks()

    def answer(self, method: str, folder: Folder, name: str, key: str | None, body: bytes, tweaks: Tweaks) -> Answer:
        """One write. `key` is the row in the path, None for the collection."""
        self._tweaks = tweaks
        if method == "DELETE" and key is not None:
            return self._delete(folder, name, key)
        try:
            data = orjson.loads(body)
        except orjson.JSONDecodeError:
            return error(400, "The request body could not be parsed")
        try:
            if key is None:
                return self._bulk(folder, name, data) if method == "POST" else error(405, "Method Not Allowed")
            return self._single(method, folder, name, key, data)
        except Refusal as refusal:
            return error(refusal.status, refusal.text)

    def later(self, folder: Folder, change: Callable[[], None]) -> None:
        """Carries out a change now, or when the switch says that it shows."""
        delay = self.world.switches.write_delay_seconds + self._tweaks.late_seconds
        if delay or self._tweaks.late_requests:
            folder.later(self.world.clock.now() + delay, self._tweaks.late_requests, change)
        else:
            change()

    def _row(self, name: str, row: Any) -> render.Row:
        """A row as answers to writes have it."""
        now, write = self.world.clock.now(), render.ident(self.world.switches)
        if name == "contacts":
            return render.contact(row, now, write, self.world.switches, written=True)
        if name == "lists":
            return render.mailing_list(row, write, written=True)
        return RESOURCES[name].write(row, now, write, self.world.switches)

    # Collections

    def _bulk(self, folder: Folder, name: str, data: Json) -> Answer:
        switches = self.world.switches
        if isinstance(data, dict):
            data = data.get(SINGULAR[name], data.get(name, data))
        rows = data if isinstance(data, list) else [data]
        if not all(isinstance(row, dict) for row in rows):
            return error(400, f"The request body must be an array of {name}")
        if switches.bulk_limit and len(rows) > switches.bulk_limit:
            return error(400, f"Too many {name} were provided. The largest number is {switches.bulk_limit}")
        make = {
            "contacts": self._make_contact,
            "subscriptions": self._make_subscription,
            "lists": self._make_list,
            "messages": self._make_message,
            "sends": self._make_send,
        }.get(name)
        done: list[tuple[Any, Callable[[], None]]] = []
        warnings: list[str] = []
        for row in rows:
            try:
                done.append(
                    make(folder, row, [made for made, _ in done]) if make else self._make_plain(folder, name, row)
                )
            except Refusal as refusal:
                if refusal.whole or switches.bulk_failure == "refuse":
                    raise
                warnings.append(refusal.text)
        for _, change in done:
            self.later(folder, change)
        items = [self._row(name, row) for row, _ in done]
        if switches.bulk_reply_order == "shuffled":
            random.Random(f"{self.world.seed}-{next(self.world.calls)}").shuffle(items)
        empty: list[Any] | None = [] if name == "sends" else None
        out: dict[str, Any] = {name: items or empty}
        if warnings:
            out["warnings"] = warnings
        return reply(out)

    def _make_subscription(
        self, folder: Folder, row: Json, _before: list[Any]
    ) -> tuple[Subscription, Callable[[], None]]:
        switches, now = self.world.switches, self.world.clock.now()
        for required in ("status", "listId", "contactId"):
            if row.get(required) in (None, ""):
                raise Refusal(
                    f"You did not provide a {required} field, which is required. Please provide a {required} field"
                )
        list_id, contact_id, status = _id(row["listId"]), _id(row["contactId"]), str(row["status"])
        if status not in SUBSCRIPTION_STATUSES:
            raise Refusal(f"The status value you provided was not valid ({status}).")
        contact = find(folder, "contacts", str(contact_id), now)
        if contact is None or contact.status == "deleted":
            raise Refusal(f"Contact {contact_id} could not be found and was not subscribed to list {list_id}")
        if list_id not in folder.lists:
            raise Refusal(f"List {list_id} could not be found, contact {contact_id} was not subscribed")
        existing = find(folder, "subscriptions", f"{list_id}_{contact_id}", now)
        confirmation = row.get("confirmationMessageId")
        new = Subscription(list_id, contact_id, status, now, NEVER, _id(confirmation) if confirmation else None)
        left = existing is not None and existing.status_at(now) == "unsubscribed"
        if contact.refused is not None and status != "unsubscribed":
            raise Refusal(contact.refused)
        if status != "unsubscribed" and (left or contact.status_at(now) == "donotcontact"):
            why = "is unsubscribed from" if left else "must not be contacted and was not subscribed to"
            mode = switches.resubscribe
            if mode == "pretend":
                return new, lambda: None
            if mode != "success":
                text = f"{self._named(contact)} {why} list {list_id}"
                raise Refusal(text, 400 if mode == "skip" else int(mode), whole=mode != "skip")
        elif existing is not None and existing.status_at(now) == status:
            if switches.post_existing_subscription == "existing":
                return existing, lambda: None
            text = f"{self._named(contact)} is already subscribed to list {list_id}"
            raise Refusal(text, 409, whole=switches.post_existing_subscription == "409")
        if existing is not None:
            new = changed(existing, status=status, unsubscribed_at=NEVER)
        return new, lambda: folder.put_subscription(new)

    def _make_contact(self, folder: Folder, row: Json, before: list[Any]) -> tuple[Contact, Callable[[], None]]:
        now = self.world.clock.now()
        email = row.get("email")
        if not email:
            raise Refusal(NO_EMAIL)
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", str(email)):
            raise Refusal("The email you provided was not valid. Please provide a valid email")
        key = min(folder.by_email.get(str(email).lower(), ()), default=None)
        existing = next((made for made in reversed(before) if made.fields["email"].lower() == str(email).lower()), None)
        if existing is None and key is not None:
            existing = find(folder, "contacts", str(key), now)
        if existing is None:
            existing = Contact(folder.new_id("contacts", 90_000_001), now, {})
        new = self._merged(folder, existing, row, blank=self.world.switches.post_existing_contact == "overwrite")
        return new, self._put_contact(folder, existing, new)

    def _make_list(self, folder: Folder, row: Json, _before: list[Any]) -> tuple[MailingList, Callable[[], None]]:
        if not row.get("name"):
            raise Refusal("You did not provide a name field, which is required. Please provide a name field")
        new = MailingList(folder.new_id("lists", 5001), "")
        new = changed(new, **{LIST_FIELDS[name]: value for name, value in row.items() if name in LIST_FIELDS})
        return new, lambda: _put(folder, folder.lists, new.id, new)

    def _make_message(self, folder: Folder, row: Json, _before: list[Any]) -> tuple[Message, Callable[[], None]]:
        for required in ("campaignId", "messageType", "subject"):
            if not row.get(required):
                raise Refusal(
                    f"You did not provide a {required} field, which is required. Please provide a {required} field"
                )
        new = Message(folder.new_id("messages", 310_001), self.world.clock.now(), "", "")
        new = changed(new, campaign_id=_id(row["campaignId"]), **_message_fields(row))
        return new, lambda: _put(folder, folder.messages, new.id, new)

    def _make_send(self, folder: Folder, row: Json, before: list[Any]) -> tuple[Send, Callable[[], None]]:
        now = self.world.clock.now()
        message_id = _id(row.get("messageId", ""))
        if message_id not in folder.messages:
            raise Refusal(f"Message {message_id} could not be found")
        taken = next(
            (
                send
                for send in [*folder.sends.values(), *before]
                if send.message_id == message_id and not send.cancelled
            ),
            None,
        )
        if taken is not None:
            raise Refusal(f"Message [messageId={message_id}] already scheduled for send [sendId={taken.id}]")
        lists = {_id(part) for part in str(row.get("includeListIds", "")).split(",") if part}
        if not lists and not row.get("includeSegmentIds"):
            raise Refusal(
                "You did not provide an includeListIds field, which is required. Please provide an includeListIds field"
            )
        try:
            at = instant_of(row["scheduledTime"]) if row.get("scheduledTime") else now
        except ValueError as problem:
            raise Refusal("The scheduledTime you provided was not valid") from problem
        people = {
            key[1] for key, kept in folder.subscriptions.items() if key[0] in lists and kept.status_at(now) == "normal"
        }
        new = Send(
            folder.new_id("sends", 978_001), message_id, now, at, at, len(people),
            str(row.get("includeListIds", "")), str(row.get("excludeListIds", "")),
            str(row.get("includeSegmentIds", "")), str(row.get("excludeSegmentIds", "")),
        )  # fmt: skip
        return new, lambda: _put(folder, folder.sends, new.id, new)

    def _make_plain(self, folder: Folder, name: str, row: Json) -> tuple[Plain, Callable[[], None]]:
        if name == "customfields":
            key = str(row.get("privateName") or row.get("customFieldId") or "")
            if not key:
                raise Refusal(
                    "You did not provide a privateName field, which is required. Please provide a privateName field"
                )
            field = {
                "customFieldId": key,
                "privateName": key,
                "publicName": key,
                "displayToUser": 1,
                "fieldType": "text",
            }
            made = Plain(key, {**field, **row})
            return made, lambda: _put(folder, folder.customfields, key, made)
        field_name, first = {
            "campaigns": ("campaignId", 2401),
            "segments": ("segmentId", 880_001),
            "webhooks": ("webhookId", 1),
        }[name]
        rows: dict[int, Plain] = getattr(folder, name)
        made = Plain(folder.new_id(name, first), {})
        made.row = {**row, field_name: made.id}
        return made, lambda: _put(folder, rows, made.id, made)

    # Single rows

    def _single(self, method: str, folder: Folder, name: str, key: str, data: Json) -> Answer:
        now = self.world.clock.now()
        allowed = {
            "subscriptions": ("POST", "PUT"),
            "contacts": ("POST", "PUT"),
            "lists": ("POST", "PUT"),
            "messages": ("POST",),
        }
        if method not in allowed.get(name, ()):
            return error(405, "Method Not Allowed")
        row = find(folder, name, key, now)
        if row is None:
            return error(500, f"No result for ({key}).") if name == "lists" else error(*NOT_FOUND)
        if isinstance(data, list) and len(data) == 1:
            data = data[0]
        if isinstance(data, dict):
            data = data.get(SINGULAR[name], data)
        if not isinstance(data, dict):
            return error(400, f"The request body must be one {SINGULAR[name]}")
        warnings: list[str] = []
        new: Any
        if name == "contacts":
            new = self._merged(folder, row, data, blank=method == "PUT")
            change = self._put_contact(folder, row, new)
        elif name == "lists":
            start = MailingList(row.id, "", owner_on_change=0) if method == "PUT" else row
            new = changed(start, **{LIST_FIELDS[field]: value for field, value in data.items() if field in LIST_FIELDS})
            change = lambda: _put(folder, folder.lists, new.id, new)  # noqa: E731
        elif name == "messages":
            values = _message_fields(data)
            if data.get("campaignId"):
                values["campaign_id"] = _id(data["campaignId"])
            new = changed(row, **values)
            change = lambda: _put(folder, folder.messages, new.id, new)  # noqa: E731
        elif method == "PUT":
            new, change, warnings = self._move(folder, row, data)
        else:
            new, change = self._set_subscription(folder, row, data)
        self.later(folder, change)
        out: dict[str, Any] = {SINGULAR[name]: self._row(name, new)}
        if warnings:
            out["warnings"] = warnings
        return reply(out)

    def _merged(self, folder: Folder, row: Contact, data: Json, *, blank: bool) -> Contact:
        """A contact with the given fields. The others stay, or become "" for a replacement."""
        status = data.get("status", row.status)
        if status != row.status and (status not in ("normal", "donotcontact") or row.status in FINAL):
            raise Refusal(BAD_STATUS)
        if blank and not data.get("email"):
            raise Refusal(NO_EMAIL)
        start: dict[str, str | None] = dict.fromkeys(CONTACT_FIELDS, "") if blank else dict(row.fields)
        custom: dict[str, str | None] = dict.fromkeys(row.custom, "") if blank else dict(row.custom)
        for name, value in data.items():
            text = None if value is None else str(value)
            if name in CONTACT_FIELDS:
                start[name] = text
            elif name in folder.customfields:
                custom[name] = text
        if folder.by_email.get((start["email"] or "").lower(), set()) - {row.id}:
            raise Refusal("The email you provided is already in use by another contact")
        new: Contact = changed(row, fields=start, custom=custom, status=status)
        return new

    def _put_contact(self, folder: Folder, before: Contact, new: Contact) -> Callable[[], None]:
        details = {
            name: value
            for name, value in {**new.fields, **new.custom}.items()
            if {**before.fields, **before.custom}.get(name) != value
        }

        def change() -> None:
            if new.id in folder.contacts and details:
                folder.history.setdefault(new.id, []).append((self.world.clock.now(), "EditFields", details))
            folder.put_contact(new)

        return change

    def _set_subscription(
        self, folder: Folder, row: Subscription, data: Json
    ) -> tuple[Subscription, Callable[[], None]]:
        switches, now = self.world.switches, self.world.clock.now()
        status = str(data.get("status", row.status_at(now)))
        if status not in SUBSCRIPTION_STATUSES:
            raise Refusal(f"The status value you provided was not valid ({status}).")
        new: Subscription = changed(row, status=status, unsubscribed_at=NEVER)
        contact = find(folder, "contacts", str(row.contact_id), now)
        forbidden = row.status_at(now) == "unsubscribed" or (
            contact is not None and contact.status_at(now) == "donotcontact"
        )
        if status != "unsubscribed" and forbidden:
            if switches.resubscribe == "pretend":
                return new, lambda: None
            if switches.resubscribe != "success":
                status_code = 400 if switches.resubscribe == "skip" else int(switches.resubscribe)
                raise Refusal(
                    f"{self._named(contact, row.contact_id)} is unsubscribed from list {row.list_id}", status_code
                )
        return new, lambda: folder.put_subscription(new)

    def _move(
        self, folder: Folder, row: Subscription, data: Json
    ) -> tuple[Subscription, Callable[[], None], list[str]]:
        """The subscription under the other list. Only `listId` counts. Who left that list is not moved to it."""
        switches, now = self.world.switches, self.world.clock.now()
        if not data.get("listId"):
            raise Refusal("You did not provide a listId field, which is required. Please provide a listId field")
        target = _id(data["listId"])
        if target not in folder.lists:
            raise Refusal(f"List {target} could not be found")
        other = sorted(set(data) - {"listId"})
        warnings = (
            [f"Only listId can be changed by this request, other fields were ignored ({', '.join(other)})."]
            if other
            else []
        )
        if target == row.list_id:
            return row, lambda: None, [*warnings, "No changes detected"]
        there = find(folder, "subscriptions", f"{target}_{row.contact_id}", now)
        contact = find(folder, "contacts", str(row.contact_id), now)
        who = self._named(contact, row.contact_id)
        if contact is not None and contact.refused is not None:
            raise Refusal(contact.refused)
        status = row.status_at(now)
        if there is not None and there.status_at(now) == "unsubscribed" and switches.resubscribe != "success":
            raise Refusal(f"{who} is unsubscribed from list {target}")
        if there is not None and there.status_at(now) != "unsubscribed" and switches.move_existing != "merge":
            raise Refusal(f"{who} is already subscribed to list {target}", int(switches.move_existing))
        if status == "unsubscribed" and switches.move_unsubscribed == "400":
            raise Refusal(f"{who} is unsubscribed from list {row.list_id}")
        if switches.move_unsubscribed == "subscribe":
            status = "normal"
        new = Subscription(target, row.contact_id, status, now, NEVER, row.confirmation_message)

        def change() -> None:
            if (row.list_id, row.contact_id) in folder.subscriptions:
                folder.drop_subscription(row.list_id, row.contact_id)
            folder.put_subscription(new)

        return new, change, warnings

    def _named(self, contact: Contact | None, contact_id: int | None = None) -> str:
        """A contact as refusals name it."""
        if contact is None:
            return f"Contact {contact_id}"
        address = contact.fields.get("email")
        return {"id": f"Contact {contact.id}", "address": f"{address}", "both": f"Contact {contact.id} ({address})"}[
            self.world.switches.refusal_names
        ]

    def _delete(self, folder: Folder, name: str, key: str) -> Answer:
        now = self.world.clock.now()
        if name in ("messages", "subscriptions"):
            return error(405, "Method Not Allowed")
        row = find(folder, name, key, now)
        if row is None:
            return error(500, f"No result for ({key}).") if name == "lists" else error(*NOT_FOUND)
        if name == "contacts":
            self.later(folder, lambda: folder.put_contact(changed(row, status="deleted")))
        elif name == "sends":
            if row.status_at(now) == "released":
                return error(400, "The send has already been released")
            self.later(folder, lambda: _put(folder, folder.sends, row.id, changed(row, cancelled=True, released=NEVER)))
        else:
            rows = getattr(folder, name)
            if name == "lists":
                folder.keep_last_id("lists", 5001)
            self.later(folder, lambda: _take(folder, rows, row.id))
        return reply([])


def _id(value: Any) -> int:
    text = str(value).strip()
    if not text.isdigit():
        raise Refusal(f"The id you provided was not valid ({text}).")
    return int(text)


def _message_fields(row: Json) -> dict[str, Any]:
    return {MESSAGE_FIELDS[name]: str(value) for name, value in row.items() if name in MESSAGE_FIELDS}


def _put(folder: Folder, rows: dict[Any, Any], key: Any, row: Any) -> None:
    rows[key] = row
    folder.touch()


def _take(folder: Folder, rows: dict[Any, Any], key: Any) -> None:
    rows.pop(key, None)
    folder.touch()
