"""Settings as typed models: a new option is a field here. Every room may import it."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic.dataclasses import dataclass

from icontact_assets.errors import UserError
from icontact_assets.private import Readers

PRODUCTION = "https://app.icontact.com/icp"

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


# A number larger than any that a setting counts, and small enough for every database and clock.
_MOST = 1_000_000_000
_ONE_A_DAY = 0.000012

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


class SettingsError(UserError):
    """A setting cannot be used. One paragraph: file, line, key, what was found, the remedy; never a secret."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AgeStep:
    """Messages released at most `until_days` ago (None: all older ones) are polled every `poll_days` (0: in each
    run), and read from the first row on every `verify_days`, whatever iContact's statistics say.

    Days of 1 and more are upper bounds: each message has an interval of its own between half of them and all, so that
    messages first read on one day do not come due on one day again.
    """

    poll_days: Annotated[int, Field(ge=0, le=36_500)]
    verify_days: Annotated[int, Field(ge=1, le=36_500)]
    until_days: Annotated[float | None, Field(gt=0, le=36_500)] = None


BY_AGE = (
    AgeStep(until_days=3, poll_days=0, verify_days=7),
    AgeStep(until_days=30, poll_days=1, verify_days=7),
    AgeStep(until_days=180, poll_days=7, verify_days=30),
    AgeStep(poll_days=30, verify_days=180),
)


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


class Refresh(_Model):
    """How often the statistics of a message are polled, by its age (see `AgeStep`).

    A listing in the middle of which rows turned up is read whole at once if it has at most `reread_pages` pages, else
    when it is verified.
    """

    by_age: tuple[AgeStep, ...] = BY_AGE
    reread_pages: int = Field(default=50, ge=0, le=_MOST)

    @field_validator("by_age")
    @classmethod
    def _rises(cls, by_age: tuple[AgeStep, ...]) -> tuple[AgeStep, ...]:
        ends = [step.until_days for step in by_age]
        inner = [end for end in ends[:-1] if end is not None]
        if not by_age or ends[-1] is not None or len(inner) < len(by_age) - 1 or inner != sorted(set(inner)):
            raise ValueError("write steps with rising until_days, and a last one without")
        return by_age


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
    refresh: Refresh = Refresh()
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

    of: str = Field(pattern=f"^{NAME.pattern}$")
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


class Suppression(_Model):
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

    Left out are the members of the audiences `exclude`, those outside the `split`, `holdout` percent by chance, and
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
    external_changes: Literal["report", "keep", "repair"] = "report"
    consent: Literal["list", "strict"] = "list"
    suppression: Suppression | None = None
    limits: ExportLimits = ExportLimits()
    approve: str | None = None
    folder: ExportFolder | None = None
    pace: Pace = Pace()
    recheck: int = Field(default=24, ge=1, le=8784)
    exclude: tuple[str, ...] = ()
    split: Split | None = None
    holdout: Decimal = Field(default=Decimal(0), ge=0, lt=100, decimal_places=2)
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
