"""The back door for tests, below /_control/: clock, switches, faults, edits of the world, request log, truth."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from icontact_assets.sandbox.faults import Edit, Plans
from icontact_assets.sandbox.kept import EDIT, Kept, KeptError, Write
from icontact_assets.sandbox.reading import changed
from icontact_assets.sandbox.seed import FIRST_CONTACT, FIRST_LIST, FIRST_MESSAGE, FIRST_SEND, Plan, build
from icontact_assets.sandbox.service import Service
from icontact_assets.sandbox.switches import Switches
from icontact_assets.sandbox.times import instant_of, utc_text
from icontact_assets.sandbox.world import (
    CONTACT_FIELDS,
    NEVER,
    Clock,
    Contact,
    Folder,
    Kind,
    MailingList,
    Message,
    Send,
    Subscription,
)

Json = Any
Instant = Annotated[int, BeforeValidator(lambda value: instant_of(value) if isinstance(value, str) else value)]
MAIN_FOLDER = 7601


class ControlError(Exception):
    """A control request that makes no sense. The text says why."""


class State:
    """Everything one running sandbox holds: the world, its service, the planned faults, the request log.

    A `kept` world goes on as it was left, at the real time. Raises KeptError if its writes cannot be carried out again.
    """

    def __init__(
        self,
        plan: Plan,
        switches: Switches,
        now: float | None = None,
        *,
        frozen: bool = False,
        kept: Kept | None = None,
    ) -> None:
        self.kept: Kept | None = None
        self.first = (plan, now, frozen)
        self.first_switches = switches
        self.log: list[dict[str, Any]] = []
        self.numbers = itertools.count(1)
        self.plans = Plans()
        if kept is None:
            self.rebuild(*self.first)
        else:
            self._go_on(kept)

    def _go_on(self, kept: Kept) -> None:
        self.rebuild(kept.plan, kept.began, frozen=True)
        control, clock = Control(self), self.world.clock
        for write in kept.writes:
            clock.set(write.at)
            try:
                if write.method == EDIT:
                    control.edit(write.path, orjson.loads(write.body))
                    continue
                done = self.service.repeat(write.method, write.path, write.body.encode()).status == 200
            except (ControlError, ValueError, LookupError) as error:
                raise KeptError(f"A write cannot be carried out again ({write.path}): begin another file.") from error
            if not done:
                raise KeptError(f"A write cannot be carried out again ({write.path}): begin another file.")
        clock.set(max(time.time(), clock.now()))
        clock.freeze(False)
        self.kept = kept

    def note(self, method: str, path: str, body: bytes) -> None:
        """Keep a write that was carried out, if the world is kept."""
        if self.kept is not None:
            self.kept.note(Write(self.world.clock.now(), method, path, body.decode("utf-8", "replace")))

    def rebuild(self, plan: Plan, now: float | None, frozen: bool) -> None:
        """A new world without faults and log, under the first switches. Without `now` it is real time."""
        clock = Clock(time.time() if now is None else now, frozen)
        self.service = Service(build(plan, clock, self.first_switches.model_copy()))
        self.world = self.service.world
        self.log.clear()
        self.numbers = itertools.count(1)
        self.plans.clear()


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _InFolder(_Strict):
    folder: int = MAIN_FOLDER


class AddContact(_InFolder):
    contact_id: int | None = None
    email: str
    status: Literal["normal", "bounced", "donotcontact", "pending", "invitable", "deleted"] = "normal"
    bounce_count: int | None = None
    created: Instant | None = None
    fields: dict[str, str | None] = {}
    custom: dict[str, str | None] = {}
    lists: list[int] = []
    refused: str | None = None


class UpdateContact(_InFolder):
    contact_id: int
    status: Literal["normal", "bounced", "donotcontact", "pending", "invitable", "deleted"] | None = None
    bounce_count: int | None = None
    created: Instant | None = None
    fields: dict[str, str | None] = {}
    custom: dict[str, str | None] = {}
    refused: str | None = None


class DeleteContact(_InFolder):
    contact_id: int
    hard: bool = True


class AddMessage(_InFolder):
    message_id: int | None = None
    subject: str = "News"
    html_body: str = "<p>Hello</p>"
    text_body: str = ""
    message_name: str = ""
    message_type: str = "normal"
    campaign_id: int | None = 2401
    created: Instant | None = None
    released: Instant | None = None
    lists: list[int] = [FIRST_LIST]
    recipients: int | None = None


class UpdateMessage(_InFolder):
    message_id: int
    subject: str | None = None
    html_body: str | None = None
    text_body: str | None = None
    message_name: str | None = None
    message_type: str | None = None
    created: Instant | None = None


class OneMessage(_InFolder):
    message_id: int


class ReleaseMessage(_InFolder):
    message_id: int
    at: Instant | None = None
    scheduled: Instant | None = None
    lists: list[int] = [FIRST_LIST]
    segments: list[int] = []
    recipients: int | None = None
    cancelled: bool = False
    send_id: int | None = None


class OneSend(_InFolder):
    send_id: int


class AddList(_InFolder):
    list_id: int | None = None
    name: str
    publicname: str = ""
    description: str = ""


class UpdateList(_InFolder):
    list_id: int
    name: str | None = None
    publicname: str | None = None
    description: str | None = None


class OneList(_InFolder):
    list_id: int


class SetSubscription(_InFolder):
    list_id: int
    contact_id: int
    status: Literal["normal", "pending", "unsubscribed"] = "normal"
    added: Instant | None = None
    position: int | None = Field(None, ge=0)


class OneSubscription(_InFolder):
    list_id: int
    contact_id: int


class AddEvent(_InFolder):
    message_id: int
    kind: Kind
    contact_id: int
    at: Instant | None = None
    url: str | None = None
    visible_from: Instant | None = None
    position: int | None = Field(None, ge=0)
    times: int = Field(1, ge=1)
    apart: int = Field(0, ge=0, description="seconds between the `times` rows, which are then of one contact each")


class DeleteEvent(_InFolder):
    message_id: int
    kind: Kind
    position: int | None = Field(None, ge=0)
    contact_id: int | None = None


class SetStatistics(_InFolder):
    message_id: int
    values: dict[str, Any] | None


class SetClock(_Strict):
    now: Instant | None = None
    advance: float | None = None
    frozen: bool | None = None


class Reset(_Strict):
    seed: int | None = None
    contacts: int | None = Field(None, ge=0)
    messages: int | None = Field(None, ge=0)
    days: int | None = Field(None, ge=1)
    now: Instant | None = None
    frozen: bool | None = None


class Control:
    """Answers control requests on a state. Raises ControlError with a clear text for what it does not understand."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.edits: dict[str, tuple[type[BaseModel], Callable[[Folder, Any], Json]]] = {
            "contacts/add": (AddContact, self._add_contact),
            "contacts/update": (UpdateContact, self._update_contact),
            "contacts/delete": (DeleteContact, self._delete_contact),
            "messages/add": (AddMessage, self._add_message),
            "messages/update": (UpdateMessage, self._update_message),
            "messages/delete": (OneMessage, lambda folder, edit: self._drop(folder.messages, edit.message_id)),
            "messages/release": (ReleaseMessage, self._release),
            "sends/delete": (OneSend, lambda folder, edit: self._drop(folder.sends, edit.send_id)),
            "lists/add": (AddList, self._add_list),
            "lists/update": (UpdateList, self._update_list),
            "lists/delete": (OneList, self._delete_list),
            "subscriptions/set": (SetSubscription, self._set_subscription),
            "subscriptions/delete": (OneSubscription, self._delete_subscription),
            "events/add": (AddEvent, self._add_event),
            "events/delete": (DeleteEvent, self._delete_event),
            "statistics/set": (SetStatistics, self._set_statistics),
        }

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Json:
        """One control request. `path` is what follows /_control/."""
        try:
            given = orjson.loads(body) if body else None
        except orjson.JSONDecodeError as problem:
            raise ControlError(f"the body is not JSON: {problem}") from problem
        try:
            return self._answer(path.strip("/"), query, given, writing=method == "POST")
        except ValidationError as problem:
            words = "; ".join(
                f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in problem.errors()
            )
            raise ControlError(f"{path}: {words}") from problem

    def _answer(self, path: str, query: dict[str, str], given: Json, *, writing: bool) -> Json:
        state = self.state
        if path in self.edits and writing:
            return self.edit(path, given or {})
        if path == "edits" and writing:
            steps = Edit.model_validate({"kind": "edit", **(given or {})}).steps()
            for name, values in steps:
                self.check(name, values)
            return [self.edit(name, values) for name, values in steps]
        if path == "clock":
            return self._clock(SetClock.model_validate(given or {}))
        if path == "switches":
            if writing:
                state.service.change_switches(given or {})
            return state.world.switches.model_dump()
        if path == "faults":
            if writing:
                faults = given["faults"] if isinstance(given, dict) and set(given) == {"faults"} else given
                if not isinstance(faults, list):
                    raise ControlError('faults: give a list of faults, or {"faults": [...]}')
                state.plans.add(faults, self.check)
            return [
                {"seen": planned.seen, "struck": planned.struck, **planned.fault.model_dump(exclude_unset=True)}
                for planned in state.plans.planned
            ]
        if path == "faults/clear":
            state.plans.clear()
            return []
        if path == "log":
            since = int(query.get("since", 0))
            return [row for row in state.log if row["n"] > since]
        if path == "log/clear":
            state.log.clear()
            return []
        if path == "reset":
            return self._reset(Reset.model_validate(given or {}))
        if path == "truth":
            return truth(
                self._folder(int(query.get("folder", MAIN_FOLDER))), state.world.clock.now(), query.get("resource")
            )
        known = [
            "clock",
            "edits",
            "faults",
            "faults/clear",
            "log",
            "log/clear",
            "reset",
            "switches",
            "truth",
            *self.edits,
        ]
        raise ControlError(f"there is no control path {path!r} for this method; known: {', '.join(known)}")

    def check(self, path: str, given: Json) -> BaseModel:
        """The edit that a path and its values mean. Raises ControlError or pydantic.ValidationError."""
        if path not in self.edits:
            raise ControlError(f"there is no edit {path!r}; known: {', '.join(self.edits)}")
        return self.edits[path][0].model_validate(given)

    def edit(self, path: str, given: Json) -> Json:
        """Edits the world. The reply names the row."""
        edit, change = self.check(path, given), self.edits[path][1]
        folder = self._folder(edit.folder)  # type: ignore[attr-defined]
        with self.state.world.clock.held():
            result = change(folder, edit)
            self.state.note(EDIT, path, orjson.dumps(given))
        folder.touch()
        return result

    def _folder(self, folder_id: int) -> Folder:
        folder = self.state.world.folders.get(folder_id)
        if folder is None:
            raise ControlError(f"there is no client folder {folder_id}; known: {sorted(self.state.world.folders)}")
        return folder

    @property
    def _now(self) -> int:
        return self.state.world.clock.now()

    def _clock(self, change: SetClock) -> Json:
        clock = self.state.world.clock
        if change.frozen is not None:
            clock.freeze(change.frozen)
        if change.now is not None:
            clock.set(change.now)
        if change.advance is not None:
            clock.set(clock.now() + change.advance)
        for folder in self.state.world.folders.values():
            folder.settle(clock.now())
        return {"now": utc_text(clock.now()), "timestamp": clock.now(), "frozen": clock.frozen}

    def _reset(self, change: Reset) -> Json:
        if self.state.kept is not None:
            raise ControlError("this world is kept in a file: start a sandbox on another file instead")
        plan, now, frozen = self.state.first
        self.state.rebuild(
            replace(plan, **change.model_dump(exclude_none=True, include={"seed", "contacts", "messages", "days"})),
            now if change.now is None else change.now,
            frozen if change.frozen is None else change.frozen,
        )
        return self._clock(SetClock())

    # Edits

    def _add_contact(self, folder: Folder, edit: AddContact) -> Json:
        self._check_fields(edit.fields)
        contact_id = folder.new_id("contacts", FIRST_CONTACT, edit.contact_id)
        self._absent(folder.contacts, contact_id, "contact")
        now = self._now if edit.created is None else edit.created
        fields = {"email": edit.email, **edit.fields}
        contact = Contact(contact_id, now, fields, edit.status, edit.bounce_count, dict(edit.custom))
        contact.refused = edit.refused
        folder.put_contact(contact)
        for list_id in edit.lists:
            folder.put_subscription(Subscription(list_id, contact_id, "normal", now))
        return {"contact_id": contact_id}

    def _update_contact(self, folder: Folder, edit: UpdateContact) -> Json:
        self._check_fields(edit.fields)
        row = self._present(folder.contacts, edit.contact_id, "contact")
        values: dict[str, Any] = {"fields": {**row.fields, **edit.fields}, "custom": {**row.custom, **edit.custom}}
        if edit.status is not None:
            values |= {"status": edit.status, "bounced_at": NEVER}
        if "bounce_count" in edit.model_fields_set:
            values["bounce_count"] = edit.bounce_count
        if edit.created is not None:
            values["created"] = edit.created
        if "refused" in edit.model_fields_set:
            values["refused"] = edit.refused
        folder.put_contact(changed(row, **values))
        return {"contact_id": row.id}

    def _delete_contact(self, folder: Folder, edit: DeleteContact) -> Json:
        row = self._present(folder.contacts, edit.contact_id, "contact")
        if edit.hard:
            folder.drop_contact(row.id)
        else:
            folder.put_contact(changed(row, status="deleted"))
        return {"contact_id": row.id}

    def _add_message(self, folder: Folder, edit: AddMessage) -> Json:
        message_id = folder.new_id("messages", FIRST_MESSAGE, edit.message_id)
        self._absent(folder.messages, message_id, "message")
        created = edit.created
        if created is None:
            created = self._now if edit.released is None else min(self._now, edit.released - 3600)
        folder.messages[message_id] = Message(
            message_id,
            created,
            edit.subject,
            edit.html_body,
            edit.text_body,
            edit.message_name,
            edit.message_type,
            edit.campaign_id,
        )
        if edit.released is None:
            return {"message_id": message_id, "send_id": None}
        release = ReleaseMessage(
            folder=folder.id, message_id=message_id, at=edit.released, lists=edit.lists, recipients=edit.recipients
        )
        return self._release(folder, release)

    def _update_message(self, folder: Folder, edit: UpdateMessage) -> Json:
        row = self._present(folder.messages, edit.message_id, "message")
        names = {
            "subject": "subject", "html_body": "html", "text_body": "text", "message_name": "name",
            "message_type": "type", "created": "created",
        }  # fmt: skip
        given = edit.model_dump(exclude_none=True)
        folder.messages[row.id] = changed(row, **{names[name]: value for name, value in given.items() if name in names})
        return {"message_id": row.id}

    def _release(self, folder: Folder, edit: ReleaseMessage) -> Json:
        self._present(folder.messages, edit.message_id, "message")
        at = self._now if edit.at is None else edit.at
        recipients = edit.recipients
        if recipients is None:
            people = {
                key[1]
                for key, row in folder.subscriptions.items()
                if key[0] in edit.lists and row.status_at(at) == "normal"
            }
            recipients = len(people)
        send_id = folder.new_id("sends", FIRST_SEND, edit.send_id)
        self._absent(folder.sends, send_id, "send")
        scheduled = at if edit.scheduled is None else edit.scheduled
        folder.sends[send_id] = Send(
            send_id, edit.message_id, min(scheduled, self._now), scheduled, NEVER if edit.cancelled else at, recipients,
            ",".join(str(number) for number in edit.lists), "", ",".join(str(number) for number in edit.segments),
            cancelled=edit.cancelled,
        )  # fmt: skip
        return {"message_id": edit.message_id, "send_id": send_id}

    def _add_list(self, folder: Folder, edit: AddList) -> Json:
        list_id = folder.new_id("lists", FIRST_LIST, edit.list_id)
        self._absent(folder.lists, list_id, "list")
        folder.lists[list_id] = MailingList(list_id, edit.name, edit.publicname, edit.description)
        return {"list_id": list_id}

    def _update_list(self, folder: Folder, edit: UpdateList) -> Json:
        row = self._present(folder.lists, edit.list_id, "list")
        values = edit.model_dump(exclude_none=True, exclude={"folder", "list_id"})
        folder.lists[row.id] = changed(row, **values)
        return {"list_id": row.id}

    def _set_subscription(self, folder: Folder, edit: SetSubscription) -> Json:
        self._present(folder.lists, edit.list_id, "list")
        before = folder.subscriptions.get((edit.list_id, edit.contact_id))
        added = edit.added if edit.added is not None else before.created if before else self._now
        folder.put_subscription(Subscription(edit.list_id, edit.contact_id, edit.status, added))
        if edit.position is not None:
            row = folder.subscriptions.pop((edit.list_id, edit.contact_id))
            rows = list(folder.subscriptions.values())
            rows.insert(edit.position, row)
            folder.subscriptions = {(kept.list_id, kept.contact_id): kept for kept in rows}
        return {"subscription_id": f"{edit.list_id}_{edit.contact_id}"}

    def _delete_subscription(self, folder: Folder, edit: OneSubscription) -> Json:
        self._present(folder.subscriptions, (edit.list_id, edit.contact_id), "subscription")
        folder.drop_subscription(edit.list_id, edit.contact_id)
        return {"subscription_id": f"{edit.list_id}_{edit.contact_id}"}

    def _add_event(self, folder: Folder, edit: AddEvent) -> Json:
        self._present(folder.messages, edit.message_id, "message")
        log = folder.log(edit.message_id, edit.kind)
        if edit.position is not None and edit.position > len(log):
            raise ControlError(
                f"position {edit.position} is behind the end of the listing, which holds {len(log)} rows"
            )
        at = self._now if edit.at is None else edit.at
        visible = min(at, self._now) if edit.visible_from is None else edit.visible_from
        if edit.visible_from is None and at > self._now:
            visible = at
        log.insert(
            edit.position,
            edit.contact_id,
            at,
            visible,
            folder.link_number(edit.url),
            times=edit.times,
            apart=edit.apart,
        )
        return {"rows": len(log)}

    def _delete_event(self, folder: Folder, edit: DeleteEvent) -> Json:
        log = folder.log(edit.message_id, edit.kind)
        if (edit.position is None) == (edit.contact_id is None):
            raise ControlError("events/delete: give either position or contact_id")
        if edit.position is not None:
            if edit.position >= len(log):
                raise ControlError(
                    f"position {edit.position} is behind the end of the listing, which holds {len(log)} rows"
                )
            positions = np.array([edit.position], np.int64)
        else:
            positions = np.flatnonzero(log.contact == edit.contact_id).astype(np.int64)
        log.remove(positions)
        return {"rows": len(log)}

    @staticmethod
    def _set_statistics(folder: Folder, edit: SetStatistics) -> Json:
        if edit.values is None:
            folder.statistics.pop(edit.message_id, None)
        else:
            folder.statistics[edit.message_id] = edit.values
        return folder.statistics.get(edit.message_id)

    def _delete_list(self, folder: Folder, edit: Any) -> Json:
        folder.keep_last_id("lists", 5001)
        return self._drop(folder.lists, edit.list_id)

    def _drop(self, rows: dict[Any, Any], key: int) -> Json:
        self._present(rows, key, "row")
        del rows[key]
        return {"deleted": key}

    @staticmethod
    def _present(rows: dict[Any, Any], key: Any, what: str) -> Any:
        if key not in rows:
            raise ControlError(f"there is no {what} {key}")
        return rows[key]

    @staticmethod
    def _absent(rows: dict[Any, Any], key: Any, what: str) -> None:
        if key in rows:
            raise ControlError(f"{what} {key} is there already")

    @staticmethod
    def _check_fields(fields: dict[str, Any]) -> None:
        """These must be the service's. Custom values may have any name, since some tests are about new fields."""
        unknown = set(fields) - set(CONTACT_FIELDS)
        if unknown:
            raise ControlError(
                f"not fields of a contact: {', '.join(sorted(unknown))}; use `custom` for fields of your own"
            )


def truth(folder: Folder, now: int, resource: str | None) -> Json:
    """The raw facts of a folder: every row it holds, shown or not, ids as text, instants as UTC text (null: never)."""
    tables: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "contacts": lambda: [
            {
                "contact_id": str(row.id), "status": row.status_at(now), "created": utc_text(row.created),
                "visible": row.created <= now, "bounce_count": row.bounce_count, "fields": row.fields,
                "custom": row.custom, "lists": sorted(str(number) for number in folder.lists_of.get(row.id, ())),
            }
            for row in folder.contacts.values()
        ],
        "messages": lambda: [
            {
                "message_id": str(row.id), "created": utc_text(row.created), "visible": row.created <= now,
                "subject": row.subject, "message_name": row.name, "message_type": row.type, "html_body": row.html,
                "campaign_id": None if row.campaign_id is None else str(row.campaign_id),
            }
            for row in folder.messages.values()
        ],
        "sends": lambda: [
            {
                "send_id": str(row.id), "message_id": str(row.message_id), "status": row.status_at(now),
                "visible": row.made <= now, "scheduled": utc_text(row.scheduled),
                "released": None if row.released == NEVER else utc_text(row.released), "recipients": row.recipients,
                "include_lists": row.include_lists, "include_segments": row.include_segments,
                "automation": row.automation,
            }
            for row in folder.sends.values()
        ],
        "lists": lambda: [{"list_id": str(row.id), "name": row.name, "visible": True} for row in folder.lists.values()],
        "subscriptions": lambda: [
            {
                "list_id": str(row.list_id), "contact_id": str(row.contact_id), "status": row.status_at(now),
                "added": utc_text(row.created), "visible": row.created <= now,
            }
            for row in folder.subscriptions.values()
        ],
        "activity": lambda: [
            {
                "message_id": str(message_id), "kind": kind, "contact_id": str(contact), "instant": utc_text(at),
                "url": folder.links[link] if link >= 0 else None, "visible": visible <= now,
                "visible_from": utc_text(visible),
            }
            for (message_id, kind), log in folder.activity.items()
            for contact, at, visible, link in zip(
                log.contact.tolist(), log.at.tolist(), log.visible.tolist(), log.link.tolist(), strict=True
            )
        ],
    }  # fmt: skip
    if resource is None:
        return {name: table() for name, table in tables.items()}
    if resource not in tables:
        raise ControlError(f"there is no resource {resource!r} in the truth; known: {', '.join(tables)}")
    return tables[resource]()
