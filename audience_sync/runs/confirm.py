"""Ask a partner that answers later for its final answer, and act on it (L13)."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from audience_sync.connector import Receipt
from audience_sync.errors import (
    AudienceSyncError,
    AwayError,
    PartnerError,
    RefusedError,
    StateError,
)
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event, TransferLine
from audience_sync.ledger.records.runs import Batch, BatchState, Operation, Run, RunState
from audience_sync.membership.location import StateLocation
from audience_sync.membership.outbox import Outbox, destroy_outbox
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.answers import needs_taking_back
from audience_sync.runs.batch_states import in_batch
from audience_sync.runs.faults import faults_of
from audience_sync.runs.leases import Held
from audience_sync.runs.link import Link
from audience_sync.runs.settle import Settlement
from audience_sync.runs.whole import STRANGERS, drop_stale

ASK_AGAIN = 600.0  # seconds
_PATIENCE = timedelta(hours=48)  # partners promise 24
_LOST = (
    "what was sent cannot be read any more, so everybody is sent again; "
    "compare the list at the partner with ours"
)

_Answer = tuple[Batch, Receipt]  # the batch as the partner's last word leaves it


@dataclass(frozen=True, kw_only=True)
class Confirmer:
    """Polls the pending batches of delivered runs."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    settlement: Settlement
    now: Callable[[], datetime]

    def poll(
        self, run: Run, link_to: Callable[[str], Link], held: Held, *, within: float = math.inf
    ) -> Run:
        """The run after asking once about each pending batch; `within` seconds, as far as it gets.

        After two days it ends whatever stands in the way of asking, with removals that nobody
        confirmed to be sent again. Where time is short, that is after four, and once no answer
        came in it.
        """
        end = time.monotonic() + within
        later = self.now() + timedelta(seconds=ASK_AGAIN)
        if self._overtaken(run):
            return self.ledger.change_run(run.id, next_attempt_at=later)
        age = timedelta() if run.finished_at is None else self.now() - run.finished_at
        overdue = age > _PATIENCE
        error = self._asked(run, link_to, held, end, overdue=overdue)
        if isinstance(error, _TimeIsUpError) and (error.answered or age <= 2 * _PATIENCE):
            again = self.now() if error.answered else later
            return self.ledger.change_run(run.id, next_attempt_at=again)
        if error is not None and not overdue:
            raise error
        silent = [b for b in self.ledger.batches(run.id) if b.state is BatchState.PENDING]
        if silent and not overdue:
            return self.ledger.change_run(run.id, next_attempt_at=later)
        lost = self._left_unknown(run, silent, held)
        left = self._dropped_stale(run, link_to, held, overdue=overdue)
        return self._conclude(run, len(silent), held, lost=_LOST if lost else left)

    def give_up(self, run: Run, reason: str, held: Held) -> Run:
        """End a delivered run without the partner's last word; see `poll` after two days."""
        silent = [b for b in self.ledger.batches(run.id) if b.state is BatchState.PENDING]
        if self._left_unknown(run, silent, held):
            reason = f"{reason}; {_LOST}"
        return self._end(run, RunState.CANCELLED, reason, held)

    def _overtaken(self, run: Run) -> bool:
        """Whether a newer run is being delivered; it counts on the membership as it is."""
        states = [RunState.DELIVERING]
        return bool(
            self.ledger.runs(audience=run.audience, destination=run.destination, states=states)
        )

    def _asked(
        self,
        run: Run,
        link_to: Callable[[str], Link],
        held: Held,
        end: float,
        *,
        overdue: bool,
    ) -> AudienceSyncError | None:
        """Ask, and act on the answers there are; the error that stopped the asking."""
        try:
            link = link_to(run.destination)
        except AudienceSyncError as error:
            return error
        answers, stopped = self._answers(run, link, end)
        answers.sort(key=lambda answer: answer[0].position)  # as the outbox has them
        changed = [batch for batch, _ in answers if needs_taking_back(batch)]
        # Before the answers are on record: after a crash the partner is asked again.
        if self._taken_back(run, changed, held, lenient=overdue):
            stopped = stopped or StateError(_LOST)
        sent = self._sent(run) if answers else {}
        for batch, receipt in answers:
            self._note(run, batch, receipt, sent, link, held)
        return stopped

    def _answers(
        self, run: Run, link: Link, end: float
    ) -> tuple[list[_Answer], AudienceSyncError | None]:
        """The final answers there are, and the error that stopped the asking before its end."""
        answers: list[_Answer] = []
        pending = self.ledger.batches(run.id, states=(BatchState.PENDING,))
        waiting = [batch for batch in pending if batch.reference is not None]
        if waiting and end < math.inf:  # so that those without an answer hide no others
            first = secrets.randbelow(len(waiting))
            waiting = waiting[first:] + waiting[:first]
        for asked, batch in enumerate(waiting):
            if asked and time.monotonic() > end:
                return answers, _TimeIsUpError("not all were asked", answered=bool(answers))
            try:
                with faults_of(link.connector.name, PartnerError):
                    receipt = link.connector.poll(batch.reference or "")
            except RefusedError as error:
                receipt = Receipt(accepted=batch.accepted, reason=str(error))
                unknown = replace(batch, state=BatchState.UNKNOWN, error=str(error))
                answers.append((unknown, receipt))
                continue
            except AudienceSyncError as error:
                return answers, error
            if not receipt.pending:
                answers.append(_final(batch, receipt, link))
        return answers, None

    def _taken_back(self, run: Run, batches: Sequence[Batch], held: Held, *, lenient: bool) -> bool:
        """Put into the membership what the answers changed; whether the outbox was lost."""
        if not batches:
            return False
        try:
            outbox = Outbox(self.location, self.keyring, run.id, run.outbox)
            self.settlement.take_back(run, outbox, batches, held)
        except StateError as error:
            if not lenient or isinstance(error, AwayError):
                raise
            self.settlement.doubts.everybody(run, held)
            return True
        return False

    def _left_unknown(self, run: Run, silent: Sequence[Batch], held: Held) -> bool:
        """Nobody will ever tell: removals come back into the membership; whether any are lost."""
        unknown = [replace(batch, state=BatchState.UNKNOWN) for batch in silent]
        changed = [batch for batch in unknown if needs_taking_back(batch)]
        lost = self._taken_back(run, changed, held, lenient=True)
        if unknown:
            self.ledger.record([], unknown, held[run.lease_name])
        return lost

    def _sent(self, run: Run) -> Mapping[int | None, TransferLine]:
        """What the log tells of each batch as it was sent, by its position."""
        lines = (logged.line for logged in self.ledger.log_lines(run=run.id))
        return {line.batch: line for line in lines if line.event is Event.INTENT}

    def _note(
        self,
        run: Run,
        batch: Batch,
        receipt: Receipt,
        sent: Mapping[int | None, TransferLine],
        link: Link,
        held: Held,
    ) -> None:
        named = [rejection.reason for rejection in receipt.rejected]
        found = (receipt.match_range and f"match range {receipt.match_range}", batch.error)
        recipient = link.connector.recipient
        line = TransferLine(
            event=Event.CONFIRMED,
            run=run.id,
            audience=run.audience,
            destination=run.destination,
            recipient=recipient.name,
            recipient_country=recipient.country,
            purpose=link.purpose,
            operation=batch.operation,
            batch=batch.position,
            sent=batch.members - batch.withheld,
            accepted=batch.accepted,
            rejected=batch.rejected,
            unattributed=batch.unattributed,
            forms=sent[batch.position].forms if batch.position in sent else "",
            raw_device_ids=batch.position in sent and sent[batch.position].raw_device_ids,
            reference=batch.reference,
            attempts=batch.attempts,
            finished_at=self.now(),
            note="; ".join([*sorted(set(named)), *(text for text in found if text)]) or None,
        )
        self.ledger.record([line], [batch], held[run.lease_name])

    def _dropped_stale(
        self, run: Run, link_to: Callable[[str], Link], held: Held, *, overdue: bool
    ) -> str | None:
        """Ask that whoever else is on the list leaves; what to say where that was in vain."""
        try:
            drop_stale(self.ledger, run, link_to(run.destination), self.now, held)
        except AudienceSyncError as error:
            if not (overdue or isinstance(error, RefusedError)):
                raise
            return STRANGERS.format(error)
        return None

    def _conclude(self, run: Run, unanswered: int, held: Held, *, lost: str | None) -> Run:
        failed = [b for b in self.ledger.batches(run.id) if b.state is BatchState.FAILED]
        reason = None
        if failed:
            members = sum(b.members - b.withheld - b.accepted for b in failed)
            reason = f"the partner failed {members:,} members after all; they are sent again"
        elif unanswered:
            reason = f"the partner never told the outcome of {unanswered} batches"
        if lost:
            reason = "; ".join(text for text in (reason, lost) if text)
        return self._end(run, RunState.FAILED if failed else RunState.CONFIRMED, reason, held)

    def _end(self, run: Run, to: RunState, reason: str | None, held: Held) -> Run:
        ended = self.ledger.move_run(
            run.id,
            to,
            expect=[RunState.DELIVERED],
            lease=held[run.lease_name],
            reason=reason,
            next_attempt_at=None,
        )
        destroy_outbox(self.location, run.id)
        return ended


class _TimeIsUpError(AudienceSyncError):
    """Not all were asked about; whether any of those who were was answered."""

    def __init__(self, *words: str, answered: bool = False) -> None:
        super().__init__(*words)
        self.answered = answered


def _final(batch: Batch, receipt: Receipt, link: Link) -> _Answer:
    """The batch after its partner's last word; one that does not add up is all in doubt (L3)."""
    if not _adds_up(batch, receipt):
        name = link.connector.name
        reason = (
            f"the connector {name} accounts for {receipt.sent} of {batch.accepted} members; "
            "report this to its author"
        )
        receipt = Receipt(accepted=0, unattributed=batch.accepted, reason=reason)
    positions = in_batch(batch, (rejection.position for rejection in receipt.rejected))
    missing = receipt.lost or (receipt.unattributed > 0 and receipt.accepted == 0)
    if batch.operation is Operation.REMOVE:
        missing = receipt.lost or receipt.unattributed > 0 or bool(positions)
    answered = replace(
        batch,
        state=BatchState.FAILED if missing else BatchState.CONFIRMED,
        accepted=receipt.accepted,
        rejected=batch.rejected + len(positions),
        unattributed=batch.unattributed + receipt.unattributed,
        rejected_positions=(*batch.rejected_positions, *positions),
        error=receipt.reason,
    )
    return answered, receipt


def _adds_up(batch: Batch, receipt: Receipt) -> bool:
    """Whether a last word accounts once for each member that was called accepted (L3)."""
    told = [rejection.position for rejection in receipt.rejected]
    if not all(0 <= position < batch.members - batch.withheld for position in told):
        return False
    positions = in_batch(batch, told)
    free = set(range(batch.members)) - set(batch.rejected_positions)
    counted = min(receipt.accepted, receipt.unattributed) >= 0 and receipt.sent == batch.accepted
    return counted and len(set(positions) & free) == len(positions)
