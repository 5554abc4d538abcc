"""People and machines who got the same mailings, and which of them did what: a labelled set. No HTTP, no folder."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Machine = Literal["scanner", "gateway", "proxy", "late_proxy"]
"""`gateway`: the scanner of a whole domain. `late_proxy`: a proxy that opens long after the delivery."""

Kind = Literal["ordinary", "eager", "office", "blind"]
"""`office`: opens with the others of its domain. `blind`: loads no images, so that no open is seen."""

Filter = Literal["scanner", "gateway", "proxy"]

MINUTE, HOUR = 60, 3600
_BEGIN = 1_780_300_800
"""The release of the first mailing, Unix time."""
_APART = 86_400 * 2
_MAIL_HOSTS = ("gmail.com", "yahoo.com", "outlook.com", "icloud.com", "aol.com", "gmx.net")


@dataclass(frozen=True, slots=True)
class Act:
    """An open or a click. `machine` is the truth: who did it, None for a person. `at` is Unix time."""

    message_id: str
    contact_id: str
    event_type: Literal["open", "click"]
    at: int
    url: str | None
    machine: Machine | None


@dataclass(frozen=True)
class Crowd:
    """Who got which mailing when, and what they did."""

    addresses: dict[str, str]
    """Address by contact id."""
    released: dict[str, int | None]
    """Release by message id, Unix time. None: the send is not known."""
    acts: tuple[Act, ...]


def crowd(seed: int) -> Crowd:
    """A crowd. The same seed gives the same one. Mixes, sizes, delays and links differ from seed to seed."""
    return _Crowd(random.Random(seed)).make()


@dataclass(frozen=True, slots=True)
class _Person:
    id: str
    kind: Kind
    machine: Filter | None
    """What stands before the person's mailbox."""
    domain: str


class _Crowd:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.people: list[_Person] = []
        self.addresses: dict[str, str] = {}
        self.acts: list[Act] = []
        # How the machines of this crowd are.
        self.scans_open = chance.uniform(0.2, 1.0)
        self.scan_wait = chance.choice([5, 15, 30])
        self.scan_gap = chance.choice([0.3, 1.0, 2.0])
        self.scan_share = chance.choice([1.0, 1.0, 0.8])
        self.proxy_wait = chance.choice([3, 5, 8])
        self.late_share = chance.uniform(0.0, 0.12)

    def make(self) -> Crowd:
        chance = self.chance
        self._private(chance.randint(150, 500))
        for number in range(chance.randint(6, 20)):
            self._company(f"company{number}.example", chance.choice([3, 5, 8, 15, 40]))
        released: dict[str, int | None] = {}
        for number in range(chance.randint(4, 12)):
            message_id = str(310_001 + number)
            at = _BEGIN + number * _APART + chance.randint(0, 4 * HOUR)
            released[message_id] = None if chance.random() < 0.08 else at
            self._mailing(message_id, at)
        self.acts.sort(key=lambda act: act.at)
        return Crowd(self.addresses, released, tuple(self.acts))

    def _add(
        self,
        kind: Kind,
        machine: Filter | None,
        domain: str,
    ) -> None:
        id_ = str(90_000_001 + len(self.people))
        self.people.append(_Person(id_, kind, machine, domain))
        self.addresses[id_] = f"person{id_}@{domain}"

    def _private(self, count: int) -> None:
        chance = self.chance
        scanners, proxies, eager = chance.uniform(0.01, 0.06), chance.uniform(0.05, 0.4), chance.uniform(0.03, 0.15)
        for number in range(count):
            domain = chance.choice(_MAIL_HOSTS) if chance.random() < 0.8 else f"own{number}.example"
            kind: Kind = "ordinary"
            if chance.random() < eager:
                kind = "eager"
            elif chance.random() < 0.1:
                kind = "blind"
            machine: Filter | None = None
            if chance.random() < scanners:
                machine = "scanner"
            elif chance.random() < proxies:
                machine = "proxy"
                domain = "icloud.com" if chance.random() < 0.4 else domain
            self._add(kind, machine, domain)

    def _company(self, domain: str, size: int) -> None:
        behind_gateway = self.chance.random() < 0.4
        for _ in range(size):
            kinds: list[Kind] = ["office", "eager", "ordinary"]
            kind = self.chance.choices(kinds, [0.6, 0.1, 0.3])[0]
            self._add(kind, "gateway" if behind_gateway else None, domain)

    def _mailing(self, message_id: str, released: int) -> None:
        chance = self.chance
        count = chance.choice([1, 1, 2, 3, 4, 6, 9, 14])
        links = [f"https://example.com/{message_id}/{number}?utm_source=mail" for number in range(count)]
        popularity = [1 / (number + 1) for number in range(count)]
        spread = chance.choice([5, 5, 60, HOUR])
        # A gateway takes the mails of its domain at once, where the service hands them over at once.
        at_once = {person.domain: released + chance.uniform(0, spread) + 1 for person in self.people}
        meeting = {person.domain: released + chance.uniform(5 * MINUTE, 5 * HOUR) for person in self.people}
        batches = chance.random() < 0.5
        slow_gateway = {domain: chance.random() < 0.5 for domain in at_once}
        for person in self.people:
            if chance.random() < 0.1:
                continue
            arrives = released + chance.uniform(0, spread) + chance.expovariate(1 / 2)
            if chance.random() < 0.03:
                arrives += chance.uniform(5 * MINUTE, 20 * MINUTE)
            if person.machine == "gateway":
                # Some look at a mail after the other, some at all that they took together.
                arrives = at_once[person.domain] + (chance.uniform(0, 40) if slow_gateway[person.domain] else 0)
                scans = at_once[person.domain] + 2 if not slow_gateway[person.domain] else arrives
                self._scan(person, "gateway", message_id, links, scans)
            elif person.machine == "scanner" and chance.random() < 0.9:
                self._scan(person, "scanner", message_id, links, arrives + chance.uniform(1, self.scan_wait))
                if chance.random() < 0.15:
                    self._scan(person, "scanner", message_id, links, arrives + chance.uniform(5 * MINUTE, 6 * HOUR))
            elif person.machine == "proxy":
                if chance.random() < self.late_share:
                    self._act(
                        person, message_id, "open", arrives + chance.uniform(MINUTE, 8 * HOUR), None, "late_proxy"
                    )
                else:
                    wait = 1 if batches else chance.uniform(1, self.proxy_wait)
                    self._act(person, message_id, "open", arrives + wait, None, "proxy")
            self._reads(person, message_id, links, popularity, arrives, meeting[person.domain])

    def _scan(self, person: _Person, who: Machine, message_id: str, links: list[str], at: float) -> None:
        chance = self.chance
        if chance.random() < self.scans_open:
            self._act(person, message_id, "open", at + chance.uniform(-0.5, 2), None, who)
        if who == "gateway" and chance.random() < 0.1:
            return
        chosen = [link for link in links if chance.random() < self.scan_share] or links[:1]
        chance.shuffle(chosen)
        for link in chosen:
            self._act(person, message_id, "click", at, link, who)
            at += chance.expovariate(1 / self.scan_gap)

    def _reads(
        self,
        person: _Person,
        message_id: str,
        links: list[str],
        popularity: list[float],
        arrives: float,
        meeting: float,
    ) -> None:
        chance = self.chance
        for opened in self._opens(person, arrives, meeting):
            # The service sees no second open where a proxy keeps the pictures.
            if person.kind != "blind" and person.machine != "proxy":
                self._act(person, message_id, "open", opened, None, None)
            if chance.random() > (0.5 if person.kind == "eager" else 0.15):
                continue
            at = opened + 3 + chance.expovariate(1 / 25)
            many = chance.choices([1, 2, 3, len(links)], [0.8, 0.12, 0.05, 0.03])[0]
            for link in chance.choices(links, popularity, k=many):
                self._act(person, message_id, "click", at, link, None)
                at += 2 + chance.expovariate(1 / 15)

    def _opens(self, person: _Person, arrives: float, meeting: float) -> Iterator[float]:
        chance = self.chance
        if chance.random() < (0.8 if person.machine == "proxy" else 0.5) and person.kind != "eager":
            return
        if person.kind == "eager":
            first = arrives + 8 + chance.expovariate(1 / 20)
        elif person.kind == "office" and chance.random() < 0.5:
            first = max(meeting + chance.uniform(0, 2 * MINUTE), arrives + MINUTE)
        else:
            first = arrives + chance.lognormvariate(8.5, 1.6)
        yield first
        if chance.random() < 0.2:
            yield first + chance.expovariate(1 / HOUR)

    def _act(
        self,
        person: _Person,
        message_id: str,
        event_type: Literal["open", "click"],
        at: float,
        url: str | None,
        machine: Machine | None,
    ) -> None:
        self.acts.append(Act(message_id, person.id, event_type, int(at), url, machine))
