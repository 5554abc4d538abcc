"""The stage a fault is played on: a sandbox, a project of its own, what is stored against what is true."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import types
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import tenacity.nap
import time_machine

from icontact_assets.icontact.values import EASTERN
from icontact_assets.ingest.window import Window
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.sandbox.world import CONTACT_FIELDS
from icontact_assets_tests.harness.place import InFile, Place
from icontact_assets_tests.harness.project import TODAY, Project, days_ago
from icontact_assets_tests.harness.quick import QuickResult
from icontact_assets_tests.harness.records import without_records

READ_LIST = "5001"
"""The list whose subscriptions are read."""
CONFIG = """
audiences:
  - {name: readers, import: icontact, where: "last_active_ts IS NOT NULL"}
exports:
  - {name: readers, audience: readers, list: "5001"}
"""
"""An export that names a list: its subscriptions are read too."""

OPEN = Window(TODAY, TODAY)
"""A day that goes on: every run reads."""
ENDED = Window(days_ago(2), days_ago(1))
"""Days that have ended: what is read since then is not asked for again."""

KINDS = ("opens", "clicks", "bounces", "unsubscribes")
LISTINGS = ("contacts", "messages", "sends", "lists", "subscriptions")
RESOURCES = (*LISTINGS, "statistics", *KINDS)
ALL_RAW = 'key:"icontact/raw_*"'
ACTIVITY = 'key:"icontact/raw_activity"'
"""For runs in which nothing else can differ."""

Rows = Counter[tuple[Any, ...]]


def asset_of(resource: str) -> str:
    """The asset that holds a resource."""
    return f"raw_{'activity' if resource in KINDS else resource}"


def only(*resources: str) -> str:
    """The selection of the assets that hold these resources."""
    return " or ".join(f'key:"icontact/{asset_of(resource)}"' for resource in resources)


EVENTS = only("messages", "sends", "activity")
"""What is needed to read the activity of messages."""
BESIDE = ("contacts", "lists", "subscriptions")
"""What a run of EVENTS does not read."""


def path_of(resource: str) -> str:
    """The requests of a resource, as a regular expression on their paths."""
    return f"/{resource}$"


def cause_of(error: Any) -> str:
    """The exception that a step's error began with, and where."""
    while error and error.cause:
        error = error.cause
    return f"{error.message.strip()} {' '.join(error.stack[-1].split())}" if error else ""


@dataclass(frozen=True)
class Ended:
    """How a run ended: the red assets, each with what it said."""

    red: dict[str, str]

    @property
    def green(self) -> bool:
        return not self.red

    @classmethod
    def of(cls, result: dg.ExecuteInProcessResult | QuickResult) -> Ended:
        """Every failure must be one that was foreseen: an exception that only leaves a traceback is told as such."""
        if isinstance(result, QuickResult):
            return cls(result.red)
        red = {}
        for event in result.all_events:
            if event.is_step_failure:
                data = event.step_failure_data
                words = data.user_failure_data.description if data.user_failure_data else None
                red[str(event.node_name).removeprefix("icontact__")] = (
                    words or f"TRACEBACK ONLY: {cause_of(data.error)}"
                )
        assert result.success == (not red)
        return cls(red)

    def check_words(self) -> None:
        """What is said is meant for a person."""
        for asset, words in self.red.items():
            assert not words.startswith("TRACEBACK ONLY"), f"{asset}: {words}"


@dataclass
class Stage:
    """One sandbox, reset; projects with fresh homes below `folder`."""

    sandbox: Sandbox
    folder: Path
    place: Place = field(default_factory=InFile)
    """Where the tables of its projects are."""
    keeps_open: bool = True
    """Whether the databases of its projects are opened once, where they are files."""
    brief: bool = False
    """Plays read only what their fault strikes, where they can."""
    runs: int = 0
    waited: float = 0.0
    _cleared: int = field(default=0, init=False)
    _homes: int = field(default=0, init=False)

    def reset(self, **world: Any) -> None:
        """Another world: `contacts`, `messages`, `days`, `seed`."""
        self.clear_log()
        self.sandbox.control("reset", **world)

    def project(self, base: Project | None = None, **environment: str) -> Project:
        """The project with a home of its own: a copy of `base` with all that it holds, or as if installed today."""
        self._homes += 1
        home = self.folder / f"user{self._homes}"
        if base is None:
            home.mkdir(parents=True)
        else:
            base.let_go()
            shutil.copytree(base.home, home)
        return Project(
            self.sandbox,
            home,
            {
                **self.sandbox.environment(),
                **(self.place.copied(base.environment) if base else self.place.variables(home)),
                "ICONTACT_ASSETS_HOME": str(home / "state"),
                "ICONTACT_START_DATE": days_ago(40).isoformat(),
                "ICONTACT_ASSETS_PUBLISH": "false",
                **environment,
            },
            config=CONFIG,
            instance=without_records(),
            keeps_open=self.keeps_open,
        )

    def run(self, project: Project, window: Window = OPEN, selection: str = ALL_RAW) -> Ended:
        """One run. Waits between tries are counted, not waited for."""
        self.runs += 1
        with self.short_waits():
            ended = Ended.of(project.run(selection, window))
        ended.check_words()
        return ended

    @contextmanager
    def short_waits(self) -> Iterator[None]:
        """The pauses before a request is tried again take no time; `waited` adds them up."""

        def sleep(seconds: float) -> None:
            self.waited += seconds

        with mock.patch.object(tenacity.nap, "time", types.SimpleNamespace(sleep=sleep)):
            yield

    @property
    def now(self) -> datetime:
        """The sandbox's clock, which stands still: what is later than it does not show."""
        return instant(self.sandbox.control("clock")["now"])

    def plan(self, *faults: dict[str, Any]) -> None:
        self.sandbox.control("faults", faults=list(faults))

    def clear(self) -> None:
        self.sandbox.control("faults/clear")

    def clear_log(self) -> None:
        self._cleared += len(self.sandbox.control("log"))
        self.sandbox.control("log/clear")

    @property
    def asked(self) -> int:
        """All requests so far."""
        return self._cleared + len(self.sandbox.control("log"))

    def requests(self, path: str = "") -> int:
        """Requests in the log that were answered with anything but the refusal that stops a run."""
        return sum(row["status"] != 402 and path in row["path"] for row in self.sandbox.control("log"))


_STORED = {
    "contacts": (
        "id",
        "id, status, create_date, bounce_count, email, first_name, last_name, prefix, suffix, fax, phone, street, "
        "street_line_2, city, state, postal_code, business, "
        "json_merge_patch(coalesce(custom_fields, '{}'), '{\"sourceChannel\": null}')::VARCHAR",
    ),
    "messages": ("message_id", "message_id, campaign_id, message_type, subject, message_name"),
    "sends": ("send_id", "send_id, message_id, status, released_at, recipient_count"),
    "lists": ("list_id", "list_id, name"),
    "subscriptions": ("subscription_id", "list_id, contact_id, status, added_at"),
}
"""Resource to its id and the columns that are compared."""


def stored(project: Project) -> dict[str, Rows]:
    """What the tables hold: the latest version of each row that is not gone."""
    with project.tables() as connection:
        found = {
            name: Counter(
                connection.execute(
                    f"SELECT {columns} FROM (FROM icontact.raw_{name} "
                    f"QUALIFY row_number() OVER (PARTITION BY {id_} ORDER BY observed_at DESC) = 1) "
                    "WHERE deleted_at IS NULL"
                ).fetchall()
            )
            for name, (id_, columns) in _STORED.items()
        }
    return {**found, "activity": project.stored_events()}


def true(project: Project) -> dict[str, Rows]:
    """What the sandbox holds and shows."""
    truth = project.sandbox.control("truth")
    shown = {
        name: [row for row in rows if row.get("visible") and row.get("status") != "deleted"]
        for name, rows in truth.items()
    }
    return {
        "contacts": Counter(
            (
                row["contact_id"],
                row["status"],
                instant(row["created"]).astimezone(EASTERN).strftime("%Y-%m-%d %H:%M:%S"),
                None if row["bounce_count"] is None else str(row["bounce_count"]),
                *(
                    row["fields"].get(name) or (None if name == "business" else row["fields"].get(name))
                    for name in CONTACT_FIELDS
                ),
                json.dumps({k: v for k, v in sorted(row["custom"].items()) if v is not None}, separators=(",", ":")),
            )
            for row in shown["contacts"]
        ),
        "messages": Counter(
            (row["message_id"], row["campaign_id"] or "", row["message_type"], row["subject"], row["message_name"])
            for row in shown["messages"]
        ),
        "sends": Counter(
            (
                row["send_id"],
                row["message_id"],
                row["status"],
                naive(row["released"]) if row["status"] == "released" else None,
                row["recipients"],
            )
            for row in shown["sends"]
        ),
        "lists": Counter((row["list_id"], row["name"]) for row in shown["lists"]),
        "subscriptions": Counter(
            (row["list_id"], row["contact_id"], row["status"], naive(row["added"]))
            for row in shown["subscriptions"]
            if row["list_id"] == READ_LIST
        ),
        "activity": project.true_events(),
    }


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def naive(text: str) -> datetime:
    return instant(text).astimezone(UTC).replace(tzinfo=None)


def differences(project: Project, *, leave_out: tuple[str, ...] = ()) -> dict[str, str]:
    """Resource to how the tables differ from the truth; {} when they are equal."""
    here, there = stored(project), true(project)
    found = {}
    for name in there:
        missing, extra = there[name] - here[name], here[name] - there[name]
        if name not in leave_out and (missing or extra):
            found[name] = f"{missing.total()} rows missing, {extra.total()} too many"
    return found


def check_equal(project: Project, *, leave_out: tuple[str, ...] = ()) -> None:
    found = differences(project, leave_out=leave_out)
    assert not found, found
    assert project.rows("SELECT count(*) FROM icontact.quarantine") == [(0,)]


def contents(project: Project) -> dict[str, list[Any]]:
    """Every raw table, without the times at which rows were stored: equal for equal readings."""
    clocks = {"observed_at", "extracted_at", "deleted_at"}
    found = {}
    with project.tables() as connection:
        for name in ("contacts", "messages", "sends", "lists", "subscriptions", "statistics", "activity"):
            table = f"icontact.raw_{name}"
            columns = [row[0] for row in connection.execute(f"DESCRIBE {table}").fetchall() if row[0] not in clocks]
            found[name] = connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY ALL").fetchall()
    return found


def materialize(project: Project, window: Window) -> subprocess.Popen[str]:
    """`dagster asset materialize` of all raw assets in a process group of its own."""
    (project.home / "icontact.yaml").write_text(project.config)
    project.let_go()
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "dagster", "asset", "materialize", "-m", "icontact_assets.definitions"),
            *("--select", ALL_RAW, "--partition-range", f"{window.first}...{window.last}"),
        ],
        env={**os.environ, **project.environment, "DAGSTER_HOME": ""},
        cwd=project.home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@contextmanager
def travelled(**ahead: float) -> Iterator[Window]:
    """The clock of the project is ahead; the window is the day it shows then."""
    then = datetime.now(UTC) + timedelta(**ahead)
    with time_machine.travel(then, tick=True):
        yield Window(then.date(), then.date())
