"""Whatever the API turns out to do where its documentation is silent, the tables hold what it holds."""

from __future__ import annotations

from typing import Any

import pytest

from icontact_assets.ingest.window import Window
from icontact_assets_tests.harness import Project, days_ago
from icontact_assets_tests.ingest.faults.switches import SWITCHES

WINDOW = Window(days_ago(2), days_ago(1))


@pytest.mark.parametrize("reading", SWITCHES, ids=lambda reading: "-".join(f"{k}={v}" for k, v in reading.items()))
def test_rows_equal_the_truth(project: Project, reading: dict[str, Any]) -> None:
    project.sandbox.control("switches", **reading)
    assert project.run(window=WINDOW).success
    truth = project.sandbox.control("truth")
    listed = {row["contact_id"] for row in truth["contacts"] if row["visible"] and row["status"] != "deleted"}
    assert {id_ for (id_,) in project.rows("SELECT id FROM icontact.raw_contacts")} == listed
    assert {id_ for (id_,) in project.rows("SELECT message_id FROM icontact.raw_messages")} == {
        row["message_id"] for row in truth["messages"] if row["visible"]
    }
    assert project.stored_events() == project.true_events()
    assert project.rows("SELECT count(*) FROM icontact.quarantine") == [(0,)]
    assert project.rows("SELECT resource, field, kind FROM icontact.known_fields WHERE NOT accepted") == []
