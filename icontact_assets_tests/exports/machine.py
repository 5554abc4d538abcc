"""Random histories of two exports: people, others, the service and kills act. What must hold is checked at each request.

Everything is judged by the sandbox's own rows, taken right before and right after each write, and by what the answers
that reached the export showed. Nothing here asks the package who may be mailed, what was written, or what a list should
hold. Who is who is known by construction: the contacts 7, 107 and 207 are one person, however their address is spelled.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pyarrow as pa
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from icontact_assets.audiences.audience import compute
from icontact_assets.exports.approvals import show_plan
from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.live import PlanError
from icontact_assets.exports.report import ExportReport
from icontact_assets.exports.run import ExportError, run_export
from icontact_assets.exports.undo import Undo, plan_undo
from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.session import Credentials, Session
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.settings.models import Audience, Export, ExportLimits, Pace, Remove, Suppression
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.harness import FREE, HOLDING, LIST, SCHEMA, Clock, Store

PEOPLE = tuple(range(1, 17))
NEVER = (15, 16)
SECOND = 5003
FRESH = timedelta(minutes=10)
DONE = {"subscribe": "added", "move": "moved", "unsubscribe": "unsubscribed"}
LATE = 3600
HELD_OUT = 2500

some = st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=8, unique=True)
one = st.sampled_from(PEOPLE)
spellings = st.integers(0, 4)
late = {"kind": "late", "seconds": LATE}
lost = st.sampled_from(
    [
        [{"kind": "reset", "apply": True}],
        [{"kind": "reset"}],
        [{"kind": "reset", "apply": True}, late],
        [{"kind": "cut", "keep": 0.5}],
        [{"kind": "cut", "keep": 0.3, "clean": True}],
        [{"kind": "reply", "status": 500, "apply": True}],
        [{"kind": "reply", "status": 502, "text": "<html>Bad Gateway</html>", "apply": True}],
        [{"kind": "reply", "status": 504, "text": "<html>", "apply": False}],
        [{"kind": "reply", "status": 400, "body": {"errors": ["Something is odd"]}}],
        [{"kind": "reply", "status": 200, "body": {}, "apply": True}],
        [{"kind": "reply", "status": 503}],
        [{"kind": "reply", "status": 503, "headers": {"Retry-After": "0"}, "apply": True}],
        [{"kind": "reply", "status": 503, "apply": True}, late],
        [{"kind": "reply", "status": 402}],
        [{"kind": "omit", "every": 2}],
        [{"kind": "omit"}, late],
        [late],
        [{"kind": "envelope", "set": {"errors": ["Something is odd"]}}],
    ]
)
faulty = st.lists(
    st.fixed_dictionaries(
        {
            "method": st.sampled_from(["POST", "POST", "PUT", "GET"]),
            "nth": st.sampled_from([1, 1, 2, 3, [1, 2], [2, 3]]),
            "do": lost,
        }
    ),
    max_size=2,
)
races = st.lists(
    st.tuples(
        st.sampled_from(["POST", "PUT", "GET", None, None]),
        st.integers(1, 8),
        one,
        st.sampled_from(["donotcontact", "bounced", "left", "left", "added", "removed", "held"]),
        st.sampled_from(["before", "after"]),
    ),
    max_size=2,
)


@dataclass(frozen=True)
class Go:
    """How a run goes: which export, after how many moments it is killed, faults, races, seconds that each request takes,
    at which request an hour passes for the service, the most adds, the adds a day, and whether afterwards everything
    calms down."""

    second: bool
    fuse: int | None
    faults: list[dict[str, Any]]
    races: list[tuple[str | None, int, int, str, str]]
    seconds: int
    jump: int | None
    limit: int | None
    pace: int | None
    calm: bool


fuses = st.none() | st.integers(1, 60)
going = st.builds(
    Go,
    second=st.sampled_from([False, False, True]),
    fuse=fuses,
    faults=faulty,
    races=races,
    seconds=st.sampled_from([0, 0, 0, 100, 200]),
    jump=st.none() | st.integers(1, 12),
    limit=st.sampled_from([None, None, None, 1]),
    pace=st.sampled_from([None, None, 2]),
    calm=st.booleans(),
)
CALM = Go(False, None, [], [], 0, None, None, None, calm=False)
maybe = st.none() | going


class Killed(BaseException):
    """The process is gone: no handler of errors may catch this."""


def person(contact_id: int) -> int:
    """Whose contact it is."""
    return contact_id % 100


def address(who: int, spelling: int) -> str:
    """One of five spellings of a person's address."""
    return [
        f"jos\u00e9{who}@b\u00fccher.example",
        f"JOS\u00c9{who}@B\u00dcCHER.EXAMPLE",
        f"jos\u00e9{who}@xn--bcher-kva.example",
        f"jose\u0301{who}@bu\u0308cher.example",
        f'"Jos\u00e9" <jos\u00e9{who}@b\u00fccher.example>',
    ][spelling]


def held_out(contact_id: int) -> bool:
    """Whether chance keeps a contact out of the second export, as documented."""
    digest = hashlib.sha256(f"hold_out/second/{contact_id}".encode()).digest()
    return int.from_bytes(digest[:8]) % 10_000 < HELD_OUT


@dataclass(frozen=True)
class Truth:
    """The rows of the sandbox: subscriptions by list and contact, statuses of contacts."""

    subscriptions: dict[tuple[int, int], str]
    contacts: dict[int, str]

    def on(self, list_id: int, contact_id: int) -> str | None:
        return self.subscriptions.get((list_id, contact_id))


@dataclass
class Write:
    """One request that is to change something for one contact, and whether the sandbox's rows changed as it said."""

    run_id: str
    export: str
    contact_id: int
    action: str
    list_id: int
    to_list_id: int | None
    at: datetime
    effect: bool


@dataclass
class Side:
    """One export, and what its record should hold: who made its list as it is."""

    name: str
    list_id: int
    made: dict[int, tuple[str | None, str]] = field(default_factory=dict)
    compared: bool = False


@dataclass
class Knowledge:
    """What answers and tables showed: who left which list, who must not be contacted, whose address."""

    left: set[tuple[int, int]] = field(default_factory=set)
    objected: set[int] = field(default_factory=set)
    addressed: set[int] = field(default_factory=set)

    def learn(self, other: Knowledge) -> None:
        self.left |= other.left
        self.objected |= other.objected


class _Watched:
    """The connection of a session: the machine sees each request at the last moment before it goes out."""

    def __init__(self, http: Any, machine: ExportMachine) -> None:
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


class _Session(Session):
    """A session that is watched, and may be cut off at any request."""

    machine: ExportMachine

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


class _Warehouse(Warehouse):
    """A database whose transactions may be cut off before they begin, before and after they are committed."""

    machine: ExportMachine

    @contextmanager
    def write(self, purpose: str) -> Iterator[Any]:
        self.machine.moment()
        with super().write(purpose) as connection:
            yield connection
            self.machine.moment()
        self.machine.moment()


class ExportMachine(RuleBasedStateMachine):
    """The class attributes are set by whoever runs it."""

    sandbox: Sandbox
    template: Path
    """A database with the tables of the import and the profiles."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="machine"))
        shutil.copy(self.template, self.home / "warehouse.duckdb")
        self.store = Store(Warehouse(self.home / "warehouse.duckdb", SCHEMA))
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
        shutil.rmtree(self.home, ignore_errors=True)

    # The world

    @initialize(
        statuses=st.lists(
            st.sampled_from(["normal"] * 8 + ["bounced", "donotcontact", "pending", "invitable"]),
            min_size=len(PEOPLE),
            max_size=len(PEOPLE),
        ),
        spelling=spellings,
        there=st.dictionaries(one, st.sampled_from(["normal", "normal", "pending", "unsubscribed"]), max_size=6),
        held=st.dictionaries(one, st.sampled_from(["normal", "unsubscribed", "pending"]), max_size=3),
        members=st.lists(st.sampled_from(PEOPLE), min_size=8, max_size=14, unique=True),
        customers=st.lists(st.sampled_from(PEOPLE), max_size=6, unique=True),
        mode=st.sampled_from(["add", "mirror", "mirror", "mirror"]),
        way=st.sampled_from(["move", "move", "unsubscribe"]),
        consent=st.sampled_from(["list", "list", "strict"]),
        policy=st.sampled_from(["report", "keep", "repair"]),
        adopt=st.booleans(),
        order=st.sampled_from(["ascending", "descending"]),
        go=going,
    )
    def begin(
        self, statuses: list[str], spelling: int, there: dict[int, str], held: dict[int, str], members: list[int],
        customers: list[int], mode: str, way: str, consent: str, policy: str, adopt: bool, order: str, go: Go,
    ) -> None:  # fmt: skip
        for who, status in zip(PEOPLE, statuses, strict=True):
            self.edit("contacts/add", contact_id=who, email=address(who, (who + spelling) % 5), status=status)
        for list_id, rows in ((LIST, there), (HOLDING, held)):
            for id_, status in rows.items():
                self.edit("subscriptions/set", list_id=list_id, contact_id=id_, status=status)
        for message_id, lists in ((1, [LIST]), (2, [HOLDING]), (3, [])):
            self.edit("messages/add", message_id=message_id)
            if lists:
                self.edit("messages/release", message_id=message_id, lists=lists)
        self.sandbox.control("switches", listing_order=order)
        self.options = {"mode": mode, "consent": consent, "external_changes": policy, "adopt_existing": adopt}
        if mode == "mirror":
            self.options["remove"] = Remove(move_to=str(HOLDING)) if way == "move" else Remove()
        self.members, self.customers = set(members), set(customers)
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
            if _had_effect(write, truth):
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
            compute(self.store.warehouse, audience, now=self.clock(), missing=None)

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

    @rule(
        resubscribe=st.sampled_from(["skip", "400", "409", "success", "pretend"]),
        failure=st.sampled_from(["skip", "refuse"]),
        replies=st.sampled_from(["input", "shuffled"]),
        existing=st.sampled_from(["existing", "warning", "409"]),
        ids=st.sampled_from(["string", "integer", "mixed"]),
        onto=st.sampled_from(["merge", "400", "409"]),
        left=st.sampled_from(["carry", "subscribe", "400"]),
        names=st.sampled_from(["id", "address", "both"]),
    )
    def the_service_answers_otherwise(
        self, resubscribe: str, failure: str, replies: str, existing: str, ids: str, onto: str, left: str, names: str
    ) -> None:
        self.sandbox.control(
            "switches",
            resubscribe=resubscribe,
            bulk_failure=failure,
            bulk_reply_order=replies,
            post_existing_subscription=existing,
            ids=ids,
            move_existing=onto,
            move_unsubscribed=left,
            refusal_names=names,
        )

    # Runs

    @rule(go=going)
    def run(self, go: Go) -> None:
        self.follow(go)

    def follow(self, go: Go | None) -> None:
        """Perhaps an export follows at once on what just happened."""
        if go is None:
            return
        side = self.sides[go.second]
        options = dict(self.options)
        if go.limit is not None:
            options["limits"] = ExportLimits(adds=go.limit, **FREE)
        if go.pace is not None:
            options["pace"] = Pace(adds_per_day=go.pace)
        report = self.perform(side, self.export(side, **options), go)
        if isinstance(report, ExportReport) and report.exceeded and go.limit is not None:
            assert not [write for write in self.writes if write.run_id == self.runs[-1][0]]
            again = self.perform(side, self.export(side, **options, approve=report.plan_hash), CALM)
            assert isinstance(again, ExportReport)
            assert again.plan_hash == report.plan_hash or again.exceeded
            if again.plan_hash == report.plan_hash:
                assert [write for write in self.writes if write.run_id == self.runs[-1][0]]
        if go.calm:
            self.calm(side)

    @precondition(lambda self: self.runs)
    @rule(
        data=st.data(),
        fuse=fuses,
        faults=faulty,
        way=st.sampled_from([Remove(move_to=str(HOLDING)), Remove(move_to=str(HOLDING)), Remove()]),
    )
    def undo(self, data: st.DataObject, fuse: int | None, faults: list[dict[str, Any]], way: Remove) -> None:
        undone, side = data.draw(st.sampled_from(self.runs))
        export = self.export(side, **self.options)
        self.start("plan", side, CALM)
        try:
            made = plan_undo(self.place(), export, Undo(undone, way))
        except PlanError as error:
            assert "that made a plan" in str(error)  # noqa: PT017
            return
        assert not self.writes or self.writes[-1].run_id != "plan"
        show_plan(self.place().warehouse, made, self.clock())
        go = Go(False, fuse, faults, [], 0, None, None, None, calm=False)
        self.perform(side, export, go, undone=undone, way=way, exactly=made.hash)
        asked = {write.contact_id for write in self.writes if write.run_id == undone}
        assert {write.contact_id for write in self.writes if write.run_id == self.runs[-1][0]} <= asked

    def calm(self, side: Side) -> None:
        """Nothing goes wrong and nobody acts: the list ends as it should, and then nothing is left to do."""
        self.sandbox.control(
            "switches", resubscribe="skip", bulk_failure="skip", post_existing_subscription="existing", ids="string",
            move_existing="merge", move_unsubscribed="carry", refusal_names="id",
        )  # fmt: skip
        for id_ in self.look().contacts:
            self.edit("contacts/update", contact_id=id_, refused=None)
        # What the list does not show for a day does not stay open.
        self._time_passes(timedelta(hours=25))
        # The first run looks again at what is still open, the second brings the list to what it should be.
        self.perform(side, self.export(side, **self.options), CALM)
        report = self.perform(side, self.export(side, **self.options), CALM, expected=True)
        assert isinstance(report, ExportReport)
        assert report.remaining == 0
        self.check_outcomes(side)
        again = self.perform(side, self.export(side, **self.options), CALM)
        assert isinstance(again, ExportReport)
        assert not [write for write in self.writes if write.run_id == self.runs[-1][0]]
        assert (again.added, again.removed, again.violations) == (0, 0, ())

    def export(self, side: Side, **options: Any) -> Export:
        """One of the two exports."""
        given = {
            "name": side.name,
            "label": side.name,
            "audience": "everybody",
            "list": str(side.list_id),
            "limits": FREE,
            "suppression": Suppression(file=self.home / "never.csv"),
            **options,
        }
        if side is self.sides[0]:
            return Export(**given, exclude=("customers",))
        first = self.export(self.sides[0], **self.options)
        return Export(**given, before=(first,), holdout=HELD_OUT / 100)

    def place(self) -> ExportContext:
        budget = Budget(self.home, "a", per_second=0, per_minute=0, per_day=0)
        session = _Session(
            self.sandbox.url,
            Credentials("sandbox-app", "sandbox-user", "sandbox-pass"),
            budget,
            tries=2,
            first_wait=0.01,
        )
        session.machine = self
        warehouse = _Warehouse(self.home / "warehouse.duckdb", SCHEMA)
        warehouse.machine = self
        return ExportContext(warehouse, Folder(session, "1300001", "7601"), SCHEMA, self.clock)

    def start(self, run_id: str, side: Side, go: Go) -> None:
        self.running, self.side, self.go = run_id, side, go
        self.fuse, self.dead, self.requests = go.fuse, False, 0
        self.now_known = Knowledge()
        self.shown_contacts, self.shown, self.read_at, self.looked_at, self.raced = {}, {}, {}, {}, set()
        planned = [
            {"method": fault["method"], "nth": fault["nth"], "do": do, "path": "" if fault["method"] == "GET" else "subscriptions"}
            for fault in go.faults
            for do in fault["do"]
        ]  # fmt: skip
        self.truth = self.look()
        for method, nth, who, what, when in go.races:
            id_ = self.newest(who)
            if id_ in self.truth.contacts and id_ not in self.raced and self.truth.contacts[id_] != "donotcontact":
                self.raced.add(id_)
                edits = [_edit(id_, what, side.list_id)] if what != "removed" else _removed(id_, side.list_id)
                planned.append({"method": method, "nth": nth, "do": {"kind": "edit", "when": when, "edits": edits}})
        if planned:
            self.sandbox.control("faults", faults=planned)

    def perform(
        self, side: Side, export: Export, go: Go, *, undone: str | None = None, way: Remove | None = None,
        exactly: str | None = None, expected: bool = False,
    ) -> ExportReport | None:  # fmt: skip
        """One run, however it ends; None if it was killed or made no plan."""
        self.count += 1
        run_id = f"run{self.count}"
        self.runs.append((run_id, side))
        remove = way if undone is not None else export.remove
        self.may_unsubscribe = remove is not None and remove.move_to is None
        self.moving_to = (HOLDING,) if remove is not None and remove.move_to is not None else ()
        if undone is not None:
            self.moving_to = (side.list_id, HOLDING)
        self.start(run_id, side, go)
        before, report, killed = self.truth, None, False
        self.removable = self._removable(side, before)
        should = self._should(side, before) if expected else {}
        earlier = self._added_in_a_day(side)
        try:
            if undone is None:
                report = run_export(self.place(), export, run_id=run_id)
            else:
                report = run_export(
                    self.place(), export, run_id=run_id, undo=Undo(undone, way or Remove()), exactly=exactly
                )
        except Killed:
            killed = True
        except ExportError as error:
            assert "@" not in str(error)  # noqa: PT017
            if expected:
                raise
            report = error.report
        self.fuse, self.dead = None, False
        self.clock.now += timedelta(minutes=1)
        self.sandbox.control("faults/clear")
        self.settle(side, run_id, before, killed=killed)
        if go.pace is not None:
            assert self._added_in_a_day(side) <= max(earlier, go.pace)
        if expected:
            after = self.look()
            for (list_id, id_), status in should.items():
                if id_ not in self.blurred:
                    assert after.on(list_id, id_) == status, (id_, list_id, status, after.on(list_id, id_))
        return report

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

    # What must hold

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
        for id_, action, list_id, to_list_id in _asked(method, path, body):
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
            for id_, action, list_id, to_list_id in _asked(method, path, body):
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
        write.effect = _had_effect(write, after) and not _had_effect(write, self._before)
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


def _had_effect(write: Write, truth: Truth) -> bool:
    """Whether the rows are as a write says."""
    on = truth.on(write.list_id, write.contact_id)
    if write.action == "subscribe":
        return on == "normal"
    if write.action == "unsubscribe":
        return on == "unsubscribed"
    return on != "normal" and write.to_list_id is not None and truth.on(write.to_list_id, write.contact_id) == "normal"


def _edit(id_: int, what: str, list_id: int) -> dict[str, Any]:
    if what in ("donotcontact", "bounced"):
        return {"path": "contacts/update", "contact_id": id_, "status": what}
    where, status = {
        "left": (list_id, "unsubscribed"), "added": (list_id, "normal"), "held": (HOLDING, "unsubscribed")
    }[what]  # fmt: skip
    return {"path": "subscriptions/set", "list_id": where, "contact_id": id_, "status": status}


def _removed(id_: int, list_id: int) -> list[dict[str, Any]]:
    # Setting it first makes sure that there is one to remove.
    where = {"list_id": list_id, "contact_id": id_}
    return [{"path": "subscriptions/set", **where}, {"path": "subscriptions/delete", **where}]


def _asked(method: str, path: str, body: bytes | None) -> list[tuple[int, str, int, int | None]]:
    """Whom a write is about: contact, action, list, list to move to. Fails for a write that no export may make."""
    data = orjson.loads(body or b"null")
    _, _, name = path.rpartition("/")
    if method == "POST" and name == "subscriptions":
        assert all(set(row) == {"contactId", "listId", "status"} and row["status"] == "normal" for row in data)
        assert len({row["contactId"] for row in data}) == len(data)
        return [(int(row["contactId"]), "subscribe", int(row["listId"]), None) for row in data]
    resource = path.split("/")[-2]
    assert resource == "subscriptions", (method, path)
    list_id, contact_id = (int(part) for part in name.split("_"))
    if method == "POST":
        assert data == {"status": "unsubscribed"}
        return [(contact_id, "unsubscribe", list_id, None)]
    assert method == "PUT"
    assert set(data) == {"listId"}
    return [(contact_id, "move", list_id, int(data["listId"]))]
