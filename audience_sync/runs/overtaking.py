"""Whom older runs may still bring to a list whose partner answers later, in any order (L13)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from audience_sync.errors import AwayError, StateError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import Batch, BatchState, Operation, Run, RunState
from audience_sync.membership.digests import Mask, match, rows_at, sort_order, starts
from audience_sync.membership.held import by_partition
from audience_sync.membership.lines import Lines, no_lines
from audience_sync.membership.location import StateLocation
from audience_sync.membership.outbox import Outbox
from audience_sync.membership.sealed import Keyring

_PENDING = (BatchState.PENDING,)


class Aligned:
    """Parts that come by rising partition, asked for one partition after the other."""

    def __init__(self, parts: Iterator[tuple[int, Lines]]) -> None:
        self._parts = parts
        self._next = next(parts, None)

    def at(self, partition: int) -> Lines:
        """The part of a partition, asked for once."""
        if self._next is None or self._next[0] != partition:
            return no_lines({})
        lines = self._next[1]
        self._next = next(self._parts, None)
        return lines


@dataclass(frozen=True)
class Overtaking:
    """A removal may be done before an older addition of the same member, which brings them back."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring

    def brought(self, run: Run, batches: Sequence[Batch], partitions: int) -> Brought:
        """Whom older runs add that the partner works on, where it works on removals of this one."""
        waits = (b.state is BatchState.PENDING for b in batches if b.operation is Operation.REMOVE)
        if not any(waits):
            return Brought(())
        older = self.ledger.runs(
            audience=run.audience, destination=run.destination, states=[RunState.DELIVERED]
        )
        waiting = [
            (one, self.ledger.batches(one.id, operation=Operation.ADD, states=_PENDING))
            for one in older
            if one.id != run.id
        ]
        return Brought([self._members(one, added, partitions) for one, added in waiting if added])

    def _members(self, run: Run, batches: Sequence[Batch], partitions: int) -> Aligned | None:
        try:
            outbox = Outbox(self.location, self.keyring, run.id, run.outbox)
            return Aligned(
                by_partition((outbox.batch(batch.position) for batch in batches), partitions)
            )
        except AwayError:
            raise
        except StateError:  # nobody can tell any more whom it brings
            return None


class Brought:
    """Asked for one partition after the other; `any` is true once somebody was among them."""

    def __init__(self, parts: Sequence[Aligned | None]) -> None:
        self._parts = parts
        self.any = False

    @property
    def nobody(self) -> bool:
        """Whether no older run adds anybody."""
        return not self._parts

    def among(self, lines: Lines, partition: int) -> Mask:
        """Which lines are of members who are brought, or may be."""
        theirs = np.zeros(len(lines), dtype=np.bool_)
        for part in self._parts:
            if part is None:
                theirs[:] = True
                continue
            keys = part.at(partition).keys
            keys = rows_at(keys, sort_order(keys))
            theirs |= match(lines.keys, rows_at(keys, starts(keys))) >= 0
        self.any |= bool(theirs.any())
        return theirs
