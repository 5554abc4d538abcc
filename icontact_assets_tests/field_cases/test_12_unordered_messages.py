"""More than one page of messages in an order that nobody promised: every message, because an order is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from icontact_assets.icontact.folder import Folder
from icontact_assets.ingest.window import Window
from icontact_assets.sandbox.process import Sandbox
from icontact_assets_tests.harness import Project, days_ago
from icontact_assets_tests.icontact.test_listing import Rows
from icontact_assets_tests.icontact.test_session import open_session

MESSAGES = 'key:"icontact/raw_messages"'
DAY = Window(days_ago(0), days_ago(0))


def shown(project: Project) -> list[tuple[str]]:
    return sorted((row["message_id"],) for row in project.sandbox.control("truth")["messages"] if row["visible"])


def stored(project: Project) -> list[tuple[str]]:
    return project.rows("SELECT message_id FROM icontact.raw_messages ORDER BY message_id")


def test_every_message_is_stored(project: Project) -> None:
    project.sandbox.control("reset", contacts=100, messages=120, days=60)
    project.sandbox.control("switches", listing_order="shuffled")
    assert project.quick().run(MESSAGES, DAY).success
    assert stored(project) == shown(project)
    assert len(stored(project)) > 100


@pytest.mark.parametrize(("orderby", "requests"), [("warn", 4), ("silent", 3), ("refuse", 6)])
def test_a_service_that_takes_no_order_is_read_in_its_own(
    sandbox: Sandbox, tmp_path: Path, orderby: str, requests: int
) -> None:
    sandbox.control("reset", contacts=100, messages=120, days=60)
    sandbox.control("switches", orderby=orderby)
    sink = Rows()
    Folder(open_session(sandbox, tmp_path), "1300001", "7601").messages(sink)
    shown = {row["message_id"] for row in sandbox.control("truth")["messages"] if row["visible"]}
    assert {row["messageId"] for row in sink.rows} == shown
    assert len(sink.rows) == len(shown) > 100
    assert len(sandbox.control("log")) == requests


def test_an_order_that_is_ignored_and_not_stable_stays_incomplete(project: Project) -> None:
    project.sandbox.control("reset", contacts=100, messages=120, days=60)
    project.sandbox.control("switches", listing_order="shuffled", orderby="silent")
    assert not project.quick().run(MESSAGES, DAY).success
    assert project.rows("SELECT reason FROM icontact.import_coverage WHERE resource = 'messages'")[0][0].startswith(
        "unstable order"
    )
