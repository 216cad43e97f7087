"""One transfer: an intent in the log, the upload, the outcome in the log (L5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

import numpy as np

from audience_sync.connector import Consent, Receipt, Upload
from audience_sync.delivery.exchange import Exchange
from audience_sync.errors import AudienceSyncError, StateError
from audience_sync.identifiers.kinds import DEVICE_WIDTH
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event, TransferLine
from audience_sync.ledger.records.runs import Batch, BatchState, Operation, Run
from audience_sync.members import Members
from audience_sync.membership.outbox import Outbox
from audience_sync.runs.batch_states import (
    UnaccountedError,
    adds_up,
    answered,
    note_of,
    nothing_sent,
    state_after,
)
from audience_sync.runs.faults import faults_of
from audience_sync.runs.leases import Held
from audience_sync.runs.link import Link
from audience_sync.runs.screen import Screen

# Every member was judged to have granted sharing for advertising before it reached an outbox.
_GRANTED = Consent(ad_user_data=True, ad_personalization=True)


class Intent(NamedTuple):
    """A batch about to be sent: as it was, as it is on its way, its members, its line.

    There is no line where all its members withdrew, so that nothing is sent. `withdrawals` is the
    newest withdrawal that was looked at, where any matters.
    """

    batch: Batch
    sending: Batch
    members: Members
    line: TransferLine | None
    withdrawals: int | None = None


class Outcome(NamedTuple):
    """What became of a batch that was answered."""

    line: TransferLine
    batch: Batch


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Sends batches of one run to one list; safe from several threads."""

    ledger: Ledger
    run: Run
    link: Link
    remote_id: str
    outbox: Outbox
    held: Held
    held_forms: Mapping[str, str]  # in which the members that are removed were sent
    now: Callable[[], datetime] = field(repr=False)
    afresh: bool = False  # whether nobody of ours is on the list
    lease: str | None = None  # that fences what is written; without a name the list's own
    screen: Screen | None = None  # keeps out who withdrew since the plan
    waits: list[float] = field(default_factory=list)  # seconds until polling is worth while

    @property
    def lease_name(self) -> str:
        """The lease that fences what is written here (L7)."""
        return self.lease or self.run.lease_name

    def intend(self, batch: Batch) -> Intent:
        """Read a batch and write the line that must be in the log before it is sent.

        Whoever withdrew since the plan is withheld; what the transfer log has of it is less.
        """
        lines = self.outbox.batch(batch.position)
        if self.screen is None or batch.operation is not Operation.ADD:
            return self._intent(batch, lines.members(), None)
        known = self.screen.refresh()
        out = self.screen.keeps_out(lines)
        withheld = tuple(np.flatnonzero(out[lines.starts]).tolist())
        batch = replace(batch, withheld=len(withheld), withheld_positions=withheld)
        if withheld:
            lines = lines.take(~out)
        if not len(lines):
            return Intent(batch, nothing_sent(batch), lines.members(), None)
        return self._intent(batch, lines.members(), known)

    def _intent(self, batch: Batch, members: Members, known: int | None) -> Intent:
        sending = replace(batch, state=BatchState.SENDING, attempts=batch.attempts + 1, error=None)
        return Intent(batch, sending, members, self._line(Event.INTENT, batch, members), known)

    def withholds_all(self, batch: Batch) -> bool:
        """Whether nobody of a batch may be sent any more, as far as is known now."""
        if self.screen is None or batch.operation is not Operation.ADD or self.screen.idle:
            return False
        return bool(self.screen.keeps_out(self.outbox.batch(batch.position)).all())

    def send(self, intent: Intent, upload: Upload) -> Outcome:
        """Send a batch whose intent is on record. Raises the error after logging it.

        The outcome is to be recorded by the caller, at once.
        """
        if intent.line is None:
            raise StateError("a batch without an intent in the log cannot be sent")
        self._permit()
        with self.link.recording() as exchange:
            exchange.permit = self._permit
            try:
                receipt = self._call(intent.batch, upload, intent.members)
            except AudienceSyncError as error:
                state = state_after(error, exchange, intent.batch)
                failed = replace(intent.sending, state=state, error=str(error))
                self._write([(self._failure(intent.line, exchange, error), failed)])
                raise
        if receipt.pending and receipt.poll_after is not None:
            self.waits.append(receipt.poll_after)
        return Outcome(
            self._outcome(intent.line, exchange, receipt), answered(intent.sending, receipt)
        )

    def record(self, outcome: Outcome | None, intent: Intent | None) -> None:
        """Record what became of one batch together with the intent of the next (L5).

        One transaction for both: a commit waits for the disk, and there is one for each batch.
        OvertakenError, and nothing written, when somebody withdrew since the intent was made.
        """
        entries: list[tuple[TransferLine | None, Batch]] = []
        if outcome is not None:
            entries.append((outcome.line, outcome.batch))
        if intent is not None:
            entries.append((intent.line, intent.sending))
        if entries:
            self._write(entries, None if intent is None else intent.withdrawals)

    def _permit(self) -> None:
        """Whoever slept through its lease sends nothing: the batch is another's by now (L7)."""
        self.held.confirm(*{self.lease_name, self.run.lease_name})

    def _call(self, batch: Batch, upload: Upload, members: Members) -> Receipt:
        connector = self.link.connector
        with faults_of(connector.name, UnaccountedError):
            if batch.operation is Operation.ADD:
                receipt = connector.add(replace(upload, consent=_GRANTED), members)
            else:
                receipt = connector.remove(upload, members)
        if not adds_up(receipt, len(members)):
            raise UnaccountedError(
                f"the connector {connector.name} accounts for {receipt.sent} of {len(members)} "
                "members; report this to its author"
            )
        return receipt

    def _line(self, event: Event, batch: Batch, members: Members) -> TransferLine:
        raw = any(
            column.shape[2] == DEVICE_WIDTH and column.any() for column in members.values.values()
        )
        used = [kind for kind, column in members.values.items() if column.any()]
        forms = dict(self.run.forms)
        if batch.operation is Operation.REMOVE:
            forms |= self.held_forms
        recipient = self.link.connector.recipient
        return TransferLine(
            event=event,
            run=self.run.id,
            audience=self.run.audience,
            destination=self.run.destination,
            recipient=recipient.name,
            recipient_country=recipient.country,
            purpose=self.link.purpose,
            operation=batch.operation,
            batch=batch.position,
            sent=len(members),
            forms=" ".join(f"{kind}={forms.get(kind, '?')}" for kind in used),
            raw_device_ids=raw,
            attempts=batch.attempts + 1,
            started_at=self.now(),
        )

    def _outcome(self, begun: TransferLine, exchange: Exchange, receipt: Receipt) -> TransferLine:
        return replace(
            self._ended(begun, exchange),
            accepted=receipt.accepted,
            rejected=len(receipt.rejected),
            unattributed=receipt.unattributed,
            reference=receipt.reference,
            note=note_of(receipt),
        )

    def _failure(
        self, begun: TransferLine, exchange: Exchange, error: AudienceSyncError
    ) -> TransferLine:
        status = getattr(error, "status", None)
        code = getattr(error, "code", None)
        line = self._ended(begun, exchange)
        return replace(
            line,
            unattributed=begun.sent,
            status=status if status is not None else line.status,
            code=code if code is not None else line.code,
            note=f"failed: {error}",
        )

    def _ended(self, begun: TransferLine, exchange: Exchange) -> TransferLine:
        return replace(
            begun,
            event=Event.OUTCOME,
            status=exchange.status,
            code=exchange.code,
            attempts=max(begun.attempts, exchange.attempts),
            finished_at=self.now(),
            body_sha256=exchange.body_sha256,
        )

    def _write(
        self, entries: Sequence[tuple[TransferLine | None, Batch]], known: int | None = None
    ) -> None:
        lines = [line for line, _ in entries if line is not None]
        batches = [batch for _, batch in entries]
        leases = (self.held[name] for name in {self.lease_name, self.run.lease_name})
        self.ledger.record(lines, batches, *leases, withdrawals=known)
