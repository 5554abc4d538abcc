"""What the service answers to GET: listings with paging and search, single rows, activity, statistics, history."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from zlib import crc32

import numpy as np
import orjson

from icontact_assets.sandbox import render, search
from icontact_assets.sandbox.render import Ident, Row
from icontact_assets.sandbox.search import Getter
from icontact_assets.sandbox.switches import Switches
from icontact_assets.sandbox.times import stamp
from icontact_assets.sandbox.world import KINDS, NEVER, Contact, Folder, Kind, Longs, World, next_moment

DEFAULT_LIMIT = 20
Query = dict[str, str]


@dataclass
class Answer:
    """One reply before it goes out."""

    status: int
    body: bytes
    content_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Tweaks:
    """What planned faults change about the way one request is answered."""

    cap: int | None = None
    cap_refuses: bool = False
    cap_echo_asked: bool = False
    order: str | None = None
    warnings: list[str] = field(default_factory=list)
    ignored: dict[str, bool] = field(default_factory=dict)
    """Search terms that count as unknown, and whether nothing is said about it."""
    statistics: dict[str, Any] = field(default_factory=dict)
    late_requests: int = 0
    late_seconds: int = 0
    """How much later than usual a write shows."""


def reply(data: Any, status: int = 200) -> Answer:
    return Answer(status, orjson.dumps(data))


def error(status: int, *texts: str) -> Answer:
    return reply({"errors": list(texts)}, status)


NOT_FOUND = (404, "Not Found")


@dataclass(frozen=True)
class Resource:
    """A listing: where its rows are, how one is written, what can be searched and sorted (field -> kind, getter)."""

    rows: Callable[[Folder], Sequence[Any]]
    write: Callable[[Any, int, Ident, Switches], Row]
    key: Callable[[Any], Any]
    terms: dict[str, tuple[str, Getter]] = field(default_factory=dict)
    sortable: dict[str, tuple[str, Getter]] = field(default_factory=dict)
    paged: bool = True


def _field(name: str) -> Getter:
    return lambda row, _now: row.fields.get(name)


def _attribute(name: str) -> Getter:
    return lambda row, _now: getattr(row, name)


def _member(name: str) -> Getter:
    return lambda row, _now: row.row.get(name)


_CONTACT_TERMS: dict[str, tuple[str, Getter]] = {
    **{
        name: ("text", _field(name))
        for name in ("email", "firstName", "lastName", "street", "city", "state", "postalCode")
    },
    "contactId": ("id", _attribute("id")),
    "createDate": ("time", _attribute("created")),
}
_MESSAGE_TERMS: dict[str, tuple[str, Getter]] = {
    "messageType": ("text", _attribute("type")),
    "campaignId": ("id", _attribute("campaign_id")),
    "subject": ("text", _attribute("subject")),
}
_NAME: dict[str, tuple[str, Getter]] = {"name": ("text", _attribute("name"))}
_PLAIN_NAME: dict[str, tuple[str, Getter]] = {"name": ("text", _member("name"))}
_SUBSCRIPTION_TERMS: dict[str, tuple[str, Getter]] = {
    "listId": ("id", _attribute("list_id")),
    "contactId": ("id", _attribute("contact_id")),
    "status": ("text", lambda row, now: row.status_at(now)),
}


def _plain(row: Any, _now: int, write: Ident, _: Switches) -> Row:
    return render.plain(row, write)


RESOURCES: dict[str, Resource] = {
    "contacts": Resource(
        lambda folder: sorted(folder.contacts.values(), key=lambda row: row.id),
        render.contact,
        lambda row: row.id,
        _CONTACT_TERMS,
        {**_CONTACT_TERMS, "status": ("text", lambda row, now: row.status_at(now))},
    ),
    "messages": Resource(
        lambda folder: sorted(folder.messages.values(), key=lambda row: row.id),
        lambda row, _now, write, switches: render.message(row, write, switches.message_date),
        lambda row: row.id,
        _MESSAGE_TERMS,
        {**_MESSAGE_TERMS, "messageId": ("id", _attribute("id")), "createDate": ("time", _attribute("created"))},
    ),
    "sends": Resource(
        lambda folder: sorted(folder.sends.values(), key=lambda row: row.id),
        lambda row, now, write, switches: render.send(row, now, write, switches.send_date),
        lambda row: row.id,
        {},
        {
            "sendId": ("id", _attribute("id")),
            "messageId": ("id", _attribute("message_id")),
            "scheduledTime": ("time", _attribute("scheduled")),
            "releasedTime": ("time", lambda row, now: row.released if row.released <= now else None),
        },
    ),
    "lists": Resource(
        lambda folder: sorted(folder.lists.values(), key=lambda row: row.id),
        lambda row, _now, write, _: render.mailing_list(row, write),
        lambda row: row.id,
        _NAME,
        {**_NAME, "listId": ("id", _attribute("id"))},
    ),
    "subscriptions": Resource(
        lambda folder: list(folder.subscriptions.values()),
        lambda row, now, write, switches: render.subscription(row, now, write, switches.subscription_date),
        lambda row: (row.list_id, row.contact_id),
        _SUBSCRIPTION_TERMS,
        {**_SUBSCRIPTION_TERMS, "addDate": ("time", _attribute("created"))},
    ),
    "campaigns": Resource(
        lambda folder: list(folder.campaigns.values()),
        _plain,
        lambda row: row.id,
        _PLAIN_NAME,
        {**_PLAIN_NAME, "campaignId": ("id", _attribute("id"))},
    ),
    "customfields": Resource(
        lambda folder: list(folder.customfields.values()), _plain, lambda row: row.id, paged=False
    ),
    "segments": Resource(
        lambda folder: list(folder.segments.values()),
        _plain,
        lambda row: row.id,
        _PLAIN_NAME,
        {**_PLAIN_NAME, "segmentId": ("id", _attribute("id"))},
    ),
    "webhooks": Resource(lambda folder: list(folder.webhooks.values()), _plain, lambda row: row.id),
}
SINGULAR = {
    "contacts": "contact", "messages": "message", "sends": "send", "lists": "list", "subscriptions": "subscription",
    "campaigns": "campaign", "customfields": "customfield", "segments": "segment", "webhooks": "webhook",
}  # fmt: skip


@dataclass
class _Known:
    """A listing that was put together before, and how long it stays true."""

    version: int
    until: int
    since: int
    rows: list[Any]
    ids: list[int] | None = None


@dataclass
class Page:
    limit: int
    offset: int
    written_limit: int | None


class Reader:
    """Answers reads of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._known: dict[tuple[Any, ...], _Known] = {}

    def forget(self) -> None:
        """Drops remembered listings, after a switch changed."""
        self._known.clear()

    # Listings

    def listing(self, folder: Folder, name: str, query: Query, tweaks: Tweaks) -> Answer:
        switches, now = self.world.switches, self.world.clock.now()
        resource = RESOURCES[name]
        page = self.page(query, tweaks, switches.messages_limit_rows if name == "messages" else 0)
        if isinstance(page, Answer):
            return page
        if (unheard := _unheard(name, query)) and switches.unknown_term == "refuse":
            return error(400, f"The term you provided was not valid ({', '.join(unheard)})")
        too_many = next(
            (term for term, value in query.items() if value.count(",") >= (switches.max_list_values or NEVER)), None
        )
        if too_many is not None:
            return error(400, f"Too many values were provided for {too_many}")
        if switches.contact_id_comparison == "refuse" and search.operator_of(query, "contactId") != "eq":
            return error(400, "The contactIdSearchType you provided was not valid")
        if query.get("orderby") and switches.orderby == "refuse":
            return error(400, "The orderby you provided was not valid")
        rows, warnings = self._rows(folder, name, resource, query, now, tweaks)
        direction = tweaks.order or switches.listing_order
        if "orderby" not in query or switches.orderby != "apply":
            rows = self._ordered(rows, direction, resource)
        total = len(rows)
        chosen = rows[page.offset : page.offset + page.limit] if resource.paged else rows
        if name == "messages" and switches.page_errors != "none" and {row.id for row in chosen} & _broken(folder):
            return error(int(switches.page_errors), "An internal error occurred")
        write = render.ident(switches)
        items = [resource.write(row, now, write, switches) for row in chosen]
        if switches.extra_fields:
            items = [{**item, "sourceChannel": "unknown"} for item in items]
        if switches.message_bodies == "left_out":
            items = [{key: value for key, value in item.items() if key not in _BODIES} for item in items]
        return self._envelope(name, orjson.dumps(items), total, page, [*warnings, *tweaks.warnings], resource.paged)

    def page(self, query: Query, tweaks: Tweaks, largest: int = 0) -> Page | Answer:
        """`limit` and `offset` of a request under the switches, or the refusal. `largest`: unless 0, of this listing."""
        switches = self.world.switches
        largest = largest or switches.page_limit_rows
        numbers: dict[str, int] = {}
        for name, default, least in (("limit", DEFAULT_LIMIT, 1), ("offset", 0, 0)):
            text = query.get(name)
            if text is None:
                numbers[name] = default
                continue
            if text.isdigit() and (int(text) >= least or switches.bad_limit == "empty"):
                numbers[name] = int(text)
            elif switches.bad_limit == "refuse":
                return error(400, f"The {name} you provided was not valid")
            else:
                numbers[name] = default
        asked = limit = numbers["limit"]
        if switches.page_limit != "none" and limit > largest:
            if switches.page_limit == "refuse":
                return error(400, f"The limit you provided is too large. The largest is {largest}")
            limit = largest
        echo_asked = switches.page_limit_echo == "asked"
        if tweaks.cap is not None and limit > tweaks.cap:
            if tweaks.cap_refuses:
                return error(400, f"The limit you provided is too large. The largest is {tweaks.cap}")
            limit, echo_asked = tweaks.cap, tweaks.cap_echo_asked
        written = None if switches.page_limit_echo == "missing" and limit < asked else asked if echo_asked else limit
        return Page(limit, numbers["offset"], written)

    def _envelope(
        self, name: str, items: bytes, total: int, page: Page, warnings: list[str], paged: bool = True
    ) -> Answer:
        past = self.world.switches.past_end
        parts = []
        if page.offset > total and past == "refuse":
            return error(400, "The offset you provided is too large")
        if page.offset < total or past in ("empty", "refuse"):
            parts.append(f'"{name}":'.encode() + items)
        elif past == "null":
            parts.append(f'"{name}":null'.encode())
        if paged:
            limit = f'"limit":{page.written_limit},' if page.written_limit is not None else ""
            parts.append(f'{limit}"offset":{page.offset}'.encode())
        if self.world.switches.totals == "told":
            parts.append(f'"total":{total}'.encode())
        if warnings:
            parts.append(b'"warnings":' + orjson.dumps(warnings))
        return Answer(200, b"{" + b",".join(parts) + b"}")

    def _ordered(self, rows: list[Any], direction: str, resource: Resource) -> list[Any]:
        if direction == "stable":
            return sorted(rows, key=lambda row: crc32(repr(resource.key(row)).encode()))
        if direction == "descending":
            return rows[::-1]
        if direction == "shuffled":
            rows = list(rows)
            random.Random(f"{self.world.seed}-{next(self.world.calls)}").shuffle(rows)
        return rows

    def _rows(
        self, folder: Folder, name: str, resource: Resource, query: Query, now: int, tweaks: Tweaks
    ) -> tuple[list[Any], list[str]]:
        """The rows that satisfy the search, ordered as asked, and the warnings about terms that were ignored."""
        switches = self.world.switches
        ignored: list[str] = []
        tests: list[tuple[str, str, str, tuple[str, Getter]]] = []
        status: str | None = None
        list_ids: str | None = None
        by_id: tuple[str, str] | None = None
        if (unheard := _unheard(name, query)) and switches.unknown_term == "empty":
            return [], []
        for term, value in query.items():
            if term in search.PAGING:
                continue
            if term.removesuffix("SearchType") in tweaks.ignored:
                ignored += [] if tweaks.ignored[term.removesuffix("SearchType")] else [term]
                continue
            if term in unheard:
                ignored += [term] if switches.unknown_term == "warn" else []
                continue
            if term.endswith("SearchType") and term.removesuffix("SearchType") in query:
                if term.removesuffix("SearchType") not in resource.terms or value not in search.OPERATORS:
                    ignored.append(term)
                continue
            operator = search.operator_of(query, term)
            if name == "contacts" and term == "status":
                status = value
            elif name == "contacts" and term == "listId":
                list_ids = value
            elif value == "":
                return [], []
            elif name == "contacts" and term == "contactId" and operator != "eq":
                if switches.contact_id_comparison == "apply":
                    by_id = (operator, value)
                elif switches.contact_id_comparison == "text":
                    tests.append((term, value, operator, ("text", lambda row, _now: str(row.id))))
                elif switches.contact_id_comparison == "equals":
                    tests.append((term, value, "eq", resource.terms[term]))
                elif switches.contact_id_comparison == "warn":
                    ignored += [term, f"{term}SearchType"]
            else:
                tests.append((term, value, operator, resource.terms[term]))
        if status == "" or list_ids == "":
            return [], []

        orderby = query.get("orderby", "")
        if orderby and switches.orderby != "apply":
            if switches.orderby == "warn":
                ignored.append("orderby")
            orderby = ""
        key = (
            folder.id,
            name,
            status,
            list_ids,
            orderby,
            tuple((term, value, operator) for term, value, operator, _ in tests),
        )
        known = self._known.get(key)
        if known is None or known.version != folder.version or not known.since <= now < known.until:
            known = self._search(folder, name, tests, status, list_ids, orderby, now)
            if len(self._known) >= 32:
                self._known.pop(next(iter(self._known)))
            self._known[key] = known
        ignored += [] if not orderby else [f"orderby {part}" for part in _unknown_order(orderby, resource)]
        rows = known.rows
        if by_id is not None:
            if orderby in ("", "contactId", "contactId:asc"):
                if known.ids is None:
                    known.ids = [row.id for row in rows]
                rows = rows[search.slice_by_id(known.ids, *by_id)]
            else:
                kind, getter = resource.terms["contactId"]
                test = search.condition(by_id[1], by_id[0], getter, kind)
                rows = [row for row in rows if test(row, now)]
        return rows, [search.unknown_terms(ignored)] if ignored else []

    def _search(
        self,
        folder: Folder,
        name: str,
        tests: list[tuple[str, str, str, tuple[str, Getter]]],
        status: str | None,
        list_ids: str | None,
        orderby: str,
        now: int,
    ) -> _Known:
        switches = self.world.switches
        resource = RESOURCES[name]
        candidates = self._candidates(folder, name, tests)
        source = resource.rows(folder) if candidates is None else candidates
        until = next_moment(source, now)
        rows = [row for row in source if row.created <= now]
        for _, value, operator, (kind, getter) in tests:
            test = search.condition(value, operator, getter, kind)
            rows = [row for row in rows if test(row, now)]
        if name == "contacts":
            rows = self._contacts(folder, rows, status, list_ids, now)
            # Being on a list can begin or end by itself as well.
            if status in (None, "unlisted") or list_ids:
                until = min(until, next_moment(folder.subscriptions.values(), now))
        if name == "sends" and switches.automation_sends == "exclude":
            rows = [row for row in rows if not row.automation]
        if orderby:
            rows, _ = search.order(rows, orderby, resource.sortable, now)
        return _Known(folder.version, until, now, rows)

    def _candidates(self, folder: Folder, name: str, tests: Sequence[tuple[str, str, str, Any]]) -> list[Any] | None:
        """The few rows that exact ids or one exact address can mean, so that such a question costs no scan."""
        exact = {term: value for term, value, operator, _ in tests if operator == "eq"}
        if name == "contacts":
            if "contactId" in exact:
                ids = sorted({int(part) for part in exact["contactId"].split(",") if part.strip().isdigit()})
                return [folder.contacts[key] for key in ids if key in folder.contacts]
            email = exact.get("email", "*")
            if "*" not in email and "," not in email:
                return [folder.contacts[key] for key in sorted(folder.by_email.get(email.lower(), ()))]
        if name == "subscriptions" and "contactId" in exact:
            keys = [int(part) for part in exact["contactId"].split(",") if part.strip().isdigit()]
            return [
                folder.subscriptions[number, key] for key in keys for number in sorted(folder.lists_of.get(key, ()))
            ]
        return None

    def _contacts(
        self, folder: Folder, rows: list[Contact], status: str | None, list_ids: str | None, now: int
    ) -> list[Contact]:
        switches = self.world.switches
        wanted = set((status or "").split(",")) - {""}
        if "deleted" not in wanted and not (switches.total_includes_deleted and "total" in wanted):
            rows = [row for row in rows if row.status != "deleted"]
        if "unlisted" in wanted:
            rows = [row for row in rows if not folder.on_a_list(row.id, now)]
        elif "total" not in wanted and switches.contacts_default == "listed":
            rows = [row for row in rows if folder.on_a_list(row.id, now)]
        if wanted and not wanted & {"total", "unlisted"}:
            rows = [row for row in rows if row.status_at(now) in wanted]
        if list_ids:
            lists = [int(part) for part in list_ids.split(",") if part.strip().isdigit()]

            def member(contact_id: int) -> bool:
                found = (folder.subscriptions.get((number, contact_id)) for number in lists)
                return any(
                    row is not None and row.created <= now and row.status_at(now) != "unsubscribed" for row in found
                )

            rows = [row for row in rows if member(row.id)]
        return rows

    # Single rows

    def single(self, folder: Folder, name: str, key: str) -> Answer:
        switches, now = self.world.switches, self.world.clock.now()
        row = find(folder, name, key, now)
        if row is None or (name == "contacts" and row.status == "deleted" and switches.deleted_contact == "not_found"):
            return error(500, f"No result for ({key}).") if name == "lists" else error(*NOT_FOUND)
        item = RESOURCES[name].write(row, now, render.ident(switches), switches)
        if switches.extra_fields:
            item = {**item, "sourceChannel": "unknown"}
        return reply({SINGULAR[name]: item})

    def criteria(self, folder: Folder, key: str) -> Answer:
        row = find(folder, "segments", key, self.world.clock.now())
        return error(*NOT_FOUND) if row is None else reply({"criteria": row.criteria})

    # Activity, statistics, history

    def activity(self, folder: Folder, key: str, kind: Kind, query: Query, tweaks: Tweaks) -> Answer:
        switches, now = self.world.switches, self.world.clock.now()
        message = find(folder, "messages", key, now)
        page = self.page(query, tweaks, switches.activity_limit_rows)
        if isinstance(page, Answer):
            return page
        if message is None:
            return self._no_message(key, self._envelope(kind, b"[]", 0, page, tweaks.warnings))
        log = folder.log(message.id, kind)
        positions = log.shown(now, folder, kind, switches)
        direction = tweaks.order or switches.activity_order
        if direction == "mixed":
            direction = _ORDERS[kind]
        if direction == "descending":
            positions = positions[::-1]
        elif direction == "appended":
            positions = positions[np.argsort(log.visible[positions], kind="stable")]
        elif direction == "shuffled":
            generator = np.random.default_rng([self.world.seed, next(self.world.calls)])
            positions = generator.permutation(positions)
        terms = [term for term in query if term not in ("limit", "offset")]
        if terms and switches.activity_filters == "apply":
            positions, terms = self._filtered(folder, message.id, kind, positions, query, now)
        warnings = [search.unknown_terms(terms)] if terms and switches.activity_filters != "silent" else []
        chosen = positions[page.offset : page.offset + page.limit]
        items = render.activity(log, chosen, kind, folder.links, switches)
        return self._envelope(kind, items, len(positions), page, [*warnings, *tweaks.warnings])

    def _filtered(
        self, folder: Folder, message_id: int, kind: Kind, positions: Longs, query: Query, now: int
    ) -> tuple[Longs, list[str]]:
        """Search and order on activity, for services that have it: contactId, the time, clickLink."""
        log = folder.log(message_id, kind)
        fields: dict[str, tuple[str, Getter]] = {
            "contactId": ("id", lambda row, _now: int(log.contact[row])),
            render.ACTIVITY_TIME[kind]: ("time", lambda row, _now: int(log.at[row])),
        }
        if kind == "clicks":
            fields["clickLink"] = (
                "text",
                lambda row, _now: folder.links[log.link[row]] if log.link[row] >= 0 else None,
            )
        rows = positions.tolist()
        ignored = []
        for term, value in query.items():
            base = term.removesuffix("SearchType")
            if term in search.PAGING or (base != term and base in fields and value in search.OPERATORS):
                continue
            if term not in fields:
                ignored.append(term)
                continue
            kind_of, getter = fields[term]
            test = search.condition(value, search.operator_of(query, term), getter, kind_of)
            rows = [row for row in rows if value != "" and test(row, now)]
        if query.get("orderby"):
            rows, unknown = search.order(rows, query["orderby"], fields, now)
            ignored += [f"orderby {part}" for part in unknown]
        return np.array(rows, np.int64), ignored

    def statistics(self, folder: Folder, key: str, tweaks: Tweaks) -> Answer:
        switches, now = self.world.switches, self.world.clock.now()
        message = find(folder, "messages", key, now)
        if message is None:
            # As PHP writes an object without members.
            return self._no_message(key, reply({"statistics": []}))
        if switches.statistics == "missing":
            return reply({"statistics": []})
        seen = now - switches.statistics_lag_seconds if switches.statistics == "lagging" else now
        figures = {kind: folder.log(message.id, kind).figures(seen, folder, kind, switches) for kind in KINDS}
        sends = [
            row for row in folder.sends.values() if row.message_id == message.id and row.status_at(seen) == "released"
        ]
        delivered = max(0, sum(row.recipients for row in sends) - figures["bounces"][0])
        statistics: Row = {
            "bounces": figures["bounces"][1],
            "delivered": delivered,
            "unsubscribes": figures["unsubscribes"][1],
            "opens": {"unique": figures["opens"][0], "total": figures["opens"][1]},
            "clicks": {"unique": figures["clicks"][0], "total": figures["clicks"][1]},
            "forwards": figures["clicks"][0] // 40,
            "comments": 0,
            "complaints": figures["unsubscribes"][1] // 6,
        }
        statistics |= folder.statistics.get(message.id, {}) | tweaks.statistics
        return reply({"statistics": statistics})

    def _no_message(self, key: str, empty: Answer) -> Answer:
        """The answer about a message that does not exist."""
        how = self.world.switches.unknown_message
        return empty if how == "empty" else error(500, f"No result for ({key}).") if how == "500" else error(*NOT_FOUND)

    def actions(self, folder: Folder, key: str, query: Query, tweaks: Tweaks) -> Answer:
        """The history of a contact, newest first."""
        switches, now = self.world.switches, self.world.clock.now()
        contact = find(folder, "contacts", key, now)
        if contact is None or (contact.status == "deleted" and switches.deleted_contact == "not_found"):
            return error(*NOT_FOUND)
        page = self.page(query, tweaks)
        if isinstance(page, Answer):
            return page
        happened = self._history(folder, contact, now)
        ignored = []
        for term, value in query.items():
            base = term.removesuffix("SearchType")
            fields: dict[str, tuple[str, Getter]] = {
                "actor": ("text", lambda row, _now: row[2]),
                "actionType": ("text", lambda row, _now: row[1]),
                "actionTime": ("time", lambda row, _now: row[0]),
            }
            if term in ("limit", "offset") or (base != term and base in fields and base in query):
                continue
            if term not in fields:
                ignored.append(term)
                continue
            test = search.condition(value, search.operator_of(query, term), fields[term][1], fields[term][0])
            happened = [row for row in happened if value != "" and test(row, now)]
        happened.sort(key=lambda row: row[0], reverse=True)
        items = [
            {"actionType": name, "actionTime": stamp(at, switches.action_time), "actor": actor, "details": details}
            for at, name, actor, details in happened[page.offset : page.offset + page.limit]
        ]
        warnings = [search.unknown_terms(ignored)] if ignored else []
        body = orjson.dumps(items)
        return self._envelope("actions", body, len(happened), page, [*warnings, *tweaks.warnings])

    def _history(self, folder: Folder, contact: Contact, now: int) -> list[tuple[int, str, str, Any]]:
        switches = self.world.switches
        happened: list[tuple[int, str, str, Any]] = [(contact.created, "AddContact", "407001", [])]
        for list_id in folder.lists_of.get(contact.id, ()):
            row = folder.subscriptions[list_id, contact.id]
            happened.append(
                (row.created, "EditSubscription", "407001", {"listId": str(list_id), "newStatus": row.status})
            )
            if row.unsubscribed_at <= now:
                left = {"listId": str(list_id), "newStatus": "unsubscribed"}
                happened.append((row.unsubscribed_at, "EditSubscription", "contact", left))
        names: dict[Kind, str] = {"bounces": "Bounce", "opens": "Open", "clicks": "Click"}
        for (message_id, kind), log in folder.activity.items():
            if kind not in names:
                continue
            details = {"messageId": str(message_id)} if switches.action_details == "message" else {}
            for position in np.flatnonzero((log.contact == contact.id) & (log.visible <= now)).tolist():
                actor = "system" if kind == "bounces" else "contact"
                happened.append((int(log.at[position]), names[kind], actor, details))
        happened += [(at, name, "407001", details or []) for at, name, details in folder.history.get(contact.id, ())]
        return [row for row in happened if row[0] <= now]


_BODIES = ("htmlBody", "textBody")
_ORDERS = {"bounces": "descending", "opens": "ascending", "clicks": "appended", "unsubscribes": "descending"}
"""What the order `mixed` means for each kind of activity."""


def _unheard(name: str, query: Query) -> list[str]:
    """The search terms of a request that its listing does not know."""
    known = {*RESOURCES[name].terms, *(("status", "listId") if name == "contacts" else ()), *search.PAGING}
    return [term for term in query if term.removesuffix("SearchType") not in known]


def _broken(folder: Folder) -> set[int]:
    """The id of the message that spoils its page under the switch `page_errors`."""
    return set(sorted(folder.messages)[2:3])


def _unknown_order(orderby: str, resource: Resource) -> list[str]:
    return search.order([], orderby, resource.sortable, 0)[1]


def find(folder: Folder, name: str, key: str, now: int) -> Any:
    """The row a path names, if it exists by now. None otherwise."""
    row: Any = None
    if name == "subscriptions":
        left, _, right = key.partition("_")
        if left.isdigit() and right.isdigit():
            row = folder.subscriptions.get((int(left), int(right)))
    elif name == "customfields":
        row = folder.customfields.get(key)
    elif key.isdigit():
        row = getattr(folder, name).get(int(key))
    return row if row is not None and row.created <= now else None


def changed(row: Any, **values: Any) -> Any:
    """A copy with other values: rows are replaced, never changed in place, so that a write can be delayed."""
    return replace(row, **values)
