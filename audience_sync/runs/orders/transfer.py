"""One report of orders: an intent in the log, the request, the outcome in the log (L5).

The order lines are written with them, in the same transactions: as unknown before the request, as
the answer has it afterwards. So a crash leaves orders that are visibly unknown, and counts none
twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import polars as pl

from audience_sync.connector import OrderConnector, Orders, Receipt
from audience_sync.delivery.circuit import WithheldError
from audience_sync.delivery.exchange import Exchange
from audience_sync.errors import (
    AudienceSyncError,
    AuthenticationError,
    PartnerError,
    RefusedError,
    UnreachedError,
)
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.log import Event, TransferLine
from audience_sync.ledger.records.orders import LineState, ReportedLine
from audience_sync.ledger.records.runs import Batch, BatchState, Run
from audience_sync.orders import COLUMNS
from audience_sync.runs.faults import faults_of
from audience_sync.runs.leases import Held
from audience_sync.runs.link import Link
from audience_sync.runs.orders.outbox import OrderOutbox

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ARRIVED = "the partner has it, though its answer was never seen"


class _UnaccountedError(RefusedError):
    """The request was answered, and nobody can tell what became of its orders."""


class _Read(NamedTuple):
    """One batch out of the outbox: for the partner, and its lines for the ledger."""

    orders: Orders
    lines: list[ReportedLine]  # as they are once everything arrived
    held: list[tuple[int, int]]  # quantity and amount of each line before
    order: list[int]  # which order each line belongs to


@dataclass(frozen=True, kw_only=True)
class OrderTransfer:
    """Reports the batches of one run; safe from several threads."""

    ledger: Ledger
    run: Run
    link: Link
    connector: OrderConnector[Any]
    outbox: OrderOutbox
    held: Held
    now: Callable[[], datetime] = field(repr=False)

    def send(self, batch: Batch) -> Batch:
        """Report one batch; the batch with its answer. Raises the error after logging it.

        One that is unknown may have been taken before: then no refusal tells that it was not.
        """
        read = self._read(batch)
        begun = self._line(batch)
        sending = replace(batch, state=BatchState.SENDING, attempts=batch.attempts + 1, error=None)
        self._record(begun, sending, read.lines, [LineState.UNKNOWN] * len(read.lines), read)
        with self.link.recording() as exchange:
            try:
                receipt = self._report(read.orders)
            except AudienceSyncError as error:
                state = _after(error, exchange, batch)
                failed = replace(sending, state=state, error=str(error))
                states = _states_after(state, read)
                self._record(_failure(self._ended(begun, exchange), error), failed, *states, read)
                raise
        found = _answered(receipt, read)
        if _perhaps_taken(exchange, batch):
            found = [LineState.UNKNOWN if one is LineState.REFUSED else one for one in found]
            receipt = _doubted(receipt)
        answered = replace(
            sending,
            state=BatchState.UNKNOWN if receipt.unattributed else BatchState.ACCEPTED,
            accepted=receipt.accepted,
            rejected=len(receipt.rejected),
            unattributed=receipt.unattributed,
        )
        line = _outcome(self._ended(begun, exchange), receipt)
        self._record(line, answered, read.lines, found, read)
        return answered

    def settled(self, batch: Batch) -> Batch:
        """A batch whose answer was never seen, confirmed if the partner can tell that it arrived.

        It comes back to be sent where the partner surely has nothing of it, and as it is where
        nobody can tell.
        """
        read = self._read(batch)
        with faults_of(self.connector.name, PartnerError):
            arrived = self.connector.arrived(read.orders)
        if arrived is None:
            return batch
        if not arrived:
            return replace(batch, state=BatchState.WAITING)
        found = replace(batch, state=BatchState.CONFIRMED, accepted=batch.members, error=None)
        line = replace(
            self._line(batch), event=Event.CONFIRMED, accepted=batch.members, note=_ARRIVED
        )
        self._record(line, found, read.lines, [LineState.REPORTED] * len(read.lines), read)
        return found

    def _report(self, orders: Orders) -> Receipt:
        with faults_of(self.connector.name, _UnaccountedError):
            receipt = self.connector.report(orders)
        positions = {rejection.position for rejection in receipt.rejected}
        counted = receipt.sent == len(orders) and min(receipt.accepted, receipt.unattributed) >= 0
        if not counted or len(positions & set(range(len(orders)))) != len(receipt.rejected):
            raise _UnaccountedError(
                f"the connector {self.connector.name} accounts for {receipt.sent} of {len(orders)} "
                "orders; report this to its author"
            )
        return receipt

    def _read(self, batch: Batch) -> _Read:
        frame = self.outbox.batch(batch.position)
        name = f"{self.run.id}-{batch.position}"
        order = frame["of_order"].rle_id().to_list()
        lines, held = _lines(frame, self.run)
        return _Read(Orders(name, frame.select(*COLUMNS)), lines, held, order)

    def _line(self, batch: Batch) -> TransferLine:
        recipient = self.connector.recipient
        return TransferLine(
            event=Event.INTENT,
            run=self.run.id,
            audience=self.run.audience,
            destination=self.run.destination,
            recipient=recipient.name,
            recipient_country=recipient.country,
            purpose=self.link.purpose,
            operation=batch.operation,
            batch=batch.position,
            sent=batch.members,
            forms=" ".join(f"{kind}={form}" for kind, form in self.run.forms.items()),
            attempts=batch.attempts + 1,
            started_at=self.now(),
        )

    def _ended(self, begun: TransferLine, exchange: Exchange) -> TransferLine:
        """Without a digest of what was sent: an order id is short enough to be guessed from it."""
        return replace(
            begun,
            event=Event.OUTCOME,
            status=exchange.status,
            code=exchange.code,
            attempts=max(begun.attempts, exchange.attempts),
            finished_at=self.now(),
        )

    def _record(
        self,
        line: TransferLine,
        batch: Batch,
        lines: Sequence[ReportedLine],
        states: Sequence[LineState],
        read: _Read,
    ) -> None:
        reported = [
            _as(one, state, held) for one, state, held in zip(lines, states, read.held, strict=True)
        ]
        lease = self.held[self.run.lease_name]
        self.ledger.record([line], [batch], lease, reported=reported)


def _lines(frame: pl.DataFrame, run: Run) -> tuple[list[ReportedLine], list[tuple[int, int]]]:
    names = ("line", "of_order", "revision", "tried_quantity", "tried_amount", "expires_at")
    lines = [
        ReportedLine(
            destination=run.destination,
            line=line,
            of_order=of_order,
            revision=revision,
            quantity=quantity,
            amount=amount,
            tried_quantity=quantity,
            tried_amount=amount,
            state=LineState.REPORTED,
            run=run.id,
            expires_at=_EPOCH + timedelta(microseconds=expires_at),
        )
        for line, of_order, revision, quantity, amount, expires_at in frame.select(names).rows()
    ]
    return lines, frame.select("held_quantity", "held_amount").rows()


def _as(line: ReportedLine, state: LineState, held: tuple[int, int]) -> ReportedLine:
    """A line as it stands in a state; what was not surely taken leaves what was held before."""
    if state is LineState.REPORTED:
        return line
    return replace(line, state=state, quantity=held[0], amount=held[1])


def _answered(receipt: Receipt, read: _Read) -> list[LineState]:
    bad = {rejection.position for rejection in receipt.rejected}
    # Which of several orders was taken in part is not told: nothing of the batch is sure then.
    good = LineState.UNKNOWN if receipt.unattributed else LineState.REPORTED
    return [LineState.REFUSED if position in bad else good for position in read.order]


def _states_after(
    state: BatchState, read: _Read
) -> tuple[Sequence[ReportedLine], Sequence[LineState]]:
    """The lines of a batch that failed: in doubt, or as they were before."""
    if state is BatchState.UNKNOWN:
        return read.lines, [LineState.UNKNOWN] * len(read.lines)
    before = [
        replace(line, quantity=q, amount=a, tried_quantity=q, tried_amount=a)
        for line, (q, a) in zip(read.lines, read.held, strict=True)
    ]
    return before, [LineState.REPORTED] * len(before)


def _after(error: AudienceSyncError, exchange: Exchange, before: Batch) -> BatchState:
    """Where an error leaves a batch: refused for good, to be sent, or nobody knows."""
    if isinstance(error, _UnaccountedError) or _perhaps_taken(exchange, before):
        return BatchState.UNKNOWN
    if isinstance(error, RefusedError):
        return BatchState.FAILED
    if isinstance(error, AuthenticationError):
        return BatchState.WAITING
    told = isinstance(error, UnreachedError | WithheldError)
    surely_not = exchange.attempts > 0 or told
    return BatchState.WAITING if surely_not and not exchange.uncertain else BatchState.UNKNOWN


def _perhaps_taken(exchange: Exchange, before: Batch) -> bool:
    """Whether an attempt before the last one may have been taken.

    Where a batch was sent once, a refusal is the partner's word about all of it.
    """
    return before.state is BatchState.UNKNOWN or (exchange.uncertain and exchange.attempts > 1)


def _doubted(receipt: Receipt) -> Receipt:
    """What was refused may be what was taken before: nobody knows."""
    reasons = sorted({rejection.reason for rejection in receipt.rejected})
    return replace(
        receipt,
        rejected=(),
        unattributed=receipt.unattributed + len(receipt.rejected),
        reason=", ".join([*reasons, *([receipt.reason] if receipt.reason else [])]) or None,
    )


def _outcome(ended: TransferLine, receipt: Receipt) -> TransferLine:
    reasons = sorted({rejection.reason for rejection in receipt.rejected})
    note = ", ".join([*reasons, *([receipt.reason] if receipt.reason else [])])
    return replace(
        ended,
        accepted=receipt.accepted,
        rejected=len(receipt.rejected),
        unattributed=receipt.unattributed,
        reference=receipt.reference,
        note=note or None,
    )


def _failure(ended: TransferLine, error: AudienceSyncError) -> TransferLine:
    status = getattr(error, "status", None)
    code = getattr(error, "code", None)
    return replace(
        ended,
        unattributed=ended.sent,
        status=status if status is not None else ended.status,
        code=code if code is not None else ended.code,
        note=f"failed: {error}",
    )
