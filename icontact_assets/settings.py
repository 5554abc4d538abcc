"""Typed settings from the environment and icontact.yaml; every error names the place, what was found, the remedy."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from icontact_assets.credentials import address_fault, header_fault, id_fault
from icontact_assets.document import Place, Unreadable, dotted, parse
from icontact_assets.ingest.ladder import LADDER, Step
from icontact_assets.private import Readers

PRODUCTION = "https://app.icontact.com/icp"

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
# What DuckDB takes for a catalog or a schema of its own in a connection of ours.
_RESERVED = frozenset({"information_schema", "main", "memory", "pg_catalog", "system", "temp", "warehouse_file"})
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


# A number larger than any that a setting counts, and small enough for every database and clock.
_MOST = 1_000_000_000
_ONE_A_DAY = 0.000012
_FIRST_DAY = date(2000, 1, 1)

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_HASH = re.compile(r"[0-9a-f]{32}")


class SettingsError(Exception):
    """A setting cannot be used. One paragraph: file, line, key, what was found, the remedy; never a secret."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("name a time zone as in the tz database, for instance Europe/Berlin") from error
    return value


class RequestLimits(_Model):
    """Most requests an account is asked: per second, per minute, per day (sliding 24 h). 0 lifts a limit."""

    per_second: float = Field(default=1, ge=0, le=10_000, allow_inf_nan=False)
    per_minute: int = Field(default=60, ge=0, le=_MOST)
    per_day: int = Field(default=5000, ge=0, le=_MOST)

    @field_validator("per_second")
    @classmethod
    def _one_a_day(cls, value: float) -> float:
        if 0 < value < _ONE_A_DAY:
            raise ValueError(f"less than one request a day: write at least {_ONE_A_DAY}, or 0 to lift the limit")
        return value


class Reading(_Model):
    """How often the activity of a message is looked at, by its age (see `Step`).

    A listing in the middle of which rows turned up is read whole at once if it has at most `reread_pages` pages, else
    when it is verified.
    """

    ladder: tuple[Step, ...] = LADDER
    reread_pages: int = Field(default=50, ge=0, le=_MOST)

    @field_validator("ladder")
    @classmethod
    def _rises(cls, ladder: tuple[Step, ...]) -> tuple[Step, ...]:
        ends = [step.until_days for step in ladder]
        inner = [end for end in ends[:-1] if end is not None]
        if not ladder or ends[-1] is not None or len(inner) < len(ladder) - 1 or inner != sorted(set(inner)):
            raise ValueError("write steps with rising until_days, and a last one without")
        return ladder


class Authorization(_Model):
    """Who asks.

    `unset` names the variables without which requests cannot be signed. `faults` says what is wrong with others.
    """

    name: str
    label: str
    description: str = ""
    app_id: SecretStr | None = None
    username: SecretStr | None = None
    password: SecretStr | None = None
    unset: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def credentials(self) -> tuple[str, str, str]:
        """Application id, user name and password. Raises SettingsError naming the variables that are unset or wrong."""
        if self.app_id is None or self.username is None or self.password is None:
            raise _not_ready(f"The authorization {self.name}", self.unset, self.faults)
        return self.app_id.get_secret_value(), self.username.get_secret_value(), self.password.get_secret_value()


class Import(_Model):
    """One client folder of one account; its name is the asset key prefix and the DuckDB schema."""

    name: str
    label: str
    description: str = ""
    authorization: Authorization
    account_id: str | None = None
    client_folder_id: str | None = None
    keep_updated: bool = False
    filter_by_aid: str | None = Field(default=None, min_length=1)
    schema_drift: Literal["evolve", "warn", "fail"] = "warn"
    start_date: date = date(2024, 1, 1)
    limits: RequestLimits = RequestLimits()
    page_size: int = Field(default=500, ge=1, le=10_000)
    workers: int = Field(default=1, ge=1, le=64)
    answer_mb: int = Field(default=16, ge=1, le=1024)
    reading: Reading = Reading()
    unset: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def ready(self) -> tuple[str, str]:
        """Account and client folder id. Raises SettingsError naming everything that is unset or wrong."""
        missing = (*self.authorization.unset, *self.unset)
        faults = (*self.authorization.faults, *self.faults)
        if missing or faults or self.account_id is None or self.client_folder_id is None:
            raise _not_ready(f"The import {self.name}", missing, faults)
        return self.account_id, self.client_folder_id


class Audience(_Model):
    """People chosen from the profiles of an import: a SQL condition, or a query that yields ic_contact_id."""

    name: str
    label: str
    description: str = ""
    import_name: str
    where: str | None = None
    query: str | None = None


class Split(_Model):
    """A part of everybody, by chance: those whose place in the split `of` lies from `start` on and before `end`,
    both in percent with at most two decimals."""

    of: str = Field(pattern=f"^{_NAME.pattern}$")
    start: Decimal = Field(alias="from", ge=0, le=100, decimal_places=2)
    end: Decimal = Field(alias="to", ge=0, le=100, decimal_places=2)

    @model_validator(mode="after")
    def _holds_somebody(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"`from` ({self.start}) must be less than `to` ({self.end})")
        return self


class ExportLimits(_Model):
    """Figures above which an export stops before it writes. Shares: 0.2 is a fifth.

    `removed_share` is of the list's `normal` subscriptions; `shrink` and `growth` are of the audience's size,
    without those left out, at the last export that wrote.
    """

    adds: int = Field(default=10_000, ge=0, le=_MOST)
    removes: int = Field(default=1_000, ge=0, le=_MOST)
    removed_share: float = Field(default=0.2, ge=0, le=1)
    empty_audience: Literal["stop", "allow"] = "stop"
    shrink: float = Field(default=0.5, ge=0, le=1)
    growth: float = Field(default=1.0, ge=0, le=_MOST)


class Pace(_Model):
    """How slowly an export writes: most adds in any 24 hours, and the hours (`HH:MM-HH:MM`) in which it does not."""

    adds_per_day: int | None = Field(default=None, ge=1, le=_MOST)
    quiet_hours: str | None = None
    time_zone: str = "UTC"

    @field_validator("quiet_hours")
    @classmethod
    def _span(cls, value: str | None) -> str | None:
        first, _, last = (value or "").partition("-")
        if value is not None and (not _CLOCK.fullmatch(first) or not _CLOCK.fullmatch(last) or first == last):
            raise ValueError("write the hours as HH:MM-HH:MM, for instance '22:00-07:00'")
        return value

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        return _time_zone(value)


class Remove(_Model):
    """How an export takes people off its list: moved to the list `move_to` (id or exact name), or, if that is None,
    unsubscribed for good."""

    move_to: str | None = Field(default=None, min_length=1)


class Never(_Model):
    """People who are never added: a CSV file or a DuckDB table with columns among contact_id, email, domain."""

    file: Path | None = None
    table: str | None = None


class ExportFolder(_Model):
    """Another client folder than the audience's, and who asks there."""

    authorization: Authorization
    account_id: str | None = None
    client_folder_id: str | None = None
    unset: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


class Export(_Model):
    """An audience put on a list. `list` is the list's id or exact name; `folder` None: the import's own folder.

    Left out are the members of the audiences `exclude`, those outside the `split`, `hold_out` percent by chance, and
    whom one of the exports `before` takes: those that stand before this one in `priorities`, in order.
    """

    name: str
    label: str
    description: str = ""
    audience: str
    list: str
    mode: Literal["dry_run", "add", "mirror"] = "dry_run"
    remove: Remove | None = None
    adopt_existing: bool = False
    foreign_changes: Literal["report", "keep", "repair"] = "report"
    consent: Literal["list", "strict"] = "list"
    never: Never | None = None
    limits: ExportLimits = ExportLimits()
    approve: str | None = None
    folder: ExportFolder | None = None
    pace: Pace = Pace()
    recheck: int = Field(default=24, ge=1, le=8784)
    exclude: tuple[str, ...] = ()
    split: Split | None = None
    hold_out: Decimal = Field(default=Decimal(0), ge=0, lt=100, decimal_places=2)
    before: tuple[Export, ...] = ()


class Schedule(_Model):
    """When the daily schedule runs: `daily_at` HH:MM in `time_zone`."""

    daily_at: str = "02:00"
    time_zone: str = "UTC"

    @field_validator("daily_at")
    @classmethod
    def _clock(cls, value: str) -> str:
        if not _CLOCK.fullmatch(value):
            raise ValueError("write the time as HH:MM, for instance '02:00'")
        return value

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        return _time_zone(value)


class Settings(_Model):
    """All settings, checked, with references resolved."""

    base_url: str
    duckdb_path: Path
    home: Path
    readers: Readers = Readers()
    imports: tuple[Import, ...]
    audiences: tuple[Audience, ...] = ()
    exports: tuple[Export, ...] = ()
    schedule: Schedule = Schedule()

    def import_named(self, name: str) -> Import:
        """The import of that name. Raises SettingsError listing those that exist."""
        return _named(self.imports, name, "import")

    def audience(self, name: str) -> Audience:
        """The audience of that name. Raises SettingsError listing those that exist."""
        return _named(self.audiences, name, "audience")

    def export(self, name: str) -> Export:
        """The export of that name. Raises SettingsError listing those that exist."""
        return _named(self.exports, name, "export")

    def import_of(self, export: Export) -> Import:
        """The import that the export's audience is chosen from."""
        return self.import_named(self.audience(export.audience).import_name)

    def target_of(self, export: Export) -> Import:
        """The import as it would be for the client folder that holds the export's list."""
        import_ = self.import_of(export)
        if export.folder is None:
            return import_
        folder = export.folder
        # The budget belongs to the account: an import of it knows its limits.
        known = [other for other in self.imports if other.account_id == folder.account_id]
        return import_.model_copy(
            update={
                "authorization": folder.authorization,
                "account_id": folder.account_id,
                "client_folder_id": folder.client_folder_id,
                "unset": folder.unset,
                "faults": folder.faults,
                "limits": known[0].limits if known else import_.limits,
            }
        )

    def schema_of_target(self, export: Export) -> str | None:
        """The schema of the import that reads the client folder of the export's list; None if there is none."""
        target = self.target_of(export)
        place = (target.account_id, target.client_folder_id)
        own = self.import_of(export)
        candidates = (own, *(import_ for import_ in self.imports if import_ != own))
        return next((i.name for i in candidates if (i.account_id, i.client_folder_id) == place), None)

    def imports_asked(self, export: Export) -> list[Import]:
        """The imports whose opt-outs an export heeds: the one that reads the client folder of its list, and, with
        `consent: strict`, the one that its audience is chosen from."""
        asked = {self.schema_of_target(export)}
        if export.consent == "strict":
            asked.add(self.import_of(export).name)
        return [import_ for import_ in self.imports if import_.name in asked]


def _not_ready(who: str, unset: tuple[str, ...], faults: tuple[str, ...]) -> SettingsError:
    said = []
    if unset:
        one = len(unset) == 1
        said.append(
            f"{', '.join(unset)} {'is' if one else 'are'} unset. Set {'it' if one else 'them'} in the environment that "
            "Dagster runs in; `icontact-assets discover` shows account and client folder ids."
        )
    said += [
        f"{fault}. Correct it in the environment that Dagster runs in. Its value is not shown." for fault in faults
    ]
    return SettingsError(f"{who} cannot ask iContact: {' '.join(said)}")


_Item = TypeVar("_Item", Import, Audience, Export)


def _named(items: tuple[_Item, ...], name: str, what: str) -> _Item:
    for item in items:
        if item.name == name:
            return item
    raise SettingsError(f"There is no {what} named {name!r}. There are: {_names(items)}.")


def _names(items: tuple[Any, ...]) -> str:
    return ", ".join(item.name for item in items) or "none"


_CREDENTIALS = {
    "app_id": "ICONTACT_APP_ID",
    "username": "ICONTACT_API_USERNAME",
    "password": "ICONTACT_API_PASSWORD",
}
_LIMITS = {
    "per_second": "ICONTACT_REQUESTS_PER_SECOND",
    "per_minute": "ICONTACT_REQUESTS_PER_MINUTE",
    "per_day": "ICONTACT_REQUESTS_PER_DAY",
}
_EXPORT_KEYS = (
    "label",
    "description",
    "audience",
    "list",
    "mode",
    "exclude",
    "split",
    "hold_out",
    "remove",
    "adopt_existing",
    "foreign_changes",
    "consent",
    "never",
    "limits",
    "approve",
    "match",
    "authorization",
    "account",
    "client_folder",
    "pace",
    "recheck",
)
_MOST_BYTES = 262_144
_LONGEST_NAME = 255
_LONGEST_PATH = 4000
_SHOWN = 80
_SECTIONS = ("authorizations", "imports", "audiences", "exports", "priorities", "schedule")


def load_settings(environ: Mapping[str, str] = os.environ, directory: Path | None = None) -> Settings:
    """Settings from the environment and, where there is one, icontact.yaml (`ICONTACT_ASSETS_CONFIG`).

    Relative paths count from `directory` (default: the working directory). Credentials may be unset: `Import.ready`
    says so when a run needs them. Raises SettingsError.
    """
    root = directory or _working_directory()
    named = environ.get("ICONTACT_ASSETS_CONFIG")
    path = _path(root, "ICONTACT_ASSETS_CONFIG", named or "icontact.yaml")
    try:
        path.stat()
        document = _Document.read(path)
    except FileNotFoundError as error:
        if named:
            raise SettingsError(
                f"ICONTACT_ASSETS_CONFIG names {path}, which does not exist. Create it, or unset the variable."
            ) from error
        document = _Document(path, {}, {})
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error}. Check the file and its permissions.") from error
    home = _path(root, "ICONTACT_ASSETS_HOME", environ.get("ICONTACT_ASSETS_HOME") or ".icontact")
    database = environ.get("ICONTACT_ASSETS_DUCKDB")
    return _Loader(environ, document).settings(
        base_url=_base_url(environ.get("ICONTACT_BASE_URL", PRODUCTION)),
        home=home,
        readers=_readers(environ.get("ICONTACT_ASSETS_GROUP")),
        duckdb_path=_path(root, "ICONTACT_ASSETS_DUCKDB", database) if database else home / "warehouse.duckdb",
    )


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise SettingsError(f"The working folder cannot be used: {error}. Change to one that exists.") from error


def _path(root: Path, name: str, text: str) -> Path:
    """A path as a setting names it: `~` is a home directory, and a relative path counts from `root`."""
    try:
        path = root / Path(text).expanduser()
        longest = max(len(os.fsencode(part)) for part in path.parts)
    except RuntimeError as error:
        raise SettingsError(
            f"{name} is {_kind(text)}: there is no such home directory. Write the whole path."
        ) from error
    if not text.isprintable():
        raise SettingsError(f"{name} is {_kind(text)}: it holds a character that no path should. Write another path.")
    if longest > _LONGEST_NAME or len(str(path)) > _LONGEST_PATH:
        raise SettingsError(f"{name} is {_kind(text)}: too long for a path. Write a shorter one.")
    return path


def _base_url(url: str) -> str:
    if fault := address_fault(url):
        raise SettingsError(
            f"ICONTACT_BASE_URL {fault}. Write {PRODUCTION}, or unset the variable. Its value is not shown."
        )
    return url.rstrip("/")


def _readers(group: str | None) -> Readers:
    try:
        return Readers.of_group(group) if group else Readers()
    except ValueError as error:
        raise SettingsError(
            f"ICONTACT_ASSETS_GROUP is {_kind(group)}, {error}. Name a group that this user is a member of, or unset "
            "the variable: then only this user reads the database."
        ) from None


class _Document:
    """A YAML file with the line of every key path."""

    def __init__(self, path: Path, data: dict[str, Any], lines: dict[Place, int]) -> None:
        self.path = path
        self.data = data
        self._lines = lines

    @classmethod
    def read(cls, path: Path) -> _Document:
        try:
            if not path.is_file():
                raise SettingsError(f"{path} is no file. Name a YAML file, or remove it.")
            with path.open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
            if len(content) > _MOST_BYTES:
                raise SettingsError(
                    f"{path} is larger than {_MOST_BYTES:,} bytes. Name a file of settings, or shorten it."
                )
            text = content.decode("utf-8-sig")
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error}. Check the file and its permissions.") from error
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise SettingsError(f"{path}:{line}: found a byte that is not UTF-8. Save the file as UTF-8.") from error
        try:
            data, lines = parse(text)
        except Unreadable as error:
            raise SettingsError(f"{path}:{error.line}: {error.found}. {error.remedy}") from error
        document = cls(path, {}, lines)
        if data is not None and not isinstance(data, dict):
            raise document.error((), f"found {_kind(data)}", f"Write sections: {', '.join(_SECTIONS)}.")
        document.data = data or {}
        return document

    def error(self, at: Place, found: str, remedy: str) -> SettingsError:
        """An error that names file, line and key."""
        return SettingsError(f"{self.place(at)}: {found}. {remedy}")

    def place(self, at: Place) -> str:
        """File, line and key."""
        line = next((self._lines[at[:n]] for n in range(len(at), -1, -1) if at[:n] in self._lines), 1)
        key = dotted(tuple(part if isinstance(part, int) else _short(part) for part in at))
        return f"{self.path}:{line}{': ' + key if key else ''}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _kind(value: Any) -> str:
    """What was found, as an error says it."""
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    return "nothing" if value is None else repr(_short(value) if isinstance(value, str) else value)


def _kind_at(at: Place, value: Any) -> str:
    """What was found; among the authorizations not the text itself, which may be a credential at the wrong place."""
    return "text" if at[0] == "authorizations" and isinstance(value, str) else _kind(value)


_Check = Callable[[str], str | None]


class _Found(NamedTuple):
    """A value that a request needs, or the variable that is unset, or what is wrong with it."""

    value: str | None = None
    unset: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def _not_found(found: Iterable[_Found]) -> dict[str, Any]:
    """What is unset and what is wrong among several values."""
    items = list(found)
    return {
        "unset": tuple(name for item in items for name in item.unset),
        "faults": tuple(fault for item in items for fault in item.faults),
    }


def _secrets(found: Mapping[str, _Found]) -> dict[str, Any]:
    return {key: SecretStr(item.value) for key, item in found.items() if item.value is not None}


class _Loader:
    """Turns the environment and a document into settings."""

    def __init__(self, environ: Mapping[str, str], document: _Document) -> None:
        self._environ = environ
        self._document = document

    def settings(self, *, base_url: str, home: Path, readers: Readers, duckdb_path: Path) -> Settings:
        for key in self._document.data:
            if key not in _SECTIONS:
                raise self._unsupported((key,), _SECTIONS)
        authorizations = {
            item["name"]: self._authorization(at, item)
            for at, item in self._items("authorizations", ("label", "description", *_CREDENTIALS))
        }
        imports = tuple(
            self._import(at, item, authorizations)
            for at, item in self._items(
                "imports",
                (
                    "label",
                    "description",
                    "authorization",
                    "account",
                    "client_folder",
                    "keep_updated",
                    "filter_by_aid",
                    "schema_drift",
                    "start_date",
                    "limits",
                    "reading",
                ),
            )
        )
        imports = imports or (self._environment_import(),)
        by_name = {import_.name: import_ for import_ in imports}
        audiences = tuple(
            self._audience(at, item, by_name)
            for at, item in self._items("audiences", ("label", "description", "import", "where", "query"))
        )
        audience_imports = {audience.name: by_name[audience.import_name] for audience in audiences}
        exports = tuple(
            self._export(at, item, audience_imports, authorizations)
            for at, item in self._items("exports", _EXPORT_KEYS)
        )
        exports = self._in_order(exports, audience_imports)
        self._distinct(imports, audiences, exports)
        schedule = self._build(
            Schedule, ("schedule",), self._or_empty(("schedule",), self._document.data.get("schedule"))
        )
        return Settings(
            base_url=base_url,
            duckdb_path=duckdb_path,
            home=home,
            readers=readers,
            imports=imports,
            audiences=audiences,
            exports=exports,
            schedule=schedule,
        )

    def _distinct(
        self, imports: tuple[Import, ...], audiences: tuple[Audience, ...], exports: tuple[Export, ...]
    ) -> None:
        """Refuses names of which Dagster would make one job or one step of two."""
        sources = {audience.name: audience.import_name for audience in audiences}
        steps = [
            *(("audiences", n, f"{item.import_name}__audience_{item.name}") for n, item in enumerate(audiences)),
            *(("exports", n, f"{sources[item.audience]}__export_{item.name}") for n, item in enumerate(exports)),
        ]
        jobs = [("exports", n, f"export_{item.name}") for n, item in enumerate(exports)]
        for import_ in imports:
            same = [
                *(
                    (section, n)
                    for section, n, step in steps
                    if step.startswith(f"{import_.name}__")
                    and not step.startswith((f"{import_.name}__audience_", f"{import_.name}__export_"))
                ),
                *((section, n) for section, n, job in jobs if job == f"{import_.name}_import"),
            ]
            if same:
                raise self._document.error(
                    (*same[0], "name"),
                    f"together with the import {import_.name} this name would stand for two things in Dagster",
                    "Write another name, without two underscores in a row.",
                )

    def _items(self, section: str, keys: tuple[str, ...]) -> list[tuple[Place, dict[str, Any]]]:
        """The items of a section with their places: names checked, unknown keys refused."""
        found = self._document.data.get(section)
        if found is None:
            return []
        if not isinstance(found, list):
            raise self._document.error(
                (section,),
                f"found {_kind_at((section,), found)}, expected a list",
                f"Write each of the {section} as an item `- name: ...`.",
            )
        items: list[tuple[Place, dict[str, Any]]] = []
        names: set[str] = set()
        for index, raw in enumerate(found):
            at: Place = (section, index)
            item = self._mapping(at, raw)
            name = item.get("name")
            if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _RESERVED:
                raise self._document.error(
                    (*at, "name"),
                    f"found {_kind_at(at, name)}",
                    "A name is at most 40 small letters, digits and underscores, begins with a letter, and is none of "
                    f"{', '.join(sorted(_RESERVED))}.",
                )
            if name in names:
                raise self._document.error((*at, "name"), f"{name!r} stands twice", "Give each its own name.")
            names.add(name)
            for key in item:
                if key not in ("name", *keys):
                    if section == "authorizations":
                        # A credential whose colon is missing is read as a key.
                        raise self._document.error(
                            at, "holds a setting that is not supported", f"Known here: name, {', '.join(keys)}."
                        )
                    raise self._unsupported((*at, key), ("name", *keys))
            items.append((at, item))
        return items

    def _unsupported(self, at: Place, known: tuple[str, ...]) -> SettingsError:
        return self._document.error(at, "this setting is not supported", f"Remove it. Known here: {', '.join(known)}.")

    def _mapping(self, at: Place, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._document.error(at, f"found {_kind_at(at, value)}", "Write `key: value` lines here.")
        return value

    def _or_empty(self, at: Place, value: Any) -> dict[str, Any]:
        return {} if value is None else self._mapping(at, value)

    def _build(self, model: type[_Built], at: Place, values: dict[str, Any]) -> _Built:
        try:
            return model(**values)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            key: Place = first["loc"]
            where = (*at, *key)
            if first["type"] == "extra_forbidden":
                known = tuple(field.alias or name for name, field in model.model_fields.items())
                raise self._unsupported(where, known) from error
            found = values.get(str(key[0])) if key else None
            shown = f"found {_kind(found)}, " if isinstance(found, str | list | dict) else ""
            raise self._document.error(where, f"{shown}{first['msg']}", "Correct the value.") from error

    def _reference(self, at: Place, value: Any, check: _Check) -> _Found:
        """A literal, which must pass the check, or a whole `${ENV_NAME}`."""
        if not isinstance(value, str):
            raise self._document.error(at, f"found {_kind(value)}, expected text", "Write one value.")
        text = value
        variable = _VARIABLE.fullmatch(text)
        if variable is not None:
            return self._named_variable(variable.group(1), check)
        if "${" in text:
            raise self._document.error(at, "found a variable inside other text", "Write the whole value as ${NAME}.")
        if fault := check(text):
            raise self._document.error(at, fault, "Correct the value, which is not shown.")
        return _Found(text)

    def _named_variable(self, name: str, check: _Check) -> _Found:
        """The value of a variable that is needed only when iContact is asked: what is wrong with it is said then."""
        text = self._environ.get(name)
        if not text:
            return _Found(unset=(name,))
        fault = check(text)
        return _Found(faults=(f"{name} {fault}",)) if fault else _Found(text)

    def _string(self, at: Place, item: dict[str, Any], key: str) -> str | None:
        """The text of a key; None where it is missing or blank."""
        value = item.get(key)
        if value is not None and not isinstance(value, str):
            raise self._document.error((*at, key), f"found {_kind(value)}, expected text", "Write one value.")
        return value if value and value.strip() else None

    def _text(self, at: Place, item: dict[str, Any]) -> dict[str, Any]:
        return {
            "label": self._string(at, item, "label") or item["name"],
            "description": self._string(at, item, "description") or "",
        }

    def _authorization(self, at: Place, item: dict[str, Any]) -> Authorization:
        found: dict[str, _Found] = {}
        for key in _CREDENTIALS:
            value = item.get(key)
            if value is None:
                raise self._document.error((*at, key), "is missing", "Write it as ${ENV_NAME}.")
            if key == "password" and not (isinstance(value, str) and _VARIABLE.fullmatch(value)):
                raise self._document.error(
                    (*at, key), "found a literal", "A password stands in the environment: write ${ENV_NAME} here."
                )
            found[key] = self._reference((*at, key), value, header_fault)
        return Authorization(name=item["name"], **self._text(at, item), **_secrets(found), **_not_found(found.values()))

    def _environment_authorization(self) -> Authorization:
        found = {key: self._named_variable(name, header_fault) for key, name in _CREDENTIALS.items()}
        return Authorization(
            name="environment", label="the environment", **_secrets(found), **_not_found(found.values())
        )

    def _environment_import(self) -> Import:
        account = self._named_variable("ICONTACT_ACCOUNT_ID", id_fault)
        folder = self._named_variable("ICONTACT_CLIENT_FOLDER_ID", id_fault)
        return Import(
            name="icontact",
            label="iContact",
            authorization=self._environment_authorization(),
            account_id=account.value,
            client_folder_id=folder.value,
            **_not_found((account, folder)),
            limits=self._limits({}, ()),
            **self._common(None, ()),
        )

    def _common(self, start: Any, at: Place) -> dict[str, Any]:
        """What every import takes from the environment: first day, page size, workers."""
        first = self._variable("ICONTACT_START_DATE", _day, _DAYS, date(2024, 1, 1))
        if start is not None:
            try:
                first = _day(str(start))
            except ValueError as error:
                raise self._document.error(at, f"found {_kind(start)}", f"Write {_DAYS}.") from error
        return {
            "start_date": first,
            "page_size": self._variable(
                "ICONTACT_PAGE_SIZE", _whole(1, 10_000), "a whole number from 1 to 10,000", 500
            ),
            "workers": self._variable("ICONTACT_WORKERS", _whole(1, 64), "a whole number from 1 to 64", 1),
            "answer_mb": self._variable("ICONTACT_ANSWER_MB", _whole(1, 1024), "a whole number from 1 to 1,024", 16),
        }

    def _limits(self, raw: dict[str, Any], at: Place) -> RequestLimits:
        chosen: dict[str, Any] = {}
        for key, name in _LIMITS.items():
            if text := self._environ.get(name):
                try:
                    chosen[key] = getattr(RequestLimits.model_validate({key: text}), key)
                except ValidationError as error:
                    says = error.errors(include_input=False, include_url=False)[0]["msg"]
                    raise SettingsError(
                        f"{name} is {_kind(text)}: {says}. Set it to a number (0 lifts the limit), or unset it."
                    ) from error
        return self._build(RequestLimits, at, {**chosen, **raw})

    def _variable(self, name: str, parse: Callable[[str], Any], wanted: str, default: Any) -> Any:
        text = self._environ.get(name)
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            raise SettingsError(f"{name} is {_kind(text)}. Set it to {wanted}, or unset it.") from error

    def _import(self, at: Place, item: dict[str, Any], authorizations: dict[str, Authorization]) -> Import:
        ids: dict[str, _Found] = {}
        for key, target in (("account", "account_id"), ("client_folder", "client_folder_id")):
            if item.get(key) is None:
                raise self._document.error((*at, key), "is missing", "`icontact-assets discover` shows the ids.")
            ids[target] = self._reference((*at, key), item[key], id_fault)
        return self._build(
            Import,
            at,
            {
                "name": item["name"],
                **self._text(at, item),
                "authorization": self._authorization_named(at, item, authorizations),
                **{target: found.value for target, found in ids.items()},
                **_not_found(ids.values()),
                "keep_updated": item.get("keep_updated", False),
                "filter_by_aid": item.get("filter_by_aid"),
                **({"schema_drift": item["schema_drift"]} if "schema_drift" in item else {}),
                "limits": self._limits(self._or_empty((*at, "limits"), item.get("limits")), (*at, "limits")),
                "reading": self._build(
                    Reading, (*at, "reading"), self._or_empty((*at, "reading"), item.get("reading"))
                ),
                **self._common(item.get("start_date"), (*at, "start_date")),
            },
        )

    def _authorization_named(
        self, at: Place, item: dict[str, Any], authorizations: dict[str, Authorization]
    ) -> Authorization:
        name = item.get("authorization")
        if name is None and not authorizations:
            return self._environment_authorization()
        if not isinstance(name, str) or name not in authorizations:
            raise self._document.error(
                (*at, "authorization"),
                f"found {_kind(name)}",
                f"Name one of: {', '.join(authorizations) or 'none is declared'}.",
            )
        return authorizations[name]

    def _audience(self, at: Place, item: dict[str, Any], imports: dict[str, Import]) -> Audience:
        source = item.get("import")
        if not isinstance(source, str) or source not in imports:
            raise self._document.error((*at, "import"), f"found {_kind(source)}", f"Name one of: {', '.join(imports)}.")
        chosen = {key: text for key in ("where", "query") if (text := self._string(at, item, key)) is not None}
        if len(chosen) != 1:
            raise self._document.error(
                at,
                "an audience is either a condition or a query",
                "Write `where:` (a SQL condition over icontact_profiles) or `query:` (a SELECT of ic_contact_id).",
            )
        return self._build(
            Audience, at, {"name": item["name"], **self._text(at, item), "import_name": source, **chosen}
        )

    def _export(
        self,
        at: Place,
        item: dict[str, Any],
        audience_imports: dict[str, Import],
        authorizations: dict[str, Authorization],
    ) -> Export:
        audience = item.get("audience")
        if not isinstance(audience, str) or audience not in audience_imports:
            raise self._document.error(
                (*at, "audience"),
                f"found {_kind(audience)}",
                f"Name one of: {', '.join(audience_imports) or 'none is declared'}.",
            )
        if (list_ := self._string(at, item, "list")) is None:
            raise self._document.error((*at, "list"), "is missing", "Write the id or the exact name of a list.")
        values = {
            "name": item["name"],
            **self._text(at, item),
            "audience": audience,
            "list": list_,
            "folder": self._export_folder(at, item, audience_imports[audience], authorizations),
            "limits": self._section(ExportLimits, at, item, "limits"),
            "pace": self._pace(at, item),
            "never": self._never(at, item),
            "remove": self._remove(at, item),
            "approve": self._approve(at, item),
            "exclude": self._excluded(at, item, audience_imports),
            "split": None if item.get("split") is None else self._section(Split, at, item, "split"),
        }
        plain = ("mode", "hold_out", "adopt_existing", "foreign_changes", "consent", "recheck")
        export = self._build(Export, at, values | {key: item[key] for key in plain if key in item})
        self._fitting(at, item, export)
        return export

    def _section(self, model: type[_Built], at: Place, item: dict[str, Any], key: str) -> _Built:
        here = (*at, key)
        return self._build(model, here, self._mapping(here, item.get(key, {})))

    def _fitting(self, at: Place, item: dict[str, Any], export: Export) -> None:
        """Refuses options that make no sense together."""
        if export.mode == "mirror" and export.remove is None:
            raise self._document.error(
                (*at, "remove"),
                "is missing: a mirror removes people",
                "Write `remove: {move_to: <list>}` (they can come back) or `remove: unsubscribe` (they cannot).",
            )
        if export.mode != "mirror":
            for key in ("remove", "adopt_existing"):
                if key in item:
                    raise self._document.error(
                        (*at, key), f"mode {export.mode} removes nobody", "Remove it, or write `mode: mirror`."
                    )
            for key in ("removes", "removed_share"):
                if key in (item.get("limits") or {}):
                    raise self._document.error((*at, "limits", key), f"mode {export.mode} removes nobody", "Remove it.")
        if export.remove is not None and export.remove.move_to == export.list:
            raise self._document.error(
                (*at, "remove", "move_to"), "is the list of the export itself", "Name another list."
            )
        if export.mode == "dry_run":
            for key in ("approve", "pace"):
                if key in item:
                    raise self._document.error(
                        (*at, key), "mode dry_run writes nothing", "Remove it, or write `mode: add` or `mode: mirror`."
                    )

    def _pace(self, at: Place, item: dict[str, Any]) -> Pace:
        pace = self._section(Pace, at, item, "pace")
        if "pace" in item and pace.adds_per_day is None and pace.quiet_hours is None:
            raise self._document.error((*at, "pace"), "limits nothing", "Write `adds_per_day`, `quiet_hours` or both.")
        if "time_zone" in item.get("pace", {}) and pace.quiet_hours is None:
            raise self._document.error(
                (*at, "pace", "time_zone"), "there are no quiet hours", "Remove it, or write `quiet_hours`."
            )
        return pace

    def _never(self, at: Place, item: dict[str, Any]) -> Never | None:
        if "never" not in item:
            return None
        here = (*at, "never")
        never = self._build(Never, here, self._mapping(here, item["never"]))
        if (never.file is None) == (never.table is None):
            raise self._document.error(
                here, "names not exactly one source", "Write `{file: people.csv}` or `{table: schema.table}`."
            )
        if never.file is not None:
            here = (*here, "file")
            return Never(file=_path(self._document.path.parent, self._document.place(here), str(never.file)))
        if not re.fullmatch(r"\w+(\.\w+)?", never.table or ""):
            raise self._document.error((*here, "table"), f"found {never.table!r}", "Write table, or schema.table.")
        return never

    def _remove(self, at: Place, item: dict[str, Any]) -> Remove | None:
        if "remove" not in item:
            return None
        given, here = item["remove"], (*at, "remove")
        if given == "unsubscribe":
            return Remove()
        move_to = (
            self._string(here, given, "move_to") if isinstance(given, dict) and list(given) == ["move_to"] else None
        )
        if move_to is None:
            raise self._document.error(
                here,
                "is neither a list to move to nor `unsubscribe`",
                "Write `remove: {move_to: <list>}` (they can come back) or `remove: unsubscribe` (they cannot).",
            )
        return Remove(move_to=move_to)

    def _approve(self, at: Place, item: dict[str, Any]) -> str | None:
        if "approve" not in item:
            return None
        text = self._string(at, item, "approve") or ""
        if not _HASH.fullmatch(text):
            raise self._document.error(
                (*at, "approve"),
                f"found {_kind(item['approve'])}",
                "Write the hash of the plan that is approved, 32 hexadecimal digits in quotes: "
                f"`icontact-assets plan {item['name']}` prints it.",
            )
        return text

    def _export_folder(
        self,
        at: Place,
        item: dict[str, Any],
        source: Import,
        authorizations: dict[str, Authorization],
    ) -> ExportFolder | None:
        """The folder of the export's list where it is not the one that the audience was read from."""
        own = {"account": source.account_id, "client_folder": source.client_folder_id}
        found = {key: self._reference((*at, key), item[key], id_fault) for key in own if item.get(key) is not None}
        ids = own | {key: id_.value for key, id_ in found.items()}
        match = item.get("match", "id")
        if match not in ("id", "email"):
            raise self._document.error((*at, "match"), f"found {_kind(match)}", "Write id or email.")
        authorization = source.authorization
        if item.get("authorization") is not None:
            authorization = self._authorization_named(at, item, authorizations)
        if ids == own:
            if match == "email":
                raise self._document.error(
                    (*at, "match"),
                    "the list is in the client folder that the audience was read from",
                    "Remove it, or name the other folder with `client_folder` (and `account`).",
                )
            if authorization != source.authorization:
                raise self._document.error(
                    (*at, "authorization"), f"differs from the import {source.name} of its audience", "Remove it."
                )
            return None
        if match == "id":
            differing = next(key for key in own if ids[key] != own[key])
            raise self._document.error(
                (*at, differing),
                f"differs from the import {source.name} of its audience",
                "A contact id belongs to one client folder: write `match: email` to look each person up by address.",
            )
        inherited = _Found(unset=source.unset, faults=source.faults)
        return ExportFolder(
            authorization=authorization,
            account_id=ids["account"],
            client_folder_id=ids["client_folder"],
            **_not_found((*found.values(), *([inherited] if ids["account"] == own["account"] is None else []))),
        )

    def _excluded(self, at: Place, item: dict[str, Any], audience_imports: dict[str, Import]) -> tuple[str, ...]:
        """The audiences that an export excludes: known, of its own audience's import, and another one."""
        source = audience_imports[item["audience"]]
        others = [name for name, import_ in audience_imports.items() if import_ is source and name != item["audience"]]
        names = self._list((*at, "exclude"), item.get("exclude"), "audiences")
        for index, name in enumerate(names):
            if name not in others:
                raise self._document.error(
                    (*at, "exclude", index),
                    f"found {_kind(name)}",
                    f"Name other audiences of the import {source.name}: {', '.join(others) or 'none is declared'}.",
                )
        return tuple(names)

    def _list(self, at: Place, value: Any, what: str) -> list[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._document.error(at, f"found {_kind(value)}", f"Write a list of {what}: [name, ...].")
        return value

    def _in_order(self, exports: tuple[Export, ...], audience_imports: dict[str, Import]) -> tuple[Export, ...]:
        """The exports, each knowing those that come before it in `priorities`."""
        by_name = {export.name: export for export in exports}
        place: dict[str, tuple[Export, ...]] = {}
        groups = self._list(("priorities",), self._document.data.get("priorities"), "lists of exports")
        for number, group in enumerate(groups):
            at = ("priorities", number)
            before: tuple[Export, ...] = ()
            for index, name in enumerate(self._list(at, group, "exports")):
                here = (*at, index)
                if not isinstance(name, str) or name not in by_name:
                    known = ", ".join(by_name) or "none is declared"
                    raise self._document.error(here, f"found {_kind(name)}", f"Name exports: {known}.")
                if name in place:
                    raise self._document.error(
                        here, f"{name!r} stands twice in the priorities", "An export has one place: remove the other."
                    )
                export = by_name[name]
                source = audience_imports[export.audience]
                if before and audience_imports[before[0].audience] is not source:
                    raise self._document.error(
                        here,
                        f"{name!r} exports an audience of the import {source.name}, unlike {before[0].name!r}",
                        "A contact id belongs to one client folder: order exports of one import.",
                    )
                place[name] = before
                before = (*before, export)
        return tuple(export.model_copy(update={"before": place.get(export.name, ())}) for export in exports)


_Built = TypeVar(
    "_Built",
    RequestLimits,
    Reading,
    Import,
    Audience,
    Split,
    ExportLimits,
    Pace,
    Never,
    Remove,
    ExportFolder,
    Export,
    Schedule,
)


_DAYS = f"a date as YYYY-MM-DD, from {_FIRST_DAY} to today"


def _day(text: str) -> date:
    day = date.fromisoformat(text)
    if not _FIRST_DAY <= day <= datetime.now(UTC).date():
        raise ValueError(text)
    return day


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not least <= (number := int(text)) <= most:
            raise ValueError(text)
        return number

    return parse
