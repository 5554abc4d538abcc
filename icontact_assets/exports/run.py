"""One run of an export, from its plan to its report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from icontact_assets.errors import UserError
from icontact_assets.exports.apply import Application
from icontact_assets.exports.approvals import why_not_approved
from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.facts import make_plan
from icontact_assets.exports.journal import Journal
from icontact_assets.exports.live import PlanError
from icontact_assets.exports.outcomes import RunStatus
from icontact_assets.exports.plan import Plan
from icontact_assets.exports.progress import Progress
from icontact_assets.exports.report import ExportReport, Reporter
from icontact_assets.exports.undo import Undo, plan_undo
from icontact_assets.icontact.errors import IContactError
from icontact_assets.settings.models import Export
from icontact_assets.warehouse.lock import LockTaken
from icontact_assets.warehouse.storage import Tenure, WarehouseError
from icontact_assets.warehouse.times import naive

_LOCK_SECONDS = 3600.0


class ExportError(UserError):
    """An export stopped. One paragraph: why, what was done, what happens next. The error behind it is `__cause__`."""

    def __init__(self, text: str, report: ExportReport | None) -> None:
        super().__init__(text)
        self.report = report
        """None: nothing was written, because there was no plan."""


def run_export(
    context: ExportContext,
    export: Export,
    *,
    run_id: str,
    audience_storage_id: str | None = None,
    undo: Undo | None = None,
    exactly: str | None = None,
    waiting: Callable[[str], None] = lambda _: None,
) -> ExportReport:
    """Plan an export from facts read now, and apply the plan as far as guard, limits and pace allow.

    What is guaranteed of each write:
    - The list was read whole in this run.
    - The statuses of contact and list were read within the ten minutes before each try. Where they are older, they are
      read again first. Contacts are read 50 a request, or all of them where that costs less. Of the list, what is new
      is read. Of a list that somebody is moved off, the one subscription or all of them are. For `consent: strict`,
      every list is.
    - Whatever any answer showed counts from then on, in this run and all later ones.
    - The intent is in export_outcomes before the request is sent. After a lost answer, or a kill, the list is read
      before anything is repeated.
    - Who is on the suppression list is as old as the plan.
    Afterwards the list is read back and compared.

    Requests: those of the plan (see `make_plan`), one per 100 people added, one per person removed, and the pages of
    the list to read it back. 100,000 people onto an empty list, in a folder of 115,000 contacts, take 1,429: 1,000
    batches, 202 pages of the list, 226 pages of contacts and 1 of the lists. Without fresh statuses it would be 1,203.

    `undo`: take back that run, in place of the export's own plan. `exactly`: apply the plan only if this is its hash,
    which counts as its approval. `audience_storage_id` is stored with the run. One export of a schema runs at a time:
    `waiting` is called with a text while another one does. Raises ExportError, and WarehouseError when the database
    cannot be used.
    """
    purpose = f"run {run_id} of the export {export.name}"
    with _alone(context, purpose, waiting) as tenure, context.remembering():
        run = _Run(context, export, Journal(context, export, run_id, tenure), undo, exactly)
        try:
            return run.run(audience_storage_id)
        except BaseException as error:
            # A signal, whatever class of exception stands for it.
            if not isinstance(error, Exception):
                run.interrupted()
            raise


@contextmanager
def _alone(context: ExportContext, purpose: str, waiting: Callable[[str], None]) -> Iterator[Tenure]:
    lock = context.warehouse.storage.lock(
        f"{context.schema}.exports", purpose, wait_seconds=_LOCK_SECONDS, waiting=waiting
    )
    with ExitStack() as held:
        try:
            tenure = held.enter_context(lock)
        except LockTaken as error:
            raise ExportError(
                f"Another export of {context.schema} is running: {error}. Nothing was written. "
                "Run again when it has ended.",
                None,
            ) from error
        except WarehouseError as error:
            raise ExportError(f"{error} Nothing was written.", None) from error
        yield tenure


class _Run:
    """One run of an export, or the undoing of one."""

    def __init__(
        self, context: ExportContext, export: Export, journal: Journal, undo: Undo | None, exactly: str | None
    ) -> None:
        self._context = context
        self._export = export
        self._journal = journal
        self._undo = undo
        self._exactly = exactly
        self._clock = context.clock
        self._requests_before = context.folder.session.requests

    def run(self, audience_storage_id: str | None) -> ExportReport:
        self._journal.run(
            audience_storage_id=audience_storage_id,
            mode=self._export.mode if self._undo is None else "undo",
            undoes=None if self._undo is None else self._undo.run_id,
            began_at=naive(self._clock()),
            ended_at=None,
            status=RunStatus.RUNNING,
        )
        plan = self._plan()
        # Asked before the plan is stored, since a plan that was never shown is not approved.
        approved = self._exactly or self._export.approve
        against = why_not_approved(self._context.warehouse, plan, approved, self._clock())
        progress = Progress(self._journal, plan, self._clock)
        reporter = Reporter(self._context, self._export, plan, progress, approved=against is None)
        application = Application(self._context, self._export.pace, plan, progress)
        progress.note_plan(same_folder=self._export.folder is None, at=reporter.compared_at)
        if (why := self._why_stop(plan, against)) is not None:
            report = self._report(reporter, application)
            self._end(RunStatus.STOPPED, why, report)
            raise self._stopped(plan, why, report)
        failure: IContactError | PlanError | None = None
        try:
            if plan.mode == "dry_run":
                application.pretend()
            else:
                application.write()
        except (IContactError, PlanError) as error:
            failure = error
        report = self._report(reporter, application)
        if failure is None:
            self._end(RunStatus.DONE, None, report)
            return report
        self._end(RunStatus.FAILED, str(failure), report)
        done = report.added + report.removed
        raise ExportError(
            f"The export {self._export.name} stopped: {failure} Of {report.planned} people to be added or removed, "
            f"{done} were and {report.remaining} remain. What was done is recorded. The next run starts from the "
            "list as it is then.",
            report,
        ) from failure

    def interrupted(self) -> None:
        """Record that somebody stopped the run. What it may have written stays unresolved for the next run."""
        self._end(RunStatus.FAILED, "the run was interrupted")

    def _plan(self) -> Plan:
        try:
            if self._undo is None:
                return make_plan(self._context, self._export)
            return plan_undo(self._context, self._export, self._undo)
        except (IContactError, PlanError) as error:
            self._end(RunStatus.FAILED, str(error))
            raise ExportError(
                f"The export {self._export.name} made no plan and wrote nothing: {error}", None
            ) from error

    def _why_stop(self, plan: Plan, against: str | None) -> str | None:
        """Why nothing of the plan is applied. None: it is applied. `against`: why it is not approved."""
        if self._exactly is not None and plan.mode == "dry_run":
            return "its mode is dry_run, which writes nothing"
        if self._exactly is not None and against is not None:
            return against
        if plan.exceeded and against is not None and plan.mode != "dry_run":
            limits = "; ".join(item.text for item in plan.exceeded)
            return f"{limits}, and {against}"
        return None

    def _stopped(self, plan: Plan, why: str, report: ExportReport) -> ExportError:
        name, code = self._export.name, plan.hash
        if self._undo is None:
            show, apply, also = f"plan {name}", f"apply {name}", f", or write `approve: {code}` at the export"
        else:
            show, apply, also = f"undo {self._undo.run_id}", f"undo {self._undo.run_id}", ""
        return ExportError(
            f"The export {name} stopped before it wrote anything: {why}. The plan is {code}. Check it with "
            f"`icontact-assets {show}`. If it is right, run `icontact-assets {apply} --plan {code}` within 24 "
            f"hours{also}.",
            report,
        )

    def _report(self, reporter: Reporter, application: Application) -> ExportReport:
        return reporter.report(
            requests=self._requests(), size_after=application.size_after, quiet_until=application.quiet_until
        )

    def _requests(self) -> int:
        return self._context.folder.session.requests - self._requests_before

    def _end(self, status: RunStatus, reason: str | None, report: ExportReport | None = None) -> None:
        counts = (
            {"requests": self._requests()}
            if report is None
            else {
                "added": report.added,
                "removed": report.removed,
                "already_subscribed": report.already_subscribed,
                "skipped": sum(report.skipped.values()),
                "refused": sum(report.refused.values()),
                "failed": sum(report.failed.values()),
                "remaining": report.remaining,
                "list_size_after": report.list_size_after,
                "requests": report.requests,
            }
        )
        self._journal.run(ended_at=naive(self._clock()), status=status, reason=reason, **counts)
