"""What is said of a setting that cannot be used: file, line and key, what was found, and the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from icontact_assets.settings.document import Place, Unreadable, dotted, parse
from icontact_assets.settings.models import SettingsError
from icontact_assets.settings.values import InvalidSetting, meaning

_MOST_BYTES = 262_144
_LONGEST_SHOWN = 80
_KINDS = {
    "bool": "true or false",
    "date": "a date",
    "decimal": "a number",
    "float": "a number",
    "int": "a whole number",
    "path": "a path",
    "string": "text",
}


class SettingsFile:
    """A YAML file with the line of every key."""

    def __init__(self, path: Path, content: Any, lines: dict[Place, int]) -> None:
        self.path = path
        self.content = content
        self._lines = lines

    @classmethod
    def read(cls, path: Path) -> SettingsFile:
        """Raises SettingsError if the file cannot be read, or is not YAML."""
        try:
            if not path.is_file():
                raise SettingsError(f"{path} is no file. Name a YAML file, or remove it.")
            with path.open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error}. Check the file and its permissions.") from error
        if len(content) > _MOST_BYTES:
            raise SettingsError(f"{path} is larger than {_MOST_BYTES:,} bytes. Name a file of settings, or shorten it.")
        try:
            return cls(path, *parse(content.decode("utf-8-sig")))
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise SettingsError(f"{path}:{line}: found a byte that is not UTF-8. Save the file as UTF-8.") from error
        except Unreadable as error:
            raise SettingsError(f"{path}:{error.line}: {error.found}. {error.remedy}") from error

    def section(self, key: str, content: Any) -> SettingsFile:
        """A section of the file, with its content as somebody else read it."""
        return SettingsFile(self.path, content, {at[1:]: line for at, line in self._lines.items() if at[:1] == (key,)})

    def place(self, at: Place) -> str:
        """File, line and key."""
        key = dotted(tuple(part if isinstance(part, int) else _short(part) for part in at))
        return f"{self.path}:{self._line(at)}{': ' + key if key else ''}"

    def refusal(self, at: Place, problem: str, remedy: str) -> SettingsError:
        """An error that names file, line and key."""
        return SettingsError(f"{self.place(at)}: {problem}. {remedy}")

    def refused(self, model: type[BaseModel], error: ValidationError) -> SettingsError:
        """What is wrong with the content, by the model that it was validated by: of several things the first in the
        file. A misspelled key comes before the one that is missing for it."""
        first = min(
            error.errors(include_url=False), key=lambda found: (found["type"] == "missing", self._line(found["loc"]))
        )
        at, problem, remedy = explain(model, first)
        return self.refusal(at, problem, remedy)

    def _line(self, at: Place) -> int:
        """The line of a place, or of what holds it if it is not written."""
        return next((self._lines[at[:n]] for n in range(len(at), -1, -1) if at[:n] in self._lines), 1)


def explain(model: type[BaseModel], error: ErrorDetails) -> tuple[Place, str, str]:
    """The place of an error of validation, what is wrong there, and the remedy."""
    at: Place = error["loc"]
    model, names = _holder(model, at)
    name = names.get(str(at[-1])) if at else None
    if error["type"] == "missing" or (error["input"] is None and name and model.model_fields[name].is_required()):
        says = (name and meaning(model, name)) or "A value."
        return at, "is missing", f"Write {says[0].lower()}{says[1:]}"
    # Among the authorizations what was found, even a key, may be a credential at the wrong place.
    secret = at[:1] == ("authorizations",)
    found = f"found {'text' if secret and isinstance(error['input'], str) else shown(error['input'])}"
    raised = error.get("ctx", {}).get("error")
    if isinstance(raised, InvalidSetting):
        return (*at, *raised.at), raised.problem or found, raised.remedy
    if error["type"] == "extra_forbidden":
        known = f"Known here: {', '.join(names)}."
        if secret:
            return at[:-1], "holds a setting that is not supported", known
        return at, "this setting is not supported", f"Remove it. {known}"
    if error["type"] in ("model_type", "tuple_type"):
        wanted = "`key: value` lines" if error["type"] == "model_type" else "[...], or lines that begin with `- `,"
        return at, found, f"Write {wanted} here."
    if error["type"] == "literal_error":
        return at, f"{found}, expected {error['ctx']['expected']}", "Correct the value."
    kind, _, fault = error["type"].partition("_")
    if kind in _KINDS and fault in ("type", "parsing"):
        return at, f"{found}, expected {_KINDS[kind]}", "Correct the value."
    limit = error["msg"].removeprefix("Input ")
    return at, f"{found}{', which ' if limit != error['msg'] else '. '}{limit}", "Correct the value."


def shown(value: Any) -> str:
    """What was found, as an error says it."""
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    return "nothing" if value is None else repr(_short(value) if isinstance(value, str) else value)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _holder(model: type[BaseModel], at: Place) -> tuple[type[BaseModel], dict[str, str]]:
    """The model that the last key of a place belongs to, and the names of its fields by their keys in the file."""
    for part in (*at[:-1], None):
        names = {field.alias or name: name for name, field in model.model_fields.items()}
        if isinstance(part, str):
            model = next(_models(model.model_fields[names[part]].annotation), model)
    return model, names


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
