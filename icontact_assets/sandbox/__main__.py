"""`python -m icontact_assets.sandbox`: a sandbox from the command line. Prints one line when it listens."""

from __future__ import annotations

import argparse
import os
import sys
import threading

from icontact_assets.sandbox.control import State
from icontact_assets.sandbox.seed import Plan
from icontact_assets.sandbox.server import serve
from icontact_assets.sandbox.switches import Switches
from icontact_assets.sandbox.times import instant_of


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m icontact_assets.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=8310, help="0 takes a free one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--contacts", type=int, default=2000)
    parser.add_argument("--messages", type=int, default=40)
    parser.add_argument("--days", type=int, default=90, help="how far the history reaches back")
    parser.add_argument("--now", type=instant_of, help="ISO 8601; default is real time")
    parser.add_argument(
        "--frozen",
        action=argparse.BooleanOptionalAction,
        help="the clock stands still until it is moved; default with --now",
    )
    parser.add_argument(
        "--switch", action="append", default=[], metavar="NAME=VALUE", help="see docs/sandbox.md; may be repeated"
    )
    parser.add_argument("--with-parent", action="store_true", help="ends when standard input is closed")
    given = parser.parse_args()
    switches = Switches.model_validate(dict(pair.partition("=")[::2] for pair in given.switch))
    if given.with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    plan = Plan(given.seed, given.contacts, given.messages, given.days)
    state = State(plan, switches, given.now, frozen=given.now is not None if given.frozen is None else given.frozen)
    serve(state, given.port, lambda url: print(f"ready {url}", flush=True))


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
