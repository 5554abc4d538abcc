"""What is asked of an account, and every answer there is: the unknowns of section 9 of the API reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

UNKNOWN = "unknown"
"""The answer to any question when there was nothing to see it on."""

Verdict = Literal["handled", "set", "report"]
"""`handled`: as it is. `set`: a setting makes it better. `report`: we do not handle it, so we want to know."""

Value = str | int | bool


@dataclass(frozen=True)
class Meaning:
    """What an answer means for whoever reads the account with this package."""

    verdict: Verdict
    text: str


@dataclass(frozen=True)
class Question:
    """One unknown. Its key and its answers stay the same from version to version: profiles hold them.

    Where the sandbox has a switch for it, the key is the switch's name, and its values are among the answers.
    """

    key: str
    number: int | None
    """The row of section 9 of the API reference. None: what our reader relies on beside these."""
    asks: str
    """As a noun, in words."""
    answers: Mapping[Value, Meaning] = field(default_factory=dict)
    """Beside UNKNOWN. Where the question is a switch of the sandbox, its values are among them."""
    count: Meaning | None = None
    """The answer is a whole number, beside those in `answers`."""

    def meaning(self, answer: Value) -> Meaning | None:
        """What an answer means. None for UNKNOWN, of which nothing follows. Raises KeyError for what is no answer."""
        if answer == UNKNOWN:
            return None
        # In Python, 1 equals True.
        if self.count is not None and isinstance(answer, int) and not isinstance(answer, bool):
            return self.count
        return self.answers[answer]


def _handled(text: str) -> Meaning:
    return Meaning("handled", text)


def _report(text: str) -> Meaning:
    return Meaning("report", text)


_ANY_FORM = _handled("read by its own offset")
_EASTERN = _handled("read as Eastern time")
_FORMS: dict[Value, Meaning] = {
    "iso": _ANY_FORM,
    "no_colon": _ANY_FORM,
    "utc": _ANY_FORM,
    "no_offset": _EASTERN,
    "blank": _EASTERN,
    "compact": _EASTERN,
    "fixed": _ANY_FORM,
    "mixed": _handled("each is read by its own form"),
    "other": _handled("another form, which we can read"),
    "unreadable": _report("we cannot read it: no time comes of it"),
}
"""Forms of times: 2026-09-14T09:20:00-04:00 with Eastern's offset of that day, -0400, Z, no offset, a blank for the T,
20260914 09:20:00, one offset in summer and winter."""

_BY_ROWS = _handled("we go on by the rows that came")

_PAGING = (
    Question("page_limit", 1, "what happens above the largest page", {
        "clamp": _BY_ROWS,
        "none": _handled("larger pages need fewer requests"),
        "refuse": _handled("we ask for smaller pages until one comes"),
        "other": _report("the answer to a large page is neither rows nor a refusal"),
    }),
    Question("page_limit_rows", 1, "the largest page", count=_BY_ROWS),
    Question("messages_limit_rows", 1, "the largest page of messages", count=_BY_ROWS),
    Question("activity_limit_rows", 1, "the largest page of activity", count=_BY_ROWS),
    Question("page_limit_echo", 1, "the limit that is written beside a page that was cut", {
        "applied": _handled("we count the rows instead"),
        "asked": _handled("we count the rows instead"),
        "missing": _handled("we count the rows instead"),
    }),
    Question("bad_limit", 2, "limit=0 and limit=-1", {
        "default": _handled("we never send it"),
        "empty": _handled("we never send it"),
        "refuse": _handled("we never send it"),
        "other": _handled("we never send it"),
    }),
    Question("past_end", 3, "a page behind the end", {
        "empty": _handled("we stop at the total"),
        "null": _handled("we stop at the total"),
        "missing": _handled("we stop at the total"),
        "refuse": _handled("we stop at the total"),
        "other": _report("rows come where there are none"),
    }),
    Question("offset", None, "what offset counts", {
        "rows": _handled("as documented"),
        "other": _report("pages cannot be joined: reads end red"),
    }),
    Question("totals", None, "whether a page tells the total", {
        "told": _handled("each read is compared with it"),
        "missing": _handled("we read on until a page brings nothing new, by offset"),
    }),
    Question("listing_order", 7, "the order of contacts and messages that nobody ordered", {
        "ascending": _handled("no order is assumed"),
        "descending": _handled("no order is assumed"),
        "stable": _handled("no order is assumed, and it is the same each time"),
        "shuffled": _report("listings longer than a page end red where orderby does not help"),
    }),
    Question("orderby", None, "whether orderby is applied", {
        "apply": _handled("contacts are read by id, messages by date"),
        "warn": _handled("we notice, and read without it"),
        "silent": _handled("we notice by the rows, and read without it"),
        "refuse": _handled("we notice, and read without it"),
    }),
    Question("contact_id_comparison", None, "contactId with contactIdSearchType=gt", {
        "apply": _handled("contacts are read by id"),
        "warn": _handled("we notice, and read contacts by offset"),
        "silent": _handled("we notice by the rows, and read contacts by offset"),
        "equals": _handled("we notice by the rows, and read contacts by offset"),
        "text": _handled("we notice by the rows, and read contacts by offset"),
        "refuse": _handled("we notice, and read contacts by offset"),
    }),
    Question("unknown_term", None, "a search term that does not exist", {
        "warn": _handled("a warning on a filtered read ends it"),
        "silent": _handled("the rows are compared with the filter"),
        "empty": _handled("we send documented terms only"),
        "refuse": _handled("we send documented terms only"),
    }),
    Question("max_list_values", 31, "the most ids in one search", count=_handled("we send at most 50")),
    Question("max_url_length", 31, "the longest address of a request", count=_handled("ours are shorter")),
)  # fmt: skip

_CONTACTS = (
    Question("contacts_default", 18, "contacts without status=total", {
        "listed": _handled("we always ask for status=total"),
        "all": _handled("we always ask for status=total"),
        "other": _handled("we always ask for status=total"),
    }),
    Question("total_includes_deleted", 19, "whether status=total shows deleted contacts", {
        True: _handled("they are stored with their status, and never mailed"),
        False: _handled("they are stored as vanished"),
    }),
    Question("deleted_contact", 14, "a deleted contact asked for by id", {
        "readable": _handled("we heed its status"),
        "not_found": _handled("we take it as gone"),
    }),
    Question("ids", 9, "how ids are written", {
        "string": _handled("both are read"),
        "integer": _handled("both are read"),
        "mixed": _handled("both are read"),
        "other": _report("we cannot read some ids: such rows end in quarantine"),
    }),
    Question("nulls", None, "how an empty field is written in a listing", {
        "null": _handled("both are kept as they come"),
        "blank": _handled("both are kept as they come"),
        "mixed": _handled("both are kept as they come"),
    }),
    Question("extra_fields", 32, "fields that no page describes", {
        False: _handled("as documented"),
        True: _handled("they are reported once, and those of contacts are kept"),
    }),
    Question("missing_fields", None, "fields that every row should have", {
        "none": _handled("as documented"),
        "some": _report("we rely on them"),
    }),
    Question("message_bodies", None, "whether a page of messages holds the bodies", {
        "listed": _handled("filter_by_aid works"),
        "left_out": _report("filter_by_aid finds no message"),
    }),
    Question("action_details", 25, "details in the history of a contact", {
        "empty": _handled("we do not read the history"),
        "message": _handled("we do not read the history"),
        "other": _handled("we do not read the history"),
    }),
)  # fmt: skip

_ACTIVITY = (
    Question("activity_order", 7, "the order of opens, clicks, bounces and unsubscribes", {
        "ascending": _handled("new rows are found at the end"),
        "descending": _handled("new rows are found at the front"),
        "appended": _handled("the order is stable, though not by time"),
        "mixed": _handled("each listing has a stable order of its own"),
        "shuffled": _report("listings longer than a page end red"),
    }),
    Question("activity_filters", 8, "a filter on activity", {
        "ignore": _handled("we send none"),
        "apply": _handled("we send none"),
        "silent": _handled("we send none"),
        "other": _handled("we send none"),
    }),
    Question("opens_rows", 10, "rows for somebody who opens a message again", {
        "every": _handled("each row is an event"),
        "first": _handled("each row is an event"),
    }),
    Question("identical_rows", 11, "rows that are equal in everything", {
        "keep": _handled("they are numbered, and all are stored"),
        "drop": _handled("there is nothing to tell apart"),
    }),
    Question("retention_days", 13, "the days after which activity vanishes", count=_handled("stored rows stay")),
    Question("activity_of_deleted", 14, "activity of contacts that were deleted", {
        "keep": _handled("it is stored, without a contact where there is none"),
        "drop": _handled("stored rows stay"),
    }),
    Question("statistics", 15, "statistics against the rows of the listings", {
        "equal": _handled("a poll shows each new row"),
        "lagging": _handled("late numbers are found by the reads that verify"),
        "distinct": _handled("equal rows are counted once, which the tie-out knows"),
        "ever": _handled("polls notice each change, and the tie-out warns"),
        "other": _report("polls may miss rows until a read verifies"),
        "missing": _report("polls show nothing new: new rows are found only when a read verifies"),
    }),
    Question("automation_sends", 30, "whether messages of automations have sends", {
        "include": _handled("messages are polled with a send and without"),
        "exclude": _handled("messages are polled with a send and without"),
    }),
    Question("unknown_message", None, "activity of a message that does not exist", {
        "404": _handled("the message counts as vanished"),
        "500": _handled("the message is listed as failed"),
        "empty": _handled("a message without rows"),
        "other": _handled("the message is listed as failed"),
    }),
)  # fmt: skip

_TIMES = (
    Question("activity_time", 16, "times of activity", {
        **_FORMS,
        "unreadable": _report("we cannot read it: such rows end in quarantine"),
    }),
    Question("contact_date", 16, "createDate of contacts", {
        **_FORMS,
        "blank_utc": _report("we read it as Eastern time, so it is off by hours"),
    }),
    Question("message_date", 17, "createDate of messages", _FORMS),
    Question("send_date", 16, "times of sends", _FORMS),
    Question("subscription_date", 16, "addDate of subscriptions", _FORMS),
    Question(
        "action_time", 16, "times in the history of a contact",
        dict.fromkeys(_FORMS, _handled("we do not read the history")),
    ),
)  # fmt: skip

_SERVICE = (
    Question("requests_per_minute", 5, "the most requests in a minute", count=Meaning("set", "ask less often")),
    Question("requests_per_day", 5, "the most requests in a day", count=Meaning("set", "ask less often")),
    Question("limit_reply", 6, "the answer above a limit of requests", {
        "503": _handled("we wait and ask again"),
        "503_retry_after": _handled("we wait as long as it says"),
        "503_html": _handled("we wait and ask again"),
        "429": _handled("we wait and ask again"),
        "420": _handled("we wait and ask again"),
        "other": _handled("we wait and ask again"),
    }),
    Question("limit_headers", 5, "headers that speak of limits", {
        "none": _handled("our limits are settings"),
        "some": _handled("our limits are settings, and these may lie below them"),
    }),
    Question("page_errors", 27, "pages that fail", {
        "none": _handled("no page failed for long"),
        "500": _report("smaller pages go around a bad row, but the listing stays red until iContact mends it"),
        "200": _report("smaller pages go around a bad row, but the listing stays red until iContact mends it"),
    }),
    Question("content_type", None, "the declared type of an answer", {
        "application/json": _handled("we look at the body instead"),
        "text/html; charset=utf-8": _handled("we look at the body instead"),
        "other": _handled("we look at the body instead"),
    }),
    Question("gzip", None, "whether answers are compressed", {
        True: _handled("unpacked in bounded memory"),
        False: _handled("reads take longer"),
    }),
    Question("response_time", None, "how long an answer takes", {
        "under_1s": _handled("we ask once a second, unless told otherwise"),
        "under_10s": _handled("reads take longer than `forecast` says"),
        "over_10s": _handled("reads take much longer than `forecast` says"),
    }),
    Question("auth_status", 26, "a wrong password", {
        "401": _handled("we stop, and name the remedy"),
        "403": _handled("we stop, and name the remedy"),
        "other": _report("we may take it for a failure that passes"),
    }),
    Question("auth_body", None, "what a wrong password is told", {
        "each": _handled("we show it"),
        "one": _handled("we show it, though it may name something else"),
        "html": _handled("we go by the status"),
    }),
    Question("unknown_path", None, "an address that does not exist", {
        "501": _handled("we ask for none"),
        "404": _handled("we ask for none"),
        "other": _handled("we ask for none"),
    }),
    Question("second_account", None, "accounts that are not enabled", {
        "none": _handled("as usual"),
        "disabled": _handled("`discover` says which is enabled"),
    }),
    Question("folders", None, "the shape of the client folders", {
        "plain": _handled("we read the ids only"),
        "agency": _handled("we read the ids only"),
        "other": _report("we read the ids, and find none"),
    }),
)  # fmt: skip

QUESTIONS = (*_PAGING, *_CONTACTS, *_ACTIVITY, *_TIMES, *_SERVICE)

_NEVER_TRIED = _handled("nobody who left is ever subscribed again")

WRITE_QUESTIONS = (
    Question("bulk_failure", 21, "a batch with a bad row", {
        "skip": _handled("each row is confirmed on its own"),
        "refuse": _handled("the batch is halved until the bad row is found"),
        "other": _report("what was written is known only when the list is read"),
    }),
    Question("post_existing_subscription", 24, "a subscription that is there, posted again", {
        "existing": _handled("it counts as there already"),
        "warning": _handled("it counts as there already, as the list shows"),
        "409": _handled("it counts as there already, as the list shows"),
        "other": _report("it may count as failed"),
    }),
    Question("move", None, "a subscription moved to another list", {
        "works": _handled("`remove: {move_to: ...}` works"),
        "refused": _report("`remove: {move_to: ...}` does not work"),
        "other": _report("`remove: {move_to: ...}` may not work"),
    }),
    Question("move_existing", None, "a subscription moved to a list that the contact is on", {
        "merge": _handled("the contact leaves the first list"),
        "400": _handled("the contact stays on the first list, and is listed as failed"),
        "409": _handled("the contact stays on the first list, and is listed as failed"),
        "other": _report("the lists show what was done"),
    }),
    Question("unsubscribe", None, "unsubscribing by a request", {
        "works": _handled("as documented"),
        "refused": _report("a mirror can only move people to another list"),
        "other": _report("a mirror can only move people to another list"),
    }),
    Question("resubscribe", 23, "subscribing somebody who left", {
        "skip": _NEVER_TRIED,
        "400": _NEVER_TRIED,
        "409": _NEVER_TRIED,
        "success": _NEVER_TRIED,
        "pretend": _NEVER_TRIED,
        "other": _NEVER_TRIED,
    }),
    Question("move_unsubscribed", None, "moving somebody who left", {
        "carry": _handled("nobody who left is moved"),
        "subscribe": _handled("nobody who left is moved"),
        "400": _handled("nobody who left is moved"),
        "other": _handled("nobody who left is moved"),
    }),
    Question("refusal_names", None, "how a refusal names the contact", {
        "id": _handled("both are found in the words"),
        "address": _handled("both are found in the words"),
        "both": _handled("both are found in the words"),
        "neither": _handled("such a person is looked up on the list"),
    }),
    Question("write_delay_seconds", 28, "the seconds until a write shows",
             count=_handled("a list that does not show a write is read again, and the next run resolves the rest")),
)  # fmt: skip
"""What only writes can answer."""

BY_KEY = {question.key: question for question in (*QUESTIONS, *WRITE_QUESTIONS)}
