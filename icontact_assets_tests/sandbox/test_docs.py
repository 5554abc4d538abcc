"""docs/sandbox.md: its examples run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from icontact_assets.sandbox.process import Sandbox

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_every_control_path_is_named(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="known") as refused:
        sandbox.control("nothing")
    for path in str(refused.value).partition("known: ")[2].split(", "):
        assert f"`{path}`" in PAGE


def test_examples_run(sandbox: Sandbox) -> None:
    (start, curls), (plans,), (code,) = blocks("sh"), blocks("json"), blocks("python")
    assert start.startswith("icontact-assets sandbox ")
    for line in curls.splitlines():
        words = shlex.split(line)
        sandbox.control(words[2].partition("/_control/")[2], **json.loads(words[4]))
    sandbox.control("faults", faults=[json.loads(line) for line in plans.splitlines()])
    found: dict[str, Any] = {}
    exec(code, found)
    assert found["environment"]["ICONTACT_BASE_URL"].endswith("/icp")
