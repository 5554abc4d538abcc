"""How long a new user waits, from a clone to a mapped table in the UI: `python -m benchmarks.first_hour`.

Needs Chromium. With `--uv` the environment is made by uv, which must be on the PATH. Without it uv is hidden.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from icontact_assets.terminal import say
from icontact_assets_tests.browser.driver import DagsterUi, browser_page
from icontact_assets_tests.dev import free_port

_CHECKOUT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uv", action="store_true", help="make the environment with uv")
    with_uv = parser.parse_args().uv
    uv = shutil.which("uv")
    if with_uv and uv is None:
        parser.error("uv is not on the PATH")
    folders = os.environ["PATH"].split(os.pathsep)
    seen = folders if with_uv else [folder for folder in folders if not (Path(folder) / "uv").exists()]
    environment = {**os.environ, "PATH": os.pathsep.join(seen)}
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        began = time.monotonic()

        def passed(step: str) -> None:
            say(f"{time.monotonic() - began:6.1f} s  {step}")

        subprocess.run(["git", "clone", "--quiet", str(_CHECKOUT), str(clone)], check=True)
        passed("cloned")
        subprocess.run(["make", "--silent", ".venv/.installed"], cwd=clone, env=environment, check=True)
        passed(f"installed with {'uv' if with_uv else 'pip'}")
        ui = subprocess.Popen(["make", "--silent", "ui", f"PORT={port}"], cwd=clone, env=environment, process_group=0)
        try:
            with browser_page() as page:
                shown = DagsterUi(page, f"http://127.0.0.1:{port}", Path(folder) / "pictures")
                shown.wait_until_served()
                passed("the UI answers, behind the demo")
                shown.wait_for_asset("assets/icontact/icontact_profiles")
                passed("the page of icontact_profiles shows a materialization")
        finally:
            os.killpg(ui.pid, signal.SIGINT)
            ui.wait()


if __name__ == "__main__":
    main()
