"""Typed settings from the environment and icontact.yaml; every error names the place, what was found, the remedy."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import SecretStr, ValidationError

from icontact_assets.credentials import address_fault, header_fault, id_fault
from icontact_assets.private import Readers
from icontact_assets.settings.document import Place, Unreadable, dotted, parse
from icontact_assets.settings.models import (
    NAME,
    PRODUCTION,
    Audience,
    Authorization,
    Export,
    ExportFolder,
    ExportLimits,
    Import,
    Pace,
    Refresh,
    Remove,
    RequestLimits,
    Schedule,
    Settings,
    SettingsError,
    Split,
    Suppression,
)

# What DuckDB takes for a catalog or a schema of its own in a connection of ours.
_RESERVED = frozenset({"information_schema", "main", "memory", "pg_catalog", "system", "temp", "warehouse_file"})
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_FIRST_DAY = date(2000, 1, 1)
_HASH = re.compile(r"[0-9a-f]{32}")
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
    "holdout",
    "remove",
    "adopt_existing",
    "external_changes",
    "consent",
    "suppression",
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
                    "refresh",
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
            if not isinstance(name, str) or not NAME.fullmatch(name) or name in _RESERVED:
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
                "refresh": self._build(
                    Refresh, (*at, "refresh"), self._or_empty((*at, "refresh"), item.get("refresh"))
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
            "suppression": self._suppression(at, item),
            "remove": self._remove(at, item),
            "approve": self._approve(at, item),
            "exclude": self._excluded(at, item, audience_imports),
            "split": None if item.get("split") is None else self._section(Split, at, item, "split"),
        }
        plain = ("mode", "holdout", "adopt_existing", "external_changes", "consent", "recheck")
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

    def _suppression(self, at: Place, item: dict[str, Any]) -> Suppression | None:
        if "suppression" not in item:
            return None
        here = (*at, "suppression")
        given = self._build(Suppression, here, self._mapping(here, item["suppression"]))
        if (given.file is None) == (given.table is None):
            raise self._document.error(
                here, "names not exactly one source", "Write `{file: people.csv}` or `{table: schema.table}`."
            )
        if given.file is not None:
            here = (*here, "file")
            return Suppression(file=_path(self._document.path.parent, self._document.place(here), str(given.file)))
        if not re.fullmatch(r"\w+(\.\w+)?", given.table or ""):
            raise self._document.error((*here, "table"), f"found {given.table!r}", "Write table, or schema.table.")
        return given

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
    Refresh,
    Import,
    Audience,
    Split,
    ExportLimits,
    Pace,
    Suppression,
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
