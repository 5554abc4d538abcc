"""`icontact-assets sandbox`: a sandbox from the command line. Says when it listens, and how to speak to it."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from pydantic import ValidationError

from icontact_assets.sandbox.control import State
from icontact_assets.sandbox.kept import Kept, KeptError
from icontact_assets.sandbox.like import LikeError, Likeness, read_profile
from icontact_assets.sandbox.replay import Recording, RecordingError, Replay
from icontact_assets.sandbox.seed import DAY, Plan
from icontact_assets.sandbox.server import Application, PortTaken, serve
from icontact_assets.sandbox.service import variables
from icontact_assets.sandbox.switches import Switches
from icontact_assets.sandbox.times import instant_of, utc_text


def main() -> None:
    parser = arguments()
    given = parser.parse_args()
    if given.state is not None and (given.now is not None or given.frozen):
        parser.error("--state: a kept world goes on at real time, so leave out --now and --frozen")
    if given.replay is not None and (given.state or given.like or given.switch or given.now or given.frozen):
        parser.error("--replay: a recording has answers of its own, so leave out --state, --like, --switch and --now")
    if given.with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        if given.replay is not None:
            _replay(given.replay, given.port)
        else:
            application = Application(state_of(given))
            serve(application, given.port, lambda url: _announce(url, {} if given.with_parent else variables(url)))
    except (KeptError, PortTaken, RecordingError) as error:
        _warn(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def arguments() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(prog="icontact-assets sandbox", description=__doc__)
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
        "--state",
        type=Path,
        metavar="FILE",
        help="keep the world in this file. If it is there, its world goes on at real time",
    )
    parser.add_argument(
        "--like",
        type=_profile,
        metavar="FILE",
        help="set the switches as `icontact-assets probe --profile FILE` found an account; --switch has precedence",
    )
    parser.add_argument(
        "--switch",
        type=_switch,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="see docs/sandbox.md; may be repeated",
    )
    parser.add_argument(
        "--replay", type=Path, metavar="FOLDER", help="answer from a recording, which ICONTACT_ASSETS_RECORD made"
    )
    parser.add_argument("--with-parent", action="store_true", help="ends when standard input is closed")
    return parser


def _replay(folder: Path, port: int) -> None:
    recording = Recording(folder)
    replay = Replay(recording, say=_warn)
    _warn(recording.described())
    try:
        serve(replay, port, lambda url: _announce(url, {**variables(url), **recording.variables()}))
    finally:
        _warn(replay.summary())


def state_of(given: argparse.Namespace) -> State:
    """The sandbox that the arguments ask for. Raises KeptError."""
    plan, chosen = Plan(given.seed, given.contacts, given.messages, given.days), dict(given.switch)
    if given.like is not None:
        _say_unlike(given.like, chosen)
        chosen = {**given.like.switches, **chosen}
    switches = Switches(**chosen)
    if given.state is None:
        frozen = given.now is not None if given.frozen is None else given.frozen
        return State(plan, switches, given.now, frozen=frozen)
    kept = Kept(given.state, plan, int(time.time()))
    world, end = kept.plan, kept.began + kept.plan.ahead * DAY
    if not given.with_parent and replace(world, ahead=plan.ahead) != plan:
        _warn(
            f"{given.state} holds a world of --seed {world.seed} --contacts {world.contacts} --messages "
            f"{world.messages} --days {world.days}, which goes on."
        )
    state = State(plan, switches, kept=kept)
    if state.world.clock.now() > end:
        _warn(f"Nothing new happens in this world since {utc_text(end)}. Remove {given.state} to begin another.")
    return state


def _switch(text: str) -> tuple[str, str]:
    """A switch as it is written. Raises ArgumentTypeError, which names what is allowed."""
    name, _, value = text.partition("=")
    if name not in Switches.model_fields:
        near, known = get_close_matches(name, Switches.model_fields), ", ".join(sorted(Switches.model_fields))
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are {known}."
        raise argparse.ArgumentTypeError(f"there is no switch {name!r}. {hint}")
    try:
        Switches.model_validate({name: value})
    except ValidationError as error:
        raise argparse.ArgumentTypeError(
            f"{name}={value}: {error.errors()[0]['msg'].replace('Input should be', 'expected')}"
        ) from error
    return name, value


def _profile(text: str) -> Likeness:
    try:
        return read_profile(Path(text))
    except LikeError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _say_unlike(like: Likeness, chosen: Mapping[str, str]) -> None:
    """Say what the sandbox does not do as the account did, but for the switches that were chosen by hand."""
    unseen = [key for key in like.unseen if key not in chosen]
    unlike = [f"{key}={answer}" for key, answer in like.unlike.items() if key not in chosen]
    _warn(f"{len(like.switches.keys() - chosen.keys())} switches are set as the profile says.")
    if unlike:
        _warn(f"No switch answers as the account did: {', '.join(unlike)}.")
    if unseen:
        _warn(f"The probe had nothing to see these on, so they keep their default: {', '.join(unseen)}.")


def _announce(url: str, environment: Mapping[str, str]) -> None:
    print(f"ready {url}", flush=True)
    if environment:
        lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
        print("Set this where icontact-assets or Dagster runs. Ctrl-C ends the sandbox.", *lines, sep="\n", flush=True)


def _warn(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
