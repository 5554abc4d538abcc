"""Settings as typed models: a new option is one field here. Every room may import it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from icontact_assets.errors import UserError
from icontact_assets.private import Readers
from icontact_assets.settings.requests import Refresh, RequestLimits
from icontact_assets.settings.values import (
    CLOCK,
    MOST,
    NAME,
    TABLE,
    Day,
    InvalidSetting,
    Model,
    Named,
    Names,
    Owner,
    Text,
    TimeZone,
    listed,
    not_ready,
)

PRODUCTION = "https://app.icontact.com/icp"

# A mapping of which all is commented out.
_OR_DEFAULTS = BeforeValidator(lambda value: {} if value is None else value)


class SettingsError(UserError):
    """A setting cannot be used. One paragraph: file, line, key, what was found and the remedy. Never a secret."""


class Authorization(Named):
    """Who asks iContact."""

    app_id: SecretStr | None = None
    username: SecretStr | None = None
    password: SecretStr | None = None
    unset: tuple[str, ...] = ()
    """Variables without which requests cannot be signed."""
    faults: tuple[str, ...] = ()
    """What is wrong with other variables."""

    def credentials(self) -> tuple[str, str, str]:
        """Application id, user name and password. Raises SettingsError naming the variables that are unset or wrong."""
        if self.app_id is None or self.username is None or self.password is None:
            raise SettingsError(not_ready(f"The authorization {self.name}", self.unset, self.faults))
        return self.app_id.get_secret_value(), self.username.get_secret_value(), self.password.get_secret_value()


class ClientFolder(Model):
    """A client folder of an account, and who asks there."""

    authorization: Authorization
    account_id: str | None = None
    client_folder_id: str | None = None
    unset: tuple[str, ...] = ()
    """Variables without which the ids are not known."""
    faults: tuple[str, ...] = ()
    """What is wrong with other variables."""


class EveryImport(Model):
    """What the environment says for every import, by variables named `ICONTACT_` and the field in capital letters."""

    start_date: Day = date(2024, 1, 1)
    """The first day that is read (`ICONTACT_START_DATE`). An import may have its own."""
    page_size: int = Field(default=500, ge=1, le=10_000)
    """Rows asked for at once (`ICONTACT_PAGE_SIZE`)."""
    workers: int = Field(default=1, ge=1, le=64)
    """Requests under way at once (`ICONTACT_WORKERS`)."""
    answer_mb: int = Field(default=16, ge=1, le=1024)
    """The largest response that is read, in MB, unpacked. A larger page is asked for in smaller ones
    (`ICONTACT_ANSWER_MB`)."""


class ImportOptions(Named):
    """The options of an import that refer to nothing else in the file."""

    keep_updated: bool = False
    """Whether an hourly schedule runs beside the daily one."""
    filter_by_aid: str | None = Field(default=None, min_length=1)
    """Only messages tagged with this AID are read."""
    lists: Names = ()
    """The lists, by name or id, whose subscriptions are read too. Those that exports name are read anyway."""
    people: Names = ()
    """The imports whose contacts are joined into people, this one included. Without it there is no table of people."""
    schema_drift: Literal["evolve", "warn", "fail"] = "warn"
    """What to do when fields of iContact go missing or change their kind."""
    limits: Annotated[RequestLimits, _OR_DEFAULTS] = RequestLimits()
    """The most requests that are asked."""
    refresh: Annotated[Refresh, _OR_DEFAULTS] = Refresh()
    """How often what was read is asked for again."""


class Import(ImportOptions, EveryImport, ClientFolder):
    """One client folder of one account. Its name is the asset key prefix and the DuckDB schema."""

    def ready(self) -> tuple[str, str]:
        """Account and client folder id. Raises SettingsError naming everything that is unset or wrong."""
        missing = (*self.authorization.unset, *self.unset)
        faults = (*self.authorization.faults, *self.faults)
        if missing or faults or self.account_id is None or self.client_folder_id is None:
            raise SettingsError(not_ready(f"The import {self.name}", missing, faults))
        return self.account_id, self.client_folder_id


class Audience(Named):
    """People chosen from the profiles of an import, by one of `where` and `query`."""

    import_name: str = Field(alias="import")
    """The name of the import whose profiles it is computed from."""
    where: Text = None
    """A SQL condition over icontact_profiles."""
    query: Text = None
    """A SELECT that yields ic_contact_id."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.where is None) == (self.query is None):
            raise InvalidSetting(
                "Write `where:` (a SQL condition over icontact_profiles) or `query:` (a SELECT of ic_contact_id).",
                problem="an audience is either a condition or a query",
            )
        return self


class Split(Model):
    """A part of everybody, by chance: those whose place in the split is in a range of percent."""

    of: str = Field(pattern=f"^{NAME.pattern}$")
    """The name of the split. The same name gives everybody the same place."""
    start: Decimal = Field(alias="from", ge=0, le=100, decimal_places=2)
    """The percentage at which the part begins, with at most two decimals."""
    end: Decimal = Field(alias="to", ge=0, le=100, decimal_places=2)
    """The percentage before which the part ends, with at most two decimals."""

    @model_validator(mode="after")
    def _holds_somebody(self) -> Self:
        if self.start >= self.end:
            raise InvalidSetting(
                "Correct one of them.", problem=f"`from` ({self.start}) must be less than `to` ({self.end})"
            )
        return self


class ExportLimits(Model):
    """Numbers above which an export stops before it writes. Shares: 0.2 is a fifth."""

    adds: int = Field(default=10_000, ge=0, le=MOST)
    """People added in one run."""
    removes: int = Field(default=1_000, ge=0, le=MOST)
    """People removed in one run."""
    removed_share: float = Field(default=0.2, ge=0, le=1)
    """People removed in one run, as a share of the list's `normal` subscriptions."""
    empty_audience: Literal["stop", "allow"] = "stop"
    """What to do when the audience has no members."""
    shrink: float = Field(default=0.5, ge=0, le=1)
    """How much smaller the audience may be, without those left out, than at the last export that wrote."""
    growth: float = Field(default=1.0, ge=0, le=MOST)
    """How much larger the audience may be, without those left out, than at the last export that wrote."""


class Pace(Model):
    """How slowly an export writes."""

    adds_per_day: int | None = Field(default=None, ge=1, le=MOST)
    """The most people added in any 24 hours."""
    quiet_hours: str | None = None
    """The hours in which nothing is written, as HH:MM-HH:MM."""
    time_zone: TimeZone = "UTC"
    """The time zone of the quiet hours."""

    @field_validator("quiet_hours")
    @classmethod
    def _span(cls, value: str | None) -> str | None:
        first, _, last = (value or "").partition("-")
        if value is not None and (not CLOCK.fullmatch(first) or not CLOCK.fullmatch(last) or first == last):
            raise InvalidSetting("Write the hours as HH:MM-HH:MM, for instance '22:00-07:00'.")
        return value


class Remove(Model):
    """How an export removes people from its list."""

    move_to: str | None = Field(default=None, min_length=1)
    """The list that people are moved to, by its id or exact name. None: they are unsubscribed for good."""


class Suppression(Model):
    """People who are never added: one file or one table with columns among contact_id, email, domain."""

    file: Path | None = None
    """A CSV file."""
    table: str | None = None
    """A table of the database, with its schema if that is not the import's."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.file is None) == (self.table is None):
            raise InvalidSetting(
                "Write `{file: people.csv}` or `{table: schema.table}`.", problem="names not exactly one source"
            )
        return self

    @field_validator("table")
    @classmethod
    def _is_name(cls, value: str | None) -> str | None:
        if value is not None and not TABLE.fullmatch(value):
            raise InvalidSetting("Write table, or schema.table.")
        return value


class ExportOptions(Named):
    """The options of an export as they are written, with the names of what they refer to."""

    audience: str
    """The name of the audience that is exported."""
    list: str
    """The id or the exact name of a list."""
    mode: Literal["dry_run", "add", "mirror"] = "dry_run"
    """`dry_run` writes nothing, `add` subscribes, `mirror` also removes."""
    remove: Remove | None = None
    """How a mirror removes people."""
    adopt_existing: bool = False
    """Whether a mirror also removes people who were on the list before."""
    external_changes: Literal["report", "keep", "repair"] = "report"
    """What to do with changes of the list that somebody else made."""
    consent: Literal["list", "strict"] = "list"
    """Which opt-outs forbid to add somebody: those from the list, or those from any list."""
    suppression: Suppression | None = None
    """Who is never added."""
    limits: ExportLimits = ExportLimits()
    """The numbers above which the export stops."""
    approve: str | None = None
    """The hash of the plan that may exceed the limits."""
    pace: Pace = Pace()
    """How slowly people are added."""
    recheck: int = Field(default=24, ge=1, le=8784)
    """The hours after which the list is compared again although the audience did not change."""
    exclude: Names = ()
    """Audiences whose members are left out."""
    split: Split | None = None
    """The part of everybody outside of which members are left out."""
    holdout: Decimal = Field(default=Decimal(0), ge=0, lt=100, decimal_places=2)
    """The percentage of members that is left out by chance, as a control group."""

    @field_validator("list")
    @classmethod
    def _is_named(cls, value: str) -> str:
        if not value.strip():
            raise InvalidSetting("Write the id or the exact name of a list.")
        return value


class Export(ExportOptions):
    """An audience put on a list, with what its names refer to."""

    folder: ClientFolder | None = None
    """The client folder of the list, if that is not the import's."""
    before: tuple[Export, ...] = ()
    """The exports that come first in `priorities`, in order: whoever they take is left out."""


class Schedule(Model):
    """When the daily schedule runs."""

    daily_at: str = "02:00"
    """The time of day, as HH:MM."""
    time_zone: TimeZone = "UTC"
    """The time zone of that time."""
    overdue_hours: int = Field(default=30, ge=0, le=8784)
    """The hours after which an asset, other than audiences and exports, that was not materialized again is shown as
    overdue. 0: never."""

    @field_validator("daily_at")
    @classmethod
    def _clock(cls, value: str) -> str:
        if not CLOCK.fullmatch(value):
            raise InvalidSetting("Write the time as HH:MM, for instance '02:00'.")
        return value


class Reports(Model):
    """How the report tables count days and people."""

    time_zone: TimeZone = "UTC"
    """The time zone of the days in the reports."""
    win_back_days: int = Field(default=90, ge=1, le=36_500)
    """The days without an open or click after which somebody is due for a win-back."""
    sunset_days: int = Field(default=180, ge=2, le=36_500)
    """The days without an open or click after which somebody is due for a sunset: to be mailed no more."""
    minimum_mails: int = Field(default=5, ge=1, le=MOST)
    """The mails that somebody must have got in those days to be due."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.sunset_days <= self.win_back_days:
            raise InvalidSetting(
                "Correct one of them.",
                problem=f"`sunset_days` ({self.sunset_days}) must be more than `win_back_days` ({self.win_back_days})",
            )
        return self


class Sharing(Model):
    """How the database shares the machine with other programs. Its variables begin with `ICONTACT_ASSETS_`."""

    publish: bool = True
    """Whether a run that changed a table renews a copy for reading (`ICONTACT_ASSETS_PUBLISH`)."""
    lock_wait: int = Field(default=300, ge=0, le=86_400)
    """The seconds that a run waits for the database file when another process has it (`ICONTACT_ASSETS_LOCK_WAIT`)."""
    memory_limit: int | None = Field(default=None, ge=200, le=1_000_000_000)
    """The most memory that DuckDB uses, in MB (`ICONTACT_ASSETS_MEMORY_LIMIT`). What does not fit is put beside the
    database. Without it, DuckDB uses 80 % of the machine's, and a computation of mapped or report tables 1,500 MB."""
    snapshot_days: int = Field(default=7, ge=1, le=3650)
    """The days for which former states of a lake, and the files of killed runs, are kept
    (`ICONTACT_ASSETS_SNAPSHOT_DAYS`). Whoever reads for longer finds files missing."""


class Lake(Model):
    """A DuckLake, which keeps the tables in the place of the database file."""

    catalog: SecretStr
    """How libpq connects to the PostgreSQL database of its catalog."""
    data: str
    """Where its Parquet files are: the path of a folder, or an address that begins with s3://."""


class Settings(Model):
    """All settings, checked, with references resolved."""

    base_url: str
    """The address of iContact's service."""
    duckdb_path: Path
    """The database file."""
    home: Path
    """The folder that state is kept in."""
    file: Path | None = None
    """The file that they were read from, if there is one."""
    readers: Readers = Readers()
    """Who may read what is kept."""
    lake: Lake | None = None
    """The DuckLake that keeps the tables. None: they are in the database file."""
    sharing: Sharing = Sharing()
    """How the database is shared with other programs."""
    imports: tuple[Import, ...]
    audiences: tuple[Audience, ...] = ()
    exports: tuple[Export, ...] = ()
    schedule: Schedule = Schedule()
    reports: Reports = Reports()
    owners: tuple[Owner, ...] = ()
    """Who is shown as owner of every asset."""
    record: Path | None = None
    """The folder that every exchange with iContact is recorded in (`ICONTACT_ASSETS_RECORD`). None: none is."""
    notices: SecretStr | None = None
    """Where a notice is sent when an import turns red or green (`ICONTACT_ASSETS_NOTICES`). None: nowhere."""

    def __hash__(self) -> int:
        # To hash every setting of 50 imports, for each of their assets, would take longer than to make the assets.
        return hash((self.home, self.duckdb_path))

    @property
    def published_path(self) -> Path | None:
        """The copy of the database for reading. None: none is made."""
        return self.home / "published" / self.duckdb_path.name if self.sharing.publish else None

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
        # The budget belongs to the account: an import of it knows its limits.
        known = [other for other in self.imports if other.account_id == export.folder.account_id]
        return import_.model_copy(
            update={**dict(export.folder), "limits": known[0].limits if known else import_.limits}
        )

    def exports_of(self, import_: Import) -> list[Export]:
        """The exports whose audience is chosen from an import."""
        audiences = {audience.name for audience in self.audiences if audience.import_name == import_.name}
        return [export for export in self.exports if export.audience in audiences]

    def exports_to(self, import_: Import) -> list[Export]:
        """The exports whose list is in the client folder that an import reads."""
        elsewhere = [export for export in self.exports if export.folder is not None]
        return [
            *(export for export in self.exports_of(import_) if export.folder is None),
            *(export for export in elsewhere if self.schema_of_target(export) == import_.name),
        ]

    def schema_of_target(self, export: Export) -> str | None:
        """The schema of the import that reads the client folder of the export's list, None if there is none."""
        if export.folder is None:
            return self.import_of(export).name
        target = self.target_of(export)
        place = (target.account_id, target.client_folder_id)
        own = self.import_of(export)
        candidates = (own, *(import_ for import_ in self.imports if import_.name != own.name))
        return next((i.name for i in candidates if (i.account_id, i.client_folder_id) == place), None)

    def imports_asked(self, export: Export) -> list[Import]:
        """The imports whose opt-outs an export heeds: the one that reads the client folder of its list, and, with
        `consent: strict`, the one that its audience is chosen from."""
        asked = {self.schema_of_target(export)}
        if export.consent == "strict":
            asked.add(self.import_of(export).name)
        return [import_ for import_ in self.imports if import_.name in asked]


_Item = TypeVar("_Item", Import, Audience, Export)


def _named(items: tuple[_Item, ...], name: str, what: str) -> _Item:
    for item in items:
        if item.name == name:
            return item
    known = listed([item.name for item in items]) or "none"
    raise SettingsError(f"There is no {what} named {name!r}. There are: {known}.")
