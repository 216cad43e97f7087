"""Ask a partner that answers later for its final answer, and act on it (L13)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from audience_sync.connector import Receipt
from audience_sync.errors import AudienceSyncError, RefusedError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records import Batch, BatchState, Event, Run, RunState, TransferLine
from audience_sync.membership.location import StateLocation
from audience_sync.membership.outbox import Outbox, destroy_outbox
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.leases import Held
from audience_sync.runs.link import Link
from audience_sync.runs.settle import Settlement

_ASK_AGAIN = 600.0  # seconds
_PATIENCE = timedelta(hours=48)  # partners promise 24

_Answer = tuple[Batch, Receipt, BatchState]


@dataclass(frozen=True, kw_only=True)
class Confirmer:
    """Polls the pending batches of delivered runs."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    settlement: Settlement
    now: Callable[[], datetime]

    def poll(self, run: Run, link: Link, held: Held) -> Run:
        """The run after asking once about each pending batch."""
        later = self.now() + timedelta(seconds=_ASK_AGAIN)
        if self._overtaken(run):
            return self.ledger.change_run(run.id, next_attempt_at=later)
        answers, error = self._ask(run, link)
        failed = [batch for batch, _, state in answers if state is BatchState.FAILED]
        if failed:
            # Before the answers are on record: after a crash the partner is asked again.
            outbox = Outbox(self.location, self.keyring, run.id, run.outbox)
            self.settlement.take_back(run, outbox, failed, held)
        sent = self._sent(run) if answers else {}
        for batch, receipt, state in answers:
            self._note(run, batch, receipt, state, sent, link, held)
        if error is not None:
            raise error
        batches = self.ledger.batches(run.id)
        unanswered = sum(batch.state is BatchState.PENDING for batch in batches)
        overdue = run.finished_at is not None and self.now() - run.finished_at > _PATIENCE
        if unanswered and not overdue:
            return self.ledger.change_run(run.id, next_attempt_at=later)
        lost = [batch for batch in batches if batch.state is BatchState.FAILED]
        return self._conclude(run, lost, unanswered, held)

    def _overtaken(self, run: Run) -> bool:
        """Whether a newer run is being delivered; it counts on the membership as it is."""
        states = [RunState.DELIVERING]
        return bool(
            self.ledger.runs(audience=run.audience, destination=run.destination, states=states)
        )

    def _ask(self, run: Run, link: Link) -> tuple[list[_Answer], AudienceSyncError | None]:
        """The final answers there are, and the error that stopped the asking."""
        answers: list[_Answer] = []
        for batch in self.ledger.batches(run.id):
            if batch.state is not BatchState.PENDING or batch.reference is None:
                continue
            try:
                receipt = link.connector.poll(batch.reference)
            except RefusedError as error:
                receipt = Receipt(accepted=0, unattributed=batch.accepted, reason=str(error))
                answers.append((batch, receipt, BatchState.UNKNOWN))
                continue
            except AudienceSyncError as error:
                return answers, error
            if not receipt.pending:
                lost = receipt.accepted == 0 and receipt.unattributed > 0
                state = BatchState.FAILED if lost else BatchState.CONFIRMED
                answers.append((batch, receipt, state))
        return answers, None

    def _sent(self, run: Run) -> dict[int | None, TransferLine]:
        """What the log tells of each batch as it was sent, by its position."""
        lines = (logged.line for logged in self.ledger.log_lines(run=run.id))
        return {line.batch: line for line in lines if line.event is Event.INTENT}

    def _note(
        self,
        run: Run,
        batch: Batch,
        receipt: Receipt,
        state: BatchState,
        sent: Mapping[int | None, TransferLine],
        link: Link,
        held: Held,
    ) -> None:
        unattributed = min(receipt.unattributed, batch.members - batch.rejected)
        answered = replace(
            batch,
            state=state,
            accepted=batch.members - batch.rejected - unattributed,
            unattributed=unattributed,
            error=receipt.reason,
        )
        found = (receipt.match_range and f"match range {receipt.match_range}", receipt.reason)
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
            sent=batch.members,
            accepted=answered.accepted,
            rejected=answered.rejected,
            unattributed=answered.unattributed,
            forms=sent[batch.position].forms if batch.position in sent else "",
            raw_device_ids=batch.position in sent and sent[batch.position].raw_device_ids,
            reference=batch.reference,
            attempts=batch.attempts,
            finished_at=self.now(),
            note="; ".join(text for text in found if text) or None,
        )
        self.ledger.record([line], [answered], held[f"{run.audience}/{run.destination}"])

    def _conclude(self, run: Run, failed: Sequence[Batch], unanswered: int, held: Held) -> Run:
        reason = None
        if failed:
            members = sum(batch.members for batch in failed)
            reason = f"the partner failed {members:,} members after all; they are sent again"
        elif unanswered:
            reason = f"the partner never told the outcome of {unanswered} batches"
        ended = self.ledger.move_run(
            run.id,
            RunState.FAILED if failed else RunState.CONFIRMED,
            expect=[RunState.DELIVERED],
            lease=held[f"{run.audience}/{run.destination}"],
            reason=reason,
            next_attempt_at=None,
        )
        destroy_outbox(self.location, run.id)
        return ended
