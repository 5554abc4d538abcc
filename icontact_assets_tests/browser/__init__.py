"""The Dagster UI as a user sees it: a real browser against a real `dagster dev`."""

import shutil

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
