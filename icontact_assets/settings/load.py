"""The environment and icontact.yaml become settings: variables, paths, and the rules between items."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from icontact_assets.credentials import address_fault
from icontact_assets.private import Readers
from icontact_assets.settings.accounts import each_account
from icontact_assets.settings.document import Place
from icontact_assets.settings.lake import DATA, S3, catalog_of, lake_of
from icontact_assets.settings.models import (
    PRODUCTION,
    Authorization,
    ClientFolder,
    EveryImport,
    Export,
    ExportOptions,
    Import,
    ImportOptions,
    Lake,
    Settings,
    SettingsError,
    Sharing,
    Suppression,
)
from icontact_assets.settings.refusals import SettingsFile, explain, shown
from icontact_assets.settings.requests import RequestLimits
from icontact_assets.settings.values import Model, Named, listed
from icontact_assets.settings.written import AccountItem, AuthorizationItem, ExportItem, Reference, Written

_LONGEST_NAME = 255
_LONGEST_PATH = 4000

# The environment alone is as good as this file.
_ENVIRONMENT_AUTHORIZATION = {
    "name": "environment",
    "label": "the environment",
    "app_id": "${ICONTACT_APP_ID}",
    "username": "${ICONTACT_API_USERNAME}",
    "password": "${ICONTACT_API_PASSWORD}",
}
_ENVIRONMENT_IMPORT = {
    "name": "icontact",
    "label": "iContact",
    "account": "${ICONTACT_ACCOUNT_ID}",
    "client_folder": "${ICONTACT_CLIENT_FOLDER_ID}",
}


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
        file, exists = SettingsFile.read(path), True
    except FileNotFoundError as error:
        if named:
            raise SettingsError(
                f"ICONTACT_ASSETS_CONFIG names {path}, which does not exist. Create it, or unset the variable."
            ) from error
        file, exists = SettingsFile(path, None, {}), False
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error}. Check the file and its permissions.") from error
    return settings_in(file, environ, root, read_from=path if exists else None)


def settings_in(file: SettingsFile, environ: Mapping[str, str], root: Path, *, read_from: Path | None) -> Settings:
    """Settings from the environment and the content of a file. Relative paths count from `root`. Raises SettingsError.

    `read_from`: the file, if there is one.
    """
    home = _path(root, "ICONTACT_ASSETS_HOME", environ.get("ICONTACT_ASSETS_HOME") or ".icontact")
    database = environ.get("ICONTACT_ASSETS_DUCKDB")
    try:
        written = Written.model_validate(file.content, context=environ, by_name=False)
    except ValidationError as error:
        # Not chained: what pydantic says may quote a key that is a credential.
        raise file.refused(Written, error) from None
    return _Resolver(environ, file, written).settings(
        base_url=_base_url(environ.get("ICONTACT_BASE_URL", PRODUCTION)),
        home=home,
        file=read_from,
        readers=_readers(environ.get("ICONTACT_ASSETS_GROUP")),
        duckdb_path=_path(root, "ICONTACT_ASSETS_DUCKDB", database) if database else home / "warehouse.duckdb",
        lake=lake_of(catalog_of(environ), _data(root, environ.get(DATA))),
        record=_record(root, home, environ.get("ICONTACT_ASSETS_RECORD")),
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
            f"{name} is {shown(text)}: there is no such home directory. Write the whole path."
        ) from error
    if not text.isprintable():
        raise SettingsError(f"{name} is {shown(text)}: it holds a character that no path should. Write another path.")
    if longest > _LONGEST_NAME or len(str(path)) > _LONGEST_PATH:
        raise SettingsError(f"{name} is {shown(text)}: too long for a path. Write a shorter one.")
    return path


def _record(root: Path, home: Path, named: str | None) -> Path | None:
    if not named:
        return None
    folder = _path(root, "ICONTACT_ASSETS_RECORD", named)
    if home.resolve().is_relative_to(folder.resolve()):
        raise SettingsError(
            f"ICONTACT_ASSETS_RECORD is {shown(named)}: a recording is made to be sent, and that folder holds the "
            "state of this project. Name a folder of its own."
        )
    return folder


def _data(root: Path, named: str | None) -> str | Path | None:
    """Where the Parquet files of a lake are."""
    if not named:
        return None
    if named.startswith(S3) and named.isprintable() and len(named) > len(S3):
        return named
    if "://" in named:
        raise SettingsError(
            f"{DATA} is {shown(named)}: neither a folder nor an address in S3. Write a path, or {S3}bucket/folder."
        )
    return _path(root, DATA, named)


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
            f"ICONTACT_ASSETS_GROUP is {shown(group)}, {error}. Name a group that this user is a member of, or unset "
            "the variable: then only this user reads the database."
        ) from None


def _notices(address: str | None) -> SecretStr | None:
    if not address:
        return None
    if not re.fullmatch(r"[a-z]+://[!-~]+", address):
        raise SettingsError(
            "ICONTACT_ASSETS_NOTICES is not an address: write one as docs/settings.md shows, or unset the variable. "
            "Its value is not shown."
        )
    return SecretStr(address)


def _variables(environ: Mapping[str, str], prefix: str, model: type[Model]) -> dict[str, Any]:
    """The fields of a model that variables set, each named by the prefix and the field in capital letters."""
    texts = {name: text for name in model.model_fields if (text := environ.get(prefix + name.upper()))}
    try:
        found = model.model_validate(texts)
    except ValidationError as error:
        at, problem, remedy = explain(model, error.errors(include_url=False)[0])
        name = prefix + str(at[0]).upper()
        raise SettingsError(f"{name}: {problem}. {remedy.removesuffix('.')}, or unset the variable.") from None
    return {name: getattr(found, name) for name in texts}


def _own(item: Model, model: type[Model]) -> dict[str, Any]:
    """The fields of a model, as an item of a model below it has them."""
    return {name: getattr(item, name) for name in model.model_fields}


def _not_found(found: Iterable[Reference]) -> dict[str, Any]:
    """What is unset and what is wrong among several values."""
    items = list(found)
    return {
        "unset": tuple(name for item in items for name in item.unset),
        "faults": tuple(fault for item in items for fault in item.faults),
    }


def _authorization(item: AuthorizationItem) -> Authorization:
    found = {"app_id": item.app_id, "username": item.username, "password": item.password}
    secrets = {key: SecretStr(reference.value) for key, reference in found.items() if reference.value is not None}
    return Authorization.model_validate(_own(item, Named) | _not_found(found.values()) | secrets)


class _Resolver:
    """Turns what is written into settings: names become what they refer to, and items are held against each other."""

    def __init__(self, environ: Mapping[str, str], file: SettingsFile, written: Written) -> None:
        self._environ = environ
        self._file = file
        self._written = written
        self._items = each_account(written, file)
        self._authorizations = {item.name: _authorization(item) for item in written.authorizations}
        self._every_import = _variables(environ, "ICONTACT_", EveryImport)
        self._limits = _variables(environ, "ICONTACT_REQUESTS_", RequestLimits)

    def settings(
        self,
        *,
        base_url: str,
        home: Path,
        file: Path | None,
        readers: Readers,
        duckdb_path: Path,
        lake: Lake | None,
        record: Path | None,
    ) -> Settings:
        """All settings. Raises SettingsError."""
        imports = tuple(
            self._import(placed.item, self._authorization_of(placed.place("authorization"), placed.item.authorization))
            for placed in self._items.imports
        )
        imports = imports or (self._environment_import(),)
        by_name = {import_.name: import_ for import_ in imports}
        for placed in self._items.imports:
            self._people(placed.item, placed.place("people"), by_name)
        sources = {
            audience.item.name: by_name[self._known(audience.place("import"), audience.item.import_name, by_name)]
            for audience in self._items.audiences
        }
        exports = tuple(self._export(placed.at, placed.item, sources) for placed in self._items.exports)
        exports = self._in_order(exports, sources)
        self._distinct(imports, sources)
        return Settings(
            base_url=base_url,
            duckdb_path=duckdb_path,
            home=home,
            file=file,
            readers=readers,
            lake=lake,
            sharing=Sharing(**_variables(self._environ, "ICONTACT_ASSETS_", Sharing)),
            imports=imports,
            audiences=tuple(audience.item for audience in self._items.audiences),
            exports=exports,
            schedule=self._written.schedule,
            reports=self._written.reports,
            owners=self._written.owners,
            record=record,
            notices=_notices(self._environ.get("ICONTACT_ASSETS_NOTICES")),
        )

    def _known(self, at: Place, name: str | None, known: Iterable[str]) -> str:
        """A name that is declared elsewhere."""
        names = list(known)
        if name is None or name not in names:
            remedy = f"Name one of: {listed(names)}." if names else "None is declared."
            raise self._file.refusal(at, f"found {shown(name)}", remedy)
        return name

    def _authorization_of(self, at: Place, name: str | None) -> Authorization:
        """The authorization of that name. Where none is declared, an import need not name one."""
        if name is None and not self._authorizations:
            return self._environment_authorization()
        return self._authorizations[self._known(at, name, self._authorizations)]

    def _environment_authorization(self) -> Authorization:
        return _authorization(AuthorizationItem.model_validate(_ENVIRONMENT_AUTHORIZATION, context=self._environ))

    def _environment_import(self) -> Import:
        item = AccountItem.model_validate(_ENVIRONMENT_IMPORT, context=self._environ)
        return self._import(item, self._environment_authorization())

    def _import(self, item: AccountItem, authorization: Authorization) -> Import:
        options = _own(item, ImportOptions) | self._every_import
        if item.start_date is not None:
            options["start_date"] = item.start_date
        # What the file says of a limit comes before what the environment says of it.
        options["limits"] = RequestLimits(**self._limits | item.limits.model_dump(exclude_unset=True))
        return Import(
            authorization=authorization,
            account_id=item.account.value,
            client_folder_id=item.client_folder.value,
            **_not_found((item.account, item.client_folder)),
            **options,
        )

    def _people(self, item: AccountItem, at: Place, by_name: Mapping[str, Import]) -> None:
        """Refuses people of imports that are not there, or whose events would be counted twice."""
        folders: dict[tuple[str | None, str | None], str] = {}
        for number, name in enumerate(item.people):
            other = by_name[self._known((*at, number), name, by_name)]
            folder = (other.account_id, other.client_folder_id)
            first = folders.setdefault(folder, name)
            if number and first != name and None not in folder:
                raise self._file.refusal(
                    (*at, number),
                    f"{name!r} reads the same client folder as {first!r}",
                    "Its events would be counted twice: name one of the two.",
                )
            if name in item.people[:number]:
                raise self._file.refusal((*at, number), f"{name!r} is named twice", "Remove one of the two.")
        if item.people and item.name not in item.people:
            raise self._file.refusal(
                at,
                f"{item.name} itself is missing",
                f"The table is kept in its schema: write [{', '.join((item.name, *item.people))}].",
            )

    def _export(self, at: Place, item: ExportItem, sources: Mapping[str, Import]) -> Export:
        source = sources[self._known((*at, "audience"), item.audience, sources)]
        others = [name for name, import_ in sources.items() if import_ is source and name != item.audience]
        for number, name in enumerate(item.exclude):
            if name not in others:
                raise self._file.refusal(
                    (*at, "exclude", number),
                    f"found {shown(name)}",
                    f"Name other audiences of the import {source.name}: {', '.join(others) or 'none is declared'}.",
                )
        options = _own(item, ExportOptions)
        if item.suppression is not None and item.suppression.file is not None:
            here = self._file.place((*at, "suppression", "file"))
            options["suppression"] = Suppression(file=_path(self._file.path.parent, here, str(item.suppression.file)))
        return Export(folder=self._folder(at, item, source), **options)

    def _folder(self, at: Place, item: ExportItem, source: Import) -> ClientFolder | None:
        """The client folder of the export's list where it is not the one that the audience was read from."""
        own = {"account": source.account_id, "client_folder": source.client_folder_id}
        written = {"account": item.account, "client_folder": item.client_folder}
        found = {key: id_ for key, id_ in written.items() if id_ is not None}
        ids = own | {key: id_.value for key, id_ in found.items()}
        authorization = source.authorization
        if item.authorization is not None:
            authorization = self._authorization_of((*at, "authorization"), item.authorization)
        differs = f"differs from the import {source.name} of its audience"
        if ids == own:
            if item.match == "email":
                raise self._file.refusal(
                    (*at, "match"),
                    "the list is in the client folder that the audience was read from",
                    "Remove it, or name the other folder with `client_folder` (and `account`).",
                )
            if authorization != source.authorization:
                raise self._file.refusal((*at, "authorization"), differs, "Remove it.")
            return None
        if item.match == "id":
            raise self._file.refusal(
                (*at, next(key for key in own if ids[key] != own[key])),
                differs,
                "A contact id belongs to one client folder: write `match: email` to look each person up by address.",
            )
        inherited = Reference(unset=source.unset, faults=source.faults)
        return ClientFolder(
            authorization=authorization,
            account_id=ids["account"],
            client_folder_id=ids["client_folder"],
            **_not_found((*found.values(), *([inherited] if ids["account"] == own["account"] is None else []))),
        )

    def _in_order(self, exports: tuple[Export, ...], sources: Mapping[str, Import]) -> tuple[Export, ...]:
        """The exports, each knowing those that come before it in `priorities`."""
        by_name = {export.name: export for export in exports}
        place: dict[str, tuple[Export, ...]] = {}
        for row, group in self._items.priorities:
            before: tuple[Export, ...] = ()
            for index, name in enumerate(group):
                at: Place = (*row, index)
                export = by_name[self._known(at, name, by_name)]
                if name in place:
                    raise self._file.refusal(
                        at, f"{name!r} is named twice in the priorities", "An export has one place: remove the other."
                    )
                source = sources[export.audience]
                if before and sources[before[0].audience] is not source:
                    raise self._file.refusal(
                        at,
                        f"{name!r} exports an audience of the import {source.name}, unlike {before[0].name!r}",
                        "A contact id belongs to one client folder: order exports of one import.",
                    )
                place[name] = before
                before = (*before, export)
        return tuple(export.model_copy(update={"before": place.get(export.name, ())}) for export in exports)

    def _distinct(self, imports: tuple[Import, ...], sources: Mapping[str, Import]) -> None:
        """Refuses names of which Dagster would make one job or one step of two."""
        steps = [
            *(
                (placed.at, f"{placed.item.import_name}__audience_{placed.item.name}")
                for placed in self._items.audiences
            ),
            *(
                (placed.at, f"{sources[placed.item.audience].name}__export_{placed.item.name}")
                for placed in self._items.exports
            ),
        ]
        jobs = [(placed.at, f"export_{placed.item.name}") for placed in self._items.exports]
        for import_ in imports:
            same = [
                *(
                    at
                    for at, step in steps
                    if step.startswith(f"{import_.name}__")
                    and not step.startswith((f"{import_.name}__audience_", f"{import_.name}__export_"))
                ),
                *(at for at, job in jobs if job == f"{import_.name}_import"),
            ]
            if same:
                raise self._file.refusal(
                    (*same[0], "name"),
                    f"together with the import {import_.name} this name would mean two things in Dagster",
                    "Write another name, without two underscores in a row.",
                )
