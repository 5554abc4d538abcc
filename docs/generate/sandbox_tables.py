"""The tables of switches, faults and edits, for docs/sandbox.md."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from icontact_assets.sandbox.control import Control, State
from icontact_assets.sandbox.faults import Action, Fault
from icontact_assets.sandbox.seed import Plan
from icontact_assets.sandbox.switches import Switches


def values(field: FieldInfo) -> str:
    """What a switch may be."""
    kind: Any = field.annotation
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    return "`true`, `false`" if kind is bool else "a whole number"


def shown(field: FieldInfo) -> str:
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def switches() -> list[str]:
    lines = ["| Switch | Values | Default | Meaning |", "| --- | --- | --- | --- |"]
    for name, field in Switches.model_fields.items():
        lines.append(f"| `{name}` | {values(field)} | {shown(field)} | {field.description or ''} |")
    return lines


def settings(model: type[BaseModel], *, without: tuple[str, ...] = ()) -> str:
    """The fields of a model, those that must be given first."""
    fields = [(name, field) for name, field in model.model_fields.items() if name not in without]
    fields.sort(key=lambda item: not item[1].is_required())
    return ", ".join(f"**`{name}`**" if field.is_required() else f"`{name}`" for name, field in fields)


def counters() -> list[str]:
    lines = ["| Which requests | Meaning |", "| --- | --- |"]
    meanings = {"method": "GET, POST, PUT or DELETE", "do": "what happens: see below"}
    for name, field in Fault.model_fields.items():
        lines.append(f"| `{name}` | {field.description or meanings[name]} |")
    return lines


def actions() -> list[str]:
    lines = ["| `kind` | What happens | Its settings |", "| --- | --- | --- |"]
    for action in get_args(get_args(Action)[0]):
        kind = get_args(action.model_fields["kind"].annotation)[0]
        meaning = " ".join((action.__doc__ or "").split())
        lines.append(f"| `{kind}` | {meaning} | {settings(action, without=('kind',))} |")
    return lines


def edits() -> list[str]:
    lines = ["| Path | Its values |", "| --- | --- |"]
    known = Control(State(Plan(contacts=0, messages=0), Switches())).edits
    lines += [f"| `{path}` | {settings(model)} |" for path, (model, _) in known.items()]
    return lines


TABLES = {"switches": switches, "counters": counters, "actions": actions, "edits": edits}
