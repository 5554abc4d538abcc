"""The report tables: columns, types, keys, and beside each rate its one definition."""

from __future__ import annotations

from icontact_assets.warehouse.tables import ENGAGEMENT_CHANGES, Column, Table

HOURS = (1, 24, 72)
"""The hours after the first send at which a message's figures are taken."""

LEAST_DELIVERIES = 30
"""Below so many deliveries, a domain has no rates."""

LEAST_CONTACTS = 5
"""Domains with fewer contacts share one row: a domain with few addresses may identify a person."""

OTHER_DOMAINS = "(other)"
"""That row's domain."""

_MESSAGE = Column("message_id", "VARCHAR", "iContact message id")
_CONTACT = Column("contact_id", "VARCHAR", "iContact contact id")

_BY_HOUR = tuple(
    Column(f"{name}_{hours}h", "BIGINT", f"{what} until {hours} h after the first send. NULL before that time has come")
    for hours in HOURS
    for name, what in (
        ("opens", "opens"),
        ("unique_opens", "people who opened"),
        ("clicks", "clicks"),
        ("unique_clicks", "people who clicked"),
    )
)

CAMPAIGNS = Table(
    "campaigns",
    "What became of each message. A row per message, deleted ones included. With `filter_by_aid`, only messages with that tag.",
    (
        _MESSAGE,
        Column("subject", "VARCHAR", "subject line"),
        Column("name", "VARCHAR", "internal name of the message"),
        Column("lists", "VARCHAR[]", "names of the lists that it was sent to, or the id of a list without a name"),
        Column("first_send_at", "TIMESTAMP", "when it was first sent (UTC). NULL: never, or no send is known"),
        Column(
            "sent",
            "BIGINT",
            "people it was sent to: what iContact's statistics call delivered, and their bounces. Without "
            "statistics, the recipients of its sends. NULL: never sent",
        ),
        Column("delivered", "BIGINT", "`sent` without the people whose mail bounced (`unique_bounces`)"),
        Column("bounces", "BIGINT", "bounces"),
        Column("unique_bounces", "BIGINT", "people whose mail bounced"),
        Column("opens", "BIGINT", "opens, those of machines included"),
        Column("unique_opens", "BIGINT", "people who opened it, or whose machine did"),
        Column("clicks", "BIGINT", "clicks, those of machines included"),
        Column("unique_clicks", "BIGINT", "people who clicked in it, or whose machine did"),
        Column("human_opens", "BIGINT", "opens that no machine is known to have made"),
        Column("human_unique_opens", "BIGINT", "people with such an open"),
        Column("human_clicks", "BIGINT", "clicks that no machine is known to have made"),
        Column("human_unique_clicks", "BIGINT", "people with such a click"),
        Column("unsubscribes", "BIGINT", "people who unsubscribed by it"),
        Column("complaints", "BIGINT", "complaints, by iContact's statistics"),
        Column("forwards", "BIGINT", "forwards, by iContact's statistics"),
        Column("open_rate", "DOUBLE", "`unique_opens` / `delivered`"),
        Column("click_rate", "DOUBLE", "`unique_clicks` / `delivered`"),
        Column("click_to_open_rate", "DOUBLE", "`unique_clicks` / `unique_opens`. NULL without an open"),
        Column("human_open_rate", "DOUBLE", "`human_unique_opens` / `delivered`"),
        Column("human_click_rate", "DOUBLE", "`human_unique_clicks` / `delivered`"),
        Column("human_click_to_open_rate", "DOUBLE", "`human_unique_clicks` / `human_unique_opens`. NULL without one"),
        Column("bounce_rate", "DOUBLE", "`unique_bounces` / `sent`"),
        Column("unsubscribe_rate", "DOUBLE", "`unsubscribes` / `delivered`"),
        Column("hours_to_half_of_opens", "DOUBLE", "hours from the first send until half of `opens` had happened"),
        *_BY_HOUR,
        Column("icontact_opens", "BIGINT", "opens, as iContact counts them"),
        Column("icontact_unique_opens", "BIGINT", "people who opened it, as iContact counts them"),
        Column("icontact_clicks", "BIGINT", "clicks, as iContact counts them"),
        Column("icontact_unique_clicks", "BIGINT", "people who clicked in it, as iContact counts them"),
        Column("icontact_bounces", "BIGINT", "bounces, as iContact counts them"),
        Column("icontact_unsubscribes", "BIGINT", "unsubscribes, as iContact counts them"),
        Column(
            "differences",
            "VARCHAR",
            "where the stored rows differ from iContact's counts and why, as in `opens: 12 stored, 14 by iContact "
            "(stale)`. NULL: nowhere, or iContact has no statistics of it",
        ),
        Column(
            "read_through",
            "TIMESTAMP",
            "everything that happened before is in these figures (UTC). NULL: its activity was never read completely",
        ),
    ),
    key=("message_id",),
)

LINKS = Table(
    "links",
    "What was clicked. A row per message and link, and per link over all messages.",
    (
        Column("message_id", "VARCHAR", "iContact message id. NULL: over all messages"),
        Column(
            "link",
            "VARCHAR",
            "host and path of the link, without query and fragment. Links that differ in these only are one. "
            "NULL: all links without host and path, as mailto:",
        ),
        Column(
            "hashedurls_key", "VARCHAR", "the link's key in `hashedurls` of icontact_activity. NULL where it has none"
        ),
        Column("clicks", "BIGINT", "clicks, those of machines included"),
        Column("people", "BIGINT", "people who clicked, or whose machine did"),
        Column("human_clicks", "BIGINT", "clicks that no machine is known to have made"),
        Column("human_people", "BIGINT", "people with such a click"),
        Column("first_click_at", "TIMESTAMP", "first click (UTC)"),
        Column("last_click_at", "TIMESTAMP", "last click (UTC)"),
    ),
    key=("message_id", "hashedurls_key"),
)

ENGAGEMENT = Table(
    "engagement",
    "How near each person is. A row per contact that exists. Only opens and clicks that no machine is known to have made count.",
    (
        _CONTACT,
        Column(
            "tier",
            "VARCHAR",
            "loyal: opened or clicked in the last 30 days, and 4 messages or more in the last 90. active: in the last "
            "30 days. cooling: in the last 90 days. lapsing: in the last 180 days. dormant: longer ago. new: never, and "
            "a contact for 30 days at most. silent: never",
        ),
        Column("last_open_at", "TIMESTAMP", "last open (UTC)"),
        Column("last_click_at", "TIMESTAMP", "last click (UTC)"),
        Column("messages_90d", "BIGINT", "messages that the person opened or clicked in within the last 90 days"),
        Column("mails_7d", "BIGINT", "mails that the person got in the last 7 days, as far as is known"),
        Column("mails_30d", "BIGINT", "mails that the person got in the last 30 days, as far as is known"),
        Column(
            "mails_unanswered",
            "BIGINT",
            "mails that the person got since the last open or click, or ever without one, as far as is known",
        ),
        Column(
            "mails_known",
            "BOOLEAN",
            "whether it is known of all messages of the last 30 days who got them. If not, the counts of mails are minimums",
        ),
        Column(
            "due_for",
            "VARCHAR",
            "win_back or sunset, by the settings `reports`: so many days without an open or click, in which the person "
            "got enough mails. NULL: neither",
        ),
    ),
    key=("contact_id",),
)

_RATE = "NULL below 30 deliveries"

DOMAINS = Table(
    "domains",
    "How mail fares at each receiving domain, over all messages. A row per domain of the contacts' addresses. Domains of "
    "fewer than 5 contacts are the row `(other)`, and so are contacts without an address.",
    (
        Column("domain", "VARCHAR", "what follows the @ of the address, in lower case, or `(other)`"),
        Column("contacts", "BIGINT", "contacts with such an address, those that no longer exist included"),
        Column(
            "deliveries",
            "BIGINT",
            "mails sent to them that did not bounce. Where it is not known who got a message, their part of it is "
            "estimated: the domain's share of all contacts",
        ),
        Column("estimated_share", "DOUBLE", "part of `deliveries` and bounces that is estimated, 0 to 1"),
        Column("bounces", "BIGINT", "people and messages where the mail bounced"),
        Column("opens", "BIGINT", "people and messages with an open that no machine is known to have made"),
        Column("clicks", "BIGINT", "people and messages with a click that no machine is known to have made"),
        Column("unsubscribes", "BIGINT", "people and messages with an unsubscribe"),
        *(
            Column(f"{name}_rate{end}", "DOUBLE", f"{text}. {_RATE}")
            for name, of, over in (
                ("bounce", "`bounces`", "(`deliveries` + `bounces`)"),
                ("open", "`opens`", "`deliveries`"),
                ("click", "`clicks`", "`deliveries`"),
                ("unsubscribe", "`unsubscribes`", "`deliveries`"),
            )
            for end, text in (
                ("", f"{of} / {over}"),
                ("_low", f"lower end of the Wilson interval of `{name}_rate` at 95 %"),
                ("_high", f"upper end of the Wilson interval of `{name}_rate` at 95 %"),
            )
        ),
    ),
    key=("domain",),
)

LIST_HEALTH = Table(
    "list_health",
    "How each list grows and shrinks. A row per list whose subscriptions are read and day, in the time zone of the settings `reports`. "
    "On a list are those whose subscription and contact are both normal.",
    (
        Column("day", "DATE", "the day, in that time zone"),
        Column("list_id", "VARCHAR", "iContact list id"),
        Column("list_name", "VARCHAR", "internal name of the list"),
        Column(
            "size",
            "BIGINT",
            "people on the list when the day ended. NULL before the list was first read: who left by then is not known",
        ),
        Column(
            "joined",
            "BIGINT",
            "people who came onto the list on the day. Before the list was first read, those of them who were still on it",
        ),
        Column("unsubscribed", "BIGINT", "people who left it by unsubscribing"),
        Column("moved", "BIGINT", "people who left it because their subscription is gone while the contact exists"),
        Column("deleted", "BIGINT", "people who left it because the contact is gone"),
        Column("bounced", "BIGINT", "people who left it because the contact counts as bounced"),
        Column("do_not_contact", "BIGINT", "people who left it because the contact may not be mailed any more"),
        Column(
            "left_otherwise", "BIGINT", "people who left it because subscription or contact became pending or invitable"
        ),
        Column("growth", "BIGINT", "`size` less that of the day before. NULL where that is not known"),
        Column("growth_rate", "DOUBLE", "`growth` / the `size` of the day before. NULL where that is 0 or not known"),
    ),
    key=("day", "list_id"),
)

REPORT_TABLES = (CAMPAIGNS, LINKS, ENGAGEMENT, DOMAINS, LIST_HEALTH)
"""Computed anew by their assets. ENGAGEMENT_CHANGES is kept, and so the warehouse prepares it."""

__all__ = ["CAMPAIGNS", "DOMAINS", "ENGAGEMENT", "ENGAGEMENT_CHANGES", "LINKS", "LIST_HEALTH", "REPORT_TABLES"]
