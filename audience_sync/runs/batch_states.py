"""Where a receipt or an error leaves a batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from audience_sync.connector import Receipt
from audience_sync.connector.answers import status_changed_nothing
from audience_sync.delivery.circuit import WithheldError
from audience_sync.delivery.exchange import Exchange
from audience_sync.errors import (
    AudienceSyncError,
    AuthenticationError,
    PartnerError,
    RefusedError,
    StateError,
)
from audience_sync.ledger.records.runs import Batch, BatchState


class UnaccountedError(RefusedError):
    """The request was answered, and nobody can tell what became of its members."""


def nothing_sent(batch: Batch) -> Batch:
    """A batch all of whose members withdrew before it was sent."""
    return replace(batch, state=BatchState.ACCEPTED, accepted=0, error=None)


def in_batch(batch: Batch, positions: Iterable[int]) -> tuple[int, ...]:
    """Positions among the members that were sent, as positions in the batch."""
    if not batch.withheld_positions:
        return tuple(positions)
    sent = np.delete(np.arange(batch.members), batch.withheld_positions).tolist()
    return tuple(sent[position] for position in positions if 0 <= position < len(sent))


def answered(sending: Batch, receipt: Receipt) -> Batch:
    """A batch that was on its way, as its receipt leaves it."""
    return replace(
        sending,
        state=BatchState.PENDING if receipt.pending else BatchState.ACCEPTED,
        accepted=receipt.accepted,
        rejected=len(receipt.rejected),
        unattributed=receipt.unattributed,
        rejected_positions=in_batch(sending, (one.position for one in receipt.rejected)),
        reference=receipt.reference,
    )


def state_after(error: AudienceSyncError, exchange: Exchange, before: Batch) -> BatchState:
    """Where an error leaves a batch: refused for good, or to be sent again.

    Without an answer, or with any answer but a refusal, the change may have been made; a refusal
    of the next attempt, or of the next of several requests, does not tell.
    """
    perhaps_made = exchange.uncertain or before.state is BatchState.UNKNOWN
    if perhaps_made or isinstance(error, UnaccountedError):
        return BatchState.UNKNOWN
    if isinstance(error, RefusedError):
        return BatchState.FAILED
    if isinstance(error, AuthenticationError | StateError | WithheldError):
        return BatchState.WAITING
    status = error.status if isinstance(error, PartnerError) else None
    surely_not = exchange.attempts > 0 or (status is not None and status_changed_nothing(status))
    return BatchState.WAITING if surely_not else BatchState.UNKNOWN


def adds_up(receipt: Receipt, sent: int) -> bool:
    """Whether a receipt accounts for every member once (L3)."""
    positions = [rejection.position for rejection in receipt.rejected]
    counted = receipt.sent == sent and min(receipt.accepted, receipt.unattributed) >= 0
    return counted and len(set(positions) & set(range(sent))) == len(positions)


def note_of(receipt: Receipt) -> str | None:
    """Why members were not taken, in the words for the log."""
    reasons = sorted({rejection.reason for rejection in receipt.rejected})
    if receipt.reason:
        reasons.append(receipt.reason)
    return ", ".join(reasons) or None
