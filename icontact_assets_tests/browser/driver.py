"""The steps that a user takes in the Dagster UI. Each ends when the page shows what it waits for."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from playwright.sync_api import Locator, Page, expect, sync_playwright

from icontact_assets_tests.dev import wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_SHOWN_MS = 30_000
"""How long a page may take to show what is there already."""
_SETTLED_MS = 3_000
_DONE_MS = 240_000
"""How long a run may take."""

_WITHOUT_TRACES = """
for (const part of document.querySelectorAll("*")) {
  if (part.children.length === 0 && /^(Stack Trace:|\\s*File ")/.test(part.textContent)) part.style.visibility = "hidden";
}
"""


@contextmanager
def browser_page() -> Iterator[Page]:
    """A page of headless Chromium, 1440 by 900."""
    assert CHROMIUM is not None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(_SHOWN_MS)
            expect.set_options(timeout=_SHOWN_MS)
            yield page
        finally:
            browser.close()


class DagsterUi:
    """The UI at `url`. Pictures go to `pictures`, named by what they show."""

    def __init__(self, page: Page, url: str, pictures: Path) -> None:
        self._page = page
        self._url = url
        self._pictures = pictures

    def picture(self, name: str) -> None:
        """Keep what the page shows now, but for stack traces: they name folders of this machine."""
        self._pictures.mkdir(parents=True, exist_ok=True)
        self._page.evaluate(_WITHOUT_TRACES)
        self._page.screenshot(path=self._pictures / f"{name}.png", animations="disabled")

    def wait_until_served(self) -> None:
        """Wait until the webserver answers."""

        def answers() -> bool:
            try:
                return requests.get(f"{self._url}/server_info", timeout=5).ok
            except requests.ConnectionError:
                return False

        wait_for(answers, _DONE_MS / 1000)

    def show(self, path: str) -> Page:
        """Open a page."""
        self._page.goto(f"{self._url}/{path}")
        return self._page

    def materialize(self, path: str, choice: str) -> str:
        """Press Materialize on a page, choose partitions ("Latest", "All"), and launch. Returns the run's or the
        backfill's page."""
        page = self.show(path)
        page.get_by_role("button", name="Materialize").first.click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name=choice, exact=True).click()
        launch = dialog.get_by_role("button", name=re.compile("^Launch"))
        expect(launch).to_be_enabled()
        self.picture("launch")
        launch.click()
        launched = page.locator("a[href^='/runs/']").filter(has_text=re.compile("^View$"))
        return str(launched.get_attribute("href")).strip("/")

    def wait_for_run(self, path: str, status: str) -> Page:
        """Watch the page of a run until it shows a status."""
        page = self.show(path)
        expect(page.get_by_text(status, exact=True).first).to_be_visible(timeout=_DONE_MS)
        return page

    def wait_for_backfill(self, path: str) -> None:
        """Watch the page of a backfill until it succeeded. The word stands there twice then: it is a column, too."""
        expect(self.show(path).get_by_text("Succeeded", exact=True)).to_have_count(2, timeout=_DONE_MS)

    def show_until(self, path: str, part: Callable[[Page], Locator]) -> Page:
        """Open a page, again and again, until it shows a part: what a page shows of a run may be of a moment ago."""

        def shown() -> bool:
            page = self.show(path)
            page.wait_for_timeout(_SETTLED_MS)
            return part(page).first.is_visible()

        wait_for(shown, _DONE_MS / 1000)
        return self._page

    def wait_for_asset(self, path: str) -> Page:
        """Watch an asset's page until it was materialized."""
        page = self.show(path)
        materialized = page.locator("a[href^='/runs/']").filter(has_text=re.compile("ago|now"))
        expect(materialized.first).to_be_visible(timeout=_DONE_MS)
        return page

    def switch_on(self, sensor: str) -> None:
        """Switch a sensor on in the list of automations."""
        page = self.show("automation")
        link = page.get_by_role("link", name=re.compile(rf"\b{sensor}\b"))
        row = link.locator("xpath=ancestor::*[count(.//input[@type='checkbox'])=2][1]")
        switch = row.locator("input[type=checkbox]").last
        # The box itself is drawn over by its label.
        switch.locator("xpath=ancestor::label[1]").click()
        expect(switch).to_be_checked()
        self.picture("automation")


PICTURES = os.environ.get("ICONTACT_ASSETS_PICTURES")
"""Where the pictures of the docs are written, if they are wanted."""
