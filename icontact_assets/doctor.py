"""What `icontact-assets doctor` checks: settings, database, credentials, account, client folder, budget, Dagster.

A check returns what it found, or raises a UserError that says the remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from icontact_assets.errors import UserError
from icontact_assets.icontact.folder import Account
from icontact_assets.icontact.session import CLOCK_TOLERANCE
from icontact_assets.icontact.values import as_flag, as_id
from icontact_assets.ingest.staging import check_staging
from icontact_assets.resources import known_source, open_session, open_warehouse, staging_path, storage_of
from icontact_assets.settings.models import Export, Import, Settings
from icontact_assets.terminal import MIND, NO, OK, Cell

_Check = tuple[str, Callable[[], str]]


class Finding(NamedTuple):
    """One line of the report."""

    name: str
    mark: Cell
    """`OK`, `NO` or `MIND` of the terminal."""
    text: str


def examine(settings: Settings, import_name: str | None, dagster_home: str | None) -> Iterator[Finding]:
    """Every finding about these settings, or about one import of them. Raises SettingsError if there is no such import.

    `dagster_home`: the value of DAGSTER_HOME.
    """
    imports = (settings.import_named(import_name),) if import_name else settings.imports
    yield Finding("settings", OK, f"{len(settings.imports)} imports, {len(settings.exports)} exports")
    yield Finding("files", OK, files(settings, dagster_home))
    database_opens = False
    for finding in _until_one_fails([("database", partial(database, settings))]):
        database_opens = finding.mark is OK
        yield finding
    if database_opens:
        # What one import holds in the database says nothing of another.
        for import_ in imports:
            yield from _until_one_fails([(f"database: {import_.name}", partial(_holds, settings, import_))])
        yield Finding("published copy", *published(settings))
        if (rights := storage_of(settings).rights_too_many()) is not None:
            yield Finding("rights", MIND, rights)
    for import_ in imports:
        yield from _until_one_fails(_import_checks(settings, import_))
    if import_name is None:
        for export in settings.exports:
            if export.folder is not None:
                yield from _until_one_fails([(f"export {export.name}", partial(_target_folder, settings, export))])
    yield Finding("Dagster", *dagster(dagster_home))


def _until_one_fails(checks: Sequence[_Check]) -> Iterator[Finding]:
    """The findings of checks, each of which needs the ones before."""
    for name, check in checks:
        try:
            yield Finding(name, OK, check())
        except UserError as error:
            yield Finding(name, NO, str(error))
            return


def files(settings: Settings, dagster_home: str | None) -> str:
    """Which files are used. Where no variable says so, they depend on the working folder."""
    env_file = Path(".env")
    used = {
        "settings": settings.file or "the environment alone",
        "variables": env_file.absolute() if env_file.is_file() else "without a .env",
        "state": settings.home,
        "database": storage_of(settings).where,
        "Dagster": dagster_home or "DAGSTER_HOME is not set",
    }
    return ", ".join(f"{what}: {path}" for what, path in used.items())


def database(settings: Settings) -> str:
    """Whether the database can be opened and written."""
    warehouse = open_warehouse(settings, wait_seconds=5)
    existed = warehouse.storage.exists()
    with warehouse.write("doctor") as connection:
        connection.execute("SELECT 1")
    return f"{warehouse.storage.where} {'opens' if existed else 'can be written'}"


def published(settings: Settings) -> tuple[Cell, str]:
    """Whether those who read the published copy see what the database holds."""
    is_current, text = storage_of(settings).shown()
    return OK if is_current else MIND, text


def _holds(settings: Settings, import_: Import) -> str:
    check_staging(staging_path(settings, import_))
    source = known_source(settings, import_)
    if source is None:
        return f"what {import_.name} holds is compared when account and client folder are set"
    warehouse = open_warehouse(settings, import_.name, source=source, wait_seconds=5)
    if warehouse.is_claimed():
        return f"{import_.name} holds {source}"
    return f"the first run records that {import_.name} holds {source}"


def _import_checks(settings: Settings, import_: Import) -> list[_Check]:
    checks: dict[str, Callable[[Settings, Import], str]] = {
        "credentials set": _credentials,
        "connection and clock": _clock,
        "credentials and account": _account,
        "client folder": _client_folder,
        "request budget": _budget,
    }
    return [(f"{import_.name}: {name}", partial(check, settings, import_)) for name, check in checks.items()]


def _seen(settings: Settings, import_: Import) -> Account:
    return Account(open_session(settings, import_, tries=2))


def _credentials(_: Settings, import_: Import) -> str:
    import_.ready()
    return f"the variables of {import_.authorization.name} are set"


def _clock(settings: Settings, import_: Import) -> str:
    skew = _seen(settings, import_).time() - datetime.now(UTC)
    seconds = f"{skew.total_seconds():+.0f} s"
    if abs(skew) > CLOCK_TOLERANCE:
        raise UserError(f"iContact's clock differs by {seconds} from this machine's: set this machine's clock right.")
    return f"{settings.base_url} answers; the clocks differ by {seconds}"


def _account(settings: Settings, import_: Import) -> str:
    found = {as_id(row.get("accountId")): row for row in _seen(settings, import_).accounts()}
    row = found.get(import_.account_id)
    if row is None:
        raise UserError(
            f"Account {import_.account_id} is not among those this user may see ({', '.join(map(str, found))}): "
            "correct ICONTACT_ACCOUNT_ID or the key `account`."
        )
    if not as_flag(row.get("enabled")):
        raise UserError(f"Account {import_.account_id} is not enabled: ask iContact's support.")
    return f"account {import_.account_id} is enabled"


def _client_folder(settings: Settings, import_: Import) -> str:
    account_id, client_folder_id = import_.ready()
    found = [as_id(row.get("clientFolderId")) for row in _seen(settings, import_).client_folders(account_id)]
    if client_folder_id not in found:
        raise UserError(
            f"Client folder {client_folder_id} is not among those of the account ({', '.join(map(str, found))}): "
            "correct ICONTACT_CLIENT_FOLDER_ID or the key `client_folder`."
        )
    return f"client folder {client_folder_id} exists"


def _budget(settings: Settings, import_: Import) -> str:
    left = open_session(settings, import_).budget.left_today()
    return "not limited" if left is None else f"{left} requests left of {import_.limits.per_day} in 24 hours"


def _target_folder(settings: Settings, export: Export) -> str:
    settings.target_of(export).ready()
    return "the variables of its client folder are set"


def dagster(home: str | None) -> tuple[Cell, str]:
    """Whether Dagster's own settings let it notice what became of a run. No import fails without them."""
    if not home:
        return MIND, (
            "DAGSTER_HOME is not set: Dagster forgets each run. Set it to a folder that has a copy of our dagster.yaml."
        )
    path = Path(home) / "dagster.yaml"
    try:
        path = path.expanduser()
        found = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        return MIND, f"{path} is missing: copy our dagster.yaml there."
    except (OSError, RuntimeError, ValueError, yaml.YAMLError) as error:
        return MIND, f"{path} cannot be read ({type(error).__name__}): copy our dagster.yaml there."
    settings = found if isinstance(found, dict) else {}
    runs = _below(settings, "concurrency", "runs")
    wrong = []
    if _below(settings, "run_monitoring").get("enabled") is not True:
        wrong.append(
            "lacks `run_monitoring: {enabled: true}`, without which a run that never starts, or never ends when it is "
            "cancelled, stays so for ever"
        )
    if not settings.keys() & {"instance_class", "storage", "run_storage", "event_log_storage", "schedule_storage"}:
        wrong.append(
            "lacks the `instance_class` of our dagster.yaml, with which a run over many days takes a fraction of the "
            "time"
        )
    if runs.get("tag_concurrency_limits") or runs.get("max_concurrent_runs") == 1:
        wrong.append(
            "limits how many runs there are at once (`concurrency: runs`): a killed run keeps the others queued until "
            "the sensor dead_runs has marked it. Take the limit out: runs of one import wait for each other anyhow"
        )
    pools = _below(settings, "concurrency", "pools")
    if pools.get("default_limit") and pools.get("granularity") != "run":
        wrong.append(
            "counts the steps in a pool (`concurrency: pools`), where a killed run keeps its slot: write "
            "`granularity: run`, or take the pools out unless assets of your own need them"
        )
    return (MIND, f"{path} {'. It '.join(wrong)}.") if wrong else (OK, f"{path} watches runs")


def _below(settings: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        found = settings.get(key)
        settings = found if isinstance(found, dict) else {}
    return settings
