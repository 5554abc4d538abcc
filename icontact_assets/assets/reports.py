"""The report tables of one import, and the page that is made of them: campaigns, links, engagement, domains, lists."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import duckdb

from icontact_assets.assets.mapped import follow
from icontact_assets.assets.pages import Page, column_lineage, described, keyed
from icontact_assets.assets.worker import worker
from icontact_assets.checks import report_results, report_specs
from icontact_assets.metadata import failing_plainly, metadata_table
from icontact_assets.plain import mask
from icontact_assets.records import table_key
from icontact_assets.reports.campaigns import build_campaigns
from icontact_assets.reports.domains import build_domains
from icontact_assets.reports.engagement import build_engagement
from icontact_assets.reports.figures import read_figures
from icontact_assets.reports.highlights import highlights
from icontact_assets.reports.lineage import LINEAGE
from icontact_assets.reports.links import build_links
from icontact_assets.reports.list_health import build_list_health
from icontact_assets.reports.page import render, write_page
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
    """A report table, and how it is computed."""

    table: Table
    needs: tuple[str, ...]
    """The tables of the import without which it is not computed by itself."""
    code: Callable[..., Any]
    body: Callable[[duckdb.DuckDBPyConnection], dict[str, Any]]
    """Computes it, and returns its metadata."""
    shown: str
    """A query for rows that show what is in it, and nobody's person."""
    beside: tuple[Table, ...] = ()
    """What is written besides."""


def report_assets(settings: Settings, import_: Import, raw: Collection[str]) -> list[dg.AssetsDefinition]:
    """The report tables of an import, which follow the raw assets, and the page, which follows them. `raw`: the tables
    of the raw assets."""
    scope, rules = scope_of(settings, import_), settings.reports

    def campaigns(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
        return {"dagster/row_count": build_campaigns(connection, scope, datetime.now(UTC))}

    def links(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
        return {"dagster/row_count": build_links(connection)}

    def engagement(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
        rows, changes = build_engagement(connection, rules, datetime.now(UTC))
        return {"dagster/row_count": rows, "tier_changes": changes}

    def domains(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
        return {"dagster/row_count": build_domains(connection, datetime.now(UTC))}

    def list_health(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
        rows = build_list_health(connection, rules.time_zone, import_.start_date, datetime.now(UTC))
        return {"dagster/row_count": rows}

    reports = (
        _Report(
            CAMPAIGNS,
            ("raw_activity",),
            build_campaigns,
            campaigns,
            "SELECT message_id, subject, first_send_at, sent, delivered, unique_opens, human_unique_opens, "
            "unique_clicks, round(open_rate, 4) AS open_rate, round(click_rate, 4) AS click_rate, "
            "round(bounce_rate, 4) AS bounce_rate "
            "FROM campaigns ORDER BY first_send_at DESC NULLS LAST, message_id LIMIT 10",
        ),
        _Report(
            LINKS,
            ("raw_activity",),
            build_links,
            links,
            "SELECT link, clicks, people, human_clicks, human_people, first_click_at, last_click_at FROM links "
            "WHERE message_id IS NULL ORDER BY clicks DESC, link LIMIT 10",
        ),
        _Report(
            ENGAGEMENT,
            ("raw_contacts", "raw_activity"),
            build_engagement,
            engagement,
            "SELECT tier, count(*) AS people, count_if(due_for = 'win_back') AS due_for_win_back, "
            "count_if(due_for = 'sunset') AS due_for_sunset, round(avg(mails_30d), 1) AS mails_30d "
            "FROM engagement GROUP BY tier ORDER BY people DESC, tier",
            beside=(ENGAGEMENT_CHANGES,),
        ),
        _Report(
            DOMAINS,
            ("raw_contacts", "raw_activity"),
            build_domains,
            domains,
            "SELECT domain, contacts, deliveries, round(open_rate, 4) AS open_rate, "
            "round(click_rate, 4) AS click_rate, "
            "round(bounce_rate, 4) AS bounce_rate FROM domains ORDER BY contacts DESC, domain LIMIT 10",
        ),
        _Report(
            LIST_HEALTH,
            ("raw_contacts", "raw_activity"),
            build_list_health,
            list_health,
            "FROM list_health ORDER BY day DESC, list_id LIMIT 10",
        ),
    )
    return [*(_asset(settings, import_, report, raw) for report in reports), _page_asset(settings, import_)]


def _asset(settings: Settings, import_: Import, report: _Report, raw: Collection[str]) -> dg.AssetsDefinition:
    name = report.table.name
    key = table_key(import_.name, name)
    # Subscriptions are read only where an export names a list.
    lineage = {
        column: tuple(source for source in sources if source[0] in raw) for column, sources in LINEAGE[name].items()
    }
    page = Page(
        import_name=import_.name,
        layer="report",
        table=name,
        columns=report.table.columns,
        kinds=frozenset({"duckdb", "table"}),
        docs="reports.md",
        code=report.code,
        comes_from=keyed(lineage, import_.name),
        beside=report.beside,
    )
    comes_from = column_lineage(page.comes_from or {})

    # Dagster does not recognise the parametrised type beside a check.
    def run(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
        with failing_plainly():
            warehouse = open_import(settings, import_, waiting=context.log.warning)
            with warehouse.write(f"computing {name}") as connection:
                facts = report.body(connection)
                found = connection.execute(report.shown)
                columns = [column[0] for column in found.description]
                # A path may hold somebody's address.
                rows = [[mask(cell) if isinstance(cell, str) else cell for cell in row] for row in found.fetchall()]
                checks = report_results(connection, report.table)
        shown = metadata_table(columns, rows)
        return dg.MaterializeResult(
            metadata={**facts, "dagster/column_lineage": comes_from, "preview": shown}, check_results=checks
        )

    return dg.asset(
        key=key,
        deps=sorted({source for sources in page.comes_from.values() for source, _ in sources})
        if page.comes_from
        else [],
        description=report.table.description,
        group_name=f"{import_.name}_reports",
        automation_condition=follow(import_, report.needs),
        resource_defs=worker(settings),
        required_resource_keys={*worker(settings)},
        check_specs=report_specs(key),
        **described(settings, page),
    )(run)


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
        automation_condition=follow(import_, made_of),
        resource_defs=worker(settings),
        required_resource_keys={*worker(settings)},
        **described(settings, page),
    )(run)
