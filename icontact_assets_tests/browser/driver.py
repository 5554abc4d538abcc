"""The steps that a user takes in the Dagster UI. Each ends when the page shows what it waits for."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from playwright.sync_api import Page, expect, sync_playwright

from icontact_assets_tests.browser import CHROMIUM
from icontact_assets_tests.dev import wait_for

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
_PAUSE_SECONDS = 1.5
_DONE_SECONDS = 240
"""How long a run may take."""

_WITHOUT_TRACES = """
for (const part of document.querySelectorAll("*")) {
  const text = part.textContent;
  if (part.children.length === 0 && text.includes("Stack Trace:")) part.textContent = text.split("Stack Trace:")[0];
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

        wait_for(answers, _DONE_SECONDS)

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
        """Open the page of a run when it has a status, and see that it says so."""
        run = path.removeprefix("runs/")
        self._wait(f'{{ runOrError(runId: "{run}") {{ ... on Run {{ status }} }} }}', f'"{status.upper()}"')
        page = self.show(path)
        expect(page.get_by_text(status, exact=True).first).to_be_visible()
        return page

    def wait_for_backfill(self, path: str) -> None:
        """Open the page of a backfill when it succeeded, and see that it says so: it has the word as a column, too."""
        backfill = path.removeprefix("runs/b/")
        query = f'{{ partitionBackfillOrError(backfillId: "{backfill}") {{ ... on PartitionBackfill {{ status }} }} }}'
        self._wait(query, '"COMPLETED_SUCCESS"')
        expect(self.show(path).get_by_text("Succeeded", exact=True)).to_have_count(2)

    def wait_for_materialization(self, path: str) -> None:
        """Wait until an asset was materialized."""
        keys = ", ".join(f'"{part}"' for part in path.removeprefix("assets/").split("/"))
        materialized = "... on AssetNode { assetMaterializations(limit: 1) { runId } }"
        self._wait(f"{{ assetNodeOrError(assetKey: {{path: [{keys}]}}) {{ {materialized} }} }}", '"runId"')

    def wait_for_asset(self, path: str) -> Page:
        """Open the page of an asset when it was materialized, and see that it says so."""
        self.wait_for_materialization(path)
        page = self.show(path)
        run = page.locator("a[href^='/runs/']").filter(has_text=re.compile("ago|now"))
        expect(run.first).to_be_visible()
        return page

    def _wait(self, query: str, answer: str) -> None:
        """Ask the webserver until it answers so. The page is empty meanwhile: one that watches costs much."""
        self._page.goto("about:blank")

        def answered() -> bool:
            time.sleep(_PAUSE_SECONDS)
            said = requests.post(f"{self._url}/graphql", json={"query": query}, timeout=60)
            assert "errors" not in said.json(), said.text
            return answer in said.text

        wait_for(answered, _DONE_SECONDS)

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
