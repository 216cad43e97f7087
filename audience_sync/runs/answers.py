"""What the answers to batches say of who is on a list: surely, perhaps, or not any more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from audience_sync.ledger.records.runs import Batch, BatchState, Operation
from audience_sync.membership.digests import starts
from audience_sync.membership.lines import Lines
from audience_sync.membership.outbox import Outbox

ANSWERED = frozenset({BatchState.ACCEPTED, BatchState.PENDING, BatchState.CONFIRMED})
_UNSURE = frozenset({BatchState.SENDING, BatchState.UNKNOWN})  # perhaps they arrived

Remember = Callable[[Lines], None]  # what the partner called unusable


def of_members(
    lines: Lines, positions: Collection[int]
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """A mask of the lines that belong to the members at these positions of the batch."""
    first = starts(lines.keys)
    chosen = np.zeros(len(first), dtype=np.bool_)
    chosen[list(positions)] = True
    return np.repeat(chosen, np.diff(np.append(first, len(lines))))


def accepted(batches: Sequence[Batch], outbox: Outbox, remember: Remember) -> Iterator[Lines]:
    """Added lines without the rejected members, which are remembered as fingerprints (L9)."""
    for batch in batches:
        if batch.operation is Operation.ADD:
            lines = outbox.batch(batch.position)
            sent = ~of_members(lines, batch.withheld_positions)
            if batch.rejected_positions:
                bad = of_members(lines, batch.rejected_positions)
                remember(lines.take(bad))
                sent &= ~bad
            yield lines if sent.all() else lines.take(sent)


def not_added(batches: Sequence[Batch], outbox: Outbox, remember: Remember) -> Iterator[Lines]:
    """Added lines that a late answer put in doubt; rejected members are remembered (L9)."""
    for batch in batches:
        if batch.operation is not Operation.ADD:
            continue
        failed = batch.state is BatchState.FAILED
        if failed or batch.rejected_positions:
            lines = outbox.batch(batch.position)
            bad = of_members(lines, batch.rejected_positions)
            remember(lines.take(bad))
            yield lines if failed else lines.take(bad)


def needs_taking_back(batch: Batch) -> bool:
    """Whether a late answer to a batch changes what the partner holds, as far as we know."""
    if batch.operation is Operation.ADD:
        return batch.state is BatchState.FAILED or bool(batch.rejected_positions)
    return stayed_on(batch)


def stayed_on(batch: Batch) -> bool:
    """Whether some whom a batch was to take off are perhaps on the list still."""
    return batch.operation is Operation.REMOVE and bool(
        batch.state in _UNSURE or batch.unattributed or batch.rejected_positions
    )


def removed(batches: Sequence[Batch], outbox: Outbox) -> Iterator[Lines]:
    """Lines that were surely taken off."""
    for batch in batches:
        if batch.operation is Operation.REMOVE and not batch.unattributed:
            lines = outbox.batch(batch.position)
            if batch.rejected_positions:
                lines = lines.take(~of_members(lines, batch.rejected_positions))
            yield lines


def not_removed(batches: Sequence[Batch], outbox: Outbox) -> Iterator[Lines]:
    """Lines that were sent to be taken off, and perhaps are on the list still."""
    for batch in filter(stayed_on, batches):
        lines = outbox.batch(batch.position)
        if batch.state not in _UNSURE and not batch.unattributed:
            lines = lines.take(of_members(lines, batch.rejected_positions))
        yield lines


def perhaps_added(batches: Sequence[Batch], outbox: Outbox) -> Iterator[Lines]:
    """Lines that were sent without a clear answer, and not sent again since."""
    for batch in batches:
        if batch.operation is not Operation.ADD:
            continue
        once = was_sent_before(batch)
        if batch.state in _UNSURE:
            lines = outbox.batch(batch.position)
            yield lines if once else lines.take(~of_members(lines, batch.withheld_positions))
        elif batch.withheld and once:
            lines = outbox.batch(batch.position)
            yield lines.take(of_members(lines, batch.withheld_positions))


def was_sent_before(batch: Batch) -> bool:
    """Whether those whom a batch withheld at its last attempt were perhaps sent at an earlier."""
    return batch.attempts > (0 if batch.withheld == batch.members else 1)
