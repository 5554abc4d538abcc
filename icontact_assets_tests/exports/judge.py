"""The part of random histories that judges: before and after each request, and after each run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from icontact_assets.icontact.session import Session
from icontact_assets_tests.exports.drawn import (
    DONE,
    FRESH,
    LATE,
    NEVER,
    SECOND,
    Killed,
    Side,
    Truth,
    Write,
    asked,
    had_effect,
    late,
    person,
)
from icontact_assets_tests.exports.world import World
from icontact_assets_tests.harness import HOLDING, LIST, HeldWarehouse


class _Watched:
    """The connection of a session: the machine sees each request at the last moment before it goes out."""

    def __init__(self, http: Any, machine: Judge) -> None:
        self._http, self._machine = http, machine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._http, name)

    def request(self, method: str, url: str, *, params: Any = None, data: Any = None, **options: Any) -> Any:
        path = urlsplit(url).path
        self._machine.before_request(method, path, dict(params or {}), data)
        self._machine.sent, self._machine.status = True, None
        response = self._http.request(method, url, params=params, data=data, **options)
        self._machine.status = response.status_code
        return response


class WatchedSession(Session):
    """A session that is watched, and may be cut off at any request."""

    machine: Judge

    def _http(self) -> Any:
        return _Watched(super()._http(), self.machine)

    def _once(self, method: str, path: str, params: Any, body: bytes | None, *rest: Any) -> Any:
        machine = self.machine
        machine.moment()
        machine.sent = False
        reply = None
        try:
            reply = super()._once(method, path, params, body, *rest)
            return reply
        finally:
            if machine.sent:
                machine.after_request(method, path, dict(params or {}), body, None if reply is None else reply.body)
            machine.moment()


class WatchedWarehouse(HeldWarehouse):
    """A database whose transactions may be cut off before they begin, before and after they are committed."""

    machine: Judge

    @contextmanager
    def write(self, purpose: str) -> Iterator[Any]:
        self.machine.moment()
        with super().write(purpose) as connection:
            yield connection
            self.machine.moment()
        self.machine.moment()


class Judge(World):
    """What must hold, by the sandbox's own rows and by the answers that reached the export."""

    def _added_in_a_day(self, side: Side) -> int:
        since = self.clock.now - timedelta(hours=24)
        added = [
            write
            for write in self.writes
            if write.export == side.name and write.action == "subscribe" and write.effect and write.at > since
        ]
        return len(added)

    def settle(self, side: Side, run_id: str, before: Truth, *, killed: bool) -> None:
        """What the run could see, and what it left open."""
        self.blurred |= self.raced
        if killed:
            # It may have been kept or not.
            self.blurred |= {id_ for _, id_ in self.now_known.left - self.known.left}
            self.blurred |= self.now_known.objected - self.known.objected
        else:
            self.known.learn(self.now_known)
        compared = self.store.rows(f"SELECT compared_at FROM export_runs WHERE run_id = '{run_id}'")
        if compared and compared[0][0] is not None:
            side.made = self._compared(side, before)
            side.compared = True
        for write in self.writes:
            if write.run_id == run_id and write.effect:
                self._took_effect(write)
        rows = self.store.rows(
            "SELECT coalesce(to_list_id, list_id), contact_id, outcome FROM export_outcomes "
            "WHERE outcome IN ('intended', 'unconfirmed', 'refused')"
        )
        self.open = {int(id_) for _, id_, outcome in rows if outcome != "refused"}
        self.refused |= {(int(list_id), int(id_)) for list_id, id_, outcome in rows if outcome == "refused"}

    def _took_effect(self, write: Write) -> None:
        side = next(side for side in self.sides if side.name == write.export)
        status = {"subscribe": "normal", "unsubscribe": "unsubscribed", "move": None}[write.action]
        if write.action == "unsubscribe":
            self.known.left.add((write.list_id, write.contact_id))
        side.made[write.contact_id] = ("normal" if write.to_list_id == side.list_id else status, "export")

    def _compared(self, side: Side, truth: Truth) -> dict[int, tuple[str | None, str]]:
        """Who made the list as it is, as far as that shows between two comparisons."""
        made = dict(side.made)
        for id_ in self.ids:
            status, known = truth.on(side.list_id, id_), made.get(id_)
            if known is None and status is None:
                continue
            if known is None or known[0] != status:
                if status is None and known is not None and known[0] == "unsubscribed":
                    continue
                made[id_] = (status, "external" if side.compared else "before")
        return made

    def _removable(self, side: Side, truth: Truth) -> set[int]:
        """Whom a mirror may take off the list."""
        ours = {"export"}
        if self.options["adopt_existing"]:
            ours |= {"before", "external"} if self.options["external_changes"] == "repair" else {"before"}
        made, wanted = self._compared(side, truth), self.wanted(side)
        return {id_ for id_ in self.ids if id_ not in wanted and made.get(id_, (None, ""))[1] in ours}

    def _should(self, side: Side, truth: Truth) -> dict[tuple[int, int], str | None]:
        """The lists as the export's settings say they end. Of people with two contacts nothing is said."""
        made, wanted, list_id = self._compared(side, truth), self.wanted(side), side.list_id
        lists: dict[tuple[int, int], str | None] = {}
        alone = [id_ for id_ in self.ids if sum(person(id_) == person(other) for other in truth.contacts) < 2]
        for id_ in alone:
            on, held = truth.on(list_id, id_), truth.on(HOLDING, id_)
            lists[list_id, id_], lists[HOLDING, id_] = on, held
            if id_ in wanted and on != "normal":
                taken_off = made.get(id_) == (None, "external") and self.options["external_changes"] != "repair"
                if not taken_off and not self.forbidden(id_, list_id, truth.contacts.get(id_), on):
                    lists[list_id, id_] = "normal"
            elif self.options["mode"] == "mirror" and on == "normal" and id_ in self.removable:
                if self.options["remove"].move_to is None:
                    lists[list_id, id_] = "unsubscribed"
                elif not self.forbidden(id_, HOLDING, truth.contacts.get(id_), held):
                    lists[list_id, id_], lists[HOLDING, id_] = None, "normal"
        return lists

    def forbidden(self, id_: int, list_id: int, contact: str | None, subscription: str | None) -> str | None:
        """Why nobody may put this contact on this list, by what could be known of the person; None if they may."""
        if contact != "normal":
            return f"contact {contact}"
        if subscription not in (None, "normal"):
            return f"subscription {subscription}"
        if id_ in self.gone:
            return "gone"
        if person(id_) in NEVER:
            return "excluded"
        shown = self.known.addressed | self.now_known.addressed
        same = {other for other in self.ids if person(other) == person(id_) and (other == id_ or other in shown)}
        left = {(where, other) for where, other in self.known.left | self.now_known.left if other in same}
        by_message = {message_id for message_id, other in self.imported_events if other in same}
        if any(where == list_id for where, _ in left):
            return "left the list before"
        if same & (self.known.objected | self.now_known.objected):
            return "do not contact"
        if any((list_id, other) in self.refused for other in same):
            return "refused before"
        if by_message & {LIST: {1, 3}, HOLDING: {2, 3}, SECOND: {3}}[list_id]:
            return "left by a message"
        if self.options["consent"] == "strict" and (
            by_message or left or any(self.truth.on(each, id_) == "unsubscribed" for each in (LIST, SECOND, HOLDING))
        ):
            return "left another list"
        return None

    def moment(self) -> None:
        """Something after which the process may be gone."""
        if self.dead:
            raise Killed
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse <= 0:
                self.dead = True
                raise Killed

    def before_request(self, method: str, path: str, params: dict[str, Any], body: bytes | None) -> None:
        self.requests += 1
        self.asked_at = self.clock.now
        if self.go.jump == self.requests:
            self.sandbox.control("clock", advance=LATE)
        if method == "GET":
            return
        now = self.look()
        self._before = now
        for id_, action, list_id, to_list_id in asked(method, path, body):
            self._check(id_, action, list_id, to_list_id, now)

    def _check(self, id_: int, action: str, list_id: int, to_list_id: int | None, now: Truth) -> None:
        what = (self.running, self.side.name, id_, action, list_id, to_list_id)
        assert list_id in self.shown, what
        for each in (list_id, to_list_id):
            if each is not None and (action != "unsubscribe"):
                seen = [self.read_at[each], self.looked_at.get((each, id_), self.read_at[each])]
                assert timedelta(0) <= self.clock.now - max(seen) <= FRESH, (what, each, "status on the list too old")
        if action != "subscribe":
            assert self.shown[list_id].get(id_) == "normal", what
        if action == "move":
            assert to_list_id in self.moving_to, what
        if action == "unsubscribe":
            assert self.may_unsubscribe, what
        undoing = len(self.moving_to) == 2
        if action != "subscribe" and not undoing and id_ not in self.blurred | self.raced:
            assert id_ in self.removable or self.running == "plan", what
        if action == "unsubscribe":
            return
        onto = list_id if to_list_id is None else to_list_id
        assert onto in self.shown, what
        status, read_at = self.shown_contacts[id_]
        assert timedelta(0) <= self.clock.now - read_at <= FRESH, (what, "contact too old")
        subscription = self.shown[onto].get(id_)
        why = self.forbidden(id_, onto, status, subscription)
        assert why is None, (what, why)
        if id_ not in self.raced:
            why = self.forbidden(id_, onto, now.contacts.get(id_), now.on(onto, id_))
            assert why is None, (what, why)
        if action == "subscribe":
            # Nobody is written to twice: whoever is, or may be, on the list is not put there.
            assert subscription is None, what
            assert (list_id, id_) not in self.unknown, (what, "posted again before the list was read")
            assert id_ in self.wanted(self.side), what
            if id_ not in self.raced:
                assert now.on(list_id, id_) is None, what

    def after_request(self, method: str, path: str, params: dict[str, Any], body: bytes | None, reply: Any) -> None:
        if reply is not None:
            self._showed(method, path, params, reply)
        elif method == "GET" and self.status == 404 and "/subscriptions/" in path:
            list_id, id_ = (int(part) for part in path.rpartition("/")[2].split("_"))
            self.shown.setdefault(list_id, {}).pop(id_, None)
            self.looked_at[list_id, id_] = self.asked_at
        if method != "GET":
            after = self.look()
            for id_, action, list_id, to_list_id in asked(method, path, body):
                self._wrote(id_, action, list_id, to_list_id, after, reply)
        self.clock.now += timedelta(seconds=self.go.seconds)

    def _showed(self, method: str, path: str, params: dict[str, Any], reply: Any) -> None:
        """What an answer said, row by row."""
        contacts = [*(reply.get("contacts") or []), *([reply["contact"]] if reply.get("contact") else [])]
        for row in contacts:
            id_ = int(row["contactId"])
            self.shown_contacts[id_] = (row["status"], self.asked_at)
            self.now_known.addressed.add(id_)
            if row["status"] == "donotcontact":
                self.now_known.objected.add(id_)
        rows = [*(reply.get("subscriptions") or []), *([reply["subscription"]] if reply.get("subscription") else [])]
        statuses = {(int(row["listId"]), int(row["contactId"])): str(row["status"]) for row in rows}
        self.now_known.left |= {key for key, status in statuses.items() if status == "unsubscribed"}
        if method != "GET":
            return
        if path.endswith("/subscriptions"):
            list_id = int(params["listId"])
            found = {id_: status for (_, id_), status in statuses.items()}
            if int(params["offset"]) == 0 and len(rows) == reply["total"]:
                self.shown[list_id], self.read_at[list_id] = found, self.asked_at
                self.unknown = {key for key in self.unknown if key[0] != list_id}
            else:
                self.shown.setdefault(list_id, {}).update(found)
        for (list_id, id_), status in statuses.items():
            self.shown.setdefault(list_id, {})[id_] = status
            if "/subscriptions/" in path:
                self.looked_at[list_id, id_] = self.asked_at

    def _wrote(self, id_: int, action: str, list_id: int, to_list_id: int | None, after: Truth, reply: Any) -> None:
        """What a request did, and whether its answer said so."""
        write = Write(self.running, self.side.name, id_, action, list_id, to_list_id, self.clock.now, effect=False)
        if any((other.contact_id, other.list_id) == (id_, list_id) for other in self.pending):
            # Which of the two took effect cannot be told.
            self.blurred.add(id_)
        write.effect = had_effect(write, after) and not had_effect(write, self._before)
        if not write.effect and any(late in fault["do"] for fault in self.go.faults):
            self.pending.append(write)
        self.writes.append(write)
        if action == "subscribe":
            said = reply is not None and (
                reply.get("warnings") or reply.get("errors")
                or any(int(row["contactId"]) == id_ for row in reply.get("subscriptions") or [])
            )  # fmt: skip
            without_effect = self.status is not None and 400 <= self.status < 500
            if not said and not without_effect:
                self.unknown.add((list_id, id_))

    def check_outcomes(self, side: Side) -> None:
        """Contact by contact, the table says what the sandbox's rows say."""
        did: dict[tuple[str, int, str], bool] = {}
        for write in self.writes:
            if write.export == side.name:
                key = (write.run_id, write.contact_id, write.action)
                did[key] = did.get(key, False) or write.effect
        table = {
            (run_id, int(id_), action): outcome
            for run_id, id_, action, outcome in self.store.rows(
                f"SELECT run_id, contact_id, action, outcome FROM export_outcomes WHERE export = '{side.name}' "
                "AND contact_id IS NOT NULL"
            )
        }
        for key, effect in did.items():
            if key[1] not in self.blurred:
                assert (table.get(key) == DONE[key[2]]) == effect, (key, effect, table.get(key))
        for key, outcome in table.items():
            assert outcome not in ("intended", "unconfirmed"), key
            if key[1] not in self.blurred and outcome in DONE.values():
                # An intent that was cut off counts as done when a later run did it: which of them it was cannot be told.
                by_any = any(effect for (_, id_, action), effect in did.items() if (id_, action) == key[1:])
                assert by_any, (key, outcome)
