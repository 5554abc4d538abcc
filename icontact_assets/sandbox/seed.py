"""Invents a world from a seed: believable people, mailings and events, skewed like real mail."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from faker import Faker

from icontact_assets.sandbox.switches import Switches
from icontact_assets.sandbox.times import EASTERN, stamp
from icontact_assets.sandbox.world import (
    NEVER,
    ActivityLog,
    Clock,
    Contact,
    Folder,
    Kind,
    Longs,
    MailingList,
    Message,
    Plain,
    Send,
    Subscription,
    World,
)

HOUR, DAY = 3600, 86_400
FIRST_CONTACT, FIRST_MESSAGE, FIRST_SEND, FIRST_LIST, FIRST_CAMPAIGN = 90_000_001, 310_001, 978_001, 5001, 2401
AIDS = ("4101", "4102", "4103")
FREE_MAIL = ("gmail.com", "yahoo.com", "outlook.com", "icloud.com", "aol.com")
FOLDERS = ((7601, "Example Widgets"), (7602, "Example Gadgets"))

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Plan:
    """How large a world is: what exists at the start in the main folder. The other one holds a fifth of it."""

    seed: int = 1
    contacts: int = 2000
    messages: int = 40
    days: int = 90
    ahead: int = 21
    """Days beyond the start that are invented too."""


def build(plan: Plan, clock: Clock, switches: Switches) -> World:
    """The world of a plan: its history up to the clock's present and some weeks beyond. Same arguments, same world."""
    folders = {}
    for number, (folder_id, name) in enumerate(FOLDERS):
        share = 1 if number == 0 else 5
        contacts = -(-plan.contacts // share) if plan.contacts else 0
        messages = -(-plan.messages // share) if plan.messages else 0
        share_of_plan = replace(plan, seed=plan.seed * 1000 + number, contacts=contacts, messages=messages)
        folders[folder_id] = _Maker(share_of_plan, Folder(folder_id, name), clock.now()).make()
    return World(plan.seed, clock, folders, switches, itertools.count())


@dataclass(frozen=True)
class _Words:
    """Made-up names, in the order in which they are drawn from."""

    firsts: list[str]
    lasts: list[str]
    domains: list[str]
    companies: list[str]
    cities: list[tuple[str, str, str, str]]
    """City, state, postal code, street."""
    phrases: list[str]
    site: str
    pages: list[str]


@lru_cache(maxsize=16)
def _words(seed: int) -> _Words:
    """The words of a seed. Kept, because to make them takes longer than to make a small world of them."""
    fake = Faker(["en_US", "fr_FR", "de_DE"])
    fake.seed_instance(seed)
    english = fake["en_US"]
    return _Words(
        firsts=sorted({fake.first_name() for _ in range(160)}),
        lasts=sorted({fake.last_name() for _ in range(240)}),
        domains=[*FREE_MAIL, *sorted({english.domain_name() for _ in range(60)})],
        companies=sorted({english.company() for _ in range(60)}),
        cities=[
            (english.city(), english.state_abbr(), english.postcode(), english.street_address()) for _ in range(80)
        ],
        phrases=[english.catch_phrase() for _ in range(80)],
        site=english.domain_name(),
        pages=[f"/{english.uri_path()}/{english.slug()}" for _ in range(60)],
    )


class _Maker:
    """Fills one folder."""

    def __init__(self, plan: Plan, folder: Folder, now: int) -> None:
        self.random = np.random.default_rng(plan.seed)
        self.folder, self.days, self.ahead, self.now = folder, plan.days, plan.ahead, now
        self.contact_count, self.message_count = plan.contacts, plan.messages
        self.start = now - plan.days * DAY
        self.words = _words(plan.seed)

    def make(self) -> Folder:
        self._small_resources()
        if self.contact_count:
            self._contacts()
        if self.message_count:
            self._messages()
        self._subscriptions()
        return self.folder

    def _small_resources(self) -> None:
        folder = self.folder
        for number, (name, public) in enumerate(
            [
                ("Customers", "Customer news"),
                ("Prospects", ""),
                ("Newsletter", "The monthly letter"),
                ("Export target", ""),
            ]
        ):
            list_id = FIRST_LIST + number
            folder.lists[list_id] = MailingList(list_id, name, public, "Trade fair leads" if number == 1 else "")
        for number, name in enumerate([f"{folder.name} news", f"{folder.name} offers"]):
            key = FIRST_CAMPAIGN + number
            folder.campaigns[key] = Plain(
                key,
                {
                    "campaignId": key, "name": name, "fromName": "Dana Owner", "fromEmail": "news@example.com",
                    "forwardToFriend": 0, "subscriptionManagement": 1, "clickTrackMode": 1, "useAccountAddress": 0,
                    "archiveByDefault": 0, "description": "", "street": "", "city": "", "state": "", "zip": "",
                    "country": "",
                },
            )  # fmt: skip
        for name, public, kind in [
            ("crm_id", "CRM id", "text"), ("tier", "Tier", "text"), ("birthday", "Birthday", "date"),
            ("score", "Score", "number"),
        ]:  # fmt: skip
            folder.customfields[name] = Plain(
                name,
                {
                    "customFieldId": name, "privateName": name, "publicName": public,
                    "displayToUser": "1" if name == "tier" else "0", "fieldType": kind,
                },
            )  # fmt: skip
        folder.segments[880_001] = Plain(
            880_001,
            {"segmentId": 880_001, "listId": FIRST_LIST, "name": "Clickers", "description": "Clicked something"},
            [{"criterionId": 0, "fieldName": "messageClicks", "operator": "eq", "values": [str(FIRST_MESSAGE)]}],
        )

    def _contacts(self) -> None:
        """People, how eager each is, and on which lists. One id in fifty is missing: those contacts are gone."""
        random, count = self.random, self.contact_count
        ahead = max(1, count * self.ahead // (40 * max(self.days, 21)))
        total = count + ahead
        ids = FIRST_CONTACT + np.arange(int(total * 1.02) + 1, dtype=np.int64)
        keep = np.ones(len(ids), np.bool_)
        keep[random.choice(np.arange(1, len(ids)), len(ids) - total, replace=False)] = False
        self.gone: Longs = ids[~keep]
        self.ids: Longs = ids[keep]
        created = self.start - DAY + np.sort(random.random(count) ** 0.7) * (self.now - self.start + DAY - 60)
        later = self.now + 60 + np.sort(random.random(ahead)) * self.ahead * DAY
        self.created: Longs = np.concatenate([created, later]).astype(np.int64)
        self.eager = np.clip(random.lognormal(-1.6, 0.9, total), 0.0, 0.97)
        self.frail = random.random(total) < 0.02

        first = random.integers(0, len(self.words.firsts), total).tolist()
        last = random.integers(0, len(self.words.lasts), total).tolist()
        domain = np.minimum(random.zipf(1.5, total) - 1, len(self.words.domains) - 1).tolist()
        city = random.integers(0, len(self.words.cities), total).tolist()
        company = random.integers(0, len(self.words.companies), total).tolist()
        dice = random.random((total, 8)).tolist()
        statuses = random.choice(
            ["normal", "bounced", "donotcontact", "pending", "invitable", "deleted"],
            total,
            p=[0.915, 0.015, 0.02, 0.02, 0.01, 0.02],
        ).tolist()
        seen: dict[str, int] = {}
        for at in range(total):
            roll = dice[at]
            local = f"{self.words.firsts[first[at]]}.{self.words.lasts[last[at]]}".lower()
            local = "".join(_PLAIN.get(letter, letter) for letter in local if letter not in " '")
            address = f"{local}@{self.words.domains[domain[at]]}"
            seen[address] = seen.get(address, 0) + 1
            if seen[address] > 1:
                address = address.replace("@", f"{seen[address]}@")
            if roll[0] < 0.03:
                address = address.title()
            fields: dict[str, str | None] = {"email": address}
            if roll[1] < 0.85:
                fields["firstName"], fields["lastName"] = self.words.firsts[first[at]], self.words.lasts[last[at]]
            elif roll[1] < 0.9:
                fields["firstName"], fields["lastName"] = self.words.firsts[first[at]], ""
            if roll[2] < 0.4:
                town, state, code, street = self.words.cities[city[at]]
                fields |= {"street": street, "city": town, "state": state, "postalCode": code}
            if roll[3] < 0.15:
                fields["business"] = self.words.companies[company[at]]
            if roll[3] < 0.08:
                fields["phone"] = f"({200 + at % 700}) 555-{at % 10_000:04}"
            if roll[4] < 0.04:
                fields |= {"prefix": "Dr.", "suffix": "Jr." if roll[4] < 0.01 else ""}
            custom: dict[str, str | None] = {}
            if roll[5] < 0.6:
                custom["crm_id"] = f"CRM-{at:06}"
                custom["tier"] = ("gold", "silver", "bronze", "")[int(roll[6] * 4)]
            if roll[5] < 0.2:
                custom["birthday"] = f"{1950 + int(roll[6] * 50)}-{1 + int(roll[7] * 12):02}-{1 + at % 28:02}"
                custom["score"] = str(int(roll[7] * 100))
            status = statuses[at]
            bounces = 3 if status == "bounced" else 0 if roll[7] < 0.3 else None
            contact_id = int(self.ids[at])
            self.folder.put_contact(Contact(contact_id, int(self.created[at]), fields, status, bounces, custom))

        lists = len(self.folder.lists)
        self.member: Bools = random.random((total, lists)) < np.array([0.6, 0.3, 0.5, 0.02])
        self.member[random.random(total) < 0.05] = False
        self.left: Longs = np.full((total, lists), NEVER, np.int64)
        self.bounced_at: Longs = np.full(total, NEVER, np.int64)
        self.mailable: Bools = ~np.isin(np.array(statuses), ["pending", "invitable"])
        self.strikes = np.zeros(total, np.int64)

    def _messages(self) -> None:
        """Mailings over the history and beyond. One in ten is never sent, two are old confirmations."""
        random, count = self.random, self.message_count
        ahead = max(1, count * self.ahead // max(self.days, 1) // 2)
        old = min(2, count - 1) if count > 3 else 0
        times = np.concatenate(
            [
                self.start
                + (np.arange(count - old) + random.random(count - old) * 0.8) / (count - old) * (self.now - self.start),
                self.now + 2 * HOUR + (np.arange(ahead) + random.random(ahead)) / ahead * self.ahead * DAY,
            ]
        )
        for number in range(old):
            message_id = FIRST_MESSAGE + number
            self._message(message_id, self.start - DAY + number * HOUR, "confirmation")
            self._confirmations(message_id)
        for number, at in enumerate(times.astype(np.int64).tolist()):
            message_id = FIRST_MESSAGE + old + number
            released = at if at > self.now - 6 * HOUR else min(_working_hour(at), self.now)
            fate = random.random()
            created = min(released, self.now) if number < count - old else self.now + (released - self.now) // 2
            self._message(message_id, created - int(random.integers(HOUR // 2, 2 * DAY)), "normal")
            if fate < 0.1 and count > 3:
                continue
            self._send(message_id, released, cancelled=fate > 0.98 and count > 3, automation=0.1 < fate < 0.13)

    def _message(self, message_id: int, created: int, kind: str) -> None:
        random = self.random
        phrase = self.words.phrases[int(random.integers(len(self.words.phrases)))]
        subject = "Please confirm your subscription" if kind == "confirmation" else phrase
        links = [self.link(message_id) for _ in range(int(random.integers(4, 12)))]
        tag = ""
        fate = random.random()
        if fate < 0.5:
            tag = f"<!-- lytics-aid:{AIDS[int(random.integers(len(AIDS)))]} -->"
        elif fate < 0.55:
            tag = "".join(f"<!-- lytics-aid:{aid} -->" for aid in AIDS[:2])
        elif fate < 0.6:
            tag = f"<!-- lytics-aid:{AIDS[0]}0 -->"
        paragraphs = "".join(
            f"<p>{self.words.phrases[int(random.integers(len(self.words.phrases)))]}. "
            f'<a href="{link.replace("&", "&amp;")}">Read on</a></p>'
            for link in links
        )
        self.folder.messages[message_id] = Message(
            message_id,
            created,
            subject,
            f"<html><head><title>{subject}</title></head><body>{tag}<h1>Hello [fname]!</h1>{paragraphs}</body></html>",
            f"Hello [fname]! {phrase}. {links[0]}",
            ""
            if random.random() < 0.1
            else f"{stamp(created)[:10]} {'confirmation' if kind == 'confirmation' else 'mailing'}",
            kind,
            None if kind == "confirmation" else FIRST_CAMPAIGN + int(random.random() < 0.3),
            None,
            [("0.7", "HTML_IMAGE_RATIO"), ("0.5", "MISSING_PREVIEW")] if random.random() < 0.3 else [],
        )
        self.links = [self.folder.link_number(link) for link in dict.fromkeys(links)]

    def link(self, message_id: int) -> str:
        """A link of a mailing: mostly tagged pages of the own site, some with fragments, odd case, or another host."""
        page = self.words.pages[int(self.random.integers(len(self.words.pages)))]
        form = self.random.random()
        if form < 0.6:
            return f"https://www.{self.words.site}{page}?utm_source=icontact&utm_medium=email&utm_campaign={message_id}"
        if form < 0.75:
            return f"https://www.{self.words.site}{page}"
        if form < 0.85:
            return f"http://WWW.{self.words.site.title()}{page}/?ref=mail#offer"
        return f"https://shop.{self.words.site}/p/{int(self.random.integers(1000))}?q=caf%C3%A9&page=2"

    def _send(self, message_id: int, released: int, *, cancelled: bool, automation: bool) -> None:
        random, folder = self.random, self.folder
        chosen = [0] if random.random() < 0.4 else sorted({int(part) for part in random.integers(0, 3, 2)})
        scheduled = released - int(random.integers(20, 240))
        recipients: Longs = np.empty(0, np.int64)
        if self.contact_count and not cancelled:
            on = (self.member[:, chosen] & (self.left[:, chosen] > released)).any(axis=1)
            on &= (self.created < released) & (self.bounced_at > released) & self.mailable
            recipients = np.flatnonzero(on).astype(np.int64)
        send_id = folder.new_id("sends", FIRST_SEND)
        folder.sends[send_id] = Send(
            send_id,
            message_id,
            max(folder.messages[message_id].created, min(scheduled - HOUR, self.now - 1))
            if released > self.now
            else scheduled,
            scheduled,
            NEVER if cancelled else released,
            len(recipients),
            ",".join(str(FIRST_LIST + number) for number in chosen),
            "",
            "880001" if random.random() < 0.05 else "",
            cancelled=cancelled,
            automation=automation,
        )
        if len(recipients):
            self._events(message_id, released, recipients, chosen)

    def _events(self, message_id: int, released: int, people: Longs, lists: list[int]) -> None:
        """What the recipients of one mailing did."""
        random = self.random
        bounced = random.random(len(people)) < np.where(self.frail[people], 0.5, 0.004)
        losers = people[bounced]
        bounce_at = released + (random.exponential(1.0, len(losers)) * HOUR).astype(np.int64) + 30
        self.strikes[losers] += np.where(random.random(len(losers)) < 0.3, 3, 1)
        out = losers[self.strikes[losers] >= 3]
        self.bounced_at[out] = np.minimum(self.bounced_at[out], released + DAY)
        # A third of the bounces is reported hours after it happened.
        bounce_seen = bounce_at + np.where(
            random.random(len(losers)) < 0.33, random.integers(HOUR, 8 * HOUR, len(losers)), 0
        )
        self._log(message_id, "bounces", self.ids[losers], bounce_at, bounce_seen)

        readers = people[~bounced]
        charm = 0.6 + random.random() * 0.9
        openers = readers[random.random(len(readers)) < np.clip(self.eager[readers] * charm, 0, 0.97)]
        times = (
            random.geometric(np.clip(1 - self.eager[openers] * 0.8, 0.2, 1.0))
            if len(openers)
            else np.empty(0, np.int64)
        )
        opens = np.repeat(openers, times)
        open_at = released + 20 + self._delay(len(opens))

        clicking = random.random(len(opens)) < 0.13 * charm
        clickers, base = opens[clicking], open_at[clicking]
        again = random.geometric(0.6, len(clickers)) if len(clickers) else np.empty(0, np.int64)
        clicks, click_at = np.repeat(clickers, again), np.repeat(base, again)
        click_at = click_at + (random.exponential(40.0, len(clicks))).astype(np.int64) + 2
        popular = np.minimum(random.zipf(1.7, len(clicks)) - 1, len(self.links) - 1)
        link = np.array(self.links, np.int32)[popular]
        same = random.random(len(clicks)) < 0.03
        clicks, click_at, link = (np.concatenate([column, column[same]]) for column in (clicks, click_at, link))
        twice = random.random(len(opens)) < 0.01
        opens, open_at = np.concatenate([opens, opens[twice]]), np.concatenate([open_at, open_at[twice]])
        self._log(message_id, "opens", self._with_gone(opens), open_at, open_at)
        self._log(message_id, "clicks", self._with_gone(clicks), click_at, click_at, link)

        leaving = openers[random.random(len(openers)) < 0.006]
        left_at = released + HOUR + self._delay(len(leaving))
        rows, row_times = [], []
        for person, at in zip(leaving.tolist(), left_at.tolist(), strict=True):
            for number in lists:
                if self.member[person, number] and self.left[person, number] > at:
                    self.left[person, number] = at
                    rows.append(int(self.ids[person]))
                    row_times.append(at)
        when = np.array(row_times, np.int64)
        self._log(message_id, "unsubscribes", np.array(rows, np.int64), when, when)

    def _delay(self, count: int) -> Longs:
        """Seconds after the release: half within five hours, nine in ten within two days, a tail of two months."""
        hours = self.random.lognormal(np.log(5), 1.6, count)
        return (np.minimum(hours, 60 * 24) * HOUR).astype(np.int64)

    def _with_gone(self, people: Longs) -> Longs:
        """Contact ids of people. One row in two hundred belongs to someone who no longer exists."""
        ids = self.ids[people]
        if len(self.gone):
            lost = self.random.random(len(ids)) < 0.005
            ids[lost] = self.random.choice(self.gone, int(lost.sum()))
        return ids

    def _log(self, message_id: int, kind: Kind, contact: Longs, at: Longs, seen: Longs, link: Any = None) -> None:
        order = np.argsort(at, kind="stable")
        column = np.full(len(at), -1, np.int32) if link is None else link
        self.folder.activity[message_id, kind] = ActivityLog(contact[order], at[order], seen[order], column[order])

    def _confirmations(self, message_id: int) -> None:
        """Opens and clicks of an old confirmation message, scattered over the history. It has no send."""
        if not self.contact_count:
            return
        random = self.random
        count = min(len(self.ids), 40)
        people = self.ids[random.integers(0, count, count)]
        at = np.sort(random.integers(self.start, self.now, count)).astype(np.int64)
        self._log(message_id, "opens", people, at, at)
        chosen = random.random(count) < 0.5
        link = np.full(int(chosen.sum()), self.links[0], np.int32)
        self._log(message_id, "clicks", people[chosen], at[chosen] + 20, at[chosen] + 20, link)

    def _subscriptions(self) -> None:
        if not self.contact_count:
            return
        folder, random = self.folder, self.random
        for position, contact_id in enumerate(self.ids.tolist()):
            row = folder.contacts[contact_id]
            row.bounced_at = int(self.bounced_at[position])
            if row.bounced_at != NEVER and row.status == "normal":
                row.bounce_count = 3
        early = random.random(self.member.shape) < 0.02
        for position, number in np.argwhere(self.member).tolist():
            contact = folder.contacts[int(self.ids[position])]
            status = "pending" if contact.status == "pending" else "normal"
            if early[position, number] and self.left[position, number] == NEVER:
                self.left[position, number] = contact.created + 3 * DAY
            folder.put_subscription(
                Subscription(
                    FIRST_LIST + number, contact.id, status, contact.created + 5, int(self.left[position, number])
                )
            )
        folder.version = 0


def _working_hour(at: int) -> int:
    """The same day, between eight and eighteen o'clock Eastern."""
    local = datetime.fromtimestamp(at, EASTERN)
    return int(local.replace(hour=8 + local.minute % 10).timestamp())


_PLAIN = dict(zip("àâäáãåçéèêëíìîïñóòôöõúùûüýÿß", "aaaaaaceeeeiiiinooooouuuuyys", strict=True))
