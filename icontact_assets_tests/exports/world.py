"""The part of random histories that others act: people, hands on the lists, the service, time, the import."""

from __future__ import annotations

import shutil
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from icontact_assets.sandbox.process import Sandbox
from icontact_assets.settings.models import Audience, Remove
from icontact_assets_tests.exports.drawn import (
    CALM,
    LATE,
    NEVER,
    PEOPLE,
    SECOND,
    Beginning,
    Go,
    Knowledge,
    Side,
    Truth,
    Write,
    address,
    answers,
    beginnings,
    going,
    had_effect,
    held_out,
    maybe,
    one,
    person,
    some,
    spellings,
)
from icontact_assets_tests.harness import HOLDING, LIST, SCHEMA, Clock, HeldWarehouse, Store


class World(RuleBasedStateMachine):
    """The class attributes are set by whoever runs it."""

    sandbox: Sandbox
    template: Path
    """A database with the tables of the import and the profiles."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="machine"))
        shutil.copy(self.template, self.home / "warehouse.duckdb")
        self.store = Store(HeldWarehouse(self.home / "warehouse.duckdb", SCHEMA))
        self.clock = Clock()
        self.sandbox.control("reset")
        (self.home / "never.csv").write_text(f"contact_id,email\n00{NEVER[0]},\n,{address(NEVER[1], 2)}\n")
        self.members: set[int] = set()
        self.customers: set[int] = set()
        self.zeros = 1
        self.audience: set[int] = set()
        self.bought: set[int] = set()
        self.runs: list[tuple[str, Side]] = []
        self.count = 0
        self.options: dict[str, Any] = {}
        self.sides = (Side("first", LIST), Side("second", SECOND))
        self.ids: list[int] = list(PEOPLE)
        # What the exports could know.
        self.known = Knowledge()
        self.imported_events: set[tuple[int, int]] = set()
        self.events: list[tuple[int, int]] = []
        self.gone: set[int] = set()
        self.imported: dict[int, str | None] = {}
        self.refused: set[tuple[int, int]] = set()
        # Of whom it cannot be known what became, because others acted before it could be read.
        self.blurred: set[int] = set()
        self.open: set[int] = set()
        # Writes that may still show, and subscriptions of which no answer and no reading said what became of them.
        self.pending: list[Write] = []
        self.unknown: set[tuple[int, int]] = set()
        # The run that is under way.
        self.side = self.sides[0]
        self.go = CALM
        self.fuse: int | None = None
        self.dead = False
        self.running = ""
        self.moving_to: tuple[int, ...] = ()
        self.may_unsubscribe = False
        self.raced: set[int] = set()
        self.truth = Truth({}, {})
        self.now_known = Knowledge()
        self.shown_contacts: dict[int, tuple[str | None, datetime]] = {}
        self.shown: dict[int, dict[int, str]] = {}
        self.read_at: dict[int, datetime] = {}
        self.looked_at: dict[tuple[int, int], datetime] = {}
        self.asked_at = self.clock.now
        self.requests = 0
        self.sent = False
        self.status: int | None = None
        self.writes: list[Write] = []

    def teardown(self) -> None:
        self.store.warehouse.let_go()
        shutil.rmtree(self.home, ignore_errors=True)

    def follow(self, go: Go | None) -> None:
        """The runs that follow on a change."""
        raise NotImplementedError

    def _took_effect(self, write: Write) -> None:
        """A write that shows late is seen."""
        raise NotImplementedError

    @initialize(beginning=beginnings, go=going)
    def begin(self, beginning: Beginning, go: Go) -> None:
        for who, status in zip(PEOPLE, beginning.statuses, strict=True):
            self.edit("contacts/add", contact_id=who, email=address(who, (who + beginning.spelling) % 5), status=status)
        for list_id, rows in ((LIST, beginning.there), (HOLDING, beginning.held)):
            for id_, status in rows.items():
                self.edit("subscriptions/set", list_id=list_id, contact_id=id_, status=status)
        for message_id, lists in ((1, [LIST]), (2, [HOLDING]), (3, [])):
            self.edit("messages/add", message_id=message_id)
            if lists:
                self.edit("messages/release", message_id=message_id, lists=lists)
        self.sandbox.control("switches", listing_order=beginning.order)
        self.options = dict(beginning.options)
        if self.options["mode"] == "mirror":
            self.options["remove"] = Remove(move_to=str(HOLDING)) if beginning.way == "move" else Remove()
        self.members, self.customers = set(beginning.members), set(beginning.customers)
        self.imported_again()
        self.follow(go)

    def edit(self, path: str, **values: Any) -> None:
        self.sandbox.control(path, **values)

    def look(self) -> Truth:
        """The sandbox's rows now. Writes that show late are found here."""
        rows = self.sandbox.control("truth?resource=subscriptions")
        people = self.sandbox.control("truth?resource=contacts")
        truth = Truth(
            {(int(row["list_id"]), int(row["contact_id"])): row["status"] for row in rows},
            {int(row["contact_id"]): row["status"] for row in people},
        )
        for write in list(self.pending):
            if had_effect(write, truth):
                write.effect = True
                self.pending.remove(write)
                self._took_effect(write)
        return truth

    def compute(self) -> None:
        """The audiences, out of the contacts that the import knows, their ids with zeros before them."""
        there = {id_ for id_, status in self.imported.items() if status not in (None, "deleted")}
        self.audience = {id_ for id_ in there if person(id_) in self.members}
        self.bought = {id_ for id_ in there if person(id_) in self.customers}
        for name, ids in (("everybody", self.audience), ("customers", self.bought)):
            values = ", ".join(f"('{id_:0{self.zeros}d}')" for id_ in sorted(ids))
            query = f"FROM (VALUES {values}) AS v(ic_contact_id)" if ids else "SELECT '' AS ic_contact_id"
            audience = Audience(name=name, label=name, import_name=SCHEMA, query=query)
            self.store.compute(audience, self.clock())

    def wanted(self, side: Side) -> set[int]:
        """Whom an export is for: the first takes all but customers, the second whom the first leaves, but for chance."""
        first = self.audience - self.bought
        return first if side is self.sides[0] else {id_ for id_ in self.audience - first if not held_out(id_)}

    def touched(self, *ids: int) -> None:
        """Others acted on these: of what was written and not read again, nothing can be known any more."""
        self.blurred |= (self.open | {write.contact_id for write in self.pending}) & set(ids)

    def newest(self, who: int) -> int:
        """The last contact made of a person."""
        return max(id_ for id_ in self.ids if person(id_) == who)

    def those(self, people: list[int]) -> list[int]:
        """The newest contacts of people, those that exist."""
        known = self.look().contacts
        return [id_ for id_ in map(self.newest, people) if id_ in known]

    @rule(toggled=some, zeros=st.sampled_from([1, 1, 7]), go=going)
    def the_audience_changes(self, toggled: list[int], zeros: int, go: Go) -> None:
        self.members ^= set(toggled)
        self.zeros = zeros
        self.compute()
        self.follow(go)

    @rule(toggled=some, go=going)
    def the_other_audience_changes(self, toggled: list[int], go: Go) -> None:
        self.customers ^= set(toggled)
        self.compute()
        self.follow(go)

    @rule(people=some, list_id=st.sampled_from([LIST, LIST, SECOND, HOLDING]), go=maybe)
    def added_by_hand(self, people: list[int], list_id: int, go: Go | None) -> None:
        self._put(self.those(people), list_id, "normal")
        self.follow(go)

    @rule(
        people=some,
        list_id=st.sampled_from([LIST, LIST, SECOND, HOLDING]),
        status=st.sampled_from(["unsubscribed", "pending"]),
        go=maybe,
    )
    def they_leave(self, people: list[int], list_id: int, status: str, go: Go | None) -> None:
        self._put(self.those(people), list_id, status)
        self.follow(go)

    @rule(list_id=st.sampled_from([LIST, SECOND, HOLDING]), go=maybe)
    def all_who_left_are_subscribed_again_by_hand(self, list_id: int, go: Go | None) -> None:
        left = [key[1] for key, status in self.look().subscriptions.items() if key[0] == list_id and status != "normal"]
        self._put(left, list_id, "normal")
        self.follow(go)

    def _put(self, ids: list[int], list_id: int, status: str) -> None:
        for id_ in ids:
            self.edit("subscriptions/set", list_id=list_id, contact_id=id_, status=status)
        self.touched(*ids)

    @rule(people=some, list_id=st.sampled_from([LIST, LIST, SECOND, HOLDING]), go=maybe)
    def removed_by_hand(self, people: list[int], list_id: int, go: Go | None) -> None:
        truth = self.look()
        ids = [id_ for id_ in map(self.newest, people) if truth.on(list_id, id_) is not None]
        for id_ in ids:
            self.edit("subscriptions/delete", list_id=list_id, contact_id=id_)
        self.touched(*ids)
        self.follow(go)

    @rule(people=some, to=st.sampled_from([LIST, HOLDING]), go=maybe)
    def moved_by_hand(self, people: list[int], to: int, go: Go | None) -> None:
        truth, off = self.look(), LIST if to == HOLDING else HOLDING
        ids = [id_ for id_ in map(self.newest, people) if truth.on(off, id_) == "normal"]
        for id_ in ids:
            self.edit("subscriptions/delete", list_id=off, contact_id=id_)
            self.edit("subscriptions/set", list_id=to, contact_id=id_)
        self.touched(*ids)
        self.follow(go)

    @rule(
        who=one, status=st.sampled_from(["normal", "bounced", "donotcontact", "pending", "deleted", "erased"]), go=maybe
    )
    def a_contact_changes(self, who: int, status: str, go: Go | None) -> None:
        id_ = self.newest(who)
        now = self.look().contacts.get(id_)
        # Do-not-contact is final (API reference, 3.3), and so is a deletion.
        if now in (None, "donotcontact", "deleted"):
            return
        if status == "erased":
            self.edit("contacts/delete", contact_id=id_)
        else:
            self.edit("contacts/update", contact_id=id_, status=status)
        self.touched(id_)
        self.follow(go)

    @rule(who=one, spelling=spellings, keep=st.sampled_from([False, False, True]), imported=st.booleans(), go=maybe)
    def a_contact_is_made_anew(self, who: int, spelling: int, keep: bool, imported: bool, go: Go | None) -> None:
        """A person gets another contact, with another spelling of the address. The old one is mostly gone."""
        old = self.newest(who)
        if old >= 200:
            return
        if not keep and old in self.look().contacts:
            self.edit("contacts/delete", contact_id=old)
        new = old + 100
        self.ids.append(new)
        self.edit("contacts/add", contact_id=new, email=address(who, spelling))
        self.touched(old)
        if imported:
            self.imported_again()
        self.follow(go)

    @rule(
        who=one,
        words=st.sampled_from(
            [
                None,
                "Contact {} has opted out",
                "Contact {} met an unexpected condition",
                "unsubscribe{}@a.example is odd",
            ]
        ),
    )
    def a_contact_is_refused(self, who: int, words: str | None) -> None:
        for id_ in self.those([who]):
            self.edit("contacts/update", contact_id=id_, refused=None if words is None else words.format(id_))

    @rule(who=one, message_id=st.sampled_from([1, 2, 3]))
    def unsubscribed_by_message(self, who: int, message_id: int) -> None:
        id_ = self.newest(who)
        self.edit("events/add", message_id=message_id, kind="unsubscribes", contact_id=id_)
        self.events.append((message_id, id_))

    @rule()
    def time_passes(self) -> None:
        self._time_passes(timedelta(seconds=LATE))

    def _time_passes(self, time: timedelta) -> None:
        self.sandbox.control("clock", advance=LATE)
        self.clock.now += time
        self.look()
        # What has not shown by now never will.
        self.pending.clear()

    @rule()
    def imported_again(self) -> None:
        """The import reads everything: a stand-in that stores the sandbox's rows as versions. Audiences follow."""
        at = self.clock().replace(tzinfo=None)
        self.clock.now += timedelta(minutes=1)
        stamp = {"observed_at": at, "partition_date": at.date()}
        subscriptions = self.sandbox.control("truth?resource=subscriptions")
        people = {int(row["contact_id"]): row for row in self.sandbox.control("truth?resource=contacts")}
        contacts, before = [], dict(self.imported)
        for id_ in self.ids:
            row = people.get(id_)
            if row is not None:
                contacts.append({"id": str(id_), "email": row["fields"]["email"], "status": row["status"], **stamp})
                self.known.addressed.add(id_)
                if row["status"] == "donotcontact":
                    self.known.objected.add(id_)
            self.imported[id_] = None if row is None else row["status"]
            if self.imported[id_] in (None, "deleted") and (row is not None or before.get(id_) is not None):
                self.gone.add(id_)
        rows = []
        for row in subscriptions:
            rows.append({**{name: row[name] for name in ("list_id", "contact_id", "status")}, **stamp})
            if row["status"] == "unsubscribed":
                self.known.left.add((int(row["list_id"]), int(row["contact_id"])))
        sends = [
            {"send_id": str(message_id), "message_id": str(message_id), "include_list_ids": str(list_id),
             "status": "released", **stamp}
            for message_id, list_id in ((1, LIST), (2, HOLDING))
        ]  # fmt: skip
        events = [
            {"message_id": str(message_id), "contact_id": str(id_), "event_type": "unsubscribe"}
            for message_id, id_ in dict.fromkeys(self.events)
            if (message_id, id_) not in self.imported_events
        ]
        self.imported_events |= set(self.events)
        vanished = [str(id_) for id_ in self.ids if id_ not in people and before.get(id_) is not None]
        tables = {"raw_contacts": contacts, "raw_subscriptions": rows, "raw_sends": sends, "raw_activity": events}
        with self.store.warehouse.write("test") as connection:
            connection.execute(f'USE warehouse_file."{SCHEMA}"')
            for table, found in tables.items():
                if found:
                    connection.register("found", pa.Table.from_pylist(found))
                    connection.execute(f"INSERT INTO {table} BY NAME FROM found")
                    connection.unregister("found")
            connection.execute(
                "INSERT INTO raw_contacts BY NAME SELECT * REPLACE ($at AS observed_at, $at AS deleted_at) "
                "FROM raw_contacts WHERE list_contains($vanished, id) "
                "QUALIFY row_number() OVER (PARTITION BY id ORDER BY observed_at DESC) = 1",
                {"at": at, "vanished": vanished},
            )
        self.compute()

    @rule(switches=answers)
    def the_service_answers_otherwise(self, switches: dict[str, str]) -> None:
        self.sandbox.control("switches", **switches)
