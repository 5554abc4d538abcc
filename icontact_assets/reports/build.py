"""Computes the report tables that are asked for, in the caller's transaction. What several need is computed once."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date, datetime

import duckdb

from icontact_assets.ingest.due import Scope
from icontact_assets.mapping.build import working
from icontact_assets.reports.campaigns import build_campaigns
from icontact_assets.reports.domains import build_domains
from icontact_assets.reports.engagement import build_engagement
from icontact_assets.reports.links import build_links
from icontact_assets.reports.list_health import build_list_health
from icontact_assets.reports.sends import tabulate_mails, tabulate_sent
from icontact_assets.reports.tables import CAMPAIGNS, DOMAINS, ENGAGEMENT, LINKS, LIST_HEALTH
from icontact_assets.settings.models import Reports
from icontact_assets.warehouse.tables import Table


@dataclass(frozen=True)
class Task:
    """What the report tables of an import are computed for."""

    scope: Scope
    rules: Reports
    start: date
    """The first day that is read."""
    now: datetime
    """Aware. What was to be sent later was not."""


@dataclass(frozen=True)
class Built:
    """A report table that was computed."""

    rows: int
    tier_changes: int | None = None
    """Of `engagement`: who came to another tier."""


def build_reports(connection: duckdb.DuckDBPyConnection, tables: Collection[Table], task: Task) -> dict[str, Built]:
    """Compute these report tables from the raw ones: each by its name."""
    builders: dict[str, Callable[[], Built]] = {
        CAMPAIGNS.name: lambda: Built(build_campaigns(connection, task.scope, task.now)),
        LINKS.name: lambda: Built(build_links(connection)),
        ENGAGEMENT.name: lambda: Built(*build_engagement(connection, task.rules, task.now)),
        DOMAINS.name: lambda: Built(build_domains(connection)),
        LIST_HEALTH.name: lambda: Built(build_list_health(connection, task.rules.time_zone, task.start, task.now)),
    }
    names = {table.name for table in tables}
    with working(connection):
        if names - {LIST_HEALTH.name}:
            # Who is a machine takes longer to find than all the rest.
            connection.execute(
                "CREATE OR REPLACE TEMP TABLE labelled AS "
                "SELECT message_id, contact_id, event_type, event_time, event_url, machine FROM labelled_activity"
            )
            messages = tabulate_sent(connection, task.now)
        if names & {ENGAGEMENT.name, DOMAINS.name}:
            tabulate_mails(connection, messages)
        return {name: build() for name, build in builders.items() if name in names}
