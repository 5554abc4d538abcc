"""What Dagster shows about the tables beside their runs: is everything there, and if not, why. Numbers, no content.

An asset's own step reports its checks. They are not partitioned: in Dagster 1.13 a check of a range run cannot say
which of its days it is about, and planning one writes a row per day. So a check is about all days that were ever asked
for, and names the oldest and the newest of them.

When a step fails there is most to say. It then reports its own checks and those of the assets that are skipped with it
(`report_failed`).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import duckdb

from icontact_assets.ingest.context import ImportState, state_of
from icontact_assets.ingest.due import STATISTIC_OF, DayState, days, messages_and_days
from icontact_assets.ingest.tie_out import EXPLAINED, Difference, tie_out
from icontact_assets.mapping.people import SUMS, wrong_keys, wrong_sums
from icontact_assets.mapping.verify import COUNTS, KEYS, QUESTIONS, ROWS, TYPES, VALUES, verify
from icontact_assets.metadata import metadata_table
from icontact_assets.records import Partitions, partitions_of, table_key
from icontact_assets.reports import verify as reports
from icontact_assets.resources import open_import, scope_of
from icontact_assets.settings.models import Import, Settings
from icontact_assets.warehouse.storage import WarehouseError
from icontact_assets.warehouse.tables import (
    RAW_ACTIVITY,
    RAW_CONTACTS,
    RAW_LISTS,
    RAW_MESSAGES,
    RAW_SENDS,
    RAW_STATISTICS,
    RAW_SUBSCRIPTIONS,
    Column,
    Table,
)
from icontact_assets.warehouse.warehouse import Warehouse

_RESOURCES = {
    RAW_CONTACTS: ("contacts",),
    RAW_MESSAGES: ("messages",),
    RAW_SENDS: ("sends",),
    RAW_LISTS: ("lists",),
    RAW_SUBSCRIPTIONS: ("subscriptions",),
    RAW_STATISTICS: (),
    RAW_ACTIVITY: tuple(STATISTIC_OF),
}
"""What `quarantine` calls the rows of each raw table."""

_DOWNSTREAM = {
    RAW_MESSAGES: (RAW_STATISTICS, RAW_ACTIVITY),
    RAW_SENDS: (RAW_STATISTICS, RAW_ACTIVITY),
    RAW_LISTS: (RAW_SUBSCRIPTIONS,),
}

_DESCRIPTIONS = {
    "listing_complete": "The last read of the listing was verified: its rows are complete.",
    "failed_partitions": "The last run of every partition succeeded.",
    "quarantine_empty": "iContact sent no row that could not be read.",
    "activity_read": "Every ended day that was ever asked for is read: no message is due for it.",
    "activity_settled": "Every ended day that was ever asked for is settled: no message is polled again for it.",
    "statistics_tie_out": "Of each message as many rows are stored as iContact's statistics say, or it is known why.",
}

_SHOWN = 50
"""Messages that a table in metadata names at most."""

SHOWN_DAYS = 91
"""Ended days that a picture shows at most."""

Beside = Callable[[duckdb.DuckDBPyConnection, Sequence[DayState]], None]


_MAPPED = {
    KEYS: "Every row has a contact id, and no two have the same.",
    ROWS: "There is a row for each contact that the table is made of, and no other.",
    TYPES: "The columns are those of the field tables, with their types.",
    VALUES: "Fields that are copied are those of the latest version of the contact in raw_contacts.",
    COUNTS: "The counts of all contacts together are the events in raw_activity.",
}

_PEOPLE = {
    KEYS: "No two people have the same id, and each contact of the profiles is in exactly one person.",
    SUMS: "Each number that is summed is, over all people, what it is over all contacts of the profiles.",
}


def mapped_specs(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of a mapped asset, which its own step reports."""
    return [dg.AssetCheckSpec(name, asset=key, description=_MAPPED[name]) for name in QUESTIONS[key.path[-1]]]


def mapped_results(
    connection: duckdb.DuckDBPyConnection, name: str, columns: Sequence[Column], aid: str | None
) -> list[dg.AssetCheckResult]:
    """Their results, in the transaction that computed the table. They are red, and the table is stored all the same."""
    return [
        dg.AssetCheckResult(check_name=answer.question, passed=answer.holds, metadata=answer.facts)
        for answer in verify(connection, name, columns, aid=aid)
    ]


def people_specs(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of the asset of people, which its own step reports."""
    return [dg.AssetCheckSpec(name, asset=key, description=text) for name, text in _PEOPLE.items()]


def people_results(connection: duckdb.DuckDBPyConnection, imports: Sequence[str]) -> list[dg.AssetCheckResult]:
    """Their results, in the transaction that computed the table. They are red, and the table is stored all the same."""
    found = {KEYS: wrong_keys(connection, imports), SUMS: wrong_sums(connection, imports)}
    return [
        dg.AssetCheckResult(check_name=name, passed=not any(facts.values()), metadata=facts)
        for name, facts in found.items()
    ]


def report_specs(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of a report asset, which its own step reports."""
    return [
        dg.AssetCheckSpec(KEYS, asset=key, description="No two rows have the same key."),
        dg.AssetCheckSpec(reports.TOTALS_MATCH, asset=key, description=reports.TOTALS[key.path[-1]].agree),
    ]


def report_results(connection: duckdb.DuckDBPyConnection, key: dg.AssetKey, table: Table) -> list[dg.AssetCheckResult]:
    """Their results, in the transaction that computed the table. They are red, and the table is stored all the same."""
    repeated = reports.repeated_keys(connection, table)
    counted, source = reports.totals(connection, table)
    return [
        dg.AssetCheckResult(asset_key=key, check_name=KEYS, passed=repeated == 0, metadata={"repeated_keys": repeated}),
        dg.AssetCheckResult(
            asset_key=key,
            check_name=reports.TOTALS_MATCH,
            passed=counted == source,
            metadata={"in_the_report": counted, "in_the_raw_tables": source},
        ),
    ]


def raw_specs(import_: Import, table: Table) -> list[dg.AssetCheckSpec]:
    """The checks of a raw asset, which its own step reports."""
    names = ["failed_partitions"]
    if _RESOURCES[table]:
        names.append("quarantine_empty")
    if table is RAW_ACTIVITY:
        names += ["activity_read", "activity_settled", "statistics_tie_out"]
    elif table is not RAW_STATISTICS:
        names.append("listing_complete")
    return [dg.AssetCheckSpec(name, asset=_key(import_, table), description=_DESCRIPTIONS[name]) for name in names]


def raw_results(
    context: dg.AssetExecutionContext,
    settings: Settings,
    import_: Import,
    table: Table,
    beside: Beside,
) -> list[dg.AssetCheckResult]:
    """Their results, once what the step read is stored. Where the database is opened to show the table's rows, `beside`
    is called with the connection, and with the state of the import's last days if they are known. Raises
    WarehouseError."""
    partitions = partitions_of(context.instance, _key(import_, table))
    warehouse = open_import(settings, import_, waiting=context.log.warning)
    if table is RAW_CONTACTS:
        with warehouse.read() as connection:
            beside(connection, [])
    return _results(warehouse, settings, import_, table, partitions, beside)


def report_failed(context: dg.AssetExecutionContext, settings: Settings, import_: Import, table: Table) -> None:
    """Report the checks of a raw asset whose step fails, and of the assets that its run skips for that."""
    affected = (table, *_DOWNSTREAM.get(table, ()))
    asked = {each: partitions_of(context.instance, _key(import_, each), context.run.run_id) for each in affected}
    try:
        warehouse = open_import(settings, import_, waiting=context.log.warning)
        if not warehouse.storage.exists():
            warehouse.prepare()
        found = [(each, _results(warehouse, settings, import_, each, asked[each])) for each in affected]
    except WarehouseError as error:
        # The step fails for another reason, which must not be lost.
        context.log.warning(f"The checks are not reported. {error}")
        return
    for each, results in found:
        for result in results:
            context.instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=_key(import_, each),
                    check_name=str(result.check_name),
                    passed=result.passed,
                    metadata=result.metadata,
                    severity=result.severity,
                    description=result.description,
                )
            )


def _key(import_: Import, table: Table) -> dg.AssetKey:
    return table_key(import_.name, table.name)


def _results(
    warehouse: Warehouse,
    settings: Settings,
    import_: Import,
    table: Table,
    partitions: Partitions,
    beside: Beside = lambda *_: None,
) -> list[dg.AssetCheckResult]:
    results = [_failed_partitions(partitions)]
    if table is RAW_STATISTICS:
        return results
    state = state_of(warehouse)
    results.append(_quarantine_empty(state, _RESOURCES[table]))
    if table is RAW_ACTIVITY:
        with warehouse.read() as connection:
            results += _activity(connection, settings, import_, partitions, beside)
    else:
        results.append(_listing_complete(state, *_RESOURCES[table]))
    return results


def _failed_partitions(partitions: Partitions) -> dg.AssetCheckResult:
    failed = list(partitions.failed)
    runs = {record.dagster_run.run_id for record in partitions.failed.values()}
    facts: dict[str, Any] = {"asked": len(partitions.asked), "failed": len(failed), "runs": len(runs)}
    if failed:
        facts |= {
            "oldest": failed[0],
            "newest": failed[-1],
            "run_of_newest": partitions.failed[failed[-1]].dagster_run.run_id,
        }
    return dg.AssetCheckResult(check_name="failed_partitions", passed=not failed, metadata=facts)


def _quarantine_empty(state: ImportState, resources: tuple[str, ...]) -> dg.AssetCheckResult:
    found = [row for row in state.quarantined if row[0] in resources]
    facts: dict[str, Any] = {"rows": sum(rows for _, _, rows in found)}
    if found:
        facts["reasons"] = metadata_table(("resource", "reason", "rows"), found)
    return dg.AssetCheckResult(
        check_name="quarantine_empty", passed=not found, severity=dg.AssetCheckSeverity.WARN, metadata=facts
    )


def _listing_complete(state: ImportState, resource: str) -> dg.AssetCheckResult:
    read = [entry for listing, entry in state.coverage.items() if listing.resource == resource]
    incomplete = [entry for entry in read if entry.status != "complete" or entry.read_through is None]
    facts: dict[str, Any] = {
        "reported": sum(entry.reported or 0 for entry in read),
        "stored": sum(entry.stored or 0 for entry in read),
    }
    through = [entry.read_through for entry in read if entry.read_through is not None]
    if through:
        facts["read_through"] = dg.MetadataValue.timestamp(min(through))
    if not read:
        facts["reason"] = "never asked for"
    elif incomplete:
        facts["reason"] = "; ".join(str(entry.reason) for entry in incomplete)
    return dg.AssetCheckResult(check_name="listing_complete", passed=bool(read) and not incomplete, metadata=facts)


def last_days(connection: duckdb.DuckDBPyConnection, settings: Settings, import_: Import) -> list[DayState]:
    """The ended days of an import that are shown."""
    now = datetime.now(UTC)
    first, last = _shown_days(import_, now.date())
    return days(connection, scope_of(settings, import_), first, last, now, now)


def _shown_days(import_: Import, today: date) -> tuple[date, date]:
    return max(import_.start_date, today - timedelta(days=SHOWN_DAYS)), today - timedelta(days=1)


def _activity(
    connection: duckdb.DuckDBPyConnection, settings: Settings, import_: Import, partitions: Partitions, beside: Beside
) -> list[dg.AssetCheckResult]:
    now = datetime.now(UTC)
    asked = {day for day in map(date.fromisoformat, partitions.asked) if import_.start_date <= day < now.date()}
    first, last = _shown_days(import_, now.date())
    known, found = messages_and_days(connection, scope_of(settings, import_), min([*asked, first]), last, now)
    beside(connection, [day for day in found if day.day >= first])
    states = [day for day in found if day.day in asked]
    compared, differing = tie_out(connection, known)
    return [
        _days("activity_read", states, lambda day: day.read, dg.AssetCheckSeverity.ERROR),
        _days("activity_settled", states, lambda day: day.settled, dg.AssetCheckSeverity.WARN),
        _statistics_tie_out(compared, differing),
    ]


def _days(
    name: str, states: list[DayState], holds: Callable[[DayState], bool], severity: dg.AssetCheckSeverity
) -> dg.AssetCheckResult:
    kept = [day for day in states if holds(day)]
    open_ = [day for day in states if not holds(day)]
    verb = name.removeprefix("activity_")
    facts: dict[str, Any] = {"days_asked": len(states), f"days_{verb}": len(kept), f"days_not_{verb}": len(open_)}
    if kept:
        facts[f"newest_{verb}"] = kept[-1].day.isoformat()
    if open_:
        facts |= {f"oldest_not_{verb}": open_[0].day.isoformat(), f"newest_not_{verb}": open_[-1].day.isoformat()}
        facts |= {"open_messages": open_[-1].open_messages, "due_messages": open_[-1].due_messages}
        facts["reason_of_newest"] = str(open_[-1].reason)
        if open_[0].reason != open_[-1].reason:
            facts["reason_of_oldest"] = str(open_[0].reason)
    return dg.AssetCheckResult(check_name=name, passed=not open_, severity=severity, metadata=facts)


def _statistics_tie_out(compared: int, differing: list[Difference]) -> dg.AssetCheckResult:
    facts: dict[str, Any] = {"compared": compared, "differing": len(differing)}
    facts |= {reason.replace(" ", "_"): n for reason, n in sorted(Counter(d.reason for d in differing).items())}
    open_ = [difference for difference in differing if difference.reason not in EXPLAINED]
    shown = [*open_, *(difference for difference in differing if difference.reason in EXPLAINED)][:_SHOWN]
    if shown:
        facts["differences"] = metadata_table(
            ("message", "kind", "stored", "statistic", "reason"),
            [(d.message_id, d.kind, d.stored, d.statistic, d.reason) for d in shown],
        )
    return dg.AssetCheckResult(
        check_name="statistics_tie_out", passed=not open_, severity=dg.AssetCheckSeverity.WARN, metadata=facts
    )
