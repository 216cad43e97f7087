"""How far each list is with withdrawals, and what these steps mean for the delivery of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from audience_sync.ledger.withdrawal_deliveries import WithdrawalDelivery, WithdrawalState
from audience_sync.ledger.withdrawals import Withdrawal

SOON = 1.0  # seconds until a list that is busy is looked at again
BUSY = 10.0  # seconds until the books are looked at again, which a run holds that is at work
_FIRST_PAUSE = 15.0  # seconds after a failure; doubled each time
_LONGEST_PAUSE = 1800.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Step:
    """How far one list is: the newest withdrawal it was told, that it took, that it is rid of.

    `named` are those that name somebody who was on it: what was sent concerns no others.
    """

    sent: int = 0
    named: frozenset[int] = frozenset()
    acknowledged: int = 0
    cleared: int = 0
    again: float | None = None  # seconds until it is to be looked at again; None: not needed
    reason: str | None = None  # what stands in the way, where somebody should know
    failed: bool = False


def moved(
    row: WithdrawalDelivery,
    withdrawal: Withdrawal,
    theirs: set[int],
    steps: Sequence[Step],
    now: datetime,
    *,
    unread: str,
    unseen: str,
) -> WithdrawalDelivery:
    """A delivery as its lists leave it; `theirs` are the sequences that name its people.

    It stays open where it is not known whom it names: the source is `unread`, or a list `unseen`.
    """
    reasons = [step.reason for step in steps if step.reason]
    through = max(withdrawal.resolved_by or 0, *theirs, withdrawal.sequence)
    sent = any(step.sent >= through and theirs & step.named for step in steps)
    if withdrawal.customers and withdrawal.resolved_by is None:
        return replace(
            row,
            sent_at=row.sent_at or (now if sent else None),
            next_attempt_at=now + timedelta(seconds=_FIRST_PAUSE),
            attempts=row.attempts + 1,
            reason=unread,
        )
    if withdrawal.resolved_by is None:  # another list may show whom else it names
        elsewhere = Step(acknowledged=through, reason=unseen, failed=True)
        steps, reasons = [*steps, elsewhere], [*reasons, unseen]
    taken = all(step.acknowledged >= through for step in steps)
    cleared = all(step.cleared >= through for step in steps)
    state = WithdrawalState.QUEUED
    if cleared:
        state = WithdrawalState.CONFIRMED
    elif taken:
        state = WithdrawalState.ACKNOWLEDGED
    elif sent:
        state = WithdrawalState.SENT
    failed = any(step.failed for step in steps)
    return replace(
        row,
        state=state,
        sent_at=row.sent_at or (now if sent else None),
        acknowledged_at=(row.acknowledged_at or now) if taken or cleared else None,
        confirmed_at=now if cleared else None,
        attempts=row.attempts + failed,
        next_attempt_at=None if cleared else now + _pause(row, steps),
        reason=None if cleared else "; ".join(dict.fromkeys(reasons)) or None,
    )


def _pause(row: WithdrawalDelivery, steps: Sequence[Step]) -> timedelta:
    waits = [step.again for step in steps if step.again is not None]
    if any(step.failed and step.again is None for step in steps):
        waits.append(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(row.attempts, 10)))
    return timedelta(seconds=min(waits, default=SOON))
