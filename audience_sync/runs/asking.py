"""Asks partners that answer later about removals for withdrawals, each removal on its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from audience_sync.connector import Receipt
from audience_sync.errors import RefusedError, TemporaryPartnerError
from audience_sync.ledger.list_removals import ListRemoval, Unanswered
from audience_sync.runs.faults import faults_of
from audience_sync.runs.link import Link

ASK_AGAIN = timedelta(seconds=60)  # between questions, at first
_OF_ITS_AGE = 10  # later a removal is asked about whenever it has grown older by this part
_PATIENCE = timedelta(hours=48)  # partners promise 24; then the removal is sent again


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Of one list; `early` asks before it is time."""

    link: Callable[[], Link]
    now: Callable[[], datetime] = field(repr=False)
    early: bool = False

    def ask(self, removal: ListRemoval) -> ListRemoval:
        """The same with what the partner says now; what failed is told to the list no more."""
        through, left = removal.through, []
        for one in removal.unanswered:
            after = self._asked(one) if self._due(one) else one
            if after is None:
                through = min(through, one.after)
            else:
                left.append(after)
        return replace(removal, through=through, unanswered=tuple(left))

    def again(self, removal: ListRemoval) -> float:
        """The seconds until it is time to ask."""
        times = [one.ask_at for one in removal.unanswered if one.references]
        now = self.now()
        return max(0.0, (min(times, default=now + ASK_AGAIN) - now).total_seconds())

    def _due(self, one: Unanswered) -> bool:
        return bool(one.references) and (self.early or one.ask_at <= self.now())

    def _asked(self, one: Unanswered) -> Unanswered | None:
        """With the references that still wait; None where it is to be sent again."""
        now = self.now()
        answers = [(reference, self._answer(reference)) for reference in one.references]
        if any(answer is not None and not _done(answer) for _, answer in answers):
            return None
        left = tuple(reference for reference, answer in answers if answer is not None)
        if left and now - one.sent_at > _PATIENCE:
            return None
        pause = max(ASK_AGAIN, (now - one.sent_at) / _OF_ITS_AGE)
        return replace(one, references=left, ask_at=now + pause)

    def _answer(self, reference: str) -> Receipt | None:
        """What the partner says of a reference; None where it says that all is done."""
        connector = self.link().connector
        try:
            with faults_of(connector.name):
                receipt = connector.poll(reference)
        except TemporaryPartnerError:  # a removal is not held up by that nobody can be asked
            return Receipt(accepted=0, pending=True)
        except RefusedError as error:
            return Receipt(accepted=0, lost=True, reason=str(error))
        return receipt if receipt.pending or not _done(receipt) else None


def _done(receipt: Receipt) -> bool:
    return not (receipt.lost or receipt.unattributed or receipt.rejected)
