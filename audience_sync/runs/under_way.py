"""Whom runs bring to a list that are being delivered, and whose removal waits for an answer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from audience_sync.errors import StateError
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import Batch, BatchState, Operation, Run
from audience_sync.membership.digests import Bytes
from audience_sync.membership.lines import Lines
from audience_sync.membership.location import StateLocation
from audience_sync.membership.outbox import Outbox
from audience_sync.membership.sealed import Keyring
from audience_sync.runs.answers import of_members, was_sent_before
from audience_sync.runs.holding import members_with


@dataclass(frozen=True)
class UnderWay:
    """What these runs do to their list."""

    ledger: Ledger
    location: StateLocation
    keyring: Keyring
    runs: Sequence[Run]

    def sent(self, digests: Bytes) -> tuple[list[Lines], bool]:
        """Which of these people were perhaps added, and whether one is in flight."""
        found, in_flight = [], False
        for run in self.runs if len(digests) else ():
            for batch, lines in self._additions(run):
                if not batch.attempts:
                    continue
                named = members_with(lines, digests)
                if batch.withheld and not was_sent_before(batch):
                    named &= ~of_members(lines, batch.withheld_positions)
                if named.any():
                    found.append(lines.take(named))
                    in_flight |= batch.state is BatchState.SENDING
        return found, in_flight

    def coming(self, *, sent: bool) -> Iterator[Lines]:
        """Everybody who is added; only what was `sent` where the runs stand still."""
        for run in self.runs:
            for batch, lines in self._additions(run):
                if batch.attempts or not sent:
                    yield lines

    def arriving(self, digests: Bytes) -> bool:
        """Whether the partner still works on an addition of one of these people."""
        return any(
            members_with(lines, digests).any() for lines in self._pending(Operation.ADD, digests)
        )

    def adding(self, before: int) -> bool:
        """Whether the partner works on additions of runs planned before this withdrawal."""
        return any(
            batch.operation is Operation.ADD and batch.state is BatchState.PENDING
            for run in self.runs
            if run.withdrawals < before
            for batch in self.ledger.batches(run.id)
        )

    def unsure(self, digests: Bytes) -> list[Lines]:
        """Which of these people were taken off, without the partner's last word on it."""
        found = []
        for lines in self._pending(Operation.REMOVE, digests):
            named = members_with(lines, digests)
            if named.any():
                found.append(lines.take(named))
        return found

    def _pending(self, operation: Operation, digests: Bytes) -> Iterator[Lines]:
        """What waits for the partner's last word, where anybody is looked for in it."""
        for run in self.runs if len(digests) else ():
            try:
                for _, lines in self._of(run, operation, (BatchState.PENDING,)):
                    yield lines
            except StateError:
                if self.ledger.run(run.id).state is run.state:
                    raise  # else it was confirmed meanwhile, and its outbox is gone

    def _additions(self, run: Run) -> Iterator[tuple[Batch, Lines]]:
        yield from self._of(run, Operation.ADD)

    def _of(
        self, run: Run, operation: Operation, states: Collection[BatchState] = tuple(BatchState)
    ) -> Iterator[tuple[Batch, Lines]]:
        outbox: Outbox | None = None
        for batch in self.ledger.batches(run.id):
            if batch.operation is operation and batch.state in states:
                if outbox is None:
                    outbox = Outbox(self.location, self.keyring, run.id, run.outbox)
                yield batch, outbox.batch(batch.position)
