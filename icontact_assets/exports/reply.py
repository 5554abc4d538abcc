"""What an answer of iContact to a write says of each person in it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from icontact_assets.exports.consent import Permit, RemovalPermit, speaks_of_consent
from icontact_assets.exports.live import Contact, subscriber
from icontact_assets.exports.outcomes import JournalEntry, Outcome, removal_entry
from icontact_assets.exports.person import normal_address
from icontact_assets.icontact.errors import Rejected
from icontact_assets.icontact.folder import Remark, SubscribeReply
from icontact_assets.icontact.listing import Row
from icontact_assets.icontact.values import as_id, as_text

NOT_CONFIRMED = "iContact did not confirm it"

_RESPONSE_LENGTH = 500


def cut(response: str) -> str | None:
    """What iContact said, as long as it may be stored."""
    return response[:_RESPONSE_LENGTH] or None


def rejected(entry: JournalEntry, error: Rejected) -> JournalEntry:
    """The entry of somebody whose request was rejected: refused for consent, or failed."""
    outcome = Outcome.REFUSED if speaks_of_consent(str(error)) else Outcome.FAILED
    return replace(entry, outcome=outcome, reason="iContact rejected the request", response=cut(str(error)))


def names(text: str, contact_id: str) -> bool:
    """Whether a text of the service, addresses masked, names somebody: a refusal that does not may be the account's."""
    return "<address>" in text or re.search(rf"(?<!\d)0*{contact_id}(?!\d)", text.partition("It said:")[2]) is not None


def added(
    permits: Sequence[Permit], reply: SubscribeReply, list_id: str, contacts: Mapping[str, Contact | None]
) -> Iterator[JournalEntry]:
    """What became of each person of a batch. A 200 may hold refusals: only a row of this list that came back as
    `normal` is a success."""
    rows = {subscriber(row): row for row in reply.rows if as_id(row.get("listId")) in (None, list_id)}
    missing = [permit.contact_id for permit in permits if permit.contact_id not in rows]
    spoken = _spoken_of(missing, reply.remarks, contacts)
    for permit in permits:
        row, entry = rows.get(permit.contact_id), JournalEntry(permit.contact_id, "subscribe", list_id, Outcome.FAILED)
        if row is not None and row.get("status") == "normal":
            yield replace(entry, outcome=Outcome.ADDED)
        elif row is not None:
            status = as_text(row.get("status")) or ""
            yield replace(entry, reason="iContact answered with another status than normal", response=cut(status))
        elif permit.contact_id in spoken:
            about = spoken[permit.contact_id]
            for_consent = all(speaks_of_consent(remark.words) for remark in about)
            yield replace(
                entry,
                outcome=Outcome.REFUSED if for_consent else Outcome.FAILED,
                reason=NOT_CONFIRMED,
                response=cut(" ".join(remark.words for remark in about)),
            )
        else:
            # Nothing was said of this person, as if the answer had been lost. Only the list can show what was done.
            said = " ".join(remark.words for remark in reply.remarks)
            yield replace(entry, outcome=Outcome.UNCONFIRMED, reason=NOT_CONFIRMED, response=cut(said))


def removed(permit: RemovalPermit, row: Row) -> JournalEntry:
    """What became of somebody who was to be removed, by the subscription in the answer."""
    status = as_text(row.get("status"))
    if permit.onto is None:
        done, there = status == "unsubscribed", status
    else:
        there = as_id(row.get("listId"))
        done = there == permit.onto.list_id
    if not done:
        entry = removal_entry(permit, Outcome.UNCONFIRMED)
        return replace(entry, reason=NOT_CONFIRMED, response=cut(there or ""))
    if permit.onto is None:
        return removal_entry(permit, Outcome.UNSUBSCRIBED)
    entry = removal_entry(permit, Outcome.MOVED)
    if status == "normal":
        return entry
    return replace(entry, reason="the person arrived there in another status than normal", response=cut(status or ""))


def _spoken_of(
    contact_ids: Sequence[str], remarks: Sequence[Remark], contacts: Mapping[str, Contact | None]
) -> dict[str, list[Remark]]:
    """The remarks about each person: those that name it by contact id or address. Where there are as many others as
    people that none names, each of these people is spoken of by them all."""
    by_id: dict[str, list[Remark]] = {}
    by_address = {
        contact.address: contact_id
        for contact_id in contact_ids
        if (contact := contacts.get(contact_id)) is not None and contact.address is not None
    }
    ids = set(contact_ids)
    others = []
    for remark in remarks:
        named = {by_address.get(normal_address(address) or "") for address in remark.addresses} | (ids & remark.ids)
        for contact_id in named - {None}:
            by_id.setdefault(str(contact_id), []).append(remark)
        if not named - {None}:
            others.append(remark)
    unnamed = ids - by_id.keys()
    if unnamed and len(others) >= len(unnamed):
        by_id |= dict.fromkeys(unnamed, others)
    return by_id
