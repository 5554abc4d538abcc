"""The first hour of a new user, in a real browser, on an empty database: needs Chromium, else it is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from icontact_assets.resources import report_path
from icontact_assets.sandbox.process import Sandbox
from icontact_assets_tests.browser import CHROMIUM
from icontact_assets_tests.dev import Dev
from icontact_assets_tests.harness import Project, days_ago

if CHROMIUM is None:
    # Before the packages are imported that drive it: that takes longer than most tests.
    pytest.skip("needs Chromium: the package chromium of Debian", allow_module_level=True)

playwright = pytest.importorskip("playwright.sync_api")
driver = pytest.importorskip("icontact_assets_tests.browser.driver")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

DAYS = 90
_AUDIENCE = """
audiences:
  - name: active_readers
    label: Active readers
    import: icontact
    where: last_active_ts IS NOT NULL
exports:
  - {name: active_readers, audience: active_readers, list: Export target, mode: add}
"""


def test_first_hour(tmp_path: Path) -> None:
    pictures = Path(driver.PICTURES) if driver.PICTURES else tmp_path / "pictures"
    with Sandbox(contacts=300, messages=12, days=DAYS) as sandbox:
        project = Project.in_folder(sandbox, tmp_path)
        project.environment["ICONTACT_START_DATE"] = days_ago(DAYS - 1).isoformat()
        project.config = _AUDIENCE
        assert project.settings.exports, "the file of settings is written"
        dev = Dev(tmp_path, project.environment)
        try:
            dev.start()
            with driver.browser_page() as page:
                ui = driver.DagsterUi(page, f"http://127.0.0.1:{dev.port}", pictures)
                _a_failed_run_says_what_to_do(ui, sandbox)
                _a_backfill_fills_every_day(ui, project)
                _what_is_mapped_follows(ui, project)
                _the_sensor_exports(ui, project)
                _the_report_can_be_read(ui, page, project, pictures)
        finally:
            dev.kill()


def _a_failed_run_says_what_to_do(ui: driver.DagsterUi, sandbox: Sandbox) -> None:
    refused = {"path": "/contacts$", "do": {"kind": "reply", "status": 401, "body": {"errors": ["Not authorized."]}}}
    sandbox.control("faults", faults=[refused])
    run = ui.materialize("assets/icontact/raw_contacts", "Latest")
    page = ui.wait_for_run(run, "Failure")
    driver.expect(page.get_by_text(re.compile("Enable the application")).first).to_be_visible()
    ui.picture("failed")
    sandbox.control("faults/clear")


def _a_backfill_fills_every_day(ui: driver.DagsterUi, project: Project) -> None:
    backfill = ui.materialize("locations/icontact_assets.definitions/asset-groups/icontact_raw/lineage", "All")
    ui.wait_for_backfill(backfill)
    counts = {
        str(day): count
        for day, count in project.rows("SELECT partition_date, count(*) FROM icontact.raw_activity GROUP BY ALL")
    }
    day = max(counts)
    page = ui.show(f"assets/icontact/raw_activity?view=partitions&partition={day}")
    row = page.get_by_role("row", name=re.compile(f"partition_row_count.* {counts[day]}\\b"))
    driver.expect(row).to_be_visible()
    driver.expect(page.get_by_text(f"Materialized ({DAYS})")).to_be_visible()
    ui.picture("partitions")


def _what_is_mapped_follows(ui: driver.DagsterUi, project: Project) -> None:
    for asset in ("icontact_users", "icontact_activity", "audience_active_readers"):
        ui.wait_for_materialization(f"assets/icontact/{asset}")
    page = ui.wait_for_asset("assets/icontact/icontact_profiles")
    page.get_by_text("preview", exact=True).first.click()
    ui.picture("profiles")


def _the_sensor_exports(ui: driver.DagsterUi, project: Project) -> None:
    members = {id_ for (id_,) in project.rows("SELECT contact_id FROM icontact.audience_members")}
    before = _listed(project)
    assert members - before, "the export has somebody to add"
    ui.switch_on("exports")
    page = ui.wait_for_asset("assets/icontact/export_active_readers")
    driver.expect(page.get_by_text("Export target").first).to_be_visible()
    ui.picture("export")
    page = ui.show("asset-groups")
    for group in ("source", "raw", "mapped", "audiences", "lists"):
        driver.expect(page.get_by_text(f"icontact_{group}").first).to_be_visible()
    ui.picture("graph")
    assert _listed(project) > before


def _the_report_can_be_read(ui: driver.DagsterUi, page: driver.Page, project: Project, pictures: Path) -> None:
    """By everybody, as far as axe finds out, in the light and in the dark, and on a phone."""
    ui.wait_for_asset("assets/icontact/report")
    page.goto(report_path(project.settings, project.settings.imports[0]).as_uri())
    for scheme, width in (("light", 1280), ("dark", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 860})
        found = axe.Axe().run(page).response["violations"]
        assert not [each for each in found if each["impact"] in ("serious", "critical")], found
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing is cut off at the side"
        if scheme == "light":
            page.screenshot(path=pictures / "report.png")


def _listed(project: Project) -> set[str]:
    """Contact ids on the target list, as the sandbox knows them."""
    truth = project.sandbox.control("truth")
    [list_id] = [row["list_id"] for row in truth["lists"] if row["name"] == "Export target"]
    return {
        row["contact_id"] for row in truth["subscriptions"] if row["list_id"] == list_id and row["status"] == "normal"
    }
