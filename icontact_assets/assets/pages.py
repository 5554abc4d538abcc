"""What the page of an asset in the UI shows before any run: owners, tags, tables, columns and where they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, metadata
from itertools import chain
from types import CodeType
from typing import Any, Literal, TypedDict

import dagster as dg

from icontact_assets.mapping.lineage import Lineage
from icontact_assets.metadata import column_schema, metadata_table
from icontact_assets.records import IMPORT_TAG, LAYER_TAG
from icontact_assets.settings.models import Settings
from icontact_assets.warehouse.tables import (
    CHANGED_CONTACTS,
    COVERAGE,
    IMPORT_COVERAGE,
    IMPORT_SOURCE,
    KNOWN_FIELDS,
    MISSED,
    QUARANTINE,
    RAW_ACTIVITY,
    RAW_CONTACTS,
    TOUCHED_CONTACTS,
    VIEWS,
    Column,
    Table,
    View,
)

_BESIDE = {
    RAW_CONTACTS.name: (IMPORT_SOURCE, KNOWN_FIELDS, MISSED, CHANGED_CONTACTS),
    RAW_ACTIVITY.name: (COVERAGE, IMPORT_COVERAGE, QUARANTINE, TOUCHED_CONTACTS),
}
"""What all raw assets write, on the page where it is looked for first."""

Layer = Literal["raw", "mapped", "report", "audience", "export"]


@dataclass(frozen=True)
class Page:
    """The page of one asset of an import."""

    import_name: str
    layer: Layer
    table: str | None
    """The table or view that the asset writes, without its schema. None: it writes none."""
    columns: tuple[Column, ...]
    kinds: frozenset[str]
    docs: str
    """The page of the documentation, as `tables.md`."""
    code: Callable[..., Any]
    """What does the asset's work."""
    comes_from: Callable[[], Mapping[str, Sequence[tuple[dg.AssetKey, str]]]] = dict
    """For each column the columns of other assets that its values come from."""
    beside: tuple[Table | View, ...] = ()
    """What the asset writes besides, which no other page shows."""

    @cached_property
    def lineage(self) -> dg.TableColumnLineage:
        """Where columns come from, as Dagster shows it. Its UI reads it from the newest materialization, so nothing is
        made of it before."""
        comes_from = self.comes_from()
        # Many columns come from the same ones.
        deps = {source: dg.TableColumnDep(*source) for source in set(chain.from_iterable(comes_from.values()))}
        return dg.TableColumnLineage(
            {column: [deps[source] for source in sources] for column, sources in comes_from.items()}
        )


def raw_page(import_name: str, table: Table, code: Callable[..., Any]) -> Page:
    """The page of a raw asset."""
    return Page(
        import_name=import_name,
        layer="raw",
        table=table.name,
        columns=table.columns,
        kinds=frozenset({"icontact", "duckdb", "table"}),
        docs="tables.md",
        code=code,
        beside=(*(view for view in VIEWS if view.of is table), *_BESIDE.get(table.name, ())),
    )


class Described(TypedDict):
    """Arguments of `dg.asset`."""

    owners: list[str]
    tags: dict[str, str]
    kinds: set[str]
    metadata: dict[str, Any]
    freshness_policy: dg.FreshnessPolicy | None


def described(settings: Settings, page: Page, extra: Mapping[str, Any] | None = None) -> Described:
    """Arguments of `dg.asset` for a page. `extra` is metadata that only this page has."""
    return {
        "owners": list(settings.owners),
        "tags": {IMPORT_TAG: page.import_name, LAYER_TAG: page.layer},
        "kinds": set(page.kinds),
        "metadata": {
            **(
                {
                    "dagster/column_schema": shared_schema(page.columns),
                    "dagster/table_name": f"{page.import_name}.{page.table}",
                }
                if page.table
                else {}
            ),
            "dagster/code_references": _code(page.code.__code__),
            "documentation": documentation(page.docs),
            **_beside(page.beside),
            **(extra or {}),
        },
        "freshness_policy": _fresh(settings) if page.layer in ("raw", "mapped", "report") else None,
    }


def _fresh(settings: Settings) -> dg.FreshnessPolicy | None:
    # A window has no clock to change, as the time of a deadline would have.
    hours = settings.schedule.overdue_hours
    return dg.FreshnessPolicy.time_window(timedelta(hours=hours)) if hours else None


def keyed(lineage: Lineage, import_name: str) -> dict[str, tuple[tuple[dg.AssetKey, str], ...]]:
    """A lineage between tables as one between the assets of an import."""
    keys = {table: dg.AssetKey([import_name, table]) for found in lineage.values() for table, _ in found}
    return {column: tuple((keys[table], of) for table, of in found) for column, found in lineage.items()}


@cache
def documentation(page: str) -> dg.MetadataValue[Any]:
    """The address of a page of the documentation, or its path in the source where the package names no address."""
    try:
        links = metadata("icontact_assets").get_all("Project-URL") or []
    except PackageNotFoundError:
        links = []
    for link in links:
        label, _, address = link.partition(", ")
        if label == "Documentation":
            return dg.MetadataValue.url(f"{address.rstrip('/')}/{page.removesuffix('.md')}/")
    return dg.MetadataValue.text(f"docs/{page}")


@cache
def shared_schema(columns: tuple[Column, ...]) -> dg.TableSchema:
    """The columns as Dagster shows them: made once for all imports."""
    return column_schema(columns)


@cache
def _beside(tables: tuple[Table | View, ...]) -> dict[str, Any]:
    if not tables:
        return {}
    rows = [(table.name, table.description) for table in tables]
    return {
        "tables": metadata_table(("table", "description"), rows),
        **{f"columns of {table.name}": shared_schema(table.columns) for table in tables},
    }


@cache
def _code(code: CodeType) -> dg.CodeReferencesMetadataValue:
    return dg.CodeReferencesMetadataValue(
        code_references=[
            dg.LocalFileCodeReference(file_path=code.co_filename, line_number=code.co_firstlineno, label=code.co_name)
        ]
    )
