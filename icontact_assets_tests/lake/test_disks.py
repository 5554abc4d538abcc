"""What a worker's disk holds is needed by no run on another worker."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from icontact_assets.ingest.window import Window
from icontact_assets_tests.harness import ALL_RAW, Project, days_ago

YESTERDAY = Window(days_ago(1), days_ago(1))


def test_a_worker_with_an_empty_disk_goes_on_where_one_stopped_whose_disk_is_gone(
    project: Project, variables: dict[str, str], tmp_path: Path
) -> None:
    project.sandbox.control("reset", contacts=5, messages=0, days=2)
    # Before yesterday ended, whatever the hour is.
    released = (datetime.now(UTC) - timedelta(hours=30)).isoformat()
    project.sandbox.control("messages/add", message_id=330001, created=released, released=released)
    project.environment |= variables
    for home in ("first", "other"):
        project.environment["ICONTACT_ASSETS_HOME"] = str(tmp_path / home)
        assert project.quick().run(ALL_RAW, YESTERDAY).success
        # The other one finds all of it read.
        assert len([row for row in project.requests() if row["path"].endswith("/statistics")]) == 1
        assert len([row for row in project.requests() if row["path"].endswith("/contacts")]) == 1
        shutil.rmtree(tmp_path / home)
