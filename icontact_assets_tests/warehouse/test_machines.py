"""Which opens and clicks are a machine's: each rule by hand, then how many are found and how many wrongly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import duckdb
import pyarrow as pa
import pytest

from icontact_assets.mapping.build import build_activity, build_users
from icontact_assets.mapping.profiles import build_profiles
from icontact_assets.sandbox.crowd import Crowd, crowd
from icontact_assets.warehouse.tables import TABLES, VIEWS

SENT = datetime(2026, 6, 1, 23, 59, 50)
LINKS = tuple(f"https://example.org/{number}?a=1" for number in range(5))


@contextmanager
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA icontact")
        for table in TABLES:
            connection.execute(table.ddl("icontact"))
        for view in VIEWS:
            connection.execute(view.ddl("icontact"))
        connection.execute("USE icontact")
        yield connection


class World:
    """What happened to message 1, and to others, told in seconds after they were sent."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def sent(self, message: str = "1", after: float = 0) -> None:
        self.connection.execute(
            "INSERT INTO raw_sends (send_id, message_id, released_at, observed_at) VALUES ($1 || $2, $1, $2, $2)",
            [message, SENT + timedelta(seconds=after)],
        )

    def person(self, contact: str, domain: str) -> None:
        self.connection.execute(
            "INSERT INTO raw_contacts (id, email, observed_at) VALUES ($1, $1 || '@' || $2, $3)",
            [contact, domain, SENT],
        )

    def opens(self, contact: str, *after: float, message: str = "1") -> None:
        for seconds in after:
            self._event(message, contact, "open", seconds, None)

    def clicks(self, contact: str, *what: tuple[float, int], message: str = "1") -> None:
        for seconds, link in what:
            self._event(message, contact, "click", seconds, f"{LINKS[link]}&message={message}")

    def links(self, count: int, message: str = "1") -> None:
        """That many links are in the message: somebody clicked each, a day later."""
        for link in range(count):
            self.opens(f"reader{link}", 86_400, message=message)
            self.clicks(f"reader{link}", (86_400 + 60, link), message=message)

    def _event(self, message: str, contact: str, kind: str, after: float, url: str | None) -> None:
        at = SENT + timedelta(seconds=after)
        self.connection.execute(
            "INSERT INTO raw_activity VALUES ($1, $2, $3, $4, $5, 0, $4, $4::DATE)", [message, contact, kind, at, url]
        )

    def machines(self) -> dict[str, list[tuple[str, int, str]]]:
        """By contact: what a machine did, after how many seconds, by which rule. Checks that nothing is else."""
        rows = self.connection.execute("FROM labelled_activity").fetchall()
        raw = self.connection.execute("FROM raw_activity").fetchall()
        assert sorted(map(str, (row[:-2] for row in rows))) == sorted(map(str, raw))
        found: dict[str, list[tuple[str, int, str]]] = {}
        for _, contact, kind, at, *_, machine, confidence in rows:
            if kind not in ("open", "click"):
                assert (machine, confidence) == (None, None)
            elif machine is None:
                assert confidence == 0
            else:
                assert 0.5 < confidence <= 1
                found.setdefault(contact, []).append((kind, int((at - SENT).total_seconds()), machine))
        return {contact: sorted(did) for contact, did in found.items()}


@pytest.fixture(scope="module")
def empty() -> Iterator[duckdb.DuckDBPyConnection]:
    with database() as connection:
        yield connection


@pytest.fixture
def world(empty: duckdb.DuckDBPyConnection) -> Iterator[World]:
    empty.execute("BEGIN")
    yield World(empty)
    empty.execute("ROLLBACK")


def test_every_link_within_seconds_is_a_scanner_and_what_it_opened_too(world: World) -> None:
    world.sent()
    world.links(4)
    world.opens("s", 9, 7200)
    world.clicks("s", (10, 0), (10, 1), (11, 2), (12, 3), (7260, 1))
    assert world.machines() == {
        "s": [("click", after, "scanner") for after in (10, 10, 11, 12)] + [("open", 9, "scanner")]
    }


def test_a_scanner_is_found_without_a_send(world: World) -> None:
    world.links(3)
    world.clicks("s", (500, 0), (503, 1), (504, 2))
    assert set(world.machines()) == {"s"}


def test_somebody_who_reads_all_links_is_a_person(world: World) -> None:
    world.sent()
    world.links(3)
    world.opens("p", 3600)
    world.clicks("p", (3610, 0), (3640, 1), (3675, 2))
    world.opens("q", 3600)
    world.clicks("q", (3605, 0), (3606, 1))
    assert world.machines() == {}


@pytest.mark.parametrize("links", [1, 2, 5])
@pytest.mark.parametrize("opened", [10, 20, 59])
def test_who_opens_at_once_and_clicks_one_link_is_a_person(world: World, links: int, opened: int) -> None:
    world.sent()
    world.links(links)
    world.opens("p", opened)
    world.clicks("p", (opened + 4, 0))
    world.opens("q", opened)
    assert world.machines() == {}


def test_an_open_within_seconds_is_a_proxys_unless_something_follows(world: World) -> None:
    world.sent()
    world.opens("proxy", 3)
    world.opens("returns", 3, 5000)
    world.opens("clicks", 5)
    world.clicks("clicks", (300, 0))
    world.opens("late", 10)
    assert world.machines() == {"proxy": [("open", 3, "privacy_proxy")]}


def test_a_proxy_is_known_by_its_other_opens(world: World) -> None:
    for number in range(3):
        world.sent(str(number), number * 86_400)
        world.opens("proxy", number * 86_400 + (3, 4, 1500)[number], message=str(number))
        world.opens("person", number * 86_400 + 1500, message=str(number))
    world.clicks("person", (500_000, 0), message="2")
    assert world.machines() == {"proxy": [("open", at, "privacy_proxy") for at in (3, 86_404, 2 * 86_400 + 1500)]}


def test_a_proxy_is_known_by_fetching_everything_in_the_first_hour(world: World) -> None:
    for number in range(10):
        world.sent(str(number), number * 86_400)
        for contact, every in (("proxy", 1), ("sometimes", 2), ("clicks", 1)):
            if number % every == 0:
                world.opens(contact, number * 86_400 + 100 + 300 * number, message=str(number))
    world.clicks("clicks", (9 * 86_400 + 9000, 0), message="9")
    assert {contact: len(did) for contact, did in world.machines().items()} == {"proxy": 10}


def test_a_click_before_anything_could_be_read(world: World) -> None:
    world.sent()
    world.sent("1", 90_000)
    world.links(2)
    world.clicks("early", (-2, 0))
    world.opens("prompt", 1, 900)
    world.clicks("prompt", (5, 0))
    world.opens("person", 2, 900)
    world.clicks("person", (6, 0))
    world.opens("at the second send", 80_000, 90_002)
    world.clicks("at the second send", (90_003, 0))
    assert world.machines() == {
        "early": [("click", -2, "before_delivery")],
        "prompt": [("click", 5, "before_delivery")],
    }


def test_a_burst_over_a_domain_but_not_an_office(world: World) -> None:
    world.sent()
    for number in range(12):
        for company in ("gateway", "office", "small"):
            world.person(f"{company}{number}", f"{company}.example")
        world.person(f"apart{number}", f"apart{number}.example")
        world.opens(f"gateway{number}", 3600 + number % 2)
        world.opens(f"office{number}", 3600 + number * 5, 4000 + number * 5 % 17)
        world.opens(f"apart{number}", 3600)
    for number in range(3):
        world.opens(f"small{number}", 3600)
    found = world.machines()
    assert found == {f"gateway{number}": [("open", 3600 + number % 2, "burst")] for number in range(12)}


def test_a_known_scanner_is_found_where_there_is_one_link(world: World) -> None:
    for number in range(2):
        world.sent(str(number), number * 86_400)
    world.links(4, message="0")
    world.links(1, message="1")
    world.clicks("s", (40, 0), (40, 1), (41, 2), (41, 3), message="0")
    world.clicks("s", (88_000, 0), message="1")
    world.clicks("p", (88_000, 0), message="1")
    assert world.machines() == {
        "s": sorted([("click", at, "scanner") for at in (40, 40, 41, 41)] + [("click", 88_000, "scanner")])
    }


def test_the_same_lines_have_the_same_label(world: World) -> None:
    world.sent()
    for _ in range(2):
        world.opens("proxy", 3)
    world.connection.execute(
        "INSERT INTO raw_activity (message_id, contact_id, event_type) VALUES ('1', 'x', 'bounce')"
    )
    assert world.machines() == {}


def stored(connection: duckdb.DuckDBPyConnection, made: Crowd) -> None:
    columns = zip(*((a.message_id, a.contact_id, a.event_type, a.at, a.url, a.machine) for a in made.acts), strict=True)
    names = ("message_id", "contact_id", "event_type", "seconds", "event_url", "truth")
    connection.register("acts", pa.table(dict(zip(names, map(pa.array, columns), strict=True))))
    connection.execute("""
        CREATE TABLE true_labels AS SELECT * EXCLUDE (seconds), make_timestamp(seconds * 1000000) AS event_time,
            row_number() OVER (PARTITION BY message_id, contact_id, event_type, seconds, event_url) - 1 AS ordinal
        FROM acts
    """)
    connection.execute("""
        INSERT INTO raw_activity SELECT message_id, contact_id, event_type, event_time, event_url, ordinal,
            event_time, event_time::DATE FROM true_labels
    """)
    sends = [(message, at) for message, at in made.released.items() if at is not None]
    for name, values in (("addresses", made.addresses.items()), ("sends", sends)):
        first, second = (pa.array(column) for column in zip(*values, strict=True))
        connection.register(name, pa.table({"id": first, "value": second}))
    connection.execute("INSERT INTO raw_contacts (id, email, observed_at) SELECT id, value, now() FROM addresses")
    connection.execute("""
        INSERT INTO raw_sends (send_id, message_id, released_at, observed_at)
        SELECT id, id, make_timestamp(value * 1000000), now() FROM sends
    """)


TRUTH = """
    SELECT truth, machine, count(*) FROM labelled_activity
    JOIN true_labels ON true_labels.message_id = labelled_activity.message_id
        AND true_labels.contact_id = labelled_activity.contact_id
        AND true_labels.event_type = labelled_activity.event_type
        AND true_labels.event_time = labelled_activity.event_time
        AND true_labels.event_url IS NOT DISTINCT FROM labelled_activity.event_url
        AND true_labels.ordinal = labelled_activity.ordinal
    GROUP BY ALL
"""


@pytest.mark.parametrize("seed", range(100, 105))
def test_precision_and_recall_on_seeds_that_were_not_looked_at(seed: int) -> None:
    made = crowd(seed)
    with database() as connection:
        stored(connection, made)
        judged = connection.execute(TRUTH).fetchall()
    assert sum(count for _, _, count in judged) == len(made.acts)
    right = sum(count for truth, machine, count in judged if truth and machine)
    wrong = sum(count for truth, machine, count in judged if machine and not truth)
    missed = sum(count for truth, machine, count in judged if truth and not machine)
    assert right / (right + wrong) >= 0.95
    assert right / (right + missed) >= 0.8


def hashes(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, ...]]:
    """Ordered hash of every Lytics field, and of the raw rows."""
    tables = {
        "icontact_users": "ic_contact_id",
        "icontact_activity": "ic_contact_id",
        "icontact_profiles": "ic_contact_id",
    }
    return [
        connection.execute(
            f"SELECT '{table}', md5(string_agg(t::VARCHAR ORDER BY {key})), count(*) FROM {table} t"
        ).fetchall()[0]
        for table, key in {**tables, "raw_activity": "t::VARCHAR"}.items()
    ]


def test_the_lytics_fields_are_the_same_with_labels_and_without() -> None:
    def computed(label: Callable[[duckdb.DuckDBPyConnection], object]) -> list[tuple[str, ...]]:
        with database() as connection:
            stored(connection, crowd(21))
            label(connection)
            build_users(connection)
            build_activity(connection)
            build_profiles(connection)
            label(connection)
            return hashes(connection)

    labels = []

    def machines(connection: duckdb.DuckDBPyConnection) -> None:
        labels.append(connection.execute("FROM labelled_activity WHERE machine IS NOT NULL ORDER BY ALL").fetchall())

    without = computed(lambda connection: connection.execute("DROP VIEW IF EXISTS labelled_activity"))
    assert computed(machines) == without
    first, again = labels
    assert first == again
    assert len(first) > 100
