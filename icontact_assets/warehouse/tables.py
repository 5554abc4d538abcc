"""Every table declared once: columns, types, keys, descriptions. DDL, column metadata, checks and docs follow from it."""

from __future__ import annotations

from dataclasses import dataclass

from icontact_assets.warehouse.machines import LABELLED


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    type: str
    description: str


@dataclass(frozen=True)
class Table:
    """One table of an import's schema. `key` names the columns that identify a row ((): rows may repeat)."""

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def ddl(self, schema: str) -> str:
        """`CREATE TABLE IF NOT EXISTS` for this table in `schema`."""
        body = ", ".join(f'"{column.name}" {column.type}' for column in self.columns)
        return f'CREATE TABLE IF NOT EXISTS "{schema}"."{self.name}" ({body})'


@dataclass(frozen=True)
class View:
    """The rows of a raw table, seen in another way. `{schema}` in its query is the schema of the import."""

    name: str
    description: str
    of: Table
    query: str
    added: tuple[Column, ...] = ()
    """Columns that it has after those of the table."""

    @property
    def columns(self) -> tuple[Column, ...]:
        return (*self.of.columns, *self.added)

    def ddl(self, schema: str) -> str:
        """`CREATE OR REPLACE VIEW` for this view in `schema`."""
        return f'CREATE OR REPLACE VIEW "{schema}"."{self.name}" AS {self.query.format(schema=schema)}'


_OBSERVED = Column(
    "observed_at",
    "TIMESTAMP",
    "when this version was first stored (UTC); the latest version of a row has the largest",
)
_PARTITION = Column("partition_date", "DATE", "the daily partition of the row (UTC day)")
_DELETED = Column("deleted_at", "TIMESTAMP", "when a complete read first missed the row (UTC); NULL while it exists")
_MESSAGE = Column("message_id", "VARCHAR", "iContact message id")

_VERSIONED = (_DELETED, _OBSERVED, _PARTITION)

RAW_CONTACTS = Table(
    "raw_contacts",
    "Contacts of the client folder, on a list or not. A row per contact and day on which it appeared, changed or vanished; nothing unchanged is stored twice.",
    (
        Column("id", "VARCHAR", "iContact contact id"),
        Column("email", "VARCHAR", "address as iContact gave it"),
        Column("prefix", "VARCHAR", "form of address before the name"),
        Column("first_name", "VARCHAR", "first name"),
        Column("last_name", "VARCHAR", "last name"),
        Column("suffix", "VARCHAR", "what follows the name"),
        Column("street", "VARCHAR", "street, first line"),
        Column("street_line_2", "VARCHAR", "street, second line"),
        Column("city", "VARCHAR", "city"),
        Column("state", "VARCHAR", "state or province"),
        Column("postal_code", "VARCHAR", "postal code"),
        Column("phone", "VARCHAR", "phone number as given"),
        Column("fax", "VARCHAR", "fax number as given"),
        Column("business", "VARCHAR", "business as given"),
        Column("status", "VARCHAR", "normal, bounced, donotcontact, pending, invitable or deleted"),
        Column("bounce_count", "VARCHAR", "number of bounces as iContact gave it"),
        Column(
            "create_date",
            "VARCHAR",
            "creation as iContact gave it: US Eastern wall time without a zone. The partition is the UTC day of that "
            "text read as America/New_York; icontact_users.ic_user_created reads the same text as UTC, as the vendor does",
        ),
        Column(
            "custom_fields",
            "VARCHAR",
            "custom fields and any field not known above, as a JSON object",
        ),
        *_VERSIONED,
    ),
    key=("id", "partition_date"),
)

RAW_MESSAGES = Table(
    "raw_messages",
    "Messages of the client folder, without their bodies. A row per message and day on which it appeared, changed or vanished.",
    (
        _MESSAGE,
        Column("campaign_id", "VARCHAR", "campaign (sender property) id"),
        Column("message_type", "VARCHAR", "normal, confirmation, or the deprecated welcome, autoresponder"),
        Column("subject", "VARCHAR", "subject line"),
        Column("message_name", "VARCHAR", "internal name"),
        Column("create_date", "VARCHAR", "creation as iContact gave it; creating is not sending"),
        Column("aids", "VARCHAR[]", "the AIDs found in the HTML body as `<!-- lytics-aid:AID -->`, sorted"),
        *_VERSIONED,
    ),
    key=("message_id", "partition_date"),
)

RAW_SENDS = Table(
    "raw_sends",
    "Sends of messages: to which lists, when scheduled, when released. A row per send and day on which it appeared, changed or vanished.",
    (
        Column("send_id", "VARCHAR", "iContact send id"),
        _MESSAGE,
        Column("include_list_ids", "VARCHAR", "list ids mailed, separated by commas"),
        Column("exclude_list_ids", "VARCHAR", "list ids left out, separated by commas"),
        Column("include_segment_ids", "VARCHAR", "segment ids mailed, separated by commas"),
        Column("exclude_segment_ids", "VARCHAR", "segment ids left out, separated by commas"),
        Column("scheduled_time", "VARCHAR", "scheduled time as iContact gave it"),
        Column("released_time", "VARCHAR", "time of sending as iContact gave it"),
        Column("scheduled_at", "TIMESTAMP", "scheduled time (UTC)"),
        Column("released_at", "TIMESTAMP", "time of sending (UTC); NULL while not sent"),
        Column("recipient_count", "BIGINT", "number of recipients"),
        Column("status", "VARCHAR", "pending, sending, released or cancelled, as iContact spells it"),
        *_VERSIONED,
    ),
    key=("send_id", "partition_date"),
)

RAW_LISTS = Table(
    "raw_lists",
    "Lists of the client folder. A row per list and day on which it appeared, changed or vanished.",
    (
        Column("list_id", "VARCHAR", "iContact list id"),
        Column("name", "VARCHAR", "internal name"),
        Column("public_name", "VARCHAR", "name that contacts see"),
        Column("description", "VARCHAR", "description"),
        *_VERSIONED,
    ),
    key=("list_id", "partition_date"),
)

RAW_SUBSCRIPTIONS = Table(
    "raw_subscriptions",
    "Subscriptions to the lists that exports or the option `lists` name. A row per subscription and day on which it appeared, changed or vanished.",
    (
        Column("subscription_id", "VARCHAR", "`<list id>_<contact id>`"),
        Column("list_id", "VARCHAR", "iContact list id"),
        Column("contact_id", "VARCHAR", "iContact contact id"),
        Column("status", "VARCHAR", "normal, pending or unsubscribed"),
        Column("add_date", "VARCHAR", "time of subscribing as iContact gave it"),
        Column("added_at", "TIMESTAMP", "time of subscribing (UTC)"),
        *_VERSIONED,
    ),
    key=("subscription_id", "partition_date"),
)

STATISTICS = (
    "bounces",
    "delivered",
    "unsubscribes",
    "opens_unique",
    "opens_total",
    "clicks_unique",
    "clicks_total",
    "forwards",
    "comments",
    "complaints",
)

RAW_STATISTICS = Table(
    "raw_statistics",
    "iContact's own statistics per message. A row per message and day, written only when one differs from the last "
    "stored. With `filter_by_aid`, of the messages whose listings are read into raw_activity.",
    (
        _MESSAGE,
        *(Column(name, "BIGINT", f"{name.replace('_', ', ')} as iContact counts them") for name in STATISTICS),
        _OBSERVED,
        _PARTITION,
    ),
    key=("message_id", "partition_date"),
)

RAW_ACTIVITY = Table(
    "raw_activity",
    "What contacts did with messages: a row per line of iContact's four listings, on the UTC day it happened. "
    "Of a message that `filter_by_aid` leaves out, only who unsubscribed, and only where an export heeds it.",
    (
        _MESSAGE,
        Column("contact_id", "VARCHAR", "iContact contact id; the contact may no longer exist"),
        Column("event_type", "VARCHAR", "open, click, bounce or unsubscribe"),
        Column("event_time", "TIMESTAMP", "when it happened (UTC, whole seconds as iContact gives them)"),
        Column("event_url", "VARCHAR", "link clicked; NULL for the other types"),
        Column("ordinal", "INTEGER", "0, 1, ... among lines that are equal in all of the above"),
        Column("extracted_at", "TIMESTAMP", "when the line was first stored (UTC)"),
        _PARTITION,
    ),
    key=("message_id", "event_type", "contact_id", "event_time", "event_url", "ordinal"),
)

QUARANTINE = Table(
    "quarantine",
    "Rows of iContact that could not be read, with the reason. They are in no other table.",
    (
        Column(
            "resource",
            "VARCHAR",
            "contacts, messages, sends, lists, subscriptions, opens, clicks, bounces, unsubscribes",
        ),
        Column("message_id", "VARCHAR", "message the row belongs to, '' where there is none"),
        Column("digest", "VARCHAR", "hash of the row; the same row is stored once"),
        Column("reason", "VARCHAR", "why it could not be read"),
        Column("content", "VARCHAR", "the row as iContact gave it, JSON"),
        Column("occurrences", "BIGINT", "how often the row was in the last complete read"),
        Column("observed_at", "TIMESTAMP", "when it was first stored (UTC)"),
    ),
    key=("resource", "message_id", "digest"),
)

IMPORT_COVERAGE = Table(
    "import_coverage",
    "What was asked of iContact, what it reported, what is stored, and whether that is complete. A row per listing.",
    (
        Column("resource", "VARCHAR", "contacts, messages, sends, lists, subscriptions, statistics or activity"),
        Column("message_id", "VARCHAR", "message id; '' for listings of the whole folder"),
        Column("kind", "VARCHAR", "opens, clicks, bounces or unsubscribes of a message, else ''"),
        Column("list_id", "VARCHAR", "list id of subscriptions, else ''"),
        Column("reported", "BIGINT", "rows that iContact reported at the last complete read"),
        Column("stored", "BIGINT", "rows of the listing that are stored"),
        Column(
            "read_through",
            "TIMESTAMP",
            "when the last complete read began (UTC): everything before it is stored",
        ),
        Column("verified_at", "TIMESTAMP", "when the last complete read from the first row on began (UTC)"),
        Column(
            "status",
            "VARCHAR",
            "complete, stale (rows in the middle are missing), incomplete or failed: how the last read ended",
        ),
        Column("reason", "VARCHAR", "why it is not complete"),
        Column("requests", "BIGINT", "requests spent so far"),
        Column("statistic", "BIGINT", "iContact's own count of the rows just before the last complete read"),
        Column("changed_at", "TIMESTAMP", "statistics: when a poll last differed from the one before (UTC)"),
        Column("head", "VARCHAR[]", "digests of the first rows of the listing, to recognise it"),
        Column("tail", "VARCHAR[]", "digests of the last rows of the listing, to resume from"),
        Column("read_id", "VARCHAR", "id of the last read that landed, so that none lands twice"),
    ),
    key=("resource", "message_id", "kind", "list_id"),
)

KNOWN_FIELDS = Table(
    "known_fields",
    "The fields that rows of iContact ever had, and the kinds of their values: what differs is schema drift.",
    (
        Column(
            "resource",
            "VARCHAR",
            "contacts, messages, sends, lists, subscriptions, opens, clicks, bounces, unsubscribes",
        ),
        Column("field", "VARCHAR", "name of the field as iContact writes it"),
        Column(
            "kind", "VARCHAR", "text, number, boolean, object, array, null; absent: no row of a listing had the field"
        ),
        Column("accepted", "BOOLEAN", "whether that is as it should be; if not, it is reported each time it is seen"),
        Column("first_seen_at", "TIMESTAMP", "when it was first stored (UTC)"),
        Column("last_seen_at", "TIMESTAMP", "when it was last stored (UTC)"),
    ),
    key=("resource", "field", "kind"),
)

MISSED = Table(
    "missed",
    "What a suspiciously small listing did not hold. It is believed only if a second read, an hour or more later, agrees.",
    (
        Column("resource", "VARCHAR", "listing"),
        Column("scope", "VARCHAR", "list id for subscriptions, message id for activity, else ''"),
        Column("id", "VARCHAR", "id of the row; '' for activity, whose rows have none"),
        Column("missed_at", "TIMESTAMP", "when it was first missed (UTC)"),
    ),
    key=("resource", "scope", "id"),
)

TOUCHED_CONTACTS = Table(
    "touched_contacts",
    "Contacts whose activity changed since icontact_activity was last computed.",
    (
        Column("contact_id", "VARCHAR", "iContact contact id"),
        Column("touched_at", "TIMESTAMP", "when the change was stored (UTC)"),
    ),
)

CHANGED_CONTACTS = Table(
    "changed_contacts",
    "Contacts of which a version was stored since icontact_users was last computed.",
    (
        Column("contact_id", "VARCHAR", "iContact contact id"),
        Column("changed_at", "TIMESTAMP", "when it was stored (UTC)"),
    ),
)

HASHED_LINKS = Table(
    "hashed_links",
    "Every distinct link ever clicked, hashed once.",
    (
        Column("event_url", "VARCHAR", "link as iContact gave it"),
        Column(
            "hashedurls_key",
            "VARCHAR",
            "key of hashedurls: decimal SipHash of host and path; NULL when the link has none",
        ),
    ),
    key=("event_url",),
)

MAPPING_STATE = Table(
    "mapping_state",
    "With which mapping, and of which rows, a mapped table was computed. Another mapping computes everything anew.",
    (
        Column("digest", "VARCHAR", "hash of the field table and of the functions' version"),
        Column("computed_at", "TIMESTAMP", "when (UTC)"),
        Column("table_name", "VARCHAR", "icontact_users or icontact_activity"),
        Column("source_rows", "BIGINT", "rows that the raw table had"),
        Column("source_end", "BIGINT", "the rowid after the last of them"),
        Column("source_newest", "TIMESTAMP", "when the newest of them was stored (UTC)"),
        Column("summed_end", "BIGINT", "the rowid after the last event that summed_hashes is of"),
        Column("summed_hashes", "HUGEINT", "sum of hash(contact_id) of the events when rows_match_source last held"),
    ),
    key=("table_name",),
)

IMPORT_SOURCE = Table(
    "import_source",
    "Whose data this schema holds: one row, written by the first run. A run for another client folder is refused.",
    (
        Column("database_id", "VARCHAR", "of this schema in this database; pages staged for another one never land"),
        Column("service", "VARCHAR", "host and path of the service; loopback: a service on this machine"),
        Column("account_id", "VARCHAR", "iContact account id"),
        Column("client_folder_id", "VARCHAR", "iContact client folder id"),
        Column("recorded_at", "TIMESTAMP", "when (UTC)"),
    ),
    key=("database_id",),
)

RAW_TABLES = (
    RAW_CONTACTS,
    RAW_MESSAGES,
    RAW_SENDS,
    RAW_LISTS,
    RAW_SUBSCRIPTIONS,
    RAW_STATISTICS,
    RAW_ACTIVITY,
)

_AUDIENCE = Column("audience", "VARCHAR", "name of the audience")
_MEMBER = Column("contact_id", "VARCHAR", "iContact contact id")
_EXPORT = Column("export", "VARCHAR", "name of the export")
_RUN = Column("run_id", "VARCHAR", "id of the run")

AUDIENCE_MEMBERS = Table(
    "audience_members",
    "Who is in each audience now.",
    (
        _AUDIENCE,
        _MEMBER,
        Column("entered_at", "TIMESTAMP", "when the contact entered the audience (UTC)"),
    ),
    key=("audience", "contact_id"),
)

AUDIENCE_CHANGES = Table(
    "audience_changes",
    "Who entered and left each audience, and when.",
    (
        _AUDIENCE,
        _MEMBER,
        Column("change", "VARCHAR", "entered or left"),
        Column("changed_at", "TIMESTAMP", "when it was found (UTC)"),
        Column("version", "VARCHAR", "hash of the membership that this change led to"),
    ),
    key=("audience", "contact_id", "changed_at"),
)

AUDIENCE_COMPUTATIONS = Table(
    "audience_computations",
    "Every time an audience was computed, or kept because data was incomplete, whether its members changed or not.",
    (
        _AUDIENCE,
        Column("computed_at", "TIMESTAMP", "when (UTC)"),
        Column("version", "VARCHAR", "hash of the membership"),
        Column("missing", "VARCHAR", "which data was incomplete, so that the members were kept; NULL if none was"),
    ),
    key=("audience", "computed_at"),
)

_FOLDER = Column(
    "folder",
    "VARCHAR",
    "'' for the client folder of the import; `<account>/<client folder>` for another that an export writes to",
)

OPT_OUTS = Table(
    "opt_outs",
    "Every contact that an answer of iContact ever showed as opted out. A row is kept, whatever the contact becomes later.",
    (
        _FOLDER,
        Column("list_id", "VARCHAR", "the list that the contact left; '' for do-not-contact, which is all lists"),
        _MEMBER,
        Column("seen_at", "TIMESTAMP", "when it was first seen (UTC)"),
    ),
    key=("folder", "list_id", "contact_id"),
)

CONTACT_ADDRESSES = Table(
    "contact_addresses",
    "Addresses that contacts had at some time and that raw_contacts does not show: an opt-out follows the address.",
    (
        _FOLDER,
        _MEMBER,
        Column("email", "VARCHAR", "address as iContact gave it; NULL: it was asked for and has none"),
        Column("seen_at", "TIMESTAMP", "when it was first seen (UTC)"),
    ),
    key=("folder", "contact_id", "email"),
)

EXPORT_RUNS = Table(
    "export_runs",
    "Every run of every export, with its counts.",
    (
        _RUN,
        _EXPORT,
        _AUDIENCE,
        Column("audience_storage_id", "VARCHAR", "storage id of the audience materialization that was exported"),
        Column("audience_version", "VARCHAR", "hash of the membership that was exported"),
        Column("list_id", "VARCHAR", "iContact list id"),
        Column("list_setting", "VARCHAR", "the list as the settings name it: an id, or an exact name"),
        Column("move_to_id", "VARCHAR", "id of the list that people are moved to; NULL without one"),
        Column("move_to_setting", "VARCHAR", "that list as the settings name it"),
        Column("mode", "VARCHAR", "dry_run, add, mirror or undo"),
        Column("undoes", "VARCHAR", "id of the run that an undo took back"),
        Column("plan_hash", "VARCHAR", "hash of the plan: mode, lists and ordered actions"),
        Column("began_at", "TIMESTAMP", "when the run began (UTC)"),
        Column("compared_at", "TIMESTAMP", "when the list was read and compared (UTC); NULL if there was no plan"),
        Column("ended_at", "TIMESTAMP", "when it ended (UTC); NULL while it runs, or if it was killed"),
        Column("status", "VARCHAR", "running, done, stopped (by a limit) or failed"),
        Column("reason", "VARCHAR", "why it stopped or failed"),
        Column("members", "BIGINT", "size of the audience"),
        Column("chosen", "BIGINT", "those of them who are exported"),
        Column("planned", "BIGINT", "people to be added or removed by the plan"),
        Column("added", "BIGINT", "subscribed by this run, or moved back by an undo"),
        Column("removed", "BIGINT", "moved away or unsubscribed by this run"),
        Column("already_subscribed", "BIGINT", "on the list already"),
        Column("skipped", "BIGINT", "people who may not be written to, or are left out of the export"),
        Column("refused", "BIGINT", "refused by iContact because they may not be mailed. They are never tried again"),
        Column("failed", "BIGINT", "not done for another reason. The next run tries them again"),
        Column("remaining", "BIGINT", "not done yet: planned, or waiting for the pace"),
        Column("list_size_before", "BIGINT", "normal subscriptions on the list before"),
        Column("list_size_after", "BIGINT", "normal subscriptions on the list after; NULL if it was not read again"),
        Column("requests", "BIGINT", "requests spent"),
    ),
    key=("run_id", "export"),
)

EXPORT_OUTCOMES = Table(
    "export_outcomes",
    "What became of each person in each run of an export.",
    (
        _RUN,
        _EXPORT,
        Column("plan_hash", "VARCHAR", "hash of the plan that was applied"),
        Column(
            "contact_id", "VARCHAR", "iContact contact id in the list's client folder; NULL if there is no such contact"
        ),
        Column("member_id", "VARCHAR", "contact id in the audience's client folder; NULL if not known"),
        Column("action", "VARCHAR", "subscribe, move or unsubscribe"),
        Column("list_id", "VARCHAR", "the list that the action is about"),
        Column("to_list_id", "VARCHAR", "where a move leads; else NULL"),
        Column(
            "outcome",
            "VARCHAR",
            "added, moved, unsubscribed: done. already_subscribed: on the list before. skipped: may not be written to, or left out. "
            "refused: by iContact, because the person may not be mailed. It is never tried again. "
            "failed: not done. The next run tries again. unconfirmed: whether it was done is not known. Later runs look again. "
            "intended: about to be sent. A run that leaves it was cut off. planned: by a dry run",
        ),
        Column("reason", "VARCHAR", "why"),
        Column("response", "VARCHAR", "what iContact said, e-mail addresses masked"),
        Column("evidence", "VARCHAR", "what a skip rests on, as a JSON object: statuses, and what is known against it"),
        Column("recorded_at", "TIMESTAMP", "when (UTC)"),
    ),
    key=("run_id", "export", "contact_id", "member_id", "action"),
)

EXPORT_MEMBERS = Table(
    "export_members",
    "Who is on the list of each export, as it last saw or left it. What differs from it is an external change.",
    (
        _EXPORT,
        Column("list_id", "VARCHAR", "iContact list id"),
        Column("contact_id", "VARCHAR", "iContact contact id in the list's client folder"),
        Column("member_id", "VARCHAR", "contact id in the audience's client folder; NULL if not known"),
        Column("status", "VARCHAR", "status on the list; absent: not on it; NULL: not readable"),
        Column(
            "changed_by",
            "VARCHAR",
            "who made it so: before (found by the first comparison), export, or external (somebody else)",
        ),
        Column("changed_at", "TIMESTAMP", "when that was done or found (UTC)"),
    ),
    key=("export", "list_id", "contact_id"),
)

EXPORT_PLANS = Table(
    "export_plans",
    "Plans that were shown: what an approval by hash is checked against.",
    (
        _EXPORT,
        Column("hash", "VARCHAR", "hash of the plan: mode, lists and ordered actions"),
        Column("mode", "VARCHAR", "dry_run, add, mirror or undo"),
        Column("list_id", "VARCHAR", "iContact list id"),
        Column("undoes", "VARCHAR", "id of the run that it takes back"),
        Column("created_at", "TIMESTAMP", "when it was first made, or last shown by the command line (UTC)"),
        Column("applied_at", "TIMESTAMP", "when it was first applied (UTC). An approval is good for one application"),
        Column("adds", "BIGINT", "people to be added, or moved back"),
        Column("removes", "BIGINT", "people to be removed"),
        Column("exceeded", "VARCHAR", "the limits that it exceeds. NULL if none"),
    ),
    key=("export", "hash"),
)

ENGAGEMENT_CHANGES = Table(
    "engagement_changes",
    "Who came to another tier of `engagement`, and when. A row is kept, whatever becomes of the contact.",
    (
        Column("contact_id", "VARCHAR", "iContact contact id"),
        Column("from_tier", "VARCHAR", "the tier before; NULL: the contact was in none"),
        Column("to_tier", "VARCHAR", "the tier since; NULL: the contact no longer exists"),
        Column("changed_on", "DATE", "the day on which it was found, in the time zone of the settings `reports`"),
        Column("changed_at", "TIMESTAMP", "when it was found (UTC)"),
    ),
    key=("contact_id", "changed_at"),
)

TABLES = (
    *RAW_TABLES,
    QUARANTINE,
    IMPORT_COVERAGE,
    KNOWN_FIELDS,
    MISSED,
    TOUCHED_CONTACTS,
    CHANGED_CONTACTS,
    HASHED_LINKS,
    MAPPING_STATE,
    IMPORT_SOURCE,
    AUDIENCE_MEMBERS,
    AUDIENCE_CHANGES,
    AUDIENCE_COMPUTATIONS,
    EXPORT_RUNS,
    EXPORT_OUTCOMES,
    EXPORT_MEMBERS,
    EXPORT_PLANS,
    OPT_OUTS,
    CONTACT_ADDRESSES,
    ENGAGEMENT_CHANGES,
)
"""Every table that `Warehouse.prepare` creates in the schema of an import."""


def _latest(table: Table, id_: str) -> str:
    """A query for the latest version of each row; `id_` names the column that identifies it."""
    return (
        f'SELECT * FROM "{{schema}}"."{table.name}" '
        f"QUALIFY row_number() OVER (PARTITION BY {id_} ORDER BY observed_at DESC) = 1"
    )


VIEWS = (
    View(
        "current_contacts",
        "The latest version of each contact; `deleted_at` is NULL while it exists.",
        RAW_CONTACTS,
        _latest(RAW_CONTACTS, "id"),
    ),
    View(
        "current_messages",
        "The latest version of each message; `deleted_at` is NULL while it exists.",
        RAW_MESSAGES,
        _latest(RAW_MESSAGES, "message_id"),
    ),
    View(
        "current_sends",
        "The latest version of each send; `deleted_at` is NULL while it exists.",
        RAW_SENDS,
        _latest(RAW_SENDS, "send_id"),
    ),
    View(
        "current_lists",
        "The latest version of each list; `deleted_at` is NULL while it exists.",
        RAW_LISTS,
        _latest(RAW_LISTS, "list_id"),
    ),
    View(
        "current_subscriptions",
        "The latest version of each subscription; `deleted_at` is NULL while it exists.",
        RAW_SUBSCRIPTIONS,
        _latest(RAW_SUBSCRIPTIONS, "subscription_id"),
    ),
    View(
        "current_statistics",
        "The latest statistics of each message.",
        RAW_STATISTICS,
        _latest(RAW_STATISTICS, "message_id"),
    ),
    View(
        "labelled_activity",
        "Each row of raw_activity, and whether a machine did it.",
        RAW_ACTIVITY,
        LABELLED,
        (
            Column(
                "machine",
                "VARCHAR",
                "scanner, burst, before_delivery or privacy_proxy, if a machine did it; NULL: a person, as far as is known",
            ),
            Column(
                "confidence",
                "DOUBLE",
                "how likely it is that a machine did it, from 0 to 1; NULL for bounces and unsubscribes",
            ),
        ),
    ),
)
"""Every view that is made beside them. A view is named with its schema, so that it can be read from anywhere."""


COVERAGE = Table(
    "coverage",
    "A view. A row per UTC day from the start date to today: is it read, is it settled, and if not, why.",
    (
        Column("day", "DATE", "the UTC day"),
        Column("read", "BOOLEAN", "whether the day has ended and every due message was polled"),
        Column("settled", "BOOLEAN", "whether the day has ended and no message is open for it any more"),
        Column("open_messages", "BIGINT", "messages released before its end of which something may still be missing"),
        Column("due_messages", "HUGEINT", "those of them that must be polled now"),
        Column("reason", "VARCHAR", "why it is not read, or not settled; NULL if it is both"),
    ),
    key=("day",),
)
"""The view `coverage`. The settings of the import are in its definition, so that `ingest/due.py` makes it."""


def audience_on(schema: str) -> str:
    """DDL of `audience_on(audience, day)`: who was in an audience when a day ended (UTC), and since when.

    An error, not an empty table, where that is not known: the audience was not computed by then, or has another name.
    """
    by_then = "audience = of_audience AND {} < CAST(on_day AS DATE) + INTERVAL 1 DAY"
    return f"""
        CREATE OR REPLACE MACRO "{schema}".audience_on(of_audience, on_day) AS TABLE
        SELECT contact_id, max(changed_at) AS entered_at FROM {_beside_macro(schema, "audience_on", "audience_changes")}
        WHERE {by_then.format("changed_at")}
        GROUP BY contact_id HAVING arg_max(change, changed_at) = 'entered'
        UNION ALL
        SELECT error(format(
            'The audience {{}} was not computed by the end of {{}} (UTC): who was in it then is not known.',
            of_audience, CAST(on_day AS DATE)
        )), NULL
        WHERE NOT EXISTS (
            FROM {_beside_macro(schema, "audience_on", "audience_computations")}
            WHERE {by_then.format("computed_at")} AND missing IS NULL
        )
    """


def _beside_macro(schema: str, macro: str, table: str) -> str:
    """SQL, for the body of a macro, that yields a table of the database that the macro is called from.

    DuckDB looks up the tables of a macro where the caller stands, not where the macro is: in a database attached as `w`
    it finds none. So the name that the query gives the database is read off the query.
    """
    # There is no text while a query is only prepared, as by `sql()` in Python, and asking for it then is a crash.
    text = "CASE WHEN current_query_id() < 1000000000000 THEN current_query() ELSE '' END"
    database = rf"""("(?:[^"]|"")+"|[\pL\pN_$]+)\s*\.\s*"?{schema}"?\s*\.\s*"?{macro}"?\s*\("""
    named = f"list_distinct(regexp_extract_all({text}, '{database}', 1, 'i'))"
    return f"""query_table(CASE len({named})
        WHEN 0 THEN '"{schema}".{table}'
        WHEN 1 THEN {named}[1] || '."{schema}".{table}'
        ELSE error('{macro} reads one database in a query, and this query names several: ask each in its own.') END)"""
