"""What `make bench` measures, and against what. To add a case, write a function that returns its command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.bench import BIN, DAYS, OTHERS, ROOT, Bench, Command, Failed, job, materialize

EVENTS = 258_570
MESSAGES = 100
RAW = 'key:"icontact/raw_*"'


@dataclass(frozen=True)
class Case:
    """One thing that is measured."""

    name: str
    about: str
    command: Callable[[Bench, int], Command]
    """The command for a size."""
    quick: tuple[int, ...]
    """The sizes of a quick run. None at all: only a full run has it."""
    full: tuple[int, ...]
    unit: str
    """What the size counts."""
    against: tuple[str, ...] = ()
    """The cases whose figures at the same size this one is compared with."""
    by: Literal["cpu", "wall"] = "cpu"
    """Which seconds are compared."""
    once: bool = False
    """It takes so long that one run must do."""


CASES: dict[str, Case] = {}


def case(
    name: str,
    about: str,
    sizes: tuple[tuple[int, ...], tuple[int, ...]],
    unit: str,
    against: tuple[str, ...] = (),
    *,
    by: Literal["cpu", "wall"] = "cpu",
    once: bool = False,
) -> Callable[[Callable[[Bench, int], Command]], Callable[[Bench, int], Command]]:
    """Register the function as a case. `sizes`: those of a quick run and those of a full one."""

    def register(command: Callable[[Bench, int], Command]) -> Callable[[Bench, int], Command]:
        CASES[name] = Case(name, about, command, *sizes, unit, against, by, once)
        return command

    return register


# Extraction


def _rows(home: Path, settings: dict[str, str]) -> Callable[[], int]:
    def rows() -> int:
        return int(json.loads(_prepare(job("rows"), home, settings).stdout)["rows"])

    return rows


def _prepare(
    argv: list[str | Path], folder: Path, settings: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run what comes before or after a command and does not count. Raises Failed."""
    environment = {"PATH": str(BIN), "PYTHONPATH": str(ROOT), **(settings or {})}
    ended = subprocess.run(argv, env=environment, cwd=folder, check=False, capture_output=True, text=True)
    if ended.returncode != 0:
        raise Failed(
            f"{' '.join(map(str, argv))} ended with {ended.returncode}:\n{(ended.stdout + ended.stderr)[-3000:]}"
        )
    return ended


_SET = ((EVENTS,), (EVENTS, 3_000_000))


@case("dlt", "dlt reads a client folder into DuckDB, by way of Parquet", _SET, "events")
def dlt(bench: Bench, events: int) -> Command:
    server, home = bench.server(events=events), bench.new_folder()
    python = [OTHERS / "python", "-m", "benchmarks.jobs.dlt_set"]
    return Command(python, bench.settings(home, server), home, server)


@case("extract", "the code of the raw assets reads it, without Dagster", _SET, "events", ("dlt",))
def extract(bench: Bench, events: int) -> Command:
    server, home = bench.server(events=events), bench.new_folder()
    settings = bench.settings(home, server)
    return Command(job("extract", DAYS), settings, home, server, _rows(home, settings))


@case("run", f"`dagster asset materialize` of the raw assets over {DAYS} days", _SET, "events", ("dlt",))
def run(bench: Bench, events: int) -> Command:
    server, home = bench.server(events=events), bench.new_folder()
    settings = bench.settings(home, server)
    return Command(_raw(bench, DAYS), settings, home, server, _rows(home, settings))


def _raw(bench: Bench, days: int) -> list[str | Path]:
    return materialize("icontact_assets.definitions", RAW, (bench.first_day(days), bench.first_day(1)))


_LATENCY = {"events": 80_000, "latency": 0.1}


@case("threads", "16 threads ask with bare `requests`, 100 ms an answer", ((500,), (500,)), "rows a page")
def threads(bench: Bench, size: int) -> Command:
    server, home = bench.server(**_LATENCY), bench.new_folder()
    return Command(job("threads", MESSAGES), bench.settings(home, server, ICONTACT_PAGE_SIZE=str(size)), home)


@case("latency", "16 workers read the same activity", ((500,), (500,)), "rows a page", ("threads",), by="wall")
def latency(bench: Bench, size: int) -> Command:
    server, home = bench.server(**_LATENCY), bench.new_folder()
    settings = bench.settings(home, server, ICONTACT_PAGE_SIZE=str(size), ICONTACT_WORKERS="16")
    return Command(job("extract", DAYS, "activity"), settings, home)


# What a run costs besides its rows

_COVERED = ((DAYS,), (8, DAYS, 365, 730))


@case("empty", "seven assets that do nothing, over so many days, with the storage that we set", _COVERED, "days")
def empty(bench: Bench, days: int) -> Command:
    home = bench.new_folder()
    settings = bench.settings(home, "https://icontact.invalid/icp", max(days, DAYS))
    window = (bench.first_day(days), bench.first_day(1))
    return Command(materialize("benchmarks.jobs.empty", "*", window), settings, home)


@case("empty-plain", "the same with the settings that Dagster has by itself", _COVERED, "days")
def empty_plain(bench: Bench, days: int) -> Command:
    command = empty(bench, days)
    Path(command.environment["DAGSTER_HOME"], "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return command


@case("covered", "a run over so many days that are read already", _COVERED, "days", ("empty",))
def covered(bench: Bench, days: int) -> Command:
    server, long = bench.server(), max(days, DAYS)

    def read(home: Path) -> None:
        _prepare(_raw(bench, long), home, bench.settings(home, server, long))

    home = bench.copied(bench.prepared(f"covered-{long}", read))
    return Command(_raw(bench, days), bench.settings(home, server, long), home, server)


@case("daily", "a run over 8 days in which nothing happened", ((8,), (8,)), "days", ("empty",))
def daily(bench: Bench, days: int) -> Command:
    return covered(bench, days)


# Start

_ONE = ((1,), (1,))


@case("python", "Python starts and does nothing", _ONE, "process")
def python(_bench: Bench, _size: int) -> Command:
    return Command([sys.executable, "-c", "pass"])


@case("cli", "`icontact-assets --help`", _ONE, "process", ("python",))
def cli(bench: Bench, _size: int) -> Command:
    return Command([BIN / "icontact-assets", "--help"], folder=bench.new_folder())


@case("dagster", "Python imports Dagster and does nothing", ((1, 50), (1, 50, 200)), "imports")
def dagster(_bench: Bench, _size: int) -> Command:
    return Command([sys.executable, "-c", "import dagster"])


@case("definitions", "the definitions are loaded", ((1, 50), (1, 50, 200)), "imports", ("dagster",))
def definitions(bench: Bench, imports: int) -> Command:
    home = bench.new_folder()
    accounts = "".join(
        f"      - {{name: import_{number}, client_folder: '{7600 + number}'}}\n" for number in range(imports)
    )
    (home / "icontact.yaml").write_text(
        f"imports:\n  - name: clients\n    account: '1300001'\n    accounts:\n{accounts}"
    )
    load = "import icontact_assets.definitions as found; found.defs.resolve_all_asset_specs()"
    return Command([sys.executable, "-c", load], bench.settings(home, "https://icontact.invalid/icp"), home)


# Mapping

_MAPPED = ((10_000_000,), (10_000_000, 50_000_000, 100_000_000))
_PEOPLE = ((200_000,), (1_000_000,))


def _database(bench: Bench, events: int, contacts: int) -> Path:
    def make(folder: Path) -> None:
        _prepare(job("mapping", "make", folder / "world.duckdb", events, contacts), folder)

    return bench.prepared(f"mapped-{events}-{contacts}", make) / "world.duckdb"


def _mapping(what: str, memory: dict[int, str] | None = None) -> Callable[[Bench, int], Command]:
    def command(bench: Bench, events: int) -> Command:
        database = _database(bench, events, min(1_000_000, events // 20))
        # What comes before an update is committed.
        found = bench.copied(database.parent) / database.name if what == "update" else database
        return Command(job("mapping", what, found, *([memory[events]] if memory else [])))

    return command


def _users(what: str) -> Callable[[Bench, int], Command]:
    def command(bench: Bench, people: int) -> Command:
        database = _database(bench, 1, people)
        return Command(job("mapping", what, bench.copied(database.parent) / database.name))

    return command


case("scan", "DuckDB reads the columns that the mapping reads", _MAPPED, "events")(_mapping("scan"))
case("pandas", "pandas groups them", ((2_000_000,), (10_000_000,)), "events", once=True)(_mapping("pandas"))
case("mapping", "`icontact_activity` in full", _MAPPED, "events", ("scan",))(_mapping("full"))
case("mapping-pandas", "the same at the size of pandas", ((2_000_000,), (10_000_000,)), "events", ("pandas",))(
    _mapping("full")
)
case("mapping-update", "`icontact_activity` after a day with 20,000 contacts", _MAPPED, "events", ("scan",))(
    _mapping("update")
)
case(
    "mapping-limit",
    "`icontact_activity` in full where DuckDB may use little memory: 400 MB for 10 million events, 1 GB for 50",
    ((10_000_000,), (50_000_000,)),
    "events",
    ("mapping",),
    once=True,
)(_mapping("full", {10_000_000: "400MB", 50_000_000: "1GB"}))
case("pandas-users", "pandas takes the latest version of each contact", _PEOPLE, "contacts")(_users("pandas-users"))
case("users", "`icontact_users` in full", _PEOPLE, "contacts", ("pandas-users",))(_users("users"))
case(
    "users-changed", "`icontact_users` after one contact of a hundred changed", _PEOPLE, "contacts", ("pandas-users",)
)(_users("users-changed"))
case("users-same", "`icontact_users` when nothing changed", _PEOPLE, "contacts", ("pandas-users",))(
    _users("users-same")
)


@case("people", "`icontact_people` of two imports, each contact of which has one partner", _PEOPLE, "contacts")
def people(bench: Bench, contacts: int) -> Command:
    def make(folder: Path) -> None:
        _prepare(job("people", "make", folder / "world.duckdb", contacts), folder)

    return Command(job("people", "compute", bench.prepared(f"people-{contacts}", make) / "world.duckdb"))


# Reports


@case("reports", "all report tables", ((1_000_000,), (1_000_000, 10_000_000)), "events")
def reports(bench: Bench, events: int) -> Command:
    def make(folder: Path) -> None:
        _prepare(job("reports", "make", folder / "world.duckdb", events), folder)

    return Command(job("reports", "all", bench.prepared(f"reports-{events}", make) / "world.duckdb"))


# Exports, and the sandbox

_LOOP = """
import sys
for _ in range(10):
    people = {f"{number * 7919 % 999983:09}": f"person.{number}@example.com" for number in range(int(sys.argv[1]))}
    sum(people[key].count("@") for key in sorted(people))
"""


@case("loop", "Python makes so many addresses, sorts and counts them, ten times", ((), ()), "people")
def loop(_bench: Bench, people: int) -> Command:
    return Command([sys.executable, "-c", _LOOP, str(people)])


def _export(what: str) -> Callable[[Bench, int], Command]:
    def command(bench: Bench, people: int) -> Command:
        made = bench.prepared(f"{what}-{people}", lambda folder: _fill(what, people, folder))
        return Command(job("plan", what, people), folder=bench.copied(made))

    return command


def _fill(what: str, people: int, folder: Path) -> None:
    _prepare(job("plan", f"make-{what}", people), folder)


case("plan", "a plan that adds all people of an audience", ((100_000,), (100_000, 1_000_000)), "people", ("loop",))(
    _export("plan")
)
case(
    "export-again",
    "an export whose people are all on the list",
    ((100_000,), (100_000, 1_000_000)),
    "people",
    ("loop",),
)(_export("run"))


@case("sandbox", "the sandbox starts and serves pages of 500", ((20_000,), (100_000,)), "contacts", ("loop",))
def sandbox(bench: Bench, contacts: int) -> Command:
    return Command(job("sandbox", contacts), folder=bench.new_folder())
