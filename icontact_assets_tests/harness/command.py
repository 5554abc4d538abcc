"""A command line of the project, as its entry point runs it."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import signal
import sys
from importlib.metadata import entry_points

import pytest


def execute(command: str, typed: str = "") -> str:
    """What a command prints, on either stream, when `typed` is typed.

    It is executed in this process, since most of what a process costs is to import Dagster. What a `.env` adds to the
    environment is gone afterwards.
    """
    words = shlex.split(command)
    (script,) = entry_points(group="console_scripts", name=words[0])
    # A process of its own would load the settings of now.
    sys.modules.pop("icontact_assets.definitions", None)
    printed, on_signal = io.StringIO(), signal.getsignal(signal.SIGTERM)
    environment = dict(os.environ)
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        patch.setattr(sys, "argv", words)
        patch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as ended:
            script.load()()
    signal.signal(signal.SIGTERM, on_signal)
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
    assert not ended.value.code, f"{command}: {printed.getvalue()[-2000:]}"
    return printed.getvalue()
