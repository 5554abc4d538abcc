"""What random histories are drawn from: people and their addresses, faults, races, how a run goes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from hypothesis import strategies as st

from icontact_assets_tests.harness import HOLDING

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


def had_effect(write: Write, truth: Truth) -> bool:
    """Whether the rows are as a write says."""
    on = truth.on(write.list_id, write.contact_id)
    if write.action == "subscribe":
        return on == "normal"
    if write.action == "unsubscribe":
        return on == "unsubscribed"
    return on != "normal" and write.to_list_id is not None and truth.on(write.to_list_id, write.contact_id) == "normal"


def edit_of(id_: int, what: str, list_id: int) -> dict[str, Any]:
    if what in ("donotcontact", "bounced"):
        return {"path": "contacts/update", "contact_id": id_, "status": what}
    where, status = {
        "left": (list_id, "unsubscribed"), "added": (list_id, "normal"), "held": (HOLDING, "unsubscribed")
    }[what]  # fmt: skip
    return {"path": "subscriptions/set", "list_id": where, "contact_id": id_, "status": status}


def removed_edits(id_: int, list_id: int) -> list[dict[str, Any]]:
    # Setting it first makes sure that there is one to remove.
    where = {"list_id": list_id, "contact_id": id_}
    return [{"path": "subscriptions/set", **where}, {"path": "subscriptions/delete", **where}]


def asked(method: str, path: str, body: bytes | None) -> list[tuple[int, str, int, int | None]]:
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


@dataclass(frozen=True)
class Beginning:
    """How a history begins: people, lists, and what the exports are told."""

    statuses: list[str]
    spelling: int
    there: dict[int, str]
    held: dict[int, str]
    members: list[int]
    customers: list[int]
    options: dict[str, Any]
    way: str
    order: str


beginnings = st.builds(
    Beginning,
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
    options=st.fixed_dictionaries(
        {
            "mode": st.sampled_from(["add", "mirror", "mirror", "mirror"]),
            "consent": st.sampled_from(["list", "list", "strict"]),
            "external_changes": st.sampled_from(["report", "keep", "repair"]),
            "adopt_existing": st.booleans(),
        }
    ),
    way=st.sampled_from(["move", "move", "unsubscribe"]),
    order=st.sampled_from(["ascending", "descending"]),
)
answers = st.fixed_dictionaries(
    {
        "resubscribe": st.sampled_from(["skip", "400", "409", "success", "pretend"]),
        "bulk_failure": st.sampled_from(["skip", "refuse"]),
        "bulk_reply_order": st.sampled_from(["input", "shuffled"]),
        "post_existing_subscription": st.sampled_from(["existing", "warning", "409"]),
        "ids": st.sampled_from(["string", "integer", "mixed"]),
        "move_existing": st.sampled_from(["merge", "400", "409"]),
        "move_unsubscribed": st.sampled_from(["carry", "subscribe", "400"]),
        "refusal_names": st.sampled_from(["id", "address", "both"]),
    }
)
