"""The project as a user runs it: settings, definitions, an instance of Dagster's."""

from __future__ import annotations

import multiprocessing
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from icontact_assets.assets.raw import raw_assets
from icontact_assets.build import build_defs
from icontact_assets.ingest.window import Window
from icontact_assets.partitions import range_tags
from icontact_assets.resources import storage_of
from icontact_assets.sandbox.process import Sandbox
from icontact_assets.settings.load import load_settings
from icontact_assets.settings.models import Settings
from icontact_assets.warehouse.warehouse import Warehouse
from icontact_assets_tests.harness.held import keep_open, let_all_go, let_go
from icontact_assets_tests.harness.quick import QuickAsset, QuickResult, quick_assets, quick_run
from icontact_assets_tests.harness.records import without_records

AUDIENCE = """
audiences:
  - {name: readers, import: icontact, where: "last_active_ts IS NOT NULL"}
exports:
  - {name: readers, audience: readers, list: Export target, mode: add}
"""

ALL_RAW = 'key:"icontact/raw_*"'
_RAW = re.compile(r'key:"icontact/(raw_[^"]+)"')
_ONLY_RAW = re.compile(rf"{_RAW.pattern}( or {_RAW.pattern})*")

TODAY = datetime.now(UTC).date()


def days_ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def resume(sandbox: Sandbox, began: str) -> None:
    """Give the sandbox the world that began at that time again. Begun at another time, it would have other events."""
    sandbox.control("reset", now=began)
    sandbox.control("clock", now=datetime.now(UTC).isoformat())


@dataclass
class _Made:
    """What is made once of the same variables and the same file."""

    settings: Settings
    raw: list[dg.AssetsDefinition] = field(default_factory=list)
    quick: list[QuickAsset] = field(default_factory=list)
    jobs: dict[str, dg.JobDefinition] = field(default_factory=dict)

    @cached_property
    def definitions(self) -> dg.Definitions:
        return build_defs(self.settings)


@dataclass
class Project:
    """The project as a user runs it: settings, definitions, an instance of Dagster's."""

    sandbox: Sandbox
    home: Path
    environment: dict[str, str]
    config: str = ""
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)
    keeps_open: bool = False
    """Its database, if that is a file, is opened once for all steps of this process."""
    _made: dict[Any, _Made] = field(default_factory=dict, init=False)

    @classmethod
    def in_folder(cls, sandbox: Sandbox, folder: Path, variables: Mapping[str, str] | None = None) -> Project:
        """The project of most tests, with everything that it keeps below `folder`. `variables`: where its tables are."""
        environment = {
            **sandbox.environment(),
            **(variables or {}),
            "ICONTACT_ASSETS_HOME": str(folder / "home"),
            "ICONTACT_START_DATE": days_ago(40).isoformat(),
            "ICONTACT_WORKERS": "2",
            # Only what is about the copy, or begins with one, pays for it.
            "ICONTACT_ASSETS_PUBLISH": "false",
        }
        return cls(sandbox, folder, environment)

    def quick(self) -> Project:
        """This project, where only results and tables matter: no events are on record."""
        self.instance = without_records()
        self.keeps_open = True
        return self

    def alone(self) -> Project:
        """This project, where nobody else reads its database: it is kept open, and no copy of it is made."""
        self.environment["ICONTACT_ASSETS_PUBLISH"] = "false"
        self.keeps_open = True
        return self

    @property
    def settings(self) -> Settings:
        return self._once().settings

    def let_go(self) -> None:
        """Close what is kept open, for another process or to copy it. What asks for it opens it again."""
        if self.keeps_open:
            let_go(self.settings.duckdb_path)

    @property
    def definitions(self) -> dg.Definitions:
        """Built once for the same settings, as a process of Dagster does."""
        return self._once().definitions

    def run(self, selection: str = ALL_RAW, window: Window | None = None, **tags: str) -> Any:
        """Materialize a selection of assets, for a window of days where they are partitioned: a result of Dagster's.
        Where no events are on record and only raw assets are selected, a QuickResult."""
        if self.instance is without_records() and window is not None and _ONLY_RAW.fullmatch(selection):
            return self.read(selection, window, **tags)
        return self._job_over(selection).execute_in_process(
            instance=self.instance,
            tags={**(range_tags(window) if window else {}), **tags},
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

    def read(self, selection: str, window: Window, **tags: str) -> QuickResult:
        """Materialize raw assets without Dagster's engine. Nothing of it is on record."""
        return quick_run(self._quick(selection), without_records(), window, tags)

    def _job_over(self, selection: str) -> dg.JobDefinition:
        """Made once for the same settings. Whoever asks for raw assets only does without the others."""
        jobs = self._once().jobs
        if selection not in jobs:
            if _ONLY_RAW.fullmatch(selection):
                assets = self._raw()
            else:
                assets = [asset for asset in self.definitions.assets or [] if isinstance(asset, dg.AssetsDefinition)]
            job = dg.define_asset_job("selected", dg.AssetSelection.from_string(selection))
            jobs[selection] = dg.Definitions(assets=assets, jobs=[job]).resolve_job_def(job.name)
        return jobs[selection]

    def _raw(self) -> list[dg.AssetsDefinition]:
        made = self._once()
        if not made.raw:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", dg.BetaWarning)
                made.raw += [asset for import_ in made.settings.imports for asset in raw_assets(made.settings, import_)]
        return made.raw

    def _quick(self, selection: str) -> list[QuickAsset]:
        """The raw assets of a selection that names them, or all."""
        made = self._once()
        if not made.quick:
            made.quick += [asset for import_ in made.settings.imports for asset in quick_assets(made.settings, import_)]
        names = _RAW.findall(selection)
        return [asset for asset in made.quick if "raw_*" in names or asset.key.path[-1] in names]

    def _once(self) -> _Made:
        file = self.home / "icontact.yaml"
        if self.config:
            file.write_text(self.config)
        written = (frozenset(self.environment.items()), file.read_bytes() if file.exists() else b"")
        if written not in self._made:
            self._made[written] = _Made(load_settings(self.environment, self.home))
        settings = self._made[written].settings
        if self.keeps_open and settings.lake is None and settings.published_path is None:
            keep_open(settings.duckdb_path)
        return self._made[written]

    def fork(self, selection: str, window: Window) -> ForkProcess:
        """`run` in a copy of this process: quicker to start than a command, as real to kill."""
        self.let_go()
        process = multiprocessing.get_context("fork").Process(target=self._run_alone, args=(selection, window))
        process.start()
        return process

    def _run_alone(self, selection: str, window: Window) -> None:
        self.keeps_open = False
        let_all_go()
        self.run(selection, window)

    def job(self, window: Window) -> dg.ExecuteInProcessResult:
        """The daily job."""
        return self.definitions.resolve_job_def("icontact_import").execute_in_process(
            instance=self.instance, tags=range_tags(window), raise_on_error=False
        )

    @contextmanager
    def tables(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with Warehouse(storage_of(self.settings)).read() as connection:
            yield connection

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.tables() as connection:
            return connection.execute(sql).fetchall()

    def requests(self) -> list[dict[str, Any]]:
        log: list[dict[str, Any]] = self.sandbox.control("log")
        return log

    def stored_events(self) -> Counter[tuple[Any, ...]]:
        return Counter(
            self.rows("SELECT message_id, event_type, contact_id, event_time, event_url FROM icontact.raw_activity")
        )

    def true_events(self) -> Counter[tuple[Any, ...]]:
        return Counter(
            (
                row["message_id"],
                row["kind"].removesuffix("s"),
                row["contact_id"],
                datetime.fromisoformat(row["instant"]).replace(tzinfo=None),
                row["url"],
            )
            for row in self.sandbox.control("truth")["activity"]
            if row["visible"]
        )

    def metadata(self, result: dg.ExecuteInProcessResult | QuickResult, asset: str) -> dict[str, dict[str, Any]]:
        """Metadata of an asset's materializations by partition."""
        materializations = (
            result.green
            if isinstance(result, QuickResult)
            else [
                event.step_materialization_data.materialization for event in result.get_asset_materialization_events()
            ]
        )
        return {
            str(each.partition): {name: value.value for name, value in each.metadata.items()}
            for each in materializations
            if each.asset_key == dg.AssetKey(["icontact", asset])
        }


def rows_of(value: dg.TableMetadataValue) -> list[tuple[Any, ...]]:
    """The rows of a table in metadata."""
    names = [column.name for column in value.schema.columns]
    return [tuple(record.data[name] for name in names) for record in value.records]
