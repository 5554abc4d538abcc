"""The raw assets of one import: iContact's listings as daily-partitioned tables."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import duckdb

from icontact_assets.assets.outside import listing_key
from icontact_assets.assets.pages import described, raw_page
from icontact_assets.assets.pictures import raw_pictures, requests_of_runs
from icontact_assets.assets.pulse import Pulse, tell_requests
from icontact_assets.assets.report import (
    clock_is_behind,
    report_days,
    rows_elsewhere,
    run_began,
    tag_retry_at,
    why_not_all_read,
)
from icontact_assets.assets.worker import worker
from icontact_assets.checks import last_days, raw_results, raw_specs, report_failed
from icontact_assets.errors import UserError
from icontact_assets.icontact.errors import IContactError
from icontact_assets.ingest.activity import ActivityReader, NothingToRead, Plan
from icontact_assets.ingest.changes import Changes, read_changes
from icontact_assets.ingest.context import ImportContext
from icontact_assets.ingest.drift import Finding, listed
from icontact_assets.ingest.due import DayState
from icontact_assets.ingest.forecast import Forecast, forecast
from icontact_assets.ingest.progress import ActivityRead, Day
from icontact_assets.ingest.window import ReadRequest, Window
from icontact_assets.metadata import failure
from icontact_assets.partitions import daily_partitions, wants_reread, window_of
from icontact_assets.plain import mask
from icontact_assets.records import pool_of, table_key
from icontact_assets.resources import open_context, open_import, rates_of
from icontact_assets.retries import retry_at
from icontact_assets.settings.models import Import, Settings, SettingsError
from icontact_assets.warehouse.remedies import query_failed
from icontact_assets.warehouse.storage import WarehouseError
from icontact_assets.warehouse.tables import (
    RAW_ACTIVITY,
    RAW_CONTACTS,
    RAW_LISTS,
    RAW_MESSAGES,
    RAW_SENDS,
    RAW_STATISTICS,
    RAW_SUBSCRIPTIONS,
    Table,
)

_LISTINGS = {"contacts": RAW_CONTACTS, "messages": RAW_MESSAGES, "sends": RAW_SENDS, "lists": RAW_LISTS}


class _NotAllRead(UserError):
    """Some of what was asked for is not read."""

    def __init__(
        self,
        text: str,
        causes: list[IContactError],
        facts: Mapping[str, Any],
        green: Sequence[dg.AssetMaterialization] = (),
    ) -> None:
        """`causes` is what was in the way. `green` are the days that are read."""
        super().__init__(text)
        self.causes = causes
        self.facts = facts
        self.green = green


def raw_assets(settings: Settings, import_: Import) -> list[dg.AssetsDefinition]:
    """The raw assets of an import, keyed `<import>/raw_...`. `raw_subscriptions` only where a list is named."""
    listings = [_listing_asset(settings, import_, resource, table) for resource, table in _LISTINGS.items()]
    exports = settings.exports_to(import_)
    moved_to = [export.remove.move_to for export in exports if export.remove and export.remove.move_to]
    lists = sorted({*import_.lists, *(export.list for export in exports), *moved_to})
    if lists:
        listings.append(_subscriptions_asset(settings, import_, lists))
    return [*listings, _statistics_asset(settings, import_), _activity_asset(settings, import_)]


def _clock() -> datetime:
    return datetime.now(UTC)


def _asset(
    settings: Settings,
    import_: Import,
    table: Table,
    deps: tuple[str, ...],
    body: Callable[[dg.AssetExecutionContext], dg.MaterializeResult[Any]],
    op_tags: Mapping[str, str] | None = None,
) -> dg.AssetsDefinition:
    def run(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        try:
            result = body(context)
            last = window_of(context).last

            def show(connection: duckdb.DuckDBPyConnection, states: Sequence[DayState]) -> None:
                shown = raw_pictures(connection, table, last, states)
                context.add_asset_metadata(shown, partition_key=last.isoformat())

            yield result._replace(check_results=raw_results(context, settings, import_, table, show))
        except _NotAllRead as error:
            # What a body logs is lost when it raises. What it yields is not.
            yield from _pictured(context, settings, import_, table, error.green)  # type: ignore[misc]
            report_failed(context, settings, import_, table)
            raise _failure(context, error, error.causes, error.facts) from error
        except (IContactError, NothingToRead) as error:
            report_failed(context, settings, import_, table)
            raise _failure(context, error, [error], {}) from error
        except UserError as error:
            raise _failure(context, error, [error], {}) from error
        except duckdb.Error as error:
            failed = query_failed(error)
            raise _failure(context, failed, [failed], {}) from None

    return dg.asset(
        name=table.name,
        key_prefix=[import_.name],
        deps=[listing_key(import_.name, table.name), *(table_key(import_.name, name) for name in deps)],
        partitions_def=daily_partitions(import_),
        backfill_policy=dg.BackfillPolicy.single_run(),
        description=table.description,
        group_name=f"{import_.name}_raw",
        op_tags=op_tags,
        pool=pool_of(import_),
        check_specs=raw_specs(import_, table),
        resource_defs=worker(settings),
        required_resource_keys={*worker(settings)},
        **described(settings, raw_page(import_.name, table, body)),
    )(run)


def _pictured(
    context: dg.AssetExecutionContext,
    settings: Settings,
    import_: Import,
    table: Table,
    green: Sequence[dg.AssetMaterialization],
) -> Iterator[dg.AssetMaterialization]:
    """What is reported of days that are read, the last of them with pictures."""
    if not green:
        return
    *others, newest = green
    yield from others
    try:
        with open_import(settings, import_, waiting=context.log.warning).read() as connection:
            states = last_days(connection, settings, import_) if table is RAW_ACTIVITY else []
            shown = raw_pictures(connection, table, date.fromisoformat(str(newest.partition)), states)
    except WarehouseError:
        # The step fails for another reason, which must not be lost.
        shown = {}
    yield newest.with_metadata({**newest.metadata, **shown})


def _failure(
    context: dg.AssetExecutionContext, error: UserError, causes: Iterable[Exception], facts: Mapping[str, Any]
) -> dg.Failure:
    """The failure of a step, which says when it is retried. So does the tag of the run, which the schedule reads."""
    at = retry_at(causes, _clock())
    tag_retry_at(context, at)
    return failure(error, {**facts, "retry_at": dg.MetadataValue.timestamp(at)})


def _open(
    settings: Settings, import_: Import, context: dg.AssetExecutionContext
) -> AbstractContextManager[ImportContext]:
    return open_context(settings, import_, purpose=f"run {context.run.run_id}", warn=context.log.warning)


def _listing_asset(settings: Settings, import_: Import, resource: str, table: Table) -> dg.AssetsDefinition:
    def body(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        window = window_of(context)
        with _open(settings, import_, context) as opened:
            tell_requests(opened, resource, import_.page_size, context.log.info)
            changes = read_changes(opened, resource, window, reread_since=_reread_since(context))
        _log_findings(context, changes.findings)
        return _report_changes(context, import_, window, changes, opened.folder.session.clock_behind)

    return _asset(settings, import_, table, (), body)


def _subscriptions_asset(settings: Settings, import_: Import, lists: list[str]) -> dg.AssetsDefinition:
    def body(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        window = window_of(context)
        total = Changes("subscriptions", asked=False, total=0, read_through=_clock())
        with _open(settings, import_, context) as opened:
            tell_requests(opened, "subscriptions", import_.page_size, context.log.info)
            for list_id in _list_ids(opened, import_, lists):
                since = _reread_since(context)
                changes = read_changes(opened, "subscriptions", window, list_id=list_id, reread_since=since)
                _log_findings(context, [finding for finding in changes.findings if finding not in total.findings])
                total.add(changes)
        return _report_changes(context, import_, window, total, opened.folder.session.clock_behind)

    return _asset(settings, import_, RAW_SUBSCRIPTIONS, ("raw_lists",), body)


def _reread_since(context: dg.AssetExecutionContext) -> datetime | None:
    return run_began(context) if wants_reread(context) else None


def _list_ids(opened: ImportContext, import_: Import, lists: list[str]) -> list[str]:
    """Ids of the lists that settings name by id or exact name, from raw_lists. Raises SettingsError for one unknown."""
    with opened.warehouse.read() as connection:
        known = connection.execute("SELECT list_id, name FROM current_lists WHERE deleted_at IS NULL").fetchall()
    ids = []
    for wanted in lists:
        found = [list_id for list_id, name in known if wanted in (list_id, name)]
        if len(found) != 1:
            raise SettingsError(
                f"`lists` or an export of {import_.name} names the list {wanted!r}, which "
                f"{'is the name of several lists' if found else 'is not among the lists of the client folder'}. "
                "Name it by its id: `icontact-assets discover` lists them."
            )
        ids += found
    return ids


def _log_findings(context: dg.AssetExecutionContext, findings: Iterable[Finding]) -> None:
    for finding in findings:
        log = context.log.warning if finding.status == "drift" else context.log.info
        log(str(finding))


def _drift_facts(findings: Iterable[Finding]) -> dict[str, Any]:
    """Metadata of what was found about fields, if anything was."""
    records = [
        dg.TableRecord(
            {
                "resource": finding.resource,
                "field": mask(finding.field),
                "expected": finding.expected,
                "found": listed(finding.found),
                "status": finding.status,
            }
        )
        for finding in findings
    ]
    return {"schema_drift": dg.MetadataValue.table(records)} if records else {}


def _report_changes(
    context: dg.AssetExecutionContext, import_: Import, window: Window, changes: Changes, behind: timedelta
) -> dg.MaterializeResult[Any]:
    """Report what a read of a listing did. `behind`: how far iContact's clock is behind ours."""
    if not changes.asked:
        context.log.info(f"{changes.resource} was read completely since the end of the window: nothing to ask for.")
    if changes.duplicates:
        context.log.warning(
            f"{changes.duplicates} rows of {changes.resource} equal another with the same id: each is stored once."
        )
    facts = {
        "total": changes.total,
        "new": changes.new,
        "changed": changes.changed,
        "vanished": changes.vanished,
        "quarantined": changes.quarantined,
        "duplicates": changes.duplicates,
        "requests": changes.requests,
        **_drift_facts(changes.findings),
    }
    elsewhere = rows_elsewhere(window, import_.start_date, changes.rows_by_day)

    def facts_of(day: date) -> dict[str, Any]:
        return {"dagster/partition_row_count": changes.rows_by_day.get(day, 0), **facts}

    unread = window.unread(changes.read_through, _clock())
    _refuse_unread(context, window, unread, facts_of, behind)
    report_days(context, window, changes.read_through, facts_of)
    return dg.MaterializeResult(metadata=elsewhere)


def _refuse_unread(
    context: dg.AssetExecutionContext,
    window: Window,
    unread: Collection[date],
    facts_of: Callable[[date], Mapping[str, Any]],
    behind: timedelta,
) -> None:
    """Raise _NotAllRead if days of the window are not read, with what there is to report of the others."""
    if unread:
        green = [
            dg.AssetMaterialization(context.asset_key, partition=day.isoformat(), metadata=dict(facts_of(day)))
            for day in window.days
            if day not in unread
        ]
        text = (
            f"{len(window.days) - len(unread)} of {len(window.days)} days are read. "
            f"{clock_is_behind(behind) or 'The others had not ended when they were read: materialize them again.'}"
        )
        raise _NotAllRead(text, [], {"days_asked": len(window.days), "days_read": len(green)}, green)


def _statistics_asset(settings: Settings, import_: Import) -> dg.AssetsDefinition:
    def body(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        with _reader(settings, import_, context) as reader:
            done = reader.poll()
        facts = {"messages_due": done.messages, "requests": done.requests}
        if done.stopped or done.failed:
            raise _NotAllRead(why_not_all_read(import_, done, [], timedelta()), _causes(done), facts)
        window, behind = reader.request.window, reader.context.folder.session.clock_behind
        _refuse_unread(context, window, window.unread(reader.read_through, _clock()), lambda _: facts, behind)
        report_days(context, window, reader.read_through, lambda _: facts)
        return dg.MaterializeResult()

    return _asset(settings, import_, RAW_STATISTICS, ("raw_messages", "raw_sends"), body)


def _activity_asset(settings: Settings, import_: Import) -> dg.AssetsDefinition:
    def body(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        with _reader(settings, import_, context) as reader:
            done = reader.read(lambda planned: _announce(context, import_, reader, planned))
        unread = _unread_days(done, reader.request)
        facts = _activity_facts(done, unread)
        if done.stopped:
            facts["requests_missing"] = _forecast(import_, reader, reader.plan()).likely
        elsewhere = rows_elsewhere(reader.request.window, import_.start_date, done.new_by_day)
        if unread or done.failed:
            green = _read_days(context, done, unread, facts)
            behind = reader.context.folder.session.clock_behind
            raise _NotAllRead(
                why_not_all_read(import_, done, unread, behind), _causes(done), {**facts, **elsewhere}, green
            )
        states = {day.state.day: day for day in done.days}
        window = reader.request.window
        report_days(context, window, reader.read_through, lambda day: {**_day_facts(states[day]), **facts})
        context.add_asset_metadata(requests_of_runs(context, done.requests), partition_key=window.last.isoformat())
        _log_unsettled(context, done)
        return dg.MaterializeResult(metadata=elsewhere)

    # Not downstream of raw_statistics: a message whose statistics fail must not keep the others from being read. It
    # runs first, so that a short budget is spent on complete messages, newest first, and not on statistics alone.
    return _asset(
        settings, import_, RAW_ACTIVITY, ("raw_messages", "raw_sends"), body, op_tags={"dagster/priority": "1"}
    )


def _unread_days(done: ActivityRead, request: ReadRequest) -> list[Day]:
    if request.reread and (done.failed or done.stopped):
        # A run that reads everything again has read no day before it has read all: the messages that are left are the
        # oldest, and their events may be of any day.
        return done.days
    return [day for day in done.days if not day.state.read]


def _activity_facts(done: ActivityRead, unread: list[Day]) -> dict[str, Any]:
    return {
        "messages_due": done.messages,
        "messages_read": done.messages - done.left - len({message_id for message_id, _ in done.failed}),
        "listings_read": done.listings,
        "requests": done.requests,
        "quarantined": done.quarantined,
        **_drift_facts(done.findings),
        "days_asked": len(done.days),
        "days_read": len(done.days) - len(unread),
    }


def _read_days(
    context: dg.AssetExecutionContext, done: ActivityRead, unread: list[Day], facts: Mapping[str, Any]
) -> list[dg.AssetMaterialization]:
    """What a run that fails reports of the days that are read all the same."""
    red = {day.state.day for day in unread}
    return [
        dg.AssetMaterialization(
            context.asset_key, partition=day.state.day.isoformat(), metadata={**_day_facts(day), **facts}
        )
        for day in done.days
        if day.state.day not in red
    ]


def _log_unsettled(context: dg.AssetExecutionContext, done: ActivityRead) -> None:
    unsettled = [day.state for day in done.days if not day.state.settled]
    if unsettled:
        context.log.warning(
            f"{len(unsettled)} of {len(done.days)} days are read but not settled. The last of them is "
            f"{unsettled[-1].day}: {unsettled[-1].reason}."
        )


@contextmanager
def _reader(settings: Settings, import_: Import, context: dg.AssetExecutionContext) -> Iterator[ActivityReader]:
    pulse = Pulse(context.log.info)

    def progress(done: int, due: int) -> None:
        pulse.beat(f"due messages with {opened.folder.session.requests:,} requests", done, due)

    with _open(settings, import_, context) as opened:
        request = ReadRequest(window_of(context), run_began(context), wants_reread(context))
        yield ActivityReader(opened, request, progress, lambda findings: _log_findings(context, findings))


def _forecast(import_: Import, reader: ActivityReader, planned: Plan) -> Forecast:
    """What the planned activity costs from now on."""
    return forecast(
        planned,
        reader.request,
        now=reader.context.clock(),
        page_size=import_.page_size,
        rates=rates_of(import_, reader.context.folder.session),
    )


def _announce(context: dg.AssetExecutionContext, import_: Import, reader: ActivityReader, planned: Plan) -> None:
    """Say before anything is asked what it is going to cost."""
    expected = _forecast(import_, reader, planned)
    context.log.info(f"Forecast: {expected.sentence()}")
    facts: dict[str, Any] = {
        "forecast": expected.sentence(),
        "requests_least": expected.least,
        "requests_likely": expected.likely,
    }
    if expected.left_today is not None:
        facts["requests_left_today"] = expected.left_today
    context.log_event(dg.AssetObservation(asset_key=context.asset_key, metadata=facts))


def _day_facts(day: Day) -> dict[str, Any]:
    facts = {
        "dagster/partition_row_count": day.rows,
        "rows_new": day.new,
        "settled": day.state.settled,
        "open_messages": day.state.open_messages,
    }
    return facts if day.state.reason is None else {**facts, "pending_reason": day.state.reason}


def _causes(done: ActivityRead) -> list[IContactError]:
    return [*([done.stopped] if done.stopped else []), *done.failed.values()]
