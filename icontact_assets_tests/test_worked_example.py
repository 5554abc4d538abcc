"""The vendor's worked example through the whole pipeline: over HTTP, into raw tables, mapped, twice."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from icontact_assets.ingest.window import Window
from icontact_assets_tests.harness import EVENTS, TODAY, Project, on_both, only
from icontact_assets_tests.mapping.test_build import profiles

EXAMPLE = json.loads((Path(__file__).parent / "mapping" / "data" / "lytics_vectors.json").read_text())["worked_example"]
API_NAMES = {
    "first_name": "firstName",
    "last_name": "lastName",
    "street_line_2": "street2",
    "postal_code": "postalCode",
}
OWN = ("id", "email", "status", "bounce_count", "create_date")


@on_both
def test_worked_example_over_http(project: Project) -> None:
    control = project.sandbox.control
    control("reset", contacts=0, messages=0, days=1)
    for contact in EXAMPLE["icontact_users"]:
        eastern = datetime.fromisoformat(contact["create_date"]).replace(tzinfo=ZoneInfo("America/New_York"))
        control(
            "contacts/add",
            contact_id=int(contact["id"]),
            email=contact["email"],
            status=contact["status"],
            bounce_count=int(contact["bounce_count"]) if contact["bounce_count"] else None,
            created=eastern.isoformat(),
            fields={API_NAMES.get(name, name): value for name, value in contact.items() if name not in OWN},
        )
    released = datetime(2026, 5, 1, 8, tzinfo=UTC).isoformat()
    control("messages/add", message_id=501, created=released, released=released)
    for event in EXAMPLE["icontact_activity"]:
        values = {"message_id": 501, "contact_id": int(event["contact_id"]), "at": event["ts"]}
        control("events/add", kind=event["event_type"] + "s", url=event.get("event_url"), **values)
    project.environment["ICONTACT_START_DATE"] = "2026-01-01"
    expected = {row["ic_contact_id"]: row for row in EXAMPLE["expected_profiles"]}
    for window in (Window(date(2026, 5, 1), date(2026, 5, 3)), Window(TODAY, TODAY)):
        assert project.quick().run(f"{only('contacts')} or {EVENTS}", window).success
        assert project.run('key:"icontact/icontact_*"').success
        with project.tables() as connection:
            found = {id_: row for id_, row in profiles(connection).items() if id_ in expected}
        assert found == expected
