"""What the answers say of contacts, and of the fields of rows: which come, and how ids and empty values are written."""

from __future__ import annotations

from typing import Any

from icontact_assets.icontact.values import as_flag, as_id
from icontact_assets.probe.asking import searched
from icontact_assets.probe.findings import Finding, not_seen, unknown
from icontact_assets.probe.sight import KINDS, Row, Sight, ids_of

_ADDRESS = ("street", "street2", "city", "state", "postalCode")
_BLANK_FIELDS = ("prefix", "firstName", "lastName", "suffix", "phone", "fax", *_ADDRESS)
_BODIES = ("htmlBody", "textBody")
_OWN_ID = {"contacts": "contactId", "messages": "messageId", "sends": "sendId", "lists": "listId"}
_PART = 0.2
"""The part of empty values from which on another way to write them is a way of its own."""

DOCUMENTED = {
    resource: frozenset(names.split())
    for resource, names in {
        "contacts": " ".join(_BLANK_FIELDS) + " contactId email business status bounceCount createDate",
        "messages": "messageId campaignId messageType subject messageName htmlBody textBody previewText createDate "
        "spamCheck replyToCampaignId",
        "sends": "sendId messageId includeListIds excludeListIds includeSegmentIds excludeSegmentIds scheduledTime "
        "recipientCount status releasedTime spamCheck",
        "lists": "listId name publicname description emailOwnerOnChange welcomeOnManualAdd welcomeOnSignupAdd "
        "welcomeMessageId",
        "subscriptions": "subscriptionId listId contactId status confirmationMessageId addDate",
        "opens": "contactId openTime",
        "clicks": "contactId clickTime clickLink",
        "bounces": "contactId bounceTime",
        "unsubscribes": "contactId unsubscribeTime",
        "statistics": "bounces delivered unsubscribes opens clicks forwards comments complaints",
        "customfields": "customFieldId privateName publicName fieldType displayToUser",
        "accounts": "accountId enabled accountType subscriberLimit multiClientFolder multiUser companyName firstName "
        "lastName title email phone fax street city state postalCode country billingStreet billingCity billingState "
        "billingPostalCode billingCountry",
        "clientfolders": "clientFolderId logoId emailRecipient name fromName fromEmail street city state postalCode "
        "country enabled footerLogoUrl useLogoInFooter",
        "actions": "actionType actionTime actor details",
    }.items()
}
"""The fields that the API reference names, by resource. Contacts have custom fields beside them."""

_NEEDED: dict[str, tuple[str, ...]] = {
    "contacts": ("contactId", "email", "status", "createDate"),
    "messages": ("messageId", "subject"),
    "sends": ("sendId", "messageId", "releasedTime", "status"),
    "lists": ("listId", "name"),
    "subscriptions": ("listId", "contactId", "status"),
    **{kind: ("contactId", time, *(("clickLink",) if kind == "clicks" else ())) for kind, time in KINDS.items()},
}


def custom_fields(sight: Sight) -> set[str]:
    """The names of the custom fields that the account declares."""
    rows = sight.rows("custom_fields")
    return {str(row[key]) for row in rows for key in ("privateName", "customFieldId") if isinstance(row.get(key), str)}


def contacts_default(sight: Sight) -> Finding:
    key = "contacts_default"
    if not sight.is_page("contacts_default"):
        return not_seen(sight, key, "contacts_default")
    whole, found, off = (sight.total(name) for name in ("contacts", "contacts_default", "unlisted"))
    if whole is None or found is None or off is None:
        return unknown(key, "no total is told")
    if off == 0 or (answer := sight.seen("unlisted")) is None or answer.warnings:
        return unknown(key, "no contact is on no list")
    gone = sight.deleted()
    seen = {"contacts": whole, "on no list": off}
    if found >= whole - gone:
        return Finding(key, "all", "those on no list come too", seen)
    if found <= whole - off:
        return Finding(key, "listed", "only those on a list come", seen)
    return Finding(key, "other", f"{found:,} come, which is neither all nor those on a list", seen)


def _deleted(sight: Sight) -> list[str]:
    """Contacts that iContact itself calls deleted."""
    listed = [row for row in sight.rows("deleted") if row.get("status") == "deleted"]
    single = [
        row for name in sight.names("contact:") if _status(sight, name) == "deleted" for row in [_one(sight, name)]
    ]
    return ids_of([*listed, *single], "contactId")


def _one(sight: Sight, name: str) -> Row:
    found = sight.body(name).get("contact")
    return found if isinstance(found, dict) else {}


def _status(sight: Sight, name: str) -> Any:
    return _one(sight, name).get("status")


def total_includes_deleted(sight: Sight) -> Finding:
    key = "total_includes_deleted"
    names = [name for name in ("contacts", *sight.names("contacts_large:"), *searched(sight)) if sight.rows(name)]
    if not names:
        return not_seen(sight, key, "contacts")
    rows = [row for name in names for row in sight.rows(name)]
    shown = {as_id(row.get("contactId")) for row in rows if row.get("status") == "deleted"}
    if shown:
        return Finding(key, True, "deleted contacts are among them", {"deleted": len(shown), "rows": len(rows)})
    deleted = _deleted(sight)
    if not deleted:
        return unknown(key, "no deleted contact is known", rows=len(rows))
    if any(sight.is_whole(name) for name in names):
        return Finding(key, False, "a deleted contact does not show", {"deleted": len(deleted), "rows": len(rows)})
    return unknown(key, "not all contacts were seen", rows=len(rows))


def deleted_contact(sight: Sight) -> Finding:
    key = "deleted_contact"
    listed = ids_of([row for row in sight.rows("deleted") if row.get("status") == "deleted"], "contactId")
    for name in sight.names("contact:"):
        answer = sight.seen(name)
        if _status(sight, name) == "deleted":
            return Finding(key, "readable", "it comes, with status `deleted`", {"contacts": 1})
        if answer is not None and answer.status == 404 and name.split(":")[1] in listed:
            return Finding(key, "not_found", "it is answered 404", {"contacts": 1})
    return unknown(key, "no deleted contact is known") if not listed else not_seen(sight, key, f"contact:{listed[0]}")


def ids(sight: Sight) -> Finding:
    key = "ids"
    kinds: dict[str, set[str]] = {}
    rows = unread = 0
    for resource, own in (*_OWN_ID.items(), *((kind, "contactId") for kind in KINDS)):
        for row in sight.rows_of(resource):
            value = row.get(own)
            if value is None:
                continue
            rows += 1
            unread += as_id(value) is None
            written = "integer" if isinstance(value, int | float) and not isinstance(value, bool) else "string"
            kinds.setdefault(written, set()).add(resource)
    if not rows:
        return not_seen(sight, key, "contacts")
    if unread:
        return Finding(key, "other", f"{unread:,} ids of {rows:,} are no whole numbers", {"rows": rows})
    if len(kinds) == 1:
        (only,) = kinds
        return Finding(key, only, f"as {only}s everywhere", {"rows": rows})
    where = "; ".join(f"{kind}s in {', '.join(sorted(names))}" for kind, names in sorted(kinds.items()))
    return Finding(key, "mixed", where, {"rows": rows})


def nulls(sight: Sight) -> Finding:
    key = "nulls"
    values = [row.get(name, 0) for row in sight.rows_of("contacts") for name in _BLANK_FIELDS]
    null, blank = values.count(None), values.count("")
    if not null + blank:
        return unknown(key, "no field is empty") if values else not_seen(sight, key, "contacts")
    seen = {"null": null, "blank": blank}
    if null and blank > _PART * (null + blank):
        return Finding(key, "mixed", "both ways", seen)
    return Finding(key, "null" if null else "blank", "as null" if null else 'as ""', seen)


def extra_fields(sight: Sight) -> Finding:
    key = "extra_fields"
    known = {resource: set(names) for resource, names in DOCUMENTED.items()}
    if sight.is_page("custom_fields"):
        known["contacts"] |= custom_fields(sight)
    else:
        # Its fields cannot be told from custom ones.
        del known["contacts"]
    rows, extra = 0, dict[str, set[str]]()
    for resource, names in known.items():
        for row in sight.rows_of(resource):
            rows += 1
            if beyond := set(row) - names:
                extra.setdefault(resource, set()).update(beyond)
    if not rows:
        return not_seen(sight, key, "contacts")
    if not extra:
        return Finding(key, False, "none", {"rows": rows})
    where = ", ".join(f"{len(names)} in {resource}" for resource, names in extra.items())
    return Finding(key, True, f"there are: {where}", {"rows": rows})


def missing_fields(sight: Sight) -> Finding:
    key, rows, missing = "missing_fields", 0, set[str]()
    for resource, names in _NEEDED.items():
        for row in sight.rows_of(resource):
            rows += 1
            missing |= {f"{resource}.{name}" for name in names if name not in row}
    if not rows:
        return not_seen(sight, key, "contacts")
    if missing:
        return Finding(key, "some", f"missing: {', '.join(sorted(missing))}", {"rows": rows})
    return Finding(key, "none", "none is missing", {"rows": rows})


def message_bodies(sight: Sight) -> Finding:
    key, rows = "message_bodies", sight.rows_of("messages")
    if not rows:
        return unknown(key, "there are no messages") if sight.is_page("messages") else not_seen(sight, key, "messages")
    held = sum(any(name in row for name in _BODIES) for row in rows)
    return Finding(key, "listed" if held else "left_out", f"in {held:,} of {len(rows):,} rows", {"rows": len(rows)})


def action_details(sight: Sight) -> Finding:
    key, rows = "action_details", sight.rows("actions")
    if not sight.is_page("actions"):
        return not_seen(sight, key, "actions")
    wanted = [row.get("details") for row in rows if row.get("actionType") in ("Open", "Click", "Bounce", "ReleaseSend")]
    if not wanted:
        return unknown(key, "the history has no open, click or bounce", rows=len(rows))
    filled = [details for details in wanted if details]
    if not filled:
        return Finding(key, "empty", "nothing in them", {"actions": len(wanted)})
    named = sum(isinstance(details, dict) and "messageId" in details for details in filled)
    words = "they name the message" if named else "they hold something else"
    return Finding(key, "message" if named else "other", words, {"actions": len(wanted)})


def second_account(sight: Sight) -> Finding:
    key, rows = "second_account", sight.rows("accounts")
    if not rows:
        return not_seen(sight, key, "accounts")
    closed = sum(as_flag(row.get("enabled")) is False for row in rows)
    words = f"{closed} of {len(rows)} not enabled"
    return Finding(key, "disabled" if closed else "none", words, {"accounts": len(rows)})


def folders(sight: Sight) -> Finding:
    key, rows = "folders", sight.rows("client_folders")
    if not rows:
        return not_seen(sight, key, "client_folders")
    if not all(as_id(row.get("clientFolderId")) for row in rows):
        return Finding(key, "other", "some have no id", {"folders": len(rows)})
    fields = {name for row in rows for name in row}
    agency = fields - {"clientFolderId", "logoId", "emailRecipient"}
    return Finding(key, "agency" if agency else "plain", f"{len(fields)} fields each", {"folders": len(rows)})


JUDGES = (
    contacts_default, total_includes_deleted, deleted_contact, ids, nulls, extra_fields, missing_fields, message_bodies,
    action_details, second_account, folders,
)  # fmt: skip
