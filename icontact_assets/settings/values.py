"""What settings are made of: kinds of text with their rules, and what all models of settings have in common."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cache
from itertools import pairwise
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

MOST = 1_000_000_000
"""A number larger than any that a setting counts, and small enough for every database and clock."""

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
HASH = re.compile(r"[0-9a-f]{32}")
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# What Dagster takes for an owner.
_OWNER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._%+-]*@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}|team:[A-Za-z0-9_.-]+", re.ASCII)
TABLE = re.compile(r"\w+(\.\w+)?")

# What DuckDB takes for a catalog or a schema of its own in a connection of ours.
_RESERVED = frozenset({"information_schema", "main", "memory", "pg_catalog", "system", "temp", "warehouse_file"})
_FIRST_DAY = date(2000, 1, 1)
_MOST_LISTED = 20


class InvalidSetting(ValueError):
    """What a validator says of a value. Whoever reads the file adds file, line and key.

    Without a `problem`, the value that was found is shown. `at` is the key that is at fault, if the validator has a
    whole model before it.
    """

    def __init__(self, remedy: str, *, problem: str | None = None, at: tuple[str | int, ...] = ()) -> None:
        super().__init__(remedy if problem is None else f"{problem}. {remedy}")
        self.remedy = remedy
        self.problem = problem
        self.at = at


class Model(BaseModel):
    """What all settings have in common. The text below a field says what to write where it is missing."""

    # An alias is the key in the file; in Python the name of the field is used.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_by_name=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, field in cls.model_fields.items():
            if text := meaning(cls, name):
                properties[field.alias or name]["description"] = text
        return schema


def meaning(model: type[BaseModel], name: str) -> str:
    """The text below a field of a model, on one line. Empty if there is none."""
    owner = next(each for each in model.__mro__ if name in inspect.get_annotations(each))
    return _texts(owner).get(name, "")


@cache
def _texts(model: type) -> Mapping[str, str]:
    # Pydantic's own way reads the sources of all models at each start, which is a tenth of it. This one waits until
    # somebody asks.
    [definition] = ast.parse(inspect.getsource(model)).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 -- for the type checker
    found = {}
    for field, text in pairwise(definition.body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(written))):
                found[name] = " ".join(written.split())
    return found


def _name(value: str) -> str:
    if not NAME.fullmatch(value) or value in _RESERVED:
        raise InvalidSetting(
            "A name is at most 40 lower-case letters, digits and underscores, begins with a letter, and is none of "
            f"{', '.join(sorted(_RESERVED))}."
        )
    return value


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidSetting("Name a time zone as in the tz database, for instance Europe/Berlin.") from error
    return value


def _day(value: Any) -> Any:
    """A day as somebody writes it. A date that code of ours made is left as it is."""
    if not isinstance(value, str):
        return value
    try:
        day = date.fromisoformat(value)
    except ValueError:
        day = None
    if day is None or not _FIRST_DAY <= day <= datetime.now(UTC).date():
        raise InvalidSetting(f"Write a date as YYYY-MM-DD, from {_FIRST_DAY} to today.")
    return day


def _owner(value: str) -> str:
    if not _OWNER.fullmatch(value):
        raise InvalidSetting("Write an e-mail address, or team:<name>.")
    return value


def _blank(value: Any) -> Any:
    """Text of nothing but white space says nothing."""
    return None if isinstance(value, str) and not value.strip() else value


Name = Annotated[str, AfterValidator(_name)]
Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: () if value is None else value)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
Day = Annotated[date, BeforeValidator(_day)]
Owner = Annotated[str, AfterValidator(_owner)]
Text = Annotated[str | None, BeforeValidator(_blank)]


class Named(Model):
    """What has a name of its own and is shown to people."""

    name: Name
    """The name, of lower-case letters, digits and underscores."""
    label: str = Field(default="", validate_default=True)
    """The name as people read it. Without one, `name`."""
    description: str = ""
    """What it is for."""

    @field_validator("label", mode="before")
    @classmethod
    def _or_name(cls, value: Any, info: ValidationInfo) -> Any:
        return info.data.get("name", "") if _blank(value) is None else value

    @field_validator("description", mode="before")
    @classmethod
    def _or_nothing(cls, value: Any) -> Any:
        return "" if _blank(value) is None else value


def listed(names: Sequence[str]) -> str:
    """The names that there are, as an error says them: of many the first ones."""
    more = len(names) - _MOST_LISTED
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:_MOST_LISTED])} and {more} more"


def not_ready(who: str, unset: tuple[str, ...], faults: tuple[str, ...]) -> str:
    """Why somebody cannot ask iContact, with the remedy for each variable."""
    said = []
    if unset:
        one = len(unset) == 1
        said.append(
            f"{', '.join(unset)} {'is' if one else 'are'} unset. Set {'it' if one else 'them'} in the environment that "
            "Dagster runs in. `icontact-assets discover` shows account and client folder ids."
        )
    said += [
        f"{fault}. Correct it in the environment that Dagster runs in. Its value is not shown." for fault in faults
    ]
    return f"{who} cannot ask iContact: {' '.join(said)}"
