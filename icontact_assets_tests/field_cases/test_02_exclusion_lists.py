"""A suppression list in the spellings that people write: who is on it is never planned, or the export stops."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner, Result

from icontact_assets.audiences.audience import compute
from icontact_assets.cli import app
from icontact_assets.exports.consent import Suppressed
from icontact_assets.exports.suppression import SuppressionError, read_suppression_list
from icontact_assets.mapping.build import build_activity, build_users
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import Suppression
from icontact_assets.warehouse.file import DatabaseFile
from icontact_assets.warehouse.warehouse import Warehouse

DATA = Path(__file__).parent / "data" / "02-exclusion-lists"
ANN, BOB, FINE = "90000801", "90000802", "90000803"
BY_DOMAIN = {"domain-as-address.csv", "domain-leading-dot.csv", "domain-trailing-slash.csv"}
TWO_IN_A_CELL = {"two-in-a-cell.csv", "two-in-a-cell-comma.csv"}
FILES = sorted(path.name for path in DATA.glob("*.csv"))
CONTACTS = json.loads((DATA / "contacts.json").read_text())


@pytest.fixture(scope="module")
def home(shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the settings of the case, and an audience of its three contacts."""
    shared_sandbox.control("reset")
    shared_sandbox.control("lists/add", name="Target")
    for contact in CONTACTS:
        shared_sandbox.control("contacts/add", **contact)
    home = tmp_path_factory.mktemp("exclusion-lists")
    shutil.copy(DATA / "icontact.yaml", home)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in shared_sandbox.environment().items():
            patch.setenv(name, value)
        patch.setenv("ICONTACT_ASSETS_HOME", str(home / "home"))
        patch.chdir(home)
        settings = load_settings()
        warehouse = Warehouse(DatabaseFile(settings.duckdb_path), "icontact")
        with warehouse.write("test") as connection:
            build_users(connection)
            build_activity(connection)
            for contact in CONTACTS:
                connection.execute(
                    "INSERT INTO icontact.icontact_users (ic_contact_id, email) VALUES (?, ?)",
                    [str(contact["contact_id"]), contact["email"]],
                )
        compute(warehouse, settings.audience("everybody"), now=datetime.now(UTC), missing=None)
        yield home


def plan(home: Path, never: str | bytes) -> Result:
    (home / "never.csv").write_bytes(never if isinstance(never, bytes) else never.encode())
    done = CliRunner().invoke(app, ["plan", "everybody", "--json"])
    assert "@" not in done.stdout + done.stderr
    return done


def test_every_file_of_the_case_is_here():
    assert len(FILES) == 12
    assert {*BY_DOMAIN, *TWO_IN_A_CELL} < set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_read_as_it_is_meant(name):
    with duckdb.connect() as connection:
        if name in TWO_IN_A_CELL:
            with pytest.raises(SuppressionError, match=f"{name}:2: email is not exactly one address"):
                read_suppression_list(Suppression(file=DATA / name), connection)
            return
        never = read_suppression_list(Suppression(file=DATA / name), connection)
    found = {
        str(contact["contact_id"]): never.match(str(contact["contact_id"]), contact["email"]) for contact in CONTACTS
    }
    by = Suppressed.CONTACT_ID if name.startswith("contact-id") else Suppressed.EMAIL
    expected = {BOB: Suppressed.DOMAIN} if name in BY_DOMAIN else {ANN: by}
    assert found == {ANN: Suppressed.NOT_LISTED, BOB: Suppressed.NOT_LISTED, FINE: Suppressed.NOT_LISTED} | expected


@pytest.mark.parametrize("name", ["bom-in-a-line.csv", "domain-as-address.csv", "two-in-a-cell.csv"])
def test_who_is_on_the_list_is_never_planned_or_the_export_stops(home, name):
    done = plan(home, (DATA / name).read_bytes())
    if name in TWO_IN_A_CELL:
        assert done.exit_code == 1
        assert "never.csv:2: email is not exactly one address" in done.stderr
        return
    assert done.exit_code == 0, done.stderr
    shown = json.loads(done.stdout)
    assert set(shown["add_ids"]) == ({ANN, FINE} if name in BY_DOMAIN else {BOB, FINE})
    by = "domain" if name in BY_DOMAIN else "address"
    assert shown["skipped"] == {f"on the suppression list (by {by})": 1}


@pytest.mark.parametrize(
    ("never", "says"),
    [
        ("ann@shop.example\nbob@corp.example\n", "never.csv:1 does not fit"),
        ("email;domain\nann@shop.example;\n", "never.csv:1 does not fit"),
        ("email\ncorp.example\n", "never.csv:2: email is not"),
        ("email,domain\n,fine.example\n,bob@corp.example\n", "never.csv:3: domain is not"),
        ("contact_id\n90 000 801\n", "never.csv:2: contact_id is not"),
        (b"email\nr\xe9n\xe9@shop.example\n", "never.csv:2: the line is not text in UTF-8"),
    ],
)
def test_what_is_not_taken_stops_the_export_and_shows_no_address(home, never, says):
    done = plan(home, never)
    assert (done.exit_code, done.stdout) == (1, "")
    assert says in done.stderr
    assert "Nobody is added without it." in done.stderr
