"""Which numbers are shown as small pictures on the pages of assets. None of them is about a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg
import duckdb

from icontact_assets.checks import SHOWN_DAYS
from icontact_assets.ingest.due import DayState
from icontact_assets.pictures import picture
from icontact_assets.resources import open_import
from icontact_assets.settings.models import Export, Settings
from icontact_assets.warehouse.tables import RAW_ACTIVITY, RAW_CONTACTS, Table

_RUNS = 60
"""The most runs that a picture shows."""
_EVENTS = 100
"""So many of an asset's last materializations are looked at for its runs: a run has one for each of its days."""
_STATUSES = 4
"""The most statuses that have a row. The others are one row."""

Pictures = dict[str, dg.MetadataValue[Any]]

Rows = dict[str, list[int]]
"""A row of numbers under each text."""

_KINDS = ("open", "click", "bounce", "unsubscribe")
_STATES = {"settled": "days settled", "read": "days read, not settled", "missing": "days missing"}
"""The states of a day, and how a row is named."""


def raw_pictures(
    connection: duckdb.DuckDBPyConnection, table: Table, last: date, states: Sequence[DayState]
) -> Pictures:
    """The pictures of a raw asset up to the UTC day `last`, and of its last days in these `states`. A run shows them
    once, not on each of its days."""
    span = [last - timedelta(days=back) for back in reversed(range(SHOWN_DAYS))]
    if table is RAW_CONTACTS:
        rows = contacts_by_status(connection, span)
        return _shown("contacts_by_status", rows, f"when a day ends, {{shown}} days to {last} (UTC)")
    if table is not RAW_ACTIVITY:
        return {}
    return {
        **_shown("events_per_day", events_per_day(connection, span), f"a day, {{shown}} days to {last} (UTC)"),
        **_shown("days", _by_state(states), "{shown} ended days (UTC)"),
    }


def events_per_day(connection: duckdb.DuckDBPyConnection, span: Sequence[date]) -> Rows:
    """The events of each of these UTC days, by kind."""
    found: dict[str, Counter[date]] = {kind: Counter() for kind in _KINDS}
    for kind, day, events in connection.execute(
        "SELECT event_type, partition_date, count(*) FROM raw_activity "
        "WHERE partition_date BETWEEN ? AND ? GROUP BY ALL",
        [span[0], span[-1]],
    ).fetchall():
        found[kind][day] = events
    return {f"{kind}s, at most {{most}}": [per_day[day] for day in span] for kind, per_day in found.items()}


def contacts_by_status(connection: duckdb.DuckDBPyConnection, span: Sequence[date]) -> Rows:
    """How many contacts there were at the end of each of these UTC days, by status, the most first."""
    changes: dict[str, Counter[date]] = {}
    for status, day, change in connection.execute(
        """
        WITH version AS (
            SELECT CASE WHEN deleted_at IS NULL THEN coalesce(status, 'without a status') END AS status,
                partition_date AS day, lead(partition_date) OVER (PARTITION BY id ORDER BY partition_date) AS next
            FROM raw_contacts WHERE partition_date <= $last
        ), step AS (
            SELECT status, greatest(day, $first) AS day, 1 AS change FROM version WHERE next IS NULL OR next > $first
            UNION ALL SELECT status, next, -1 FROM version WHERE next > $first
        )
        SELECT status, day, sum(change)::BIGINT FROM step WHERE status IS NOT NULL GROUP BY ALL
        """,
        {"first": span[0], "last": span[-1]},
    ).fetchall():
        changes.setdefault(status, Counter())[day] = change
    sizes = {status: _sums([each[day] for day in span]) for status, each in changes.items()}
    ordered = sorted(sizes, key=lambda status: (-max(sizes[status]), status))
    rows = {status: sizes[status] for status in ordered[:_STATUSES]}
    if ordered[_STATUSES:]:
        others = [sizes[status] for status in ordered[_STATUSES:]]
        rows["others"] = [sum(each) for each in zip(*others, strict=True)]
    return {f"{status}: {each[-1]:,}": each for status, each in rows.items()}


def requests_of_runs(context: dg.AssetExecutionContext, requests: int) -> Pictures:
    """The requests that the last runs of an asset spent on it, by Dagster's records, and this one with `requests`."""
    of_runs: dict[str, int] = {context.run.run_id: requests}
    for record in context.instance.fetch_materializations(context.asset_key, limit=_EVENTS).records:
        event = record.asset_materialization
        if event is not None and "requests" in event.metadata:
            of_runs.setdefault(record.run_id, int(event.metadata["requests"].value))
    newest_first = list(of_runs.values())[:_RUNS]
    rows = {"requests, at most {most}": newest_first[::-1]}
    return _shown("requests_per_run", rows, "runs: {shown}, this one last")


def list_size(settings: Settings, export: Export, list_id: str) -> Pictures:
    """The size of an export's list after its last runs. Raises WarehouseError."""
    with open_import(settings, settings.import_of(export)).read() as connection:
        found = connection.execute(
            "SELECT coalesce(list_size_after, list_size_before) AS size FROM export_runs "
            "WHERE export = ? AND list_id = ? AND size IS NOT NULL ORDER BY began_at DESC LIMIT ?",
            [export.name, list_id, _RUNS],
        ).fetchall()
    rows = {f"normal subscriptions: {found[0][0]:,}": [size for (size,) in reversed(found)]} if found else {}
    return _shown("list_size", rows, "after each run, runs: {shown}, this one last")


def _by_state(states: Sequence[DayState]) -> Rows:
    found = [day.state for day in states]
    return {
        f"{words}: {found.count(state):,}": [int(each == state) for each in found]
        for state, words in _STATES.items()
        if found
    }


def _sums(changes: Sequence[int]) -> list[int]:
    total, sums = 0, []
    for change in changes:
        total += change
        sums.append(total)
    return sums


def _shown(name: str, rows: Rows, axis: str) -> Pictures:
    return {name: dg.MetadataValue.md(picture(rows, axis))} if rows else {}
