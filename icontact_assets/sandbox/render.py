"""Facts as the service writes them: field names, nulls, ids, flags and times. Not which rows are shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from icontact_assets.sandbox.switches import Switches
from icontact_assets.sandbox.times import MINUTES, DateStyle, Style, hour_frame, in_turn, stamp
from icontact_assets.sandbox.world import (
    CONTACT_FIELDS,
    ActivityLog,
    Contact,
    Kind,
    Longs,
    MailingList,
    Message,
    Plain,
    Send,
    Subscription,
)

Row = dict[str, Any]
Ident = Callable[[int], str | int]
ACTIVITY_TIME: dict[Kind, str] = {
    "bounces": "bounceTime",
    "opens": "openTime",
    "clicks": "clickTime",
    "unsubscribes": "unsubscribeTime",
}


def ident(switches: Switches) -> Ident:
    """How ids are written in one reply. `mixed` takes turns."""
    if switches.ids == "string":
        return str
    if switches.ids == "integer":
        return int
    turn = 0

    def mixed(value: int) -> str | int:
        nonlocal turn
        turn += 1
        return str(value) if turn % 2 else value

    return mixed


def contact(row: Contact, now: int, write: Ident, switches: Switches, *, written: bool = False) -> Row:
    """A contact: unset fields are null in what is read unless the switch says otherwise, "" in answers to writes. Only
    these always have `business`."""
    blank = "" if written or switches.nulls == "blank" else None
    fields = row.fields
    out: Row = {name: fields.get(name, blank) for name in CONTACT_FIELDS[:-1]}
    if blank is not None:
        out = {name: value or "" for name, value in out.items()}
    business = fields.get("business")
    if written or business:
        out["business"] = business or ""
    out["createDate"] = stamp(row.created, switches.contact_date)
    out["status"] = row.status_at(now)
    out["bounceCount"] = blank if row.bounce_count is None else str(row.bounce_count)
    out["contactId"] = write(row.id)
    out.update(row.custom)
    return out


def message(row: Message, write: Ident, style: Style) -> Row:
    out: Row = {
        "messageId": write(row.id),
        "campaignId": "" if row.campaign_id is None else write(row.campaign_id),
        "messageType": row.type,
        "subject": row.subject,
        "htmlBody": row.html,
        "textBody": row.text,
        "messageName": row.name,
        "createDate": stamp(row.created, style),
        "spamCheck": {
            "rawScore": str(round(sum(float(score) for score, _ in row.spam), 1)) if row.spam else "0",
            "spamDetails": [
                {"spamDetailScore": score, "spamDetailName": name, "spamDetailDescription": "What the check looked at"}
                for score, name in row.spam
            ],
        },
    }
    if row.preview is not None:
        out["previewText"] = row.preview
    return out


def send(row: Send, now: int, write: Ident, style: Style) -> Row:
    """A send. `recipientCount` is a string once it is released and a number before, `releasedTime` is "" until then."""
    status = row.status_at(now)
    released = status == "released"
    return {
        "sendId": write(row.id),
        "messageId": write(row.message_id),
        "includeListIds": row.include_lists,
        "excludeListIds": row.exclude_lists,
        "includeSegmentIds": row.include_segments,
        "excludeSegmentIds": row.exclude_segments,
        "scheduledTime": stamp(row.scheduled, style),
        "recipientCount": str(row.recipients) if released else row.recipients,
        "status": status,
        "releasedTime": stamp(row.released, style) if released else "",
    }


def mailing_list(row: MailingList, write: Ident, *, written: bool = False) -> Row:
    """A list. Its flags are strings in what is read and numbers in answers to writes."""
    flag: Callable[[int], str | int] = int if written else str
    return {
        "listId": write(row.id),
        "name": row.name,
        "publicname": row.publicname,
        "description": row.description,
        "emailOwnerOnChange": flag(row.owner_on_change),
        "welcomeOnManualAdd": flag(row.welcome_manual),
        "welcomeOnSignupAdd": flag(row.welcome_signup),
        "welcomeMessageId": row.welcome_message,
    }


def subscription(row: Subscription, now: int, write: Ident, style: Style) -> Row:
    out: Row = {
        "addDate": stamp(row.created, style),
        "contactId": write(row.contact_id),
        "listId": write(row.list_id),
        "status": row.status_at(now),
        "subscriptionId": f"{row.list_id}_{row.contact_id}",
    }
    if row.confirmation_message is not None:
        out["confirmationMessageId"] = write(row.confirmation_message)
    return out


def plain(row: Plain, write: Ident) -> Row:
    """Campaigns, custom fields, segments, web hooks: as kept, ids as the switch says, but a web hook's own a number."""
    return {
        name: write(value) if name.endswith("Id") and name != "webhookId" and isinstance(value, int) else value
        for name, value in row.row.items()
    }


def activity(log: ActivityLog, positions: Longs, kind: Kind, links: list[str], switches: Switches) -> bytes:
    """The array of a page of activity rows as JSON. Built by hand, since these pages are most of what is asked for."""
    style, time_field = switches.activity_time, ACTIVITY_TIME[kind]
    contacts, instants = log.contact[positions].tolist(), log.at[positions].tolist()
    quoted = switches.ids == "string"
    extra = ',"deviceType":"unknown"' if switches.extra_fields else ""
    tails = [extra] * len(contacts)
    if kind == "clicks":
        texts = {
            number: orjson.dumps(links[number]).decode() if number >= 0 else "null"
            for number in set(log.link[positions].tolist())
        }
        tails = [f',"clickLink":{texts[number]}{extra}' for number in log.link[positions].tolist()]
    mark = '"' if quoted else ""
    if switches.ids == "mixed":
        contacts = [f'"{value}"' if turn % 2 else value for turn, value in enumerate(contacts)]
    frames: dict[tuple[DateStyle, int], tuple[str, str]] = {}
    parts = []
    for contact_id, instant, tail in zip(contacts, instants, tails, strict=True):
        hour, second = divmod(instant, 3600)
        key = (in_turn(style, instant), hour)
        frame = frames.get(key)
        if frame is None:
            frame = frames[key] = hour_frame(*key)
        parts.append(
            f'{{"contactId":{mark}{contact_id}{mark},"{time_field}":"{frame[0]}{MINUTES[second]}{frame[1]}"{tail}}}'
        )
    return ("[" + ",".join(parts) + "]").encode()
