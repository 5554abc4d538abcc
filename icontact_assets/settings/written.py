"""What may be written in icontact.yaml: its items as typed models, each checked before the others are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import PlainValidator, ValidationInfo, field_validator, model_validator

from icontact_assets.credentials import header_fault, id_fault
from icontact_assets.settings.document import Place
from icontact_assets.settings.models import (
    Audience,
    ExportOptions,
    ImportOptions,
    Reports,
    Schedule,
)
from icontact_assets.settings.refusals import shown
from icontact_assets.settings.values import HASH, NAME, VARIABLE, Day, InvalidSetting, Model, Named, Names, Owner

_WAYS_TO_REMOVE = "Write `remove: {move_to: <list>}` (they can come back) or `remove: unsubscribe` (they cannot)."

Check = Callable[[str], str | None]
"""Why a value cannot be used, to follow its name. None if it can."""


class Reference(NamedTuple):
    """A value that a request needs, or the variable that is unset, or what is wrong with it."""

    value: str | None = None
    unset: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def _reference(check: Check, *, literal: bool = True) -> PlainValidator:
    """Text that passes the check, if text may be written there at all, or a whole `${ENV_NAME}`. The environment is the
    context of the validation."""

    def resolve(value: Any, info: ValidationInfo) -> Reference:
        named = VARIABLE.fullmatch(value) if isinstance(value, str) else None
        if named is not None:
            return _variable(info.context or {}, named[1], check)
        if not literal:
            raise InvalidSetting(
                "A password belongs in the environment: write ${ENV_NAME} here.", problem="found a literal"
            )
        if not isinstance(value, str):
            raise InvalidSetting("Write one value.", problem=f"found {shown(value)}, expected text")
        if "${" in value:
            raise InvalidSetting("Write the whole value as ${NAME}.", problem="found a variable inside other text")
        if fault := check(value):
            raise InvalidSetting("Correct the value, which is not shown.", problem=fault)
        return Reference(value)

    return PlainValidator(resolve)


def _variable(environ: Mapping[str, str], name: str, check: Check) -> Reference:
    """The value of a variable. It is needed only when iContact is asked, so what is wrong with it is said then."""
    text = environ.get(name)
    if not text:
        return Reference(unset=(name,))
    fault = check(text)
    return Reference(faults=(f"{name} {fault}",)) if fault else Reference(text)


Credential = Annotated[Reference, _reference(header_fault)]
Password = Annotated[Reference, _reference(header_fault, literal=False)]
Id = Annotated[Reference, _reference(id_fault)]


class AuthorizationItem(Named):
    """An item of `authorizations`."""

    app_id: Credential
    """The application id as ${ENV_NAME}."""
    username: Credential
    """The user name as ${ENV_NAME}."""
    password: Password
    """The API password as ${ENV_NAME}."""


class AccountItem(ImportOptions):
    """An item of `accounts`: an import. A key that it does not have is as in the item of `imports` that it is below."""

    authorization: str | None = None
    """The name of the authorization that asks. Not needed where none is declared."""
    account: Id = Reference()
    """The id of the account. Without one, that of the item of `imports`."""
    client_folder: Id
    """The id of the client folder, which `icontact-assets discover` shows."""
    start_date: Day | None = None
    """The first day that is read. Without one, `ICONTACT_START_DATE`."""


class ImportItem(AccountItem):
    """An item of `imports`: one import, or one for each of its accounts."""

    account: Id = Reference()
    """The id of the account, which `icontact-assets discover` shows. Required, here or in each item of `accounts`."""
    client_folder: Id = Reference()
    """The id of the client folder, which `icontact-assets discover` shows. Required without `accounts`."""
    accounts: tuple[AccountItem, ...] = ()
    """The accounts, or client folders of one account, each of which is an import by itself. What they have in common is
    written once, beside this key."""

    @field_validator("account", "client_folder", mode="before")
    @classmethod
    def _not_empty(cls, given: Any, info: ValidationInfo) -> Any:
        if given is None:
            raise _missing(str(info.field_name))
        return given

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        written = self.model_fields_set
        if "accounts" not in written:
            for key in ("account", "client_folder"):
                if key not in written:
                    raise _missing(key, (key,))
            return self
        if not self.accounts:
            raise InvalidSetting(
                "Write each account as an item `- {name: ..., account: ..., client_folder: ...}`, or remove the key.",
                problem="names no account",
                at=("accounts",),
            )
        for key in ("label", "client_folder"):
            if key in written:
                raise InvalidSetting(
                    "Write it in each item of `accounts`.", problem="cannot be the same for all accounts", at=(key,)
                )
        return self


def _missing(key: str, at: Place = ()) -> InvalidSetting:
    named = key.replace("_", " ")
    return InvalidSetting(
        f"Write the id of the {named}, which `icontact-assets discover` shows.", problem="is missing", at=at
    )


class ExportItem(ExportOptions):
    """An item of `exports`."""

    match: Literal["id", "email"] = "id"
    """How people are found in another client folder."""
    authorization: str | None = None
    """The name of the authorization that asks in another client folder."""
    account: Id | None = None
    """The id of the account of another client folder."""
    client_folder: Id | None = None
    """The id of another client folder than the import's."""

    @field_validator("remove", mode="before")
    @classmethod
    def _way_to_remove(cls, given: Any) -> Any:
        if given == "unsubscribe":
            return {}
        move_to = given["move_to"] if isinstance(given, dict) and list(given) == ["move_to"] else None
        if move_to is None or (isinstance(move_to, str) and not move_to.strip()):
            raise InvalidSetting(_WAYS_TO_REMOVE, problem="is neither a list to move to nor `unsubscribe`")
        return given

    @field_validator("suppression", mode="before")
    @classmethod
    def _is_written(cls, given: Any) -> Any:
        # Whoever left this empty meant somebody.
        if given is None:
            raise InvalidSetting("Write `{file: people.csv}` or `{table: schema.table}`.")
        return given

    @field_validator("approve", mode="before")
    @classmethod
    def _is_hash(cls, given: Any, info: ValidationInfo) -> Any:
        if not isinstance(given, str) or not HASH.fullmatch(given):
            raise InvalidSetting(
                "Write the hash of the plan that is approved, 32 hexadecimal digits in quotes: "
                f"`icontact-assets plan {info.data.get('name', 'EXPORT')}` prints it."
            )
        return given

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        """Options that say nothing, or that make no sense together, are refused: somebody meant something by them."""
        written = self.model_fields_set
        if "pace" in written:
            self._pace_says_something()
        if self.mode == "mirror" and self.remove is None:
            raise InvalidSetting(_WAYS_TO_REMOVE, problem="is missing: a mirror removes people", at=("remove",))
        if self.mode != "mirror":
            places: list[tuple[str, ...]] = [(key,) for key in ("remove", "adopt_existing") if key in written]
            places += [("limits", key) for key in ("removes", "removed_share") if key in self.limits.model_fields_set]
            for at in places:
                raise InvalidSetting(
                    "Remove it, or write `mode: mirror`.", problem=f"mode {self.mode} removes nobody", at=at
                )
        if self.remove is not None and self.remove.move_to == self.list:
            raise InvalidSetting(
                "Name another list.", problem="is the list of the export itself", at=("remove", "move_to")
            )
        if self.mode == "dry_run":
            for key in ("approve", "pace"):
                if key in written:
                    raise InvalidSetting(
                        "Remove it, or write `mode: add` or `mode: mirror`.",
                        problem="mode dry_run writes nothing",
                        at=(key,),
                    )
        return self

    def _pace_says_something(self) -> None:
        if self.pace.adds_per_day is None and self.pace.quiet_hours is None:
            raise InvalidSetting("Write `adds_per_day`, `quiet_hours` or both.", problem="limits nothing", at=("pace",))
        if "time_zone" in self.pace.model_fields_set and self.pace.quiet_hours is None:
            raise InvalidSetting(
                "Remove it, or write `quiet_hours`.", problem="there are no quiet hours", at=("pace", "time_zone")
            )


class Written(Model):
    """A whole file of settings."""

    authorizations: tuple[AuthorizationItem, ...] = ()
    """The applications that ask."""
    imports: tuple[ImportItem, ...] = ()
    """The client folders that are read."""
    audiences: tuple[Audience, ...] = ()
    """The people chosen from them."""
    exports: tuple[ExportItem, ...] = ()
    """The lists that audiences are put on."""
    priorities: tuple[Names, ...] = ()
    """Exports in order: whoever an export takes is left out by those after it."""
    schedule: Schedule = Schedule()
    """When the daily schedule runs."""
    reports: Reports = Reports()
    """How the report tables count days and people."""
    owners: tuple[Owner, ...] = ()
    """Who is shown as owner of every asset, as e-mail address or as `team:<name>`."""

    @model_validator(mode="before")
    @classmethod
    def _sections(cls, written: Any) -> Any:
        sections = {} if written is None else written
        if not isinstance(sections, dict):
            raise InvalidSetting(f"Write sections: {', '.join(cls.model_fields)}.")
        # All of a section may be commented out.
        return {key: value for key, value in sections.items() if value is not None or key not in cls.model_fields}

    @field_validator("authorizations", "imports", "audiences", "exports", mode="before")
    @classmethod
    def _have_names(cls, section: Any, info: ValidationInfo) -> Any:
        """A section is a list. Two items of one name come first: what else is wrong with them may come of it."""
        if not isinstance(section, list):
            raise InvalidSetting(f"Write each of the {info.field_name} as an item `- name: ...`.")
        seen: set[str] = set()
        for at, name in _names(section):
            if name in seen:
                raise InvalidSetting("Give each its own name.", problem=f"{name!r} is defined twice", at=(*at, "name"))
            seen.add(name)
        return section


def _names(section: list[Any], below: Place = ()) -> Iterator[tuple[Place, str]]:
    """The names of items, and of the accounts in them, each with the place of its item."""
    for index, item in enumerate(section):
        if isinstance(item, dict):
            name, accounts = item.get("name"), item.get("accounts")
            if isinstance(name, str) and NAME.fullmatch(name):
                yield (*below, index), name
            if isinstance(accounts, list) and not below:
                yield from _names(accounts, (index, "accounts"))
