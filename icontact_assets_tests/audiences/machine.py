"""Random histories of one export: people, others, the service and kills act; what must hold is checked at each request.

Everything is judged by the sandbox's own rows, taken right before and right after each request: nothing here asks the
package who may be mailed, what was written, or what the list should hold.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from icontact_assets.audiences.export import ExportError, ExportReport, run_export
from icontact_assets.audiences.live import PlanError
from icontact_assets.audiences.plan import Place
from icontact_assets.audiences.record import Record
from icontact_assets.audiences.undo import plan_undo
from icontact_assets.icontact.budget import Budget
from icontact_assets.icontact.folder import Folder
from icontact_assets.icontact.session import Credentials, Session
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.settings import Export, ExportLimits, Never, Remove
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.audiences.conftest import FREE, HOLDING, LIST, SCHEMA, Clock, Store

IDS = tuple(range(1, 25))
NEVER = (23, 24)
FRESH = timedelta(minutes=10)
DONE = {"subscribe": "added", "move": "moved", "unsubscribe": "unsubscribed"}

some = st.lists(st.sampled_from(IDS), min_size=1, max_size=8, unique=True)
one = st.sampled_from(IDS)
lost = st.sampled_from(
    [
        {"kind": "reset", "apply": True},
        {"kind": "reset"},
        {"kind": "cut", "keep": 0.5},
        {"kind": "cut", "keep": 0.3, "clean": True},
        {"kind": "reply", "status": 500, "apply": True},
        {"kind": "reply", "status": 502, "text": "<html>Bad Gateway</html>", "apply": True},
        {"kind": "reply", "status": 504, "text": "<html>", "apply": False},
        {"kind": "reply", "status": 400, "body": {"errors": ["Something is odd"]}},
        {"kind": "reply", "status": 200, "body": {}, "apply": True},
        {"kind": "reply", "status": 503},
        {"kind": "reply", "status": 402},
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
        st.sampled_from(["GET", "POST", "PUT"]),
        st.integers(1, 6),
        one,
        st.sampled_from(["donotcontact", "bounced", "left", "added", "removed", "held"]),
    ),
    max_size=2,
)


@dataclass(frozen=True)
class Go:
    """How a run goes: after how many moments it is killed, faults, races, minutes between two looks at the clock, the
    most adds, and whether afterwards everything calms down."""

    fuse: int | None
    faults: list[dict[str, Any]]
    races: list[tuple[str, int, int, str]]
    step: int
    limit: int | None
    calm: bool


fuses = st.none() | st.integers(1, 60)
going = st.builds(
    Go,
    fuse=fuses,
    faults=faulty,
    races=races,
    step=st.sampled_from([0, 0, 0, 2]),
    limit=st.sampled_from([None, None, None, 1]),
    calm=st.booleans(),
)
maybe = st.none() | going


class Killed(BaseException):
    """The process is gone: no handler of errors may catch this."""


@dataclass(frozen=True)
class Truth:
    """The rows of the sandbox: subscriptions by list and contact, statuses of contacts."""

    subscriptions: dict[tuple[int, int], str]
    contacts: dict[int, str]

    def on(self, list_id: int, contact_id: int) -> str | None:
        return self.subscriptions.get((list_id, contact_id))


@dataclass(frozen=True)
class Write:
    """One request that is to change something for one person, and whether the sandbox's rows changed as it said."""

    run_id: str
    contact_id: int
    action: str
    list_id: int
    to_list_id: int | None
    effect: bool


class _Session(Session):
    """A session that is watched, and may be cut off at any request."""

    machine: ExportMachine

    def _once(self, method: str, path: str, params: Any, body: bytes | None, usable: Callable[[Any], bool]) -> Any:
        self.machine.moment()
        self.machine.before_request(method, path, dict(params or {}), body)
        try:
            return super()._once(method, path, params, body, usable)
        finally:
            self.machine.after_request(method, path, dict(params or {}), body)
            self.machine.moment()


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
        self.store = Store(Warehouse(self.home / "warehouse.duckdb"))
        self.clock = Clock()
        self.sandbox.control("reset")
        (self.home / "never.csv").write_text("contact_id,email\n" + "".join(f"{id_},\n" for id_ in NEVER[:1]))
        with (self.home / "never.csv").open("a") as file:
            file.write(f",planted{NEVER[1]}@example.com\n")
        self.members: set[int] = set()
        self.runs: list[str] = []
        self.count = 0
        self.options: dict[str, Any] = {}
        self.faults: list[dict[str, Any]] = []
        # What the export could know.
        self.seen_left: set[tuple[int, int]] = set()
        self.left_by_message: dict[int, set[int]] = defaultdict(set)
        self.imported_events: set[tuple[int, int]] = set()
        self.events: list[tuple[int, int]] = []
        self.gone: set[int] = set()
        self.imported: dict[int, str | None] = {}
        self.refused: set[tuple[int, int]] = set()
        self.made: dict[int, tuple[str | None, str]] = {}
        self.compared = False
        # Of whom it cannot be known what became, because others acted before it could be read.
        self.blurred: set[int] = set()
        self.open: set[int] = set()
        # The run that is under way.
        self.fuse: int | None = None
        self.dead = False
        self.running = ""
        self.moving_to: tuple[int, ...] = ()
        self.may_unsubscribe = False
        self.raced: set[int] = set()
        self.truth = Truth({}, {})
        self.shown_contacts: dict[int, tuple[str | None, datetime]] = {}
        self.shown: dict[int, dict[int, str]] = {}
        self.writes: list[Write] = []
        self.asked: dict[str, list[tuple[str, str]]] = defaultdict(list)

    def teardown(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)

    # The world

    @initialize(
        statuses=st.lists(
            st.sampled_from(["normal"] * 8 + ["bounced", "donotcontact", "pending", "invitable"]),
            min_size=24,
            max_size=24,
        ),
        there=st.dictionaries(one, st.sampled_from(["normal", "normal", "pending", "unsubscribed"]), max_size=6),
        held=st.dictionaries(one, st.sampled_from(["normal", "unsubscribed", "pending"]), max_size=3),
        members=st.lists(st.sampled_from(IDS), min_size=4, max_size=16, unique=True),
        mode=st.sampled_from(["add", "mirror", "mirror", "mirror"]),
        way=st.sampled_from(["move", "move", "unsubscribe"]),
        consent=st.sampled_from(["list", "list", "strict"]),
        policy=st.sampled_from(["report", "keep", "repair"]),
        adopt=st.booleans(),
        order=st.sampled_from(["ascending", "descending"]),
    )
    def begin(
        self, statuses: list[str], there: dict[int, str], held: dict[int, str], members: list[int], mode: str,
        way: str, consent: str, policy: str, adopt: bool, order: str,
    ) -> None:  # fmt: skip
        for id_, status in zip(IDS, statuses, strict=True):
            self.edit("contacts/add", contact_id=id_, email=f"planted{id_}@example.com", status=status)
        for list_id, rows in ((LIST, there), (HOLDING, held)):
            for id_, status in rows.items():
                self.edit("subscriptions/set", list_id=list_id, contact_id=id_, status=status)
        for message_id, lists in ((1, [LIST]), (2, [HOLDING]), (3, [])):
            self.edit("messages/add", message_id=message_id)
            if lists:
                self.edit("messages/release", message_id=message_id, lists=lists)
        self.sandbox.control("switches", listing_order=order)
        self.options = {"mode": mode, "consent": consent, "foreign_changes": policy, "adopt_existing": adopt}
        if mode == "mirror":
            self.options["remove"] = Remove(move_to=str(HOLDING)) if way == "move" else Remove()
        self.members = set(members)
        self.compute()

    def edit(self, path: str, **values: Any) -> None:
        self.sandbox.control(path, **values)

    def look(self) -> Truth:
        """The sandbox's rows now."""
        rows = self.sandbox.control("truth?resource=subscriptions")
        people = self.sandbox.control("truth?resource=contacts")
        return Truth(
            {(int(row["list_id"]), int(row["contact_id"])): row["status"] for row in rows},
            {int(row["contact_id"]): row["status"] for row in people},
        )

    def compute(self) -> None:
        self.store.audience(*sorted(self.members), now=self.clock())

    def touched(self, *ids: int) -> None:
        """Others acted on these: of what was written and not read again, nothing can be known any more."""
        self.blurred |= self.open & set(ids)

    @rule(toggled=some, go=maybe)
    def the_audience_changes(self, toggled: list[int], go: Go | None) -> None:
        self.members ^= set(toggled)
        self.compute()
        self.follow(go)

    @rule(ids=some, list_id=st.sampled_from([LIST, LIST, HOLDING]), go=maybe)
    def added_by_hand(self, ids: list[int], list_id: int, go: Go | None) -> None:
        self._put(ids, list_id, "normal")
        self.follow(go)

    @rule(
        ids=some,
        list_id=st.sampled_from([LIST, LIST, HOLDING]),
        status=st.sampled_from(["unsubscribed", "pending"]),
        go=maybe,
    )
    def they_leave(self, ids: list[int], list_id: int, status: str, go: Go | None) -> None:
        self._put(ids, list_id, status)
        self.follow(go)

    @rule(list_id=st.sampled_from([LIST, HOLDING]), go=maybe)
    def all_who_left_are_subscribed_again_by_hand(self, list_id: int, go: Go | None) -> None:
        left = [key[1] for key, status in self.look().subscriptions.items() if key[0] == list_id and status != "normal"]
        self._put(left, list_id, "normal")
        self.follow(go)

    def _put(self, ids: list[int], list_id: int, status: str) -> None:
        known = self.look().contacts
        for id_ in ids:
            if id_ in known:
                self.edit("subscriptions/set", list_id=list_id, contact_id=id_, status=status)
        self.touched(*ids)

    @rule(ids=some, list_id=st.sampled_from([LIST, LIST, HOLDING]), go=maybe)
    def removed_by_hand(self, ids: list[int], list_id: int, go: Go | None) -> None:
        truth = self.look()
        for id_ in ids:
            if truth.on(list_id, id_) is not None:
                self.edit("subscriptions/delete", list_id=list_id, contact_id=id_)
        self.touched(*ids)
        self.follow(go)

    @rule(ids=some, to=st.sampled_from([LIST, HOLDING]), go=maybe)
    def moved_by_hand(self, ids: list[int], to: int, go: Go | None) -> None:
        truth, off = self.look(), LIST if to == HOLDING else HOLDING
        for id_ in ids:
            if truth.on(off, id_) == "normal":
                self.edit("subscriptions/delete", list_id=off, contact_id=id_)
                self.edit("subscriptions/set", list_id=to, contact_id=id_)
        self.touched(*ids)
        self.follow(go)

    @rule(
        id_=one, status=st.sampled_from(["normal", "bounced", "donotcontact", "pending", "deleted", "erased"]), go=maybe
    )
    def a_contact_changes(self, id_: int, status: str, go: Go | None) -> None:
        if id_ not in self.look().contacts:
            return
        if status == "erased":
            self.edit("contacts/delete", contact_id=id_)
        else:
            self.edit("contacts/update", contact_id=id_, status=status)
        self.touched(id_)
        self.follow(go)

    @rule(id_=one, message_id=st.sampled_from([1, 2, 3]))
    def unsubscribed_by_message(self, id_: int, message_id: int) -> None:
        self.edit("events/add", message_id=message_id, kind="unsubscribes", contact_id=id_)
        self.events.append((message_id, id_))

    @rule()
    def imported_again(self) -> None:
        """The import reads everything: a stand-in that stores the sandbox's rows as versions."""
        truth, at = self.look(), self.clock().replace(tzinfo=None)
        self.clock.now += timedelta(minutes=1)
        rows: list[tuple[str, dict[str, Any]]] = []
        stamp = {"observed_at": at, "partition_date": at.date()}
        for (list_id, id_), status in truth.subscriptions.items():
            rows.append(
                ("raw_subscriptions", {"list_id": str(list_id), "contact_id": str(id_), "status": status, **stamp})
            )
            if status == "unsubscribed":
                self.seen_left.add((list_id, id_))
        for id_ in IDS:
            status_now = truth.contacts.get(id_)
            if status_now is not None:
                rows.append(("raw_contacts", {"id": str(id_), "status": status_now, **stamp}))
            elif self.imported.get(id_) is not None:
                rows.append(("raw_contacts", {"id": str(id_), "status": "normal", "deleted_at": at, **stamp}))
            if (status_now is None and self.imported.get(id_) is not None) or status_now == "deleted":
                self.gone.add(id_)
            elif status_now is not None:
                self.gone.discard(id_)
            self.imported[id_] = status_now
        for message_id, lists in ((1, LIST), (2, HOLDING)):
            rows.append(
                ("raw_sends", {"send_id": str(message_id), "message_id": str(message_id), "include_list_ids": str(lists),
                               "status": "released", **stamp})
            )  # fmt: skip
        for message_id, id_ in self.events:
            if (message_id, id_) not in self.imported_events:
                rows.append(("raw_activity", {"message_id": str(message_id), "contact_id": str(id_),
                                              "event_type": "unsubscribe"}))  # fmt: skip
        self.imported_events |= set(self.events)
        with self.store.warehouse.write("test") as connection:
            connection.execute(f'USE warehouse_file."{SCHEMA}"')
            for table, row in rows:
                connection.execute(
                    f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values())
                )

    @rule(
        resubscribe=st.sampled_from(["skip", "400", "409", "success", "pretend"]),
        failure=st.sampled_from(["skip", "refuse"]),
        replies=st.sampled_from(["input", "shuffled"]),
        existing=st.sampled_from(["existing", "warning", "409"]),
        ids=st.sampled_from(["string", "integer", "mixed"]),
    )
    def the_service_answers_otherwise(
        self, resubscribe: str, failure: str, replies: str, existing: str, ids: str
    ) -> None:
        self.sandbox.control(
            "switches",
            resubscribe=resubscribe,
            bulk_failure=failure,
            bulk_reply_order=replies,
            post_existing_subscription=existing,
            ids=ids,
        )

    # Runs

    @rule(go=going)
    def run(self, go: Go) -> None:
        self.follow(go)

    def follow(self, go: Go | None) -> None:
        """Perhaps an export follows at once on what just happened."""
        if go is None:
            return
        options = dict(self.options)
        if go.limit is not None:
            options["limits"] = ExportLimits(adds=go.limit, **FREE)
        report = self.perform(self.export(**options), go.fuse, go.faults, go.races, go.step)
        if isinstance(report, ExportReport) and report.exceeded and go.limit is not None:
            assert not [write for write in self.writes if write.run_id == self.runs[-1]]
            again = self.perform(self.export(**options, approve=report.plan_hash), None, [], [], 0)
            assert isinstance(again, ExportReport)
            assert again.plan_hash == report.plan_hash or again.exceeded
            if again.plan_hash == report.plan_hash:
                assert [write for write in self.writes if write.run_id == self.runs[-1]]
        if go.calm:
            self.calm()

    @precondition(lambda self: self.runs)
    @rule(
        data=st.data(),
        fuse=fuses,
        faults=faulty,
        way=st.sampled_from([Remove(move_to=str(HOLDING)), Remove(move_to=str(HOLDING)), Remove()]),
    )
    def undo(self, data: st.DataObject, fuse: int | None, faults: list[dict[str, Any]], way: Remove) -> None:
        undone = data.draw(st.sampled_from(self.runs))
        export = self.export(**self.options)
        self.start("plan", None, [], [], 0)
        try:
            made = plan_undo(self.place(), export, undone, way)
        except PlanError as error:
            assert "that made a plan" in str(error)  # noqa: PT017
            return
        assert not self.writes or self.writes[-1].run_id != "plan"
        Record(self.place(), export, "").show(made, self.clock())
        self.perform(export, fuse, faults, [], 0, undone=undone, way=way, exactly=made.hash)
        asked = {write.contact_id for write in self.writes if write.run_id == undone}
        assert {write.contact_id for write in self.writes if write.run_id == self.runs[-1]} <= asked

    def calm(self) -> None:
        """Nothing goes wrong and nobody acts: the list ends as it should, and then nothing is left to do."""
        self.sandbox.control(
            "switches", resubscribe="skip", bulk_failure="skip", post_existing_subscription="existing", ids="string"
        )
        report = self.perform(self.export(**self.options), None, [], [], 0, expected=True)
        assert isinstance(report, ExportReport)
        assert report.remaining == 0
        self.check_outcomes()
        again = self.perform(self.export(**self.options), None, [], [], 0)
        assert isinstance(again, ExportReport)
        assert not [write for write in self.writes if write.run_id == self.runs[-1]]
        assert (again.added, again.removed, again.violations) == (0, 0, ())

    def export(self, **options: Any) -> Export:
        return Export(
            **{
                "name": "to_list",
                "label": "To list",
                "audience": "everybody",
                "list": str(LIST),
                "limits": FREE,
                "never": Never(file=self.home / "never.csv"),
                **options,
            }
        )

    def place(self) -> Place:
        budget = Budget(self.home, "a", per_second=0, per_minute=0, per_day=0)
        session = _Session(
            self.sandbox.url,
            Credentials("sandbox-app", "sandbox-user", "sandbox-pass"),
            budget,
            tries=2,
            first_wait=0.01,
        )
        session.machine = self
        warehouse = _Warehouse(self.home / "warehouse.duckdb")
        warehouse.machine = self
        return Place(warehouse, SCHEMA, Folder(session, "1300001", "7601"), SCHEMA, self.clock)

    def start(self, run_id: str, fuse: int | None, faults: list[dict[str, Any]], races: list[Any], step: int) -> None:
        self.running, self.fuse, self.dead = run_id, fuse, False
        self.clock.step = timedelta(minutes=step)
        self.shown_contacts, self.shown, self.raced = {}, {}, set()
        planned = [{**fault, "path": "subscriptions" if fault["method"] != "GET" else ""} for fault in faults]
        known = self.look().contacts
        for method, nth, id_, what in races:
            if id_ in known:
                self.raced.add(id_)
                planned.append({"method": method, "nth": nth, "do": {"kind": "edit", "when": "before", "edits": [_edit(id_, what)]}})  # fmt: skip
        if planned:
            self.sandbox.control("faults", faults=planned)
        self.truth = self.look()

    def perform(
        self, export: Export, fuse: int | None, faults: list[dict[str, Any]], races: list[Any], step: int, *,
        undone: str | None = None, way: Remove | None = None, exactly: str | None = None, expected: bool = False,
    ) -> ExportReport | None:  # fmt: skip
        """One run, however it ends; None if it was killed or made no plan."""
        self.count += 1
        run_id = f"run{self.count}"
        self.runs.append(run_id)
        remove = way if undone is not None else export.remove
        self.may_unsubscribe = remove is not None and remove.move_to is None
        self.moving_to = (HOLDING,) if remove is not None and remove.move_to is not None else ()
        if undone is not None:
            self.moving_to = (LIST, HOLDING)
        self.start(run_id, fuse, faults, races, step)
        before, report = self.truth, None
        self.removable = self._removable(before)
        should = self._should(before) if expected else {}
        try:
            if undone is None:
                report = run_export(self.place(), export, run_id=run_id)
            else:
                report = run_export(
                    self.place(), export, run_id=run_id, undoes=undone, exactly=exactly,
                    planner=lambda place, export: plan_undo(place, export, undone, way or Remove()),
                )  # fmt: skip
        except Killed:
            pass
        except ExportError as error:
            assert "@" not in str(error)  # noqa: PT017
            if expected:
                raise
            report = error.report
        self.fuse, self.dead = None, False
        self.clock.step = timedelta(0)
        self.clock.now += timedelta(minutes=1)
        self.sandbox.control("faults/clear")
        self.settle(run_id, before)
        if expected:
            after = self.look()
            for (list_id, id_), status in should.items():
                if id_ not in self.blurred:
                    assert after.on(list_id, id_) == status, (id_, list_id, status, after.on(list_id, id_))
        return report

    def settle(self, run_id: str, before: Truth) -> None:
        """What the run could see, and what it left open."""
        self.blurred |= self.raced
        compared = self.store.rows(f"SELECT compared_at FROM export_runs WHERE run_id = '{run_id}'")
        if compared and compared[0][0] is not None:
            self.made = self._compared(before)
            self.compared = True
            self.seen_left |= {key for key, s in before.subscriptions.items() if key[0] == LIST and s == "unsubscribed"}
        for write in self.writes:
            if write.run_id == run_id and write.effect:
                if write.action == "unsubscribe":
                    self.seen_left.add((LIST, write.contact_id))
                status = {"subscribe": "normal", "unsubscribe": "unsubscribed", "move": None}[write.action]
                self.made[write.contact_id] = ("normal" if write.to_list_id == LIST else status, "export")
        rows = self.store.rows(
            "SELECT coalesce(to_list_id, list_id), contact_id, outcome FROM export_outcomes "
            "WHERE outcome IN ('intended', 'unconfirmed', 'refused')"
        )
        self.open = {int(id_) for _, id_, outcome in rows if outcome != "refused"}
        self.refused |= {(int(list_id), int(id_)) for list_id, id_, outcome in rows if outcome == "refused"}

    def _compared(self, truth: Truth) -> dict[int, tuple[str | None, str]]:
        """Who made the list as it is, as far as that shows between two comparisons."""
        made = dict(self.made)
        for id_ in IDS:
            status, known = truth.on(LIST, id_), made.get(id_)
            if known is None and status is None:
                continue
            if known is None or known[0] != status:
                if status is None and known is not None and known[0] == "unsubscribed":
                    continue
                made[id_] = (status, "others" if self.compared else "before")
        return made

    def _removable(self, truth: Truth) -> set[int]:
        """Whom a mirror may take off the list."""
        ours = {"export"}
        if self.options["adopt_existing"]:
            ours |= {"before", "others"} if self.options["foreign_changes"] == "repair" else {"before"}
        made = self._compared(truth)
        return {id_ for id_ in IDS if id_ not in self.members and made.get(id_, (None, ""))[1] in ours}

    def _should(self, truth: Truth) -> dict[tuple[int, int], str | None]:
        """The lists as the export's settings say they end."""
        made = self._compared(truth)
        lists: dict[tuple[int, int], str | None] = {}
        for id_ in IDS:
            on, held = truth.on(LIST, id_), truth.on(HOLDING, id_)
            lists[LIST, id_], lists[HOLDING, id_] = on, held
            if id_ in self.members and on != "normal":
                taken_off = made.get(id_) == (None, "others") and self.options["foreign_changes"] != "repair"
                if not taken_off and not self.forbidden(id_, LIST, truth.contacts.get(id_), truth.on(LIST, id_)):
                    lists[LIST, id_] = "normal"
            elif self.options["mode"] == "mirror" and on == "normal" and id_ in self.removable:
                if self.options["remove"].move_to is None:
                    lists[LIST, id_] = "unsubscribed"
                elif not self.forbidden(id_, HOLDING, truth.contacts.get(id_), held):
                    lists[LIST, id_], lists[HOLDING, id_] = None, "normal"
        return lists

    # What must hold

    def forbidden(self, id_: int, list_id: int, contact: str | None, subscription: str | None) -> str | None:
        """Why nobody may put this person on this list, by what could be known; None if they may."""
        if contact != "normal":
            return f"contact {contact}"
        if subscription not in (None, "normal"):
            return f"subscription {subscription}"
        if (list_id, id_) in self.seen_left:
            return "left the list before"
        if id_ in self.gone:
            return "gone"
        if (list_id, id_) in self.refused:
            return "refused before"
        if id_ in NEVER:
            return "excluded"
        reached = {LIST: (1, 3), HOLDING: (2, 3)}[list_id]
        if any((message_id, id_) in self.imported_events for message_id in reached):
            return "left by a message"
        if self.options["consent"] == "strict" and (
            any((each, id_) in self.seen_left or self.truth.on(each, id_) == "unsubscribed" for each in (LIST, HOLDING))
            or any(event[1] == id_ for event in self.imported_events)
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
        now = self.look()
        self._before = now
        if method == "GET":
            if path.endswith("/contacts"):
                ids = [int(id_) for id_ in str(params["contactId"]).split(",")] if "orderby" not in params else IDS
                self.shown_contacts |= {id_: (now.contacts.get(id_), self.clock.now) for id_ in ids}
            elif path.endswith("/subscriptions"):
                list_id = int(params["listId"])
                self.shown[list_id] = {key[1]: status for key, status in now.subscriptions.items() if key[0] == list_id}
            return
        for id_, action, list_id, to_list_id in _asked(method, path, body):
            self._check(id_, action, list_id, to_list_id, now)

    def _check(self, id_: int, action: str, list_id: int, to_list_id: int | None, now: Truth) -> None:
        what = (self.running, id_, action, list_id, to_list_id)
        assert list_id in self.shown, what
        if action != "subscribe":
            assert self.shown[list_id].get(id_) == "normal", what
        if action == "move":
            assert to_list_id in self.moving_to, what
        if action == "unsubscribe":
            assert self.may_unsubscribe, what
        if action != "subscribe" and self.moving_to != (LIST, HOLDING) and id_ not in self.blurred | self.raced:
            assert id_ in self.removable or self.running not in self.runs, what
        if action == "unsubscribe":
            return
        onto = list_id if to_list_id is None else to_list_id
        assert onto in self.shown, what
        status, read_at = self.shown_contacts[id_]
        assert timedelta(0) <= self.clock.now - read_at <= FRESH, what
        subscription = self.shown[onto].get(id_)
        assert self.forbidden(id_, onto, status, subscription) is None, what
        if id_ not in self.raced:
            assert self.forbidden(id_, onto, now.contacts.get(id_), now.on(onto, id_)) is None, what
        if action == "subscribe" and id_ not in self.raced:
            # Nobody is written to twice: whoever is on the list is not put there.
            assert now.on(LIST, id_) is None, what
            assert id_ in self.members, what

    def after_request(self, method: str, path: str, params: dict[str, Any], body: bytes | None) -> None:
        if method == "GET":
            return
        after = self.look()
        for id_, action, list_id, to_list_id in _asked(method, path, body):
            effect = {
                "subscribe": after.on(list_id, id_) == "normal" != self._before.on(list_id, id_),
                "unsubscribe": after.on(list_id, id_) == "unsubscribed" != self._before.on(list_id, id_),
                "move": self._before.on(list_id, id_) == "normal" and after.on(list_id, id_) != "normal"
                and to_list_id is not None and after.on(to_list_id, id_) == "normal",
            }[action]  # fmt: skip
            self.writes.append(Write(self.running, id_, action, list_id, to_list_id, effect))

    def check_outcomes(self) -> None:
        """Person by person, the table says what the sandbox's rows say."""
        did: dict[tuple[str, int, str], bool] = {}
        for write in self.writes:
            key = (write.run_id, write.contact_id, write.action)
            did[key] = did.get(key, False) or write.effect
        table = {
            (run_id, int(id_), action): outcome
            for run_id, id_, action, outcome in self.store.rows(
                "SELECT run_id, contact_id, action, outcome FROM export_outcomes"
            )
        }
        for key, effect in did.items():
            if key[1] not in self.blurred:
                assert (table.get(key) == DONE[key[2]]) == effect, (key, effect, table.get(key))
        for key, outcome in table.items():
            assert outcome not in ("intended", "unconfirmed"), key
            if key[1] not in self.blurred and outcome in DONE.values():
                assert did.get(key), (key, outcome)


def _edit(id_: int, what: str) -> dict[str, Any]:
    if what in ("donotcontact", "bounced"):
        return {"path": "contacts/update", "contact_id": id_, "status": what}
    if what == "removed":
        # Setting it first makes sure that there is one to remove; a pending one blocks whoever it is.
        return {"path": "subscriptions/set", "list_id": LIST, "contact_id": id_, "status": "pending"}
    list_id, status = {"left": (LIST, "unsubscribed"), "added": (LIST, "normal"), "held": (HOLDING, "unsubscribed")}[
        what
    ]
    return {"path": "subscriptions/set", "list_id": list_id, "contact_id": id_, "status": status}


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
