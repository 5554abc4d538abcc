"""A profile holds names of fields and shapes of values, and nothing that anybody wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from icontact_assets.icontact.looking import Exchange
from icontact_assets.probe.asking import Place, look
from icontact_assets.probe.client import Client
from icontact_assets.probe.people import DOCUMENTED
from icontact_assets.probe.profile import ProfileError, profile, shape, write_profile
from icontact_assets.probe.report import findings
from icontact_assets.probe.sight import Sight
from icontact_assets.sandbox.process import Sandbox
from icontact_assets_tests.probe.played import PLACE, Sights

MADE = datetime(1999, 1, 1, tzinfo=UTC)

# No word of ours is made of these letters alone.
LETTERS = st.text("BDFGHJKQVWXZbdfghjkqvwxzßøñ", min_size=5, max_size=16)
DIGITS = st.text("0123456789", min_size=5, max_size=12)
NAMES = st.builds("{} {}".format, LETTERS, LETTERS)
ADDRESSES = st.builds("{}@{}.com".format, LETTERS, LETTERS)
LINKS = st.builds("https://{}.com/{}?id={}".format, LETTERS, LETTERS, DIGITS)
PLANTED = st.fixed_dictionaries(
    {"name": NAMES, "address": ADDRESSES, "id": DIGITS, "link": LINKS, "secret": st.builds("{}-{}".format, LETTERS, DIGITS), "subject": st.builds("{}, {}!".format, NAMES, DIGITS)}
)  # fmt: skip


def text(sight: Sight) -> str:
    return json.dumps(profile(sight, findings(sight), MADE, "1.0"), ensure_ascii=False)


def pieces(planted: str) -> set[str]:
    """What of a planted text would give it away: each part of five characters and more, however it is written."""
    parts = {planted, *planted.replace("@", " ").replace("/", " ").replace(".", " ").replace("=", " ").split()}
    return {form for part in parts if len(part) >= 5 for form in (part, part.lower(), json.dumps(part)[1:-1])}


class Planted:
    """A service whose every field holds one of the planted texts, in keys too."""

    def __init__(self, planted: Mapping[str, str]) -> None:
        self.values: Iterator[str] = cycle(planted.values())
        self.planted = planted
        self.count = 0

    def get(self, path: str, params: Mapping[str, str | int]) -> Exchange:
        last = path.rpartition("/")[2]
        key = {"a": "accounts", "c": "clientfolders", "statistics": "statistics"}.get(last, last)
        rows = [self.row(key) for _ in range(2)]
        body: dict[str, Any] = {key: rows, "total": len(rows), next(self.values): next(self.values)}
        if key not in DOCUMENTED:
            body = {"contact": rows[0], "errors": [next(self.values)]}
        body["warnings"] = [f"About {next(self.values)}"]
        texts = (next(self.values),)
        headers = {"x-request": next(self.values), self.planted["id"]: "1", "set-cookie": self.planted["secret"]}
        return Exchange(200, headers, body, True, 2000, 0.1, (), texts)

    def row(self, key: str) -> dict[str, Any]:
        self.count += 1
        row: dict[str, Any] = {name: next(self.values) for name in DOCUMENTED.get(key, ("contactId", "status"))}
        row |= {name: self.planted["id"] for name in row if name.endswith("Id") and self.count % 2}
        # Data as keys, and values inside of values.
        if self.count % 2:
            row[next(self.values)] = next(self.values)
        row["details"] = {next(self.values): [next(self.values), {next(self.values): int(self.planted["id"])}]}
        row["spamCheck"] = {"rawScore": next(self.values), self.planted["name"]: 1}
        return row


@settings(max_examples=6, deadline=None, phases=[Phase.generate])
@given(PLANTED)
def test_nothing_that_is_planted_is_in_the_file(planted: dict[str, str]) -> None:
    service, sight = Planted(planted), Sight()
    look(Client(service.get), Place("1", "2"), sight, service.get)
    written = text(sight)
    assert '"email"' in written
    for what, value in planted.items():
        for piece in pieces(value):
            assert piece not in written, (what, piece)


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for part in value.values():
            yield from leaves(part)
    elif isinstance(value, list):
        for part in value:
            yield from leaves(part)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def test_nothing_that_an_account_holds_is_in_the_file(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.control("reset", contacts=120, messages=8, days=20)
    sight = Sights(sandbox, tmp_path).probe()
    written = text(sight)
    words = {"normal", "deleted", "bounced", "pending", "unsubscribed", "confirmation", "released", "Street"}
    resources = ("contacts", "messages", "sends", "subscriptions", "opens", "clicks", "bounces", "unsubscribes")
    held = {leaf for resource in resources for leaf in leaves(sight.rows_of(resource))}
    held |= {word for row in sight.rows_of("contacts") for leaf in leaves(row) for word in leaf.split()}
    assert len(held) > 500
    shown = {leaf for leaf in held if len(leaf) >= 5 and leaf in written} - words
    assert shown == set(), shown
    assert "sandbox-pass" not in written


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("2026-09-14T09:20:00-04:00", "9999-99-99a99:99:99-99:99"),
        ("ada@example.com", "a{2-4}@a{5-12}.a{2-4}"),
        ("90000001", "9{5-8}"),
        ("Zoë  É", "a{2-4} +a"),
        ("x" * 201, "of more than 200 characters"),
        ("\x00\ud800😀", "?+"),
        ("a1" * 60, "a9" * 12 + "..."),
    ],
)
def test_shapes(value: str, form: str) -> None:
    assert shape(value) == form


def test_names_of_fields_stay_and_keys_that_are_data_do_not() -> None:
    rows = [
        {"contactId": "1", "crm_id": "x", f"{90000001 + n}": 1, f"ada{n}@example.com": 1, f"Ada{n}": 1}
        for n in range(6)
    ]
    sight = Sight(
        {"contacts": Exchange(200, {"x-page": "1", "ada@example.com": "2"}, {"contacts": rows}, True, 10, 0.1, (), ())},
        keys={"contacts": "contacts"},
    )
    found = profile(sight, [], MADE, "1.0")
    assert found["headers"] == ["a{2-4}@a{5-12}.a{2-4}", "x-page"]
    assert list(found["shapes"]["contacts"]) == ["9{5-8}", "a{2-4}9", "a{2-4}9@a{5-12}.a{2-4}", "contactId", "crm_id"]


def test_a_file_that_cannot_be_written_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="Name another file with --profile"):
        write_profile(tmp_path, {})


def test_a_profile_knows_the_account_of_the_place_no_more(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.control("reset", contacts=5, messages=1, days=2)
    written = text(Sights(sandbox, tmp_path).probe())
    assert PLACE.account_id not in written
    assert PLACE.client_folder_id not in written
