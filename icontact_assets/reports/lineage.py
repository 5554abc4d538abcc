"""Which columns each column of a report table is computed from."""

from __future__ import annotations

from icontact_assets.mapping.lineage import Lineage
from icontact_assets.reports.tables import CAMPAIGNS, DOMAINS, ENGAGEMENT, HOURS, LINKS, LIST_HEALTH


def _from(*sources: str) -> tuple[tuple[str, str], ...]:
    """Columns written as `table: column column`."""
    found = []
    for source in sources:
        table, _, columns = source.partition(": ")
        found += [(table, column) for column in columns.split()]
    return tuple(found)


_SEND = "raw_sends: released_at scheduled_at status"
_SENT = ("raw_statistics: delivered bounces", "raw_sends: recipient_count")
_DELIVERED = (*_SENT, "raw_activity: contact_id event_type")
_EVENTS = "raw_activity: event_type"
_PEOPLE = "raw_activity: event_type contact_id"
_HUMAN = "raw_activity: event_type event_time event_url contact_id"
_WHEN = "raw_activity: event_type event_time"

_CAMPAIGNS = {
    "message_id": ("raw_messages: message_id",),
    "subject": ("raw_messages: subject",),
    "name": ("raw_messages: message_name",),
    "lists": ("raw_sends: include_list_ids", "raw_lists: name"),
    "first_send_at": (_SEND,),
    "sent": _SENT,
    "delivered": _DELIVERED,
    **dict.fromkeys(("bounces", "opens", "clicks"), (_EVENTS,)),
    **dict.fromkeys(("unique_bounces", "unique_opens", "unique_clicks", "unsubscribes"), (_PEOPLE,)),
    **dict.fromkeys(("human_opens", "human_unique_opens", "human_clicks", "human_unique_clicks"), (_HUMAN,)),
    "complaints": ("raw_statistics: complaints",),
    "forwards": ("raw_statistics: forwards",),
    **dict.fromkeys(("open_rate", "click_rate", "unsubscribe_rate", "bounce_rate"), _DELIVERED),
    "click_to_open_rate": (_PEOPLE,),
    **dict.fromkeys(("human_open_rate", "human_click_rate"), (*_SENT, _HUMAN)),
    "human_click_to_open_rate": (_HUMAN,),
    "hours_to_half_of_opens": (_SEND, _WHEN),
    **{f"{kind}_{hours}h": (_SEND, _WHEN) for hours in HOURS for kind in ("opens", "clicks")},
    **{
        f"unique_{kind}_{hours}h": (_SEND, _WHEN, "raw_activity: contact_id")
        for hours in HOURS
        for kind in ("opens", "clicks")
    },
    "icontact_opens": ("raw_statistics: opens_total",),
    "icontact_unique_opens": ("raw_statistics: opens_unique",),
    "icontact_clicks": ("raw_statistics: clicks_total",),
    "icontact_unique_clicks": ("raw_statistics: clicks_unique",),
    "icontact_bounces": ("raw_statistics: bounces",),
    "icontact_unsubscribes": ("raw_statistics: unsubscribes",),
    "differences": ("raw_statistics: opens_total clicks_total bounces unsubscribes", _EVENTS),
    "read_through": ("raw_activity: extracted_at",),
}

_LINKS = {
    "message_id": ("raw_activity: message_id",),
    "link": ("raw_activity: event_url",),
    "hashedurls_key": ("raw_activity: event_url",),
    "clicks": (_EVENTS,),
    "people": (_PEOPLE,),
    **dict.fromkeys(("human_clicks", "human_people"), (_HUMAN,)),
    **dict.fromkeys(("first_click_at", "last_click_at"), (_WHEN,)),
}

_GOT = (
    "raw_sends: released_at include_list_ids exclude_list_ids",
    "raw_subscriptions: contact_id list_id status added_at",
    "raw_contacts: status",
    _PEOPLE,
)
_ENGAGEMENT = {
    "contact_id": ("raw_contacts: id",),
    "tier": (_HUMAN, "raw_contacts: partition_date"),
    **dict.fromkeys(("last_open_at", "last_click_at", "messages_90d"), (_HUMAN,)),
    **dict.fromkeys(("mails_7d", "mails_30d"), _GOT),
    "mails_unanswered": (*_GOT, "raw_activity: event_time event_url"),
    "mails_known": ("raw_sends: released_at include_list_ids", "raw_subscriptions: list_id observed_at"),
    "due_for": (*_GOT, "raw_activity: event_time event_url", "raw_contacts: partition_date"),
}

_DOMAIN_EVENTS = {
    "bounces": _PEOPLE,
    "opens": _HUMAN,
    "clicks": _HUMAN,
    "unsubscribes": _PEOPLE,
}
_MAILED = (*_GOT, "raw_statistics: delivered", "raw_sends: recipient_count")
_DOMAINS = {
    "domain": ("raw_contacts: email",),
    "contacts": ("raw_contacts: id",),
    "deliveries": _MAILED,
    "estimated_share": _MAILED,
    **{name: (source,) for name, source in _DOMAIN_EVENTS.items()},
    **{
        f"{name.removesuffix('s')}_rate{end}": tuple(dict.fromkeys((*_MAILED, source)))
        for name, source in _DOMAIN_EVENTS.items()
        for end in ("", "_low", "_high")
    },
}

_MEMBERS = ("raw_subscriptions: list_id contact_id status added_at deleted_at", "raw_contacts: status deleted_at")
_LIST_HEALTH = {
    "day": ("raw_subscriptions: added_at observed_at",),
    "list_id": ("raw_subscriptions: list_id",),
    "list_name": ("raw_lists: name",),
    **dict.fromkeys((column for column in LIST_HEALTH.column_names[3:]), _MEMBERS),
    "unsubscribed": (*_MEMBERS, _WHEN),
    "bounced": (*_MEMBERS, _WHEN),
}

LINEAGE: dict[str, Lineage] = {
    table.name: {column: tuple(dict.fromkeys(_from(*sources))) for column, sources in columns.items()}
    for table, columns in (
        (CAMPAIGNS, _CAMPAIGNS),
        (LINKS, _LINKS),
        (ENGAGEMENT, _ENGAGEMENT),
        (DOMAINS, _DOMAINS),
        (LIST_HEALTH, _LIST_HEALTH),
    )
}
"""For each report table and each of its columns, the columns of other assets' tables."""
