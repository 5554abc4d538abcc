"""The report tables of one import, and the page that is made of them: campaigns, links, engagement, domains, lists."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import duckdb

from icontact_assets.assets.mapped import follow
from icontact_assets.assets.pages import Page, described, keyed
from icontact_assets.assets.worker import worker
from icontact_assets.checks import report_results, report_specs
from icontact_assets.mapping.lineage import Lineage
from icontact_assets.metadata import failing_plainly, metadata_table
from icontact_assets.pages import write_page
from icontact_assets.plain import mask
from icontact_assets.records import table_key
from icontact_assets.reports.build import Task, build_reports
from icontact_assets.reports.campaigns import build_campaigns
from icontact_assets.reports.domains import build_domains
from icontact_assets.reports.engagement import build_engagement
from icontact_assets.reports.figures import read_figures
from icontact_assets.reports.highlights import highlights
from icontact_assets.reports.lineage import LINEAGE
from icontact_assets.reports.links import build_links
from icontact_assets.reports.list_health import build_list_health
from icontact_assets.reports.page import render
from icontact_assets.reports.period import DAYS, Period
from icontact_assets.reports.tables import (
    CAMPAIGNS,
    DOMAINS,
    ENGAGEMENT,
    ENGAGEMENT_CHANGES,
    LINKS,
    LIST_HEALTH,
    REPORT_TABLES,
)
from icontact_assets.resources import open_import, report_path, scope_of
from icontact_assets.settings.models import Import, Settings
from icontact_assets.warehouse.tables import Table


@dataclass(frozen=True)
class _Report:
    """A report table, and what its page shows of it."""

    table: Table
    code: Callable[..., Any]
    """What computes it."""
    shown: str
    """A query for rows that show what is in it, and nobody's person."""
    beside: tuple[Table, ...] = ()
    """What is written besides."""


_REPORTS = (
    _Report(
        CAMPAIGNS,
        build_campaigns,
        "SELECT message_id, subject, first_send_at, sent, delivered, unique_opens, human_unique_opens, unique_clicks, "
        "round(open_rate, 4) AS open_rate, round(click_rate, 4) AS click_rate, round(bounce_rate, 4) AS bounce_rate "
        "FROM campaigns ORDER BY first_send_at DESC NULLS LAST, message_id LIMIT 10",
    ),
    _Report(
        LINKS,
        build_links,
        "SELECT link, clicks, people, human_clicks, human_people, first_click_at, last_click_at FROM links "
        "WHERE message_id IS NULL ORDER BY clicks DESC, link LIMIT 10",
    ),
    _Report(
        ENGAGEMENT,
        build_engagement,
        "SELECT tier, count(*) AS people, count(*) FILTER (due_for = 'win_back') AS due_for_win_back, "
        "count(*) FILTER (due_for = 'sunset') AS due_for_sunset, round(avg(mails_30d), 1) AS mails_30d "
        "FROM engagement GROUP BY tier ORDER BY people DESC, tier",
        beside=(ENGAGEMENT_CHANGES,),
    ),
    _Report(
        DOMAINS,
        build_domains,
        "SELECT domain, contacts, deliveries, round(open_rate, 4) AS open_rate, round(click_rate, 4) AS click_rate, "
        "round(bounce_rate, 4) AS bounce_rate FROM domains ORDER BY contacts DESC, domain LIMIT 10",
    ),
    _Report(LIST_HEALTH, build_list_health, "FROM list_health ORDER BY day DESC, list_id LIMIT 10"),
)


def report_assets(settings: Settings, import_: Import, raw: Collection[str]) -> list[dg.AssetsDefinition]:
    """The report tables of an import, which follow the raw assets, and the page, which follows them. `raw`: the tables
    of the raw assets."""
    return [_tables(settings, import_, raw), _page_asset(settings, import_)]


def _tables(settings: Settings, import_: Import, raw: Collection[str]) -> dg.AssetsDefinition:
    """The report tables: one step, because they share what takes longest. Any of them can be asked for alone."""
    pages = {report: _page(import_, report, raw) for report in _REPORTS}
    keys = {report: table_key(import_.name, report.table.name) for report in _REPORTS}
    following = follow([table_key(import_.name, name) for name in ("raw_contacts", "raw_activity")])

    @dg.multi_asset(
        name=f"{import_.name}__reports",
        specs=[
            dg.AssetSpec(
                keys[report],
                deps=[
                    table_key(import_.name, name)
                    for name in sorted({table for of in _lineage(report, raw).values() for table, _ in of})
                ],
                description=report.table.description,
                group_name=f"{import_.name}_reports",
                automation_condition=following,
                **described(settings, page),
            )
            for report, page in pages.items()
        ],
        check_specs=[spec for key in keys.values() for spec in report_specs(key)],
        can_subset=True,
        resource_defs=worker(settings),
        required_resource_keys={*worker(settings)},
    )
    def tables(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        asked = [report for report in _REPORTS if keys[report] in context.selected_asset_keys]
        task = Task(scope_of(settings, import_), settings.reports, import_.start_date, datetime.now(UTC))
        found = []
        with failing_plainly():
            warehouse = open_import(settings, import_, waiting=context.log.warning)
            with warehouse.write("computing the reports") as connection:
                built = build_reports(connection, [report.table for report in asked], task)
                for report in asked:
                    checks = report_results(connection, keys[report], report.table)
                    found.append((report, _preview(connection, report.shown), checks))
        for report, preview, checks in found:
            facts = {"dagster/row_count": built[report.table.name].rows}
            if report.table is ENGAGEMENT:
                facts["tier_changes"] = built[ENGAGEMENT.name].tier_changes or 0
            yield dg.MaterializeResult(
                asset_key=keys[report],
                metadata={**facts, "dagster/column_lineage": pages[report].lineage, "preview": preview},
                check_results=checks,
            )

    return tables


def _lineage(report: _Report, raw: Collection[str]) -> Lineage:
    # Subscriptions are read only where a list is named.
    return {
        column: tuple(source for source in sources if source[0] in raw)
        for column, sources in LINEAGE[report.table.name].items()
    }


def _page(import_: Import, report: _Report, raw: Collection[str]) -> Page:
    return Page(
        import_name=import_.name,
        layer="report",
        table=report.table.name,
        columns=report.table.columns,
        kinds=frozenset({"duckdb", "table"}),
        docs="reports.md",
        code=report.code,
        comes_from=lambda: keyed(_lineage(report, raw), import_.name),
        beside=report.beside,
    )


def _preview(connection: duckdb.DuckDBPyConnection, query: str) -> dg.TableMetadataValue:
    """Rows of a query. A path of a link may hold somebody's address, which is masked."""
    found = connection.execute(query)
    columns = [column[0] for column in found.description]
    return metadata_table(
        columns, [[mask(cell) if isinstance(cell, str) else cell for cell in row] for row in found.fetchall()]
    )


def _page_asset(settings: Settings, import_: Import) -> dg.AssetsDefinition:
    """The page with the report on the last days, as a file."""
    made_of = tuple(table.name for table in REPORT_TABLES)
    page = Page(
        import_name=import_.name,
        layer="report",
        table=None,
        columns=(),
        kinds=frozenset({"html"}),
        docs="reports.md",
        code=render,
    )

    def run(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
        now, path = datetime.now(UTC), report_path(settings, import_)
        period = Period.ended(now, settings.reports.time_zone)
        with failing_plainly():
            with open_import(settings, import_, waiting=context.log.warning).read() as connection:
                figures = read_figures(connection, scope_of(settings, import_), period, now)
            write_page(path, render(figures, import_.label, now), settings.readers)
        return dg.MaterializeResult(
            metadata={
                "to_know": metadata_table(("what", "answer"), highlights(figures)),
                "file": dg.MetadataValue.path(str(path.resolve())),
                "first_day": period.first.isoformat(),
                "last_day": period.last.isoformat(),
                "time_zone": period.time_zone,
                "kilobytes": path.stat().st_size // 1000,
            }
        )

    return dg.asset(
        key=table_key(import_.name, "report"),
        deps=[table_key(import_.name, name) for name in made_of],
        description=f"A page to send: the last {DAYS} ended days in plain words, figures and plots, as one HTML file.",
        group_name=f"{import_.name}_reports",
        automation_condition=follow([table_key(import_.name, name) for name in made_of]),
        resource_defs=worker(settings),
        required_resource_keys={*worker(settings)},
        **described(settings, page),
    )(run)
