"""How many rows a second go from the bytes of an answer through the proof of a listing into the staging file.

Run `python benchmarks/staging_speed.py [--pages 400] [--repeat 5]`; a page has 500 rows; the best repeat counts.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

from icontact_assets.icontact.by_key import read_by_key
from icontact_assets.icontact.listing import OVERLAP, Page, read_by_offset
from icontact_assets.ingest.rows import LISTING_READERS, activity_reader
from icontact_assets.ingest.staging import Listing, Staging

PAGE = 500


def contacts(pages: int) -> list[bytes]:
    """Contacts as lists show them: half of the fields null, custom fields in some rows."""
    dice = random.Random(1)

    def row(number: int) -> dict[str, Any]:
        names = ("firstName", "lastName", "prefix", "suffix", "fax", "phone", "street", "street2", "city", "state")
        made: dict[str, Any] = {name: "Some text" if dice.random() < 0.5 else None for name in names}
        made |= {"email": f"person.{number}@example.com", "postalCode": "27560", "status": "normal"}
        made |= {"createDate": "2026-05-04 18:31:07", "bounceCount": None, "contactId": str(90_000_000 + number)}
        if dice.random() < 0.3:
            made |= {"crm_id": f"CRM-{number}", "tier": "gold"}
        return made

    return [orjson.dumps([row(page * PAGE + number) for number in range(PAGE)]) for page in range(pages)]


def opens(pages: int) -> list[bytes]:
    """Opens; each page repeats the end of the one before, as pages by offset are asked for."""

    def row(number: int) -> dict[str, Any]:
        clock = f"{9 + number // 3600 % 12:02}:{number // 60 % 60:02}:{number % 60:02}"
        return {"contactId": str(90_000_000 + number * 7 % 65_536), "openTime": f"2026-09-14T{clock}-04:00"}

    step = PAGE - OVERLAP
    return [orjson.dumps([row(page * step + number) for number in range(PAGE)]) for page in range(pages)]


def read_contacts(staging: Staging, pages: list[bytes]) -> int:
    sink, _ = staging.open(Listing("contacts"), LISTING_READERS["contacts"])
    waiting, left = iter(pages), len(pages)

    def fetch(_after: str, _limit: int) -> Page:
        nonlocal left
        left -= 1
        return Page(orjson.loads(next(waiting)), (left + 1) * PAGE)

    proof = read_by_key(fetch, lambda: None, sink, id_key="contactId", page_size=PAGE)
    sink.prove(proof)
    return proof.total


def read_opens(staging: Staging, pages: list[bytes]) -> int:
    sink, _ = staging.open(Listing("activity", "310001", "opens"), activity_reader("opens"))
    total = len(pages) * (PAGE - OVERLAP) + OVERLAP

    def fetch(offset: int, _limit: int) -> Page:
        return Page(orjson.loads(pages[offset // (PAGE - OVERLAP)]), total)

    proof = read_by_offset(fetch, sink, page_size=PAGE)
    sink.prove(proof)
    return proof.total


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pages", type=int, default=400)
    arguments.add_argument("--repeat", type=int, default=5)
    given = arguments.parse_args()
    for what, make, read in (("contacts", contacts, read_contacts), ("opens", opens, read_opens)):
        pages = make(given.pages)
        speeds = []
        for _ in range(given.repeat):
            with tempfile.TemporaryDirectory() as folder, Staging(Path(folder) / "staging") as staging:
                began = time.perf_counter()
                rows = read(staging, pages)
                speeds.append(rows / (time.perf_counter() - began))
        print(f"{what:10} {rows:>9,} rows {max(speeds):>10,.0f} rows a second")


if __name__ == "__main__":
    main()
