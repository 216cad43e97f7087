"""Asks partners that answer later about removals for withdrawals, each removal on its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from audience_sync.connector import Receipt
from audience_sync.errors import RefusedError, TemporaryPartnerError
from audience_sync.ledger.list_removals import ListRemoval, Unanswered
from audience_sync.runs.faults import faults_of
from audience_sync.runs.link import Link

ASK_AGAIN = timedelta(seconds=60)  # between questions, at first
_OF_ITS_AGE = 10  # later a removal is asked about whenever it has grown older by this part
_SECONDS = 5.0  # of one look: who withdraws meanwhile waits for no questions
_PATIENCE = timedelta(hours=48)  # partners promise 24; then the removal is sent again


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Of one list; `early` asks before it is time.

    `adding` says whether the partner still works on additions that were planned before somebody
    withdrew. A removal that may overtake one of them is sent again once these are over, or once it
    failed; that it did not fail says nothing until then.
    """

    link: Callable[[], Link]
    adding: Callable[[int], bool]
    now: Callable[[], datetime] = field(repr=False)
    early: bool = False

    def ask(self, removal: ListRemoval) -> ListRemoval:
        """The same with what the partner says now; what is to be sent again counts as not told."""
        now, told, end = self.now(), removal, time.monotonic() + _SECONDS
        asked = False
        for one in removal.unanswered:
            if one.early and not self.adding(one.through):
                told = _forgotten(told, one)
                continue
            if not one.references or (one.ask_at > now and not self.early):
                continue
            if asked and time.monotonic() > end:
                continue  # it is still time for these: the next look begins with them
            asked, answers = True, self._answers(one.references, end)
            failed = [answer for answer in answers.values() if _failed(answer)]
            pending = [name for name, answer in answers.items() if answer.pending]
            left = (*one.references[len(answers) :], *pending)
            if failed:
                told = _refused(told, one, failed[0].reason)
            elif left and now - one.sent_at > _PATIENCE:
                told = _forgotten(told, one)
            else:
                again = now + _pause(one, now) * (len(answers) / len(one.references))
                told = _answered(told, one, replace(one, references=left, ask_at=again))
        return told

    def again(self, removal: ListRemoval) -> float:
        """The seconds until it is time to ask."""
        now = self.now()
        times = [
            now + _pause(one, now) if one.early else one.ask_at
            for one in removal.unanswered
            if one.waits
        ]
        return max(0.0, (min(times, default=now + ASK_AGAIN) - now).total_seconds())

    def _answers(self, references: Sequence[str], end: float) -> dict[str, Receipt]:
        """What is said of the first ones, as far as time goes."""
        answers: dict[str, Receipt] = {}
        for reference in references:
            if answers and time.monotonic() > end:
                break
            answers[reference] = self._answer(reference)
        return answers

    def _answer(self, reference: str) -> Receipt:
        connector = self.link().connector
        try:
            with faults_of(connector.name):
                return connector.poll(reference)
        except TemporaryPartnerError:  # a removal is not held up by that nobody can be asked
            return Receipt(accepted=0, pending=True)
        except RefusedError as error:
            return Receipt(accepted=0, lost=True, reason=str(error))


def _pause(one: Unanswered, now: datetime) -> timedelta:
    return max(ASK_AGAIN, (now - one.sent_at) / _OF_ITS_AGE)


def _failed(answer: Receipt) -> bool:
    return bool(answer.lost or answer.unattributed or answer.rejected)


def _answered(removal: ListRemoval, before: Unanswered, after: Unanswered) -> ListRemoval:
    unanswered = [after if one is before else one for one in removal.unanswered]
    told = replace(removal, unanswered=tuple(unanswered))
    return told if after.references else replace(told, refused=0, reason=None)


def _forgotten(removal: ListRemoval, failed: Unanswered) -> ListRemoval:
    left = tuple(one for one in removal.unanswered if one is not failed)
    return replace(removal, through=min(removal.through, failed.after), unanswered=left)


def _refused(removal: ListRemoval, failed: Unanswered, reason: str | None) -> ListRemoval:
    told = _forgotten(removal, failed)
    return replace(told, refused=removal.refused + 1, reason=reason or "without a reason")
