"""Every key of icontact.yaml, and every variable that stands for one, with text, values, default and example."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from icontact_assets.settings import values, written
from icontact_assets.settings.models import EveryImport, RequestLimits, Sharing
from icontact_assets.settings.values import meaning
from icontact_assets.settings.written import Written

EXAMPLE = Path(__file__).parents[2] / "icontact_assets" / "icontact.example.yaml"
KINDS = {
    values.Name: "a name",
    values.Owner: "an e-mail address, or `team:<name>`",
    values.Names: "a list of names",
    values.TimeZone: "a time zone",
    values.Day: "`YYYY-MM-DD`",
    written.Credential: "text, or `${VARIABLE}`",
    written.Password: "`${VARIABLE}`",
    written.Id: "an id, or `${VARIABLE}`",
}
HEAD = ("| Key | Meaning | Values | Default | Example |", "| --- | --- | --- | --- | --- |")
VARIABLES = {"ICONTACT_ASSETS_": Sharing, "ICONTACT_": EveryImport, "ICONTACT_REQUESTS_": RequestLimits}
"""The models that variables stand for, by what their names begin with."""
MOST = 1_000_000_000
"""The bound of what is bounded for computers only."""
PLAIN = {str: "text", int: "a whole number", float: "a number", Decimal: "a number", Path: "a path"}


def key(name: str, field: FieldInfo) -> str:
    """A field as it is written in the file."""
    return field.alias or name


def model_of(kind: Any) -> type[BaseModel] | None:
    """The model that a value, or each item of a list, is checked against. None if it is a plain value."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return next((found for part in get_args(kind) if (found := model_of(part))), None)


def again(model: type[BaseModel], kind: Any) -> bool:
    """Whether the items of a list have keys of the model that the list is in."""
    below = model_of(kind)
    return below is not None and issubclass(model, below)


def shown(value: object) -> str:
    """A value as it is written in the file."""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def kind_of(kind: Any, field: FieldInfo) -> str:
    """What a plain value may be, in words."""
    if kind in KINDS:
        return KINDS[kind]
    if get_origin(kind) is Annotated:
        return kind_of(get_args(kind)[0], field)
    if get_origin(kind) in (Union, UnionType):
        return kind_of(next(part for part in get_args(kind) if part is not NoneType), field)
    if get_origin(kind) is Literal:
        return ", ".join(shown(value) for value in get_args(kind))
    if get_origin(kind) is tuple:
        return f"a list, each {kind_of(get_args(kind)[0], field)}"
    if kind is bool:
        return "`true`, `false`"
    return PLAIN[kind] + bounds(field)


def bounds(field: FieldInfo) -> str:
    """The least and the greatest value, if there are any."""
    words = []
    for rule in field.metadata:
        match rule:
            case Ge(least):
                words.append(f"from {least}")
            case Gt(least):
                words.append(f"above {least}")
            case Le(most) if most != MOST:
                words.append(f"to {most:,}")
            case Lt(most):
                words.append(f"below {most}")
    return f" {' '.join(words)}" if words else ""


def default(field: FieldInfo) -> str:
    """The default, nothing where it is said in words or by other keys."""
    if field.is_required():
        return "required"
    unsaid = field.default is None or field.default in ("", ()) or isinstance(field.default, BaseModel | tuple)
    return "" if unsaid else shown(field.default)


def example(document: Any, path: tuple[str, ...]) -> str:
    """The first value of a key in the example, nothing if that is more than a value."""
    found = [document]
    for part in path:
        items = (item for value in found for item in (value if isinstance(value, list) else [value]))
        found = [item[part] for item in items if isinstance(item, dict) and part in item]
    if not found or isinstance(found[0], dict) or (isinstance(found[0], list) and not isinstance(found[0][0], str)):
        return ""
    return f"`[{', '.join(found[0])}]`" if isinstance(found[0], list) else f"`{found[0]}`"


def rows(model: type[BaseModel], path: tuple[str, ...], document: Any) -> Iterator[str]:
    hints = get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        written_as = key(name, field)
        place = (*path, written_as)
        below = model_of(hints[name]) and f"[keys](#{''.join(place)})"
        if again(model, hints[name]):
            below = "a list, each with any of these keys"
        cells = (
            meaning(model, name),
            below or kind_of(hints[name], field),
            default(field),
            example(document, place),
        )
        yield f"| `{written_as}` | {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def table(model: type[BaseModel], path: tuple[str, ...], document: Any) -> list[str]:
    """The keys of one model, and then those of the models in it."""
    lines = [*HEAD, *rows(model, path, document)]
    for name, field in model.model_fields.items():
        hint = get_type_hints(model, include_extras=True)[name]
        if (below := model_of(hint)) and not again(model, hint):
            place = (*path, key(name, field))
            lines += ["", f"#### `{'.'.join(place)}`", "", *table(below, place, document)]
    return lines


def section(name: str) -> Callable[[], list[str]]:
    """The keys of one section of the file."""

    def lines() -> list[str]:
        model = model_of(get_type_hints(Written, include_extras=True)[name])
        assert model is not None  # noqa: S101 -- for the type checker
        return table(model, (name,), _example())

    return lines


def sections() -> list[str]:
    """The sections of the file."""
    return [*HEAD, *rows(Written, (), _example())]


def variables() -> list[str]:
    """The variables that stand for settings of every import."""
    lines = ["| Variable | Meaning | Values | Default |", "| --- | --- | --- | --- |"]
    for prefix, model in VARIABLES.items():
        hints = get_type_hints(model, include_extras=True)
        for name, field in model.model_fields.items():
            variable = f"{prefix}{name.upper()}"
            text = meaning(model, name).replace(f" (`{variable}`)", "")
            lines.append(f"| `{variable}` | {text} | {kind_of(hints[name], field)} | {default(field)} |")
    return lines


def _example() -> Any:
    # Values as they are written.
    return yaml.load(EXAMPLE.read_text(), yaml.BaseLoader)  # noqa: S506


TABLES = {
    "variables": variables,
    "sections": sections,
    **{
        name: section(name)
        for name, hint in get_type_hints(Written, include_extras=True).items()
        if name in Written.model_fields and model_of(hint)
    },
}
"""What stands between which markers of docs/settings.md."""
