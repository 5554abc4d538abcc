"""What iContact does with writes, found out on a trial's own contact and lists: each step, and what it shows."""

from __future__ import annotations

import time
from collections.abc import Callable

from icontact_assets.probe.findings import Finding, unknown
from icontact_assets.probe.questions import WRITE_QUESTIONS, Value
from icontact_assets.probe.trial import ABSENT, NORMAL, UNSUBSCRIBED, Outcome, Trial, TrialError, TrialList

PATIENCE = 60
"""Seconds after which a write that was confirmed, and does not show, ends the trial."""
_LOST = 10
"""Seconds in which a write whose answer was lost may still show."""
_STEP = 1.0


class WriteProbe:
    """One trial from the first write to the last. `findings` and the trial's `now` are right whenever it ends.

    `sleep` waits, and `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        trial: Trial,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.findings: dict[str, Finding] = {}
        self._trial = trial
        self._home, self._other = trial.home, trial.other
        self._sleep = sleep
        self._clock = clock
        self._delay: float | None = None
        """How long a write took to show, at most. None: none did yet."""

    def run(self) -> None:
        """Find out everything, and put back what can be. Raises TrialError and the errors of iContact."""
        trial, home, other = self._trial, self._home, self._other
        if trial.now[home.list_id] == ABSENT:
            self._bad_batch()
        self._same_again()
        if other is not None:
            self._move_and_back(home, other)
        if "bulk_failure" not in self.findings:
            self._bad_batch()
        self._leave()
        self._come_back()
        if other is not None:
            self._move_who_left(home, other)
        self._put_back()

    def all_findings(self) -> list[Finding]:
        """A finding for each question, in order: `unknown` for what the trial did not come to."""
        return [
            self.findings.get(question.key) or unknown(question.key, "not looked at") for question in WRITE_QUESTIONS
        ]

    # Steps

    def _bad_batch(self) -> None:
        """A batch of the contact and a bad row."""
        trial, home = self._trial, self._home
        before = trial.now[home.list_id]
        outcome = trial.try_subscribe(home, with_bad_row=True)
        after = self._shown(home, NORMAL, outcome) if before == ABSENT else before
        taken = outcome.status == 200 and after == NORMAL
        rejected = outcome.status in (400, 409)
        if taken:
            self._found("bulk_failure", "skip", "the good row was written, the bad one left out")
        elif rejected and (after == ABSENT or self._answer("post_existing_subscription") in ("existing", "warning")):
            self._found("bulk_failure", "refuse", f"the whole batch was rejected with {outcome.status}")
        elif rejected:
            self._unknown("bulk_failure", "the good row alone is rejected too, as the contact is on the list already")
        else:
            self._found(
                "bulk_failure", "other", f"answered {_status(outcome)}, and then the contact was {after}", outcome
            )
        if after == ABSENT:
            self._shown(home, NORMAL, trial.try_subscribe(home))

    def _same_again(self) -> None:
        """The subscription that is there, posted again."""
        if not self._is(self._home, NORMAL, "post_existing_subscription"):
            return
        outcome = self._trial.try_subscribe(self._home)
        # Nothing is to change, so that nothing is waited for.
        self._trial.look(self._home)
        self._trial.unseen.clear()
        answer = {200: "warning", 409: "409"}.get(outcome.status or 0, "other")
        answer = answer if outcome.row is None else "existing"
        self._found("post_existing_subscription", answer, f"answered {_status(outcome)}", outcome)
        self._names(outcome)

    def _move_and_back(self, home: TrialList, other: TrialList) -> None:
        """A move to the other list, a new subscription to the first, and the move back onto it."""
        trial = self._trial
        if not self._is(home, NORMAL, "move"):
            return
        outcome = trial.try_move(home, other)
        there, here = self._shown(other, NORMAL, outcome), trial.look(home)
        works = (outcome.row, there, here) == (NORMAL, NORMAL, ABSENT)
        answer = "works" if works else "refused" if (there, here) == (ABSENT, NORMAL) else "other"
        self._found("move", answer, f"answered {_status(outcome)}, {here} here and {there} there after it", outcome)
        if not works:
            return
        if "bulk_failure" in self.findings:
            self._shown(home, NORMAL, trial.try_subscribe(home))
        else:
            self._bad_batch()
        if not self._is(home, NORMAL, "move_existing"):
            return
        outcome = trial.try_move(other, home)
        there, here = self._shown(other, ABSENT, outcome), trial.look(home)
        if (outcome.status, there, here) == (200, ABSENT, NORMAL):
            self._found("move_existing", "merge", "one subscription was left")
        else:
            known = there == NORMAL and outcome.status in (400, 409)
            words = f"answered {_status(outcome)}, {there} on the list that it was to leave, {here} on the other"
            self._found("move_existing", str(outcome.status) if known else "other", words, outcome)
        self._names(outcome)

    def _leave(self) -> None:
        if not self._is(self._home, NORMAL, "unsubscribe"):
            return
        outcome = self._trial.try_unsubscribe(self._home)
        after = self._shown(self._home, UNSUBSCRIBED, outcome)
        answer = "works" if after == UNSUBSCRIBED else "refused" if outcome.status != 200 else "other"
        self._found("unsubscribe", answer, f"answered {_status(outcome)}, {after} after it", outcome)

    def _come_back(self) -> None:
        """Who unsubscribed is subscribed again."""
        if not self._is(self._home, UNSUBSCRIBED, "resubscribe"):
            return
        outcome = self._trial.try_subscribe(self._home)
        after = self._shown(self._home, NORMAL, outcome, patience=self._delay or 0.0)
        if after == NORMAL:
            answer = "success"
        elif outcome.status == 200:
            answer = "skip" if outcome.row is None else "pretend"
        else:
            answer = str(outcome.status) if outcome.status in (400, 409) else "other"
        self._found("resubscribe", answer, f"answered {_status(outcome)}, {after} after it", outcome)
        self._names(outcome)

    def _move_who_left(self, home: TrialList, other: TrialList) -> None:
        trial = self._trial
        if trial.now[home.list_id] == NORMAL and self._answer("resubscribe") == "success":
            self._shown(home, UNSUBSCRIBED, trial.try_unsubscribe(home))
        if not self._is(home, UNSUBSCRIBED, "move_unsubscribed"):
            return
        if not self._is(other, ABSENT, "move_unsubscribed"):
            return
        outcome = trial.try_move(home, other)
        there = self._shown(home, ABSENT, outcome) and trial.look(other)
        answer = {UNSUBSCRIBED: "carry", NORMAL: "subscribe"}.get(there, "other")
        if there == ABSENT and outcome.status == 400:
            answer = "400"
        self._found(
            "move_unsubscribed", answer, f"answered {_status(outcome)}, {there} on the list that it moved to", outcome
        )
        self._names(outcome)

    def _put_back(self) -> None:
        """The contact as `normal` on the list again, if it was before. There is no request that ends a subscription."""
        trial, home, other = self._trial, self._home, self._other
        if trial.before[home.list_id] != NORMAL or trial.now[home.list_id] == NORMAL:
            return
        here, there = trial.now[home.list_id], ABSENT if other is None else trial.now[other.list_id]
        if other is not None and (here, there) == (ABSENT, NORMAL):
            self._shown(home, NORMAL, trial.try_move(other, home))
            trial.look(other)
        elif here == ABSENT or self._answer("resubscribe") == "success":
            self._shown(home, NORMAL, trial.try_subscribe(home))

    # What is seen

    def _shown(self, list_: TrialList, wanted: str, outcome: Outcome, *, patience: float = PATIENCE) -> str:
        """The contact's status on a list after a write. One that was confirmed is waited for.

        Raises TrialError if it does not show.
        """
        began, waited = self._clock(), False
        if self._delay:
            self._sleep(self._delay)
        # A row in another status than the one that was asked for is an answer too.
        confirmed = outcome.row == wanted or (outcome.row is not None and wanted == ABSENT)
        hoped = patience if confirmed else _LOST if outcome.status is None else 0.0
        until = began + max(hoped, self._delay or 0.0)
        while (status := self._trial.look(list_)) != wanted and self._clock() < until:
            self._sleep(_STEP)
            waited = True
        if status == wanted:
            self._delay = self._clock() - began if waited else self._delay or 0.0
            seconds = round(self._delay)
            self._found("write_delay_seconds", seconds, f"shown {seconds} s after the answer" if seconds else "at once")
        elif confirmed and patience == PATIENCE:
            raise TrialError(
                f"A write was confirmed and does not show after {PATIENCE} s: the contact is {status} on the list "
                f"{list_.list_id}. The trial stops."
            )
        self._trial.unseen.clear()
        return status

    def _is(self, list_: TrialList, status: str, key: str) -> bool:
        """Whether the contact is on a list as a step needs it. If not, its question stays open."""
        now = self._trial.now[list_.list_id]
        if now != status:
            self._unknown(key, f"the contact is {now} on the list {list_.list_id}, where it must be {status}")
        return now == status

    def _answer(self, key: str) -> Value | None:
        return self.findings[key].answer if key in self.findings else None

    def _found(self, key: str, answer: Value, words: str, outcome: Outcome | None = None) -> None:
        if outcome is not None and outcome.status is None:
            self._unknown(key, "the answer was lost")
        else:
            self.findings[key] = Finding(key, answer, words)

    def _unknown(self, key: str, why: str) -> None:
        self.findings[key] = unknown(key, why)

    def _names(self, outcome: Outcome) -> None:
        """How a refusal names the contact. The first that says anything counts."""
        if outcome.said and "refusal_names" not in self.findings:
            answer = {1: next(iter(outcome.named), ""), 2: "both"}.get(len(outcome.named), "neither")
            self._found("refusal_names", answer, "in the words of a refusal")


def _status(outcome: Outcome) -> str:
    if outcome.status is None:
        return "nothing"
    return f"{outcome.status} {'without a row' if outcome.row is None else f'with the row {outcome.row}'}"


def left_behind(trial: Trial) -> list[str]:
    """What is not as it was before, or may not be, and what a person can do about it."""
    found = []
    for list_ in trial.lists:
        before, now = (states.get(list_.list_id, ABSENT) for states in (trial.before, trial.now))
        subject = f"The contact {trial.contact_id}"
        where = f"the list {list_.list_id}, where it was {before} before"
        if list_.list_id in trial.unseen:
            found.append(f"{subject} was written to on {where}. That may show late: look at it in iContact.")
        elif now != before and before == NORMAL:
            found.append(f"{subject} is {now} on {where}: subscribe it again in iContact, or delete the list.")
        elif now != before:
            found.append(f"{subject} is {now} on {where}. No request takes that away: delete the list in iContact.")
    return found
