"""Decides again, right before a request is sent: by statuses no older than ten minutes, and by all that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from icontact_assets.exports.consent import Denial, Permit, RemovalPermit, decide, decide_removal, is_fresh
from icontact_assets.exports.context import ExportContext
from icontact_assets.exports.facts import learn_addresses, read_other_lists
from icontact_assets.exports.live import LiveList
from icontact_assets.exports.outcomes import JournalEntry, Outcome, removal_entry
from icontact_assets.exports.plan import Plan
from icontact_assets.exports.progress import Progress


class Recheck:
    """Reads again what grew old of the facts of a plan, and gives its permits anew. Denials are noted."""

    def __init__(self, context: ExportContext, plan: Plan, lists: Mapping[str, LiveList], progress: Progress) -> None:
        self._context = context
        self._plan = plan
        self._lists = lists
        self._progress = progress
        self._folder = context.folder
        self._clock = context.clock

    def additions(self, permits: Sequence[Permit]) -> list[Permit]:
        """The permits given anew. A person who is denied now is noted as skipped."""
        self._read_lists()
        learn_addresses(self._context, self._plan.knowledge)
        self._read_contacts([permit.contact_id for permit in permits])
        fresh = []
        for permit in permits:
            decision = self._decide(permit.contact_id, self._plan.live)
            if isinstance(decision, Permit):
                fresh.append(decision)
            else:
                entry = JournalEntry(permit.contact_id, "subscribe", permit.list_id, Outcome.SKIPPED)
                self._progress.note(replace(entry, reason=decision.reason, evidence=decision.evidence))
        return fresh

    def removal(self, permit: RemovalPermit) -> RemovalPermit | None:
        """The permit, or for a move the one given anew. None: it is denied now, which is noted."""
        if permit.onto is None:
            return permit
        off, onto = self._lists[permit.list_id], self._lists[permit.onto.list_id]
        self._read_lists()
        for on in (off, onto):
            if not is_fresh(on.status(permit.contact_id)[1], self._clock()):
                self._read_subscription(on, permit.contact_id)
        learn_addresses(self._context, self._plan.knowledge)
        self._read_contacts([permit.contact_id])
        status, read_at = off.status(permit.contact_id)
        evidence = replace(
            permit.evidence,
            subscription_status=status,
            list_read_at=read_at,
            onto=self._decide(permit.contact_id, onto),
        )
        decision = decide_removal(permit.contact_id, permit.list_id, evidence)
        if isinstance(decision, RemovalPermit):
            return decision
        entry = removal_entry(permit, Outcome.SKIPPED)
        self._progress.note(replace(entry, reason=decision.reason, evidence=decision.evidence))
        return None

    def _decide(self, contact_id: str, on: LiveList) -> Permit | Denial:
        contact = self._plan.contacts.get(contact_id)
        return decide(contact_id, on.list_id, self._plan.knowledge.evidence(contact_id, contact, on, self._clock()))

    def _read_contacts(self, contact_ids: Sequence[str]) -> None:
        """Read the contacts again whose status is older than ten minutes."""
        now, contacts = self._clock(), self._plan.contacts
        stale = [id_ for id_ in contact_ids if (c := contacts.get(id_)) is None or not is_fresh(c.read_at, now)]
        if stale:
            read = self._plan.reader.read_again(stale, self._progress.asked_again())
            for contact_id, contact in {**dict.fromkeys(stale), **read}.items():
                before = contacts.get(contact_id)
                if before is not None and (contact is None or contact.address != before.address):
                    self._plan.knowledge.had(contact_id, before.address, candidate=True)
                contacts[contact_id] = contact

    def _read_lists(self) -> None:
        """Read what is new on the list, and for `consent: strict` every list, if that was more than ten minutes ago."""
        live, knowledge = self._plan.live, self._plan.knowledge
        if not is_fresh(live.grown_at, self._clock()):
            live.read(self._folder, self._clock, whole=False)
        at = knowledge.elsewhere_at
        if at is not None and not is_fresh(at, self._clock()):
            read_other_lists(self._context, knowledge, self._plan.elsewhere, [live])

    def _read_subscription(self, on: LiveList, contact_id: str) -> None:
        """Read a contact's status on a list again: the whole list, where that costs fewer requests than those to do."""
        if on.requests < self._progress.removals_left():
            on.read(self._folder, self._clock)
        else:
            on.read_alone(self._folder, contact_id, self._clock)
